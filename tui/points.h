/* points.h - every plan that was evaluated is a point: size against KLD. Pure: no screen, no session. */
#ifndef TQ_POINTS_H
#define TQ_POINTS_H

#include "tui/draft.h"

/* The KLD of the plan on a text beside the main one. */
typedef struct tq_point_text {
    char name[64];
    double kld, error;
} tq_point_text;

typedef struct tq_point {
    size_t id; /* never used twice */
    tq_plan *plan;
    char name[96]; /* the change that led there, or what a snapshot is called */
    bool named;
    double seconds; /* since the start */
    size_t bytes;   /* of the whole model */
    double bpw;     /* over the quantizable matrices */
    tq_eval_result eval;
    tq_score score; /* of the questions; of: 0 when they were not asked */
    tq_point_text texts[TQ_TEXTS_MAX];
    size_t n_texts; /* those that are known */
    bool front;     /* none of the others is smaller and diverges less */
} tq_point;

typedef struct tq_points {
    tq_point *points; /* [count], by bits a weight, then KLD */
    size_t count, capacity;
    size_t last_id;
    size_t revision; /* another one after every change */
} tq_points;

void tq_points_free(tq_points *p);
/* Adds a copy of plan with its figures; a plan that is there gets the newer figures. False when memory is short. */
bool tq_points_add(tq_points *p, const tq_model *m, const tq_plan *plan, const char *name, double seconds,
                   const tq_eval_result *eval);
/* What the questions gave, of the point of this plan if it is there. */
void tq_points_note_score(tq_points *p, const tq_model *m, const tq_plan *plan, tq_score score);
/* The same of a text beside the main one; false: there is no such point. */
bool tq_points_note_text(tq_points *p, const tq_model *m, const tq_plan *plan, const tq_point_text *text);
void tq_points_forget_scores(tq_points *p); /* other questions */
/* SIZE_MAX: it is not there. */
size_t tq_points_find(const tq_points *p, const tq_model *m, const tq_plan *plan);
void tq_points_name(tq_points *p, size_t i, const char *name);
/* Figures of another text or other windows are no points of the same picture. */
void tq_points_forget(tq_points *p);

/* All points, with a column for each text that one of them was evaluated on, as CSV or as JSON (with rules that give
 * each plan again); the caller frees it. */
char *tq_points_csv(const tq_points *p);
char *tq_points_json(const tq_points *p, tq_err *err);
/* [{"name", "kld", "kld_stderr"}], the caller's; NULL when memory is short. */
struct cJSON *tq_point_texts_json(const tq_point *x);

#endif
