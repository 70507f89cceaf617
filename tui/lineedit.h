/* lineedit.h - readline's editing, history and completion without its terminal: keys go in, a line comes out, and the
 * screen draws it. One line is edited at a time. */
#ifndef TQ_LINEEDIT_H
#define TQ_LINEEDIT_H

#include <stdbool.h>

typedef enum tq_line {
    TQ_LINE_CHAT,
    TQ_LINE_COMMAND,
    TQ_LINE_FILTER,
    TQ_LINE_PATH,
    TQ_LINE_BUDGET,
    TQ_LINE_COMPARE,
    TQ_LINE_COUNT
} tq_line;

/* The words that complete `line` up to its cursor where a word starts at byte `start`: a new array of new strings
 * whose first is the common prefix, as rl_completion_matches makes it, or NULL for file names. */
typedef char **tq_completer(const char *line, int start, const char *word);
/* Told the completions when there are several. */
typedef void tq_show_matches(char **matches, int n);

bool tq_lineedit_open(tq_completer *complete, tq_show_matches *show);
void tq_lineedit_close(void);
/* Edits the line of that kind from now on: what was typed before in it, or text when it is not NULL. */
void tq_lineedit_begin(tq_line kind, const char *text);
void tq_lineedit_end(void); /* keeps what was typed */
bool tq_lineedit_active(tq_line kind);
bool tq_lineedit_prompts(void); /* is any line but the chat's edited? */
/* Puts text where the cursor is, whatever its characters would do as keys; new lines are blanks, but in a prompt. */
void tq_lineedit_insert(const char *text);
void tq_lineedit_key(int key);
/* The line that Enter ended, the caller's; NULL: none. */
char *tq_lineedit_take(void);
const char *tq_lineedit_text(void);          /* UTF-8, owned here */
int tq_lineedit_point(void);                 /* bytes before the cursor */
const char *tq_lineedit_draft(tq_line kind); /* what stands in a line that is not being edited */

#endif
