/* term.c - curses, colours, signals, and the terminal given back on every way out. */
#include "tui/term.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <curses.h>
#include <term.h>

#include "tui/keys.h"

/* Colour and attributes of each meaning in each scheme; -1: the terminal's own colour. */
typedef struct look {
    short color;
    attr_t attr;
} look;
static const look looks[TQ_SCHEME_COUNT][TQ_ST_COUNT] =
    {
        [TQ_SCHEME_MONO] =
            {
                [TQ_ST_NORMAL] = {-1, A_NORMAL},
                [TQ_ST_DIM] = {-1, A_DIM},
                [TQ_ST_TITLE] = {-1, A_BOLD},
                [TQ_ST_KEY] = {-1, A_BOLD},
                [TQ_ST_BORDER] = {-1, A_NORMAL},
                [TQ_ST_CHOSEN] = {-1, A_BOLD | A_UNDERLINE},
                [TQ_ST_MARKED] = {-1, A_BOLD},
                [TQ_ST_CHANGED] = {-1, A_BOLD},
                [TQ_ST_GOOD] = {-1, A_NORMAL},
                [TQ_ST_WARN] = {-1, A_BOLD},
                [TQ_ST_BAD] = {-1, A_BOLD | A_UNDERLINE},
                [TQ_ST_STALE] = {-1, A_DIM},
                [TQ_ST_BAR_USED] = {-1, A_BOLD},
                [TQ_ST_BAR_FREE] = {-1, A_DIM},
            },
        [TQ_SCHEME_8] =
            {
                [TQ_ST_NORMAL] = {-1, A_NORMAL},
                [TQ_ST_DIM] = {-1, A_DIM},
                [TQ_ST_TITLE] = {-1, A_BOLD},
                [TQ_ST_KEY] = {COLOR_CYAN, A_BOLD},
                [TQ_ST_BORDER] = {COLOR_BLUE, A_NORMAL},
                [TQ_ST_CHOSEN] = {COLOR_CYAN, A_BOLD},
                [TQ_ST_MARKED] = {COLOR_MAGENTA, A_BOLD},
                [TQ_ST_CHANGED] = {COLOR_YELLOW, A_NORMAL},
                [TQ_ST_GOOD] = {COLOR_GREEN, A_NORMAL},
                [TQ_ST_WARN] = {COLOR_YELLOW, A_NORMAL},
                [TQ_ST_BAD] = {COLOR_RED, A_BOLD},
                [TQ_ST_STALE] = {-1, A_DIM},
                [TQ_ST_BAR_USED] = {COLOR_CYAN, A_NORMAL},
                [TQ_ST_BAR_FREE] = {-1, A_DIM},
            },
        [TQ_SCHEME_256] =
            {
                /* Chosen to be read on a dark and on a light background. */
                [TQ_ST_NORMAL] = {-1, A_NORMAL},
                [TQ_ST_DIM] = {245, A_NORMAL},
                [TQ_ST_TITLE] = {-1, A_BOLD},
                [TQ_ST_KEY] = {37, A_BOLD},
                [TQ_ST_BORDER] = {242, A_NORMAL},
                [TQ_ST_CHOSEN] = {37, A_BOLD},
                [TQ_ST_MARKED] = {170, A_BOLD},
                [TQ_ST_CHANGED] = {172, A_NORMAL},
                [TQ_ST_GOOD] = {71, A_NORMAL},
                [TQ_ST_WARN] = {172, A_NORMAL},
                [TQ_ST_BAD] = {167, A_BOLD},
                [TQ_ST_STALE] = {245, A_NORMAL},
                [TQ_ST_BAR_USED] = {37, A_NORMAL},
                [TQ_ST_BAR_FREE] = {242, A_NORMAL},
            },
};

const tq_meaning *tq_meanings(size_t *n) {
    static const tq_meaning table[] = {
        {TQ_ST_CHOSEN, "reversed, [ ]", "chosen: the row under the cursor, the panel with the keys"},
        {TQ_ST_MARKED, "●", "marked: digits act on all marked rows"},
        {TQ_ST_TITLE, "■", "pinned: budgets leave it as it is"},
        {TQ_ST_CHANGED, "*", "changed since the plan was saved"},
        {TQ_ST_STALE, "~", "stale: a figure of the plan before"},
        {TQ_ST_DIM, "…", "still being computed"},
        {TQ_ST_GOOD, "below 1e-3", "rel.MSE or KLD: hardly felt"},
        {TQ_ST_WARN, "from 1e-3", "rel.MSE or KLD: look at it"},
        {TQ_ST_BAD, "above 0.05", "rel.MSE or KLD: it hurts"},
        {TQ_ST_BAR_USED, "█", "memory taken, part done"},
        {TQ_ST_BAR_FREE, "░", "memory saved, part to do"},
    };
    *n = sizeof table / sizeof *table;
    return table;
}

static struct {
    bool open, ascii;
    tq_scheme scheme;
    WINDOW *keys;            /* a pad: reading from it draws nothing */
    struct termios original; /* to be restored after a crash */
    char leave[256];         /* what leaves the alternate screen, prepared for the handlers */
    size_t leave_bytes;
    int signals[2];
} term;

/* --- signals --- */

static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const int told_signals[] = {SIGTERM, SIGHUP, SIGINT, SIGWINCH, SIGTSTP};

/* Only what may be called in a handler. */
static void on_fatal(int sig) {
    ssize_t n = write(STDOUT_FILENO, term.leave, term.leave_bytes);
    (void)n;
    tcsetattr(STDIN_FILENO, TCSANOW, &term.original);
    signal(sig, SIG_DFL);
    raise(sig);
}

static void on_told(int sig) {
    int saved = errno;
    unsigned char byte = (unsigned char)sig;
    ssize_t n = write(term.signals[1], &byte, 1);
    (void)n;
    errno = saved;
}

static void handle(int sig, void (*handler)(int), int flags) {
    struct sigaction sa = {.sa_handler = handler, .sa_flags = flags};
    sigemptyset(&sa.sa_mask);
    sigaction(sig, &sa, NULL);
}

static void install_handlers(void) {
    for (size_t i = 0; i < sizeof fatal_signals / sizeof *fatal_signals; i++)
        handle(fatal_signals[i], on_fatal, (int)(SA_RESETHAND | SA_NODEFER));
    for (size_t i = 0; i < sizeof told_signals / sizeof *told_signals; i++)
        handle(told_signals[i], on_told, SA_RESTART);
    handle(SIGPIPE, SIG_IGN, 0);
}

static void remove_handlers(void) {
    for (size_t i = 0; i < sizeof fatal_signals / sizeof *fatal_signals; i++)
        handle(fatal_signals[i], SIG_DFL, 0);
    for (size_t i = 0; i < sizeof told_signals / sizeof *told_signals; i++)
        handle(told_signals[i], SIG_DFL, 0);
}

int tq_term_signal_fd(void) {
    return term.signals[0];
}

int tq_term_signal(void) {
    unsigned char byte;
    return read(term.signals[0], &byte, 1) == 1 ? byte : 0;
}

/* --- setting up --- */

static int collect(int ch) {
    if (term.leave_bytes < sizeof term.leave) term.leave[term.leave_bytes++] = (char)ch;
    return ch;
}

static void prepare_leaving(void) {
    const char *const strings[] = {exit_attribute_mode, orig_pair, keypad_local, cursor_normal, exit_ca_mode};
    term.leave_bytes = 0;
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++)
        if (strings[i] && (intptr_t)strings[i] != -1) tputs(strings[i], 1, collect);
    if (!exit_ca_mode) (void)(collect('\r'), collect('\n'));
}

static void set_colors(void) {
    const char *no_color = getenv("NO_COLOR"); /* a convention of users, no-color.org: any value but an empty one */
    term.scheme = TQ_SCHEME_MONO;
    if ((no_color && *no_color) || !has_colors() || start_color() != OK) return;
    short background = use_default_colors() == OK ? -1 : COLOR_BLACK;
    term.scheme = COLORS >= 256 && COLOR_PAIRS > TQ_ST_COUNT ? TQ_SCHEME_256 : TQ_SCHEME_8;
    for (int i = 0; i < TQ_ST_COUNT; i++) {
        short color = looks[term.scheme][i].color;
        init_pair((short)(i + 1), color < 0 && background >= 0 ? COLOR_WHITE : color, background);
    }
}

bool tq_term_open(char msg[160]) {
    msg[0] = '\0';
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        snprintf(msg, 160, "the explorer needs a terminal; layers, eval, chat and export do without (see --help)");
        return false;
    }
    setlocale(LC_CTYPE, "");
    term.ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    if (tcgetattr(STDIN_FILENO, &term.original) != 0 || pipe2(term.signals, O_NONBLOCK | O_CLOEXEC) != 0) {
        snprintf(msg, 160, "the terminal cannot be used: %s", strerror(errno));
        return false;
    }
    /* Before curses, which then leaves these signals alone. */
    install_handlers();
    const char *name = getenv("TERM");
    SCREEN *screen = newterm(NULL, stdout, stdin);
    if (!screen || !cursor_address) {
        if (screen) endwin();
        remove_handlers();
        snprintf(msg, 160, "TERM=%.60s: the terminal is unknown or cannot move its cursor", name ? name : "");
        return false;
    }
    set_term(screen);
    prepare_leaving();
    set_colors();
    raw();
    noecho();
    nonl();
    term.keys = newpad(1, 1);
    if (term.keys) {
        keypad(term.keys, TRUE);
        nodelay(term.keys, TRUE);
    }
    set_escdelay(25);
    curs_set(0);
    term.open = true;
    return true;
}

void tq_term_close(void) {
    if (!term.open) return;
    term.open = false;
    curs_set(1);
    endwin();
    remove_handlers();
}

void tq_term_suspend(void) {
    endwin();
    handle(SIGTSTP, SIG_DFL, 0);
    raise(SIGTSTP);
    handle(SIGTSTP, on_told, SA_RESTART);
    tq_term_redraw();
}

void tq_term_size(int *rows, int *cols) {
    struct winsize ws;
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws) == 0 && ws.ws_row > 0 && ws.ws_col > 0 &&
        (ws.ws_row != LINES || ws.ws_col != COLS))
        resizeterm(ws.ws_row, ws.ws_col);
    *rows = LINES;
    *cols = COLS;
}

bool tq_term_ascii(void) {
    return term.ascii;
}

void tq_term_redraw(void) {
    clearok(curscr, TRUE);
}

/* --- keys --- */

static int named_key(wint_t code) {
    static const struct {
        wint_t curses;
        int key;
    } table[] = {
        {KEY_UP, TQ_KEY_UP},        {KEY_DOWN, TQ_KEY_DOWN},   {KEY_LEFT, TQ_KEY_LEFT},
        {KEY_RIGHT, TQ_KEY_RIGHT},  {KEY_PPAGE, TQ_KEY_PGUP},  {KEY_NPAGE, TQ_KEY_PGDN},
        {KEY_HOME, TQ_KEY_HOME},    {KEY_END, TQ_KEY_END},     {KEY_FIND, TQ_KEY_HOME},
        {KEY_SELECT, TQ_KEY_END},   {KEY_DC, TQ_KEY_DELETE},   {KEY_BACKSPACE, TQ_KEY_BACKSPACE},
        {KEY_BTAB, TQ_KEY_BACKTAB}, {KEY_ENTER, TQ_KEY_ENTER}, {KEY_F(1), TQ_KEY_F1},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].curses == code) return table[i].key;
    return TQ_KEY_NONE;
}

int tq_term_key(void) {
    wint_t ch = 0;
    for (;;) {
        int rc = wget_wch(term.keys, &ch);
        if (rc == ERR) return TQ_KEY_NONE;
        if (rc == KEY_CODE_YES) {
            int key = named_key(ch);
            if (key != TQ_KEY_NONE) return key;
            continue; /* KEY_RESIZE and keys without a meaning */
        }
        break;
    }
    if (ch == '\n') return TQ_KEY_ENTER;
    if (ch == 127) return TQ_KEY_BACKSPACE;
    if (ch != TQ_KEY_ESC) return (int)ch;
    /* Escape and a character in one go is Meta. */
    wint_t next = 0;
    if (wget_wch(term.keys, &next) != OK) return TQ_KEY_ESC;
    return TQ_KEY_META + (int)next;
}

/* --- drawing --- */

void tq_term_show(const tq_canvas *c) {
    static const wchar_t blank[] = L" ";
    for (int y = 0; y < c->rows; y++) {
        for (int x = 0; x < c->cols; x++) {
            const tq_cell *cell = &c->cells[(size_t)y * (size_t)c->cols + (size_t)x];
            if (cell->covered) continue;
            const look *l = &looks[term.scheme][cell->style];
            attr_t attr = l->attr | (cell->reverse ? A_REVERSE : A_NORMAL);
            if (cell->reverse) attr &= ~(attr_t)A_DIM;
            short pair = term.scheme == TQ_SCHEME_MONO || l->color < 0 ? 0 : (short)(cell->style + 1);
            cchar_t out;
            if (setcchar(&out, cell->ch[0] ? cell->ch : blank, attr, pair, NULL) == ERR)
                setcchar(&out, blank, attr, pair, NULL);
            mvadd_wch(y, x, &out);
        }
    }
    if (c->cursor_y >= 0) move(c->cursor_y, c->cursor_x);
    curs_set(c->cursor_y >= 0);
    refresh();
}
