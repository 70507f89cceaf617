/* test_tui_canvas.c - figures as text, and the screen in memory. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/tui_sample.h"
#include "tui/format.h"

/* --- figures --- */

static void figures_as_text(void **state) {
    tq_text b;
    (void)state;
    assert_string_equal(tq_fmt_count(0, b), "0");
    assert_string_equal(tq_fmt_count(999, b), "999");
    assert_string_equal(tq_fmt_count(1000, b), "1,000");
    assert_string_equal(tq_fmt_count(SIZE_MAX, b), "18,446,744,073,709,551,615");
    assert_string_equal(tq_fmt_sci(0, b), "0");
    assert_string_equal(tq_fmt_sci(9.24e-3, b), "9.2e-3");
    assert_string_equal(tq_fmt_sci(9.96e-3, b), "1.0e-2");
    assert_string_equal(tq_fmt_sci(1, b), "1.0e0");
    assert_string_equal(tq_fmt_sci(1e300 * 1e300, b), "nan");
    assert_string_equal(tq_fmt_kld(0, b), "0");
    assert_string_equal(tq_fmt_kld(0.01423, b), "0.0142");
    assert_string_equal(tq_fmt_kld(0.00142, b), "0.00142");
    assert_string_equal(tq_fmt_kld(4.4e-5, b), "4.4e-5");
    assert_string_equal(tq_fmt_kld(0.27961, b), "0.280");
    assert_string_equal(tq_fmt_kld(12.345, b), "12.35");
    assert_string_equal(tq_fmt_kld_error(0.0142, 0.00063, b), "0.0006");
    assert_string_equal(tq_fmt_kld_error(0, 0, b), "0");
    assert_string_equal(tq_fmt_kld_error(4.4e-5, 1.23e-6, b), "1.2e-6");
    assert_string_equal(tq_fmt_kld_change(0.0131, 0.0142, b), "+0.00110");
    assert_string_equal(tq_fmt_kld_change(0.0142, 0.0131, b), "−0.00110");
    assert_string_equal(tq_fmt_kld_change(1, 1, b), "±0");
    assert_string_equal(tq_fmt_mib(101376, b), "0.097");
    assert_string_equal(tq_fmt_mib(9332326, b), "8.9");
    assert_string_equal(tq_fmt_mib((size_t)1234 << 20, b), "1,234");
    assert_string_equal(tq_fmt_mib_signed(1 << 20, 1 << 20, b), "±0");
    assert_string_equal(tq_fmt_mib_signed(2 << 20, 1 << 20, b), "−1.0");
    assert_string_equal(tq_fmt_mib_signed(1 << 20, 2 << 20, b), "+1.0");
    assert_string_equal(tq_fmt_seconds(0, b), "1 s");
    assert_string_equal(tq_fmt_seconds(59.6, b), "60 s");
    assert_string_equal(tq_fmt_seconds(125, b), "2 min 5 s");
    assert_string_equal(tq_fmt_seconds(3720, b), "1 h 2 min");
    assert_string_equal(tq_fmt_seconds(-1, b), "?");
    assert_string_equal(tq_fmt_seconds(1e300, b), "?");
}

/* --- the canvas --- */

static const tq_canvas utf8 = {0};

static void text_has_columns(void **state) {
    (void)state;
    assert_int_equal(tq_text_width(&utf8, "abc", 3), 3);
    assert_int_equal(tq_text_width(&utf8, "é", 9), 1);
    assert_int_equal(tq_text_width(&utf8, "e\xCC\x81", 9), 1);     /* e and a combining acute */
    assert_int_equal(tq_text_width(&utf8, "量子化", 99), 6);       /* wide */
    assert_int_equal(tq_text_width(&utf8, "a\xE2\x80\x8B", 9), 1); /* a zero-width space is left out */
    assert_int_equal(tq_text_width(&utf8, "\xFF\xC3", 2), 2);      /* broken bytes: a mark each */
    assert_int_equal(tq_text_width(&utf8, "\033[2J", 4), 4);       /* control characters never reach the terminal */
    assert_int_equal(tq_text_width(&utf8, "abc", 2), 2);
}

static void text_is_clipped(void **state) {
    tq_canvas c = {0};
    (void)state;
    assert_true(tq_canvas_reset(&c, 3, 10));
    assert_int_equal(tq_put(&c, 0, 0, 10, TQ_ST_NORMAL, "0123456789"), 10);
    assert_string_equal(tq_sample_row(&c, 0), "0123456789");
    tq_put(&c, 1, 2, 8, TQ_ST_NORMAL, "0123456789");
    assert_string_equal(tq_sample_row(&c, 1), "  01234…");
    tq_put_right(&c, 2, 2, 8, TQ_ST_NORMAL, "abc");
    assert_string_equal(tq_sample_row(&c, 2), "     abc");
    tq_put(&c, -1, 0, 10, TQ_ST_NORMAL, "outside");
    tq_put(&c, 3, 0, 10, TQ_ST_NORMAL, "outside");
    tq_put(&c, 0, 50, 90, TQ_ST_NORMAL, "outside");
    assert_string_equal(tq_sample_row(&c, 0), "0123456789");
    /* Half of a wide character is no character: neither at the edge nor overwritten. */
    tq_clear(&c, (tq_area){0, 0, 3, 10});
    tq_put(&c, 0, 0, 5, TQ_ST_NORMAL, "量子化");
    assert_string_equal(tq_sample_row(&c, 0), "量子…");
    tq_put(&c, 0, 1, 2, TQ_ST_NORMAL, "x");
    assert_string_equal(tq_sample_row(&c, 0), " x子…");
    tq_put(&c, 1, 0, 10, TQ_ST_NORMAL, "a\033[31m\tb");
    assert_string_equal(tq_sample_row(&c, 1), "a?[31m?b");
    tq_put(&c, 2, 0, 10, TQ_ST_NORMAL, "e\xCC\x81z");
    assert_string_equal(tq_sample_row(&c, 2), "e\xCC\x81z");
    tq_canvas_free(&c);
}

/* What lies over text leaves no half words beside it; frames and what is behind a blank stay. */
static void no_half_words_beside_a_box(void **state) {
    tq_canvas c = {0};
    (void)state;
    assert_true(tq_canvas_reset(&c, 4, 20));
    for (int y = 0; y < 4; y++)
        tq_put(&c, y, 0, 20, TQ_ST_NORMAL, y == 2 ? "one 12.5 量子量子 x9" : "one two  ab cd three");
    tq_vline(&c, 6, -1, 4);
    tq_highlight(&c, 2, 0, 20);
    tq_clear(&c, (tq_area){1, 7, 2, 4});
    assert_string_equal(tq_sample_row(&c, 0), "one tw│  ab cd three");
    assert_string_equal(tq_sample_row(&c, 1), "one tw│     cd three");
    assert_string_equal(tq_sample_row(&c, 2), "one 12│           x9");
    assert_true(c.cells[2 * 20 + 12].reverse && !c.cells[2 * 20 + 8].reverse);
    tq_clear(&c, (tq_area){0, 5, 4, 12});
    assert_string_equal(tq_sample_row(&c, 0), "one");
    assert_string_equal(tq_sample_row(&c, 2), "one               x9");
    tq_canvas_free(&c);
}

static void ascii_where_there_is_no_more(void **state) {
    tq_canvas c = {.ascii = true};
    (void)state;
    assert_true(tq_canvas_reset(&c, 4, 20));
    tq_put(&c, 0, 0, 20, TQ_ST_NORMAL, "0.1 ± 0.2 → 量");
    assert_string_equal(tq_sample_row(&c, 0), "0.1 +- 0.2 > ??");
    /* What does not fit ends with two dots, or with the one for which there is room; so does a figure still to come. */
    tq_clear(&c, (tq_area){0, 0, 4, 20});
    tq_put(&c, 0, 2, 8, TQ_ST_NORMAL, "0123456789");
    tq_put(&c, 0, 10, 13, TQ_ST_NORMAL, "量子");
    tq_put(&c, 0, 15, 16, TQ_ST_NORMAL, "0123456789");
    assert_string_equal(tq_sample_row(&c, 0), "  0123..  ?..  .");
    tq_put(&c, 1, 0, 9, TQ_ST_NORMAL, "0 ± 1 …");
    tq_put_right(&c, 1, 10, 15, TQ_ST_NORMAL, "…");
    tq_put(&c, 1, 19, 20, TQ_ST_NORMAL, "…");
    assert_string_equal(tq_sample_row(&c, 1), "0 +- 1 ..    ..    .");
    assert_int_equal(tq_text_width(&c, "0 ± 1 …", 99), 9);
    assert_int_equal(tq_wrap(&c, "0 ± 1", 5, NULL), 4);
    tq_clear(&c, (tq_area){0, 0, 4, 20});
    tq_frame(&c, (tq_area){1, 0, 3, 4});
    assert_string_equal(tq_sample_row(&c, 1), "+--+");
    assert_string_equal(tq_sample_row(&c, 2), "|  |");
    for (int i = 0; i < c.rows * c.cols; i++)
        assert_true(c.cells[i].ch[0] < 128);
    tq_canvas_free(&c);
}

static void lines_meet(void **state) {
    tq_canvas c = {0};
    (void)state;
    assert_true(tq_canvas_reset(&c, 5, 9));
    tq_frame(&c, (tq_area){0, 0, 5, 9});
    tq_hline(&c, 2, 0, 8);
    tq_vline(&c, 4, 0, 2);
    assert_string_equal(tq_sample_row(&c, 0), "┌───┬───┐");
    assert_string_equal(tq_sample_row(&c, 2), "├───┴───┤");
    assert_string_equal(tq_sample_row(&c, 4), "└───────┘");
    tq_canvas_free(&c);
}

static void text_is_wrapped(void **state) {
    size_t skip;
    (void)state;
    assert_int_equal(tq_wrap(&utf8, "one two three", 8, &skip), 7);
    assert_int_equal(skip, 1);
    assert_int_equal(tq_wrap(&utf8, "onetwothree", 4, &skip), 4);
    assert_int_equal(skip, 0);
    assert_int_equal(tq_wrap(&utf8, "one\ntwo", 80, &skip), 3);
    assert_int_equal(skip, 1);
    assert_int_equal(tq_wrap(&utf8, "量子化", 1, &skip), 3); /* at least one character */
    assert_int_equal(tq_wrap(&utf8, "", 10, &skip), 0);
    assert_int_equal(skip, 0);
}

static void bars_and_sparklines(void **state) {
    tq_canvas c = {0};
    const double values[] = {0, 1, 2, 4, 8};
    (void)state;
    assert_true(tq_canvas_reset(&c, 1, 10));
    tq_bar(&c, 0, 0, 10, 0.001, TQ_ST_BAR_USED);
    assert_string_equal(tq_sample_row(&c, 0), "█░░░░░░░░░"); /* what is there is seen */
    tq_bar(&c, 0, 0, 10, 0, TQ_ST_BAR_USED);
    assert_string_equal(tq_sample_row(&c, 0), "░░░░░░░░░░");
    tq_clear(&c, (tq_area){0, 0, 1, 10});
    assert_int_equal(tq_sparkline(&c, 0, 0, 4, values, 5, TQ_ST_NORMAL), 4);
    assert_string_equal(tq_sample_row(&c, 0), "▂▃▅█");
    tq_canvas_free(&c);
}

int main(void) {
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_as_text),
        cmocka_unit_test(text_has_columns),
        cmocka_unit_test(text_is_clipped),
        cmocka_unit_test(no_half_words_beside_a_box),
        cmocka_unit_test(ascii_where_there_is_no_more),
        cmocka_unit_test(lines_meet),
        cmocka_unit_test(text_is_wrapped),
        cmocka_unit_test(bars_and_sparklines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
