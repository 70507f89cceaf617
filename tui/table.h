/* table.h - the rows of the layers panel: blocks, their matrices, folds, marks, the filter and the cursor. Pure. */
#ifndef TQ_TABLE_H
#define TQ_TABLE_H

#include "model/plan.h"

#define TQ_KIND_FOLD 4 /* column where the mark of a kind of experts stands that folds it */

typedef struct tq_row {
    size_t block;
    size_t matrix; /* SIZE_MAX: the block's own row */
    size_t count;  /* a row that stands for the experts' matrices of one kind: so many from `matrix` on; else 0 */
} tq_row;

typedef struct tq_table {
    const tq_model *model;
    tq_row *rows; /* [count], those that can be scrolled to */
    size_t count, cursor, top;
    size_t shown; /* matrices that the filter lets through */
    bool *marked; /* [matrices] */
    bool *folded; /* [blocks + 1]: embedding and head come last */
    bool *opened; /* [matrices] of the first of each kind of experts: they have rows of their own */
    char filter[128];
    size_t anchor; /* the row where a range begins; SIZE_MAX: none is being made */
    bool *before;  /* [matrices] marks that were there before the range */
    size_t *order; /* [matrices] sorted, without rows for blocks; NULL: as the model has them */
} tq_table;

bool tq_table_init(tq_table *t, const tq_model *model);
void tq_table_free(tq_table *t);
/* Sets the filter ("" for none); false, and nothing changes, when no matrix matches. */
bool tq_table_filter(tq_table *t, const char *glob);
size_t tq_table_count_matches(const tq_table *t, const char *glob);
void tq_table_fold(tq_table *t, size_t block, bool folded);
void tq_table_fold_all(tq_table *t, bool folded);
/* A row that stands for others: a block's, or that of a kind of experts. */
bool tq_row_is_head(const tq_row *r);
bool tq_table_is_folded(const tq_table *t, const tq_row *head);
/* Folds or unfolds the nearest head at or above the cursor, and puts the cursor there. */
void tq_table_fold_here(tq_table *t, bool folded);
const tq_row *tq_table_head(const tq_table *t); /* NULL in a sorted table */
/* Is matrix i under this row: it is its own, or one of those that a head stands for and the filter lets through? */
bool tq_row_holds(const tq_table *t, const tq_row *r, size_t i);
/* Matrices by falling keys ([matrices], NaN last), without rows for blocks and without folds; NULL: as the model has
 * them. False when memory is short. */
bool tq_table_sort(tq_table *t, const double *keys);
void tq_table_move(tq_table *t, long by);          /* clipped to the rows */
void tq_table_show(tq_table *t, size_t matrix);    /* moves the cursor there, unfolding its block and its kind */
void tq_table_scroll(tq_table *t, size_t visible); /* keeps the cursor within `visible` rows from top */
const tq_row *tq_table_row(const tq_table *t);     /* under the cursor; NULL in an empty table */
size_t tq_table_matrix(const tq_table *t);         /* under the cursor, the block's first on a block's row; SIZE_MAX */
bool tq_table_matches(const tq_table *t, size_t matrix);
size_t tq_table_marks(const tq_table *t);
/* Marks or unmarks what the cursor stands on: a matrix, or all of a block. */
void tq_table_toggle(tq_table *t);
void tq_table_mark_shown(tq_table *t); /* embedding and head when no other is, as a glob means them */
void tq_table_unmark(tq_table *t);
/* A range of rows is marked while the cursor moves: begun where it stands, marked anew after every move, and ended with
 * its marks or without. Folding, filtering and sorting end it with them. */
void tq_table_range_begin(tq_table *t);
void tq_table_range_update(tq_table *t);
void tq_table_range_end(tq_table *t, bool keep);
/* What a key acts on: targets: [matrices]. The marked rows, else what the cursor stands on. Returns how many. */
size_t tq_table_targets(const tq_table *t, bool *targets);
size_t tq_table_heaviest(const tq_table *t); /* of the blocks' matrices */

/* The label as shown: without the mixer's own prefix ("self_attn.q_proj" is "q_proj"), or the MLP's of an expert
 * ("experts.3.up_proj"). */
const char *tq_short_label(const tq_matrix *m);
/* With its block before it: "3 mlp.down_proj", "embed_tokens". */
const char *tq_long_label(const tq_matrix *m, char buf[64]);

#endif
