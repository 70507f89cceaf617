/* canvas.c - cells, text, lines and bars in memory. */
#include "tui/canvas.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

bool tq_canvas_reset(tq_canvas *c, int rows, int cols) {
    if (rows != c->rows || cols != c->cols || !c->cells) {
        free(c->cells);
        c->rows = c->cols = 0;
        c->cells = calloc((size_t)rows * (size_t)cols + 1, sizeof *c->cells);
        if (!c->cells) return false;
        c->rows = rows;
        c->cols = cols;
    }
    c->cursor_y = c->cursor_x = -1;
    tq_clear(c, (tq_area){0, 0, rows, cols});
    return true;
}

void tq_canvas_free(tq_canvas *c) {
    free(c->cells);
    *c = (tq_canvas){0};
}

static tq_cell *cell_at(tq_canvas *c, int y, int x) {
    if (y < 0 || x < 0 || y >= c->rows || x >= c->cols) return NULL;
    return &c->cells[(size_t)y * (size_t)c->cols + (size_t)x];
}

static void set_cell(tq_canvas *c, int y, int x, wchar_t ch, tq_style style) {
    tq_cell *cell = cell_at(c, y, x);
    if (!cell) return;
    /* Half of a wide character is no character. */
    if (cell->covered && x > 0) cell_at(c, y, x - 1)->ch[0] = L' ';
    tq_cell *next = cell_at(c, y, x + 1);
    if (next && next->covered) *next = (tq_cell){.ch = {L' '}, .reverse = next->reverse};
    *cell = (tq_cell){.ch = {ch}, .style = (unsigned char)style, .reverse = cell->reverse};
}

/* Is there a character of text, or half of one? */
static bool inked(tq_canvas *c, int y, int x) {
    const tq_cell *cell = cell_at(c, y, x);
    return cell && (cell->covered || (cell->ch[0] != L' ' && !cell->lines));
}

/* What stands outside of column x, on the side of `by`, and belongs to the word that reaches over it. */
static void clear_rest(tq_canvas *c, int y, int x, int by) {
    int end = x;
    while (inked(c, y, end))
        end += by;
    for (x += by; (end - x) * by > 0; x += by)
        set_cell(c, y, x, L' ', TQ_ST_NORMAL);
}

void tq_clear(tq_canvas *c, tq_area a) {
    for (int y = a.y; y < a.y + a.h && a.w > 0; y++) {
        clear_rest(c, y, a.x, -1);
        clear_rest(c, y, a.x + a.w - 1, 1);
        for (int x = a.x; x < a.x + a.w; x++) {
            tq_cell *cell = cell_at(c, y, x);
            if (!cell) continue;
            set_cell(c, y, x, L' ', TQ_ST_NORMAL);
            cell->reverse = false;
        }
    }
}

/* The two that stand for a character where only ASCII can be shown; NULL: one does. */
static const char *ascii_pair(wchar_t w) {
    return w == L'±' ? "+-" /* '+' alone would be a sum */ : w == L'…' ? ".." : NULL;
}

/* The one that does. */
static wchar_t ascii_of(wchar_t w) {
    static const struct {
        wchar_t from, to;
    } table[] = {
        {L'▁', L'_'}, {L'▂', L'.'}, {L'▃', L':'}, {L'▄', L'-'}, {L'▅', L'='}, {L'▆', L'+'}, {L'▇', L'*'}, {L'█', L'#'},
        {L'░', L'.'}, {L'●', L'*'}, {L'■', L'='}, {L'○', L'o'}, {L'▾', L'v'}, {L'▸', L'>'}, {L'→', L'>'}, {L'←', L'<'},
        {L'↑', L'^'}, {L'↓', L'v'}, {L'·', L'.'}, {L'×', L'x'}, {L'−', L'-'}, {L'━', L'='}, {L'╸', L'>'}, {L'─', L'-'},
        {L'✓', L'+'}, {L'│', L'|'}, {L'├', L'+'}, {L'↵', L'/'}, {L'▼', L'v'}, {L'▲', L'^'}, {L'²', L'2'}, {L'’', L'\''},
    };
    if (w < 128) return w;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        if (table[i].from == w) return table[i].to;
    return L'?';
}

/* The next character of text: its bytes in *used, its columns on c in *width (0: combines with the one before, -1:
 * leave it out). */
static wchar_t next_char(const tq_canvas *c, const char *text, size_t n, size_t *used, int *width) {
    utf8proc_int32_t cp = 0;
    utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &cp);
    *used = got > 0 ? (size_t)got : 1;
    *width = 1;
    if (cp == '\n') return L'↵'; /* of a line that is edited: elsewhere text is cut into lines before */
    if (got <= 0 || cp < 32 || (cp >= 127 && cp < 160)) return L'?';
    /* Joiners and variation selectors: terminals disagree about their width, so each part is drawn for itself. */
    if (cp == 0x200D || cp == 0x2060 || cp == 0xFEFF || (cp >= 0xFE00 && cp <= 0xFE0F) ||
        (cp >= 0x200B && cp <= 0x200F) || (cp >= 0x202A && cp <= 0x202E) || (cp >= 0x2066 && cp <= 0x2069)) {
        *width = -1;
        return 0;
    }
    *width = wcwidth((wchar_t)cp);
    if (*width < 0) {
        /* The locale does not know it: a C locale (the canvas is then in ASCII), or an unassigned character. */
        *width = utf8proc_charwidth(cp);
        if (*width < 0 || *width > 2) *width = 1;
    }
    if (c->ascii && ascii_pair((wchar_t)cp)) *width = 2;
    return (wchar_t)cp;
}

int tq_text_width(const tq_canvas *c, const char *text, size_t n) {
    int width = 0;
    for (size_t i = 0, used; i < n && text[i]; i += used) {
        int w;
        next_char(c, text + i, strnlen(text + i, n - i), &used, &w);
        if (w > 0) width += w;
    }
    return width;
}

size_t tq_wrap(const tq_canvas *c, const char *text, int width, size_t *skip) {
    size_t n = strlen(text), i = 0, used, space = 0;
    int col = 0;
    if (skip) *skip = 0;
    while (i < n && text[i] != '\n') {
        int w;
        next_char(c, text + i, n - i, &used, &w);
        if (w > 0 && col + w > width && i > 0) {
            if (text[i] == ' ') space = i;
            if (space == 0) return i;
            if (skip) *skip = 1;
            return space;
        }
        if (text[i] == ' ') space = i;
        if (w > 0) col += w;
        i += used;
    }
    if (skip && text[i] == '\n') *skip = 1;
    return i;
}

/* Ends what begins at column `start` and does not fit with the mark for that. */
static void shorten(tq_canvas *c, int y, int start, int end, tq_style style) {
    int x = end - (c->ascii ? 2 : 1);
    for (x = x < start ? start : x; x < end; x++)
        set_cell(c, y, x, c->ascii ? L'.' : L'…', style);
}

int tq_put(tq_canvas *c, int y, int x, int end, tq_style style, const char *text) {
    if (end > c->cols) end = c->cols;
    size_t n = strlen(text);
    int start = x;
    for (size_t i = 0, used; i < n; i += used) {
        int w;
        wchar_t ch = next_char(c, text + i, n - i, &used, &w);
        if (w < 0) continue;
        if (w == 0) {
            tq_cell *before = x > start ? cell_at(c, y, x - 1) : NULL;
            if (before && before->covered) before = cell_at(c, y, x - 2);
            if (before && !before->ch[1] && !c->ascii) before->ch[1] = ch;
            continue;
        }
        if (x + w > end) {
            shorten(c, y, start, end, style);
            return end;
        }
        if (c->ascii && ch >= 128) {
            const char *pair = ascii_pair(ch);
            for (int k = 0; k < w; k++)
                set_cell(c, y, x + k, pair ? (wchar_t)pair[k] : ascii_of(ch), style);
        } else {
            set_cell(c, y, x, ch, style);
            if (w == 2) {
                set_cell(c, y, x + 1, 0, style);
                tq_cell *half = cell_at(c, y, x + 1);
                if (half) half->covered = true;
            }
        }
        x += w;
    }
    return x;
}

int tq_putf(tq_canvas *c, int y, int x, int end, tq_style style, const char *fmt, ...) {
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return tq_put(c, y, x, end, style, text);
}

void tq_put_right(tq_canvas *c, int y, int x, int end, tq_style style, const char *text) {
    int at = end - tq_text_width(c, text, strlen(text));
    tq_put(c, y, at < x ? x : at, end, style, text);
}

static void add_lines(tq_canvas *c, int y, int x, unsigned lines) {
    static const wchar_t glyphs[16] = {L' ', L'╵', L'╶', L'└', L'╷', L'│', L'┌', L'├',
                                       L'╴', L'┘', L'─', L'┴', L'┐', L'┤', L'┬', L'┼'};
    static const wchar_t plain[17] = L" |-+||++-+-+++++";
    tq_cell *cell = cell_at(c, y, x);
    if (!cell) return;
    unsigned all = cell->lines | lines;
    set_cell(c, y, x, c->ascii ? plain[all] : glyphs[all], TQ_ST_BORDER);
    cell->lines = (unsigned char)all;
}

void tq_hline(tq_canvas *c, int y, int x0, int x1) {
    for (int x = x0; x <= x1; x++)
        add_lines(c, y, x, (x > x0 ? 8u : 0) | (x < x1 ? 2u : 0));
}

void tq_vline(tq_canvas *c, int x, int y0, int y1) {
    for (int y = y0; y <= y1; y++)
        add_lines(c, y, x, (y > y0 ? 1u : 0) | (y < y1 ? 4u : 0));
}

void tq_frame(tq_canvas *c, tq_area a) {
    tq_hline(c, a.y, a.x, a.x + a.w - 1);
    tq_hline(c, a.y + a.h - 1, a.x, a.x + a.w - 1);
    tq_vline(c, a.x, a.y, a.y + a.h - 1);
    tq_vline(c, a.x + a.w - 1, a.y, a.y + a.h - 1);
}

void tq_highlight(tq_canvas *c, int y, int x, int end) {
    for (; x < end; x++) {
        tq_cell *cell = cell_at(c, y, x);
        if (cell) cell->reverse = true;
    }
}

void tq_bar(tq_canvas *c, int y, int x, int w, double part, tq_style used) {
    int full = (int)(part * w + 0.5);
    if (part > 0 && full == 0) full = 1;
    for (int i = 0; i < w; i++)
        tq_put(c, y, x + i, x + i + 1, i < full ? used : TQ_ST_BAR_FREE, i < full ? "█" : "░");
}

const char *tq_block_glyph(double part) {
    static const char *const glyphs[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    if (!(part > 0)) return glyphs[0];
    int i = (int)(part * 8);
    return glyphs[i > 7 ? 7 : i];
}

int tq_sparkline(tq_canvas *c, int y, int x, int w, const double *values, size_t n, tq_style style) {
    double top = 0;
    for (size_t i = 0; i < n; i++)
        if (values[i] > top) top = values[i];
    size_t first = n > (size_t)w ? n - (size_t)w : 0;
    for (size_t i = first; i < n; i++, x++)
        tq_put(c, y, x, x + 1, style, tq_block_glyph(top > 0 ? values[i] / top : 0));
    return x;
}
