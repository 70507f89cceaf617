/* actions.c - what each key does. */
#include "tui/actions.h"

#include <stdlib.h>
#include <string.h>

#include "tui/keys.h"
#include "tui/term.h"
#include "tui/tune.h"

#define TQ_ACTION(name, keys, k1, k2, k3, bar_key, bar_text, section, help) static void tq_act_##name(tq_app *a);
#include "tui/actions.def"
#undef TQ_ACTION

static const tq_action table[] = {
#define TQ_ACTION(name, keys, k1, k2, k3, bar_key, bar_text, section, help)                                            \
    {#name, keys, {k1, k2, k3}, bar_key, bar_text, section, help, tq_act_##name},
#include "tui/actions.def"
#undef TQ_ACTION
};

const tq_action *tq_actions(size_t *n) {
    *n = sizeof table / sizeof *table;
    return table;
}

const tq_action *tq_action_for(int key) {
    if (key == 0) return NULL;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (int k = 0; k < 3; k++)
            if (table[i].key[k] == key) return &table[i];
    return NULL;
}

void tq_action_run(tq_app *a, const tq_action *action) {
    bool extends = strcmp(action->section, "Move") == 0 || strncmp(action->name, "range", 5) == 0;
    bool drops = strcmp(action->name, "cancel") == 0;
    if (drops && a->table.anchor != SIZE_MAX) {
        tq_table_range_end(&a->table, false);
        return;
    }
    if (!extends) tq_table_range_end(&a->table, true);
    action->run(a);
    tq_table_range_update(&a->table);
}

void tq_actions_markdown(FILE *to) {
    const char *section = "";
    fputs("| key | |\n|---|---|\n", to);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const tq_action *t = &table[i];
        if (strcmp(section, t->section) != 0) fprintf(to, "| **%s** | |\n", t->section);
        section = t->section;
        fprintf(to, "| `%s` | %s |\n", t->keys, t->help);
    }
}

/* --- the plan --- */

static void tq_act_bits_keep(tq_app *a) {
    tq_edit_bits(a, TQ_BITS_KEEP);
}

static void tq_act_bits_4(tq_app *a) {
    tq_edit_bits(a, TQ_BITS_4);
}

static void tq_act_bits_4t(tq_app *a) {
    tq_edit_bits(a, TQ_BITS_4T);
}

static void tq_act_bits_4_2(tq_app *a) {
    tq_edit_bits(a, TQ_BITS_4_2);
}

static void tq_act_bits_4_4(tq_app *a) {
    tq_edit_bits(a, TQ_BITS_4_4);
}

static void tq_act_group_less(tq_app *a) {
    tq_edit_group(a, -1);
}

static void tq_act_group_more(tq_app *a) {
    tq_edit_group(a, 1);
}

static void tq_act_calibrate(tq_app *a) {
    tq_err err;
    int next = (int)tq_plan_common(tq_draft_plan(&a->draft)).calibrate + 1;
    const char *name = tq_calibrate_name((tq_calibrate)(next % TQ_CALIBRATE_COUNT));
    if (!tq_edit_common(a, "calibrate", name, &err))
        tq_say(a, TQ_REFUSES, "%s", err.msg);
    else
        tq_say(a, TQ_SAYS, "calibrate %s", name);
}

static void tq_act_budget(tq_app *a) {
    char name[48] = "";
    if (a->tune.has_target) (void)tq_target_name(&a->tune.target, name);
    tq_lineedit_begin(TQ_LINE_BUDGET, name);
}

static void tq_act_lever_less(tq_app *a) {
    tq_tune_lever(a, -1);
}

static void tq_act_lever_more(tq_app *a) {
    tq_tune_lever(a, 1);
}

static void tq_act_undo(tq_app *a) {
    tq_edit_undo(a);
}

static void tq_act_redo(tq_app *a) {
    tq_edit_redo(a);
}

static void tq_act_tree(tq_app *a) {
    tq_tree_show(a);
}

static void tq_act_choose(tq_app *a) {
    const tq_row *row = tq_table_row(&a->table);
    if (!row) return;
    if (a->focus == TQ_FOCUS_INSPECT) {
        tq_edit_bits(a, (tq_bits)(TQ_BITS_COUNT - 1 - a->inspect_row));
        return;
    }
    if (tq_row_is_head(row) && tq_table_marks(&a->table) == 0) {
        tq_table_fold_here(&a->table, !tq_table_is_folded(&a->table, row));
        return;
    }
    tq_bits now = tq_plan_get(tq_draft_plan(&a->draft), tq_table_matrix(&a->table)).bits;
    tq_list_begin(&a->menu, TQ_BITS_COUNT, (size_t)(TQ_BITS_COUNT - 1 - now));
    a->overlay = TQ_OVER_CHOICE;
}

/* --- selecting and moving --- */

static void tq_act_mark(tq_app *a) {
    tq_table_toggle(&a->table);
    tq_table_move(&a->table, 1);
}

static void tq_act_range(tq_app *a) {
    tq_app_focus(a, TQ_FOCUS_LAYERS);
    if (a->table.anchor == SIZE_MAX)
        tq_table_range_begin(&a->table);
    else
        tq_table_range_end(&a->table, true);
}

static void range_by(tq_app *a, long by) {
    tq_app_focus(a, TQ_FOCUS_LAYERS);
    if (a->table.anchor == SIZE_MAX) tq_table_range_begin(&a->table);
    tq_table_move(&a->table, by);
}

static void tq_act_range_up(tq_app *a) {
    range_by(a, -1);
}

static void tq_act_range_down(tq_app *a) {
    range_by(a, 1);
}

static void tq_act_mark_shown(tq_app *a) {
    tq_table_mark_shown(&a->table);
    tq_say(a, TQ_SAYS, "%zu marked", tq_table_marks(&a->table));
}

static void tq_act_pin(tq_app *a) {
    tq_tune_pin(a);
}

static void tq_act_unmark(tq_app *a) {
    tq_table_unmark(&a->table);
}

static void tq_act_filter(tq_app *a) {
    tq_app_focus(a, TQ_FOCUS_LAYERS);
    tq_lineedit_begin(TQ_LINE_FILTER, a->table.filter);
}

static void move(tq_app *a, long by) {
    if (a->focus == TQ_FOCUS_INSPECT) {
        long row = (long)a->inspect_row + by, last = TQ_BITS_COUNT - 1;
        a->inspect_row = (size_t)(row < 0 ? 0 : row > last ? last : row);
        return;
    }
    tq_table_move(&a->table, by);
}

static long page(const tq_app *a) {
    return a->layout.layers.h > 3 ? a->layout.layers.h - 2 : 1;
}

static void tq_act_up(tq_app *a) {
    move(a, -1);
}

static void tq_act_down(tq_app *a) {
    move(a, 1);
}

static void tq_act_page_up(tq_app *a) {
    move(a, -page(a));
}

static void tq_act_page_down(tq_app *a) {
    move(a, page(a));
}

static void tq_act_home(tq_app *a) {
    move(a, -1000000);
}

static void tq_act_end(tq_app *a) {
    move(a, 1000000);
}

/* A matrix to its head, an open head to a folded one, a folded one of experts to its block. */
static void tq_act_left(tq_app *a) {
    const tq_row *row = tq_table_row(&a->table), *head = tq_table_head(&a->table);
    if (!head) return; /* sorted, there are none */
    if (row != head) {
        a->table.cursor = (size_t)(head - a->table.rows);
    } else if (!tq_table_is_folded(&a->table, row)) {
        tq_table_fold_here(&a->table, true);
    } else {
        while (tq_table_row(&a->table)->matrix != SIZE_MAX)
            tq_table_move(&a->table, -1);
    }
}

static void tq_act_right(tq_app *a) {
    const tq_row *row = tq_table_row(&a->table);
    if (!row || a->table.order || !tq_row_is_head(row)) return;
    if (tq_table_is_folded(&a->table, row))
        tq_table_fold_here(&a->table, false);
    else
        tq_table_move(&a->table, 1);
}

static void tq_act_fold(tq_app *a) {
    const tq_row *head = tq_table_head(&a->table);
    if (head) tq_table_fold_here(&a->table, !tq_table_is_folded(&a->table, head));
}

static void tq_act_fold_all(tq_app *a) {
    bool any_open = false;
    for (size_t b = 0; b <= tq_model_config(a->model)->blocks; b++)
        if (!a->table.folded[b]) any_open = true;
    tq_table_fold_all(&a->table, any_open);
}

static void tq_act_next_panel(tq_app *a) {
    tq_focus next = a->focus;
    do
        next = (tq_focus)((next + 1) % TQ_FOCUS_COUNT);
    while (next == TQ_FOCUS_INSPECT && a->layout.inspect.h == 0);
    tq_app_focus(a, next);
}

/* --- looking --- */

static void tq_act_chat(tq_app *a) {
    tq_app_focus(a, TQ_FOCUS_CHAT);
}

static void tq_act_sweep(tq_app *a) {
    tq_tune_sweep(a);
}

static void tq_act_sort(tq_app *a) {
    tq_tune_sort(a);
}

static void tq_act_points(tq_app *a) {
    tq_points_show(a);
}

static void tq_act_compare(tq_app *a) {
    tq_compare_show(a);
}

static void tq_act_texts(tq_app *a) {
    a->overlay = TQ_OVER_TEXTS;
}

static void tq_act_worst(tq_app *a) {
    tq_worst_show(a);
}

static void tq_act_speaker(tq_app *a) {
    tq_chat_next_speaker(a);
}

static void tq_act_inspect(tq_app *a) {
    if (a->layout.inspect_line >= 0)
        tq_app_focus(a, a->focus == TQ_FOCUS_INSPECT ? TQ_FOCUS_LAYERS : TQ_FOCUS_INSPECT);
    else
        a->inspect_over = !a->inspect_over;
}

static void tq_act_help(tq_app *a) {
    a->overlay = TQ_OVER_HELP;
    a->scroll = 0;
}

static void tq_act_messages(tq_app *a) {
    a->overlay = TQ_OVER_MESSAGES;
    a->scroll = 0;
}

static void tq_act_redraw(tq_app *a) {
    (void)a;
    tq_term_redraw();
}

static void tq_act_suspend(tq_app *a) {
    (void)a;
    tq_term_suspend();
}

/* --- files --- */

static void tq_act_save(tq_app *a) {
    char path[600];
    snprintf(path, sizeof path, "%.100s.plan.json", a->name);
    a->pending = TQ_JOB_SAVE;
    tq_lineedit_begin(TQ_LINE_PATH, *a->plan_path ? a->plan_path : path);
}

static void tq_act_load(tq_app *a) {
    a->pending = TQ_JOB_LOAD;
    tq_lineedit_begin(TQ_LINE_PATH, a->plan_path);
}

static void tq_act_export(tq_app *a) {
    tq_list_begin(&a->menu, TQ_EXPORT_COUNT, 0);
    a->overlay = TQ_OVER_EXPORT;
}

static void tq_act_copy(tq_app *a) {
    tq_copy(a, "row");
}

static void tq_act_command(tq_app *a) {
    (void)a;
    tq_lineedit_begin(TQ_LINE_COMMAND, "");
}

static void tq_act_cancel(tq_app *a) {
    tq_job job = a->status.asked != TQ_JOB_NONE ? a->status.asked : a->status.job;
    bool background = tq_job_background(job);
    if (job != TQ_JOB_NONE && !background) {
        tq_worker_cancel(a->worker);
        tq_say(a, TQ_SAYS, "%s stopped", tq_job_name(job));
    } else if (a->inspect_over) {
        a->inspect_over = false;
    } else if (a->focus != TQ_FOCUS_LAYERS) {
        tq_app_focus(a, TQ_FOCUS_LAYERS);
    } else if (*a->table.filter) {
        (void)tq_table_filter(&a->table, "");
    } else if (tq_table_marks(&a->table)) {
        tq_table_unmark(&a->table);
    } else if (background && job != TQ_JOB_INSPECT) {
        tq_worker_cancel(a->worker);
        tq_say(a, TQ_SAYS, "%s stopped: %s goes on with it", tq_job_name(job),
               job == TQ_JOB_SWEEP ? "m" : "the next change");
    }
}

static void tq_act_quit(tq_app *a) {
    tq_job job = a->status.asked != TQ_JOB_NONE ? a->status.asked : a->status.job;
    bool writes = job == TQ_JOB_EXPORT || job == TQ_JOB_SAVE, changed = tq_draft_changed(&a->draft);
    if (!changed && !writes) {
        a->quit = true;
        return;
    }
    a->pending = TQ_JOB_NONE;
    if (writes)
        snprintf(a->question, sizeof a->question, "%s goes on, quitting stops it%s. Quit?   y yes   n no",
                 job == TQ_JOB_EXPORT ? "An export" : "Saving", changed ? ", and the plan is not saved" : "");
    else
        snprintf(a->question, sizeof a->question, "The plan is not saved. Quit?   y yes   n no   s save and quit");
    a->overlay = TQ_OVER_CONFIRM;
}
