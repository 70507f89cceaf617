/* tui_sample.c - see tui_sample.h. */
#include "tests/tui_sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tui/tune.h"

#define MODEL "samples/tiny-qwen3.5"

static tq_session *session;

int tq_sample_open(void **state) {
    tq_err err = {{0}};
    (void)state;
    if (tq_session_open(MODEL, &(tq_session_options){.threads = 1}, &session, &err) != TQ_OK) {
        print_error("%s\n", err.msg);
        return -1;
    }
    tq_command_model(tq_session_model(session));
    return tq_lineedit_open(tq_command_complete, NULL) ? 0 : -1;
}

int tq_sample_close(void **state) {
    (void)state;
    tq_lineedit_close();
    tq_session_close(session);
    return 0;
}

const tq_model *tq_sample_model(void) {
    return tq_session_model(session);
}

tq_plan *tq_sample_plan(const char *rule) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_copy(tq_session_plan(session));
    assert_non_null(p);
    if (rule) assert_int_equal(tq_plan_rule(p, rule, NULL, &err), TQ_OK);
    return p;
}

tq_app *tq_sample_app(void) {
    static tq_options options;
    tq_app *a = calloc(1, sizeof *a);
    size_t n = tq_model_matrices(tq_sample_model());
    assert_non_null(a);
    a->options = &options;
    a->model = tq_sample_model();
    a->talk.answering = SIZE_MAX;
    a->measured = calloc(n, sizeof *a->measured);
    a->targets = calloc(n, sizeof *a->targets);
    assert_true(a->measured && a->targets && tq_tune_init(&a->tune, n));
    assert_true(tq_draft_init(&a->draft, a->model, tq_sample_plan(NULL)) && tq_table_init(&a->table, a->model));
    tq_table_show(&a->table, 0);
    return a;
}

void tq_sample_app_free(tq_app *a) {
    tq_lineedit_end();
    tq_tune_free(&a->tune);
    tq_points_free(&a->points);
    tq_draft_free(&a->draft);
    tq_table_free(&a->table);
    tq_canvas_free(&a->canvas);
    free(a->measured);
    free(a->targets);
    free(a);
}

/* Row y as UTF-8, without the blanks at its end. */
const char *tq_sample_row(const tq_canvas *c, int y) {
    static char text[4096];
    size_t n = 0, end = 0;
    for (int x = 0; x < c->cols; x++) {
        const tq_cell *cell = &c->cells[y * c->cols + x];
        if (cell->covered) continue;
        for (int k = 0; k < 2 && cell->ch[k]; k++) {
            int got = wctomb(text + n, cell->ch[k]);
            assert_true(got > 0);
            n += (size_t)got;
        }
        if (cell->ch[0] && cell->ch[0] != L' ') end = n;
    }
    text[end] = '\0';
    return text;
}
