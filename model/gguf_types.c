/* gguf_types.c - the types that a tensor of a GGUF file may have. How the blocks of those that are decoded lie stands
 * in kernels/kernels.h. */
#include "model/gguf_types.h"

#include <stddef.h>

enum { SMALL = 32, LARGE = 256 }; /* weights of a block */

/* The kernels say how large a block is that they unpack. */
#define CODED(NAME)                                                                                                    \
    { #NAME, TQ_BLOCK_WEIGHTS_##NAME, TQ_BLOCK_BYTES_##NAME, TQ_BLOCKS_##NAME }

static const tq_gguf_type types[] = {
    {0, TQ_F32, {"F32", 1, 4, TQ_BLOCKS}},
    {1, TQ_F16, {"F16", 1, 2, TQ_BLOCKS}},
    {30, TQ_BF16, {"BF16", 1, 2, TQ_BLOCKS}},
    {2, TQ_CODED, CODED(Q4_0)},
    {3, TQ_CODED, CODED(Q4_1)},
    {6, TQ_CODED, CODED(Q5_0)},
    {7, TQ_CODED, CODED(Q5_1)},
    {8, TQ_CODED, CODED(Q8_0)},
    {10, TQ_CODED, CODED(Q2_K)},
    {11, TQ_CODED, CODED(Q3_K)},
    {12, TQ_CODED, CODED(Q4_K)},
    {13, TQ_CODED, CODED(Q5_K)},
    {14, TQ_CODED, CODED(Q6_K)},
    {20, TQ_CODED, CODED(IQ4_NL)},
    {23, TQ_CODED, CODED(IQ4_XS)},
    /* Known by their size alone. */
    {9, TQ_DTYPE_OTHER, {"Q8_1", SMALL, 40, TQ_BLOCKS}},
    {15, TQ_DTYPE_OTHER, {"Q8_K", LARGE, 292, TQ_BLOCKS}},
    {16, TQ_DTYPE_OTHER, {"IQ2_XXS", LARGE, 66, TQ_BLOCKS}},
    {17, TQ_DTYPE_OTHER, {"IQ2_XS", LARGE, 74, TQ_BLOCKS}},
    {18, TQ_DTYPE_OTHER, {"IQ3_XXS", LARGE, 98, TQ_BLOCKS}},
    {19, TQ_DTYPE_OTHER, {"IQ1_S", LARGE, 50, TQ_BLOCKS}},
    {21, TQ_DTYPE_OTHER, {"IQ3_S", LARGE, 110, TQ_BLOCKS}},
    {22, TQ_DTYPE_OTHER, {"IQ2_S", LARGE, 82, TQ_BLOCKS}},
    {29, TQ_DTYPE_OTHER, {"IQ1_M", LARGE, 56, TQ_BLOCKS}},
    {34, TQ_DTYPE_OTHER, {"TQ1_0", LARGE, 54, TQ_BLOCKS}},
    {35, TQ_DTYPE_OTHER, {"TQ2_0", LARGE, 66, TQ_BLOCKS}},
    {39, TQ_DTYPE_OTHER, {"MXFP4", SMALL, 17, TQ_BLOCKS}},
    {40, TQ_DTYPE_OTHER, {"NVFP4", 64, 36, TQ_BLOCKS}},
    {24, TQ_DTYPE_OTHER, {"I8", 1, 1, TQ_BLOCKS}},
    {25, TQ_DTYPE_OTHER, {"I16", 1, 2, TQ_BLOCKS}},
    {26, TQ_DTYPE_OTHER, {"I32", 1, 4, TQ_BLOCKS}},
    {27, TQ_DTYPE_OTHER, {"I64", 1, 8, TQ_BLOCKS}},
    {28, TQ_DTYPE_OTHER, {"F64", 1, 8, TQ_BLOCKS}},
};

const tq_gguf_type *tq_gguf_type_at(size_t i) {
    return i < sizeof types / sizeof *types ? &types[i] : NULL;
}

const tq_gguf_type *tq_gguf_type_find(uint32_t id) {
    const tq_gguf_type *t;
    for (size_t i = 0; (t = tq_gguf_type_at(i)); i++)
        if (t->id == id) return t;
    return NULL;
}
