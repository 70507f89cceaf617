/* app.c - the explorer's loop: keys, signals and the worker's news in; one screen out. */
#include "tui/app.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/actions.h"
#include "tui/keep.h"
#include "tui/keys.h"
#include "tui/overlay.h"
#include "tui/term.h"
#include "tui/tune.h"

#define FRAME 0.016      /* seconds: news of the worker is drawn at most so often */
#define MESSAGE_TIME 4.0 /* a message takes the last line so long */
#define HOLD_TIME 0.5    /* see hold_until */
#define REST_TIME 0.12   /* the cursor rests when it has not moved so long */

void tq_say(tq_app *a, tq_tone tone, const char *fmt, ...) {
    tq_said *s = &a->said[a->said_count++ % TQ_SAID_MAX];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->text, sizeof s->text, fmt, ap);
    va_end(ap);
    s->tone = tone;
    s->at = tq_now() - a->started;
    a->said_until = tq_now() + MESSAGE_TIME;
}

void tq_app_focus(tq_app *a, tq_focus focus) {
    if (a->focus == TQ_FOCUS_CHAT && focus != TQ_FOCUS_CHAT) tq_lineedit_end();
    a->focus = focus;
    if (focus == TQ_FOCUS_CHAT && !tq_lineedit_active(TQ_LINE_CHAT)) tq_lineedit_begin(TQ_LINE_CHAT, NULL);
}

/* --- news of the worker --- */

static void after_write(tq_app *a, const tq_event *e) {
    if (e->rc == TQ_OK) {
        if (e->job == TQ_JOB_SAVE) {
            tq_draft_saved(&a->draft, e->serial);
            snprintf(a->plan_path, sizeof a->plan_path, "%s", e->path);
            if (a->quit_after_save) a->quit = true;
        }
        tq_say(a, TQ_SAYS, "%s: %s%s%s", e->job == TQ_JOB_SAVE ? "saved" : "exported", e->path, e->note ? ": " : "",
               e->note ? e->note : "");
    } else if (e->exists) {
        snprintf(a->pending_path, sizeof a->pending_path, "%s", e->path);
        snprintf(a->question, sizeof a->question, "%.180s exists. Overwrite?   y yes   n no", e->path);
        a->pending = e->job;
        a->overlay = TQ_OVER_CONFIRM;
        return;
    } else if (e->rc == TQ_FAIL) {
        tq_say(a, TQ_REFUSES, "%s", e->err.msg);
    }
    a->quit_after_save = false;
}

static void after_load(tq_app *a, tq_event *e) {
    if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
    if (e->rc != TQ_OK) return;
    char what[96];
    const char *slash = strrchr(e->path, '/');
    snprintf(what, sizeof what, "load %.80s", slash ? slash + 1 : e->path);
    tq_plan *plan = e->plan;
    e->plan = NULL;
    tq_edit_push(a, plan, what);
    tq_draft_saved(&a->draft, tq_draft_serial(&a->draft));
    snprintf(a->plan_path, sizeof a->plan_path, "%s", e->path);
    tq_say(a, TQ_SAYS, "loaded: %s", e->path);
}

void tq_app_event(tq_app *a, tq_event *e) {
    switch (e->job) {
    case TQ_JOB_CHAT:
        tq_chat_event(a, e);
        break;
    case TQ_JOB_INSPECT:
        if (e->inspected) tq_inspect_keep(a, e->inspected);
        e->inspected = NULL;
        break;
    case TQ_JOB_LOAD:
        after_load(a, e);
        break;
    case TQ_JOB_SAVE:
    case TQ_JOB_EXPORT:
        after_write(a, e);
        break;
    case TQ_JOB_TEXT:
        if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
        if (e->rc == TQ_OK && *e->path) {
            tq_tune_forget(a);
            if (a->keep.text_step == 0) tq_eval_changed(a); /* else it is the text of the session's figures */
        }
        tq_resume_text(a, e);
        break;
    case TQ_JOB_SWEEP:
    case TQ_JOB_COMPARE:
        tq_tune_event(a, e);
        break;
    case TQ_JOB_ANSWERS:
    case TQ_JOB_EXPLAIN:
        tq_compare_event(a, e);
        tq_worst_event(a, e);
        break;
    case TQ_JOB_READ_QUESTIONS:
        if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
        tq_resume_questions(a, e);
        break;
    case TQ_JOB_ADD_TEXT:
        if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
        if (a->keep.texts_due && *e->path) a->keep.texts_due--;
        break;
    case TQ_JOB_EVAL:
        tq_worst_event(a, e);
        if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
        break;
    default:
        if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
        break;
    }
}

/* Final figures make a point of the plan that they are of. */
static void note_point(tq_app *a, const tq_eval_result *r) {
    for (size_t i = 0; i < a->draft.count; i++) {
        const tq_state *s = &a->draft.states[i];
        if (s->serial == a->status.eval_serial)
            (void)tq_points_add(&a->points, a->model, s->plan, s->what, tq_now() - a->started, r);
    }
}

/* What the questions gave belongs to the plan that was asked. */
static void note_score(tq_app *a) {
    const tq_status *s = &a->status;
    if (!s->questions || s->score.of < s->questions) return;
    tq_draft_note_score(&a->draft, s->score_serial, s->score);
    for (size_t i = 0; i < a->draft.count; i++)
        if (a->draft.states[i].serial == s->score_serial)
            tq_points_note_score(&a->points, a->model, a->draft.states[i].plan, s->score);
}

/* Figures of the texts beside the main one: of the state with their serial, and of its plan among those tried. */
static void note_texts(tq_app *a) {
    for (size_t i = 0; i < a->status.n_texts; i++) {
        const tq_text_status *t = &a->status.texts[i];
        if (!t->figures.known) continue;
        tq_draft_note_text(&a->draft, t->serial, i, &t->figures);
        if (i == 0 || a->text_noted[i] == t->serial) continue;
        tq_point_text text = {.kld = t->figures.kld, .error = t->figures.error};
        snprintf(text.name, sizeof text.name, "%s", t->name);
        for (size_t k = 0; k < a->draft.count; k++)
            if (a->draft.states[k].serial == t->serial &&
                tq_points_note_text(&a->points, a->model, a->draft.states[k].plan, &text))
                a->text_noted[i] = t->serial;
    }
}

static void take_news(tq_app *a) {
    tq_event *e = tq_worker_snapshot(a->worker, &a->status, a->measured, a->tune.felt);
    for (tq_event *next; e; e = next) {
        next = e->next;
        tq_app_event(a, e);
        tq_event_free(e);
    }
    tq_resume_questions(a, NULL);
    note_score(a);
    note_texts(a);
    const tq_eval_result *r = &a->status.eval;
    if (r->tokens == 0) return;
    /* Coarse figures are kept too, until the fine ones replace them. */
    tq_draft_note_eval(&a->draft, a->status.eval_serial, r);
    if (a->status.eval_running || a->eval_seen == a->status.eval_serial) return;
    a->eval_seen = a->status.eval_serial;
    note_point(a, r);
    if (a->kld_count == TQ_KLD_HISTORY)
        memmove(a->kld_history, a->kld_history + 1, --a->kld_count * sizeof *a->kld_history);
    a->kld_history[a->kld_count++] = r->kld_mean;
}

/* --- keys --- */

static void path_entered(tq_app *a, const char *path) {
    if (!*path) {
        a->quit_after_save = false;
    } else if (a->pending == TQ_JOB_LOAD) {
        tq_worker_load(a->worker, path);
    } else if (a->pending == TQ_JOB_SAVE) {
        /* What this session saved it may write again. */
        tq_worker_save(a->worker, path, strcmp(path, a->plan_path) == 0);
    } else {
        tq_worker_export(a->worker, a->export_format, path, false);
    }
}

/* Ends a prompt; the chat's line, when the chat had the keys, is edited again. */
static void end_prompt(tq_app *a) {
    tq_lineedit_end();
    if (a->focus == TQ_FOCUS_CHAT) tq_lineedit_begin(TQ_LINE_CHAT, NULL);
}

static void prompt_key(tq_app *a, int key) {
    bool empty = !*tq_lineedit_text();
    if (key == TQ_KEY_ESC || key == TQ_CTRL('c') || (empty && key == TQ_KEY_BACKSPACE)) {
        a->quit_after_save = false;
        end_prompt(a);
        return;
    }
    if (key == TQ_CTRL('z')) {
        tq_term_suspend();
        return;
    }
    tq_lineedit_key(key);
    char *line = tq_lineedit_take();
    if (!line) return;
    tq_line kind = tq_lineedit_active(TQ_LINE_COMMAND)   ? TQ_LINE_COMMAND
                   : tq_lineedit_active(TQ_LINE_FILTER)  ? TQ_LINE_FILTER
                   : tq_lineedit_active(TQ_LINE_BUDGET)  ? TQ_LINE_BUDGET
                   : tq_lineedit_active(TQ_LINE_COMPARE) ? TQ_LINE_COMPARE
                                                         : TQ_LINE_PATH;
    end_prompt(a);
    for (size_t n = strlen(line); n > 0 && line[n - 1] == ' ';)
        line[--n] = '\0'; /* completion leaves one */
    if (kind == TQ_LINE_COMMAND)
        tq_command_run(a, line);
    else if (kind == TQ_LINE_PATH)
        path_entered(a, line);
    else if (kind == TQ_LINE_BUDGET)
        tq_tune_budget(a, line);
    else if (kind == TQ_LINE_COMPARE)
        tq_compare_prompt(a, line);
    else if (!tq_table_filter(&a->table, line))
        tq_say(a, TQ_REFUSES, "'%.80s' matches none of the %zu matrices", line, tq_model_matrices(a->model));
    free(line);
}

static void chat_key(tq_app *a, int key) {
    long page = a->layout.chat.h ? a->layout.chat.h - 2 : a->layout.layers.h - 2;
    switch (key) {
    case TQ_KEY_ESC:
    case TQ_CTRL('c'):
        if (a->talk.answering != SIZE_MAX)
            tq_worker_cancel(a->worker);
        else
            tq_app_focus(a, TQ_FOCUS_LAYERS);
        return;
    case TQ_KEY_TAB:
        tq_chat_next_speaker(a);
        return;
    case TQ_KEY_BACKTAB:
        tq_app_focus(a, TQ_FOCUS_LAYERS);
        return;
    case TQ_CTRL('l'):
        tq_chat_clear(a);
        return;
    case TQ_CTRL('z'):
        tq_term_suspend();
        return;
    case TQ_KEY_PGUP:
        a->talk.scroll += (size_t)page;
        return;
    case TQ_KEY_PGDN:
        a->talk.scroll = a->talk.scroll > (size_t)page ? a->talk.scroll - (size_t)page : 0;
        return;
    default:
        break;
    }
    tq_lineedit_key(key);
    char *line = tq_lineedit_take();
    if (line && !tq_chat_send(a, line)) tq_lineedit_begin(TQ_LINE_CHAT, line); /* what was typed is not lost */
    free(line);
}

static bool editing(void) {
    return tq_lineedit_prompts() || tq_lineedit_active(TQ_LINE_CHAT);
}

/* Do keys go into a line? What is open lies over those that are edited, but for its own. */
static bool typing(const tq_app *a) {
    return a->overlay == TQ_OVER_NONE ? editing() : tq_lineedit_active(TQ_LINE_COMPARE);
}

/* Where nothing can be shown, nothing is changed: only what leaves is taken, and the answer to what it asks. */
static bool unseen(const tq_app *a, int key) {
    bool leaves = key == TQ_CTRL('z') || (key == 'q' && !typing(a));
    return a->layout.too_small && a->overlay != TQ_OVER_CONFIRM && !leaves;
}

void tq_app_paste(tq_app *a, const char *text) {
    a->said_until = 0;
    if (a->layout.too_small) return;
    if (typing(a))
        tq_lineedit_insert(text);
    else
        tq_say(a, TQ_REFUSES, "pasted text is not taken for keys: c, : or A first, then paste");
}

void tq_app_key(tq_app *a, int key) {
    if (key >= TQ_KEY_META && (!typing(a) || key == TQ_KEY_META + TQ_KEY_ESC)) {
        /* Only lines know Meta: elsewhere it was Escape and a key in quick succession, and twice Escape always. */
        tq_app_key(a, TQ_KEY_ESC);
        key -= TQ_KEY_META;
    }
    const tq_overlay_traits *over = tq_overlay_get(a->overlay);
    a->said_until = 0;
    if (unseen(a, key)) return;
    if (key == TQ_CTRL('l') && (a->overlay != TQ_OVER_NONE || !tq_lineedit_active(TQ_LINE_CHAT))) {
        tq_term_redraw();
    } else if (over && !typing(a)) {
        over->key(a, key);
    } else if (tq_lineedit_active(TQ_LINE_CHAT)) {
        chat_key(a, key);
    } else if (editing()) {
        prompt_key(a, key);
    } else {
        const tq_action *action = tq_action_for(key);
        if (action)
            tq_action_run(a, action);
        else if (key > ' ' && key < TQ_KEY_UP)
            tq_say(a, TQ_REFUSES, "no key '%lc': ? shows all", (wint_t)key);
    }
    a->rest_at = tq_now() + REST_TIME;
    a->hold_until = tq_now() + HOLD_TIME;
}

/* --- the loop --- */

static tq_app *shown_matches_app; /* for readline's hook, which has no context */

static void show_matches(char **matches, int n) {
    char text[500] = "";
    size_t used = 0;
    for (int i = 1; i <= n && used + strlen(matches[i]) + 2 < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s  ", matches[i]);
    if (shown_matches_app) tq_say(shown_matches_app, TQ_SAYS, "%s", text);
}

/* Milliseconds to sleep when nothing comes: for ever when nothing moves. */
static int sleep_for(const tq_app *a, double drawn, bool news) {
    double now = tq_now(), until = 1e300;
    if (news && drawn + FRAME < until) until = drawn + FRAME;
    if (a->said_until > 0 && a->said_until < until) until = a->said_until;
    if (a->rest_at > 0 && a->rest_at < until) until = a->rest_at;
    if (a->hold_until > 0 && a->hold_until < until) until = a->hold_until;
    if (until > 1e299) return -1;
    return until <= now ? 0 : (int)((until - now) * 1000) + 1;
}

/* The signal that ends the program, or 0; *any: there was one, so the screen is to be drawn. */
static int take_signals(bool *any) {
    for (int sig; (sig = tq_term_signal()) != 0;) {
        *any = true;
        if (sig == SIGTSTP)
            tq_term_suspend();
        else if (sig != SIGWINCH)
            return sig;
    }
    return 0;
}

static int loop(tq_app *a) {
    struct pollfd fds[3] = {{.fd = 0, .events = POLLIN},
                            {.fd = tq_term_signal_fd(), .events = POLLIN},
                            {.fd = tq_worker_fd(a->worker), .events = POLLIN}};
    double drawn = 0;
    bool news = true, urgent = true;
    while (!a->quit) {
        double now = tq_now();
        if (a->said_until > 0 && now >= a->said_until) {
            a->said_until = 0;
            urgent = true;
        }
        if (a->hold_until > 0 && now >= a->hold_until) {
            a->hold_until = 0;
            urgent = true;
        }
        if (a->rest_at > 0 && now >= a->rest_at) {
            a->rest_at = 0;
            tq_inspect_ask(a);
        }
        if (urgent || (news && now >= drawn + FRAME)) {
            take_news(a);
            tq_keep_now(a);
            int rows, cols;
            tq_term_size(&rows, &cols);
            tq_draw_screen(a, rows, cols);
            tq_term_show(&a->canvas);
            drawn = tq_now();
            news = urgent = false;
            if (a->rest_at <= 0 && tq_inspect_wanted(a)) a->rest_at = drawn + REST_TIME;
            if (a->quit) break;
        }
        fds[2].fd = news ? -1 : tq_worker_fd(a->worker); /* known already */
        int n = poll(fds, 3, sleep_for(a, drawn, news));
        if (n < 0 && errno != EINTR) return SIGHUP;
        int sig = take_signals(&urgent);
        if (sig) return sig;
        if (n <= 0) continue;
        if (fds[2].revents) news = true;
        if (fds[0].revents & POLLIN) {
            for (int key; !a->quit && (key = tq_term_key()) != TQ_KEY_NONE;) {
                if (key == TQ_KEY_MOUSE)
                    tq_mouse_key(a, tq_term_mouse_event());
                else if (key == TQ_KEY_PASTE)
                    tq_app_paste(a, tq_term_pasted());
                else
                    tq_app_key(a, key);
                tq_keep_now(a);
            }
            urgent = true;
        }
        if (fds[0].revents & (POLLHUP | POLLERR | POLLNVAL)) return SIGHUP;
    }
    return 0;
}

static void set_name(tq_app *a, const char *path) {
    char text[512];
    snprintf(text, sizeof text, "%s", path);
    for (size_t n = strlen(text); n > 1 && text[n - 1] == '/';)
        text[--n] = '\0';
    char *slash = strrchr(text, '/');
    /* model.safetensors says little: its directory says more. */
    if (slash && strcmp(slash + 1, "model.safetensors") == 0) {
        *slash = '\0';
        slash = strrchr(text, '/');
    }
    snprintf(a->name, sizeof a->name, "%.120s", slash ? slash + 1 : text);
}

static bool prepare(tq_app *a, const tq_options *o, char **note, tq_err *err) {
    tq_plan *plan = NULL;
    a->options = o;
    a->started = tq_now();
    a->eval = o->eval;
    a->talk.speakers = TQ_PLAN;
    a->talk.think = a->options->chat.think;
    a->talk.answering = SIZE_MAX;
    a->asked_matrix = SIZE_MAX;
    a->worker = tq_worker_start(o, err);
    if (!a->worker) return false;
    if (tq_worker_wait_open(a->worker, &a->model, &a->tokenizer, &plan, note, err) != TQ_OK) return false;
    a->machine = o->memory ? o->memory : tq_machine_memory();
    set_name(a, o->model);
    if (o->plan) snprintf(a->plan_path, sizeof a->plan_path, "%s", o->plan);
    size_t n = tq_model_matrices(a->model);
    a->measured = calloc(n + 1, sizeof *a->measured);
    a->targets = calloc(n + 1, sizeof *a->targets);
    if (!tq_draft_init(&a->draft, a->model, plan) || !tq_table_init(&a->table, a->model) || !a->measured ||
        !a->targets || !tq_tune_init(&a->tune, n) || !tq_lineedit_open(tq_command_complete, show_matches)) {
        (void)tq_fail(err, "out of memory");
        return false;
    }
    tq_command_model(a->model);
    shown_matches_app = a;
    tq_table_show(&a->table, tq_table_heaviest(&a->table));
    a->hint = o->sample;
    return true;
}

static void release(tq_app *a) {
    tq_worker_stop(a->worker);
    tq_keeper_close(a->keep.claimed);
    tq_keep_close(a);
    tq_lineedit_close();
    tq_draft_free(&a->draft);
    tq_table_free(&a->table);
    tq_tune_free(&a->tune);
    tq_points_free(&a->points);
    tq_compare_free(&a->compare);
    tq_worst_free(&a->worst);
    tq_chat_free_turns(&a->talk);
    tq_canvas_free(&a->canvas);
    for (size_t i = 0; i < TQ_INSPECT_CACHE; i++)
        free(a->cache[i]);
    free(a->measured);
    free(a->targets);
    free(a);
}

static void set_terminal(tq_app *a, const tq_options *o) {
    if (o->ascii) tq_term_set_ascii();
    a->canvas.ascii = tq_term_ascii();
    if (o->scheme_given) tq_term_scheme(o->scheme);
    a->mouse = !o->no_mouse;
    tq_term_mouse(a->mouse);
}

int tq_explore(const tq_options *o) {
    tq_err err = {{0}};
    char msg[160] = "", *note = NULL;
    int sig = 0, status = EXIT_FAILURE;
    tq_app *a = calloc(1, sizeof *a);
    if (!a) return EXIT_FAILURE;
    if (!prepare(a, o, &note, &err)) {
        fprintf(stderr, "tqexplore: %s\n", err.msg);
    } else if (!tq_term_open(msg)) {
        fprintf(stderr, "tqexplore: %s\n", msg);
    } else {
        set_terminal(a, o);
        for (char *save = NULL, *line = note && *note ? strtok_r(note, "\n", &save) : NULL; line;
             line = strtok_r(NULL, "\n", &save))
            tq_say(a, TQ_SAYS, "%s", line);
        tq_resume_look(a);
        sig = loop(a);
        tq_term_close();
        status = EXIT_SUCCESS;
    }
    free(note);
    release(a);
    if (sig) raise(sig);
    return status;
}
