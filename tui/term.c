/* term.c - curses, keys, signals, and the terminal given back on every way out. */
#include "tui/term.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

#include <curses.h>
#include <term.h>

#include "quant/base.h"
#include "tui/keys.h"

static struct {
    bool open, ascii;
    tq_scheme scheme;
    WINDOW *keys;            /* a pad: reading from it draws nothing */
    struct termios original; /* to be restored after a crash */
    char leave[256];         /* what leaves the alternate screen, prepared for the handlers */
    size_t leave_bytes;
    int signals[2];
    bool colors;              /* may be used at all */
    short background;         /* -1: the terminal's own */
    short pairs[TQ_ST_COUNT]; /* 0: the terminal's own colours */
    bool mouse;
    tq_mouse event;
} term;

/* --- pasted text: the terminal says where it begins and ends (bracketed paste), so that it is no keys --- */

enum { PASTE_BEGIN = KEY_MAX + 1, PASTE_END, PASTE_MAX = 1 << 20 };
#define PASTE_PATIENCE 1.0 /* seconds after which the end of a paste will not come any more */

static struct {
    bool open;
    double last; /* when some of it came */
    char *text;  /* [used + 1] */
    size_t used, capacity;
} paste;

static void paste_mode(bool on) {
    fputs(on ? "\033[?2004h" : "\033[?2004l", stdout);
    fflush(stdout);
}

static void paste_add(wint_t ch) {
    char mb[MB_LEN_MAX];
    mbstate_t state = {0};
    if (ch == '\r') ch = '\n';
    if ((ch < ' ' && ch != '\n' && ch != '\t') || ch == 127) return;
    size_t n = wcrtomb(mb, (wchar_t)ch, &state);
    if (n == (size_t)-1 || paste.used + n > PASTE_MAX) return;
    if (paste.used + n + 1 > paste.capacity) {
        size_t capacity = 2 * paste.capacity + 256;
        char *grown = realloc(paste.text, capacity);
        if (!grown) return;
        paste.text = grown;
        paste.capacity = capacity;
    }
    memcpy(paste.text + paste.used, mb, n);
    paste.used += n;
    paste.text[paste.used] = '\0';
}

const char *tq_term_pasted(void) {
    return paste.used ? paste.text : "";
}

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
    /* A crash does not ask curses to let go of the mouse; where there is none, nothing happens. */
    static const char mouse_off[] = "\033[?1006l\033[?1000l";
    for (const char *p = key_mouse && (intptr_t)key_mouse != -1 ? mouse_off : ""; *p; p++)
        (void)collect(*p);
    for (const char *p = "\033[?2004l"; *p; p++)
        (void)collect(*p);
}

void tq_term_scheme(tq_scheme s) {
    term.scheme = term.colors ? s : TQ_SCHEME_MONO;
    bool many = COLORS >= 256 && COLOR_PAIRS > TQ_ST_COUNT;
    for (int i = 0; i < TQ_ST_COUNT; i++) {
        const tq_look *l = tq_look_of(term.scheme, (tq_style)i);
        short color = many ? l->in_256 : l->in_8;
        term.pairs[i] = term.colors && color >= 0 ? (short)(i + 1) : 0;
        if (term.pairs[i]) init_pair(term.pairs[i], color, term.background);
    }
}

static void set_colors(void) {
    const char *no_color = getenv("NO_COLOR"); /* a convention of users, no-color.org: any value but an empty one */
    term.colors = !(no_color && *no_color) && has_colors() && start_color() == OK;
    term.background = term.colors && use_default_colors() == OK ? -1 : COLOR_BLACK;
    tq_term_scheme(TQ_SCHEME_PLAIN);
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
    (void)define_key("\033[200~", PASTE_BEGIN);
    (void)define_key("\033[201~", PASTE_END);
    paste_mode(true);
    set_escdelay(25);
    curs_set(0);
    term.open = true;
    return true;
}

void tq_term_close(void) {
    if (!term.open) return;
    term.open = false;
    tq_term_mouse(false);
    curs_set(1);
    paste_mode(false);
    endwin();
    remove_handlers();
    free(paste.text);
    paste.text = NULL;
    paste.used = paste.capacity = 0;
}

void tq_term_suspend(void) {
    paste_mode(false);
    endwin();
    handle(SIGTSTP, SIG_DFL, 0);
    raise(SIGTSTP);
    handle(SIGTSTP, on_told, SA_RESTART);
    paste_mode(true);
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

void tq_term_set_ascii(void) {
    term.ascii = true;
}

void tq_term_mouse(bool on) {
    const mmask_t wanted = BUTTON1_PRESSED | BUTTON1_CLICKED | BUTTON4_PRESSED | BUTTON5_PRESSED;
    if (on == term.mouse) return;
    term.mouse = on;
    mouseinterval(0);
    (void)mousemask(on ? wanted : 0, NULL);
}

tq_mouse tq_term_mouse_event(void) {
    return term.event;
}

bool tq_term_copy(const char *text, size_t n) {
    enum { MOST = 74994 }; /* what terminals take is 100,000 bytes at most, as base64 */
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = (const unsigned char *)text;
    if (n > MOST) return false;
    fputs("\033]52;c;", stdout);
    for (size_t i = 0; i < n; i += 3) {
        unsigned v = (unsigned)p[i] << 16 | (i + 1 < n ? (unsigned)p[i + 1] << 8 : 0) | (i + 2 < n ? p[i + 2] : 0U);
        putchar(digits[v >> 18]);
        putchar(digits[v >> 12 & 63]);
        putchar(i + 1 < n ? digits[v >> 6 & 63] : '=');
        putchar(i + 2 < n ? digits[v & 63] : '=');
    }
    putchar('\a');
    fflush(stdout);
    return true;
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
        {KEY_UP, TQ_KEY_UP},        {KEY_DOWN, TQ_KEY_DOWN},     {KEY_LEFT, TQ_KEY_LEFT},
        {KEY_RIGHT, TQ_KEY_RIGHT},  {KEY_PPAGE, TQ_KEY_PGUP},    {KEY_NPAGE, TQ_KEY_PGDN},
        {KEY_HOME, TQ_KEY_HOME},    {KEY_END, TQ_KEY_END},       {KEY_FIND, TQ_KEY_HOME},
        {KEY_SELECT, TQ_KEY_END},   {KEY_DC, TQ_KEY_DELETE},     {KEY_BACKSPACE, TQ_KEY_BACKSPACE},
        {KEY_BTAB, TQ_KEY_BACKTAB}, {KEY_ENTER, TQ_KEY_ENTER},   {KEY_F(1), TQ_KEY_F1},
        {KEY_SR, TQ_KEY_SHIFT_UP},  {KEY_SF, TQ_KEY_SHIFT_DOWN},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].curses == code) return table[i].key;
    return TQ_KEY_NONE;
}

/* Is there a mouse event that means something? A second click at once on the same place is a double one. */
static bool take_mouse(void) {
    static double last;
    MEVENT e;
    if (getmouse(&e) != OK) return false;
    tq_mouse was = term.event;
    double now = tq_now();
    bool again = now - last < 0.4 && was.y == e.y && was.x == e.x && was.what == TQ_MOUSE_CLICK;
    tq_mouse_what what = e.bstate & BUTTON4_PRESSED   ? TQ_MOUSE_WHEEL_UP
                         : e.bstate & BUTTON5_PRESSED ? TQ_MOUSE_WHEEL_DOWN
                         : again                      ? TQ_MOUSE_DOUBLE
                                                      : TQ_MOUSE_CLICK;
    if (what == TQ_MOUSE_CLICK || what == TQ_MOUSE_DOUBLE) last = now;
    term.event = (tq_mouse){what, e.y, e.x};
    return true;
}

/* The rest of a key that the terminal has and we do not (Ctrl-Right, a function key): without this its bytes would be
 * keys of their own, '[' and '6' among them. False: it was Meta and that character. */
static bool skip_unknown_key(wint_t first) {
    enum { PATIENCE_MS = 25 };
    wint_t ch = 0;
    size_t n = 0;
    if (first != '[' && first != 'O') return false;
    wtimeout(term.keys, PATIENCE_MS);
    for (bool last = false; !last && wget_wch(term.keys, &ch) == OK; n++)
        last = first == 'O' ? ch >= '@' : ch >= '@' && !(ch == '[' && n == 0); /* the Linux console has "[[A" */
    nodelay(term.keys, TRUE);
    return n > 0;
}

int tq_term_key(void) {
    wint_t ch = 0;
    if (paste.open && tq_now() - paste.last > PASTE_PATIENCE) {
        paste.open = false;
        return TQ_KEY_PASTE;
    }
    for (;;) {
        int rc = wget_wch(term.keys, &ch);
        if (rc == ERR) return TQ_KEY_NONE;
        if (rc == KEY_CODE_YES && (ch == PASTE_BEGIN || ch == PASTE_END)) {
            bool whole = paste.open && ch == PASTE_END;
            paste.open = ch == PASTE_BEGIN;
            if (paste.open) paste.used = 0;
            paste.last = tq_now();
            if (whole) return TQ_KEY_PASTE;
            continue;
        }
        if (paste.open) {
            paste.last = tq_now();
            if (rc != KEY_CODE_YES) paste_add(ch);
            if (rc == KEY_CODE_YES && ch == KEY_ENTER) paste_add('\n');
            continue;
        }
        if (rc == KEY_CODE_YES) {
            int key = ch == KEY_MOUSE && take_mouse() ? TQ_KEY_MOUSE : named_key(ch);
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
    int rc = wget_wch(term.keys, &next);
    if (rc == KEY_CODE_YES) ungetch((int)next); /* an arrow right after it is a key of its own */
    if (rc != OK) return TQ_KEY_ESC;
    if (skip_unknown_key(next)) return tq_term_key();
    return TQ_KEY_META + (int)next;
}

/* --- drawing --- */

void tq_term_show(const tq_canvas *c) {
    static const wchar_t blank[] = L" ";
    for (int y = 0; y < c->rows; y++) {
        for (int x = 0; x < c->cols; x++) {
            const tq_cell *cell = &c->cells[(size_t)y * (size_t)c->cols + (size_t)x];
            if (cell->covered) continue;
            attr_t attr = tq_look_of(term.scheme, (tq_style)cell->style)->attr | (cell->reverse ? A_REVERSE : A_NORMAL);
            if (cell->reverse) attr &= ~(attr_t)A_DIM;
            if (term.pairs[cell->style]) attr &= ~(attr_t)A_DIM; /* the colour says it */
            cchar_t out;
            if (setcchar(&out, cell->ch[0] ? cell->ch : blank, attr, term.pairs[cell->style], NULL) == ERR)
                setcchar(&out, blank, attr, term.pairs[cell->style], NULL);
            mvadd_wch(y, x, &out);
        }
    }
    if (c->cursor_y >= 0) move(c->cursor_y, c->cursor_x);
    curs_set(c->cursor_y >= 0);
    refresh();
}
