/* panel_bar.c - the last line: what is typed, what was said, or what can be done here. */
#include <stdio.h>
#include <string.h>

#include "tui/actions.h"
#include "tui/overlay.h"

/* --- which keys are named where --- */

/* In the last line, from left to right as far as there is room; help and quit are always there. */
static const char *const in_bar[] = {
    "choose",     "bits_4", "undo",    "filter",    "chat",       "budget",  "export",     "save", "mark", "sweep",
    "lever_less", "pin",    "command", "bits_keep", "group_less", "inspect", "mark_shown", "help", "quit"};
/* In the frame of the costs, whose figures they explain. */
static const char *const in_frame[] = {"compare", "worst", "texts", "points", "tree"};

/* The hints of actions that are named in a list; hints: [n + 1]. */
static void hints_of(const char *const *names, size_t n, tq_hint *hints) {
    size_t count, used = 0;
    const tq_action *actions = tq_actions(&count);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < count; k++)
            if (strcmp(actions[k].name, names[i]) == 0)
                hints[used++] = (tq_hint){actions[k].bar_key, actions[k].bar_text};
    hints[used] = (tq_hint){NULL, NULL};
}

void tq_draw_looks(tq_app *a, int y, int x, int end) {
    enum { N = sizeof in_frame / sizeof *in_frame };
    tq_hint hints[N + 1];
    hints_of(in_frame, N, hints);
    for (size_t n = N; n > 0 && tq_hints_width(&a->canvas, hints) > end - x; n--)
        hints[n - 1] = (tq_hint){NULL, NULL};
    int width = tq_hints_width(&a->canvas, hints);
    if (width == 0) return;
    tq_putf(&a->canvas, y, end - width, end, TQ_ST_DIM, "%*s", width, ""); /* not the frame between them */
    (void)tq_draw_hints(&a->canvas, y, end - width + 1, end, hints, 0);
}

/* The line that a prompt edits. */
static bool draw_prompt(tq_app *a, int y) {
    const char *before = tq_lineedit_active(TQ_LINE_COMMAND)   ? ":"
                         : tq_lineedit_active(TQ_LINE_FILTER)  ? "filter /"
                         : tq_lineedit_active(TQ_LINE_BUDGET)  ? "budget: "
                         : tq_lineedit_active(TQ_LINE_COMPARE) ? "both answer: "
                         : !tq_lineedit_active(TQ_LINE_PATH)   ? NULL
                         : a->pending == TQ_JOB_LOAD           ? "load plan: "
                         : a->pending == TQ_JOB_SAVE           ? "save plan as: "
                                                               : "export to: ";
    if (!before) return false;
    int x = tq_put(&a->canvas, y, 0, a->canvas.cols, TQ_ST_KEY, before);
    const char *text = tq_lineedit_text();
    size_t from = 0, point = (size_t)tq_lineedit_point();
    while (tq_text_width(&a->canvas, text + from, point - from) > a->canvas.cols - x - 2)
        do
            from++;
        while ((text[from] & 0xC0) == 0x80);
    int end = tq_put(&a->canvas, y, x, a->canvas.cols, TQ_ST_NORMAL, text + from);
    a->canvas.cursor_y = y;
    a->canvas.cursor_x = x + tq_text_width(&a->canvas, text + from, point - from);
    if (tq_lineedit_active(TQ_LINE_FILTER)) {
        size_t hits = tq_table_count_matches(&a->table, text);
        tq_putf(&a->canvas, y, end + 3, a->canvas.cols, hits ? TQ_ST_DIM : TQ_ST_BAD,
                "%zu of %zu   e.g. mlp, *down_proj, 3.*", hits, tq_model_matrices(a->model));
    } else if (tq_lineedit_active(TQ_LINE_BUDGET)) {
        tq_put(&a->canvas, y, end + 3, a->canvas.cols, TQ_ST_DIM, "a size, bits/weight or KLD: 6MiB, 5.0, 0.01");
    } else if (a->said_until > 0 && a->said_count && tq_lineedit_active(TQ_LINE_COMMAND)) {
        tq_putf(&a->canvas, y, end + 3, a->canvas.cols, TQ_ST_DIM, "%s",
                a->said[(a->said_count - 1) % TQ_SAID_MAX].text);
    }
    return true;
}

/* The newest message, in as many lines from the last one up as it takes. */
static void draw_message(tq_app *a, int y, const tq_said *s) {
    enum { LINES = 4 };
    int cols = a->canvas.cols;
    char text[sizeof s->text + 2];
    const char *line[LINES];
    size_t bytes[LINES], skip, n = 0;
    snprintf(text, sizeof text, "%s%s", s->tone == TQ_REFUSES ? "! " : "", s->text);
    for (const char *p = text; *p && n < LINES; p += bytes[n++] + skip) {
        line[n] = p;
        bytes[n] = tq_wrap(&a->canvas, p, cols - 2, &skip);
    }
    if (n == LINES) bytes[n - 1] = strlen(line[n - 1]); /* cut; '!' has all of it */
    tq_clear(&a->canvas, (tq_area){y - (int)n + 1, 0, (int)n, cols});
    for (size_t i = 0; i < n; i++)
        tq_putf(&a->canvas, y - (int)(n - 1 - i), 1, cols, s->tone == TQ_REFUSES ? TQ_ST_BAD : TQ_ST_NORMAL, "%.*s",
                (int)bytes[i], line[i]);
}

static const tq_hint chat_hints[] = {
    {"Enter", "send"},    {"Tab", "plan/base/both"}, {"↑", "history"}, {"PgUp PgDn", "scroll"},
    {"Ctrl-L", "forget"}, {"Esc", "stop, leave"},    {NULL, NULL}};

void tq_draw_bar(tq_app *a, int y) {
    enum { N = sizeof in_bar / sizeof *in_bar };
    int cols = a->canvas.cols;
    tq_hint hints[N + 1];
    const tq_overlay_traits *over = tq_overlay_get(a->overlay);
    if (draw_prompt(a, y)) return;
    if (a->said_until > 0 && a->said_count) {
        draw_message(a, y, &a->said[(a->said_count - 1) % TQ_SAID_MAX]);
    } else if (over) {
        (void)tq_draw_hints(&a->canvas, y, 1, cols, over->hints, over->sure);
    } else if (a->hint) {
        tq_put(&a->canvas, y, 1, cols, TQ_ST_KEY, "press 4: quantize this matrix and watch KLD      ? help");
    } else if (a->focus == TQ_FOCUS_CHAT) {
        (void)tq_draw_hints(&a->canvas, y, 1, cols, chat_hints, 1);
    } else {
        hints_of(in_bar, N, hints);
        (void)tq_draw_hints(&a->canvas, y, 1, cols, hints, 2);
    }
}
