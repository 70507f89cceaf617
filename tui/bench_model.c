/* bench_model.c - a model of random weights. */
#include "tui/bench_model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "model/tensor_writer.h"

enum { CHUNK = 1 << 16, NAME_SIZE = 128, MATRICES = 9 };

static uint64_t next_random(uint64_t *state) {
    *state += 0x9e3779b97f4a7c15u; /* splitmix64 (Steele, Lea and Flood, OOPSLA 2014) */
    uint64_t z = *state;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void tq_bench_random(uint16_t *out, size_t n, float sigma, uint64_t seed) {
    enum { PIECE = 256 };
    float x[PIECE];
    for (size_t i = 0; i < n; i += PIECE) {
        size_t count = n - i < PIECE ? n - i : PIECE;
        for (size_t j = 0; j < count; j++) {
            /* A sum of four uniform numbers of 16 bits, with variance 4/12, is Gaussian enough to be timed. */
            uint64_t r = next_random(&seed);
            int sum = (int)(r & 0xffff) + (int)(r >> 16 & 0xffff) + (int)(r >> 32 & 0xffff) + (int)(r >> 48);
            x[j] = sigma * 1.7320508F * ((float)sum / 65536.0F - 2.0F);
        }
        tq_k()->f32_to_bf16(out + i, x, count);
    }
}

typedef struct bench_tensor {
    char name[NAME_SIZE];
    size_t shape[2];
    size_t rank; /* 1: a norm, all ones */
} bench_tensor;

static size_t list_block(const tq_shape *s, size_t block, bench_tensor t[MATRICES]) {
    size_t kv = s->hidden / s->heads * s->kv_heads;
    const struct {
        const char *name;
        size_t rows, cols;
    } rows[MATRICES] = {
        {"input_layernorm", s->hidden, 0},
        {"self_attn.q_proj", s->hidden, s->hidden},
        {"self_attn.k_proj", kv, s->hidden},
        {"self_attn.v_proj", kv, s->hidden},
        {"self_attn.o_proj", s->hidden, s->hidden},
        {"post_attention_layernorm", s->hidden, 0},
        {"mlp.gate_proj", s->intermediate, s->hidden},
        {"mlp.up_proj", s->intermediate, s->hidden},
        {"mlp.down_proj", s->hidden, s->intermediate},
    };
    for (size_t i = 0; i < MATRICES; i++) {
        (void)snprintf(t[i].name, sizeof t[i].name, "model.layers.%zu.%s.weight", block, rows[i].name);
        t[i].shape[0] = rows[i].rows;
        t[i].shape[1] = rows[i].cols;
        t[i].rank = rows[i].cols ? 2 : 1;
    }
    return MATRICES;
}

/* All tensors; the caller frees *out. */
static int list_tensors(const tq_shape *s, bench_tensor **out, size_t *count, tq_err *err) {
    bench_tensor *t = calloc(2 + s->blocks * MATRICES, sizeof *t);
    if (!t) return tq_fail(err, "out of memory");
    size_t n = 0;
    t[n++] = (bench_tensor){"model.embed_tokens.weight", {s->vocab, s->hidden}, 2};
    for (size_t b = 0; b < s->blocks; b++)
        n += list_block(s, b, t + n);
    t[n++] = (bench_tensor){"model.norm.weight", {s->hidden}, 1};
    *out = t;
    *count = n;
    return TQ_OK;
}

static size_t tensor_count(const bench_tensor *t) {
    return t->shape[0] * (t->rank == 2 ? t->shape[1] : 1);
}

static int write_tensor(tq_writer *w, const bench_tensor *t, uint16_t *chunk, uint64_t seed, tq_err *err) {
    int rc = TQ_OK;
    float sigma = t->rank == 2 ? 0.5F / sqrtf((float)t->shape[1]) : 0;
    for (size_t left = tensor_count(t); left && rc == TQ_OK;) {
        size_t n = left < CHUNK ? left : CHUNK;
        if (t->rank == 2)
            tq_bench_random(chunk, n, sigma, seed += left);
        else
            for (size_t i = 0; i < n; i++)
                chunk[i] = 0x3f80; /* 1 */
        rc = tq_writer_data(w, chunk, n * sizeof *chunk, err);
        left -= n;
    }
    return rc;
}

static int write_weights(const char *path, const tq_shape *s, tq_err *err) {
    bench_tensor *t = NULL;
    tq_writer *w = NULL;
    size_t n = 0;
    uint16_t *chunk = malloc(CHUNK * sizeof *chunk);
    int rc = chunk ? list_tensors(s, &t, &n, err) : tq_fail(err, "out of memory");
    if (rc == TQ_OK) rc = tq_writer_new(path, NULL, &w, err);
    for (size_t i = 0; i < n && rc == TQ_OK; i++)
        rc = tq_writer_declare(w, t[i].name, tq_dtype_name(TQ_BF16), t[i].shape, t[i].rank,
                               tensor_count(&t[i]) * sizeof *chunk, err);
    for (size_t i = 0; i < n && rc == TQ_OK; i++)
        rc = write_tensor(w, &t[i], chunk, i << 32, err);
    if (rc == TQ_OK)
        rc = tq_writer_finish(w, err);
    else
        tq_writer_abort(w);
    free(chunk);
    free(t);
    return rc;
}

static int write_config(const char *path, const tq_shape *s, tq_err *err) {
    char *text = NULL;
    int n = asprintf(&text,
                     "{\"model_type\": \"llama\", \"architectures\": [\"LlamaForCausalLM\"], \"vocab_size\": %zu, "
                     "\"hidden_size\": %zu, \"intermediate_size\": %zu, \"num_hidden_layers\": %zu, "
                     "\"num_attention_heads\": %zu, \"num_key_value_heads\": %zu, \"max_position_embeddings\": 4096, "
                     "\"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"tie_word_embeddings\": true, "
                     "\"hidden_act\": \"silu\"}\n",
                     s->vocab, s->hidden, s->intermediate, s->blocks, s->heads, s->kv_heads);
    if (n < 0) return tq_fail(err, "out of memory");
    int rc = tq_write_file(path, text, (size_t)n, err);
    free(text);
    return rc;
}

int tq_bench_model(const tq_shape *shape, const tq_session_options *options, tq_session **out, tq_err *err) {
    char dir[] = "/tmp/tqexplore-bench-XXXXXX", weights[64], config[64];
    if (!mkdtemp(dir)) return tq_fail(err, "%s: cannot make it: %s", dir, strerror(errno));
    (void)snprintf(weights, sizeof weights, "%s/model.safetensors", dir);
    (void)snprintf(config, sizeof config, "%s/config.json", dir);
    int rc = write_weights(weights, shape, err);
    if (rc == TQ_OK) rc = write_config(config, shape, err);
    if (rc == TQ_OK) rc = tq_session_open(dir, options, out, err);
    (void)unlink(weights);
    (void)unlink(config);
    (void)rmdir(dir);
    return rc;
}
