/* weights.c - binds tensors by name and checks them once. Reads norms and other small tensors, no matrix. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/packed.h"
#include "model/weights_internal.h"

#define NAME_SIZE 256
/* Norms, biases and convolutions are at most this large, in bytes; matrices are larger or not read here. */
#define SMALL_TENSOR 131072

struct tq_model {
    const tq_source *source;
    tq_config config;
    tq_rotation_cache *rotations;
    const tq_prefix *prefix;
    tq_matrix_view positions; /* learned ones; data NULL: none */
    float *final_norm;
    float *final_bias;               /* or NULL */
    float *rope_divisors;            /* of a GGUF file; or NULL */
    struct tq_block_weights *blocks; /* [config.blocks] */
    tq_matrix *matrices;
    size_t n_matrices, n_in_blocks;
    size_t embedding, head; /* indices of matrices */
    size_t tensors_used;
    bool streams;
    size_t kept_bytes, kept_weights, matrix_bytes, matrix_weights, end_bytes, end_weights;
    char note[256], baseline[64];
};

static void shape_text(char *buf, size_t size, const size_t *shape, size_t rank) {
    size_t at = 0;
    buf[0] = '\0';
    for (size_t i = 0; i < rank && at < size; i++) {
        int n = snprintf(buf + at, size - at, "%s%zu", i ? ", " : "", shape[i]);
        at += n > 0 ? (size_t)n : 0;
    }
}

/* The tensor `name`, of floats and of this shape; NULL with a message. */
static const tq_tensor *find_tensor(tq_model *m, const char *name, const size_t *shape, size_t rank, tq_err *err) {
    const tq_tensor *t = tq_source_find(m->source, name);
    const char *path = tq_source_path(m->source);
    char want[96], have[96];
    shape_text(want, sizeof want, shape, rank);
    if (!t) {
        (void)tq_fail(err, "%s: tensor %s is missing, expected [%s]", path, name, want);
        return NULL;
    }
    shape_text(have, sizeof have, t->shape, t->rank);
    if (t->rank != rank || memcmp(t->shape, shape, rank * sizeof *shape) != 0) {
        (void)tq_fail(err, "%s: tensor %s is [%s], expected [%s]", path, name, have, want);
        return NULL;
    }
    if (t->dtype != TQ_F32 && t->dtype != TQ_F16 && t->dtype != TQ_BF16 && t->dtype != TQ_CODED) {
        (void)tq_fail(err, "%s: tensor %s is %s, expected %s", path, name, t->dtype_name,
                      strcmp(tq_source_format(m->source), "gguf") == 0
                          ? "F32, F16, BF16, Q4_0 to Q8_0, Q2_K to Q6_K, IQ4_NL or IQ4_XS"
                          : "F32, F16 or BF16");
        return NULL;
    }
    m->tensors_used++;
    return t;
}

static void count_kept(tq_model *m, const tq_tensor *t) {
    m->kept_bytes += t->bytes;
    m->kept_weights += t->count;
}

static int bind_kept_matrix(tq_model *m, const char *name, size_t rows, size_t cols, tq_matrix_view *out, tq_err *err) {
    const tq_tensor *t = tq_source_find(m->source, name);
    bool vector = t && rows == 1 && t->rank == 1; /* as GGUF files have it */
    t = find_tensor(m, name, vector ? &cols : (const size_t[]){rows, cols}, vector ? 1 : 2, err);
    if (!t) return TQ_FAIL;
    count_kept(m, t);
    *out = tq_tensor_view(t);
    return TQ_OK;
}

/* A small tensor as floats; rows x cols is its shape with ones left out, transposed when asked. *out is owned by the
 * model. */
static int bind_vector(tq_model *m, const char *name, const size_t *shape, size_t rank, tq_take take, float **out,
                       tq_err *err) {
    const tq_tensor *t = find_tensor(m, name, shape, rank, err);
    if (!t) return TQ_FAIL;
    int rc = TQ_OK;
    tq_matrix_view view = tq_tensor_view(t);
    size_t rows = view.rows, cols = view.cols;
    if (t->codec && cols % t->codec->block) /* a vector that lies paired */
        return tq_fail(err, "%s: tensor %s is %s, expected floats", tq_source_path(m->source), name, t->dtype_name);
    float *values = tq_calloc_aligned(t->count, sizeof *values);
    float *row = malloc(cols * sizeof *row);
    if (!values || !row) {
        rc = tq_fail(err, "%s: tensor %s does not fit in memory", tq_source_path(m->source), name);
        goto done;
    }
    float plus = take == TQ_TAKE_NORM && m->config.norm_plus_one ? 1.0F : 0.0F;
    for (size_t r = 0; r < rows; r++) {
        tq_matrix_row(&view, r, row);
        for (size_t c = 0; c < cols; c++) {
            float v = take == TQ_TAKE_MINUS_EXP ? -expf(row[c]) : row[c] + plus;
            if (!isfinite(v)) {
                rc = tq_fail(err, "%s: tensor %s holds a value that is not finite, at %zu", tq_source_path(m->source),
                             name, r * cols + c);
                goto done;
            }
            values[take == TQ_TAKE_TRANSPOSED ? c * rows + r : r * cols + c] = v;
        }
    }
    count_kept(m, t);
    *out = values;
    values = NULL;
done:
    free(values);
    free(row);
    return rc;
}

static bool is_in(unsigned set, int member) {
    return (set >> (unsigned)member & 1U) != 0;
}

/* A matrix at the end of the list, its place and its weights still to be bound. NULL with a message. */
static tq_matrix *add_matrix(tq_model *m, const char *name, size_t rows, size_t cols, tq_err *err) {
    tq_matrix *x = &m->matrices[m->n_matrices];
    x->name = strdup(name);
    if (!x->name) {
        (void)tq_fail(err, "%s: out of memory", tq_source_path(m->source));
        return NULL;
    }
    m->n_matrices++; /* from here on tq_model_free frees it */
    x->expert = SIZE_MAX;
    x->w = (tq_matrix_view){.rows = rows, .cols = cols, .dtype = TQ_DTYPE_OTHER};
    return x;
}

/* Its weights, from a tensor of its own or as a tq export packed them. */
static int bind_weights(tq_model *m, tq_matrix *x, tq_err *err) {
    char tensor[NAME_SIZE + 8];
    size_t rows = x->w.rows, cols = x->w.cols;
    (void)snprintf(tensor, sizeof tensor, "%s.weight", x->name);
    if (!tq_source_find(m->source, tensor)) {
        int rc = tq_packed_load(m->source, x->name, rows, cols, m->rotations, &x->packed, err);
        if (rc != TQ_OK || x->packed) return rc;
    }
    bool transposed = m->config.arch == TQ_ARCH_GPT2 && x->end == TQ_END_NONE;
    x->tensor = find_tensor(m, tensor, (const size_t[]){transposed ? cols : rows, transposed ? rows : cols}, 2, err);
    if (!x->tensor) return TQ_FAIL;
    if (transposed && x->tensor->codec)
        return tq_fail(err, "%s: tensor %s is %s, expected floats", tq_source_path(m->source), tensor,
                       x->tensor->dtype_name);
    x->w = tq_tensor_view(x->tensor);
    x->w.rows = rows;
    x->w.cols = cols;
    x->w.transposed = transposed;
    return TQ_OK;
}

/* A matrix of a block: "LAYERS.3.LABEL". label is borrowed. */
static tq_matrix *add_block_matrix(tq_model *m, size_t block, const char *label, tq_dim rows, tq_dim cols,
                                   tq_err *err) {
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof name, "%s%s.%zu.%s", m->prefix->text, m->prefix->block, block, label);
    tq_matrix *x = add_matrix(m, name, tq_dim_of(&m->config, rows), tq_dim_of(&m->config, cols), err);
    if (!x) return NULL;
    x->label = label;
    x->block = block;
    return x;
}

static int bind_matrix(tq_model *m, size_t block, const tq_matrix_rule *rule, tq_err *err) {
    tq_matrix *x = add_block_matrix(m, block, rule->label, rule->rows, rule->cols, err);
    if (!x) return TQ_FAIL;
    m->blocks[block].matrix[rule->role] = m->n_matrices - 1;
    int rc = bind_weights(m, x, err);
    if (rc == TQ_OK && tq_bias_present(&m->config, rule->bias)) {
        char tensor[NAME_SIZE + 8];
        float *bias = NULL;
        (void)snprintf(tensor, sizeof tensor, "%s.bias", x->name);
        rc = bind_vector(m, tensor, &x->w.rows, 1, TQ_TAKE_AS_IS, &bias, err);
        x->bias = bias;
    }
    return rc;
}

/* The expert's part of a tensor that holds all experts', if there is one. *found says so. */
static int bind_part(tq_model *m, tq_matrix *x, const tq_expert_rule *rule, bool *found, tq_err *err) {
    size_t rows = x->w.rows, cols = x->w.cols;
    char name[NAME_SIZE];
    *found = false;
    for (size_t k = 0; k < sizeof rule->stacked / sizeof *rule->stacked && !*found; k++) {
        size_t parts = rule->stacked[k].parts, part = rule->stacked[k].part;
        if (!rule->stacked[k].name) continue;
        (void)snprintf(name, sizeof name, "%s%s.%zu.%s", m->prefix->text, m->prefix->block, x->block,
                       rule->stacked[k].name);
        if (!tq_source_find(m->source, name)) continue;
        const tq_tensor *t = find_tensor(m, name, (const size_t[]){m->config.experts, parts * rows, cols}, 3, err);
        if (!t) return TQ_FAIL;
        if (x->expert || part) m->tensors_used--; /* counted once */
        *found = true;
        x->tensor = t;
        x->w = tq_tensor_view(t);
        x->w.data = (const char *)t->data + (x->expert * parts + part) * rows * (t->bytes / x->w.rows);
        x->w.rows = rows;
    }
    return TQ_OK;
}

static int bind_expert(tq_model *m, size_t block, const tq_expert_rule *rule, size_t expert, tq_err *err) {
    char label[64], name[NAME_SIZE];
    bool found = false; /* in a tensor of all experts */
    (void)snprintf(label, sizeof label, "mlp.experts.%zu.%s", expert, rule->label);
    tq_matrix *x = add_block_matrix(m, block, label, rule->rows, rule->cols, err);
    if (!x) return TQ_FAIL;
    x->label = x->name + strlen(x->name) - strlen(label);
    x->expert = expert;
    x->group = rule->group;
    (void)snprintf(name, sizeof name, "%s.weight", x->name);
    if (!tq_source_find(m->source, name)) {
        (void)snprintf(name, sizeof name, "%s" TQ_PACKED_INFIX "spec", x->name);
        if (!tq_source_find(m->source, name) && bind_part(m, x, rule, &found, err) != TQ_OK) return TQ_FAIL;
    }
    return found ? TQ_OK : bind_weights(m, x, err);
}

static int bind_experts(tq_model *m, size_t block, tq_err *err) {
    int rc = TQ_OK;
    for (size_t k = 0; k < TQ_EXPERT_ROLES && rc == TQ_OK; k++) {
        m->blocks[block].expert[k] = m->n_matrices;
        for (size_t e = 0; e < m->config.experts && rc == TQ_OK; e++)
            rc = bind_expert(m, block, &tq_expert_rules[k], e, err);
    }
    return rc;
}

static int bind_block(tq_model *m, size_t block, tq_err *err) {
    struct tq_block_weights *w = &m->blocks[block];
    const tq_config *c = &m->config;
    char name[NAME_SIZE];
    int rc = TQ_OK;
    w->mixer = c->mixer[block];
    for (int i = 0; i < TQ_ROLE_COUNT; i++)
        w->matrix[i] = SIZE_MAX;
    for (int i = 0; i < TQ_EXPERT_ROLES; i++)
        w->expert[i] = SIZE_MAX;
    for (size_t i = 0; i < tq_vector_rules_count && rc == TQ_OK; i++) {
        const tq_vector_rule *rule = &tq_vector_rules[i];
        if (!is_in(rule->mixers, w->mixer) || !is_in(rule->archs, c->arch)) continue;
        size_t shape[3], rank = 0;
        bool converted = c->linear_converted && (rule->vec == TQ_VEC_CONV || rule->vec == TQ_VEC_RATE);
        for (size_t d = 0; d < rule->rank; d++)
            if (!converted || rule->shape[d] != TQ_DIM_ONE) shape[rank++] = tq_dim_of(c, rule->shape[d]);
        tq_take take = converted && rule->take == TQ_TAKE_MINUS_EXP ? TQ_TAKE_AS_IS : rule->take;
        (void)snprintf(name, sizeof name, "%s%s.%zu.%s", m->prefix->text, m->prefix->block, block, rule->name);
        rc = bind_vector(m, name, shape, rank, take, &w->vec[rule->vec], err);
    }
    for (int i = 0; i < TQ_SIDE_COUNT && rc == TQ_OK; i++) {
        const tq_side_rule *rule = &tq_side_rules[i];
        if (!is_in(rule->mixers, w->mixer) || !is_in(rule->archs, c->arch) || !tq_mlp_is(c, block, rule->mlp)) continue;
        (void)snprintf(name, sizeof name, "%s%s.%zu.%s", m->prefix->text, m->prefix->block, block, rule->name);
        rc = bind_kept_matrix(m, name, tq_dim_of(c, rule->rows), tq_dim_of(c, rule->cols), &w->side[i], err);
    }
    for (size_t i = 0; i < tq_matrix_rules_count && rc == TQ_OK; i++) {
        const tq_matrix_rule *rule = &tq_matrix_rules[i];
        if (is_in(rule->mixers, w->mixer) && is_in(rule->archs, c->arch) && tq_mlp_is(c, block, rule->mlp))
            rc = bind_matrix(m, block, rule, err);
    }
    if (rc == TQ_OK && c->mixture[block]) rc = bind_experts(m, block, err);
    return rc;
}

/* The first prefix under which there is an embedding, as stored or packed. */
static int find_prefix(tq_model *m, tq_err *err) {
    char name[NAME_SIZE], packed[NAME_SIZE];
    for (size_t i = 0; i < tq_prefixes_count; i++) {
        const tq_prefix *p = &tq_prefixes[i];
        (void)snprintf(name, sizeof name, "%s%s.weight", p->text, p->embedding);
        (void)snprintf(packed, sizeof packed, "%s%s" TQ_PACKED_INFIX "spec", p->text, p->embedding);
        bool there = tq_source_find(m->source, name) || tq_source_find(m->source, packed);
        if (!there || p->layer_norm != m->config.layer_norm) continue;
        m->prefix = &tq_prefixes[i];
        (void)snprintf(m->config.prefix, sizeof m->config.prefix, "%s", m->prefix->text);
        return TQ_OK;
    }
    (void)tq_fail(err, "%s: tensor %s.weight is missing, expected [%zu, %zu]", tq_source_path(m->source),
                  m->config.layer_norm ? "transformer.wte" : "model.embed_tokens", m->config.vocab, m->config.hidden);
    return TQ_FAIL;
}

/* Asks for the pages of the small tensors all at once: they are spread over the whole file, and a disk answers many
 * questions together sooner than one after another. */
static void prefetch_small(const tq_model *m) {
    size_t length = strlen(m->prefix->text);
    for (size_t i = 0; i < tq_source_count(m->source); i++) {
        const tq_tensor *t = tq_source_at(m->source, i);
        if (t->bytes > SMALL_TENSOR || strncmp(t->name, m->prefix->text, length) != 0) continue;
        tq_advise_pages(t->data, t->bytes, MADV_WILLNEED);
    }
}

/* Llama 3.1 in GGUF files: its scaled frequencies as divisors of the plain ones. */
static int bind_divisors(tq_model *m, tq_err *err) {
    static const char name[] = "rope_freqs.weight";
    size_t half = m->config.rope.dims / 2;
    if (!tq_source_find(m->source, name)) return TQ_OK;
    if (bind_vector(m, name, &half, 1, TQ_TAKE_AS_IS, &m->rope_divisors, err) != TQ_OK) return TQ_FAIL;
    for (size_t i = 0; i < half; i++)
        if (!(m->rope_divisors[i] > 0))
            return tq_fail(err, "%s: tensor %s: expected positive numbers", tq_source_path(m->source), name);
    m->config.rope.divisors = m->config.local_rope.divisors = m->rope_divisors;
    return TQ_OK;
}

static int bind_end(tq_model *m, const char *name, const char *label, tq_end end, tq_err *err) {
    tq_matrix *x = add_matrix(m, name, m->config.vocab, m->config.hidden, err);
    if (!x) return TQ_FAIL;
    x->label = label;
    x->block = m->config.blocks;
    x->end = end;
    return bind_weights(m, x, err);
}

/* Embedding and head; to be called when all blocks are bound. */
static int bind_ends(tq_model *m, tq_err *err) {
    const tq_config *c = &m->config;
    char name[NAME_SIZE];
    m->n_in_blocks = m->embedding = m->head = m->n_matrices;
    (void)snprintf(name, sizeof name, "%s%s", m->prefix->text, m->prefix->embedding);
    int rc = bind_end(m, name, m->prefix->embedding, c->tied ? TQ_END_TIED : TQ_END_EMBEDDING, err);
    if (rc != TQ_OK || c->tied) return rc;
    m->head = m->n_matrices;
    (void)snprintf(name, sizeof name, "%s", m->prefix->head);
    name[strlen(name) - strlen(".weight")] = '\0';
    return bind_end(m, name, "lm_head", TQ_END_HEAD, err);
}

static int bind_final_norm(tq_model *m, tq_err *err) {
    const tq_config *c = &m->config;
    char name[NAME_SIZE];
    (void)snprintf(name, sizeof name, "%s%s.weight", m->prefix->text, m->prefix->norm);
    int rc = bind_vector(m, name, &c->hidden, 1, TQ_TAKE_NORM, &m->final_norm, err);
    if (rc == TQ_OK && c->layer_norm) {
        (void)snprintf(name, sizeof name, "%s%s.bias", m->prefix->text, m->prefix->norm);
        rc = bind_vector(m, name, &c->hidden, 1, TQ_TAKE_AS_IS, &m->final_bias, err);
        (void)snprintf(name, sizeof name, "%swpe.weight", m->prefix->text);
        if (rc == TQ_OK) rc = bind_kept_matrix(m, name, c->context, c->hidden, &m->positions, err);
    }
    return rc == TQ_OK ? bind_divisors(m, err) : rc;
}

static void note_append(tq_model *m, size_t count, const char *what) {
    size_t at = strlen(m->note);
    if (!count) return;
    (void)snprintf(m->note + at, sizeof m->note - at, "%s%zu %s", at ? " and " : "skipped ", count, what);
}

/* Says what the file holds beyond what was bound. Packed parts were looked at by name when they were bound. */
static void note_unused(tq_model *m) {
    size_t total = tq_source_count(m->source), known = m->tensors_used, last = 0;
    for (size_t i = 0; i < total; i++)
        known += strstr(tq_source_at(m->source, i)->name, ".weight.tq.") != NULL;
    for (size_t k = 0; k < tq_foreigns_count; k++) {
        for (size_t i = 0; i < total; i++)
            last += strstr(tq_source_at(m->source, i)->name, tq_foreigns[k].part) != NULL;
        if (k + 1 < tq_foreigns_count && strcmp(tq_foreigns[k + 1].what, tq_foreigns[k].what) == 0) continue;
        note_append(m, last, tq_foreigns[k].what);
        known += last;
        last = 0;
    }
    note_append(m, total > known ? total - known : 0, "other");
    if (m->note[0]) {
        size_t at = strlen(m->note);
        (void)snprintf(m->note + at, sizeof m->note - at, " tensors");
    }
}

static void count_weights(tq_model *m) {
    for (size_t i = 0; i < m->n_matrices; i++) {
        const tq_matrix *x = &m->matrices[i];
        bool in_block = i < m->n_in_blocks;
        *(in_block ? &m->matrix_weights : &m->end_weights) += x->w.rows * x->w.cols;
        *(in_block ? &m->matrix_bytes : &m->end_bytes) +=
            x->packed ? tq_qmatrix_bytes(x->packed) : tq_matrix_bytes(&x->w);
    }
}

int tq_model_bind(const tq_source *source, const tq_config *config, tq_model **out, tq_err *err) {
    int rc = TQ_FAIL;
    *out = NULL;
    tq_model *m = calloc(1, sizeof *m);
    if (!m) return tq_fail(err, "%s: out of memory", tq_source_path(source));
    m->source = source;
    m->config = *config;
    m->rotations = tq_rotation_cache_new();
    m->blocks = calloc(config->blocks, sizeof *m->blocks);
    m->matrices = calloc(config->blocks * (TQ_ROLE_COUNT + TQ_EXPERT_ROLES * config->experts) + 2, sizeof *m->matrices);
    if (!m->rotations || !m->blocks || !m->matrices) {
        rc = tq_fail(err, "%s: out of memory", tq_source_path(source));
        goto fail;
    }
    rc = find_prefix(m, err);
    if (rc != TQ_OK) goto fail;
    prefetch_small(m);
    rc = bind_final_norm(m, err);
    for (size_t b = 0; b < config->blocks && rc == TQ_OK; b++)
        rc = bind_block(m, b, err);
    if (rc == TQ_OK) rc = bind_ends(m, err);
    if (rc != TQ_OK) goto fail;
    count_weights(m);
    note_unused(m);
    tq_baseline_text(m->matrices, m->n_in_blocks, tq_source_format(source), m->baseline, sizeof m->baseline);
    *out = m;
    return TQ_OK;
fail:
    tq_model_free(m);
    return rc;
}

void tq_model_free(tq_model *m) {
    if (!m) return;
    for (size_t i = 0; i < m->n_matrices; i++) {
        tq_qmatrix_free(m->matrices[i].packed);
        free((void *)m->matrices[i].name);
        free((void *)m->matrices[i].bias);
    }
    for (size_t b = 0; m->blocks && b < m->config.blocks; b++)
        for (int i = 0; i < TQ_VEC_COUNT; i++)
            free(m->blocks[b].vec[i]);
    tq_rotation_cache_free(m->rotations);
    free(m->final_norm);
    free(m->final_bias);
    free(m->rope_divisors);
    free(m->blocks);
    free(m->matrices);
    free(m);
}

tq_rotation_cache *tq_model_rotations(const tq_model *m) {
    return m->rotations;
}
const tq_config *tq_model_config(const tq_model *m) {
    return &m->config;
}
const tq_source *tq_model_source(const tq_model *m) {
    return m->source;
}
const char *tq_model_note(const tq_model *m) {
    return m->note;
}
const char *tq_model_baseline(const tq_model *m) {
    return m->baseline;
}
const char *tq_model_block_kind(const tq_model *m, size_t block) {
    return block < m->config.blocks ? tq_mixer_name(m->config.mixer[block]) : "embedding, head";
}
size_t tq_model_matrices(const tq_model *m) {
    return m->n_matrices;
}
size_t tq_model_block_matrices(const tq_model *m) {
    return m->n_in_blocks;
}
const tq_matrix *tq_model_matrix(const tq_model *m, size_t i) {
    return &m->matrices[i];
}

size_t tq_model_reach(const tq_model *m, size_t i) {
    const tq_matrix *x = &m->matrices[i];
    return x->end == TQ_END_EMBEDDING || x->end == TQ_END_TIED ? 0 : x->block;
}

size_t tq_model_find(const tq_model *m, const char *name) {
    return tq_model_find_from(m, name, 0);
}

size_t tq_model_find_from(const tq_model *m, const char *name, size_t first) {
    for (size_t k = 0, i = first; k < m->n_matrices; k++, i++) {
        if (i >= m->n_matrices) i = 0;
        if (strcmp(m->matrices[i].name, name) == 0) return i;
    }
    return SIZE_MAX;
}

size_t tq_model_kept_bytes(const tq_model *m) {
    return m->kept_bytes;
}
size_t tq_model_matrix_bytes(const tq_model *m) {
    return m->matrix_bytes;
}
size_t tq_model_kept_weights(const tq_model *m) {
    return m->kept_weights;
}
size_t tq_model_matrix_weights(const tq_model *m) {
    return m->matrix_weights;
}
void tq_model_set_streaming(tq_model *m, bool streams) {
    m->streams = streams;
}
bool tq_model_streams(const tq_model *m) {
    return m->streams;
}
size_t tq_model_end_bytes(const tq_model *m) {
    return m->end_bytes;
}
size_t tq_model_end_weights(const tq_model *m) {
    return m->end_weights;
}
size_t tq_model_stored_bytes(const tq_model *m) {
    return m->kept_bytes + m->matrix_bytes + m->end_bytes;
}
size_t tq_model_weights(const tq_model *m) {
    return m->kept_weights + m->matrix_weights + m->end_weights;
}
const struct tq_block_weights *tq_model_block(const tq_model *m, size_t block) {
    return &m->blocks[block];
}
size_t tq_model_embedding(const tq_model *m) {
    return m->embedding;
}
size_t tq_model_head(const tq_model *m) {
    return m->head;
}
const float *tq_model_final_norm(const tq_model *m) {
    return m->final_norm;
}
const float *tq_model_final_bias(const tq_model *m) {
    return m->final_bias;
}
const tq_matrix_view *tq_model_positions(const tq_model *m) {
    return m->positions.data ? &m->positions : NULL;
}
