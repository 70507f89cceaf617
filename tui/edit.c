/* edit.c - what the keys do to the plan: every change is one state of the draft, and goes to the worker at once. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app_internal.h"

static void tell_worker(tq_app *a) {
    tq_plan *copy = tq_plan_copy(tq_draft_plan(&a->draft));
    if (copy) tq_worker_want_plan(a->worker, copy, tq_draft_serial(&a->draft));
}

void tq_edit_push(tq_app *a, tq_plan *plan, const char *what) {
    if (!tq_draft_push(&a->draft, plan, what)) {
        tq_say(a, TQ_REFUSES, "out of memory");
        return;
    }
    a->hint = false;
    tell_worker(a);
}

void tq_edit_undo(tq_app *a) {
    char what[96];
    snprintf(what, sizeof what, "%s", a->draft.states[a->draft.now].what);
    if (!tq_draft_undo(&a->draft)) {
        tq_say(a, TQ_REFUSES, "nothing to undo");
        return;
    }
    tq_say(a, TQ_SAYS, "undone: %s", what);
    tell_worker(a);
}

void tq_edit_redo(tq_app *a) {
    if (!tq_draft_redo(&a->draft)) {
        tq_say(a, TQ_REFUSES, "nothing to redo");
        return;
    }
    tq_say(a, TQ_SAYS, "redone: %s", a->draft.states[a->draft.now].what);
    tell_worker(a);
}

void tq_edit_go(tq_app *a, size_t state) {
    const char *what = a->draft.states[state].what;
    if (state == a->draft.now) {
        tq_say(a, TQ_SAYS, "that is the plan now");
        return;
    }
    tq_draft_go(&a->draft, state);
    tq_say(a, TQ_SAYS, "gone to: %s", *what ? what : "as opened");
    tell_worker(a);
}

/* "0 out_proj" or "12 matrices". */
static void name_targets(const tq_app *a, size_t n, char *out, size_t size) {
    for (size_t i = 0; n == 1 && i < tq_model_matrices(a->model); i++) {
        char label[64];
        if (a->targets[i]) snprintf(out, size, "%s", tq_long_label(tq_model_matrix(a->model, i), label));
    }
    if (n != 1) snprintf(out, size, "%zu matrices", n);
}

typedef tq_choice changer(tq_choice now, int how);

static tq_choice with_bits(tq_choice now, int bits) {
    now.bits = (tq_bits)bits;
    return now;
}

static size_t group_index(size_t group) {
    size_t k = 0;
    while (k + 1 < tq_groups_count && tq_groups[k] != group)
        k++;
    return k;
}

static tq_choice with_group(tq_choice now, int by) {
    size_t k = group_index(now.group);
    if (by < 0 && k > 0) k--;
    if (by > 0 && k + 1 < tq_groups_count) k++;
    now.group = tq_groups[k];
    return now;
}

/* Changes every target that can take it; says what could not and why. */
static void change(tq_app *a, changer *how, int arg, const char *to) {
    const tq_plan *old = tq_draft_plan(&a->draft);
    size_t n = tq_table_targets(&a->table, a->targets), refused = 0, changed = 0, kept = 0;
    const char *why = NULL, *refused_name = NULL;
    tq_rotation_kind rotation = tq_plan_common(old).rotation;
    tq_plan *plan = tq_plan_copy(old);
    if (!plan || n == 0) {
        tq_plan_free(plan);
        return;
    }
    char from[48] = "", what[96], names[64];
    for (size_t i = 0; i < tq_model_matrices(a->model); i++) {
        if (!a->targets[i]) continue;
        tq_choice was = tq_plan_get(old, i), now = how(was, arg);
        a->targets[i] = false; /* those that are changed are left */
        if (was.bits == now.bits && was.group == now.group) continue;
        const char *blocked = tq_choice_blocked(tq_model_matrix(a->model, i), now, rotation);
        if (blocked) {
            refused++;
            why = blocked;
            refused_name = tq_model_matrix(a->model, i)->name;
            continue;
        }
        if (changed == 0) snprintf(from, sizeof from, "%s ", tq_bits_get(was.bits)->name);
        tq_plan_set(plan, i, now);
        a->targets[i] = true;
        changed++;
        kept += how == with_group && now.bits == TQ_BITS_KEEP;
    }
    if (refused == 1) tq_say(a, TQ_REFUSES, "%.120s %s", refused_name, why);
    if (refused > 1) tq_say(a, TQ_REFUSES, "%zu of %zu not changed: %.120s %s", refused, n, refused_name, why);
    if (changed == 0) {
        tq_plan_free(plan);
        return;
    }
    name_targets(a, changed, names, sizeof names);
    snprintf(what, sizeof what, "%.44s %.20s%s%.24s", names, how == with_bits && changed == 1 ? from : "",
             how == with_bits ? "→ " : "", to);
    tq_edit_push(a, plan, what);
    if (n > 1 && changed < n)
        tq_say(a, TQ_SAYS, "%s of %zu%s: %s", names, n, refused ? "" : ", the others were so", to);
    if (n > 1 && changed == n) tq_say(a, TQ_SAYS, "%s: %s", names, to);
    if (n == 1 && kept) tq_say(a, TQ_SAYS, "%s, once it is quantized: it is kept as stored", to);
}

void tq_edit_bits(tq_app *a, tq_bits bits) {
    change(a, with_bits, (int)bits, tq_bits_get(bits)->name);
}

void tq_edit_group(tq_app *a, int by) {
    char to[48], name[24];
    size_t at = tq_table_matrix(&a->table);
    if (at == SIZE_MAX) return;
    tq_choice c = with_group(tq_plan_get(tq_draft_plan(&a->draft), at), by);
    if (tq_table_targets(&a->table, a->targets) > 1)
        snprintf(to, sizeof to, "group %s", by < 0 ? "smaller" : "larger");
    else
        snprintf(to, sizeof to, "group %s", tq_group_name(c.group, name));
    change(a, with_group, by, to);
}

bool tq_edit_rule(tq_app *a, const char *rule, tq_err *err) {
    tq_plan *plan = tq_plan_copy(tq_draft_plan(&a->draft));
    size_t matched = 0;
    if (!plan || tq_plan_rule(plan, rule, &matched, err) != TQ_OK) {
        tq_plan_free(plan);
        return false;
    }
    char what[96];
    snprintf(what, sizeof what, "%.90s", rule);
    tq_edit_push(a, plan, what);
    tq_say(a, TQ_SAYS, "%zu matrices: %.90s", matched, rule);
    return true;
}

static bool set_common(tq_common *c, const char *what, const char *value, tq_err *err) {
    if (strcmp(what, "residual") == 0) {
        if (tq_residual_parse(value, &c->residual)) return true;
        (void)tq_fail(err, "residual '%.40s': expected nested or independent", value);
    } else if (strcmp(what, "rotation") == 0) {
        if (tq_rotation_parse(value, &c->rotation)) return true;
        (void)tq_fail(err, "rotation '%.40s': expected hadamard, qr or none", value);
    } else if (strcmp(what, "states") == 0) {
        c->states = strcmp(value, "256") == 0 ? 256 : 16;
        if (c->states == 256 || strcmp(value, "16") == 0) return true;
        (void)tq_fail(err, "states '%.40s': expected 16 or 256", value);
    } else {
        if (tq_calibrate_parse(value, &c->calibrate)) return true;
        (void)tq_fail(err, "calibrate '%.40s': expected none, ldlq or ldlq-asym", value);
    }
    return false;
}

bool tq_edit_common(tq_app *a, const char *what, const char *value, tq_err *err) {
    tq_common common = tq_plan_common(tq_draft_plan(&a->draft));
    if (!set_common(&common, what, value, err)) return false;
    for (size_t i = 0; i < tq_model_matrices(a->model); i++) {
        const tq_matrix *m = tq_model_matrix(a->model, i);
        const char *why = m->packed ? "is packed in this export: open the original model to change it"
                                    : tq_choice_blocked(m, tq_plan_get(tq_draft_plan(&a->draft), i), common.rotation);
        if (why) {
            (void)tq_fail(err, "%.200s %s", m->name, why);
            return false;
        }
    }
    tq_plan *plan = tq_plan_copy(tq_draft_plan(&a->draft));
    if (!plan) {
        (void)tq_fail(err, "out of memory");
        return false;
    }
    tq_plan_set_common(plan, &common);
    char text[96];
    snprintf(text, sizeof text, "%s %.40s", what, value);
    tq_edit_push(a, plan, text);
    return true;
}

void tq_eval_changed(tq_app *a) {
    tq_draft_forget_evals(&a->draft);
    tq_points_forget(&a->points);
    memset(a->text_noted, 0, sizeof a->text_noted);
    a->kld_count = 0;
    a->eval_seen = 0;
    tq_worker_want_eval(a->worker, a->eval.ctx, a->eval.tokens, a->eval.score_half);
}
