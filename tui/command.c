/* command.c - the ':' line: what the command line takes, while the explorer runs. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <readline/readline.h>

#include "tui/app_internal.h"
#include "tui/tune.h"

static void cmd_set(tq_app *a, char *arg) {
    tq_err err;
    if (!tq_edit_rule(a, arg, &err)) tq_say(a, TQ_REFUSES, "%s", err.msg);
}

static void cmd_load(tq_app *a, char *arg) {
    tq_worker_load(a->worker, arg);
}

static void cmd_save(tq_app *a, char *arg) {
    a->pending = TQ_JOB_SAVE;
    tq_worker_save(a->worker, arg, false);
}

static void cmd_export(tq_app *a, char *arg) {
    char *path = strchr(arg, ' ');
    if (path) *path++ = '\0';
    const tq_export_traits *format = tq_export_find(arg);
    if (!path || !format) {
        tq_say(a, TQ_REFUSES, "export: expected " TQ_EXPORT_NAMES ", and a path");
        return;
    }
    a->export_format = format->id;
    a->pending = TQ_JOB_EXPORT;
    tq_worker_export(a->worker, a->export_format, path + strspn(path, " "), false);
}

/* "sample": the text that comes with the sample model, so that a model of one's own can be measured at once. */
static void cmd_text(tq_app *a, char *arg) {
    bool more = *arg == '+';
    const char *path = more ? arg + 1 + strspn(arg + 1, " ") : arg;
    char *sample = strcmp(path, "sample") == 0 ? tq_find_sample_text() : NULL;
    (more ? tq_worker_add_text : tq_worker_text)(a->worker, sample ? sample : path);
    free(sample);
}

enum { NUMBER_MAX = 1 << 30 };

/* A whole number from `least` to `most`. */
static bool number(tq_app *a, const char *what, const char *text, size_t least, size_t most, size_t *out) {
    char *end;
    errno = 0;
    unsigned long long n = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || n < least || n > most) {
        tq_say(a, TQ_REFUSES, "%s '%.40s': expected a number from %zu to %zu", what, text, least, most);
        return false;
    }
    *out = (size_t)n;
    return true;
}

static void cmd_ctx(tq_app *a, char *arg) {
    size_t most = tq_model_config(a->model)->context; /* 0: it does not say; more would fail at every evaluation */
    if (number(a, "ctx", arg, 4, most ? most : NUMBER_MAX, &a->eval.ctx)) tq_eval_changed(a);
}

static void cmd_tokens(tq_app *a, char *arg) {
    if (number(a, "tokens", arg, 0, NUMBER_MAX, &a->eval.tokens)) tq_eval_changed(a);
}

static void common(tq_app *a, const char *what, const char *value) {
    tq_err err;
    if (!tq_edit_common(a, what, value, &err)) tq_say(a, TQ_REFUSES, "%s", err.msg);
}

static void cmd_residual(tq_app *a, char *arg) {
    common(a, "residual", arg);
}

static void cmd_rotation(tq_app *a, char *arg) {
    common(a, "rotation", arg);
}

static void cmd_calibrate(tq_app *a, char *arg) {
    common(a, "calibrate", arg);
}

static void cmd_states(tq_app *a, char *arg) {
    common(a, "states", arg);
}

static void cmd_budget(tq_app *a, char *arg) {
    tq_tune_budget(a, arg);
}

static void cmd_snapshot(tq_app *a, char *arg) {
    tq_points_snapshot(a, arg);
}

static void cmd_history(tq_app *a, char *arg) {
    tq_points_write(a, arg);
}

static void cmd_copy(tq_app *a, char *arg) {
    tq_copy(a, arg);
}

static void cmd_scheme(tq_app *a, char *arg) {
    tq_scheme s;
    if (tq_scheme_parse(arg, &s))
        tq_term_scheme(s);
    else
        tq_say(a, TQ_REFUSES, "scheme '%.40s': expected plain, contrast, blue-orange or mono", arg);
}

static void cmd_mouse(tq_app *a, char *arg) {
    bool on = strcmp(arg, "on") == 0;
    if (!on && strcmp(arg, "off") != 0) {
        tq_say(a, TQ_REFUSES, "mouse '%.40s': expected on or off", arg);
        return;
    }
    a->mouse = on;
    tq_term_mouse(on);
    tq_say(a, TQ_SAYS, on ? "clicks and the wheel work here" : "the mouse is the terminal's: it selects text");
}

static void cmd_think(tq_app *a, char *arg) {
    tq_think think;
    if (!tq_think_parse(arg, &think)) {
        tq_say(a, TQ_REFUSES, "think '%.40s': expected on, off or default", arg);
    } else if (think != TQ_THINK_DEFAULT && !tq_worker_can_think(a->worker)) {
        tq_say(a, TQ_REFUSES, "the chat template does not offer to switch thinking on or off");
    } else {
        a->talk.think = think;
        tq_say(a, TQ_SAYS,
               think == TQ_THINK_ON    ? "answers begin with thoughts"
               : think == TQ_THINK_OFF ? "answers without thoughts"
                                       : "thoughts as the chat template has them");
    }
}

static void cmd_questions(tq_app *a, char *arg) {
    tq_worker_questions(a->worker, arg);
}

static void cmd_compare(tq_app *a, char *arg) {
    tq_compare_prompt(a, arg);
}

static void cmd_help(tq_app *a, char *arg) {
    (void)arg;
    a->overlay = TQ_OVER_HELP;
    a->scroll = 0;
}

static void cmd_quit(tq_app *a, char *arg) {
    (void)arg;
    tq_app_key(a, 'q');
}

static const struct command {
    const char *name, *args, *words; /* words: what completes its argument, '|' between; "@": matrices; "": files */
    void (*run)(tq_app *a, char *arg);
} commands[] = {
    {"set", "GLOB=BITS[:GROUP]", "@", cmd_set},
    {"load", "FILE", "", cmd_load},
    {"save", "FILE", "", cmd_save},
    {"export", "FORMAT PATH", TQ_EXPORT_WORDS, cmd_export},
    {"text", "FILE|sample|+FILE", "", cmd_text},
    {"ctx", "N", "512|1024|2048", cmd_ctx},
    {"tokens", "N", "1024|4096|16384", cmd_tokens},
    {"residual", "nested|independent", "nested|independent", cmd_residual},
    {"rotation", "hadamard|qr|none", "hadamard|qr|none", cmd_rotation},
    {"calibrate", "none|ldlq|ldlq-asym", "none|ldlq|ldlq-asym", cmd_calibrate},
    {"states", "16|256", "16|256", cmd_states},
    {"budget", "SIZE|BITS|KLD", "4.5|5.0|5.5|6.5", cmd_budget},
    {"snapshot", "NAME", "best|small", cmd_snapshot},
    {"history", "FILE.csv|FILE.json", "", cmd_history},
    {"copy", "row|plan|answer", "row|plan|answer", cmd_copy},
    {"scheme", "plain|contrast|blue-orange|mono", "plain|contrast|blue-orange|mono", cmd_scheme},
    {"mouse", "on|off", "on|off", cmd_mouse},
    {"questions", "FILE|none", "", cmd_questions},
    {"compare", "PROMPT", "What|Tell", cmd_compare},
    {"think", "on|off|default", "on|off|default", cmd_think},
    {"help", NULL, "help", cmd_help},
    {"quit", NULL, "quit", cmd_quit},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

const char *const tq_commands_help[] = {
    ":set GLOB=BITS[:GROUP]    as --set: ':set *mlp*=4+2:64'",
    ":load FILE  :save FILE    a plan",
    ":export FORMAT PATH       " TQ_EXPORT_NAMES,
    ":text FILE                the text that is evaluated; 'sample': the sample model's; +FILE: one more, held out",
    ":ctx N  :tokens N         tokens a window; at most so many tokens, 0 for all",
    ":residual nested|independent",
    ":rotation hadamard|qr|none",
    ":calibrate none|ldlq|ldlq-asym    codes found under the inputs that a text gives",
    ":budget 6MiB|5.0|0.01     a size, bits/weight, or a KLD, as the key b",
    ":snapshot NAME            names the plan now among those that were tried",
    ":history FILE             all plans that were tried, as .csv or .json",
    ":copy row|plan|answer     to the clipboard (OSC 52)",
    ":scheme plain|contrast|blue-orange|mono     colours",
    ":mouse on|off             off: the terminal's own selection works",
    ":questions FILE|none      asked after each evaluation; exact answers are counted",
    ":compare PROMPT           two sides answer it, as the key A",
    ":think on|off|default     thoughts before answers, where the chat template offers that",
    ":states 16|256            of the encoder of 4t: 256 is better and slower",
};
const size_t tq_commands_help_count = sizeof tq_commands_help / sizeof *tq_commands_help;

void tq_command_run(tq_app *a, const char *line) {
    char text[1024];
    snprintf(text, sizeof text, "%s", line + strspn(line, " :"));
    for (size_t n = strlen(text); n > 0 && text[n - 1] == ' ';)
        text[--n] = '\0';
    if (!*text) return;
    char *arg = strchr(text, ' ');
    if (arg) {
        *arg++ = '\0';
        arg += strspn(arg, " ");
    }
    const struct command *found = NULL;
    size_t hits = 0;
    for (size_t i = 0; i < COMMANDS; i++)
        if (strncmp(commands[i].name, text, strlen(text)) == 0) {
            found = &commands[i];
            hits++;
            if (strcmp(commands[i].name, text) == 0) {
                hits = 1;
                break;
            }
        }
    if (hits != 1) {
        tq_say(a, TQ_REFUSES, "'%.60s' is %s command; Tab shows all, ? explains", text, hits ? "not one" : "no");
    } else if (found->args && (!arg || !*arg)) {
        tq_say(a, TQ_REFUSES, "%s: expected %s", found->name, found->args);
    } else if (!found->args && arg && *arg) {
        tq_say(a, TQ_REFUSES, "%s takes nothing: '%.60s'", found->name, arg);
    } else {
        found->run(a, arg);
    }
}

/* --- completion --- */

static const tq_model *completed_model;
static const struct command *completed;

void tq_command_model(const tq_model *m) {
    completed_model = m;
}

static char *next_command(const char *word, int state) {
    static size_t i;
    if (state == 0) i = 0;
    while (i < COMMANDS) {
        const char *name = commands[i++].name;
        if (strncmp(name, word, strlen(word)) == 0) return strdup(name);
    }
    return NULL;
}

static char *next_word(const char *word, int state) {
    static const char *at = "";
    if (state == 0) at = completed->words;
    while (*at) {
        size_t n = strcspn(at, "|");
        const char *candidate = at;
        at += n + (at[n] == '|');
        if (strncmp(candidate, word, strlen(word)) == 0 && strlen(word) <= n) return strndup(candidate, n);
    }
    return NULL;
}

static char *next_bits(const char *word, int state) {
    static int i;
    if (state == 0) i = 0;
    while (i < TQ_BITS_COUNT) {
        const char *name = tq_bits_get((tq_bits)i++)->name;
        if (strncmp(name, word, strlen(word)) == 0) return strdup(name);
    }
    return NULL;
}

/* Labels, each once, with a '*' before it. */
static char *next_label(const char *word, int state) {
    static size_t i;
    if (state == 0) i = 0;
    const char *bare = *word == '*' ? word + 1 : word;
    while (completed_model && i < tq_model_matrices(completed_model)) {
        size_t at = i++;
        const char *label = tq_model_matrix(completed_model, at)->label;
        bool seen = false;
        for (size_t k = 0; k < at && !seen; k++)
            seen = strcmp(tq_model_matrix(completed_model, k)->label, label) == 0;
        char *text = NULL;
        if (!seen && strncmp(label, bare, strlen(bare)) == 0 && asprintf(&text, "*%s", label) > 0) return text;
    }
    return NULL;
}

char **tq_command_complete(const char *line, int start, const char *word) {
    size_t lead = strspn(line, " ");
    rl_attempted_completion_over = 1;
    rl_completion_append_character = ' ';
    if ((size_t)start <= lead) return rl_completion_matches(word, next_command);
    size_t n = strcspn(line + lead, " ");
    completed = NULL;
    for (size_t i = 0; i < COMMANDS; i++)
        if (strlen(commands[i].name) == n && strncmp(commands[i].name, line + lead, n) == 0) completed = &commands[i];
    if (!completed) return NULL;
    bool second = strchr(line + lead + n + strspn(line + lead + n, " "), ' ') != NULL;
    if (!*completed->words || second) {
        rl_attempted_completion_over = 0; /* file names */
        return NULL;
    }
    if (strcmp(completed->words, "@") != 0) return rl_completion_matches(word, next_word);
    if (start > 0 && line[start - 1] == '=') return rl_completion_matches(word, next_bits);
    rl_completion_append_character = '=';
    return rl_completion_matches(word, next_label);
}
