/* test_tui_keys.c - keys, clicks and pasted text: where they go, and what they must not do. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/tui_sample.h"
#include "tui/actions.h"
#include "tui/keys.h"
#include "tui/overlay.h"
#include "tui/tune.h"

/* --- a list --- */

static void a_list_keeps_its_cursor_in_view(void **state) {
    static const struct {
        int key;
        size_t at, top;
    } steps[] = {{TQ_KEY_DOWN, 1, 0}, {'j', 2, 0}, {TQ_KEY_PGDN, 5, 2}, {TQ_KEY_PGDN, 8, 5},  {TQ_KEY_UP, 7, 5},
                 {TQ_KEY_PGUP, 4, 4}, {'G', 9, 6}, {TQ_KEY_DOWN, 9, 6}, {TQ_CTRL('b'), 6, 6}, {TQ_KEY_UP, 5, 5},
                 {'g', 0, 0},         {'k', 0, 0}, {TQ_KEY_END, 9, 6},  {TQ_KEY_HOME, 0, 0}};
    tq_list l;
    (void)state;
    tq_list_begin(&l, 10, 99); /* not there */
    assert_int_equal(l.at, 0);
    assert_int_equal(tq_list_view(&l, 10, 3, 4), 4);
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        assert_true(tq_list_key(&l, steps[i].key));
        (void)tq_list_view(&l, 10, 3, 4);
        assert_int_equal(l.at, steps[i].at);
        assert_int_equal(l.top, steps[i].top);
    }
    assert_false(tq_list_key(&l, 'x'));
    assert_true(tq_list_click(&l, 5)); /* its third row */
    assert_int_equal(l.at, 2);
    assert_false(tq_list_click(&l, 2) || tq_list_click(&l, 7)); /* above and below */
    assert_int_equal(tq_list_view(&l, 2, 3, 4), 2);             /* rows have gone */
    assert_int_equal(l.at, 1);
    assert_false(tq_list_click(&l, 5));
    assert_int_equal(tq_list_view(&l, 0, 3, 4), 0);
    assert_true(tq_list_key(&l, 'G'));
    assert_int_equal(l.at, 0);
}

/* --- the explorer, without a worker: nothing that is pressed here may reach it --- */

static const char *said(const tq_app *a) {
    return a->said_count ? a->said[(a->said_count - 1) % TQ_SAID_MAX].text : "";
}

/* What stands in the last line. */
static const char *last_line(tq_app *a, int rows, int cols) {
    tq_draw_screen(a, rows, cols);
    return tq_sample_row(&a->canvas, rows - 1);
}

static void pasted_text_is_no_keys(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    tq_app_paste(a, "q4\n8\nsplan\n"); /* in the table: none of it is a key */
    assert_false(a->quit);
    assert_int_equal(a->draft.count, 1);
    assert_int_equal(a->overlay, TQ_OVER_NONE);
    assert_non_null(strstr(said(a), "pasted"));

    tq_app_key(a, ':');
    tq_app_paste(a, "set *=4\nq\ty\n");
    assert_string_equal(tq_lineedit_text(), "set *=4 q y"); /* one line, and not run */
    assert_int_equal(a->draft.count, 1);
    tq_app_key(a, TQ_KEY_ESC);

    tq_app_key(a, 'c');
    tq_lineedit_key('>');
    tq_app_paste(a, "量\n\tb\n\n");
    assert_string_equal(tq_lineedit_text(), ">量\n b");
    tq_app_key(a, TQ_KEY_ESC);
    a->overlay = TQ_OVER_HELP; /* over everything */
    tq_app_paste(a, "q");
    assert_int_equal(a->overlay, TQ_OVER_HELP);
    assert_string_equal(tq_lineedit_draft(TQ_LINE_CHAT), ">量\n b");
    tq_lineedit_begin(TQ_LINE_CHAT, "");
    tq_sample_app_free(a);
}

static void what_is_typed_while_it_answers_stays(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    tq_app_key(a, 'c');
    a->talk.answering = 0;
    for (const char *p = "and then?"; *p; p++)
        tq_app_key(a, *p);
    tq_app_key(a, TQ_KEY_ENTER);
    assert_non_null(strstr(said(a), "still answering"));
    assert_string_equal(tq_lineedit_text(), "and then?");
    tq_lineedit_begin(TQ_LINE_CHAT, "");
    tq_sample_app_free(a);
}

/* Alt and a key, or Escape and the key at once: what is open closes, and the key acts. */
static void meta_closes_what_is_open(void **state) {
    (void)state;
    for (int o = TQ_OVER_NONE + 1; o < TQ_OVER_COUNT; o++) {
        if (tq_overlay_get((tq_overlay)o)->asks) continue;
        tq_app *a = tq_sample_app();
        a->overlay = (tq_overlay)o;
        tq_app_key(a, TQ_KEY_META + '?');
        assert_int_equal(a->overlay, TQ_OVER_HELP);
        tq_sample_app_free(a);
    }
    /* Twice Escape at once leaves a line that is edited, as it does one after the other. */
    tq_app *a = tq_sample_app();
    a->talk.answering = SIZE_MAX;
    tq_app_key(a, 'c');
    assert_int_equal(a->focus, TQ_FOCUS_CHAT);
    tq_app_key(a, TQ_KEY_META + TQ_KEY_ESC);
    assert_int_equal(a->focus, TQ_FOCUS_LAYERS);
    tq_sample_app_free(a);
}

/* Windows longer than the model takes are refused at once: kept, they would fail again with every change. */
static void windows_fit_the_model(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    a->eval.ctx = 512;
    tq_app_key(a, ':');
    tq_app_paste(a, "ctx 4097");
    tq_app_key(a, TQ_KEY_ENTER);
    assert_non_null(strstr(said(a), "'4097': expected a number from 4 to 4096"));
    assert_int_equal(a->eval.ctx, 512);
    tq_sample_app_free(a);
}

/* All of it, however narrow the terminal is. */
static void too_small_says_what_it_needs(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    tq_draw_screen(a, 19, 59);
    assert_string_equal(tq_sample_row(&a->canvas, 8), "59 x 19 is too small: needs 60 x 20");
    tq_draw_screen(a, 5, 20);
    assert_string_equal(tq_sample_row(&a->canvas, 1), "20 x 5 is too small:");
    assert_string_equal(tq_sample_row(&a->canvas, 2), "needs 60 x 20");
    /* What is pressed now would act unseen: it waits, but for leaving, which may ask. */
    tq_app_key(a, '4');
    tq_app_key(a, ':');
    assert_int_equal(a->draft.count, 1);
    assert_false(tq_lineedit_prompts());
    a->status.job = TQ_JOB_EXPORT;
    tq_app_key(a, 'q');
    tq_draw_screen(a, 5, 40);
    assert_non_null(strstr(tq_sample_row(&a->canvas, 1), "export"));
    tq_app_key(a, 'n');
    tq_app_key(a, '?');
    assert_int_equal(a->overlay, TQ_OVER_NONE);
    a->status.job = TQ_JOB_NONE;
    tq_app_key(a, 'q');
    assert_true(a->quit);
    tq_sample_app_free(a);
}

static void quitting_says_what_it_stops(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    a->status.job = TQ_JOB_EXPORT;
    tq_app_key(a, 'q');
    assert_false(a->quit);
    assert_non_null(strstr(a->question, "export"));
    tq_app_key(a, 'n');
    assert_false(a->quit);
    a->status.job = TQ_JOB_EVAL;
    a->status.asked = TQ_JOB_EXPORT; /* it waits for the evaluation to stop */
    tq_app_key(a, 'q');
    assert_false(a->quit);
    tq_app_key(a, 'y');
    assert_true(a->quit);
    a->quit = false;
    a->status.asked = TQ_JOB_NONE;
    tq_app_key(a, 'q'); /* an evaluation is not missed */
    assert_true(a->quit);
    tq_sample_app_free(a);
}

static void refused_formats_ask_for_no_path(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    tq_app_key(a, 'e');
    tq_app_key(a, 'g'); /* GGUF: not of this architecture */
    assert_int_equal(a->overlay, TQ_OVER_EXPORT);
    assert_false(tq_lineedit_prompts());
    assert_non_null(strstr(said(a), "not exported as gguf"));
    tq_app_key(a, 't');
    assert_true(tq_lineedit_active(TQ_LINE_PATH));
    tq_sample_app_free(a);
}

/* The last line names keys of what is open, and no others; what was said has as many lines as it takes. */
static void the_last_line_is_of_what_is_open(void **state) {
    (void)state;
    tq_app *a = tq_sample_app();
    assert_non_null(strstr(last_line(a, 50, 160), "4 5 6 8 bits"));
    for (int o = TQ_OVER_NONE + 1; o < TQ_OVER_COUNT; o++)
        for (int cols = 60; cols <= 160; cols += 20) {
            const tq_overlay_traits *over = tq_overlay_get((tq_overlay)o);
            a->overlay = (tq_overlay)o;
            const char *line = last_line(a, 24, cols);
            assert_null(strstr(line, "q quit  "));
            assert_null(strstr(line, "u undo"));
            size_t n = 0;
            while (over->hints[n].key)
                n++;
            assert_true(n >= over->sure);
            for (size_t i = n - over->sure; i < n; i++)
                assert_non_null(strstr(line, over->hints[i].text));
        }
    a->overlay = TQ_OVER_NONE;
    tq_say(a, TQ_REFUSES, "%s",
           "a reason that is longer than the line of a narrow terminal, so that it takes two lines");
    assert_non_null(strstr(last_line(a, 20, 60), "it takes two lines"));
    assert_non_null(strstr(tq_sample_row(&a->canvas, 18), "! a reason"));
    tq_sample_app_free(a);
}

/* What has a bar key and text is named on a screen that is wide enough: in the last line or in the frame of the costs.
 */
static void keys_are_named(void **state) {
    tq_app *a = tq_sample_app();
    size_t n;
    const tq_action *actions = tq_actions(&n);
    (void)state;
    tq_draw_screen(a, 50, 300);
    for (size_t i = 0; i < n; i++) {
        char hint[64];
        if (!*actions[i].bar_text) continue;
        snprintf(hint, sizeof hint, "%s %s", actions[i].bar_key, actions[i].bar_text);
        bool found = strstr(tq_sample_row(&a->canvas, 49), hint) != NULL;
        found |= strstr(tq_sample_row(&a->canvas, a->layout.cost.y - 1), hint) != NULL;
        if (!found) fail_msg("'%s' is named nowhere", hint);
    }
    tq_sample_app_free(a);
}

/* Untouched rows have nothing to save: the most sensitive come first. Then as the model has them. */
static void rows_are_sorted_by_what_they_cost(void **state) {
    tq_app *a = tq_sample_app();
    (void)state;
    tq_event stopped = {.job = TQ_JOB_SWEEP, .rc = TQ_CANCELLED};
    tq_app_key(a, 'S');
    assert_null(a->table.order);
    assert_non_null(strstr(said(a), "no text to measure on"));
    assert_int_equal(a->keep.wants_sort, TQ_ORDER_MODEL);
    /* What is being measured is waited for, in the order that was asked for last, and for nothing once it is stopped.
     */
    a->status.job = TQ_JOB_SWEEP;
    a->status.text_tokens = 1;
    for (int k = 1; k <= 2 * TQ_ORDER_COUNT + 1; k++) {
        static const char *const says[] = {"stays in its order", "then sorted by KLD saved", "then sorted by own KLD"};
        tq_app_key(a, 'S');
        assert_int_equal(a->keep.wants_sort, k % TQ_ORDER_COUNT);
        assert_non_null(strstr(said(a), says[k % TQ_ORDER_COUNT]));
        assert_null(a->table.order);
    }
    tq_tune_event(a, &stopped);
    assert_int_equal(a->keep.wants_sort, TQ_ORDER_MODEL);
    for (size_t i = 0; i < a->tune.matrices; i++)
        a->tune.felt[i] = (tq_felt){i == 7 ? 0.5 : 0.1, 9e-3};
    tq_tune_sort_by(a, TQ_ORDER_GAIN);
    assert_int_equal(a->tune.order, TQ_ORDER_OWN);
    assert_int_equal(tq_table_matrix(&a->table), 7);
    tq_tune_sort(a);
    assert_null(a->table.order);
    tq_sample_app_free(a);
}

int main(void) {
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_keeps_its_cursor_in_view),
        cmocka_unit_test(pasted_text_is_no_keys),
        cmocka_unit_test(what_is_typed_while_it_answers_stays),
        cmocka_unit_test(meta_closes_what_is_open),
        cmocka_unit_test(quitting_says_what_it_stops),
        cmocka_unit_test(refused_formats_ask_for_no_path),
        cmocka_unit_test(the_last_line_is_of_what_is_open),
        cmocka_unit_test(keys_are_named),
        cmocka_unit_test(rows_are_sorted_by_what_they_cost),
        cmocka_unit_test(too_small_says_what_it_needs),
        cmocka_unit_test(windows_fit_the_model),
    };
    return cmocka_run_group_tests(tests, tq_sample_open, tq_sample_close);
}
