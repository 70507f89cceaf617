/* probe.c - what the program makes of a real model, as lines that a script compares with a reference.
 *
 *   probe tokens MODEL FILE [LINES]        ids of each line, special tokens not recognised, nothing added
 *   probe greedy MODEL FILE TOKENS         FILE: a prompt a line; ids that follow it, each with the distance of the two
 *                                          largest logits: ID:DISTANCE. All arithmetic on activations is fp32. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/session.h"
#include "model/tensor_writer.h"

#define MAX_TEXT ((size_t)256 << 20)

static _Noreturn void give_up(const tq_err *err) {
    fprintf(stderr, "probe: %s\n", err->msg);
    exit(1);
}

static void print_tokens(const tq_session *s, const char *line, size_t n) {
    tq_err err;
    int *ids = NULL;
    size_t count = 0;
    if (tq_tokenizer_encode(tq_session_tokenizer(s), line, n, false, false, &ids, &count, &err)) give_up(&err);
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i ? " " : "", ids[i]);
    printf("\n");
    free(ids);
}

/* The largest logit's index, and how far the second is. */
static int best(const float *logits, size_t n, double *distance) {
    size_t top = 0;
    float second = -1e30F;
    for (size_t i = 1; i < n; i++)
        if (logits[i] > logits[top]) top = i;
    for (size_t i = 0; i < n; i++)
        if (i != top && logits[i] > second) second = logits[i];
    *distance = (double)logits[top] - (double)second;
    return (int)top;
}

static void print_greedy(tq_session *s, const char *line, size_t n, size_t tokens) {
    tq_err err;
    int *ids = NULL;
    size_t count = 0, vocab = tq_model_config(tq_session_model(s))->vocab;
    if (tq_tokenizer_encode(tq_session_tokenizer(s), line, n, false, true, &ids, &count, &err)) give_up(&err);
    tq_forward *f = tq_forward_new(tq_session_model(s), tq_session_pool(s), &err);
    tq_cache *c = f ? tq_cache_new(tq_session_model(s), count + tokens, &err) : NULL;
    float *logits = calloc(vocab, sizeof *logits);
    if (!f || !c || !logits) give_up(&err);
    tq_forward_set_arithmetic(f, TQ_ARITHMETIC_EXACT);
    const int *feed = ids;
    int next = 0;
    for (size_t i = 0; i < tokens; i++) {
        double distance;
        if (tq_forward_append(f, NULL, c, feed, i ? 1 : count, logits, NULL, &err)) give_up(&err);
        next = best(logits, vocab, &distance);
        printf("%s%d:%.6f", i ? " " : "", next, distance);
        feed = &next;
    }
    printf("\n");
    free(logits);
    tq_cache_free(c);
    tq_forward_free(f);
    free(ids);
}

int main(int argc, char **argv) {
    tq_err err = {""};
    tq_session *s = NULL;
    char *text = NULL;
    size_t n = 0;
    const tq_session_options options = {.exact = true};
    bool greedy = argc > 1 && strcmp(argv[1], "greedy") == 0;
    if (argc < 4 || (!greedy && strcmp(argv[1], "tokens") != 0)) {
        fprintf(stderr, "usage: probe tokens|greedy MODEL FILE [LINES|TOKENS]\n");
        return 2;
    }
    size_t number = argc > 4 ? strtoul(argv[4], NULL, 10) : greedy ? 48 : SIZE_MAX;
    if (tq_session_open(argv[2], &options, &s, &err) || tq_read_file(argv[3], MAX_TEXT, &text, &n, &err)) give_up(&err);
    const char *end = text + n;
    for (const char *line = text; line < end && (greedy || number-- > 0);) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        size_t length = (size_t)((stop ? stop : end) - line);
        if (greedy)
            print_greedy(s, line, length, number);
        else
            print_tokens(s, line, length);
        line += length + 1;
    }
    free(text);
    tq_session_close(s);
    return 0;
}
