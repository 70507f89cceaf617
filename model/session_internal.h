/* session_internal.h - what the parts of the session share; private to model/. */
#ifndef TQ_SESSION_INTERNAL_H
#define TQ_SESSION_INTERNAL_H

#include "model/session.h"

#define TQ_SESSION_EVALUATORS 2
#define TQ_SESSION_MAX_TEXT ((size_t)256 << 20) /* bytes */

typedef struct tq_eval_slot {
    tq_eval_options options;
    tq_evaluator *evaluator; /* NULL: free */
    unsigned long used;      /* when it was used last, in uses */
} tq_eval_slot;

#define TQ_CTX_DEFAULT 512

/* What an evaluation said of the plan and the text that are in force. */
typedef struct tq_known_eval {
    bool has; /* else there was none since they changed */
    tq_eval_result result;
    tq_eval_options options;
    tq_worst worst[TQ_WORST_MAX]; /* [n_worst] */
    size_t n_worst;
    tq_text_figures figures;
} tq_known_eval;

/* A text beside the one that is evaluated. */
typedef struct tq_side_text {
    char *name, *path;
    char hash[17];
    tq_text_role role;
    int *ids; /* [tokens] */
    size_t tokens;
    tq_eval_options options; /* of the evaluator */
    tq_evaluator *evaluator; /* NULL until it was needed */
} tq_side_text;

/* The conversation that is in the cache. */
typedef struct tq_talk {
    tq_forward *forward;
    tq_cache *cache;
    float *logits; /* [vocab] */
    int *ids;      /* [count]: what the cache holds */
    size_t count, capacity;
    bool base;
    unsigned long generation; /* of the variant */
} tq_talk;

/* What a plan with calibration needs. */
typedef struct tq_session_calibration {
    char *path, *cache_dir; /* NULL: none */
    tq_calib_options options;
    char text_hash[17]; /* "" until the text was read */
    tq_calibration *c;  /* NULL until it was needed */
} tq_session_calibration;

/* What matrices cost alone. */
typedef struct tq_session_tuning {
    char *path, *state_dir; /* NULL: none */
    char *name;             /* from here on: of the text, NULL until it was read */
    char hash[17];
    int *ids; /* [tokens] */
    size_t tokens;
    tq_sensitivity *sensitivity; /* NULL: no sweep yet */
    tq_common common;            /* of its base plan, which keeps all matrices when `plain` */
    bool plain;
    tq_costs *costs;   /* NULL: not made yet */
    bool costs_scoped; /* for one budget alone */
} tq_session_tuning;

/* A plan and its matrices, [count] each, as the session has them of the plan in force. */
typedef struct tq_packing {
    tq_plan *plan; /* NULL: none */
    tq_qmatrix **q;
    tq_distortion *distortion;
    tq_calibrated *calibrated;
} tq_packing;

struct tq_session {
    tq_source *source;
    tq_model *model;
    tq_source *reference_source; /* NULL, as reference: the model as stored */
    tq_model *reference;
    tq_tokenizer *tokenizer; /* NULL: none */
    tq_chat *chat;           /* NULL without a tokenizer */
    bool exact;
    size_t machine; /* bytes of memory; 0: not known */
    tq_pool *pool;
    char note[1024];
    size_t note_end; /* from here it says what figures are against */
    bool packed;

    tq_plan *plan;
    size_t count;              /* matrices */
    tq_qmatrix **q;            /* [count] NULL: as stored */
    tq_distortion *distortion; /* [count] of q[i], or of what the model holds packed */
    tq_calibrated *calibrated; /* [count] of q[i] when its spec says calibrated */
    tq_session_calibration calibration;
    size_t *bytes;            /* [count] scratch of tq_session_plan_figures */
    unsigned long generation; /* grows with every change of q */
    bool aside;               /* q is of a plan beside the one in force: what is known of that stays */

    char *text_name; /* NULL: none */
    char *text_path; /* real path; NULL: none, or not read from a file */
    char text_hash[17];
    int *text_ids;
    size_t text_tokens;
    tq_eval_slot slots[TQ_SESSION_EVALUATORS];
    unsigned long uses;
    tq_known_eval known;
    tq_text_role text_role;
    tq_side_text texts[TQ_TEXTS_MAX - 1]; /* [n_texts] */
    size_t n_texts;

    tq_session_tuning tuning;
    tq_packing sides[2]; /* plans that are compared, beside the one in force */
    tq_talk talk;
};

/* Bytes that matrix i takes under the plan. */
size_t tq_session_matrix_bytes(const tq_session *s, size_t matrix);

/* Matrix i with plain codes. */
int tq_session_encode(tq_session *s, size_t i, const tq_qspec *spec, const tq_progress *p, tq_qmatrix **out,
                      tq_distortion *distortion, tq_err *err);
/* Encodes matrix i under its calibration, from a moment or (NULL) from the one that is gathered. */
int tq_session_encode_calibrated(tq_session *s, size_t i, const tq_qspec *spec, const tq_moment *moment,
                                 const tq_progress *p, tq_qmatrix **out, tq_calibrated *figures, tq_err *err);
/* All matrices of a plan with the asymmetric target, in order. */
int tq_session_apply_asym(tq_session *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                          tq_err *err);
/* q becomes matrix i as quantized. */
void tq_session_take(tq_session *s, size_t i, tq_qmatrix *q, const tq_calibrated *figures);
void tq_session_drop_calibration(tq_session *s);
/* A text as plain text, add_bos: after the begin token where the model has one: *ids ([*n], the caller's) and the hash
 * of its bytes. The session has a tokenizer. */
int tq_session_read_ids(const tq_session *s, const char *path, bool add_bos, int **ids, size_t *n, char hash[17],
                        tq_err *err);

/* session_sides.c: nothing is packed yet; puts one in force in the other's place, the evaluators not told. */
int tq_packing_new(const tq_session *s, const tq_plan *plan, tq_packing *out, tq_err *err);
void tq_packing_free(tq_packing *p, size_t count);
void tq_packing_swap(tq_session *s, tq_packing *other);
/* The matrices of two plans, packed where they are not yet; NULL for a plan that keeps all (or is NULL). Borrowed until
 * the next call, or change of the plan in force. */
int tq_session_sides(tq_session *s, const tq_plan *const plan[2], const tq_progress *p, tq_variant out[2], tq_err *err);

/* How many tokens an answer to a prompt of so many may have, at most `wanted` (0: 256); fails when the prompt is empty
 * or fills the context. */
int tq_session_answer_limit(const tq_session *s, size_t prompt, size_t wanted, size_t *limit, tq_err *err);
int tq_session_bind(const char *path, tq_source **source, tq_model **model, tq_err *err);
void tq_session_drop_text(tq_session *s);
void tq_session_note_figures(tq_session *s); /* the end of the note, anew: the reference has changed */
void tq_session_touch_texts(tq_session *s, size_t block);
void tq_session_drop_text_evaluators(tq_session *s);
int tq_session_new_evaluator(tq_session *s, const int *ids, size_t n, const tq_eval_options *o, tq_evaluator **out,
                             tq_err *err);
void tq_session_drop_tuning(tq_session *s); /* its text and all that was measured; what is in the journal stays */
void tq_session_drop_costs(tq_session *s);  /* what rests on the text that is evaluated */
void tq_session_touch(tq_session *s, size_t block); /* a matrix that reaches from this block on has changed */
void tq_talk_free(tq_talk *t);

#endif
