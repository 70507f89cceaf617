/* avx_vnni_matvec.c - packed codes times a vector in AVX2 with AVX-VNNI. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx_vnni_dot.h"

#include "kernels/avx2_matvec.h"

static void matvec(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    if (p->trellis)
        tq_trellis_matvec_avx_vnni(y, p, x, tile0, tiles);
    else
        matvec_codes(y, p, x, tile0, tiles);
}

void tq_kernels_fill_avx_vnni(tq_kernels *k) {
    k->matvec = matvec;
}
#endif
