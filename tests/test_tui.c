/* test_tui.c - the explorer without a terminal: figures as text, the canvas, the draft, the table, lines, actions, and
 * every panel drawn at every size.
 *
 * test_tui --keys prints the table of keys that stands in README.md. */
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tui/actions.h"
#include "tui/app_internal.h"
#include "tui/format.h"
#include "tui/keys.h"
#include "tui/tune.h"

#define MODEL "samples/tiny-qwen3.5"

static tq_session *session;
static const tq_model *model;

static int open_model(void **state) {
    tq_err err = {{0}};
    (void)state;
    if (tq_session_open(MODEL, &(tq_session_options){.threads = 1}, &session, &err) != TQ_OK) {
        print_error("%s\n", err.msg);
        return -1;
    }
    model = tq_session_model(session);
    tq_command_model(model);
    return tq_lineedit_open(tq_command_complete, NULL) ? 0 : -1;
}

static int close_model(void **state) {
    (void)state;
    tq_lineedit_close();
    tq_session_close(session);
    return 0;
}

static tq_plan *plan_with(const char *rule) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_copy(tq_session_plan(session));
    assert_non_null(p);
    if (rule) assert_int_equal(tq_plan_rule(p, rule, NULL, &err), TQ_OK);
    return p;
}

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

/* Row y as UTF-8, without the blanks at its end. */
static const char *row(const tq_canvas *c, int y) {
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

static void text_has_columns(void **state) {
    (void)state;
    assert_int_equal(tq_text_width("abc", 3), 3);
    assert_int_equal(tq_text_width("é", 9), 1);
    assert_int_equal(tq_text_width("e\xCC\x81", 9), 1);     /* e and a combining acute */
    assert_int_equal(tq_text_width("量子化", 99), 6);       /* wide */
    assert_int_equal(tq_text_width("a\xE2\x80\x8B", 9), 1); /* a zero-width space is left out */
    assert_int_equal(tq_text_width("\xFF\xC3", 2), 2);      /* broken bytes: a mark each */
    assert_int_equal(tq_text_width("\033[2J", 4), 4);       /* control characters never reach the terminal */
    assert_int_equal(tq_text_width("abc", 2), 2);
}

static void text_is_clipped(void **state) {
    tq_canvas c = {0};
    (void)state;
    assert_true(tq_canvas_reset(&c, 3, 10));
    assert_int_equal(tq_put(&c, 0, 0, 10, TQ_ST_NORMAL, "0123456789"), 10);
    assert_string_equal(row(&c, 0), "0123456789");
    tq_put(&c, 1, 2, 8, TQ_ST_NORMAL, "0123456789");
    assert_string_equal(row(&c, 1), "  01234…");
    tq_put_right(&c, 2, 2, 8, TQ_ST_NORMAL, "abc");
    assert_string_equal(row(&c, 2), "     abc");
    tq_put(&c, -1, 0, 10, TQ_ST_NORMAL, "outside");
    tq_put(&c, 3, 0, 10, TQ_ST_NORMAL, "outside");
    tq_put(&c, 0, 50, 90, TQ_ST_NORMAL, "outside");
    assert_string_equal(row(&c, 0), "0123456789");
    /* Half of a wide character is no character: neither at the edge nor overwritten. */
    tq_clear(&c, (tq_area){0, 0, 3, 10});
    tq_put(&c, 0, 0, 5, TQ_ST_NORMAL, "量子化");
    assert_string_equal(row(&c, 0), "量子…");
    tq_put(&c, 0, 1, 2, TQ_ST_NORMAL, "x");
    assert_string_equal(row(&c, 0), " x子…");
    tq_put(&c, 1, 0, 10, TQ_ST_NORMAL, "a\033[31m\tb");
    assert_string_equal(row(&c, 1), "a?[31m?b");
    tq_put(&c, 2, 0, 10, TQ_ST_NORMAL, "e\xCC\x81z");
    assert_string_equal(row(&c, 2), "e\xCC\x81z");
    tq_canvas_free(&c);
}

static void ascii_where_there_is_no_more(void **state) {
    tq_canvas c = {.ascii = true};
    (void)state;
    assert_true(tq_canvas_reset(&c, 4, 20));
    tq_put(&c, 0, 0, 20, TQ_ST_NORMAL, "0.1 ± 0.2 → 量");
    assert_string_equal(row(&c, 0), "0.1 +- 0.2 > ??");
    tq_frame(&c, (tq_area){1, 0, 3, 4});
    assert_string_equal(row(&c, 1), "+--+");
    assert_string_equal(row(&c, 2), "|  |");
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
    assert_string_equal(row(&c, 0), "┌───┬───┐");
    assert_string_equal(row(&c, 2), "├───┴───┤");
    assert_string_equal(row(&c, 4), "└───────┘");
    tq_canvas_free(&c);
}

static void text_is_wrapped(void **state) {
    size_t skip;
    (void)state;
    assert_int_equal(tq_wrap("one two three", 8, &skip), 7);
    assert_int_equal(skip, 1);
    assert_int_equal(tq_wrap("onetwothree", 4, &skip), 4);
    assert_int_equal(skip, 0);
    assert_int_equal(tq_wrap("one\ntwo", 80, &skip), 3);
    assert_int_equal(skip, 1);
    assert_int_equal(tq_wrap("量子化", 1, &skip), 3); /* at least one character */
    assert_int_equal(tq_wrap("", 10, &skip), 0);
    assert_int_equal(skip, 0);
}

static void bars_and_sparklines(void **state) {
    tq_canvas c = {0};
    const double values[] = {0, 1, 2, 4, 8};
    (void)state;
    assert_true(tq_canvas_reset(&c, 1, 10));
    tq_bar(&c, 0, 0, 10, 0.001, TQ_ST_BAR_USED);
    assert_string_equal(row(&c, 0), "█░░░░░░░░░"); /* what is there is seen */
    tq_bar(&c, 0, 0, 10, 0, TQ_ST_BAR_USED);
    assert_string_equal(row(&c, 0), "░░░░░░░░░░");
    tq_clear(&c, (tq_area){0, 0, 1, 10});
    assert_int_equal(tq_sparkline(&c, 0, 0, 4, values, 5, TQ_ST_NORMAL), 4);
    assert_string_equal(row(&c, 0), "▂▃▅█");
    tq_canvas_free(&c);
}

/* --- the draft --- */

static void undo_and_redo(void **state) {
    tq_draft d;
    (void)state;
    assert_true(tq_draft_init(&d, model, plan_with(NULL)));
    assert_int_equal(tq_draft_serial(&d), TQ_SERIAL_FIRST);
    assert_false(tq_draft_undo(&d));
    assert_false(tq_draft_redo(&d));
    assert_true(tq_draft_push(&d, plan_with("*=4"), "all 4"));
    assert_true(tq_draft_push(&d, plan_with("*=4+4"), "all 4+4"));
    uint64_t last = tq_draft_serial(&d);
    assert_int_equal(tq_plan_get(tq_draft_plan(&d), 0).bits, TQ_BITS_4_4);
    assert_true(tq_draft_undo(&d));
    assert_int_equal(tq_plan_get(tq_draft_plan(&d), 0).bits, TQ_BITS_4);
    assert_true(tq_draft_redo(&d));
    assert_int_equal(tq_draft_serial(&d), last);
    assert_true(tq_draft_undo(&d));
    assert_true(tq_draft_undo(&d));
    assert_int_equal(tq_plan_get(tq_draft_plan(&d), 0).bits, TQ_BITS_KEEP);
    /* A change forgets what was undone, and its serial was never used. */
    assert_true(tq_draft_push(&d, plan_with("*=4+2"), "all 4+2"));
    assert_false(tq_draft_redo(&d));
    assert_true(tq_draft_serial(&d) > last);
    for (int i = 0; i < 1500; i++)
        assert_true(tq_draft_push(&d, plan_with(i % 2 ? "*=4" : "*=keep"), "again"));
    int undone = 0;
    while (tq_draft_undo(&d))
        undone++;
    assert_in_range(undone, 900, 1000);
    tq_draft_free(&d);
}

static void changed_since_it_was_saved(void **state) {
    tq_draft d;
    (void)state;
    assert_true(tq_draft_init(&d, model, plan_with(NULL)));
    assert_false(tq_draft_changed(&d));
    assert_true(tq_draft_push(&d, plan_with("0.*=4"), ""));
    assert_true(tq_draft_changed(&d));
    assert_true(tq_draft_matrix_changed(&d, 0));
    assert_false(tq_draft_matrix_changed(&d, tq_model_matrices(model) - 1));
    tq_draft_saved(&d, tq_draft_serial(&d));
    assert_false(tq_draft_changed(&d));
    assert_true(tq_draft_undo(&d));
    assert_true(tq_draft_changed(&d));
    /* Saved meanwhile: what counts is what was written, not what is edited now. */
    assert_true(tq_draft_push(&d, plan_with("1.*=4"), ""));
    tq_draft_saved(&d, tq_draft_serial(&d) - 1);
    assert_true(tq_draft_changed(&d));
    tq_plan *p = plan_with("1.*=4");
    tq_common common = tq_common_default();
    common.residual = TQ_RESIDUAL_INDEPENDENT;
    tq_plan_set_common(p, &common);
    assert_false(tq_plans_equal(model, p, tq_draft_plan(&d)));
    tq_plan_free(p);
    tq_draft_free(&d);
}

static void figures_belong_to_states(void **state) {
    tq_draft d;
    tq_eval_result r = {.tokens = 100, .kld_mean = 0.5};
    (void)state;
    assert_true(tq_draft_init(&d, model, plan_with(NULL)));
    assert_true(tq_draft_push(&d, plan_with("*=4"), ""));
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
    tq_plan *keep = plan_with(NULL), *four = plan_with("*=4");
    tq_memory a = tq_plan_memory(model, keep), b = tq_plan_memory(model, four);
    assert_int_equal(a.total, a.baseline);
    assert_int_equal(a.quantized, 0);
    assert_int_equal(b.baseline, a.baseline);
    assert_int_equal(b.total, b.kept + b.quantized);
    assert_true(b.bpw_linear > 4.12 && b.bpw_linear < 4.2);
    assert_true(a.bpw_linear == 16);
    size_t sum = 0;
    for (size_t i = 0; i < tq_model_matrices(model); i++)
        sum += tq_matrix_cost(model, four, i);
    assert_int_equal(sum, b.quantized);
    tq_plan_free(keep);
    tq_plan_free(four);
}

/* --- the table --- */

static void filters_and_marks(void **state) {
    tq_table t;
    (void)state;
    assert_true(tq_table_init(&t, model));
    size_t all = tq_model_matrices(model), blocks = tq_model_config(model)->blocks;
    bool *targets = calloc(all, sizeof *targets);
    assert_non_null(targets);
    assert_int_equal(t.count, all + blocks);
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
    assert_true(tq_table_init(&t, model));
    size_t all = tq_model_matrices(model), blocks = tq_model_config(model)->blocks;
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

/* --- lines --- */

static char *typed(tq_line kind, const char *text, int last) {
    tq_lineedit_begin(kind, "");
    for (; *text; text++)
        tq_lineedit_key((unsigned char)*text);
    tq_lineedit_key(last);
    return tq_lineedit_take();
}

static void lines_are_edited(void **state) {
    (void)state;
    char *line = typed(TQ_LINE_CHAT, "hello", TQ_KEY_ENTER);
    assert_string_equal(line, "hello");
    free(line);
    line = typed(TQ_LINE_CHAT, "hello", TQ_KEY_META + TQ_KEY_ENTER);
    assert_string_equal(line, "hello");
    free(line);
    tq_lineedit_begin(TQ_LINE_CHAT, "");
    assert_null(tq_lineedit_take());
    tq_lineedit_key(TQ_KEY_UP); /* history */
    assert_string_equal(tq_lineedit_text(), "hello");
    tq_lineedit_key(TQ_KEY_HOME);
    tq_lineedit_key(0x91CF); /* 量, three bytes */
    assert_string_equal(tq_lineedit_text(), "量hello");
    assert_int_equal(tq_lineedit_point(), 3);
    tq_lineedit_key(TQ_KEY_BACKSPACE);
    tq_lineedit_key(TQ_KEY_META + 'd'); /* Meta-d: the word */
    assert_string_equal(tq_lineedit_text(), "");
    tq_lineedit_key('x');
    /* Each kind keeps its own text and history. */
    tq_lineedit_begin(TQ_LINE_COMMAND, "");
    tq_lineedit_key(TQ_KEY_UP);
    assert_string_equal(tq_lineedit_text(), "");
    assert_string_equal(tq_lineedit_draft(TQ_LINE_CHAT), "x");
    tq_lineedit_begin(TQ_LINE_CHAT, NULL);
    assert_string_equal(tq_lineedit_text(), "x");
    tq_lineedit_end();
    assert_false(tq_lineedit_active(TQ_LINE_CHAT));
    tq_lineedit_key('y'); /* of no line */
    /* A line of the history that was changed, left, and edited again: what undoing needs is freed once. */
    for (int i = 0; i < 3; i++) {
        tq_lineedit_begin(TQ_LINE_CHAT, NULL);
        tq_lineedit_key(TQ_KEY_UP);
        tq_lineedit_key('z');
        tq_lineedit_key(i == 1 ? TQ_CTRL('r') : TQ_CTRL('v')); /* in the middle of something */
        tq_lineedit_begin(TQ_LINE_COMMAND, "");
        tq_lineedit_key(TQ_KEY_UP);
        assert_string_equal(tq_lineedit_text(), "");
        tq_lineedit_end();
    }
    tq_lineedit_begin(TQ_LINE_CHAT, "");
    tq_lineedit_key(TQ_KEY_UP);
    assert_string_equal(tq_lineedit_text(), "hello");
    tq_lineedit_begin(TQ_LINE_CHAT, "x");
    tq_lineedit_end();
    assert_string_equal(tq_lineedit_draft(TQ_LINE_CHAT), "x");
}

static void commands_are_completed(void **state) {
    static const struct {
        const char *typed, *becomes;
    } table[] = {
        {"se", "set "},
        {"set *mlp.d", "set *mlp.down_proj="},
        {"set mlp.d", "set *mlp.down_proj="},
        {"set *=4+4", "set *=4+4 "},
        {"rot", "rotation "},
        {"rotation h", "rotation hadamard "},
        {"export t", "export tq "},
        {"load samples/qu", "load samples/questions.jsonl "},
        {"export hf samples/qu", "export hf samples/questions.jsonl "},
        {"nothing", "nothing"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        assert_null(typed(TQ_LINE_COMMAND, table[i].typed, TQ_KEY_TAB));
        assert_string_equal(tq_lineedit_text(), table[i].becomes);
        tq_lineedit_end();
    }
}

/* --- actions --- */

static void keys_are_bound_once(void **state) {
    size_t n;
    const tq_action *t = tq_actions(&n);
    (void)state;
    for (size_t i = 0; i < n; i++) {
        assert_true(*t[i].name && *t[i].keys && *t[i].help && *t[i].section && t[i].run);
        for (int k = 0; k < 3; k++)
            if (t[i].key[k]) assert_ptr_equal(tq_action_for(t[i].key[k]), &t[i]);
        /* A section is one stretch of the list. */
        for (size_t j = i + 2; j < n; j++)
            if (strcmp(t[i].section, t[j].section) == 0) assert_string_equal(t[i].section, t[j - 1].section);
    }
    assert_null(tq_action_for(0));
    assert_null(tq_action_for('Q'));
}

static char *file_text(const char *path) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *text = calloc(1, 1 << 20);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 20) - 1, f) > 0);
    fclose(f);
    return text;
}

static void the_readme_has_these_keys(void **state) {
    char *table = NULL, *readme = file_text("README.md");
    size_t bytes = 0;
    (void)state;
    FILE *f = open_memstream(&table, &bytes);
    assert_non_null(f);
    tq_actions_markdown(f);
    fclose(f);
    if (!strstr(readme, table)) fail_msg("the keys in README.md are not those of actions.def: see test_tui --keys");
    free(table);
    free(readme);
}

/* --- the whole screen --- */

static bool inside(tq_area in, tq_area a) {
    return a.h == 0 ||
           (a.y >= in.y && a.x >= in.x && a.h > 0 && a.w > 0 && a.y + a.h <= in.y + in.h && a.x + a.w <= in.x + in.w);
}

static bool apart(tq_area a, tq_area b) {
    return a.h == 0 || b.h == 0 || a.y + a.h <= b.y || b.y + b.h <= a.y || a.x + a.w <= b.x || b.x + b.w <= a.x;
}

static void panels_have_their_places(void **state) {
    (void)state;
    for (int rows = 1; rows <= 120; rows++)
        for (int cols = 1; cols <= 320; cols++) {
            tq_layout l = tq_layout_for(rows, cols);
            assert_int_equal(l.too_small, rows < 20 || cols < 60);
            if (l.too_small) continue;
            const tq_area all = {1, 1, rows - 3, cols - 2}, areas[] = {l.layers, l.inspect, l.cost, l.chat};
            assert_true(l.layers.h >= 8 && l.layers.w >= 40 && l.cost.h == 3);
            for (int i = 0; i < 4; i++) {
                assert_true(inside(all, areas[i]));
                for (int k = 0; k < i; k++)
                    assert_true(apart(areas[i], areas[k]));
            }
        }
}

/* What the panels look at, as after a while of work. */
static tq_app *app_with_everything(void) {
    static tq_options options;
    static tq_turn turns[3];
    static tq_inspected seen;
    tq_app *a = calloc(1, sizeof *a);
    assert_non_null(a);
    a->options = &options;
    a->model = model;
    snprintf(a->name, sizeof a->name, "a-model-with-a-rather-long-name-for-a-narrow-terminal");
    assert_true(tq_draft_init(&a->draft, model, plan_with(NULL)));
    assert_true(tq_table_init(&a->table, model));
    a->measured = calloc(tq_model_matrices(model), sizeof *a->measured);
    a->targets = calloc(tq_model_matrices(model), sizeof *a->targets);
    assert_non_null(a->measured);
    assert_non_null(a->targets);
    assert_true(tq_tune_init(&a->tune, tq_model_matrices(model)));
    assert_true(tq_draft_push(&a->draft, plan_with("*down*=4:row"), "0 linear_attn.in_proj_qkv keep → 4"));
    a->measured[5] = (tq_measured){.known = true,
                                   .spec = tq_plan_spec(tq_draft_plan(&a->draft), 5),
                                   .figures.distortion = {.rel_mse = 9.2e-3, .cosine = 1}};
    for (int i = 0; i < 9; i++) {
        tq_plan *tried = plan_with(i % 3 == 0 ? "*=4+2" : i % 3 == 1 ? "1.*=4t" : "2.*=4+4:row");
        tq_plan_set(tried, (size_t)i, (tq_choice){TQ_BITS_4, 64});
        tq_eval_result r = {.kld_mean = i ? 1e-4 * i * i : 0, .ppl = 12};
        assert_true(tq_points_add(&a->points, model, tried, "3 linear_attn.in_proj_qkv keep → 4", i, &r));
        tq_plan_free(tried);
    }
    a->eval = (tq_eval_options){.ctx = 512};
    a->status = (tq_status){.kernels = "avx512", .threads = 64, .job = TQ_JOB_EVAL, .done = 1, .total = 3};
    a->status.eval = (tq_eval_result){.tokens = 4088, .ppl_base = 11.9, .ppl = 1e9, .kld_mean = 12.5, .kld_p99 = 99};
    a->status.text_tokens = 50000;
    snprintf(a->status.text_name, sizeof a->status.text_name,
             "/somewhere/a-text-with-quite-a-long-name-of-its-own.txt");
    for (int i = 0; i < 40; i++)
        a->kld_history[a->kld_count++] = i;
    turns[0] = (tq_turn){.speakers = TQ_BOTH, .text = (char *)"what is 17 plus 25?\nand 量子化?"};
    turns[1] =
        (tq_turn){.speakers = TQ_PLAN, .answer = true, .ended = true, .text = (char *)"forty \xFF two, at length"};
    turns[2] = (tq_turn){.speakers = TQ_BASE, .answer = true, .text = (char *)""};
    a->talk = (tq_dialogue){.turns = turns, .count = 3, .speakers = TQ_BOTH, .answering = 2};
    seen = (tq_inspected){.matrix = 0, .group = 128, .common = tq_inspect_common(a), .has_histogram = true};
    seen.histogram.range = 5;
    for (int b = 0; b < TQ_HIST_BINS; b++)
        seen.histogram.stored[b] = seen.histogram.rotated[b] = b < 32 ? 0.02 * b : 0.02 * (63 - b);
    a->cache[0] = &seen;
    a->said_count = 3;
    for (int i = 0; i < 3; i++)
        memset(a->said[i].text, 'm', sizeof a->said[i].text - 1);
    snprintf(a->question, sizeof a->question, "%0200d exists. Overwrite?", 1);
    return a;
}

static bool on_screen(const tq_canvas *c, const char *text) {
    for (int y = 0; y < c->rows; y++)
        if (strstr(row(c, y), text)) return true;
    return false;
}

/* Nothing known of matrices alone; something of some; with pins; and sorted. */
static void show_tuning(tq_app *a, int step) {
    double keys[64] = {0, 3, 1};
    for (size_t i = 0; i < a->tune.matrices; i++) {
        a->tune.felt[i] = step && i % 3 ? (tq_felt){1.23e-3 * (double)i, 6.1e-3} : (tq_felt){0};
        a->tune.pinned[i] = step > 1 && i % 4 == 0;
    }
    assert_true(a->tune.matrices <= sizeof keys / sizeof *keys);
    assert_true(tq_table_sort(&a->table, step > 2 ? keys : NULL));
}

/* Nothing of the menu covers something else of it, however many bit configs there are. */
static void check_choice(const tq_app *a) {
    for (int bits = 0; bits < TQ_BITS_COUNT; bits++) {
        char text[40];
        snprintf(text, sizeof text, "%5s  ", tq_bits_get((tq_bits)bits)->name);
        assert_true(on_screen(&a->canvas, text));
    }
    assert_true(on_screen(&a->canvas, "Enter choose   0"));
    assert_true(on_screen(&a->canvas, "group  32"));
}

/* Every overlay and every focus at every kind of size: nothing is written outside (sanitizers see it), the frame stays
 * whole, and no cell holds what a terminal must not get. */
static void every_screen_is_drawn(void **state) {
    static const int sizes[][2] = {{1, 1},    {20, 59},  {19, 60},  {20, 60},  {24, 80},   {25, 99},
                                   {30, 100}, {34, 120}, {40, 131}, {60, 200}, {100, 300}, {200, 500}};
    (void)state;
    tq_app *a = app_with_everything();
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (int what = 0; what < TQ_OVER_COUNT * 3 * 2 * 2; what++) {
            int rows = sizes[s][0], cols = sizes[s][1];
            a->overlay = (tq_overlay)(what % TQ_OVER_COUNT);
            a->focus = (tq_focus)(what / TQ_OVER_COUNT % 3);
            a->inspect_over = what / (3 * TQ_OVER_COUNT) % 2;
            a->canvas.ascii = what / (6 * TQ_OVER_COUNT);
            a->talk.scroll = a->scroll = (size_t)what;
            a->menu = (size_t)what % 3;
            tq_table_move(&a->table, what % 2 ? 7 : -5);
            show_tuning(a, what / (3 * TQ_OVER_COUNT));
            tq_draw_screen(a, rows, cols);
            assert_int_equal(a->canvas.rows, rows);
            for (int i = 0; i < rows * cols; i++) {
                wchar_t ch = a->canvas.cells[i].ch[0];
                assert_false(ch && (ch < 32 || ch == 127 || (a->canvas.ascii && ch > 127)));
            }
            if (rows < 20 || cols < 60) continue;
            if (a->overlay == TQ_OVER_CHOICE) check_choice(a);
            assert_true(a->canvas.cells[cols].ch[0] == (a->canvas.ascii ? L'+' : L'┌'));
            assert_true(a->canvas.cells[(rows - 1) * cols - 1].ch[0] == (a->canvas.ascii ? L'+' : L'┘'));
        }
    a->cache[0] = NULL;
    tq_tune_free(&a->tune);
    tq_points_free(&a->points);
    tq_lineedit_end();
    tq_draft_free(&a->draft);
    tq_table_free(&a->table);
    tq_canvas_free(&a->canvas);
    free(a->measured);
    free(a->targets);
    free(a);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--keys") == 0) {
        tq_actions_markdown(stdout);
        return 0;
    }
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_as_text),
        cmocka_unit_test(text_has_columns),
        cmocka_unit_test(text_is_clipped),
        cmocka_unit_test(ascii_where_there_is_no_more),
        cmocka_unit_test(lines_meet),
        cmocka_unit_test(text_is_wrapped),
        cmocka_unit_test(bars_and_sparklines),
        cmocka_unit_test(undo_and_redo),
        cmocka_unit_test(changed_since_it_was_saved),
        cmocka_unit_test(figures_belong_to_states),
        cmocka_unit_test(memory_of_a_plan),
        cmocka_unit_test(filters_and_marks),
        cmocka_unit_test(folds_and_moves),
        cmocka_unit_test(lines_are_edited),
        cmocka_unit_test(commands_are_completed),
        cmocka_unit_test(keys_are_bound_once),
        cmocka_unit_test(the_readme_has_these_keys),
        cmocka_unit_test(panels_have_their_places),
        cmocka_unit_test(every_screen_is_drawn),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
