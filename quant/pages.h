/* pages.h - memory for the codes of matrices, in huge pages. */
#ifndef TQ_PAGES_H
#define TQ_PAGES_H

#include <stddef.h>

/* Codes are read from one end to the other for every token. In pages of 4 KiB that stops at the end of each page for
 * the walk of the page tables (20 GB/s a core), in huge pages it does not (30 GB/s). Matrices are smaller than a huge
 * page, so they share regions of them.
 *
 * n bytes, 64-byte aligned, contents undefined; NULL when memory is short. Freed with tq_pages_free. Thread-safe. */
void *tq_pages_alloc(size_t n);
void tq_pages_free(void *p); /* NULL is fine */

/* Asks for huge pages under memory that the caller allocated otherwise, where it covers some. */
void tq_pages_advise(void *p, size_t n);

#endif
