/* avx2.c - the AVX2 table. */
#include "kernels/internal.h"

#if defined(__x86_64__)
void tq_kernels_fill_avx2(tq_kernels *k) {
    (void)k;
}
#endif
