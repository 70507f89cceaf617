/* hashed_line.h - lines "TEXT HASH" that tell whether they are whole; private to model/. */
#ifndef TQ_HASHED_LINE_H
#define TQ_HASHED_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TQ_LINE_HASH = 16 }; /* digits */

/* "TEXT HASH\n" of a text without a newline, [*bytes] without its NUL: the caller's; NULL when memory is short. */
char *tq_line_seal(uint64_t seed, const char *text, size_t *bytes);

/* Cuts the hash off a line of n bytes, whose newline is a NUL; false: there is none that fits. */
bool tq_line_open(uint64_t seed, char *line, size_t n);

#endif
