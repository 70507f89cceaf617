/* actions.h - the table made from actions.def. */
#ifndef TQ_ACTIONS_H
#define TQ_ACTIONS_H

#include <stdio.h>

#include "tui/app_internal.h"

typedef struct tq_action {
    const char *name;
    const char *keys; /* as shown in help */
    int key[3];       /* 0: none */
    const char *bar_key, *bar_text;
    const char *section, *help;
    void (*run)(tq_app *a);
} tq_action;

const tq_action *tq_actions(size_t *n);
const tq_action *tq_action_for(int key); /* NULL when no action has it */
/* Runs it as its key does: what acts ends a range of marks, what moves makes it longer. */
void tq_action_run(tq_app *a, const tq_action *action);
/* The keys as a Markdown table, for the README. */
void tq_actions_markdown(FILE *to);

#endif
