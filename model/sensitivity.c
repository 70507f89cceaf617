/* sensitivity.c - one matrix at a time, last block first, each measurement written down at once. See sensitivity.h. */
#include "model/sensitivity.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/journal.h"
#include "model/source_internal.h"

#define VERSION 1
#define DEFAULT_CTX 512
#define GROUPS_MAX 8 /* at least tq_groups_count */

static const tq_choice default_configs[] = {
    {TQ_BITS_4T, TQ_GROUP_DEFAULT}, {TQ_BITS_4_2, TQ_GROUP_DEFAULT}, {TQ_BITS_4_4, TQ_GROUP_DEFAULT}};

const tq_choice *tq_sweep_configs_default(size_t *n) {
    *n = sizeof default_configs / sizeof *default_configs;
    return default_configs;
}

/* Everything about one matrix. */
typedef struct row {
    tq_sensed at[TQ_BITS_COUNT][GROUPS_MAX];
} row;

struct tq_sensitivity {
    const tq_model *model;
    tq_pool *pool;
    tq_plan *base;
    tq_choice *configs; /* [n_configs] */
    size_t n_configs, matrices;
    int *ids; /* [tokens] */
    size_t ctx, tokens;
    row *rows;                         /* [matrices] */
    char *state_dir, journal_name[32]; /* NULL: nothing is kept */
    char *path;
    uint64_t key;
    tq_journal *journal; /* NULL: not held */
    bool base_known;
    double base_kld; /* of the base plan itself */

    tq_evaluator *evaluator; /* from here on: NULL until the first measurement */
    tq_qmatrix **q;          /* [matrices] the base plan, packed */
    size_t clean;            /* at the inputs of blocks up to this one the evaluator has the base plan's states */
};

/* --- where a config stands --- */

static size_t group_index(size_t group) {
    for (size_t i = 0; i < tq_groups_count && i < GROUPS_MAX; i++)
        if (tq_groups[i] == group) return i;
    return SIZE_MAX;
}

/* NULL for a group that is not offered. */
static tq_sensed *cell_of(const tq_sensitivity *s, size_t matrix, tq_choice c) {
    size_t g = group_index(c.group);
    return g == SIZE_MAX || c.bits == TQ_BITS_KEEP ? NULL : &s->rows[matrix].at[c.bits][g];
}

static tq_qspec spec_of(const tq_sensitivity *s, tq_choice c) {
    tq_common common = tq_plan_common(s->base);
    return tq_qspec_of(c.bits, c.group, &common);
}

/* Can it be measured, and is it no part of the base plan? */
static bool wanted(const tq_sensitivity *s, size_t matrix, tq_choice c) {
    const tq_matrix *m = tq_model_matrix(s->model, matrix);
    return !m->packed && !tq_choice_blocked(m, c, tq_plan_common(s->base).rotation) &&
           !tq_choice_equal(c, tq_plan_get(s->base, matrix));
}

tq_sensed tq_sensitivity_get(const tq_sensitivity *s, size_t matrix, tq_choice c) {
    if (s->base_known && tq_choice_equal(c, tq_plan_get(s->base, matrix))) {
        tq_sensed same = {.measured = true};
        const tq_sensed *cell = cell_of(s, matrix, c);
        same.coded = c.bits == TQ_BITS_KEEP || (cell && cell->coded);
        if (cell) same.rel_mse = cell->rel_mse;
        return same;
    }
    const tq_sensed *cell = cell_of(s, matrix, c);
    return cell ? *cell : (tq_sensed){0};
}

size_t tq_sensitivity_total(const tq_sensitivity *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->matrices; i++)
        for (size_t c = 0; c < s->n_configs; c++)
            n += wanted(s, i, s->configs[c]);
    return n;
}

size_t tq_sensitivity_left(const tq_sensitivity *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->matrices; i++)
        for (size_t c = 0; c < s->n_configs; c++)
            n += wanted(s, i, s->configs[c]) && !cell_of(s, i, s->configs[c])->measured;
    return n;
}

size_t tq_sensitivity_tokens(const tq_sensitivity *s) {
    return s->tokens;
}

const char *tq_sensitivity_path(const tq_sensitivity *s) {
    return s->path;
}

/* --- the journal: "base KLD", "code MATRIX BITS GROUP MSE", "kld MATRIX BITS GROUP MSE KLD ERROR" --- */

static bool figure(double x) {
    return isfinite(x) && fabs(x) < 1e6;
}

static bool take_line(void *ctx, const char *line) {
    tq_sensitivity *s = ctx;
    char kind[8], bits[8], group[24];
    size_t matrix = 0, size = 0;
    double mse = 0, kld = 0, error = 0, base = 0;
    if (sscanf(line, "base %lf", &base) == 1 && figure(base)) {
        s->base_known = true;
        s->base_kld = base;
        return true;
    }
    int n = sscanf(line, "%7s %zu %7s %23s %lf %lf %lf", kind, &matrix, bits, group, &mse, &kld, &error);
    bool measured = n == 7 && strcmp(kind, "kld") == 0;
    if (!measured && (n != 5 || strcmp(kind, "code") != 0)) return false;
    const tq_bits_traits *t = tq_bits_find(bits);
    if (!t || !tq_group_parse(group, &size) || matrix >= s->matrices || !figure(mse) || mse < 0) return false;
    tq_sensed *cell = cell_of(s, matrix, (tq_choice){t->id, size});
    if (!cell || (measured ? cell->measured : cell->coded) || !figure(kld) || !figure(error)) return false;
    cell->coded = true;
    cell->rel_mse = mse;
    if (!measured) return true;
    cell->measured = true;
    cell->kld = kld;
    cell->kld_error = error;
    return true;
}

static int keep_cell(tq_sensitivity *s, size_t matrix, tq_choice c, tq_err *err) {
    char line[256], group[24];
    const tq_sensed *cell = cell_of(s, matrix, c);
    if (!s->journal) return TQ_OK;
    int n = snprintf(line, sizeof line, "%s %zu %s %s %.17g", cell->measured ? "kld" : "code", matrix,
                     tq_bits_get(c.bits)->name, tq_group_name(c.group, group), cell->rel_mse);
    if (cell->measured) (void)snprintf(line + n, sizeof line - (size_t)n, " %.17g %.17g", cell->kld, cell->kld_error);
    return tq_journal_add(s->journal, line, err);
}

static uint64_t hash_size(uint64_t key, uint64_t n) {
    return tq_hash_bytes(key, &n, sizeof n);
}

static uint64_t make_key(const tq_sensitivity *s, const char *text_hash) {
    char hash[17];
    tq_common c = tq_plan_common(s->base);
    tq_source_hash(tq_model_source(s->model), hash);
    uint64_t key = tq_hash_bytes(TQ_HASH_SEED, hash, strlen(hash));
    key = tq_hash_bytes(key, text_hash, strlen(text_hash));
    const uint64_t numbers[] = {VERSION, s->ctx, s->tokens, c.residual, c.rotation, c.seed, (uint64_t)c.states};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        key = hash_size(key, numbers[i]);
    for (size_t i = 0; i < s->matrices; i++) {
        tq_choice x = tq_plan_get(s->base, i);
        bool kept_end = tq_model_matrix(s->model, i)->end != TQ_END_NONE && x.bits == TQ_BITS_KEEP;
        if (kept_end) continue; /* as it was when there was no other choice */
        key = hash_size(hash_size(key, x.bits), x.bits == TQ_BITS_KEEP ? 0 : x.group);
    }
    return key;
}

static int find_journal(tq_sensitivity *s, const char *text_hash, const char *state_dir, tq_err *err) {
    s->key = make_key(s, text_hash);
    if (!state_dir) return TQ_OK;
    (void)snprintf(s->journal_name, sizeof s->journal_name, "sweep-%016" PRIx64, s->key);
    s->state_dir = strdup(state_dir);
    if (!s->state_dir || asprintf(&s->path, "%s/%s", state_dir, s->journal_name) < 0)
        return tq_fail(err, "out of memory");
    return tq_journal_read(s->state_dir, s->journal_name, s->key, take_line, s, err);
}

/* What is known is then what the journal says. */
static int hold_journal(tq_sensitivity *s, const tq_progress *p, tq_err *err) {
    if (!s->state_dir || s->journal) return TQ_OK;
    memset(s->rows, 0, s->matrices * sizeof *s->rows);
    s->base_known = false;
    return tq_journal_open(s->state_dir, s->journal_name, s->key, take_line, s, p, &s->journal, err);
}

void tq_sensitivity_release(tq_sensitivity *s) {
    tq_journal_close(s->journal);
    s->journal = NULL;
}

/* --- a new one --- */

static int copy_windows(tq_sensitivity *s, const int *ids, size_t n, size_t tokens, tq_err *err) {
    size_t windows = n / s->ctx, most = tokens / s->ctx, take = windows < most ? windows : most ? most : 1;
    s->tokens = take * s->ctx;
    s->ids = malloc(s->tokens * sizeof *s->ids);
    if (!s->ids) return tq_fail(err, "out of memory");
    for (size_t w = 0; w < take; w++)
        memcpy(s->ids + w * s->ctx, ids + w * windows / take * s->ctx, s->ctx * sizeof *ids);
    return TQ_OK;
}

static int copy_base(tq_sensitivity *s, const tq_plan *base, tq_err *err) {
    s->base = tq_plan_copy(base);
    if (!s->base) return tq_fail(err, "out of memory for a plan");
    tq_common common = tq_plan_common(s->base);
    common.calibrate = TQ_CALIBRATE_NONE;
    tq_plan_set_common(s->base, &common);
    return TQ_OK;
}

int tq_sensitivity_new(const tq_model *m, tq_pool *pool, const int *ids, size_t n, const char *text_hash,
                       const tq_plan *base, const tq_sweep_options *options, const char *state_dir,
                       tq_sensitivity **out, tq_err *err) {
    *out = NULL;
    tq_sensitivity *s = calloc(1, sizeof *s);
    if (!s) return tq_fail(err, "out of memory");
    s->model = m;
    s->pool = pool;
    s->matrices = tq_model_matrices(m);
    s->ctx = options->ctx ? options->ctx : DEFAULT_CTX;
    s->n_configs = options->n_configs ? options->n_configs : sizeof default_configs / sizeof *default_configs;
    s->rows = calloc(s->matrices + 1, sizeof *s->rows);
    s->configs = calloc(s->n_configs, sizeof *s->configs);
    if (!s->rows || !s->configs) {
        tq_sensitivity_free(s);
        return tq_fail(err, "out of memory");
    }
    int rc = TQ_OK;
    if (s->ctx < 4 || n < s->ctx)
        rc = tq_fail(err, "a text of %zu tokens, expected at least one window of %zu", n, s->ctx < 4 ? 4 : s->ctx);
    if (rc == TQ_OK) {
        for (size_t c = 0; c < s->n_configs; c++)
            s->configs[c] = options->n_configs ? options->configs[c] : default_configs[c];
        rc = copy_windows(s, ids, n, options->tokens ? options->tokens : TQ_SWEEP_TOKENS_DEFAULT, err);
    }
    if (rc == TQ_OK) rc = copy_base(s, base, err);
    if (rc == TQ_OK) rc = find_journal(s, text_hash, state_dir, err);
    if (rc != TQ_OK) {
        tq_sensitivity_free(s);
        return rc;
    }
    *out = s;
    return TQ_OK;
}

static void drop_base(tq_sensitivity *s) {
    tq_evaluator_free(s->evaluator);
    s->evaluator = NULL;
    for (size_t i = 0; s->q && i < s->matrices; i++)
        tq_qmatrix_free(s->q[i]);
    free(s->q);
    s->q = NULL;
}

void tq_sensitivity_free(tq_sensitivity *s) {
    if (!s) return;
    drop_base(s);
    tq_journal_close(s->journal);
    free(s->state_dir);
    free(s->path);
    tq_plan_free(s->base);
    free(s->rows);
    free(s->configs);
    free(s->ids);
    free(s);
}

/* --- measuring --- */

static int encode(tq_sensitivity *s, size_t i, tq_choice c, const tq_progress *p, tq_qmatrix **out, double *rel_mse,
                  tq_err *err) {
    const tq_matrix *m = tq_model_matrix(s->model, i);
    tq_qspec spec = spec_of(s, c);
    tq_progress quiet = {.cancel = p ? p->cancel : NULL};
    tq_distortion d;
    tq_err inner = {{0}};
    int rc = tq_qmatrix_encode(&m->w, &spec, tq_model_rotations(s->model), s->pool, &quiet, out, &d, &inner);
    if (rc == TQ_CANCELLED) return tq_cancelled(err);
    if (rc != TQ_OK) return tq_fail(err, "tensor %s.weight: %s", m->name, inner.msg);
    *rel_mse = d.rel_mse;
    return TQ_OK;
}

int tq_sensitivity_code(tq_sensitivity *s, size_t matrix, tq_choice c, const tq_progress *p, tq_err *err) {
    tq_sensed *cell = cell_of(s, matrix, c);
    tq_qmatrix *q = NULL;
    if (!cell || cell->coded) return TQ_OK;
    int rc = hold_journal(s, p, err);
    if (rc != TQ_OK || cell->coded) return rc;
    rc = encode(s, matrix, c, p, &q, &cell->rel_mse, err);
    if (rc != TQ_OK) return rc;
    tq_qmatrix_free(q);
    cell->coded = true;
    return keep_cell(s, matrix, c, err);
}

static int evaluate(tq_sensitivity *s, const tq_progress *p, tq_eval_result *r, tq_err *err) {
    tq_progress quiet = {.cancel = p ? p->cancel : NULL};
    return tq_evaluator_run(s->evaluator, s->q, &quiet, NULL, NULL, r, err);
}

/* The base plan packed, its states at the inputs of all blocks, and its own KLD. */
static int start(tq_sensitivity *s, const tq_progress *p, tq_err *err) {
    tq_eval_options o = {.ctx = s->ctx};
    tq_eval_result r = {0};
    double ignored;
    if (s->evaluator) return TQ_OK;
    s->q = calloc(s->matrices + 1, sizeof(tq_qmatrix *));
    int rc = s->q ? TQ_OK : tq_fail(err, "out of memory");
    for (size_t i = 0; rc == TQ_OK && i < s->matrices; i++) {
        tq_choice c = tq_plan_get(s->base, i);
        if (c.bits != TQ_BITS_KEEP && !tq_model_matrix(s->model, i)->packed)
            rc = encode(s, i, c, p, &s->q[i], &ignored, err);
    }
    if (rc == TQ_OK) rc = tq_evaluator_new(s->model, s->pool, s->ids, s->tokens, &o, 0, &s->evaluator, err);
    if (rc == TQ_OK) rc = evaluate(s, p, &r, err);
    if (rc == TQ_OK && !s->base_known) {
        char line[64];
        s->base_known = true;
        s->base_kld = r.kld_mean;
        (void)snprintf(line, sizeof line, "base %.17g", s->base_kld);
        if (s->journal) rc = tq_journal_add(s->journal, line, err);
    }
    s->clean = tq_model_config(s->model)->blocks;
    if (rc != TQ_OK) drop_base(s);
    return rc;
}

static int measure(tq_sensitivity *s, size_t i, tq_choice c, const tq_progress *p, tq_err *err) {
    size_t block = tq_model_reach(s->model, i);
    tq_sensed *cell = cell_of(s, i, c);
    tq_eval_result r = {0};
    tq_qmatrix *q = NULL, *base = s->q[i];
    int rc = encode(s, i, c, p, &q, &cell->rel_mse, err);
    if (rc != TQ_OK) return rc;
    if (block < s->clean) s->clean = block;
    tq_evaluator_touch(s->evaluator, s->clean);
    s->q[i] = q;
    rc = evaluate(s, p, &r, err);
    s->q[i] = base;
    tq_qmatrix_free(q);
    if (rc != TQ_OK) return rc;
    *cell = (tq_sensed){true, cell->rel_mse, true, r.kld_mean - s->base_kld, r.kld_stderr};
    rc = keep_cell(s, i, c, err);
    if (rc != TQ_OK) cell->measured = false;
    return rc;
}

/* Where in the order of measurements the k-th is: the farther back a matrix reaches, the later. The head comes first,
 * then the blocks' matrices from the last one on, then the embedding. */
static size_t kth(const tq_sensitivity *s, size_t k) {
    size_t ends = s->matrices - tq_model_block_matrices(s->model);
    if (ends > 1 && k == 0) return s->matrices - 1;
    size_t back = k + (ends > 1 ? 0 : 1), in_blocks = s->matrices - ends;
    return back <= in_blocks ? in_blocks - back : in_blocks;
}

static int measure_all(tq_sensitivity *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                       tq_err *err) {
    size_t left = tq_sensitivity_left(s), total = left;
    if (!left && s->base_known) return TQ_OK;
    int rc = start(s, p, err);
    for (size_t n = 0; rc == TQ_OK && n < s->matrices; n++)
        for (size_t k = 0; rc == TQ_OK && k < s->n_configs; k++) {
            size_t i = kth(s, n);
            tq_choice c = s->configs[k];
            if (!wanted(s, i, c) || cell_of(s, i, c)->measured) continue;
            if (tq_progress_cancelled(p)) return tq_cancelled(err);
            rc = measure(s, i, c, p, err);
            if (rc != TQ_OK) break;
            left--;
            tq_progress_report(p, (double)(total - left), (double)total);
            if (after) after(ctx, i);
        }
    if (rc == TQ_OK) drop_base(s);
    return rc;
}

int tq_sensitivity_run(tq_sensitivity *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                       tq_err *err) {
    if (!tq_sensitivity_left(s) && s->base_known) return TQ_OK;
    int rc = hold_journal(s, p, err);
    if (rc == TQ_OK) rc = measure_all(s, p, after, ctx, err);
    tq_sensitivity_release(s);
    return rc;
}

/* --- foretelling --- */

double tq_sensitivity_foretell(const tq_sensitivity *s, size_t matrix, double rel_mse) {
    /* The measured neighbours on both sides: logarithms of rel_mse and a. */
    double below[2] = {-INFINITY, NAN}, above[2] = {INFINITY, NAN}, at = log(rel_mse);
    if (!(rel_mse > 0)) return 0;
    for (int b = 0; b < TQ_BITS_COUNT; b++)
        for (size_t g = 0; g < tq_groups_count && g < GROUPS_MAX; g++) {
            const tq_sensed *cell = &s->rows[matrix].at[b][g];
            if (!cell->measured || !(cell->rel_mse > 0)) continue;
            double x = log(cell->rel_mse), a = log(fmax(cell->kld, 1e-15) / cell->rel_mse);
            if (x <= at && x > below[0]) below[0] = x, below[1] = a;
            if (x >= at && x < above[0]) above[0] = x, above[1] = a;
        }
    if (isnan(below[1]) && isnan(above[1])) return NAN;
    double a = isnan(below[1]) ? above[1]
               : isnan(above[1]) || above[0] <= below[0]
                   ? below[1]
                   : below[1] + (above[1] - below[1]) * (at - below[0]) / (above[0] - below[0]);
    return rel_mse * exp(a);
}
