/* rotation_signs.c - signs as the published implementation draws them: the parity of MT19937's outputs. */
#include "quant/rotation_internal.h"

enum { WORDS = 624, SHIFT = 397 };

/* The Mersenne Twister (Matsumoto and Nishimura, ACM TOMACS 8(1), 1998), seeded as its authors did in 2002. */
typedef struct twister {
    uint32_t word[WORDS];
    size_t next;
} twister;

static void seed_twister(twister *t, uint32_t seed) {
    t->word[0] = seed;
    for (uint32_t i = 1; i < WORDS; i++)
        t->word[i] = UINT32_C(1812433253) * (t->word[i - 1] ^ t->word[i - 1] >> 30) + i;
    t->next = WORDS;
}

static void renew(twister *t) {
    for (size_t i = 0; i < WORDS; i++) {
        uint32_t y = (t->word[i] & UINT32_C(0x80000000)) | (t->word[(i + 1) % WORDS] & UINT32_C(0x7fffffff));
        t->word[i] = t->word[(i + SHIFT) % WORDS] ^ y >> 1 ^ (y & 1 ? UINT32_C(0x9908b0df) : 0);
    }
    t->next = 0;
}

static uint32_t next_word(twister *t) {
    if (t->next == WORDS) renew(t);
    uint32_t y = t->word[t->next++];
    y ^= y >> 11;
    y ^= y << 7 & UINT32_C(0x9d2c5680);
    y ^= y << 15 & UINT32_C(0xefc60000);
    return y ^ y >> 18;
}

void tq_signs_published(float *signs, size_t n, uint64_t seed) {
    twister t;
    seed_twister(&t, (uint32_t)seed);
    for (size_t i = 0; i < n; i++)
        signs[i] = next_word(&t) & 1 ? 1.0F : -1.0F;
}
