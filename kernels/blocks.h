/* blocks.h - what the kernels that unpack blocks of quantized weights share; for this folder only. */
#ifndef TQ_KERNELS_BLOCKS_H
#define TQ_KERNELS_BLOCKS_H

#include "kernels/internal.h"

/* Enters a file's own unpack_q4_0 .. unpack_iq4_xs into the table k: TQ_BLOCK_LAYOUTS(TQ_BLOCK_ENTER). */
#define TQ_BLOCK_ENTER(NAME, name, weights, bytes) k->unpack_blocks[TQ_BLOCKS_##NAME] = unpack_##name;

/* Levels that are not evenly spaced, of IQ4_NL and IQ4_XS. */
extern const int8_t tq_block_uneven[16];

/* A block lies wherever its file put it. */
static inline uint16_t tq_block_u16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t tq_block_u32(const uint8_t *p) {
    return (uint32_t)tq_block_u16(p) | (uint32_t)tq_block_u16(p + 2) << 16;
}

#endif
