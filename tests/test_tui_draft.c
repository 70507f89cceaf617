/* test_tui_draft.c - the plan being edited, with undo and redo; the rows of the table, folds, filter and marks. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/tui_sample.h"
#include "tui/table.h"

/* --- the draft --- */

static void undo_and_redo(void **state) {
    tq_draft d;
    (void)state;
    assert_true(tq_draft_init(&d, tq_sample_model(), tq_sample_plan(NULL)));
    assert_int_equal(tq_draft_serial(&d), TQ_SERIAL_FIRST);
    assert_false(tq_draft_undo(&d));
    assert_false(tq_draft_redo(&d));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4"), "all 4"));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4+4"), "all 4+4"));
    uint64_t last = tq_draft_serial(&d);
    assert_int_equal(tq_plan_get(tq_draft_plan(&d), 0).bits, TQ_BITS_4_4);
    assert_true(tq_draft_undo(&d));
    assert_int_equal(tq_plan_get(tq_draft_plan(&d), 0).bits, TQ_BITS_4);
    assert_true(tq_draft_redo(&d));
    assert_int_equal(tq_draft_serial(&d), last);
    assert_true(tq_draft_undo(&d));
    assert_true(tq_draft_undo(&d));
    assert_int_equal(tq_plan_get(tq_draft_plan(&d), 0).bits, TQ_BITS_KEEP);
    /* A change begins a branch; its serial was never used, and what was undone stays. */
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4+2"), "all 4+2"));
    assert_false(tq_draft_redo(&d));
    assert_true(tq_draft_serial(&d) > last);
    assert_int_equal(d.count, 4);
    for (int i = 0; i < 1500; i++)
        assert_true(tq_draft_push(&d, tq_sample_plan(i % 2 ? "*=4" : "*=keep"), "again"));
    int undone = 0;
    while (tq_draft_undo(&d))
        undone++;
    assert_in_range(undone, 900, 1000);
    tq_draft_free(&d);
}

static void expect_line(const tq_branch *b, size_t state, size_t column, bool begins) {
    assert_int_equal(b->state, state);
    assert_int_equal(b->column, column);
    assert_int_equal(b->begins, begins);
}

/* first - a - b, and from a also c - e and d; b is the oldest branch, d the newest. */
static void a_tree_of_changes(void **state) {
    enum { FIRST, A, B, C, E, D, COUNT };
    tq_draft d;
    tq_branch lines[COUNT];
    (void)state;
    assert_true(tq_draft_init(&d, tq_sample_model(), tq_sample_plan(NULL)));
    assert_null(tq_draft_before(&d));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4"), "a"));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4+2"), "b"));
    assert_true(tq_draft_undo(&d));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4+4"), "c"));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4t"), "e"));
    tq_draft_go(&d, A);
    assert_true(tq_draft_push(&d, tq_sample_plan("0.*=4t"), "d"));
    assert_string_equal(tq_draft_before(&d)->what, "a");
    assert_true(tq_draft_tree(&d, lines));
    expect_line(&lines[0], FIRST, 0, false);
    expect_line(&lines[1], A, 0, false);
    expect_line(&lines[2], B, 1, true);
    expect_line(&lines[3], C, 1, true);
    expect_line(&lines[4], E, 1, false);
    expect_line(&lines[5], D, 0, false);
    /* Redo goes where undo came from, also after going somewhere else by the tree. */
    tq_draft_go(&d, E);
    assert_true(tq_draft_undo(&d) && tq_draft_undo(&d) && tq_draft_undo(&d));
    assert_int_equal(d.now, FIRST);
    assert_true(tq_draft_redo(&d) && tq_draft_redo(&d) && tq_draft_redo(&d));
    assert_int_equal(d.now, E);
    assert_false(tq_draft_redo(&d));
    /* A leaf is dropped, what others are changes of is not. */
    assert_true(tq_draft_drop(&d));
    assert_int_equal(d.now, C);
    assert_int_equal(d.count, COUNT - 1);
    tq_draft_go(&d, A);
    assert_true(tq_draft_drop(&d));
    assert_int_equal(d.now, FIRST);
    assert_int_equal(d.count, COUNT - 1);
    assert_false(tq_draft_drop(&d));
    tq_draft_free(&d);
}

static void changed_since_it_was_saved(void **state) {
    tq_draft d;
    (void)state;
    assert_true(tq_draft_init(&d, tq_sample_model(), tq_sample_plan(NULL)));
    assert_false(tq_draft_changed(&d));
    assert_true(tq_draft_push(&d, tq_sample_plan("0.*=4"), ""));
    assert_true(tq_draft_changed(&d));
    assert_true(tq_draft_matrix_changed(&d, 0));
    assert_false(tq_draft_matrix_changed(&d, tq_model_matrices(tq_sample_model()) - 1));
    tq_draft_saved(&d, tq_draft_serial(&d));
    assert_false(tq_draft_changed(&d));
    assert_true(tq_draft_undo(&d));
    assert_true(tq_draft_changed(&d));
    /* Saved meanwhile: what counts is what was written, not what is edited now. */
    assert_true(tq_draft_push(&d, tq_sample_plan("1.*=4"), ""));
    tq_draft_saved(&d, tq_draft_serial(&d) - 1);
    assert_true(tq_draft_changed(&d));
    tq_plan *p = tq_sample_plan("1.*=4");
    tq_common common = tq_common_default();
    common.residual = TQ_RESIDUAL_INDEPENDENT;
    tq_plan_set_common(p, &common);
    assert_false(tq_plans_equal(tq_sample_model(), p, tq_draft_plan(&d)));
    tq_plan_free(p);
    tq_draft_free(&d);
}

static void figures_belong_to_states(void **state) {
    tq_draft d;
    tq_eval_result r = {.tokens = 100, .kld_mean = 0.5};
    (void)state;
    assert_true(tq_draft_init(&d, tq_sample_model(), tq_sample_plan(NULL)));
    assert_true(tq_draft_push(&d, tq_sample_plan("*=4"), ""));
    tq_draft_note_eval(&d, TQ_SERIAL_FIRST, &r);
    assert_false(d.states[1].eval_known);
    assert_true(d.states[0].eval_known);
    assert_true(tq_draft_undo(&d));
    assert_true(d.states[d.now].eval.kld_mean == 0.5);
    tq_draft_note_eval(&d, 999, &r); /* of a state that is forgotten */
    tq_draft_forget_evals(&d);
    assert_false(d.states[0].eval_known);
    tq_draft_free(&d);
}

static void memory_of_a_plan(void **state) {
    (void)state;
    tq_plan *keep = tq_sample_plan(NULL), *four = tq_sample_plan("*=4");
    tq_memory a = tq_plan_memory(tq_sample_model(), keep), b = tq_plan_memory(tq_sample_model(), four);
    assert_int_equal(a.total, a.baseline);
    assert_int_equal(a.quantized, 0);
    assert_int_equal(b.baseline, a.baseline);
    assert_int_equal(b.total, b.kept + b.quantized);
    assert_true(b.bpw_linear > 4.12 && b.bpw_linear < 4.2);
    assert_true(a.bpw_linear == 16);
    size_t sum = 0;
    for (size_t i = 0; i < tq_model_block_matrices(tq_sample_model()); i++)
        sum += tq_matrix_cost(tq_sample_model(), four, i);
    assert_int_equal(sum, b.quantized);
    tq_plan_free(keep);
    tq_plan_free(four);
}

/* --- the table --- */

static void filters_and_marks(void **state) {
    tq_table t;
    (void)state;
    assert_true(tq_table_init(&t, tq_sample_model()));
    size_t all = tq_model_matrices(tq_sample_model()), blocks = tq_model_config(tq_sample_model())->blocks;
    bool *targets = calloc(all, sizeof *targets);
    assert_non_null(targets);
    assert_int_equal(t.count, all + blocks + 1); /* embedding and head are a block of their own */
    assert_int_equal(tq_table_count_matches(&t, "*mlp.down_proj"), blocks);
    assert_true(tq_table_filter(&t, "down")); /* a word is looked for anywhere */
    assert_int_equal(t.shown, blocks);
    assert_int_equal(t.count, 2 * blocks);
    assert_false(tq_table_filter(&t, "nothing like this"));
    assert_string_equal(t.filter, "down");
    tq_table_mark_shown(&t);
    assert_int_equal(tq_table_marks(&t), blocks);
    assert_true(tq_table_filter(&t, ""));
    assert_int_equal(tq_table_targets(&t, targets), blocks); /* marks outlive the filter */
    tq_table_unmark(&t);
    tq_table_mark_shown(&t); /* as "*" does on the command line */
    assert_int_equal(tq_table_marks(&t), tq_model_block_matrices(tq_sample_model()));
    tq_table_unmark(&t);
    assert_true(tq_table_filter(&t, "embed"));
    tq_table_mark_shown(&t);
    assert_int_equal(tq_table_marks(&t), 1);
    assert_true(tq_table_filter(&t, ""));
    tq_table_unmark(&t);
    /* Without marks: the row; a block's row is all of the block that the filter shows. */
    tq_table_move(&t, -1000);
    size_t of_block = tq_table_targets(&t, targets);
    assert_true(of_block > 1 && targets[0]);
    tq_table_move(&t, 1);
    assert_int_equal(tq_table_targets(&t, targets), 1);
    tq_table_toggle(&t);
    assert_true(t.marked[0]);
    tq_table_move(&t, -1);
    tq_table_toggle(&t); /* some are marked: all are, then none */
    assert_int_equal(tq_table_marks(&t), of_block);
    tq_table_toggle(&t);
    assert_int_equal(tq_table_marks(&t), 0);
    free(targets);
    tq_table_free(&t);
}

static void folds_and_moves(void **state) {
    tq_table t;
    (void)state;
    assert_true(tq_table_init(&t, tq_sample_model()));
    size_t all = tq_model_matrices(tq_sample_model()), blocks = tq_model_config(tq_sample_model())->blocks + 1;
    tq_table_move(&t, 1000000);
    assert_int_equal(tq_table_matrix(&t), all - 1);
    tq_table_fold_all(&t, true);
    assert_int_equal(t.count, blocks);
    assert_int_equal(tq_table_row(&t)->block, blocks - 1); /* near where it stood */
    tq_table_show(&t, all - 1);
    assert_int_equal(tq_table_matrix(&t), all - 1);
    assert_true(t.folded[0] && !t.folded[blocks - 1]);
    tq_table_scroll(&t, 3);
    assert_int_equal(t.top, t.count - 3);
    tq_table_move(&t, -1000000);
    tq_table_scroll(&t, 3);
    assert_int_equal(t.top, 0);
    tq_table_scroll(&t, 1000);
    assert_int_equal(t.top, 0);
    tq_table_free(&t);
}

/* A range is what lies between, added to the marks of before; Esc takes it back, folding keeps it. */
static void ranges_are_marked(void **state) {
    tq_table t;
    (void)state;
    assert_true(tq_table_init(&t, tq_sample_model()));
    tq_table_show(&t, 9);
    tq_table_toggle(&t);
    tq_table_show(&t, 1);
    tq_table_range_begin(&t);
    assert_int_equal(tq_table_marks(&t), 2);
    tq_table_move(&t, 3);
    tq_table_range_update(&t);
    assert_int_equal(tq_table_marks(&t), 5);
    tq_table_move(&t, -4); /* over to the other side */
    tq_table_range_update(&t);
    assert_int_equal(tq_table_marks(&t), 3);
    assert_true(t.marked[0] && t.marked[1] && t.marked[9]);
    tq_table_range_end(&t, false);
    assert_int_equal(tq_table_marks(&t), 1);
    /* Blocks that are folded count as all that they hold, open ones as their row. */
    tq_table_unmark(&t);
    tq_table_fold_all(&t, true);
    tq_table_move(&t, -1000);
    tq_table_range_begin(&t);
    tq_table_move(&t, 1000);
    tq_table_range_update(&t);
    assert_int_equal(tq_table_marks(&t), tq_model_matrices(tq_sample_model()));
    tq_table_fold_all(&t, false);
    assert_true(t.anchor == SIZE_MAX);
    assert_int_equal(tq_table_marks(&t), tq_model_matrices(tq_sample_model()));
    tq_table_free(&t);
}

int main(void) {
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(undo_and_redo),
        cmocka_unit_test(a_tree_of_changes),
        cmocka_unit_test(changed_since_it_was_saved),
        cmocka_unit_test(figures_belong_to_states),
        cmocka_unit_test(memory_of_a_plan),
        cmocka_unit_test(filters_and_marks),
        cmocka_unit_test(folds_and_moves),
        cmocka_unit_test(ranges_are_marked),
    };
    return cmocka_run_group_tests(tests, tq_sample_open, tq_sample_close);
}
