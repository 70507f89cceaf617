/* manual.c - see manual.h. */
#include "tui/manual.h"

#include <string.h>

#include "tui/actions.h"
#include "tui/options_table.h"

/* Text that roff prints as it stands; a line break in it is a blank. */
static void put(FILE *f, const char *text) {
    if (*text == '.' || *text == '\'') fputs("\\&", f);
    for (; *text; text++) {
        if (*text == '\\')
            fputs("\\e", f);
        else if (*text == '-')
            fputs("\\-", f);
        else if (*text == '\'')
            fputs("\\(aq", f);
        else if (*text == '^')
            fputs("\\(ha", f);
        else if (*text == '~')
            fputs("\\(ti", f);
        else if (*text == '`')
            fputs("\\(ga", f);
        else
            fputc(*text == '\n' ? ' ' : *text, f);
    }
}

static void entry(FILE *f, const char *term, const char *text) {
    fputs(".TP\n.B ", f);
    put(f, term);
    fputc('\n', f);
    put(f, text);
    fputc('\n', f);
}

static void section(FILE *f, const char *macro, const char *name) {
    fprintf(f, ".%s \"%s\"\n", macro, name);
}

static void put_command(FILE *f, int c) {
    const tq_command_row *row = &tq_command_table[c];
    fputs(".TP\n.B tqexplore", f);
    if (*row->name) fprintf(f, " %s", row->name);
    fprintf(f, " \\fI%s\\fR [\\fIOPTIONS\\fR]\n", row->model);
    put(f, row->what);
    fputc('\n', f);
}

/* Of which commands an option is: "the explorer, eval". */
static void put_commands(FILE *f, unsigned commands) {
    const char *between = "";
    if (commands == (1U << TQ_CMD_COUNT) - 1) return;
    fputs("\n(", f);
    for (int c = 0; c < TQ_CMD_COUNT; c++) {
        if (!(commands >> (unsigned)c & 1U)) continue;
        fprintf(f, "%s%s", between, *tq_command_table[c].name ? tq_command_table[c].name : "the explorer");
        between = ", ";
    }
    fputs(")", f);
}

static void put_option(FILE *f, const tq_option *o) {
    fprintf(f, ".TP\n.B \\-\\-");
    put(f, o->name);
    if (o->arg) {
        fputs(" \\fI", f);
        put(f, o->arg);
        fputs("\\fR", f);
    }
    fputc('\n', f);
    put(f, o->help);
    put_commands(f, o->commands);
    fputc('\n', f);
}

static void put_keys(FILE *f) {
    size_t n;
    const tq_action *t = tq_actions(&n);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(t[i].section, t[i - 1].section) != 0) section(f, "SS", t[i].section);
        entry(f, t[i].keys, t[i].help);
    }
}

static void put_files(FILE *f) {
    section(f, "SH", "FILES");
    entry(f, "$XDG_STATE_HOME/tqexplore/sessions/",
          "the sessions, one a model and program; those set aside end with the time (default ~/.local/state)");
    entry(f, "$XDG_STATE_HOME/tqexplore/sweep-*", "what sweeps have measured");
    entry(f, "$XDG_CACHE_HOME/tqexplore/", "second moments of calibration texts (default ~/.cache)");
    section(f, "SH", "ENVIRONMENT");
    entry(f, "NO_COLOR", "any value but an empty one: no colours");
    section(f, "SH", "EXIT STATUS");
    fputs("0 done, 1 the input or the work failed, 2 the command line was wrong.\n", f);
}

void tq_print_man(FILE *f) {
    fprintf(f, ".TH TQEXPLORE 1 \"\" \"tqexplore %s\" \"User Commands\"\n", TQ_VERSION);
    section(f, "SH", "NAME");
    fputs("tqexplore \\- quantize a language model layer by layer, see what it costs, talk to it, export it\n", f);
    section(f, "SH", "SYNOPSIS");
    for (int c = 0; c < TQ_CMD_COUNT; c++)
        put_command(f, c);
    section(f, "SH", "DESCRIPTION");
    put(f,
        "MODEL is a .safetensors file, a directory with model.safetensors or its index, a .gguf file, or a tq export. "
        "Without a command the explorer opens: each matrix of the model is quantized by a key, while distortion, "
        "memory and KL divergence follow. What is done there is kept at once; the next start offers to resume it.");
    fputc('\n', f);
    section(f, "SH", "OPTIONS");
    for (const tq_option *o = tq_option_table; o->name; o++)
        put_option(f, o);
    section(f, "SH", "KEYS OF THE EXPLORER");
    put_keys(f);
    section(f, "SH", "COMMANDS OF THE EXPLORER");
    for (size_t i = 0; i < tq_commands_help_count; i++) {
        fputs(i ? ".br\n" : "", f);
        put(f, tq_commands_help[i]);
        fputc('\n', f);
    }
    put_files(f);
}
