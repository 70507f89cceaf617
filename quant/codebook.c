#include "quant/codebook.h"

#include <string.h>

#include "quant/codebook_tables.h"
#include "quant/codebook_trellis_tables.h"

enum { TABLE_2, TABLE_4, TABLE_4_2, TABLE_4_4 };

const tq_levels *tq_codebook_levels(int code_bits, int fine_bits) {
    if (code_bits == 2) return &tables[TABLE_2];
    return &tables[fine_bits == 0 ? TABLE_4 : fine_bits == 2 ? TABLE_4_2 : TABLE_4_4];
}

/* The levels of a cell are a + v * fine, so that in t = (z - a) / v the bounds are those of the shape. */
static void init_search(tq_fine_search *s, const tq_levels *l, int fine_bits) {
    s->count = (1 << fine_bits) - 1;
    for (int n = 0; n < 16; n++) {
        s->a[n] = l->step * (float)l->a[n];
        s->inv_v[n] = 1.0F / (l->step * (float)l->v[n]);
    }
    for (int k = 0; k < 2; k++)
        for (int r = 0; r < s->count; r++)
            s->bounds[k][r] = 0.5F * (float)(l->fine[k][r] + l->fine[k][r + 1]);
}

const tq_levels *tq_codebook_trellis(int states) {
    return &trellis_tables[states == 256];
}

void tq_codebook_init_trellis(tq_codebook *book, int states) {
    memset(book, 0, sizeof *book);
    book->levels = tq_codebook_trellis(states);
    tq_codebook_branches(&book->trellis, book->levels, states);
}

void tq_codebook_init(tq_codebook *book, int code_bits, int fine_bits) {
    memset(book, 0, sizeof *book);
    book->levels = tq_codebook_levels(code_bits, fine_bits);
    book->count = (1 << code_bits) - 1;
    /* Nested configs take the cells of the plain table: their codes are those of the 4-bit model. */
    const tq_levels *plain = tq_codebook_levels(code_bits, 0);
    for (int n = 0; n < book->count; n++)
        book->bounds[n] = 0.5F * plain->step * (float)(plain->a[n] + plain->a[n + 1]);
    if (fine_bits > 0) init_search(&book->search, book->levels, fine_bits);
    tq_coder_init(&book->coder, book->levels, book->bounds, book->count, &book->search);
}

void tq_trellis_begin(int32_t *cost, int states, const uint8_t *first) {
    for (int s = 0; s < states; s++)
        for (int i = 0; i < TQ_TILE_ROWS; i++)
            cost[s * TQ_TILE_ROWS + i] =
                (first && first[i] != s ? TQ_TRELLIS_FORBIDDEN : 0) + tq_trellis_index(states, s);
}
