/* lineedit.c - readline through its callback interface, fed from our keys. */
#include "tui/lineedit.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "tui/keys.h"

enum { INPUT_SIZE = 64, HISTORY_MAX = 500 };

static struct {
    FILE *sink;
    bool active, installed, dropping; /* dropping: the line that ends is wanted by nobody */
    tq_line kind;
    unsigned char input[INPUT_SIZE]; /* bytes of one key */
    size_t in, out;
    char *done; /* a line that Enter ended */
    char *drafts[TQ_LINE_COUNT];
    HISTORY_STATE history[TQ_LINE_COUNT];
    tq_completer *complete;
    tq_show_matches *show;
} edit;

static int next_byte(FILE *unused) {
    (void)unused;
    return edit.out < edit.in ? edit.input[edit.out++] : 0;
}

static int byte_ready(void) {
    return edit.out < edit.in;
}

static void draw_nothing(void) {}

static void line_done(char *line) {
    if (!line) return;
    if (edit.dropping) {
        edit.dropping = false;
        free(line);
        return;
    }
    if (*line) {
        HIST_ENTRY *last = history_length > 0 ? history_get(history_base + history_length - 1) : NULL;
        if (!last || strcmp(last->line, line) != 0) add_history(line);
    }
    free(edit.done);
    edit.done = line;
}

static char **attempt_completion(const char *word, int start, int end) {
    (void)end;
    if (edit.kind == TQ_LINE_PATH) return NULL; /* file names */
    if (edit.kind != TQ_LINE_COMMAND || !edit.complete) {
        rl_attempted_completion_over = 1;
        return NULL;
    }
    return edit.complete(rl_line_buffer, start, word);
}

static void show_matches(char **matches, int n, int longest) {
    (void)longest;
    if (edit.show) edit.show(matches, n);
}

bool tq_lineedit_open(tq_completer *complete, tq_show_matches *show) {
    edit.sink = fopen("/dev/null", "r+");
    if (!edit.sink) return false;
    edit.complete = complete;
    edit.show = show;
    rl_readline_name = "tqexplore";
    rl_instream = rl_outstream = edit.sink;
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_change_environment = 0;
    rl_prep_term_function = NULL;
    rl_deprep_term_function = NULL;
    rl_getc_function = next_byte;
    rl_input_available_hook = byte_ready;
    rl_redisplay_function = draw_nothing;
    rl_attempted_completion_function = attempt_completion;
    rl_completion_display_matches_hook = show_matches;
    rl_basic_word_break_characters = " \t";
    rl_completer_word_break_characters = (char *)" \t=";
    stifle_history(HISTORY_MAX);
    using_history();
    for (int i = 0; i < TQ_LINE_COUNT; i++) {
        edit.history[i] = (HISTORY_STATE){.flags = 1 /* stifled */};
        edit.drafts[i] = strdup("");
    }
    return true;
}

static void free_history(HISTORY_STATE *h) {
    for (int i = 0; i < h->length; i++)
        free_history_entry(h->entries[i]);
    free(h->entries);
    *h = (HISTORY_STATE){0};
}

void tq_lineedit_close(void) {
    tq_lineedit_end();
    if (edit.installed) rl_callback_handler_remove();
    edit.installed = false;
    HISTORY_STATE none = {0};
    history_set_history_state(&none);
    for (int i = 0; i < TQ_LINE_COUNT; i++) {
        free(edit.drafts[i]);
        edit.drafts[i] = NULL;
        free_history(&edit.history[i]);
    }
    free(edit.done);
    edit.done = NULL;
    if (edit.sink) fclose(edit.sink);
    edit.sink = NULL;
}

static void set_line(const char *text) {
    rl_replace_line(text, 1);
    rl_point = rl_end;
}

void tq_lineedit_begin(tq_line kind, const char *text) {
    tq_lineedit_end();
    edit.kind = kind;
    edit.active = true;
    history_set_history_state(&edit.history[kind]);
    using_history();
    if (!edit.installed) {
        rl_callback_handler_install("", line_done);
        /* Meta-Enter is Enter, and no way into an editing mode that needs Escape, which leaves the line here. */
        rl_bind_key_in_map('\r', rl_newline, emacs_meta_keymap);
        rl_bind_key_in_map('\n', rl_newline, emacs_meta_keymap);
        rl_variable_bind("bell-style", "none");
        rl_variable_bind("revert-all-at-newline", "on");
        edit.installed = true;
    }
    set_line(text ? text : edit.drafts[kind] ? edit.drafts[kind] : "");
}

/* Has readline end its line: only then it lets go of what it keeps to undo, in the line and in the history that is
 * left. Once more where a key was part of something, a search or a quoted insert. */
static void drop_line(void) {
    edit.dropping = true;
    for (int i = 0; i < 4 && edit.dropping; i++) {
        edit.input[0] = '\r';
        edit.in = 1;
        edit.out = 0;
        rl_callback_read_char();
    }
    edit.dropping = false;
}

void tq_lineedit_end(void) {
    if (!edit.active) return;
    free(edit.drafts[edit.kind]);
    edit.drafts[edit.kind] = strdup(rl_line_buffer);
    drop_line();
    HISTORY_STATE *now = history_get_history_state();
    if (now) edit.history[edit.kind] = *now;
    free(now);
    edit.active = false;
}

bool tq_lineedit_active(tq_line kind) {
    return edit.active && edit.kind == kind;
}

bool tq_lineedit_prompts(void) {
    return edit.active && edit.kind != TQ_LINE_CHAT;
}

void tq_lineedit_insert(const char *text) {
    bool lines = edit.kind == TQ_LINE_CHAT || edit.kind == TQ_LINE_COMPARE;
    size_t n = strlen(text);
    while (n > 0 && text[n - 1] == '\n')
        n--; /* of a line that was copied whole */
    char *copy = edit.active ? strndup(text, n) : NULL;
    for (char *p = copy; p && *p; p++)
        if (*p == '\t' || (*p == '\n' && !lines)) *p = ' ';
    if (copy) rl_insert_text(copy);
    free(copy);
}

/* The bytes by which readline knows a key. */
static const char *sequence_of(int key) {
    static const struct {
        int key;
        const char *bytes;
    } table[] = {
        {TQ_KEY_UP, "\033[A"},      {TQ_KEY_DOWN, "\033[B"},    {TQ_KEY_RIGHT, "\033[C"},
        {TQ_KEY_LEFT, "\033[D"},    {TQ_KEY_HOME, "\033[H"},    {TQ_KEY_END, "\033[F"},
        {TQ_KEY_DELETE, "\033[3~"}, {TQ_KEY_BACKSPACE, "\177"}, {TQ_KEY_ENTER, "\r"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].key == key) return table[i].bytes;
    return NULL;
}

void tq_lineedit_key(int key) {
    if (!edit.active) return;
    edit.in = edit.out = 0;
    const char *bytes = sequence_of(key);
    if (bytes) {
        edit.in = strlen(bytes);
        memcpy(edit.input, bytes, edit.in);
    } else {
        if (key >= TQ_KEY_META) edit.input[edit.in++] = TQ_KEY_ESC;
        int ch = key >= TQ_KEY_META ? key - TQ_KEY_META : key;
        char mb[MB_LEN_MAX];
        mbstate_t state = {0};
        if (ch < 0 || ch >= TQ_KEY_UP) return;
        size_t n = wcrtomb(mb, (wchar_t)ch, &state);
        if (n == (size_t)-1) return;
        memcpy(edit.input + edit.in, mb, n);
        edit.in += n;
    }
    while (edit.out < edit.in)
        rl_callback_read_char();
}

char *tq_lineedit_take(void) {
    char *line = edit.done;
    edit.done = NULL;
    return line;
}

const char *tq_lineedit_text(void) {
    return edit.active && rl_line_buffer ? rl_line_buffer : "";
}

int tq_lineedit_point(void) {
    return edit.active ? rl_point : 0;
}

const char *tq_lineedit_draft(tq_line kind) {
    return edit.active && edit.kind == kind ? tq_lineedit_text() : edit.drafts[kind] ? edit.drafts[kind] : "";
}
