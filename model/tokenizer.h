/* tokenizer.h - tokenizer.json (byte-level BPE, added and special tokens) to ids and back. */
#ifndef TQ_TOKENIZER_H
#define TQ_TOKENIZER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "model/tensor_source.h"

typedef struct tq_tokenizer tq_tokenizer;

/* Reads DIR/tokenizer.json (and tokenizer_config.json when present). What it does not understand (another model type,
 * an unknown normalizer or pre-tokenizer) is an error that names it. */
int tq_tokenizer_load(const char *dir, tq_tokenizer **out, tq_err *err);
/* The same for an opened model, whose file may hold its tokenizer. *out is NULL, without an error, when there is none.
 */
int tq_tokenizer_of(const tq_source *source, tq_tokenizer **out, tq_err *err);
void tq_tokenizer_free(tq_tokenizer *t);

size_t tq_tokenizer_vocab(const tq_tokenizer *t); /* highest id + 1 */

/* Text (n bytes, any bytes; invalid UTF-8 becomes U+FFFD as the reference does on lossy text) to ids.
 * special: recognise added tokens such as <|im_start|> in the text; with false they are encoded as plain text.
 * add_bos: apply the post-processor's template (e.g. Llama's <|begin_of_text|>). *ids is owned by the caller. */
int tq_tokenizer_encode(const tq_tokenizer *t, const char *text, size_t n, bool special, bool add_bos, int **ids,
                        size_t *count, tq_err *err);

/* Bytes of ids appended one after another, with '\0' after the end; the caller frees *text. skip_special leaves special
 * tokens out. */
int tq_tokenizer_decode(const tq_tokenizer *t, const int *ids, size_t count, bool skip_special, char **text, size_t *n,
                        tq_err *err);

/* The bytes of one id (not NUL-terminated, owned by the tokenizer); NULL and 0 for an unknown id. A character may be
 * spread over several tokens. */
const char *tq_tokenizer_bytes(const tq_tokenizer *t, int id, size_t *n);
bool tq_tokenizer_is_special(const tq_tokenizer *t, int id);
int tq_tokenizer_id(const tq_tokenizer *t, const char *token); /* of a token's text as written in the file, or -1 */

#endif
