/* test_tui.c - the explorer without a terminal: lines, actions, and every panel drawn at every size.
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

#include "tests/tui_sample.h"
#include "tui/actions.h"
#include "tui/app_internal.h"
#include "tui/keys.h"
#include "tui/overlay.h"
#include "tui/tune.h"

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
        {"export h", "export hf "},
        {"export tu", "export turboquant-model "},
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
    static tq_turn turns[3];
    static tq_inspected seen;
    tq_app *a = tq_sample_app();
    snprintf(a->name, sizeof a->name, "a-model-with-a-rather-long-name-for-a-narrow-terminal");
    assert_true(tq_draft_push(&a->draft, tq_sample_plan("*down*=4:row"), "0 linear_attn.in_proj_qkv keep → 4"));
    a->measured[5] = (tq_measured){.known = true,
                                   .spec = tq_plan_spec(tq_draft_plan(&a->draft), 5),
                                   .figures.distortion = {.rel_mse = 9.2e-3, .cosine = 1}};
    for (int i = 0; i < 9; i++) {
        tq_plan *tried = tq_sample_plan(i % 3 == 0 ? "*=4+2" : i % 3 == 1 ? "1.*=4t" : "2.*=4+4:row");
        tq_plan_set(tried, (size_t)i, (tq_choice){TQ_BITS_4, 64});
        tq_eval_result r = {.kld_mean = i ? 1e-4 * i * i : 0, .ppl = 12};
        assert_true(tq_points_add(&a->points, tq_sample_model(), tried, "3 linear_attn.in_proj_qkv keep → 4", i, &r));
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
        if (strstr(tq_sample_row(c, y), text)) return true;
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
            a->menu.at = (size_t)what % 3;
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
            int first = cols, last = (rows - 1) * cols - 1; /* of the frame: beside a page of text there is nothing */
            while (first < 2 * cols && a->canvas.cells[first].ch[0] == L' ')
                first++;
            while (last > first && a->canvas.cells[last].ch[0] == L' ')
                last--;
            assert_true(first == cols || tq_overlay_get(a->overlay)->page);
            assert_true(a->canvas.cells[first].ch[0] == (a->canvas.ascii ? L'+' : L'┌'));
            assert_true(a->canvas.cells[last].ch[0] == (a->canvas.ascii ? L'+' : L'┘'));
        }
    tq_sample_app_free(a);
}

int main(int argc, char **argv) {
    if (argc > 1 && strcmp(argv[1], "--keys") == 0) {
        tq_actions_markdown(stdout);
        return 0;
    }
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return 1;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_edited),         cmocka_unit_test(commands_are_completed),
        cmocka_unit_test(keys_are_bound_once),      cmocka_unit_test(the_readme_has_these_keys),
        cmocka_unit_test(panels_have_their_places), cmocka_unit_test(every_screen_is_drawn),
    };
    return cmocka_run_group_tests(tests, tq_sample_open, tq_sample_close);
}
