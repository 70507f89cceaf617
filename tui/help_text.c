/* help_text.c - --help. */
#include "tui/help_text.h"

#include <string.h>

#include "tui/options_table.h"

enum { OPTION_WIDTH = 27 };

static void print_option(FILE *f, const tq_option *o) {
    int n = fprintf(f, "  --%s%s%s", o->name, o->arg ? " " : "", o->arg ? o->arg : "");
    const char *line = o->help;
    if (n >= OPTION_WIDTH) {
        fputc('\n', f);
        n = 0;
    }
    while (*line) {
        int length = (int)strcspn(line, "\n");
        fprintf(f, "%*s%.*s\n", OPTION_WIDTH - n, "", length, line);
        line += length + (line[length] == '\n');
        n = 0;
    }
}

static void print_commands(FILE *f) {
    fputs("tqexplore: quantize a language model layer by layer, see what it costs, talk to it, export it\n\n", f);
    for (int c = 0; c < TQ_CMD_COUNT; c++) {
        const tq_command_row *row = &tq_command_table[c];
        fprintf(f, "  tqexplore %-6s %-8s %s\n", row->name, row->model, row->what);
    }
    fputs("\nMODEL is a .safetensors file, a directory with model.safetensors or its index, or a tq export.\n"
          "Results go to stdout, everything else to stderr. Exit status: 0 done, 1 the input or the work failed,\n"
          "2 the command line was wrong. Every command has its own --help. Options of the explorer:\n\n",
          f);
}

void tq_print_help(FILE *f, tq_command command) {
    const tq_command_row *row = &tq_command_table[command];
    if (command == TQ_CMD_EXPLORE)
        print_commands(f);
    else
        fprintf(f, "tqexplore %s %s [OPTIONS]: %s\n\n", row->name, row->model, row->what);
    for (const tq_option *o = tq_option_table; o->name; o++)
        if (o->commands >> (unsigned)command & 1U) print_option(f, o);
}
