/* explain_text.c - what an explanation comes to, in sentences. */
#include "tui/explain_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "tui/table.h"

static void add(char *line, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Appends; what does not fit is left out. */
static void add(char *line, const char *fmt, ...) {
    size_t n = strlen(line), room = sizeof(tq_verdict) / TQ_VERDICT_LINES - n;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line + n, room, fmt, ap);
    va_end(ap);
}

static bool any_differs(const tq_explanation *x) {
    for (size_t b = 0; b < x->blocks; b++)
        if (x->differs[b]) return true;
    return false;
}

static void list_alone(const tq_explanation *x, char *line) {
    size_t n = tq_explanation_alone(x), told = 0;
    add(line, n == 1 ? "block" : "blocks");
    for (size_t b = 0; b < x->blocks && told < 12; b++)
        if (x->alone[b].flips) add(line, "%s %zu", told++ ? "," : "", b);
    if (told < n) add(line, " and %zu more", n - told);
    add(line, n == 1 ? " alone flips it" : " each flip it alone");
}

static void tell_matrices(const tq_explanation *x, const tq_model *m, char *line) {
    size_t told = 0, flips = 0;
    for (size_t i = 0; i < x->n_matrices; i++)
        flips += x->matrices[i].hybrid.flips;
    for (size_t i = 0; i < x->n_matrices && told < 6; i++) {
        const tq_matrix *w = tq_model_matrix(m, x->matrices[i].matrix);
        char label[64];
        if (x->matrices[i].hybrid.flips)
            add(line, "%s%s", told++ ? ", " : "one matrix suffices: ", tq_long_label(w, label));
    }
    if (told < flips) add(line, " and %zu more", flips - told);
    if (told && x->matrices[0].after_prefix) add(line, ", after the blocks before it");
    if (!flips && x->n_matrices) add(line, "within it no single matrix suffices");
}

static size_t tips_back(const tq_explanation *x, size_t shortest) {
    for (size_t b = shortest; b <= x->blocks; b++)
        if (!x->prefix[b].flips) return b;
    return SIZE_MAX;
}

int tq_explain_verdict(const tq_explanation *x, const tq_model *m, tq_verdict lines) {
    size_t shortest = tq_explanation_shortest(x), alone = tq_explanation_alone(x);
    int n = 0;
    memset(lines, 0, sizeof(tq_verdict));
    if (!any_differs(x)) {
        add(lines[n++], "nothing flips: the two sides are the same in every matrix");
        return n;
    }
    if (!x->reproduced)
        add(lines[n++], "a pass over all tokens at once chooses otherwise than token by token: this is a near tie");
    if (alone)
        list_alone(x, lines[n++]);
    else if (shortest != SIZE_MAX)
        add(lines[n++], "no block flips it alone");
    else
        add(lines[n++], "nothing flips: both sides choose the same token here");
    if (shortest != SIZE_MAX) {
        size_t back = tips_back(x, shortest);
        if (shortest == 1)
            add(lines[n], "with all blocks before: flipped from block 0 on");
        else
            add(lines[n], "with all blocks before: blocks 0 to %zu are the fewest that flip it together", shortest - 1);
        if (x->tips != SIZE_MAX && x->tips + 1 != shortest) add(lines[n], "; the bisection found block %zu", x->tips);
        if (back != SIZE_MAX) add(lines[n], "; with block %zu it tips back", back - 1);
        n++;
    }
    if (x->n_matrices && n < TQ_VERDICT_LINES && (alone || shortest != SIZE_MAX)) {
        if (!alone) add(lines[n], "block %zu completes it: ", shortest - 1);
        tell_matrices(x, m, lines[n++]);
    }
    return n;
}
