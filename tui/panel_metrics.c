/* panel_metrics.c - the cost: memory, KL divergence, perplexity, and what the last change did. */
#include <stdio.h>
#include <string.h>

#include "tui/app_internal.h"
#include "tui/format.h"
#include "tui/tune.h"

/* The figures to show, and whether they are of the plan now. */
typedef struct figures {
    const tq_eval_result *r; /* NULL: none */
    bool stale, refining;
} figures;

static figures figures_of(const tq_app *a) {
    const tq_state *s = &a->draft.states[a->draft.now];
    if (a->status.eval.tokens && a->status.eval_serial == s->serial)
        return (figures){&a->status.eval, false, a->status.eval_running};
    if (s->eval_known) return (figures){&s->eval, false, false};
    if (a->status.eval.tokens) return (figures){&a->status.eval, true, false};
    return (figures){0};
}

/* What answering takes beside the weights, and of the machine's memory. What does not fit is said first. */
static void draw_needs(tq_app *a, int y, int x, int end, const tq_memory *m) {
    size_t threads = a->status.threads > 0 ? (size_t)a->status.threads : 1;
    tq_memory_plan p = tq_memory_plan_of(a->model, m->quantized, m->kept, a->eval.ctx, threads, a->machine);
    double part = p.machine ? (double)p.total / (double)p.machine : 0;
    tq_text tokens, state, rest;
    if (part > 0.9) {
        tq_putf(&a->canvas, y, x + 2, end, TQ_ST_BAD, "! %s of %s MiB of memory%s", tq_fmt_mib(p.total, state),
                tq_fmt_mib(p.machine, rest), p.streams ? ", streamed" : "");
        return;
    }
    if (end - x < 34) return;
    x = tq_putf(&a->canvas, y, x + 3, end, TQ_ST_DIM, "cache at %s tokens %s MiB", tq_fmt_count(p.ctx, tokens),
                tq_fmt_mib(p.state, state));
    if (end - x < 44 || !p.machine) return;
    x = tq_putf(&a->canvas, y, x, end, TQ_ST_DIM, ", activations %s MiB", tq_fmt_mib(p.activations, rest));
    tq_putf(&a->canvas, y, x, end, TQ_ST_DIM, part < 0.01 ? ", < 1 %% of memory" : ", in all %.0f %% of memory",
            100 * part);
}

static void draw_memory(tq_app *a, int y, int x, int end) {
    tq_memory m = tq_plan_memory(a->model, tq_draft_plan(&a->draft));
    bool wide = end - x >= 90;
    int bar = end - x >= 130 ? 40 : wide ? 20 : end - x >= 70 ? 14 : 8;
    double part = m.baseline ? (double)m.total / (double)m.baseline : 0;
    tq_text total, base;
    x = tq_put(&a->canvas, y, x, end, TQ_ST_TITLE, "memory") + 2;
    tq_bar(&a->canvas, y, x, bar, part > 1 ? 1 : part, TQ_ST_BAR_USED);
    const char *stored = tq_model_baseline(a->model);
    x = tq_putf(&a->canvas, y, x + bar + 2, end, TQ_ST_NORMAL, "%s of %s MiB  %.0f %%", tq_fmt_mib(m.total, total),
                tq_fmt_mib(m.baseline, base), 100 * part);
    int bpw_width = wide ? 20 : 12; /* which say more than what the model is stored as */
    if (stored[0] && x + 4 + tq_text_width(&a->canvas, stored, 64) + bpw_width <= end)
        x = tq_putf(&a->canvas, y, x, end, TQ_ST_NORMAL, " of %s", stored);
    x = tq_putf(&a->canvas, y, x + 3, end, TQ_ST_NORMAL, wide ? "%.2f bits/weight" : "%.2f bpw", m.bpw_linear);
    tq_calibrate how = tq_plan_common(tq_draft_plan(&a->draft)).calibrate;
    if (how != TQ_CALIBRATE_NONE && end - x >= 10)
        x = tq_putf(&a->canvas, y, x + 1, end, TQ_ST_NORMAL, "%s", tq_calibrate_name(how));
    if (end - x >= 56) x = tq_putf(&a->canvas, y, x, end, TQ_ST_DIM, "  (model %.2f)", m.bpw_model);
    draw_needs(a, y, x, end, &m);
}

/* What the worker does: "evaluating", how far it is, and how long it takes. */
typedef struct doing {
    const char *name; /* NULL: nothing that is shown */
    double part;
    char percent[16], left[64];
} doing;
enum { PROGRESS_BAR = 12 };

static doing doing_now(const tq_app *a) {
    const tq_status *s = &a->status;
    bool waits = s->asked != TQ_JOB_NONE && tq_job_background(s->job);
    tq_job job = waits ? s->asked : s->job;
    doing d = {0};
    if (job == TQ_JOB_NONE || job == TQ_JOB_INSPECT || job == TQ_JOB_CHAT) return d;
    tq_text time;
    d.name = tq_job_name(job);
    d.part = s->total > 0 && !waits ? s->done / s->total : 0;
    if (d.part > 1) d.part = 1;
    if (s->total > 0 && !waits) snprintf(d.percent, sizeof d.percent, " %2.0f %%", 100 * d.part);
    double spent = tq_now() - s->started;
    if (d.part > 0.02 && d.part < 1 && spent > 0.3)
        snprintf(d.left, sizeof d.left, "  %s left", tq_fmt_seconds(spent * (1 - d.part) / d.part, time));
    return d;
}

/* Without the time that is left; 0: nothing is done. */
static int progress_width(const tq_app *a) {
    doing d = doing_now(a);
    return d.name ? (int)(strlen(d.name) + strlen(d.percent)) + 1 + PROGRESS_BAR : 0;
}

/* What the worker does, right-aligned in [x, end); false when there is no room. */
static bool draw_progress(tq_app *a, int y, int x, int end) {
    doing d = doing_now(a);
    if (!d.name) return true;
    int width = progress_width(a), left = (int)strlen(d.left);
    if (width > end - x) return false;
    if (width + left > end - x) d.left[0] = '\0', left = 0;
    x = tq_putf(&a->canvas, y, end - width - left, end, TQ_ST_DIM, "%s ", d.name);
    int full = (int)(d.part * PROGRESS_BAR);
    for (int k = 0; k < PROGRESS_BAR; k++)
        tq_put(&a->canvas, y, x + k, x + k + 1, k <= full ? TQ_ST_BAR_USED : TQ_ST_BAR_FREE,
               k < full    ? "━"
               : k == full ? "╸"
                           : "─");
    tq_putf(&a->canvas, y, x + PROGRESS_BAR, end, TQ_ST_DIM, "%s%s", d.percent, d.left);
    return true;
}

static bool draw_divergence(tq_app *a, int y, int x, int end) {
    figures f = figures_of(a);
    tq_text mean, err, p99;
    bool tight = end - x < 70;
    x = tq_put(&a->canvas, y, x, end, TQ_ST_TITLE, "KLD") + (tight ? 2 : 5);
    if (!f.r) {
        x = tq_put(&a->canvas, y, x, end, TQ_ST_DIM,
                   a->status.text_tokens ? "…" : "no text: ':text FILE' gives one, ':text sample' the sample's");
    } else {
        const tq_eval_result *r = f.r;
        tq_style mark = f.stale ? TQ_ST_STALE : f.refining ? TQ_ST_DIM : TQ_ST_NORMAL;
        tq_style mean_style = mark == TQ_ST_NORMAL && r->kld_mean > 0 ? tq_damage_style(r->kld_mean) : mark;
        x = tq_putf(&a->canvas, y, x, end, mean_style, "%s%s", f.stale ? "~" : "", tq_fmt_kld(r->kld_mean, mean));
        x = tq_putf(&a->canvas, y, x, end, mark, " ± %s%s", tq_fmt_kld_error(r->kld_mean, r->kld_stderr, err),
                    f.refining ? " …" : "");
        if (tight && progress_width(a) + 30 > end - x) return draw_progress(a, y, x + 2, end);
        x = tq_putf(&a->canvas, y, x + 2, end, mark, "p99 %s", tq_fmt_kld(r->kld_p99, p99));
        x = tq_putf(&a->canvas, y, x + 2, end, mark, tight ? "same %.1f %%" : "same top %.1f %%", 100 * r->same_top);
    }
    if (end - x > 60) x = tq_draw_other_texts(a, y, x, end - 40);
    double foretold = 0;
    if (tq_tune_foretold(a, &foretold) && foretold > 0 && end - x > (tq_tune_plain(a) ? 19 : 26))
        x = tq_putf(&a->canvas, y, x + 2, end, TQ_ST_DIM, "%s %s", tq_tune_plain(a) ? "predicted" : "predicted, plain",
                    tq_fmt_kld(foretold, mean));
    if (tq_model_matrices(a->model) && tq_model_matrix(a->model, 0)->packed)
        x = tq_put(&a->canvas, y, x + 2, end, TQ_ST_DIM, "against itself");
    if (a->kld_count > 1 && end - x > 12) {
        int w = end - x > 90 ? 24 : 10;
        x = tq_sparkline(&a->canvas, y, x + 3, w, a->kld_history, a->kld_count, TQ_ST_BAR_USED);
    }
    return draw_progress(a, y, x + 3, end);
}

static void draw_last_change(tq_app *a, int y, int x, int end) {
    const tq_draft *d = &a->draft;
    const tq_state *now = &d->states[d->now], *before = tq_draft_before(d);
    if (!before) return;
    char text[256];
    tq_text kld, mib;
    size_t was = tq_plan_memory(a->model, before->plan).total, is = tq_plan_memory(a->model, now->plan).total;
    bool known = now->eval_known && before->eval_known;
    if (known)
        tq_fmt_kld_change(before->eval.kld_mean, now->eval.kld_mean, kld);
    else
        snprintf(kld, sizeof kld, now->eval_known ? "?" : "…"); /* of the plan before there is no figure to come */
    /* Means over different tokens differ by that too, but for the 0 of the model as stored. */
    const char *about = known && before->eval.tokens != now->eval.tokens && before->eval.kld_max > 0 ? "~" : "";
    tq_fmt_mib_signed(was, is, mib);
    for (int form = 0; form < 3 && (form == 0 || tq_text_width(&a->canvas, text, sizeof text) > end - x); form++)
        snprintf(text, sizeof text, form == 0 ? "last: %s   KLD %s%s   %s MiB" : "%s  KLD %s%s  %s MiB",
                 form == 2 ? "" : now->what, about, kld, mib);
    if (tq_text_width(&a->canvas, text, sizeof text) <= end - x)
        tq_put_right(&a->canvas, y, x, end, TQ_ST_NORMAL, text);
}

/* The score of the plan now: what is known of it, and whether that is all. */
static tq_score score_now(const tq_app *a, bool *whole) {
    const tq_state *now = &a->draft.states[a->draft.now];
    tq_score s = now->score;
    if (!s.of && a->status.score_serial == now->serial) s = a->status.score;
    *whole = s.of >= a->status.questions;
    return s;
}

/* "exact 93.0 % (90.4 to 94.9) of 500 questions  base 96.2 %", or as much of it as leaves room for the last change. */
static int draw_score(tq_app *a, int y, int x, int end) {
    enum { LAST_CHANGE = 30, BASE_ROOM = 54 };
    char text[96] = "";
    double low, high;
    bool whole = false;
    size_t n = a->status.questions;
    int room = end - x - LAST_CHANGE;
    if (!n) return x;
    tq_score s = score_now(a, &whole);
    if (!s.of) return room > 10 ? tq_put(&a->canvas, y, x + 2, end, TQ_ST_DIM, "exact …") : x;
    tq_score_interval(s, &low, &high);
    for (int form = 0; form < 3 && (!*text || tq_text_width(&a->canvas, text, sizeof text) + 2 > room); form++)
        snprintf(text, sizeof text,
                 form == 0   ? "exact %.1f %% (%.1f to %.1f) of %zu questions"
                 : form == 1 ? "exact %.1f %% (%.1f to %.1f) of %zu"
                             : "exact %.1f %%",
                 100 * tq_score_share(s), 100 * low, 100 * high, n);
    x = tq_putf(&a->canvas, y, x + 2, end, whole ? TQ_ST_NORMAL : TQ_ST_DIM, "%s%s", text, whole ? "" : " …");
    if (whole && end - x - BASE_ROOM > 14 && a->status.base_score.of == n)
        x = tq_putf(&a->canvas, y, x + 2, end, TQ_ST_DIM, "base %.1f %%", 100 * tq_score_share(a->status.base_score));
    return x;
}

static void draw_perplexity(tq_app *a, int y, int x, int end, bool progress) {
    figures f = figures_of(a);
    bool tight = end - x < 70;
    x = tq_put(&a->canvas, y, x, end, TQ_ST_TITLE, "PPL") + (tight ? 2 : 5);
    if (f.r && a->status.flattered) {
        tq_put(&a->canvas, y, x, end, TQ_ST_WARN, "flattered: calibrated on this very text");
    } else if (f.r && tq_texts_only_tuning(a)) {
        tq_put(&a->canvas, y, x, end, TQ_ST_WARN, "only the tuning text improves: T shows all");
    } else if (f.r) {
        tq_style mark = f.stale ? TQ_ST_STALE : f.refining ? TQ_ST_DIM : TQ_ST_NORMAL;
        const char *stale = f.stale ? "~" : "";
        tq_text n;
        x = tq_putf(&a->canvas, y, x, end, mark, "%.2f → %s%.2f  × %.3f", f.r->ppl_base, stale, f.r->ppl,
                    f.r->ppl_ratio);
        if (end - x > 80)
            x = tq_putf(&a->canvas, y, x + 2, end, TQ_ST_DIM, "on %s tokens", tq_fmt_count(f.r->tokens, n));
        x = draw_score(a, y, x, end);
    } else {
        x = tq_put(&a->canvas, y, x, end, TQ_ST_DIM, a->status.text_tokens ? "…" : "");
    }
    if (!progress || !draw_progress(a, y, x + 3, end)) draw_last_change(a, y, x + 3, end);
}

void tq_draw_metrics(tq_app *a, tq_area at) {
    int x = at.x + 1, end = at.x + at.w - 1;
    tq_clear(&a->canvas, at);
    int title = tq_put(&a->canvas, at.y - 1, at.x + 1, end, TQ_ST_TITLE, " Cost ");
    tq_draw_looks(a, at.y - 1, title + 2, end);
    draw_memory(a, at.y, x, end);
    bool drawn = draw_divergence(a, at.y + 1, x, end);
    draw_perplexity(a, at.y + 2, x, end, !drawn);
}
