/* draft.h - the plan being edited: the tree of all states that it went through, with what each cost. A change after an
 * undo begins a branch; nothing that was undone is forgotten. Pure: no screen, no session. */
#ifndef TQ_DRAFT_H
#define TQ_DRAFT_H

#include "model/questions.h"
#include "model/session.h"

typedef struct tq_state {
    tq_plan *plan;
    uint64_t serial; /* never used twice; names this state for the worker and for "saved" */
    uint64_t parent; /* serial of the state that was changed; 0, or one that is gone: none */
    uint64_t next;   /* serial of the child that redo goes to; 0: the newest */
    char what[96];   /* the change that led here, "" for the first */
    tq_eval_result eval;
    bool eval_known;
    tq_text_figures texts[TQ_TEXTS_MAX]; /* of all texts; known: false where it is not evaluated */
    tq_score score;                      /* of the questions; of: 0 when they were not asked yet */
} tq_state;

typedef struct tq_draft {
    const tq_model *model;
    tq_state *states; /* [count], serials rise */
    size_t count, capacity, now;
    uint64_t serial; /* the last one given */
    tq_plan *saved;  /* what "changed" is measured against */
} tq_draft;

bool tq_draft_init(tq_draft *d, const tq_model *model, tq_plan *plan); /* takes plan over */
void tq_draft_free(tq_draft *d);
const tq_plan *tq_draft_plan(const tq_draft *d);
uint64_t tq_draft_serial(const tq_draft *d);
const tq_state *tq_draft_before(const tq_draft *d); /* what the state now is a change of; NULL: it is the first */
/* Takes plan over and makes it the state now, a child of the one before. Of very many states the oldest is forgotten.
 * False when memory is short. */
bool tq_draft_push(tq_draft *d, tq_plan *plan, const char *what);
/* Takes all over: states [count > 0] with serials, which rise and are above the last one given. */
void tq_draft_restore(tq_draft *d, tq_state *states, size_t count, size_t now, tq_plan *saved);
bool tq_draft_undo(tq_draft *d); /* false: nothing to undo */
bool tq_draft_redo(tq_draft *d);
void tq_draft_go(tq_draft *d, size_t state); /* redo leads there from all that it descends from */
/* Undo, and the state is forgotten unless something was changed from there. False: nothing to undo. */
bool tq_draft_drop(tq_draft *d);

/* The tree as lines, parents above children: the newest child goes on in its parent's column, each of the others begins
 * a column to the right, above it. lines: [count]. False when memory is short. */
typedef struct tq_branch {
    size_t state, column;
    bool begins; /* a column */
} tq_branch;
bool tq_draft_tree(const tq_draft *d, tq_branch *lines);

/* The figures of the state with this serial. */
void tq_draft_note_eval(tq_draft *d, uint64_t serial, const tq_eval_result *r);
void tq_draft_note_text(tq_draft *d, uint64_t serial, size_t text, const tq_text_figures *f);
void tq_draft_note_score(tq_draft *d, uint64_t serial, tq_score score);
void tq_draft_forget_scores(tq_draft *d); /* other questions */
void tq_draft_forget_evals(tq_draft *d);  /* another text or context */
void tq_draft_saved(tq_draft *d, uint64_t serial);
bool tq_draft_matrix_changed(const tq_draft *d, size_t matrix); /* since the plan was saved */
bool tq_draft_changed(const tq_draft *d);

/* Do two plans say the same of all matrices? */
bool tq_plans_equal(const tq_model *m, const tq_plan *a, const tq_plan *b);
/* Bytes of matrix i by the plan, and of everything. */
size_t tq_matrix_cost(const tq_model *m, const tq_plan *p, size_t i);
size_t tq_matrix_cost_at(const tq_model *m, const tq_plan *p, size_t i, tq_choice c);
tq_memory tq_plan_memory(const tq_model *m, const tq_plan *p);

#endif
