/* mutate.h - files changed at random, as a stranger may give them: bytes, pieces, numbers, whole values of JSON. */
#ifndef TQ_TESTS_MUTATE_H
#define TQ_TESTS_MUTATE_H

#include <stddef.h>
#include <stdint.h>

typedef enum mutate_kind {
    MUTATE_BYTES,      /* text or binary: anywhere */
    MUTATE_JSON,       /* also whole values */
    MUTATE_LINES,      /* one line of JSON or another */
    MUTATE_SAFETENSORS /* also the header, with its length set right again */
} mutate_kind;

/* Another text of the same kind, owned by the caller, *size its length (a NUL follows). random: the state, not 0. */
char *mutate(mutate_kind kind, const char *data, size_t n, uint64_t *random, size_t *size);

uint64_t mutate_random(uint64_t *random);

#endif
