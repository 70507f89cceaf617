/* avx2.c - the AVX2 table: conversions, vectors, plain matrices times vectors. */
#include "kernels/internal.h"

#if defined(__x86_64__)
#include "kernels/avx2_tail.h"

static __m256 bf16_floats(__m128i h) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

static void bf16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i += 8)
        tq_store8(dst + i, n - i, bf16_floats(tq_load8_u16(src + i, n - i)));
}

static void f16_to_f32(float *dst, const uint16_t *src, size_t n) {
    for (size_t i = 0; i < n; i += 8)
        tq_store8(dst + i, n - i, _mm256_cvtph_ps(tq_load8_u16(src + i, n - i)));
}

static void f32_to_bf16(uint16_t *dst, const float *src, size_t n) {
    const __m256i one = _mm256_set1_epi32(1), half = _mm256_set1_epi32(0x7fff), quiet = _mm256_set1_epi32(0x400000);
    for (size_t i = 0; i < n; i += 8) {
        __m256 f = tq_load8(src + i, n - i);
        __m256i u = _mm256_castps_si256(f);
        __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), one);
        __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(u, half), odd);
        __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(f, f, _CMP_UNORD_Q));
        rounded = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, _mm256_or_si256(u, quiet), nan), 16);
        __m128i h = _mm_packus_epi32(_mm256_castsi256_si128(rounded), _mm256_extracti128_si256(rounded, 1));
        tq_store8_u16(dst + i, n - i, h);
    }
}

static void f32_to_f16(uint16_t *dst, const float *src, size_t n) {
    for (size_t i = 0; i < n; i += 8) {
        __m128i h = _mm256_cvtps_ph(tq_load8(src + i, n - i), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
        tq_store8_u16(dst + i, n - i, h);
    }
}

static float dot(const float *a, const float *b, size_t n) {
    __m256 s[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        for (size_t j = 0; j < 4; j++)
            s[j] = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8 * j), _mm256_loadu_ps(b + i + 8 * j), s[j]);
    }
    for (; i < n; i += 8)
        s[0] = _mm256_fmadd_ps(tq_load8(a + i, n - i), tq_load8(b + i, n - i), s[0]);
    return tq_sum8(_mm256_add_ps(_mm256_add_ps(s[0], s[1]), _mm256_add_ps(s[2], s[3])));
}

static void axpy(float *y, float a, const float *x, size_t n) {
    const __m256 va = _mm256_set1_ps(a);
    for (size_t i = 0; i < n; i += 8)
        tq_store8(y + i, n - i, _mm256_fmadd_ps(va, tq_load8(x + i, n - i), tq_load8(y + i, n - i)));
}

static void mul(float *y, const float *x, const float *w, size_t n) {
    for (size_t i = 0; i < n; i += 8)
        tq_store8(y + i, n - i, _mm256_mul_ps(tq_load8(x + i, n - i), tq_load8(w + i, n - i)));
}

static void rmsnorm(float *y, const float *x, const float *w, size_t n, float eps) {
    if (n == 0) return;
    double mean = (double)dot(x, x, n) / (double)n;
    const __m256 inv = _mm256_set1_ps((float)(1 / __builtin_sqrt(mean + eps)));
    for (size_t i = 0; i < n; i += 8) {
        __m256 scaled = _mm256_mul_ps(tq_load8(x + i, n - i), inv);
        tq_store8(y + i, n - i, _mm256_mul_ps(scaled, tq_load8(w + i, n - i)));
    }
}

typedef enum { ROW_BF16, ROW_F16 } row_type;

static inline __attribute__((always_inline)) __m256 load_row8(const uint16_t *w, row_type type) {
    __m128i v = _mm_loadu_si128((const __m128i *)w);
    return type == ROW_BF16 ? bf16_floats(v) : _mm256_cvtph_ps(v);
}

static inline __attribute__((always_inline)) float row16(const uint16_t *w, const float *x, size_t cols,
                                                         row_type type) {
    __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
    size_t i = 0;
    for (; i + 32 <= cols; i += 32) {
        _mm_prefetch((const char *)(w + i) + TQ_ROWS_AHEAD, _MM_HINT_T1);
        s0 = _mm256_fmadd_ps(load_row8(w + i, type), _mm256_loadu_ps(x + i), s0);
        s1 = _mm256_fmadd_ps(load_row8(w + i + 8, type), _mm256_loadu_ps(x + i + 8), s1);
        s2 = _mm256_fmadd_ps(load_row8(w + i + 16, type), _mm256_loadu_ps(x + i + 16), s2);
        s3 = _mm256_fmadd_ps(load_row8(w + i + 24, type), _mm256_loadu_ps(x + i + 24), s3);
    }
    for (; i < cols; i += 8) {
        __m128i v = tq_load8_u16(w + i, cols - i);
        s0 = _mm256_fmadd_ps(type == ROW_BF16 ? bf16_floats(v) : _mm256_cvtph_ps(v), tq_load8(x + i, cols - i), s0);
    }
    return tq_sum8(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
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

static inline __attribute__((always_inline)) void add_row32(__m256 sum[4], const float *w, float x) {
    const __m256 a = _mm256_set1_ps(x);
    for (size_t j = 0; j < 4; j++)
        sum[j] = _mm256_fmadd_ps(_mm256_loadu_ps(w + 8 * j), a, sum[j]);
}

/* 32 columns, of two rows at a time so that sums need not wait for each other. */
static void columns32(float *y, const float *w, const float *x, size_t rows, size_t ld) {
    __m256 even[4], odd[4];
    size_t r = 0;
    for (size_t j = 0; j < 4; j++)
        even[j] = odd[j] = _mm256_setzero_ps();
    for (; r + 2 <= rows; r += 2, w += 2 * ld) {
        add_row32(even, w, x[r]);
        add_row32(odd, w + ld, x[r + 1]);
    }
    if (r < rows) add_row32(even, w, x[r]);
    for (size_t j = 0; j < 4; j++)
        _mm256_storeu_ps(y + 8 * j, _mm256_add_ps(even[j], odd[j]));
}

/* At most 8 columns. */
static void columns8(float *y, const float *w, const float *x, size_t rows, size_t ld, size_t cols) {
    __m256 sum = _mm256_setzero_ps();
    for (size_t r = 0; r < rows; r++, w += ld)
        sum = _mm256_fmadd_ps(tq_load8(w, cols), _mm256_set1_ps(x[r]), sum);
    tq_store8(y, cols, sum);
}

static void matvec_t_f32(float *y, const float *w, const float *x, size_t rows, size_t cols) {
    size_t c = 0;
    for (; c + 32 <= cols; c += 32)
        columns32(y + c, w + c, x, rows, cols);
    for (; c < cols; c += 8)
        columns8(y + c, w + c, x, rows, cols, cols - c);
}

static uint64_t read_sum(const void *p, size_t bytes) {
    const unsigned char *b = p;
    __m256i s[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256()};
    uint64_t lanes[4], sum = 0;
    size_t i = 0;
    for (; i + 128 <= bytes; i += 128) {
        for (size_t j = 0; j < 4; j++)
            s[j] = _mm256_add_epi64(s[j], _mm256_loadu_si256((const __m256i *)(b + i + 32 * j)));
    }
    s[0] = _mm256_add_epi64(_mm256_add_epi64(s[0], s[1]), _mm256_add_epi64(s[2], s[3]));
    _mm256_storeu_si256((__m256i *)lanes, s[0]);
    for (; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, b + i, bytes - i < 8 ? bytes - i : 8);
        sum += word;
    }
    return sum + lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

void tq_kernels_fill_avx2(tq_kernels *k) {
    /* Two pages are best on AMD's Zen 5, half a page on Intel's Xeon, which reads less than if it were not asked at all
     * when asked farther ahead. */
    k->ask_ahead = tq_cpu_is_intel() ? 2048 : 8192;
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
    tq_kernels_fill_avx2_exp(k);
    tq_kernels_fill_avx2_blocks(k);
    tq_kernels_fill_avx2_coding(k);
    tq_kernels_fill_avx2_pack(k);
    tq_kernels_fill_avx2_matvec(k);
    tq_kernels_fill_avx2_trellis(k);
}
#endif
