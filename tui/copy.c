/* copy.c - what goes to the clipboard. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app_internal.h"

/* A line a matrix: name, shape, bits, group, bytes, relative MSE, with tabs between. */
static char *rows_text(tq_app *a, size_t *rows) {
    const tq_plan *plan = tq_draft_plan(&a->draft);
    char *text = NULL, group[24];
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f) return NULL;
    *rows = tq_table_targets(&a->table, a->targets);
    for (size_t i = 0; i < tq_model_matrices(a->model); i++) {
        if (!a->targets[i]) continue;
        const tq_matrix *m = tq_model_matrix(a->model, i);
        tq_choice c = tq_plan_get(plan, i);
        tq_qspec spec = tq_plan_spec(plan, i);
        fprintf(f, "%s\t%zux%zu\t%s\t%s\t%zu", m->name, m->w.rows, m->w.cols, tq_bits_get(c.bits)->name,
                c.bits == TQ_BITS_KEEP ? "" : tq_group_name(c.group, group), tq_matrix_cost(a->model, plan, i));
        if (c.bits != TQ_BITS_KEEP && a->measured[i].known && tq_qspec_equal(&spec, &a->measured[i].spec))
            fprintf(f, "\t%.6g", a->measured[i].figures.distortion.rel_mse);
        fputc('\n', f);
    }
    if (fclose(f) == 0) return text;
    free(text);
    return NULL;
}

static char *answer_text(const tq_app *a) {
    for (size_t i = a->talk.count; i > 0; i--)
        if (a->talk.turns[i - 1].answer && *a->talk.turns[i - 1].text) return strdup(a->talk.turns[i - 1].text);
    return NULL;
}

void tq_copy(tq_app *a, const char *what) {
    char *text = NULL;
    size_t rows = 0;
    tq_err err = {{0}};
    if (strcmp(what, "row") == 0) {
        text = rows_text(a, &rows);
    } else if (strcmp(what, "plan") == 0) {
        (void)tq_plan_to_json(tq_draft_plan(&a->draft), NULL, &text, &err);
    } else if (strcmp(what, "answer") == 0) {
        text = answer_text(a);
        if (!text) (void)tq_fail(&err, "there is no answer yet");
    } else {
        (void)tq_fail(&err, "copy '%.40s': expected row, plan or answer", what);
    }
    size_t n = text ? strlen(text) : 0;
    if (!text)
        tq_say(a, TQ_REFUSES, "%s", *err.msg ? err.msg : "out of memory");
    else if (!tq_term_copy(text, n))
        tq_say(a, TQ_REFUSES, "%zu bytes are too many for the clipboard: s and e write files", n);
    else if (rows > 1)
        tq_say(a, TQ_SAYS, "copied: %zu rows, where the terminal lets programs copy", rows);
    else
        tq_say(a, TQ_SAYS, "copied: the %s, where the terminal lets programs copy", what);
    free(text);
}
