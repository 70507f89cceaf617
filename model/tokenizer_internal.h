/* tokenizer_internal.h - the parts of a tokenizer, in the order in which text meets them: lossy UTF-8, added tokens,
 * normalizer, pre-tokenizer, BPE. Private to model/. Facts: huggingface/tokenizers 0.23, which is the reference. */
#ifndef TQ_TOKENIZER_INTERNAL_H
#define TQ_TOKENIZER_INTERNAL_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "model/json.h"
#include "model/tokenizer.h"

enum { TQ_MAX_STEPS = 16, TQ_MAX_TEMPLATE = 16 };
#define TQ_MAX_TOKEN_ID ((size_t)1 << 22)
#define TQ_MAX_TEXT ((size_t)1 << 30) /* bytes of text at once: positions fit an int */

typedef struct tq_token {
    char *text;  /* as the file writes it, NUL after the end; NULL: no such id */
    char *bytes; /* what it stands for; owned together with text */
    size_t n_text, n_bytes;
    bool added, special;
} tq_token;

/* Growing memory. */
typedef struct tq_buffer {
    char *data;
    size_t n, capacity;
} tq_buffer;
bool tq_buffer_add(tq_buffer *b, const void *data, size_t n);

typedef struct tq_ids {
    int *data;
    size_t n, capacity;
} tq_ids;
bool tq_ids_add(tq_ids *v, int id);

/* A piece of text, borrowed. */
typedef struct tq_span {
    const char *p;
    size_t n;
} tq_span;
typedef struct tq_spans {
    tq_span *data;
    size_t n, capacity;
} tq_spans;
bool tq_spans_add(tq_spans *v, const char *p, size_t n); /* empty pieces are left out */

/* normalize.c: the steps of the normalizer. */
typedef enum tq_normal_kind {
    TQ_NORMAL_NFC,
    TQ_NORMAL_NFD,
    TQ_NORMAL_NFKC,
    TQ_NORMAL_NFKD,
    TQ_NORMAL_PREPEND,
    TQ_NORMAL_REPLACE
} tq_normal_kind;
typedef struct tq_normal_step {
    tq_normal_kind kind;
    char *from; /* replace */
    char *to;   /* replace, prepend */
} tq_normal_step;

/* Appends text with each maximal ill-formed subpart replaced by U+FFFD (Unicode 15, section 3.9, table 3-8). */
bool tq_utf8_lossy(const char *text, size_t n, tq_buffer *out);
bool tq_utf8_valid(const char *text, size_t n);
/* The property White_Space. */
bool tq_is_space(int32_t c);
/* The length of the character at p (valid UTF-8). */
size_t tq_utf8_length(const char *p);
/* out is emptied first; text may not lie in it. */
int tq_normalize(const tq_normal_step *steps, size_t n_steps, const char *text, size_t n, tq_buffer *out, tq_err *err);

/* pretokenize.c: the steps of the pre-tokenizer. */
typedef enum tq_split_kind {
    TQ_SPLIT_PATTERN,
    TQ_SPLIT_PREFIX_SPACE, /* at most one such step, and at most one of the next */
    TQ_SPLIT_METASPACE,    /* spaces become U+2581 */
    TQ_SPLIT_AT_METASPACE
} tq_split_kind;
typedef enum tq_behavior {
    TQ_REMOVED,
    TQ_ISOLATED,
    TQ_MERGED_WITH_PREVIOUS,
    TQ_MERGED_WITH_NEXT,
    TQ_CONTIGUOUS
} tq_behavior;
typedef enum tq_prepend { TQ_PREPEND_NEVER, TQ_PREPEND_FIRST, TQ_PREPEND_ALWAYS } tq_prepend;
typedef struct tq_split_step {
    tq_split_kind kind;
    pcre2_code *code;
    tq_behavior behavior;
    bool invert;
    tq_prepend prepend;
} tq_split_step;

/* Compiles a pattern of the Oniguruma dialect (Ruby syntax) for PCRE2, or says what it cannot take. */
int tq_pattern_compile(const char *file, const char *pattern, pcre2_code **out, tq_err *err);

/* Working memory of one encoding. */
typedef struct tq_splitter tq_splitter;
tq_splitter *tq_splitter_new(void);
void tq_splitter_free(tq_splitter *s);
/* Pieces of text, borrowed from s and text until the next call; first: the text begins the input. */
int tq_split(tq_splitter *s, const tq_split_step *steps, size_t n_steps, const char *text, size_t n, bool first,
             const tq_spans **out, tq_err *err);

/* added_tokens.c */
typedef struct tq_added {
    char *text; /* what is looked for: the content, normalized when `normalized` */
    size_t n;
    int id;
    bool lstrip, rstrip, single_word, normalized;
    bool always; /* looked for also where special tokens are not */
} tq_added;
/* Tokens of one kind (normalized or not), sorted by text. */
typedef struct tq_added_set {
    tq_added *tokens;
    size_t n;
    size_t first[257]; /* tokens that begin with byte b: first[b] .. first[b + 1] - 1 */
} tq_added_set;
int tq_added_finish(const char *file, tq_added_set *set, tq_err *err);
/* The next token at or after *scan in text. begin and end include the space that lstrip and rstrip take; floor is
 * where the token before ended. *scan is where to look next. */
const tq_added *tq_added_next(const tq_added_set *set, const char *text, size_t n, size_t floor, size_t *scan,
                              size_t *begin, size_t *end);

/* bpe.c */
typedef struct tq_merge {
    uint64_t pair; /* left id << 32 | right id */
    int rank;      /* -1: free slot */
    int id;        /* of the two together */
} tq_merge;
typedef struct tq_bpe {
    tq_merge *merges; /* open addressing */
    size_t n_slots;   /* a power of two */
    int byte_id[256]; /* byte-level: of each byte; byte_fallback: of <0xXX>; -1: none */
    int unk;          /* -1: what is not in the vocabulary is left out */
    bool fuse_unk, ignore_merges, byte_level;
} tq_bpe;
int tq_bpe_reserve(tq_bpe *b, size_t merges, tq_err *err);
void tq_bpe_add(tq_bpe *b, int left, int right, int rank, int id); /* a pair that is there already is overwritten */

typedef struct tq_bpe_work tq_bpe_work;
tq_bpe_work *tq_bpe_work_new(void);
void tq_bpe_work_free(tq_bpe_work *w);
/* Appends the ids of one piece. */
int tq_bpe_encode(const tq_tokenizer *t, tq_bpe_work *w, const char *piece, size_t n, tq_ids *ids, tq_err *err);

struct tq_tokenizer {
    tq_token *tokens; /* [n_tokens] by id */
    size_t n_tokens;
    size_t longest;        /* bytes of the longest text */
    int *slots;            /* id by text, open addressing; -1 is free */
    size_t n_slots;        /* a power of two */
    tq_added_set added[2]; /* looked for in the text as given, and after normalization */
    tq_added_set always;   /* those of added[0] that are looked for always; texts are theirs */
    tq_normal_step normal[TQ_MAX_STEPS];
    size_t n_normal;
    tq_split_step split[TQ_MAX_STEPS];
    size_t n_split;
    tq_bpe bpe;
    int before[TQ_MAX_TEMPLATE], after[TQ_MAX_TEMPLATE]; /* the post-processor's template */
    size_t n_before, n_after;
    size_t strip; /* leading spaces that decoding takes away */
};

int tq_token_find(const tq_tokenizer *t, const char *text, size_t n); /* -1: none */

/* The byte-level alphabet: the code point that stands for byte b, as UTF-8 in out (at most 2 bytes); its length. */
size_t tq_byte_symbol(unsigned char b, char out[2]);

/* tokenizer.c: appends the ids of text in which no added token is recognised; first: it begins the input. */
int tq_encode_text(const tq_tokenizer *t, const char *text, size_t n, bool first, tq_ids *ids, tq_err *err);
/* The same of text (valid UTF-8) whose spellings of added tokens are tokens, but where typed[i] is 1 for one of their
 * bytes: somebody typed these. */
int tq_encode_typed(const tq_tokenizer *t, const char *text, const unsigned char *typed, size_t n, tq_ids *ids,
                    tq_err *err);

/* tokenizer_scores.c: merges by SentencePiece's rule, out of the tokens' scores: of all pairs of neighbours that make a
 * token, the one of the highest score is joined first. scores: one for each id, null for tokens that no merge makes. */
int tq_tokenizer_read_scores(const char *file, const cJSON *scores, tq_tokenizer *t, tq_err *err);
/* Puts such merges as a list into a tokenizer.json with scores, for other programs; a list has no equals, so that of
 * two ways to make a token they may take another. One without scores stays. */
int tq_tokenizer_merges_of_scores(cJSON *root, tq_err *err);

/* tokenizer_vocab.c: model and added_tokens; what stands for what must be known, so after tokenizer_steps.c. */
int tq_tokenizer_read_vocab(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err);

/* tokenizer_steps.c: normalizer, pre_tokenizer, post_processor (after the vocabulary) and decoder. */
int tq_tokenizer_read_steps(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err);
int tq_tokenizer_read_template(const char *file, const cJSON *root, tq_tokenizer *t, tq_err *err);

#endif
