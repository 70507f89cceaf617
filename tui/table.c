/* table.c - the rows of the layers panel. */
#include "tui/table.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UNFOLDED_MAX = 100 /* rows; larger models start folded */ };

const char *tq_short_label(const tq_matrix *m) {
    if (m->expert != SIZE_MAX) return m->label + strlen("mlp.");
    const char *dot = strchr(m->label, '.');
    if (!dot || dot - m->label < 5 || memcmp(dot - 5, "_attn", 5) != 0) return m->label;
    return dot + 1;
}

const char *tq_long_label(const tq_matrix *m, char buf[64]) {
    if (m->end != TQ_END_NONE)
        snprintf(buf, 64, "%.60s", m->label);
    else
        snprintf(buf, 64, "%zu %.40s", m->block, tq_short_label(m));
    return buf;
}

/* With embedding and head as one more. */
static size_t blocks_of(const tq_model *m) {
    return tq_model_config(m)->blocks + 1;
}

static bool matches(const tq_model *m, const char *glob, size_t i) {
    if (!*glob) return true;
    if (tq_glob_match(glob, tq_model_matrix(m, i))) return true;
    /* A word without wildcards is looked for anywhere, as one types it in a hurry. */
    char around[160];
    if (strpbrk(glob, "*?[")) return false;
    snprintf(around, sizeof around, "*%s*", glob);
    return tq_glob_match(around, tq_model_matrix(m, i));
}

bool tq_table_matches(const tq_table *t, size_t matrix) {
    return matches(t->model, t->filter, matrix);
}

size_t tq_table_count_matches(const tq_table *t, const char *glob) {
    size_t n = 0;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++)
        n += matches(t->model, glob, i);
    return n;
}

/* Sorted: no blocks, no folds. The cursor follows its matrix. */
static void rebuild_sorted(tq_table *t) {
    size_t at = t->count ? t->rows[t->cursor].matrix : SIZE_MAX, n = 0;
    t->cursor = 0;
    for (size_t k = 0; k < tq_model_matrices(t->model); k++) {
        size_t i = t->order[k];
        if (!tq_table_matches(t, i)) continue;
        if (i == at) t->cursor = n;
        t->rows[n++] = (tq_row){tq_model_matrix(t->model, i)->block, i, 0};
    }
    t->count = t->shown = n;
}

/* One past the last of the experts' matrices of one kind; i is the first. */
static size_t kind_end(const tq_model *m, size_t i) {
    const tq_matrix *first = tq_model_matrix(m, i);
    size_t end = i + 1;
    while (end < tq_model_matrices(m) && tq_model_matrix(m, end)->block == first->block &&
           tq_model_matrix(m, end)->group == first->group)
        end++;
    return end;
}

/* The rows of a kind of experts, end exclusive. One that is alone under the filter needs no head. */
static size_t add_kind(tq_table *t, size_t n, size_t first, size_t end) {
    size_t block = tq_model_matrix(t->model, first)->block, shown = 0;
    for (size_t i = first; i < end; i++)
        shown += tq_table_matches(t, i);
    if (shown > 1) t->rows[n++] = (tq_row){block, first, end - first};
    for (size_t i = first; i < end && (shown == 1 || t->opened[first]); i++)
        if (tq_table_matches(t, i)) t->rows[n++] = (tq_row){block, i, 0};
    return n;
}

/* Is row r at the place of `at`, or before it? Of rows of one block. */
static bool is_before(const tq_row *r, const tq_row *at) {
    if (r->matrix == SIZE_MAX) return true;
    return at->matrix != SIZE_MAX && (r->matrix < at->matrix || (r->matrix == at->matrix && (r->count || !at->count)));
}

/* Builds the rows again and puts the cursor where it stood, or near. */
static void rebuild(tq_table *t) {
    t->anchor = SIZE_MAX;
    if (t->order) {
        rebuild_sorted(t);
        return;
    }
    tq_row at = t->count ? t->rows[t->cursor] : (tq_row){0, SIZE_MAX, 0};
    size_t n = 0, block = SIZE_MAX, end = 0;
    t->shown = 0;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++) {
        const tq_matrix *m = tq_model_matrix(t->model, i);
        if (!tq_table_matches(t, i)) continue;
        t->shown++;
        if (m->block != block) t->rows[n++] = (tq_row){block = m->block, SIZE_MAX, 0};
        if (t->folded[m->block] || i < end) continue;
        if (!m->group) {
            t->rows[n++] = (tq_row){m->block, i, 0};
            continue;
        }
        size_t first = i - m->expert;
        end = kind_end(t->model, first);
        n = add_kind(t, n, first, end);
    }
    t->count = n;
    t->cursor = 0;
    for (size_t r = 0; r < n; r++) {
        if (t->rows[r].block > at.block) break;
        if (t->rows[r].block < at.block || is_before(&t->rows[r], &at)) t->cursor = r;
    }
}

bool tq_table_init(tq_table *t, const tq_model *model) {
    size_t matrices = tq_model_matrices(model), blocks = blocks_of(model);
    *t = (tq_table){.model = model};
    t->rows = calloc(2 * matrices + blocks + 1, sizeof *t->rows);
    t->marked = calloc(matrices + 1, sizeof *t->marked);
    t->before = calloc(matrices + 1, sizeof *t->before);
    t->folded = calloc(blocks + 1, sizeof *t->folded);
    t->opened = calloc(matrices + 1, sizeof *t->opened);
    if (!t->rows || !t->marked || !t->before || !t->folded || !t->opened) {
        tq_table_free(t);
        return false;
    }
    rebuild(t);
    if (t->count <= UNFOLDED_MAX + blocks) return true;
    memset(t->folded, true, blocks);
    rebuild(t);
    return true;
}

void tq_table_free(tq_table *t) {
    free(t->rows);
    free(t->marked);
    free(t->before);
    free(t->folded);
    free(t->opened);
    free(t->order);
    *t = (tq_table){0};
}

/* Falling keys, NaN last, equal ones as they are in the model. */
static int by_key(const void *a, const void *b, void *keys) {
    size_t i = *(const size_t *)a, k = *(const size_t *)b;
    double x = ((const double *)keys)[i], y = ((const double *)keys)[k];
    if (isnan(x) != isnan(y)) return isnan(x) ? 1 : -1;
    if (x > y || x < y) return x > y ? -1 : 1;
    return i < k ? -1 : i > k;
}

bool tq_table_sort(tq_table *t, const double *keys) {
    size_t n = tq_model_matrices(t->model);
    size_t *order = keys ? calloc(n + 1, sizeof *order) : NULL;
    if (keys && !order) return false;
    for (size_t i = 0; keys && i < n; i++)
        order[i] = i;
    if (keys) qsort_r(order, n, sizeof *order, by_key, (void *)keys);
    free(t->order);
    t->order = order;
    rebuild(t);
    return true;
}

bool tq_table_filter(tq_table *t, const char *glob) {
    if (*glob && tq_table_count_matches(t, glob) == 0) return false;
    snprintf(t->filter, sizeof t->filter, "%s", glob);
    rebuild(t);
    return true;
}

void tq_table_fold(tq_table *t, size_t block, bool folded) {
    if (block >= blocks_of(t->model)) return;
    t->folded[block] = folded;
    rebuild(t);
}

void tq_table_fold_all(tq_table *t, bool folded) {
    memset(t->folded, folded, blocks_of(t->model));
    rebuild(t);
}

bool tq_row_is_head(const tq_row *r) {
    return r->matrix == SIZE_MAX || r->count > 0;
}

bool tq_table_is_folded(const tq_table *t, const tq_row *head) {
    return head->count ? !t->opened[head->matrix] : t->folded[head->block];
}

bool tq_row_holds(const tq_table *t, const tq_row *r, size_t i) {
    if (!tq_row_is_head(r)) return r->matrix == i;
    bool within =
        r->count ? i >= r->matrix && i - r->matrix < r->count : tq_model_matrix(t->model, i)->block == r->block;
    return within && tq_table_matches(t, i);
}

/* Where the head of the row under the cursor stands: the nearest above that holds it. */
static size_t head_row(const tq_table *t) {
    size_t r = t->cursor, matrix = t->rows[r].matrix;
    while (r > 0 && !(tq_row_is_head(&t->rows[r]) && (r == t->cursor || tq_row_holds(t, &t->rows[r], matrix))))
        r--;
    return r;
}

const tq_row *tq_table_head(const tq_table *t) {
    return t->count && !t->order ? &t->rows[head_row(t)] : NULL;
}

void tq_table_fold_here(tq_table *t, bool folded) {
    const tq_row *head = tq_table_head(t);
    if (!head) return;
    tq_row at = *head;
    t->cursor = (size_t)(head - t->rows);
    if (at.count)
        t->opened[at.matrix] = !folded;
    else
        t->folded[at.block] = folded;
    rebuild(t);
}

void tq_table_move(tq_table *t, long by) {
    if (t->count == 0) return;
    long to = (long)t->cursor + by, last = (long)t->count - 1;
    t->cursor = (size_t)(to < 0 ? 0 : to > last ? last : to);
}

void tq_table_show(tq_table *t, size_t matrix) {
    if (matrix >= tq_model_matrices(t->model)) return;
    const tq_matrix *m = tq_model_matrix(t->model, matrix);
    if (m->group) t->opened[matrix - m->expert] = true;
    tq_table_fold(t, m->block, false);
    for (size_t r = 0; r < t->count; r++)
        if (t->rows[r].matrix == matrix && !t->rows[r].count) t->cursor = r;
}

void tq_table_scroll(tq_table *t, size_t visible) {
    if (visible == 0) return;
    if (t->cursor < t->top) t->top = t->cursor;
    if (t->cursor >= t->top + visible) t->top = t->cursor - visible + 1;
    if (t->count > visible && t->top > t->count - visible) t->top = t->count - visible;
    if (t->count <= visible) t->top = 0;
}

const tq_row *tq_table_row(const tq_table *t) {
    return t->count ? &t->rows[t->cursor] : NULL;
}

size_t tq_table_matrix(const tq_table *t) {
    const tq_row *r = tq_table_row(t);
    if (!r) return SIZE_MAX;
    if (!tq_row_is_head(r)) return r->matrix;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++)
        if (tq_row_holds(t, r, i)) return i;
    return SIZE_MAX;
}

size_t tq_table_marks(const tq_table *t) {
    size_t n = 0;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++)
        n += t->marked[i];
    return n;
}

static bool under_cursor(const tq_table *t, size_t i) {
    const tq_row *r = tq_table_row(t);
    return r && tq_row_holds(t, r, i);
}

void tq_table_toggle(tq_table *t) {
    bool all = true;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++)
        if (under_cursor(t, i) && !t->marked[i]) all = false;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++)
        if (under_cursor(t, i)) t->marked[i] = !all;
}

void tq_table_mark_shown(tq_table *t) {
    size_t in_blocks = tq_model_block_matrices(t->model);
    bool any = false;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++) {
        if ((any && i >= in_blocks) || !tq_table_matches(t, i)) continue;
        t->marked[i] = true;
        any = any || i < in_blocks;
    }
}

void tq_table_unmark(tq_table *t) {
    memset(t->marked, 0, tq_model_matrices(t->model) * sizeof *t->marked);
}

void tq_table_range_begin(tq_table *t) {
    if (t->count == 0) return;
    t->anchor = t->cursor;
    memcpy(t->before, t->marked, tq_model_matrices(t->model) * sizeof *t->before);
    tq_table_range_update(t);
}

/* A head stands for its matrices when they have no rows of their own. */
void tq_table_range_update(tq_table *t) {
    if (t->anchor == SIZE_MAX) return;
    size_t n = tq_model_matrices(t->model), from = t->anchor < t->cursor ? t->anchor : t->cursor,
           to = t->anchor < t->cursor ? t->cursor : t->anchor;
    memcpy(t->marked, t->before, n * sizeof *t->marked);
    for (size_t r = from; r <= to && r < t->count; r++) {
        const tq_row *row = &t->rows[r];
        if (!tq_row_is_head(row)) t->marked[row->matrix] = true;
        for (size_t i = 0; tq_row_is_head(row) && tq_table_is_folded(t, row) && i < n; i++)
            if (tq_row_holds(t, row, i)) t->marked[i] = true;
    }
}

void tq_table_range_end(tq_table *t, bool keep) {
    if (t->anchor == SIZE_MAX) return;
    t->anchor = SIZE_MAX;
    if (!keep) memcpy(t->marked, t->before, tq_model_matrices(t->model) * sizeof *t->marked);
}

size_t tq_table_targets(const tq_table *t, bool *targets) {
    size_t n = 0;
    bool marks = tq_table_marks(t) > 0;
    for (size_t i = 0; i < tq_model_matrices(t->model); i++) {
        targets[i] = marks ? t->marked[i] : under_cursor(t, i);
        n += targets[i];
    }
    return n;
}

size_t tq_table_heaviest(const tq_table *t) {
    size_t best = SIZE_MAX, most = 0;
    for (size_t i = 0; i < tq_model_block_matrices(t->model); i++) {
        const tq_matrix *m = tq_model_matrix(t->model, i);
        if (m->w.rows * m->w.cols > most) {
            most = m->w.rows * m->w.cols;
            best = i;
        }
    }
    return best;
}
