/* main.c - from the command line to the explorer or to a command. */
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>

#include "tui/app.h"
#include "tui/options.h"

typedef int (*run_fn)(const tq_options *o);

static const run_fn commands[TQ_CMD_COUNT] = {
    [TQ_CMD_EXPLORE] = tq_explore, [TQ_CMD_LAYERS] = tq_run_layers, [TQ_CMD_EVAL] = tq_run_eval,
    [TQ_CMD_CHAT] = tq_run_chat,   [TQ_CMD_EXPORT] = tq_run_export, [TQ_CMD_SWEEP] = tq_run_sweep,
    [TQ_CMD_AUTO] = tq_run_auto,   [TQ_CMD_BENCH] = tq_run_bench,   [TQ_CMD_COMPARE] = tq_run_compare,
};

enum { EXIT_USAGE = 2 };

int main(int argc, char **argv) {
    tq_options options;
    tq_err err = {{0}};
    int status = EXIT_SUCCESS;
    setlocale(LC_ALL, "");
    setlocale(LC_NUMERIC, "C"); /* JSON and tables have points */
    switch (tq_options_parse(argc, argv, &options, &err)) {
    case TQ_PARSED_RUN:
        status = commands[options.command](&options);
        break;
    case TQ_PARSED_DONE:
        break;
    case TQ_PARSED_USAGE:
        fprintf(stderr, "tqexplore: %s (see tqexplore --help)\n", err.msg);
        status = EXIT_USAGE;
        break;
    }
    tq_options_free(&options);
    return status;
}
