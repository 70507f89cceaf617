/* canvas.h - a screen in memory. Panels draw here and nowhere else, so that they can be tested without a terminal;
 * term.c copies it to curses. Rows and columns count from 0; what lies outside is clipped. */
#ifndef TQ_CANVAS_H
#define TQ_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <wchar.h>

/* What a cell means; term.c decides how each scheme shows it. */
typedef enum tq_style {
    TQ_ST_NORMAL,
    TQ_ST_DIM,     /* in computation, or secondary */
    TQ_ST_TITLE,   /* names of panels, the program, the model */
    TQ_ST_KEY,     /* a key that can be pressed */
    TQ_ST_BORDER,  /* lines between panels */
    TQ_ST_CHOSEN,  /* what is selected in a menu, the panel that has the keys */
    TQ_ST_MARKED,  /* marked rows */
    TQ_ST_CHANGED, /* changed since the plan was saved */
    TQ_ST_GOOD,
    TQ_ST_WARN,
    TQ_ST_BAD,
    TQ_ST_STALE, /* a figure of the plan before */
    TQ_ST_BAR_USED,
    TQ_ST_BAR_FREE,
    TQ_ST_COUNT
} tq_style;

typedef struct tq_cell {
    wchar_t ch[3];       /* a character and what combines with it, ends with 0 */
    unsigned char style; /* tq_style */
    unsigned char lines; /* of a frame: 1 up, 2 right, 4 down, 8 left */
    bool reverse;        /* the row under the cursor */
    bool covered;        /* the right half of a wide character */
} tq_cell;

typedef struct tq_canvas {
    int rows, cols;
    bool ascii;             /* the terminal shows ASCII only */
    int cursor_y, cursor_x; /* where the terminal's cursor stands; -1: hidden */
    tq_cell *cells;         /* [rows * cols], owned */
} tq_canvas;

typedef struct tq_area {
    int y, x, h, w;
} tq_area;

/* Makes the canvas rows x cols and empty; false when memory is short (the canvas is then 0 x 0). */
bool tq_canvas_reset(tq_canvas *c, int rows, int cols);
void tq_canvas_free(tq_canvas *c);

/* Writes UTF-8 from (y, x) up to, not including, column `end`; control characters and broken bytes are shown as '?'.
 * Returns the column after the last one written. A text that does not fit ends with an ellipsis, in ASCII with "..". */
int tq_put(tq_canvas *c, int y, int x, int end, tq_style style, const char *text);
int tq_putf(tq_canvas *c, int y, int x, int end, tq_style style, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* The text's last column is end - 1; nothing is written left of x. */
void tq_put_right(tq_canvas *c, int y, int x, int end, tq_style style, const char *text);

/* Columns that a text takes on c, up to n bytes of it: in ASCII two characters may stand for one. */
int tq_text_width(const tq_canvas *c, const char *text, size_t n);
/* The longest prefix of text that fits `width` columns of c, broken after a space where there is one; at least one
 * character. A newline ends it. Returns its bytes; *skip (may be NULL) are bytes to leave out after it. */
size_t tq_wrap(const tq_canvas *c, const char *text, int width, size_t *skip);

/* Words that reach out of the area go wholly: no halves stand beside it. */
void tq_clear(tq_canvas *c, tq_area a);
void tq_hline(tq_canvas *c, int y, int x0, int x1); /* both ends included; meets other lines properly */
void tq_vline(tq_canvas *c, int x, int y0, int y1);
void tq_frame(tq_canvas *c, tq_area a);
/* Shows the row as chosen: reversed, also where nothing was written. */
void tq_highlight(tq_canvas *c, int y, int x, int end);

/* A bar of w columns of which `part` (0..1) is used. */
void tq_bar(tq_canvas *c, int y, int x, int w, double part, tq_style used);
/* One of eight heights, 0..1, as a string: for sparklines, histograms and the bars in the table. */
const char *tq_block_glyph(double part);
/* The last w of n values as a sparkline from 0 to the largest of all n. Returns the column after it. */
int tq_sparkline(tq_canvas *c, int y, int x, int w, const double *values, size_t n, tq_style style);

#endif
