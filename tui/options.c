/* options.c - the table of options, the parser that goes over it, and the help that is made from it. */
#include "tui/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/completion.h"
#include "tui/help_text.h"
#include "tui/manual.h"
#include "tui/options_table.h"

/* --- values --- */

static bool parse_whole(const char *text, uint64_t max, uint64_t *out) {
    uint64_t n = 0;
    if (!*text) return false;
    for (const char *p = text; *p; p++) {
        if (*p < '0' || *p > '9') return false;
        uint64_t digit = (uint64_t)(*p - '0');
        if (n > (max - digit) / 10) return false;
        n = 10 * n + digit;
    }
    *out = n;
    return true;
}

static bool parse_size(const char *text, uint64_t lo, uint64_t hi, size_t *out) {
    uint64_t n;
    if (!parse_whole(text, hi, &n) || n < lo) return false;
    *out = (size_t)n;
    return true;
}

static bool parse_real(const char *text, double lo, double hi, float *out) {
    char *end = NULL;
    double v = strtod(text, &end);
    if (end == text || *end || !(v >= lo && v <= hi)) return false;
    *out = (float)v;
    return true;
}

/* Each takes a value over and says whether it could; the table says what would have been right. */
static bool take_plan(tq_options *o, const char *v) {
    o->plan = v;
    return *v != '\0';
}
static bool take_set(tq_options *o, const char *v) {
    const char **grown = realloc(o->rules, (o->n_rules + 1) * sizeof *grown);
    if (!grown) return false;
    o->rules = grown;
    o->rules[o->n_rules++] = v;
    return true;
}
static bool take_residual(tq_options *o, const char *v) {
    o->residual_given = true;
    return tq_residual_parse(v, &o->residual);
}
static bool take_rotation(tq_options *o, const char *v) {
    o->rotation_given = true;
    return tq_rotation_parse(v, &o->rotation);
}
static bool take_rotation_seed(tq_options *o, const char *v) {
    o->rotation_seed_given = true;
    return parse_whole(v, TQ_SEED_MAX, &o->rotation_seed);
}
static bool take_against(tq_options *o, const char *v) {
    o->against = v;
    return *v != '\0';
}
static bool take_states(tq_options *o, const char *v) {
    o->states = strcmp(v, "16") == 0 ? 16 : strcmp(v, "256") == 0 ? 256 : 0;
    return o->states != 0;
}
static bool take_calibrate(tq_options *o, const char *v) {
    o->calibrate_given = true;
    return tq_calibrate_parse(v, &o->calibrate);
}
static bool take_calib(tq_options *o, const char *v) {
    o->calib = v;
    return *v != '\0';
}
static bool take_calib_tokens(tq_options *o, const char *v) {
    return parse_size(v, TQ_CALIB_CTX, 1U << 30, &o->calib_options.tokens);
}
static bool take_lambda(tq_options *o, const char *v) {
    float lambda;
    if (!parse_real(v, 1e-6F, 100, &lambda)) return false;
    o->calib_options.lambda = (double)lambda;
    return true;
}
static bool take_ctx(tq_options *o, const char *v) {
    o->eval_given = true;
    return parse_size(v, 4, 1U << 24, &o->eval.ctx);
}
static bool take_tokens(tq_options *o, const char *v) {
    o->eval_given = true;
    return parse_size(v, 0, 1U << 30, &o->eval.tokens);
}
static bool take_score_half(tq_options *o, const char *v) {
    (void)v;
    return o->eval_given = o->eval.score_half = true;
}
static bool take_questions(tq_options *o, const char *v) {
    o->questions = v;
    return *v != '\0';
}
static bool take_prompt(tq_options *o, const char *v) {
    o->prompt = v;
    return *v != '\0';
}
static bool take_max_tokens(tq_options *o, const char *v) {
    return parse_size(v, 1, 1U << 24, &o->chat.max_tokens);
}
static bool take_temp(tq_options *o, const char *v) {
    return parse_real(v, 0, 100, &o->chat.sampling.temperature);
}
static bool take_think(tq_options *o, const char *v) {
    return tq_think_parse(v, &o->chat.think) && o->chat.think != TQ_THINK_DEFAULT;
}
static bool take_chat_template(tq_options *o, const char *v) {
    o->chat_template = v;
    return *v != '\0';
}
static bool take_top_k(tq_options *o, const char *v) {
    return parse_size(v, 1, 1U << 30, &o->chat.sampling.top_k);
}
static bool take_top_p(tq_options *o, const char *v) {
    return parse_real(v, 1e-6, 1, &o->chat.sampling.top_p);
}
static bool take_seed(tq_options *o, const char *v) {
    return parse_whole(v, UINT64_MAX, &o->chat.sampling.seed);
}
static bool take_base(tq_options *o, const char *v) {
    (void)v;
    return o->chat.base = true;
}
static bool take_format(tq_options *o, const char *v) {
    const tq_export_traits *format = tq_export_find(v);
    if (format) o->format = format->id;
    return format != NULL;
}
static bool take_out(tq_options *o, const char *v) {
    o->out = v;
    return *v != '\0';
}
static bool take_force(tq_options *o, const char *v) {
    (void)v;
    return o->force = true;
}
static bool take_shape(tq_options *o, const char *v) {
    size_t *out[] = {&o->shape.hidden, &o->shape.intermediate, &o->shape.blocks,
                     &o->shape.heads,  &o->shape.kv_heads,     &o->shape.vocab};
    static const uint64_t most[] = {1U << 16, 1U << 18, TQ_MAX_BLOCKS, 1U << 10, 1U << 10, 1U << 20};
    char part[24];
    for (size_t i = 0; i < sizeof out / sizeof *out; i++) {
        size_t n = strcspn(v, ",");
        if (n >= sizeof part) return false;
        memcpy(part, v, n);
        part[n] = '\0';
        if (!parse_size(part, 1, most[i], out[i])) return false;
        v += n + (v[n] == ',');
    }
    return *v == '\0' && o->shape.hidden % o->shape.heads == 0 && o->shape.heads % o->shape.kv_heads == 0 &&
           o->shape.hidden / o->shape.heads % 2 == 0;
}
static bool take_head(tq_options *o, const char *v) {
    const tq_bits_traits *bits = tq_bits_find(v);
    o->head_given = bits != NULL;
    if (bits) o->head = bits->id;
    return bits != NULL;
}
static bool take_rounds(tq_options *o, const char *v) {
    return parse_size(v, 1, 64, &o->rounds);
}
static bool take_fast(tq_options *o, const char *v) {
    (void)v;
    return o->eval.fast = true;
}
static bool take_exact(tq_options *o, const char *v) {
    (void)v;
    return o->exact = true;
}
static bool take_json(tq_options *o, const char *v) {
    (void)v;
    return o->json = true;
}
static bool take_threads(tq_options *o, const char *v) {
    size_t n;
    if (!parse_size(v, 1, 1024, &n)) return false;
    o->threads = (int)n;
    return true;
}
static bool take_cpu(tq_options *o, const char *v) {
    static const char *const names[] = {"auto", "scalar", "avx2",         "avx-vnni", "avx512",
                                        "amx",  "neon",   "neon-dotprod", "neon-i8mm"};
    o->cpu = v;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(v, names[i]) == 0) return true;
    return false;
}

/* --- tables --- */

#define IN(command) (1U << (command))
#define EVERY (IN(TQ_CMD_COUNT) - 1)
#define PLANNED (EVERY & ~IN(TQ_CMD_AUTO)) /* auto makes the plan */
#define CODED (EVERY & ~IN(TQ_CMD_SWEEP))  /* a sweep has plain codes */
#define TUNED (IN(TQ_CMD_SWEEP) | IN(TQ_CMD_AUTO))
#define MEASURED (IN(TQ_CMD_EXPLORE) | IN(TQ_CMD_EVAL) | IN(TQ_CMD_EXPORT) | IN(TQ_CMD_AUTO))
#define ANSWERS (IN(TQ_CMD_CHAT) | IN(TQ_CMD_COMPARE))
#define BATCH (EVERY & ~IN(TQ_CMD_EXPLORE))

const tq_option tq_option_table[] = {
    {"plan", "FILE", PLANNED, false, take_plan, "a saved plan", "a file name"},
    {"set", "GLOB=BITS[:GROUP]", PLANNED, true, take_set,
     "bits (keep, 4, 4t, 4+2, 4+4) and group (32 to 512, row) of the matrices\n"
     "that GLOB matches; repeatable, later ones win; without GROUP a\n"
     "matrix keeps its group (128 at first). GLOB matches the full name,\n"
     "the label (mlp.down_proj) or BLOCK.label (3.mlp.down_proj); '*'\n"
     "crosses dots",
     "GLOB=BITS[:GROUP]"},
    {"residual", "KIND", EVERY, false, take_residual, "nested (default) or independent", "nested or independent"},
    {"rotation", "KIND", EVERY, false, take_rotation, "hadamard (default), qr or none", "hadamard, qr or none"},
    {"rotation-seed", "N", EVERY, false, take_rotation_seed, "of the random signs or matrix (default 42)",
     "a whole number up to 10^15"},
    {"seed", "N", EVERY & ~(ANSWERS | IN(TQ_CMD_EXPLORE)), false, take_rotation_seed, "the same as --rotation-seed",
     "a whole number up to 10^15"},
    {"states", "N", CODED, false, take_states, "of the encoder of 4t: 16 (default), or 256, more faithful and slower",
     "16 or 256"},
    {"calibrate", "MODE", CODED, false, take_calibrate,
     "none (default); ldlq: codes found with error feedback under the\n"
     "inputs that a text gives; ldlq-asym: under those that the quantized\n"
     "layers before produce",
     "none, ldlq or ldlq-asym"},
    {"calib", "FILE", EVERY, false, take_calib,
     "the text to calibrate on (default for the sample model: its calib.txt)", "a file name"},
    {"calib-tokens", "N", CODED, false, take_calib_tokens, "at most so many tokens of it (default 65536)",
     "a whole number from 512"},
    {"lambda", "X", CODED, false, take_lambda,
     "shrinkage of the second moments, of their mean diagonal (default 0.025)", "a number from 0.000001 to 100"},
    {"text", "FILE", TUNED, false, tq_take_text, "what to evaluate (default for the sample model: its eval.txt)",
     "a file name"},
    {"text", "FILE", IN(TQ_CMD_EVAL) | IN(TQ_CMD_EXPLORE), true, tq_take_text,
     "what to evaluate (default for the sample model: its eval.txt); given\n"
     "again, texts that are held out beside it, and the tuning text (that of\n"
     "--tune-text, or --calib) is evaluated too",
     "a file name, at most 7 times"},
    {"before", "PLAN", IN(TQ_CMD_EVAL), false, tq_take_before,
     "also the change from this plan on every text: a warning when only the\ntuning text improves", "a file name"},
    {"text", "FILE", IN(TQ_CMD_EXPORT), false, tq_take_text, "evaluate on this text first, figures go into the plan",
     "a file name"},
    {"ctx", "N", MEASURED | TUNED, false, take_ctx, "tokens a window (default 512)", "a whole number from 4"},
    {"tokens", "N", MEASURED, false, take_tokens, "at most so many tokens of the text (default 4096, 0: all)",
     "a whole number"},
    {"score-half", NULL, MEASURED, false, take_score_half, "score the second half of each window alone", NULL},
    {"against", "MODEL", IN(TQ_CMD_EVAL), false, take_against,
     "measure against this model of the same sizes (default: MODEL as stored),\n"
     "as for a checkpoint that another program quantized",
     "a model"},
    {"fast", NULL, IN(TQ_CMD_EVAL), false, take_fast,
     "the plan in bf16 arithmetic, where the machine has it (default: fp32)", NULL},
    {"questions", "FILE", IN(TQ_CMD_EVAL), false, take_questions,
     "ask these too (JSON lines of prompt or messages, and answer) and count\nthe exact answers", "a file name"},
    {"questions", "FILE", IN(TQ_CMD_EXPLORE), false, take_questions,
     "questions that are asked after each evaluation (default for the sample\nmodel with its own text: its "
     "questions.jsonl), or none",
     "a file name, or none"},
    {"worst", "N", IN(TQ_CMD_EVAL), false, tq_take_worst,
     "the N tokens of the highest KLD (at most 64), the text around each, and\nwhat both sides predict there",
     "a whole number from 1 to 64"},
    {"explain", NULL, IN(TQ_CMD_EVAL), false, tq_take_explain, "find the layers that do it for each of these", NULL},
    {"size", "BYTES", IN(TQ_CMD_AUTO), false, tq_take_target_size, "the target: bytes of the whole model, as in 400MiB",
     "a size such as 400MiB"},
    {"bpw", "X", IN(TQ_CMD_AUTO), false, tq_take_target_bpw,
     "or bits a weight over the blocks' matrices, scales included", "a number from 1 to 64"},
    {"kld", "X", IN(TQ_CMD_AUTO), false, tq_take_target_kld, "or a KL divergence, for as few bytes as can be",
     "a number from 0 to 100"},
    {"pin", "GLOB=BITS[:GROUP]", IN(TQ_CMD_AUTO), true, tq_take_pin,
     "these matrices have this config, the others are chosen; repeatable", "GLOB=BITS[:GROUP]"},
    {"ends", NULL, IN(TQ_CMD_AUTO), false, tq_take_ends,
     "choose for embedding and output head too (default: as the plan\nhas them); bits/weight are then over these as "
     "well",
     NULL},
    {"config", "BITS[:GROUP]", IN(TQ_CMD_SWEEP), true, tq_take_config,
     "measure every matrix at this (default 4t, 4+2 and 4+4); repeatable", "4, 4t, 4+2 or 4+4, and a group"},
    {"tune-text", "FILE", IN(TQ_CMD_EVAL), false, tq_take_tune_text,
     "the text that the plan was tuned on: evaluated beside the others", "a file name"},
    {"tune-text", "FILE", IN(TQ_CMD_EXPLORE) | TUNED, false, tq_take_tune_text,
     "compare matrices on this text (default: that of --calib, else the one\n"
     "that is evaluated)",
     "a file name"},
    {"tune-tokens", "N", IN(TQ_CMD_EXPLORE) | TUNED, false, tq_take_tune_tokens,
     "at most so many tokens of it (default 2048)", "a whole number from 4"},
    {"a", "SIDE", IN(TQ_CMD_COMPARE), false, tq_take_side_a,
     "one side: base (the model as stored; the default), plan (what the other\n"
     "options say), or a saved plan",
     "base, plan or a file name"},
    {"b", "SIDE", IN(TQ_CMD_COMPARE), false, tq_take_side_b, "the other side (default plan)",
     "base, plan or a file name"},
    {"explain", NULL, IN(TQ_CMD_COMPARE), false, tq_take_explain,
     "find the layers that make the first token that differs differ", NULL},
    {"prompt", "TEXT", IN(TQ_CMD_CHAT), false, take_prompt, "answer this and stop (default: a conversation)", "a text"},
    {"prompt", "TEXT", IN(TQ_CMD_COMPARE), false, take_prompt, "what both sides answer", "a text"},
    {"max-tokens", "N", ANSWERS, false, take_max_tokens, "at most so many tokens an answer (default 256)",
     "a whole number from 1"},
    {"temp", "T", ANSWERS, false, take_temp, "temperature (default 0: the likeliest token)", "a number from 0"},
    {"top-k", "N", ANSWERS, false, take_top_k, "sample among the N likeliest", "a whole number from 1"},
    {"top-p", "P", ANSWERS, false, take_top_p, "sample among the likeliest that make up P",
     "a number above 0, at most 1"},
    {"think", "on|off", ANSWERS | IN(TQ_CMD_EXPLORE), false, take_think,
     "thoughts before the answer, where the chat template offers that\n(default: as the template has it)", "on or off"},
    {"chat-template", "FILE", ANSWERS | IN(TQ_CMD_EXPLORE) | IN(TQ_CMD_EVAL), false, take_chat_template,
     "a Jinja template instead of the model's", "a file name"},
    {"seed", "N", ANSWERS, false, take_seed, "of the sampling (default 0); the plan's is --rotation-seed",
     "a whole number"},
    {"base", NULL, IN(TQ_CMD_CHAT), false, take_base, "the model as stored", NULL},
    {"format", "FORMAT", IN(TQ_CMD_EXPORT), false, take_format, TQ_EXPORT_LINES, TQ_EXPORT_NAMES},
    {"out", "PATH", IN(TQ_CMD_EXPORT), false, take_out, "a directory for tq, hf and turboquant-model, else a file",
     "a path"},
    {"out", "FILE", IN(TQ_CMD_AUTO), false, take_out, "save the plan there", "a path"},
    {"force", NULL, IN(TQ_CMD_EXPORT) | IN(TQ_CMD_AUTO), false, take_force, "overwrite an earlier one", NULL},
    {"shape", "H,F,B,A,K,V", IN(TQ_CMD_BENCH), false, take_shape,
     "without MODEL: a Llama of random weights, hidden, feed-forward, blocks,\n"
     "heads, KV heads, vocabulary (default 1024,3072,12,16,8,8192)",
     "six whole numbers, hidden divisible by heads into even parts, heads by KV heads"},
    {"head", "BITS", IN(TQ_CMD_BENCH), false, take_head,
     "of the output head (default: 4+4 beside packed matrices, else keep)", "keep, 4, 4t, 4+2 or 4+4"},
    {"rounds", "N", IN(TQ_CMD_BENCH), false, take_rounds,
     "measure everything so many times in turn, and take medians (default 1)", "a whole number from 1 to 64"},
    {"exact", NULL, IN(TQ_CMD_EXPLORE) | IN(TQ_CMD_CHAT) | IN(TQ_CMD_BENCH), false, take_exact,
     "answers in fp32 (default: 14-bit integers; a prompt in bf16)", NULL},
    {"resume", NULL, IN(TQ_CMD_EXPLORE), false, tq_take_resume,
     "go on with the session of before without asking; every change is\nkept, and the next start offers to resume",
     NULL},
    {"no-resume", NULL, IN(TQ_CMD_EXPLORE), false, tq_take_no_resume, "begin anew; the session of before is kept aside",
     NULL},
    {"session", "FILE", IN(TQ_CMD_EXPLORE), false, tq_take_session, "go on with this session, such as one kept aside",
     "a file name"},
    {"scheme", "NAME", IN(TQ_CMD_EXPLORE), false, tq_take_scheme,
     "colours: plain (default), contrast, blue-orange (for eyes that do\nnot tell red from green), mono; the "
     "background is the terminal's own",
     "plain, contrast, blue-orange or mono"},
    {"ascii", NULL, IN(TQ_CMD_EXPLORE), false, tq_take_ascii, "no other characters (default: as the locale says)",
     NULL},
    {"no-mouse", NULL, IN(TQ_CMD_EXPLORE), false, tq_take_no_mouse, "leave the mouse to the terminal", NULL},
    {"json", NULL, BATCH, false, take_json, "machine-readable output", NULL},
    {"threads", "N", EVERY, false, take_threads, "default: the physical cores", "a whole number from 1 to 1024"},
    {"cpu", "NAME", EVERY, false, take_cpu,
     "kernels: scalar, avx2, avx-vnni, avx512, amx, neon (default: the best\nthere is)",
     "auto, scalar, avx2, avx-vnni, avx512, amx, neon, neon-dotprod or neon-i8mm"},
    {"memory", "BYTES", IN(TQ_CMD_EVAL) | IN(TQ_CMD_EXPLORE) | TUNED, false, tq_take_memory,
     "plan for a machine with so much (default: this one's); a model larger\nthan half of it is streamed",
     "a size such as 8GiB"},
    {"completion", "SHELL", IN(TQ_CMD_EXPLORE), false, tq_take_completion, "print the completion for that shell",
     "bash, zsh or fish"},
    {"man", NULL, IN(TQ_CMD_EXPLORE), false, NULL, "print the manual page", NULL},
    {"help", NULL, EVERY, false, NULL, "this", NULL},
    {"version", NULL, EVERY, false, NULL, "the version", NULL},
    {0},
};

const tq_command_row tq_command_table[TQ_CMD_COUNT] = {
    [TQ_CMD_EXPLORE] = {"", "[MODEL]", "open the explorer (without MODEL: the sample model)", false},
    [TQ_CMD_LAYERS] = {"layers", "MODEL", "every quantizable matrix: shape, bits, group, distortion, bytes", true},
    [TQ_CMD_EVAL] = {"eval", "MODEL", "perplexity and KL divergence against the model as stored", true},
    [TQ_CMD_CHAT] = {"chat", "MODEL", "talk to the quantized model", true},
    [TQ_CMD_EXPORT] = {"export", "MODEL", "write the plan or the quantized model", true},
    [TQ_CMD_SWEEP] = {"sweep", "MODEL", "measure what each matrix costs alone, goes on where it was", true},
    [TQ_CMD_AUTO] = {"auto", "MODEL", "the plan of the least divergence within a size, or of the least size", true},
    [TQ_CMD_COMPARE] = {"compare", "MODEL", "two answers to one prompt, where they part, and which layers do it", true},
    [TQ_CMD_BENCH] = {"bench", "[MODEL]", "encode, decode and prefill beside the machine's read bandwidth", false},
};

/* --- parsing --- */

typedef struct argument {
    const tq_option *option;
    const char *value;
} argument;

static const tq_option *find_option(const char *name, size_t n, unsigned commands) {
    for (const tq_option *p = tq_option_table; p->name; p++)
        if (strlen(p->name) == n && memcmp(p->name, name, n) == 0 && (p->commands & commands)) return p;
    return NULL;
}

static tq_command find_command(const char *word) {
    for (int c = TQ_CMD_EXPLORE + 1; c < TQ_CMD_COUNT; c++)
        if (strcmp(word, tq_command_table[c].name) == 0) return (tq_command)c;
    return TQ_CMD_EXPLORE;
}

/* Is the argument at i, "--name" or "--name=value", followed by its value? All options of one name agree on that. */
static bool value_follows(const char *arg) {
    const tq_option *o = strchr(arg, '=') ? NULL : find_option(arg + 2, strlen(arg + 2), ~0U);
    return o && o->arg;
}

/* The command is the first word that is no option. */
static tq_command scan_command(int argc, char **argv, int *at) {
    *at = 0;
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            i += value_follows(argv[i]);
        } else if (argv[i][0] != '-') {
            tq_command c = find_command(argv[i]);
            *at = c == TQ_CMD_EXPLORE ? 0 : i;
            return c;
        }
    }
    return TQ_CMD_EXPLORE;
}

static int take_option(tq_options *o, const tq_option *row, const char *value, unsigned char *seen, tq_err *err) {
    size_t at = (size_t)(row - tq_option_table);
    if (seen[at] && !row->repeatable) return tq_fail(err, "--%s is given twice", row->name);
    seen[at] = 1;
    if (row->take && !row->take(o, value))
        return tq_fail(err, "--%s %.80s: expected %s", row->name, value ? value : "", row->expected);
    return TQ_OK;
}

/* An option at argv[*i]; *i moves on to its value. `shown` becomes "help" or "version" when that is asked for. */
static int parse_option(int argc, char **argv, int *i, tq_options *o, unsigned char *seen, const char **shown,
                        tq_err *err) {
    const char *name = argv[*i] + 2, *value = strchr(name, '=');
    size_t n = value ? (size_t)(value - name) : strlen(name);
    const char *command = tq_command_table[o->command].name;
    const tq_option *row = find_option(name, n, IN(o->command));
    if (!row && find_option(name, n, ~0U))
        return tq_fail(err, "--%.*s is no option of %s", (int)n, name, *command ? command : "the explorer");
    if (!row) return tq_fail(err, "unknown option --%.*s", (int)(n < 60 ? n : 60), name);
    if (value && !row->arg) return tq_fail(err, "--%s takes no value", row->name);
    if (value) value++;
    if (!value && row->arg) {
        if (*i + 1 >= argc) return tq_fail(err, "--%s: expected %s", row->name, row->expected);
        value = argv[++*i];
    }
    if (!row->take) *shown = row->name;
    return take_option(o, row, value, seen, err);
}

static int parse_words(int argc, char **argv, tq_options *o, const char **shown, tq_err *err) {
    unsigned char seen[sizeof tq_option_table / sizeof *tq_option_table] = {0};
    int command_at;
    bool options = true;
    o->command = scan_command(argc, argv, &command_at);
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (i == command_at) continue;
        if (options && strcmp(arg, "--") == 0) {
            options = false;
        } else if (options && strcmp(arg, "-h") == 0) {
            *shown = "help";
        } else if (options && strncmp(arg, "--", 2) == 0) {
            if (parse_option(argc, argv, &i, o, seen, shown, err) != TQ_OK) return TQ_FAIL;
        } else if (options && arg[0] == '-' && arg[1]) {
            return tq_fail(err, "unknown option %.60s", arg);
        } else if (o->model) {
            return o->command == TQ_CMD_EXPLORE && access(o->model, F_OK) != 0
                       ? tq_fail(err, "%.80s: no command and no model", o->model)
                       : tq_fail(err, "one argument too many: %.80s", arg);
        } else {
            o->model = arg;
        }
    }
    return TQ_OK;
}

bool tq_options_has_plan(const tq_options *o) {
    return o->plan || o->n_rules || o->residual_given || o->rotation_given || o->rotation_seed_given || o->states ||
           o->calibrate_given;
}

/* Settings that would have no effect together, and what a command cannot do without. */
static int check_together(tq_options *o, tq_err *err) {
    const tq_command_row *row = &tq_command_table[o->command];
    if (row->needs_model && !o->model) return tq_fail(err, "%s: MODEL is missing", row->name);
    if (o->command == TQ_CMD_EXPORT && !o->out) return tq_fail(err, "export: --out PATH is missing");
    if (o->command == TQ_CMD_EXPORT && o->format == TQ_EXPORT_COUNT)
        return tq_fail(err, "export: --format is missing: " TQ_EXPORT_NAMES);
    if (o->command == TQ_CMD_EXPORT && !o->text && (o->eval.ctx != 512 || o->eval.tokens != 4096 || o->eval.score_half))
        return tq_fail(err, "export: --ctx, --tokens and --score-half need --text");
    if (o->command == TQ_CMD_CHAT && o->json && !o->prompt) return tq_fail(err, "chat: --json needs --prompt");
    if (o->chat.base && tq_options_has_plan(o)) return tq_fail(err, "chat: --base takes no plan");
    if (o->chat.sampling.temperature == 0.0F && (o->chat.sampling.top_k || o->chat.sampling.top_p < 1.0F))
        return tq_fail(err, "%s: --top-k and --top-p need --temp above 0", row->name);
    for (size_t i = 0; i < o->n_rules; i++)
        if (tq_plan_rule_check(o->rules[i], err) != TQ_OK) return TQ_FAIL;
    if (o->calibrate_given && o->calibrate != TQ_CALIBRATE_NONE && o->residual_given &&
        o->residual != TQ_RESIDUAL_NESTED)
        return tq_fail(err, "--calibrate needs --residual nested");
    if (tq_check_tuning(o, err) != TQ_OK || tq_check_compare(o, tq_options_has_plan(o), err) != TQ_OK) return TQ_FAIL;
    if (tq_check_explorer(o, err) != TQ_OK) return TQ_FAIL;
    if (o->shape.hidden && o->model) return tq_fail(err, "bench: --shape is for a bench without MODEL");
    return TQ_OK;
}

static int find_model(tq_options *o, tq_err *err) {
    o->sample_dir = tq_find_sample();
    if (o->model || o->command != TQ_CMD_EXPLORE) return TQ_OK;
    if (!o->sample_dir)
        return tq_fail(err, "no MODEL is given, and the sample model is not in " TQ_DATADIR "/samples/" TQ_SAMPLE);
    o->model = o->sample_dir;
    o->sample = true;
    return TQ_OK;
}

tq_parsed tq_options_parse(int argc, char **argv, tq_options *o, tq_err *err) {
    const char *shown = NULL;
    *o = (tq_options){
        .format = TQ_EXPORT_COUNT,
        .eval = {.ctx = 512, .tokens = 4096},
        .chat = {.max_tokens = 256, .sampling = {.top_p = 1.0F}},
        .rotation_seed = TQ_SEED_DEFAULT,
    };
    if (parse_words(argc, argv, o, &shown, err) != TQ_OK) return TQ_PARSED_USAGE;
    if (o->completion) {
        tq_print_completion(stdout, o->completion);
        return TQ_PARSED_DONE;
    }
    if (shown) {
        if (strcmp(shown, "help") == 0)
            tq_print_help(stdout, o->command);
        else if (strcmp(shown, "man") == 0)
            tq_print_man(stdout);
        else
            printf("tqexplore %s\n", TQ_VERSION);
        return TQ_PARSED_DONE;
    }
    if (check_together(o, err) != TQ_OK || find_model(o, err) != TQ_OK) return TQ_PARSED_USAGE;
    return TQ_PARSED_RUN;
}

void tq_options_free(tq_options *o) {
    free(o->rules);
    free(o->configs);
    free(o->pins);
    free(o->sample_dir);
    *o = (tq_options){0};
}
