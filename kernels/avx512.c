/* avx512.c - the AVX-512 table: conversions, vectors, plain matrices times vectors. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include <immintrin.h>

static __mmask16 tail_mask(size_t n) {
    return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1);
}

static __m512 bf16_floats(__m256i h) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

static void bf16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(dst + i, m, bf16_floats(_mm256_maskz_loadu_epi16(m, src + i)));
    }
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(dst + i, m, _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(m, src + i)));
    }
}

/* Not vcvtneps2bf16: it takes subnormals for zero. */
static void f32_to_bf16(uint16_t *dst, const float *src, size_t n) {
    const __m512i one = _mm512_set1_epi32(1), half = _mm512_set1_epi32(0x7fff), quiet = _mm512_set1_epi32(0x400000);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 f = _mm512_maskz_loadu_ps(m, src + i);
        __m512i u = _mm512_castps_si512(f);
        __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), one);
        __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(u, half), odd);
        __mmask16 nan = _mm512_cmp_ps_mask(f, f, _CMP_UNORD_Q);
        rounded = _mm512_mask_or_epi32(rounded, nan, u, quiet);
        _mm256_mask_storeu_epi16(dst + i, m, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
    }
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m256i h = _mm512_cvtps_ph(_mm512_maskz_loadu_ps(m, src + i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        _mm256_mask_storeu_epi16(dst + i, m, h);
    }
}

static float dot(const float *a, const float *b, size_t n) {
    __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 64 <= n; i += 64) {
        s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
        s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
        s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
        s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
    }
    for (; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m, a + i), _mm512_maskz_loadu_ps(m, b + i), s0);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

static void axpy(float *y, float a, const float *x, size_t n) {
    const __m512 va = _mm512_set1_ps(a);
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 sum = _mm512_fmadd_ps(va, _mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, y + i));
        _mm512_mask_storeu_ps(y + i, m, sum);
    }
}

static void mul(float *y, const float *x, const float *w, size_t n) {
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        _mm512_mask_storeu_ps(y + i, m,
                              _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), _mm512_maskz_loadu_ps(m, w + i)));
    }
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps) {
    if (n == 0) return;
    double mean = (double)dot(x, x, n) / (double)n;
    const __m512 inv = _mm512_set1_ps((float)(1 / __builtin_sqrt(mean + eps)));
    for (size_t i = 0; i < n; i += 16) {
        __mmask16 m = tail_mask(n - i);
        __m512 scaled = _mm512_mul_ps(_mm512_maskz_loadu_ps(m, x + i), inv);
        _mm512_mask_storeu_ps(y + i, m, _mm512_mul_ps(scaled, _mm512_maskz_loadu_ps(m, w + i)));
    }
}

typedef enum { ROW_BF16, ROW_F16 } row_type;

static inline __attribute__((always_inline)) __m512 row_floats(__m256i w, row_type type) {
    return type == ROW_BF16 ? bf16_floats(w) : _mm512_cvtph_ps(w);
}

static inline __attribute__((always_inline)) float row16(const uint16_t *w, const float *x, size_t cols,
                                                         row_type type) {
    __m512 s[4] = {_mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps(), _mm512_setzero_ps()};
    size_t i = 0;
    for (; i + 64 <= cols; i += 64) {
        _mm_prefetch((const char *)(w + i) + TQ_ROWS_AHEAD, _MM_HINT_T1);
        _mm_prefetch((const char *)(w + i) + TQ_ROWS_AHEAD + 64, _MM_HINT_T1);
        for (size_t j = 0; j < 4; j++) {
            __m256i v = _mm256_loadu_si256((const __m256i *)(w + i + 16 * j));
            s[j] = _mm512_fmadd_ps(row_floats(v, type), _mm512_loadu_ps(x + i + 16 * j), s[j]);
        }
    }
    for (; i < cols; i += 16) {
        __mmask16 m = tail_mask(cols - i);
        __m256i v = _mm256_maskz_loadu_epi16(m, w + i);
        s[0] = _mm512_fmadd_ps(row_floats(v, type), _mm512_maskz_loadu_ps(m, x + i), s[0]);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s[0], s[1]), _mm512_add_ps(s[2], s[3])));
}

/* One row after the other: memory reads one stream faster than several. */
static void matvec_bf16(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++)
        y[r] = row16(w + r * cols, x, cols, ROW_BF16);
}

static void matvec_f16(float *y, const uint16_t *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++)
        y[r] = row16(w + r * cols, x, cols, ROW_F16);
}

static void matvec_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    for (size_t r = 0; r < rows; r++)
        y[r] = dot(w + r * cols, x, cols);
}

static inline __attribute__((always_inline)) void add_row64(__m512 sum[4], const float *w, float x,
                                                            const __mmask16 m[4]) {
    const __m512 a = _mm512_set1_ps(x);
    for (size_t j = 0; j < 4; j++)
        sum[j] = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(m[j], w + 16 * j), a, sum[j]);
}

/* Up to 64 columns, of two rows at a time so that sums need not wait for each other. */
static void columns64(float *y, const float *w, const float *x, size_t rows, size_t ld, size_t cols) {
    __mmask16 m[4];
    __m512 even[4], odd[4];
    size_t r = 0;
    for (size_t j = 0; j < 4; j++) {
        m[j] = cols <= 16 * j ? 0 : tail_mask(cols - 16 * j);
        even[j] = odd[j] = _mm512_setzero_ps();
    }
    for (; r + 2 <= rows; r += 2, w += 2 * ld) {
        add_row64(even, w, x[r], m);
        add_row64(odd, w + ld, x[r + 1], m);
    }
    if (r < rows) add_row64(even, w, x[r], m);
    for (size_t j = 0; j < 4; j++)
        _mm512_mask_storeu_ps(y + 16 * j, m[j], _mm512_add_ps(even[j], odd[j]));
}

static void matvec_t_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    for (size_t c = 0; c < cols; c += 64)
        columns64(y + c, w + c, x, rows, cols, cols - c);
}

static uint64_t read_sum(const void *p, size_t bytes) {
    const unsigned char *b = p;
    uint64_t lanes[8], sum = 0;
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 256 <= bytes; i += 256) {
        s0 = _mm512_add_epi64(s0, _mm512_loadu_si512(b + i));
        s1 = _mm512_add_epi64(s1, _mm512_loadu_si512(b + i + 64));
        s2 = _mm512_add_epi64(s2, _mm512_loadu_si512(b + i + 128));
        s3 = _mm512_add_epi64(s3, _mm512_loadu_si512(b + i + 192));
    }
    for (; i < bytes; i += 64) {
        __mmask64 m = bytes - i >= 64 ? ~0ull : (1ull << (bytes - i)) - 1;
        s0 = _mm512_add_epi64(s0, _mm512_maskz_loadu_epi8(m, b + i));
    }
    s0 = _mm512_add_epi64(_mm512_add_epi64(s0, s1), _mm512_add_epi64(s2, s3));
    _mm512_storeu_si512(lanes, s0); /* the reduction intrinsic adds signed numbers, which may not wrap */
    for (i = 0; i < 8; i++)
        sum += lanes[i];
    return sum;
}

void tq_kernels_fill_avx512(tq_kernels *k) {
    k->bf16_to_f32 = bf16_to_f32;
    k->f16_to_f32 = f16_to_f32;
    k->f32_to_bf16 = f32_to_bf16;
    k->f32_to_f16 = f32_to_f16;
    k->dot = dot;
    k->axpy = axpy;
    k->mul = mul;
    k->rmsnorm = rmsnorm;
    k->matvec_bf16 = matvec_bf16;
    k->matvec_f16 = matvec_f16;
    k->matvec_f32 = matvec_f32;
    k->matvec_t_f32 = matvec_t_f32;
    k->read_sum = read_sum;
    tq_kernels_fill_avx512_exp(k);
    tq_kernels_fill_avx512_blocks(k);
    tq_kernels_fill_avx512_coding(k);
    tq_kernels_fill_avx512_fit(k);
    tq_kernels_fill_avx512_matvec(k);
    tq_kernels_fill_avx512_trellis(k);
    tq_kernels_fill_avx512_gemm(k);
}
#endif
