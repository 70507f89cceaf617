/* deltanet.c - the gated delta rule of Qwen3.5's linear attention (Gated DeltaNet, arXiv 2412.06464, equation 10): a
 * short causal convolution, then for each value head a state S [value_dim, key_dim] that every token decays, corrects
 * towards v at its key and reads at its query:
 *
 *     S = g S;   S = S + beta (v - S k) k^T;   o = S q        g = exp(-exp(A_log) softplus(a + dt_bias))
 *
 * S is kept divided by the product of the decays, so that decaying it costs one multiplication a token. */
#include <cblas.h>
#include <math.h>
#include <string.h>

#include "kernels/kernels.h"
#include "model/linear.h"

/* Channels that one task convolves. */
#define CONV_CHANNELS 128
/* Below this the state takes its scale back. */
#define SCALE_MIN 1e-6F
/* Under the root of the query and key norms, as in the reference. */
#define L2_EPS 1e-6F

typedef struct deltanet {
    const tq_block_run *r;
    const tq_config *c;
    float *qkv;                   /* [n, channels] */
    float *z;                     /* [n, value] */
    float *decay, *beta;          /* [n, value heads]: in_proj_a and in_proj_b, then g and beta */
    float *out;                   /* [n, value] */
    size_t channels, keys, value; /* keys: key heads * key dim, where keys begin in qkv */
    size_t state_chunks;          /* of a head's rows */
} deltanet;

/* One group of channels of one sequence, in place from the last token to the first. */
static void convolve_channels(const deltanet *d, size_t seq, size_t c0, size_t count, float *before) {
    const tq_block_run *r = d->r;
    size_t taps = d->c->linear_conv, past = taps - 1, ld = d->channels;
    const float *w = r->w->vec[TQ_VEC_CONV] + c0;
    float *x = d->qkv + seq * r->len * ld + c0;
    float *kept = r->cache ? r->cache->blocks[r->block].conv + c0 : NULL;
    for (size_t j = 0; j < past; j++)
        for (size_t c = 0; c < count; c++)
            before[j * count + c] = kept ? kept[j * ld + c] : 0.0F;
    for (size_t j = 0; kept && j < past; j++) {
        const float *from = r->len + j >= past ? x + (r->len + j - past) * ld : before + (r->len + j) * count;
        memcpy(kept + j * ld, from, count * sizeof *kept);
    }
    for (size_t t = r->len; t-- > 0;) {
        float *y = x + t * ld;
        for (size_t c = 0; c < count; c++)
            y[c] *= w[past * ld + c];
        for (size_t j = 0; j < past; j++) {
            const float *in = t + j >= past ? x + (t + j - past) * ld : before + (t + j) * count;
            for (size_t c = 0; c < count; c++)
                y[c] += w[j * ld + c] * in[c];
        }
        tq_k()->silu(y, count);
    }
}

static void convolve(void *ctx, size_t begin, size_t end, int thread) {
    const deltanet *d = ctx;
    size_t groups = (d->channels + CONV_CHANNELS - 1) / CONV_CHANNELS;
    for (size_t task = begin; task < end; task++) {
        size_t c0 = task % groups * CONV_CHANNELS, left = d->channels - c0;
        convolve_channels(d, task / groups, c0, left < CONV_CHANNELS ? left : CONV_CHANNELS,
                          d->r->f->work[thread].data);
    }
}

static float softplus(float x) {
    return x > 20.0F ? x : log1pf(expf(x));
}

static void l2_normalise(float *x, size_t n, float scale) {
    float inverse = scale / sqrtf(tq_k()->dot(x, x, n) + L2_EPS);
    for (size_t i = 0; i < n; i++)
        x[i] *= inverse;
}

/* Unit queries (times 1/sqrt(key dim)) and keys; decay and beta from their projections. */
static void prepare_tokens(void *ctx, size_t begin, size_t end, int thread) {
    const deltanet *d = ctx;
    const tq_config *c = d->c;
    const float *rate = d->r->w->vec[TQ_VEC_RATE], *dt_bias = d->r->w->vec[TQ_VEC_DT_BIAS];
    float scale = 1.0F / sqrtf((float)c->linear_key_dim);
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *q = d->qkv + i * d->channels;
        for (size_t h = 0; h < c->linear_key_heads; h++) {
            l2_normalise(q + h * c->linear_key_dim, c->linear_key_dim, scale);
            l2_normalise(q + d->keys + h * c->linear_key_dim, c->linear_key_dim, 1.0F);
        }
        float *decay = d->decay + i * c->linear_value_heads, *beta = d->beta + i * c->linear_value_heads;
        for (size_t h = 0; h < c->linear_value_heads; h++) {
            decay[h] = expf(rate[h] * softplus(decay[h] + dt_bias[h]));
            beta[h] = 1.0F / (1.0F + expf(-beta[h]));
        }
    }
}

/* Carries `rows` rows of a head's state, from value r0 on, through the tokens of a sequence. */
static void scan_rows(const deltanet *d, size_t seq, size_t head, size_t r0, size_t rows, float *s, float *scale) {
    const tq_kernels *k = tq_k();
    const tq_config *c = d->c;
    size_t len = d->r->len, dim = c->linear_key_dim, heads = c->linear_value_heads;
    size_t key_head = c->linear_converted ? head % c->linear_key_heads : head / (heads / c->linear_key_heads);
    size_t at = head * c->linear_value_dim + r0;
    float divisor = *scale, recalled[TQ_STATE_ROWS];
    for (size_t i = seq * len; i < (seq + 1) * len; i++) {
        const float *q = d->qkv + i * d->channels + key_head * dim, *key = q + d->keys;
        const float *v = d->qkv + i * d->channels + 2 * d->keys + at;
        float *out = d->out + i * d->value + at, beta = d->beta[i * heads + head];
        divisor *= d->decay[i * heads + head];
        if (divisor < SCALE_MIN) {
            for (size_t j = 0; j < rows * dim; j++)
                s[j] *= divisor;
            divisor = 1.0F;
        }
        k->matvec_f32(recalled, s, key, rows, dim);
        for (size_t j = 0; j < rows; j++)
            k->axpy(s + j * dim, beta * (v[j] - divisor * recalled[j]) / divisor, key, dim);
        k->matvec_f32(out, s, q, rows, dim);
        for (size_t j = 0; j < rows; j++)
            out[j] *= divisor;
    }
    *scale = divisor;
}

static void scan(void *ctx, size_t begin, size_t end, int thread) {
    const deltanet *d = ctx;
    const tq_config *c = d->c;
    size_t per_seq = c->linear_value_heads * d->state_chunks, dim = c->linear_key_dim;
    for (size_t task = begin; task < end; task++) {
        size_t within = task % per_seq, head = within / d->state_chunks, r0 = within % d->state_chunks * TQ_STATE_ROWS;
        size_t left = c->linear_value_dim - r0, rows = left < TQ_STATE_ROWS ? left : TQ_STATE_ROWS;
        float fresh = 1.0F, *s = d->r->f->work[thread].data, *scale = &fresh;
        if (d->r->cache) {
            s = d->r->cache->blocks[d->r->block].s + (head * c->linear_value_dim + r0) * dim;
            scale = d->r->cache->blocks[d->r->block].scale + within;
        } else {
            memset(s, 0, rows * dim * sizeof *s);
        }
        scan_rows(d, task / per_seq, head, r0, rows, s, scale);
    }
}

/* out = rmsnorm(out) * silu(z), head by head. */
static void gate_tokens(void *ctx, size_t begin, size_t end, int thread) {
    const deltanet *d = ctx;
    const tq_config *c = d->c;
    const float *norm = d->r->w->vec[TQ_VEC_GATED_NORM];
    (void)thread;
    for (size_t i = begin; i < end; i++) {
        float *out = d->out + i * d->value;
        for (size_t h = 0; h < c->linear_value_heads; h++) {
            float *o = out + h * c->linear_value_dim;
            tq_k()->rmsnorm(o, o, norm, c->linear_value_dim, c->norm_eps);
        }
        tq_k()->silu_mul(out, d->z + i * d->value, out, d->value);
    }
}

static int run_state(deltanet *d, size_t n, tq_err *err) {
    const tq_block_run *r = d->r;
    const tq_config *c = d->c;
    tq_forward *f = r->f;
    size_t state = TQ_STATE_ROWS * c->linear_key_dim, past = (c->linear_conv - 1) * CONV_CHANNELS;
    int rc = tq_forward_work(f, state > past ? state : past, err);
    if (rc != TQ_OK) return rc;
    size_t groups = (d->channels + CONV_CHANNELS - 1) / CONV_CHANNELS;
    size_t chunks = c->linear_value_heads * d->state_chunks;
    tq_forward_parallel(f, r->seqs * groups, r->len == 1 ? 16 : 1, convolve, d);
    tq_forward_parallel(f, n, 8, prepare_tokens, d);
    tq_forward_parallel(f, r->seqs * chunks, r->len == 1 ? 8 : 1, scan, d);
    tq_forward_parallel(f, n, 8, gate_tokens, d);
    return TQ_OK;
}

int tq_deltanet_run(const tq_block_run *r, tq_err *err) {
    tq_forward *f = r->f;
    const tq_config *c = f->config;
    size_t n = r->seqs * r->len, heads = c->linear_value_heads;
    deltanet d = {.r = r,
                  .c = c,
                  .channels = tq_dim_of(c, TQ_DIM_CONV_CHANNELS),
                  .keys = c->linear_key_heads * c->linear_key_dim,
                  .value = tq_dim_of(c, TQ_DIM_VALUE),
                  .state_chunks = (c->linear_value_dim + TQ_STATE_ROWS - 1) / TQ_STATE_ROWS};
    int rc = tq_buffer_need(&f->mixed[0], n * d.channels, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->mixed[1], n * d.value, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->mixed[2], n * heads, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->mixed[3], n * heads, err);
    if (rc == TQ_OK) rc = tq_buffer_need(&f->mixed[4], n * d.value, err);
    if (rc != TQ_OK) return rc;
    d.qkv = f->mixed[0].data;
    d.z = f->mixed[1].data;
    d.decay = f->mixed[2].data;
    d.beta = f->mixed[3].data;
    d.out = f->mixed[4].data;
    tq_linear_job in[] = {tq_linear_role(f, r->q, r->w, TQ_ROLE_QKV, d.qkv, d.channels, false),
                          tq_linear_role(f, r->q, r->w, TQ_ROLE_Z, d.z, d.value, false),
                          tq_linear_plain(&r->w->side[TQ_SIDE_A], d.decay),
                          tq_linear_plain(&r->w->side[TQ_SIDE_B], d.beta)};
    rc = tq_linear_run(f, in, 4, f->x.data, n, err);
    double start = tq_now();
    if (rc == TQ_OK) rc = run_state(&d, n, err);
    f->seconds[TQ_PART_DELTANET] += tq_now() - start;
    if (rc != TQ_OK) return rc;
    tq_linear_job out = tq_linear_role(f, r->q, r->w, TQ_ROLE_OUT, r->out, c->hidden, r->out == r->h);
    return tq_linear_run(f, &out, 1, d.out, n, err);
}
