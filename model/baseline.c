/* baseline.c - what a model's matrices are stored as, when that is no floats. */
#include <stdio.h>
#include <string.h>

#include "model/weights_internal.h"

enum { MOST = 3 };

typedef struct share {
    const tq_codec *codec;
    size_t weights;
} share;

/* The share of a codec; it takes the place of the smallest when there is no room. */
static void add(share *list, size_t *n, size_t room, const tq_codec *codec, size_t weights) {
    size_t i = 0;
    while (i < *n && list[i].codec != codec)
        i++;
    if (i == *n && *n < room) list[(*n)++] = (share){codec, 0};
    if (i < *n) list[i].weights += weights;
}

/* The codec with the most weights, which is taken out of the list; NULL when it is empty. */
static const tq_codec *take_largest(share *list, size_t n) {
    size_t best = n;
    for (size_t i = 0; i < n; i++)
        if (list[i].weights && (best == n || list[i].weights > list[best].weights)) best = i;
    if (best == n) return NULL;
    list[best].weights = 0;
    return list[best].codec;
}

void tq_baseline_text(const tq_matrix *matrices, size_t count, const char *format, char *out, size_t size) {
    enum { KINDS = 16 };
    share list[KINDS];
    size_t n = 0, at = 0;
    out[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        const tq_matrix_view *w = &matrices[i].w;
        if (w->codec) add(list, &n, KINDS, w->codec, w->rows * w->cols);
    }
    const tq_codec *c = take_largest(list, n);
    for (int k = 0; c && k < MOST && at < size; k++, c = take_largest(list, n))
        at += (size_t)snprintf(out + at, size - at, "%s%s", k ? "/" : "", c->name);
    if (at && at < size && c) at += (size_t)snprintf(out + at, size - at, "/...");
    for (size_t i = 0; at && at < size && format[i]; i++) {
        char upper = format[i] >= 'a' && format[i] <= 'z' ? (char)(format[i] - 'a' + 'A') : format[i];
        at += (size_t)snprintf(out + at, size - at, "%s%c", i ? "" : " ", upper);
    }
}
