/* test_tui_keep.c - what a session keeps, as JSON and back, and from strangers; the manual page and the completions
 * have every option and action. */
#include <locale.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "tests/tui_sample.h"
#include "tui/actions.h"
#include "tui/completion.h"
#include "tui/keep_json.h"
#include "tui/manual.h"
#include "tui/options_table.h"

static unsigned seed;

/* Through its text, as a file has it. */
static cJSON *through_text(cJSON *o) {
    assert_non_null(o);
    char *text = cJSON_PrintUnformatted(o);
    cJSON_Delete(o);
    assert_non_null(text);
    assert_null(strchr(text, '\n'));
    cJSON *again = cJSON_Parse(text);
    cJSON_free(text);
    assert_non_null(again);
    return again;
}

static void plans_there_and_back(void **state) {
    static const char *const rules[] = {"*=keep", "*=4", "0.*=4+4:row", "*down*=4+2:32", "*mlp*=4t:64"};
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        tq_plan *p = tq_sample_plan(rules[i]);
        tq_common common = {
            .residual = TQ_RESIDUAL_INDEPENDENT, .rotation = TQ_ROTATION_QR, .seed = TQ_SEED_MAX, .states = 256};
        if (i % 2) tq_plan_set_common(p, &common);
        cJSON *o = through_text(tq_plan_pack(p));
        tq_plan *again = tq_plan_unpack(tq_sample_model(), o);
        assert_non_null(again);
        assert_true(tq_plans_equal(tq_sample_model(), p, again));
        cJSON_Delete(o);
        tq_plan_free(p);
        tq_plan_free(again);
    }
}

static void states_points_and_turns(void **state) {
    tq_eval_result r = {
        .tokens = 504, .windows = 8, .ppl = 17.25, .ppl_base = 1.0 / 3, .kld_mean = 1e-300, .kld_max = NAN};
    tq_state s = {.plan = tq_sample_plan("*=4"), .what = "0 q_proj keep → 4 \xE2\x86", .eval = r, .eval_known = true},
             s2;
    tq_point p = {.plan = s.plan, .name = "a \"name\"\n", .named = true, .seconds = 12.5, .eval = r}, p2;
    p.texts[p.n_texts++] = (tq_point_text){"code.txt", 0.1, 0.3};
    tq_turn t = {.speakers = TQ_PLAN, .answer = true, .text = (char *)"tab\t \xFF 量", .stats = {.tokens = 3}}, t2;
    (void)state;
    cJSON *o = through_text(tq_state_pack(&s, 0));
    assert_true(tq_state_unpack(tq_sample_model(), o, &s2));
    assert_string_equal(s2.what, "0 q_proj keep → 4 ??"); /* a text that was cut in the middle of a character */
    assert_true(s2.eval_known && s2.eval.ppl_base == r.ppl_base && s2.eval.kld_mean == r.kld_mean &&
                isnan(s2.eval.kld_max) && s2.eval.tokens == 504);
    assert_true(tq_plans_equal(tq_sample_model(), s.plan, s2.plan));
    cJSON_Delete(o);
    o = through_text(tq_point_pack(&p));
    assert_true(tq_point_unpack(tq_sample_model(), o, &p2));
    assert_int_equal(p2.n_texts, 1);
    assert_memory_equal(p2.texts, p.texts, sizeof p.texts[0]);
    assert_string_equal(p2.name, p.name);
    assert_true(p2.named && p2.seconds == 12.5 && p2.eval.windows == 8);
    cJSON_Delete(o);
    o = through_text(tq_turn_pack(&t));
    assert_true(tq_turn_unpack(o, &t2));
    assert_string_equal(t2.text, "tab\t ? 量");
    assert_true(t2.answer && t2.ended && t2.stopped); /* nobody answers any more */
    cJSON_Delete(o);
    tq_plan_free(s.plan);
    tq_plan_free(s2.plan);
    tq_plan_free(p2.plan);
    free(t2.text);
}

#define COMMON                                                                                                         \
    "{\"residual\":\"nested\",\"rotation\":\"hadamard\",\"seed\":42,\"states\":16,\"calibrate\":\"none\",\"choices\":"

static void hostile_plans_are_refused(void **state) {
    static const char *const bad[] = {
        "null",
        "[]",
        "\"4:128*51\"",
        "{}",
        COMMON "7}",
        COMMON "\"\"}",
        COMMON "\"4:128*50\"}",
        COMMON "\"4:128*52\"}",
        COMMON "\"4:128*0 4:128*51\"}",
        COMMON "\"4:128*999999999999999999999\"}",
        COMMON "\"4:128*-1\"}",
        COMMON "\"4:100*51\"}",
        COMMON "\"5:128*51\"}",
        COMMON "\"4:128*51 \"}",
        COMMON "\"4:128*51x\"}",
        COMMON "\"4:128*25  4:128*26\"}",
        "{\"residual\":\"nested\",\"rotation\":\"hadamard\",\"seed\":-1,\"states\":16,\"calibrate\":\"none\","
        "\"choices\":\"4:128*51\"}",
        "{\"residual\":\"nested\",\"rotation\":\"hadamard\",\"seed\":1e99,\"states\":16,\"calibrate\":\"none\","
        "\"choices\":\"4:128*51\"}",
        "{\"residual\":\"nested\",\"rotation\":\"hadamard\",\"seed\":1,\"states\":17,\"calibrate\":\"none\","
        "\"choices\":\"4:128*51\"}",
        "{\"residual\":\"nested\",\"rotation\":3,\"seed\":1,\"states\":16,\"calibrate\":\"none\",\"choices\":\"4:128*"
        "51\"}",
    };
    (void)state;
    cJSON *good = cJSON_Parse(COMMON "\"4:128*50 keep:row*1\"}");
    tq_plan *p = tq_plan_unpack(tq_sample_model(), good);
    assert_non_null(p);
    tq_plan_free(p);
    cJSON_Delete(good);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cJSON *o = cJSON_Parse(bad[i]);
        if (tq_plan_unpack(tq_sample_model(), o)) fail_msg("%s is taken", bad[i]);
        cJSON_Delete(o);
    }
}

static void flags_are_checked(void **state) {
    static const struct {
        const char *json;
        bool good;
    } table[] = {{"{\"f\":[]}", true},
                 {"{\"f\":[0,2]}", true},
                 {"{\"f\":[3]}", false},
                 {"{\"f\":[0,0]}", false},
                 {"{\"f\":[-1]}", false},
                 {"{\"f\":[0.5]}", false},
                 {"{\"f\":[1e99]}", false},
                 {"{\"f\":{}}", false},
                 {"{\"f\":[\"0\"]}", false},
                 {"{}", false},
                 {"[]", false}};
    bool flags[3];
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cJSON *o = cJSON_Parse(table[i].json);
        assert_non_null(o);
        assert_int_equal(tq_take_flags(o, "f", flags, 3), table[i].good);
        cJSON_Delete(o);
    }
}

/* Bytes changed at random: whatever still is JSON is taken or refused, and never more (sanitizers see it). */
static void changed_values_do_no_harm(void **state) {
    tq_eval_result r = {.tokens = 504, .ppl = 17.25};
    tq_plan *plan = tq_sample_plan("*mlp*=4");
    tq_point p = {.plan = plan, .name = "x", .eval = r, .n_texts = 2, .texts = {{"a", 1, 2}, {"b", 3, 4}}};
    tq_turn t = {.speakers = TQ_BASE, .text = (char *)"hello"};
    (void)state;
    for (int i = 0; i < 3000; i++) {
        cJSON *packed = i % 3 ? tq_point_pack(&p) : tq_turn_pack(&t);
        char *text = cJSON_PrintUnformatted(packed);
        assert_non_null(text);
        for (int k = rand() % 3 + 1; k > 0; k--)
            text[(size_t)rand() % strlen(text)] = "0123456789-+.eE\"{}[]:,xk* \xFF"[rand() % 27];
        cJSON *o = cJSON_Parse(text);
        tq_point again = {0};
        tq_turn turn = {0};
        if (i % 3)
            (void)tq_point_unpack(tq_sample_model(), o, &again);
        else
            (void)tq_turn_unpack(o, &turn);
        tq_plan_free(again.plan);
        free(turn.text);
        cJSON_Delete(o);
        cJSON_Delete(packed);
        cJSON_free(text);
    }
    tq_plan_free(plan);
}

static char *printed(void (*print)(FILE *f, const char *arg), const char *arg) {
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    assert_non_null(f);
    print(f, arg);
    assert_int_equal(fclose(f), 0);
    return text;
}

static void print_man(FILE *f, const char *arg) {
    (void)arg;
    tq_print_man(f);
}

/* As roff writes it. */
static bool man_has(const char *man, const char *text) {
    char *escaped = calloc(8, strlen(text) + 1), *end = escaped;
    assert_non_null(escaped);
    for (; *text; text++)
        end += sprintf(end,
                       *text == '-'    ? "\\-"
                       : *text == '^'  ? "\\(ha"
                       : *text == '\'' ? "\\(aq"
                       : *text == '\n' ? " "
                                       : "%c",
                       *text);
    bool has = strstr(man, escaped) != NULL;
    free(escaped);
    return has;
}

static void documents_have_everything(void **state) {
    static const char *const shells[] = {"bash", "zsh", "fish"};
    char *man = printed(print_man, NULL), name[64];
    size_t n;
    const tq_action *actions = tq_actions(&n);
    (void)state;
    for (size_t i = 0; i < n; i++)
        if (!man_has(man, actions[i].help)) fail_msg("the manual page does not have the action %s", actions[i].name);
    for (size_t i = 0; i < tq_commands_help_count; i++)
        assert_true(man_has(man, tq_commands_help[i]));
    for (const tq_option *o = tq_option_table; o->name; o++) {
        snprintf(name, sizeof name, "--%s", o->name);
        if (!man_has(man, name) || !man_has(man, o->help)) fail_msg("the manual page does not have %s", name);
    }
    for (size_t s = 0; s < sizeof shells / sizeof *shells; s++) {
        assert_true(tq_completion_known(shells[s]));
        char *text = printed(tq_print_completion, shells[s]);
        for (const tq_option *o = tq_option_table; o->name; o++) {
            snprintf(name, sizeof name, s == 2 ? " -l %s " : "--%s", o->name);
            if (!strstr(text, name)) fail_msg("%s does not complete --%s", shells[s], o->name);
        }
        for (int c = 1; c < TQ_CMD_COUNT; c++)
            assert_non_null(strstr(text, tq_command_table[c].name));
        assert_non_null(strstr(text, "hadamard qr none"));
        free(text);
    }
    assert_false(tq_completion_known("tcsh"));
    free(man);
}

int main(int argc, char **argv) {
    if (!setlocale(LC_CTYPE, "C.UTF-8")) return 1;
    seed = argc > 2 && strcmp(argv[1], "--seed") == 0 ? (unsigned)strtoul(argv[2], NULL, 10) : (unsigned)time(NULL);
    printf("--seed %u\n", seed);
    srand(seed);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_there_and_back),      cmocka_unit_test(states_points_and_turns),
        cmocka_unit_test(hostile_plans_are_refused), cmocka_unit_test(flags_are_checked),
        cmocka_unit_test(changed_values_do_no_harm), cmocka_unit_test(documents_have_everything),
    };
    return cmocka_run_group_tests(tests, tq_sample_open, tq_sample_close);
}
