/* hashed_line.c - see hashed_line.h. */
#include "model/hashed_line.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "model/tensor_source.h"

char *tq_line_seal(uint64_t seed, const char *text, size_t *bytes) {
    char *line = NULL;
    int n = asprintf(&line, "%s %016" PRIx64 "\n", text, tq_hash_bytes(seed, text, strlen(text)));
    if (n < 0) return NULL;
    *bytes = (size_t)n;
    return line;
}

bool tq_line_open(uint64_t seed, char *line, size_t n) {
    char wanted[TQ_LINE_HASH + 1];
    if (n < TQ_LINE_HASH + 2 || line[n - TQ_LINE_HASH - 1] != ' ' || strlen(line) != n) return false;
    size_t length = n - TQ_LINE_HASH - 1;
    (void)snprintf(wanted, sizeof wanted, "%016" PRIx64, tq_hash_bytes(seed, line, length));
    if (memcmp(wanted, line + length + 1, TQ_LINE_HASH) != 0) return false;
    line[length] = '\0';
    return true;
}
