/* app_internal.h - what the panels and the actions share. Private to tui/. */
#ifndef TQ_APP_INTERNAL_H
#define TQ_APP_INTERNAL_H

#include "model/records.h"
#include "tui/canvas.h"
#include "tui/compare.h"
#include "tui/draft.h"
#include "tui/lineedit.h"
#include "tui/list.h"
#include "tui/points.h"
#include "tui/table.h"
#include "tui/term.h"
#include "tui/worker.h"
#include "tui/worst.h"

typedef enum tq_focus { TQ_FOCUS_LAYERS, TQ_FOCUS_INSPECT, TQ_FOCUS_CHAT, TQ_FOCUS_COUNT } tq_focus;
typedef enum tq_overlay {
    TQ_OVER_NONE,
    TQ_OVER_HELP,
    TQ_OVER_MESSAGES,
    TQ_OVER_CHOICE, /* bit configs with their figures */
    TQ_OVER_EXPORT, /* formats */
    TQ_OVER_CONFIRM,
    TQ_OVER_POINTS,  /* the plans that were tried */
    TQ_OVER_COMPARE, /* A/B */
    TQ_OVER_WORST,   /* the worst tokens of the evaluation */
    TQ_OVER_RESUME,  /* go on with the session of before? */
    TQ_OVER_TEXTS,   /* the plan on several texts */
    TQ_OVER_TREE,    /* all changes of the plan */
    TQ_OVER_COUNT
} tq_overlay;

/* Who answers. */
typedef enum tq_speaker { TQ_PLAN = 1, TQ_BASE = 2, TQ_BOTH = 3 } tq_speaker;

typedef struct tq_turn {
    int speakers; /* of a question: who was asked; of an answer: who answers */
    bool answer;
    char *text;
    bool ended, stopped;
    tq_chat_stats stats;
} tq_turn;

typedef struct tq_dialogue {
    tq_turn *turns; /* [count] */
    size_t count, capacity;
    size_t scroll; /* lines up from the end */
    tq_speaker speakers;
    tq_think think;
    size_t answering; /* the turn that the worker's next piece belongs to; SIZE_MAX: none */
} tq_dialogue;

typedef enum tq_tone { TQ_SAYS, TQ_REFUSES } tq_tone;
typedef struct tq_said {
    char text[600];
    double at; /* seconds since the start */
    tq_tone tone;
} tq_said;

enum { TQ_SAID_MAX = 200, TQ_KLD_HISTORY = 512, TQ_INSPECT_CACHE = 64 };

/* The order of the table. */
typedef enum tq_order { TQ_ORDER_MODEL, TQ_ORDER_GAIN, TQ_ORDER_OWN, TQ_ORDER_COUNT } tq_order;

/* What budgets rest on; see tune.h. */
typedef struct tq_tune {
    size_t matrices;
    tq_felt *felt;   /* [matrices] */
    tq_costs *costs; /* NULL: no sweep is through */
    tq_common common;
    bool *pinned; /* [matrices] by p, which releases embedding and head instead: these are pinned at first */
    bool *held;   /* [matrices] scratch of budgets */
    tq_target target;
    bool has_target, pending; /* pending: the budget waits for the sweep */
    bool on_text;             /* costs were measured on the text that is evaluated */
    uint64_t serial;          /* of the plan that the last budget gave */
    double *keys;             /* [matrices] by which the table is sorted */
    tq_order order;           /* what they are, while it is */
    uint64_t sorted;          /* serial of the plan when it was */
} tq_tune;

/* The session's file, and what was put into it; see keep.h. */
typedef struct tq_keep {
    tq_keeper *keeper; /* NULL: nothing is kept, or not yet */
    uint64_t base;     /* serials count from there in the file */
    bool failed;       /* the last put did, and it was said */
    struct tq_kept_state *states;
    size_t n_states;
    struct tq_kept_turn *turns;
    size_t n_turns, turns_capacity;
    size_t points_revision, kld_seen;
    uint64_t eval_seen;

    tq_keeper *claimed; /* of what was found, until it is decided on */
    tq_records found;
    tq_order wants_sort; /* when costs are known again */
    size_t sort_cursor;  /* the matrix of the cursor then; SIZE_MAX: the first row */
    size_t texts_due;    /* texts beside the main one that were asked for and are not read yet */
    int questions_step;  /* as text_step, of the questions that the scores are of */
    char questions_hash[17];
    int text_step;      /* which text the figures' is being compared with; see resume.c */
    char text_hash[17]; /* of the figures */
    char text_wanted[512];
} tq_keep;

/* Where the panels are at a terminal size; h == 0: not shown. */
typedef struct tq_layout {
    tq_area layers, inspect, cost, chat;
    int inspect_line; /* column of the line left of inspect; -1 */
    bool too_small;
} tq_layout;

typedef struct tq_app {
    const tq_options *options;
    const tq_model *model;
    size_t machine; /* bytes of memory; 0: not known */
    const tq_tokenizer *tokenizer;
    tq_worker *worker;
    char name[128]; /* of the model, as shown */

    tq_draft draft;
    tq_table table;
    tq_status status;
    tq_measured *measured;             /* [matrices] */
    bool *targets;                     /* [matrices] scratch */
    uint64_t eval_seen;                /* serial of the newest final figures */
    uint64_t text_noted[TQ_TEXTS_MAX]; /* serial of the plan whose figures on that text the points have */
    double kld_history[TQ_KLD_HISTORY];
    size_t kld_count;
    tq_eval_options eval;

    tq_keep keep;
    tq_tune tune;
    tq_points points;
    tq_inspected *cache[TQ_INSPECT_CACHE]; /* newest first */
    size_t asked_matrix, asked_group;      /* of the worker, to ask once */
    uint64_t asked_common;
    double hold_until; /* the histograms of the matrix before stay so long; 0: they are gone */
    double rest_at;    /* when the cursor has rested long enough to inspect; 0: nothing to do */

    tq_dialogue talk;
    tq_compare_view compare;
    tq_worst_view worst;
    uint64_t tags; /* the last one given to a request */
    tq_canvas canvas;
    tq_layout layout;
    tq_focus focus;
    tq_overlay overlay;
    bool inspect_over, chat_over; /* shown over the layers where there is no room beside them */
    size_t scroll;                /* of help and messages */
    tq_list menu;                 /* of the menu or list that is open */
    size_t inspect_row;           /* the bit config chosen in the inspect panel */
    bool mouse;                   /* clicks are ours, not the terminal's */
    bool hint;                    /* the line for newcomers is still due */

    tq_export_format export_format;
    char plan_path[512];    /* where the plan was saved or loaded last */
    char pending_path[512]; /* of a question about overwriting */
    tq_job pending;         /* what to do after it: TQ_JOB_SAVE, TQ_JOB_EXPORT, TQ_JOB_NONE: quit */
    bool quit_after_save;
    char question[256];

    tq_said said[TQ_SAID_MAX]; /* a ring */
    size_t said_count;
    double said_until; /* the newest is shown in the last line until then */
    double started;
    bool quit;
} tq_app;

/* --- app.c --- */
void tq_say(tq_app *a, tq_tone tone, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
tq_layout tq_layout_for(int rows, int cols);
void tq_app_focus(tq_app *a, tq_focus focus);

/* --- edit.c: what the keys do to the plan --- */
void tq_edit_bits(tq_app *a, tq_bits bits);
void tq_edit_group(tq_app *a, int by); /* -1: the next smaller group, 1: the next larger */
bool tq_edit_rule(tq_app *a, const char *rule, tq_err *err);
bool tq_edit_common(tq_app *a, const char *what, const char *value, tq_err *err);
void tq_edit_push(tq_app *a, tq_plan *plan, const char *what); /* takes plan over, tells the worker */
void tq_edit_undo(tq_app *a);
void tq_edit_redo(tq_app *a);
void tq_edit_go(tq_app *a, size_t state); /* of the draft */
void tq_eval_changed(tq_app *a);

/* --- command.c: the ':' line --- */
void tq_command_run(tq_app *a, const char *line);
char **tq_command_complete(const char *line, int start, const char *word);
void tq_command_model(const tq_model *m); /* whose matrices are completed */
extern const char *const tq_commands_help[];
extern const size_t tq_commands_help_count;

/* --- panels: draw into the area --- */
void tq_draw_layers(tq_app *a, tq_area at);
void tq_draw_inspect(tq_app *a, tq_area at);
void tq_draw_metrics(tq_app *a, tq_area at);
void tq_draw_chat(tq_app *a, tq_area at);
void tq_draw_help(tq_app *a, tq_area at);
void tq_draw_messages(tq_app *a, tq_area at);
void tq_draw_choice(tq_app *a, tq_area at);
void tq_draw_export(tq_app *a, tq_area at);
void tq_draw_confirm(tq_app *a, tq_area at);
void tq_draw_compare(tq_app *a, tq_area at);
void tq_draw_worst(tq_app *a, tq_area at);
void tq_draw_texts(tq_app *a, tq_area at);
int tq_draw_other_texts(tq_app *a, int y, int x, int end); /* their KLD in short; returns the column after it */
bool tq_texts_only_tuning(const tq_app *a); /* the last change improves the tuning text and none that is held out */
void tq_draw_bar(tq_app *a, int y);
void tq_draw_looks(tq_app *a, int y, int x, int end); /* the keys that explain the costs, up to column end */
void tq_draw_title(tq_app *a);
void tq_draw_screen(tq_app *a, int rows, int cols);

/* --- inspect --- */
const tq_inspected *tq_inspect_cached(const tq_app *a, size_t matrix, size_t group);
void tq_inspect_keep(tq_app *a, tq_inspected *found); /* takes it over */
void tq_inspect_ask(tq_app *a);                       /* asks the worker when it is shown and not known */
bool tq_inspect_wanted(const tq_app *a);              /* something shown is not known */
uint64_t tq_inspect_common(const tq_app *a);
tq_style tq_damage_style(double x); /* good, warn or bad, of a relative MSE or a KLD */

/* --- chat --- */
bool tq_chat_send(tq_app *a, const char *text); /* false: refused, and said why */
void tq_chat_event(tq_app *a, tq_event *e);
void tq_chat_clear(tq_app *a);
void tq_chat_next_speaker(tq_app *a);
void tq_chat_free_turns(tq_dialogue *t);
const char *tq_speaker_name(int speakers);

/* --- plans that were tried: panel_points.c --- */
void tq_draw_points(tq_app *a, tq_area at);
void tq_points_show(tq_app *a);
void tq_points_key(tq_app *a, int key);
void tq_points_snapshot(tq_app *a, const char *name); /* names the plan now */
void tq_points_write(tq_app *a, const char *path);    /* .csv or .json */

/* --- all changes: panel_tree.c --- */
void tq_draw_tree(tq_app *a, tq_area at);
void tq_tree_show(tq_app *a);
void tq_tree_key(tq_app *a, int key);

/* --- copy.c: "row" (or what is marked), "plan" or "answer" to the clipboard --- */
void tq_copy(tq_app *a, const char *what);

/* --- mouse.c --- */
void tq_mouse_key(tq_app *a, tq_mouse m);

/* --- keys --- */
void tq_app_key(tq_app *a, int key);
void tq_app_paste(tq_app *a, const char *text); /* into the line that is edited; elsewhere it is no keys */
void tq_app_event(tq_app *a, tq_event *e);

#endif
