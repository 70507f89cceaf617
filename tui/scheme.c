/* scheme.c - what each meaning looks like: colours of the schemes, and the marks that say the same without colour. */
#include "tui/scheme.h"

#include <string.h>

#include <curses.h>

/* -1: the terminal's own colour. The background is always the terminal's own, light or dark, so no colour is near
 * white or black. */
static const tq_look looks[TQ_SCHEME_COUNT][TQ_ST_COUNT] =
    {
        [TQ_SCHEME_PLAIN] =
            {
                [TQ_ST_NORMAL] = {-1, -1, A_NORMAL},
                [TQ_ST_DIM] = {245, -1, A_DIM},
                [TQ_ST_TITLE] = {-1, -1, A_BOLD},
                [TQ_ST_KEY] = {37, COLOR_CYAN, A_BOLD},
                [TQ_ST_BORDER] = {242, COLOR_BLUE, A_NORMAL},
                [TQ_ST_CHOSEN] = {37, COLOR_CYAN, A_BOLD},
                [TQ_ST_MARKED] = {170, COLOR_MAGENTA, A_BOLD},
                [TQ_ST_CHANGED] = {172, COLOR_YELLOW, A_NORMAL},
                [TQ_ST_GOOD] = {71, COLOR_GREEN, A_NORMAL},
                [TQ_ST_WARN] = {172, COLOR_YELLOW, A_NORMAL},
                [TQ_ST_BAD] = {167, COLOR_RED, A_BOLD},
                [TQ_ST_STALE] = {245, -1, A_DIM},
                [TQ_ST_BAR_USED] = {37, COLOR_CYAN, A_NORMAL},
                [TQ_ST_BAR_FREE] = {242, -1, A_DIM},
            },
        [TQ_SCHEME_CONTRAST] = /* strong colours, and nothing dim that has to be read */
        {
            [TQ_ST_NORMAL] = {-1, -1, A_NORMAL},
            [TQ_ST_DIM] = {-1, -1, A_NORMAL},
            [TQ_ST_TITLE] = {-1, -1, A_BOLD | A_UNDERLINE},
            [TQ_ST_KEY] = {33, COLOR_BLUE, A_BOLD},
            [TQ_ST_BORDER] = {-1, -1, A_NORMAL},
            [TQ_ST_CHOSEN] = {33, COLOR_BLUE, A_BOLD},
            [TQ_ST_MARKED] = {201, COLOR_MAGENTA, A_BOLD},
            [TQ_ST_CHANGED] = {202, COLOR_YELLOW, A_BOLD},
            [TQ_ST_GOOD] = {34, COLOR_GREEN, A_BOLD},
            [TQ_ST_WARN] = {202, COLOR_YELLOW, A_BOLD},
            [TQ_ST_BAD] = {196, COLOR_RED, A_BOLD | A_UNDERLINE},
            [TQ_ST_STALE] = {244, -1, A_NORMAL},
            [TQ_ST_BAR_USED] = {33, COLOR_BLUE, A_BOLD},
            [TQ_ST_BAR_FREE] = {244, -1, A_NORMAL},
        },
        [TQ_SCHEME_BLUE_ORANGE] = /* good and bad differ for eyes that do not tell red from green */
        {
            [TQ_ST_NORMAL] = {-1, -1, A_NORMAL},
            [TQ_ST_DIM] = {245, -1, A_DIM},
            [TQ_ST_TITLE] = {-1, -1, A_BOLD},
            [TQ_ST_KEY] = {32, COLOR_BLUE, A_BOLD},
            [TQ_ST_BORDER] = {242, -1, A_NORMAL},
            [TQ_ST_CHOSEN] = {32, COLOR_BLUE, A_BOLD},
            [TQ_ST_MARKED] = {175, COLOR_MAGENTA, A_BOLD},
            [TQ_ST_CHANGED] = {178, COLOR_YELLOW, A_NORMAL},
            [TQ_ST_GOOD] = {32, COLOR_BLUE, A_NORMAL},
            [TQ_ST_WARN] = {178, COLOR_YELLOW, A_NORMAL},
            [TQ_ST_BAD] = {166, COLOR_YELLOW, A_BOLD | A_UNDERLINE},
            [TQ_ST_STALE] = {245, -1, A_DIM},
            [TQ_ST_BAR_USED] = {32, COLOR_BLUE, A_NORMAL},
            [TQ_ST_BAR_FREE] = {242, -1, A_DIM},
        },
        [TQ_SCHEME_MONO] =
            {
                [TQ_ST_NORMAL] = {-1, -1, A_NORMAL},
                [TQ_ST_DIM] = {-1, -1, A_DIM},
                [TQ_ST_TITLE] = {-1, -1, A_BOLD},
                [TQ_ST_KEY] = {-1, -1, A_BOLD},
                [TQ_ST_BORDER] = {-1, -1, A_NORMAL},
                [TQ_ST_CHOSEN] = {-1, -1, A_BOLD | A_UNDERLINE},
                [TQ_ST_MARKED] = {-1, -1, A_BOLD},
                [TQ_ST_CHANGED] = {-1, -1, A_BOLD},
                [TQ_ST_GOOD] = {-1, -1, A_NORMAL},
                [TQ_ST_WARN] = {-1, -1, A_BOLD},
                [TQ_ST_BAD] = {-1, -1, A_BOLD | A_UNDERLINE},
                [TQ_ST_STALE] = {-1, -1, A_DIM},
                [TQ_ST_BAR_USED] = {-1, -1, A_BOLD},
                [TQ_ST_BAR_FREE] = {-1, -1, A_DIM},
            },
};

static const char *const names[TQ_SCHEME_COUNT] = {"plain", "contrast", "blue-orange", "mono"};

const char *tq_scheme_name(tq_scheme s) {
    return names[s];
}

bool tq_scheme_parse(const char *text, tq_scheme *s) {
    for (int i = 0; i < TQ_SCHEME_COUNT; i++)
        if (strcmp(text, names[i]) == 0) {
            *s = (tq_scheme)i;
            return true;
        }
    return false;
}

const tq_look *tq_look_of(tq_scheme s, tq_style style) {
    return &looks[s][style];
}

const tq_meaning *tq_meanings(size_t *n) {
    static const tq_meaning table[] = {
        {TQ_ST_CHOSEN, "reversed, [ ]", "chosen: the row under the cursor, the panel with the keys"},
        {TQ_ST_MARKED, "●", "marked: digits act on all marked rows"},
        {TQ_ST_TITLE, "■", "pinned: budgets leave it as it is"},
        {TQ_ST_CHANGED, "*", "changed since the plan was saved"},
        {TQ_ST_STALE, "~", "stale: a figure of the plan before"},
        {TQ_ST_DIM, "…", "still being computed"},
        {TQ_ST_GOOD, "below 1e-3", "rel.MSE or KLD: hardly felt"},
        {TQ_ST_WARN, "from 1e-3", "rel.MSE or KLD: look at it"},
        {TQ_ST_BAD, "above 0.05", "rel.MSE or KLD: it hurts"},
        {TQ_ST_BAR_USED, "█", "memory taken, part done"},
        {TQ_ST_BAR_FREE, "░", "memory saved, part to do"},
    };
    *n = sizeof table / sizeof *table;
    return table;
}
