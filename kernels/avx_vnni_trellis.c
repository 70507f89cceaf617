/* avx_vnni_trellis.c - codes of a trellis times a vector in AVX2 with AVX-VNNI. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx_vnni_dot.h"

#include "kernels/avx2_trellis.h"

void tq_trellis_matvec_avx_vnni(float *y, const tq_packed *p, const tq_xq *x, size_t tile0, size_t tiles) {
    matvec_trellis(y, p, x, tile0, tiles);
}
#endif
