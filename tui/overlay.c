/* overlay.c - what lies over the panels, and the keys of menus, pages and questions. */
#include "tui/overlay.h"

#include <stdio.h>
#include <string.h>

#include "tui/actions.h"
#include "tui/keep.h"
#include "tui/keys.h"

/* --- pages of text --- */

static void scroll_key(tq_app *a, int key) {
    enum { FAR = 100000 }; /* drawing clips it */
    long by = key == ' ' ? tq_key_steps(TQ_KEY_PGDN, (size_t)a->canvas.rows)
                         : tq_key_steps(key, (size_t)(a->canvas.rows > 6 ? a->canvas.rows - 4 : 2));
    if (by)
        a->scroll = tq_scrolled(a->scroll, by > FAR ? FAR : by);
    else
        a->overlay = TQ_OVER_NONE;
}

static void close_key(tq_app *a, int key) {
    (void)key;
    a->overlay = TQ_OVER_NONE;
}

/* --- menus --- */

static void choice_key(tq_app *a, int key) {
    const tq_action *action = tq_action_for(key);
    const char *name = action ? action->name : "";
    if (tq_list_key(&a->menu, key)) return;
    if (strncmp(name, "group_", 6) == 0) {
        action->run(a);
        return;
    }
    a->overlay = TQ_OVER_NONE;
    if (key == TQ_KEY_ENTER)
        tq_edit_bits(a, (tq_bits)(TQ_BITS_COUNT - 1 - a->menu.at));
    else if (strncmp(name, "bits_", 5) == 0)
        action->run(a);
}

/* What cannot be exported so is said before a path is asked for. */
static void ask_export_path(tq_app *a) {
    char path[160];
    tq_err err;
    a->export_format = (tq_export_format)a->menu.at;
    if (tq_export_check(a->export_format, tq_draft_plan(&a->draft), &err) != TQ_OK) {
        tq_say(a, TQ_REFUSES, "%s", err.msg);
        return;
    }
    snprintf(path, sizeof path, "%.100s%s", a->name, tq_export_get(a->export_format)->suffix);
    a->pending = TQ_JOB_EXPORT;
    a->overlay = TQ_OVER_NONE;
    tq_lineedit_begin(TQ_LINE_PATH, path);
}

static void export_key(tq_app *a, int key) {
    if (key == TQ_KEY_ENTER) {
        ask_export_path(a);
        return;
    }
    for (size_t f = 0; f < TQ_EXPORT_COUNT; f++)
        if (tq_export_get((tq_export_format)f)->key == key) {
            a->menu.at = f;
            ask_export_path(a);
            return;
        }
    if (!tq_list_key(&a->menu, key)) a->overlay = TQ_OVER_NONE;
}

/* --- questions --- */

static void confirm_key(tq_app *a, int key) {
    a->overlay = TQ_OVER_NONE;
    bool yes = key == 'y' || key == 'Y';
    if (a->pending == TQ_JOB_SAVE && yes) {
        tq_worker_save(a->worker, a->pending_path, true);
        return;
    }
    a->quit_after_save = false;
    if (a->pending == TQ_JOB_EXPORT && yes)
        tq_worker_export(a->worker, a->export_format, a->pending_path, true);
    else if (a->pending == TQ_JOB_NONE && yes)
        a->quit = true;
    else if (a->pending == TQ_JOB_NONE && key == 's') {
        const tq_action *save = tq_action_for('s');
        save->run(a);
        a->quit_after_save = true;
    } else if (a->pending != TQ_JOB_NONE) {
        tq_say(a, TQ_SAYS, "nothing is written: %s stays as it is", a->pending_path);
    }
}

/* --- the table --- */

static const tq_hint page_hints[] = {
    {"↑↓ PgUp PgDn", "scroll"}, {"Home End", "ends"}, {"q Esc", "close"}, {NULL, NULL}};
static const tq_hint choice_hints[] = {{"↑↓", "move"},   {"Enter", "choose"}, {"0 4 5 6 8", "bits"},
                                       {"[ ]", "group"}, {"Esc", "close"},    {NULL, NULL}};
static const tq_hint export_hints[] = {
    {"↑↓", "move"}, {"Enter", "choose, or its letter"}, {"Esc", "close"}, {NULL, NULL}};
static const tq_hint confirm_hints[] = {{"y", "yes"}, {"n Esc", "no"}, {NULL, NULL}};
static const tq_hint points_hints[] = {
    {"←→", "choose"}, {"Home End", "ends"}, {"Enter", "restore"}, {"Esc", "close"}, {NULL, NULL}};
static const tq_hint compare_hints[] = {{"Enter", "another prompt"}, {"x", "explain"},      {"g", "go to the rows"},
                                        {"a b", "change the sides"}, {"r", "answer again"}, {"PgUp PgDn", "scroll"},
                                        {"Esc", "stop, close"},      {NULL, NULL}};
static const tq_hint worst_hints[] = {{"↑↓", "choose"},        {"x", "explain"},       {"g", "go to the rows"},
                                      {"PgUp PgDn", "scroll"}, {"Esc", "stop, close"}, {NULL, NULL}};
static const tq_hint resume_hints[] = {{"r Enter", "resume it"}, {"n", "new"}, {"q", "quit"}, {NULL, NULL}};
static const tq_hint texts_hints[] = {{"any key", "closes"}, {NULL, NULL}};
static const tq_hint tree_hints[] = {{"↑↓", "choose"},      {"PgUp PgDn", "page"}, {"Home End", "ends"},
                                     {"Enter", "go there"}, {"Esc", "close"},      {NULL, NULL}};

static const tq_overlay_traits table[TQ_OVER_COUNT] = {
    [TQ_OVER_HELP] = {tq_draw_help, scroll_key, true, 0, NULL, false, page_hints, 1},
    [TQ_OVER_MESSAGES] = {tq_draw_messages, scroll_key, true, 0, NULL, false, page_hints, 1},
    [TQ_OVER_CHOICE] = {tq_draw_choice, choice_key, false, offsetof(tq_app, menu), NULL, false, choice_hints, 1},
    [TQ_OVER_EXPORT] = {tq_draw_export, export_key, false, offsetof(tq_app, menu), NULL, false, export_hints, 1},
    [TQ_OVER_CONFIRM] = {tq_draw_confirm, confirm_key, false, 0, NULL, true, confirm_hints, 2},
    [TQ_OVER_POINTS] = {tq_draw_points, tq_points_key, true, 0, NULL, false, points_hints, 2},
    [TQ_OVER_COMPARE] = {tq_draw_compare, tq_compare_key, false, 0, NULL, false, compare_hints, 1},
    [TQ_OVER_WORST] = {tq_draw_worst, tq_worst_key, false, offsetof(tq_app, worst.cursor), tq_worst_chosen, false,
                       worst_hints, 1},
    [TQ_OVER_RESUME] = {tq_draw_resume, tq_resume_key, false, 0, NULL, true, resume_hints, 3},
    [TQ_OVER_TEXTS] = {tq_draw_texts, close_key, true, 0, NULL, false, texts_hints, 1},
    [TQ_OVER_TREE] = {tq_draw_tree, tq_tree_key, true, offsetof(tq_app, menu), NULL, false, tree_hints, 2},
};

const tq_overlay_traits *tq_overlay_get(tq_overlay o) {
    return o > TQ_OVER_NONE && o < TQ_OVER_COUNT ? &table[o] : NULL;
}

void tq_draw_overlay(tq_app *a, int rows, int cols) {
    enum { PAGE_COLS = 104 };
    const tq_overlay_traits *over = tq_overlay_get(a->overlay);
    tq_area all = {1, 0, rows - 2, cols}, page = all;
    if (!over) return;
    if (over->page && cols > PAGE_COLS + 4) {
        page = (tq_area){1, (cols - PAGE_COLS) / 2, rows - 2, PAGE_COLS};
        tq_clear(&a->canvas, all); /* strips of panels beside it say nothing */
    }
    over->draw(a, page);
}
