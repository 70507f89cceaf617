/* avx512.c - the AVX-512 table. */
#include "kernels/internal.h"

#if defined(__x86_64__)
void tq_kernels_fill_avx512(tq_kernels *k) {
    (void)k;
}
#endif
