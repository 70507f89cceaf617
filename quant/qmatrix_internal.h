/* qmatrix_internal.h - how a quantized matrix lies in memory; for the files of quant/ alone. */
#ifndef TQ_QMATRIX_INTERNAL_H
#define TQ_QMATRIX_INTERNAL_H

#include "quant/codebook.h"
#include "quant/qmatrix.h"

#define TQ_MAX_STAGES 2

/* The side table of a stage as it lies in a file, little-endian: u32 version, f32 scale_mul, f32 step, i16 a[16],
 * i8 v[16], u8 fine[2][16]; of a trellis i8 u[16], i8 t[16] in place of fine. */
#define TQ_LEVELS_VERSION 1
#define TQ_LEVELS_BYTES 92

/* The sizes of one stage, padding included. */
typedef struct tq_stage_shape {
    int code_bits;
    int fine_bits;
    int states; /* of a trellis, else 0 */
    size_t tiles;
    size_t blocks;
    size_t groups;
    size_t group_blocks;
    size_t codes_bytes;
    size_t fine_bytes;
    size_t scales_bytes;
} tq_stage_shape;

/* Fills shape[0 .. stages) and returns the number of stages: 0 for keep, for an empty matrix, for a spec with members
 * out of range, and when a size overflows. */
size_t tq_stage_shapes(const tq_qspec *spec, size_t rows, size_t cols, tq_stage_shape shape[TQ_MAX_STAGES]);

typedef struct tq_stage {
    tq_stage_shape shape;
    const tq_rotation *rotation; /* of the cache */
    tq_levels levels;
    tq_packed packed; /* borrows what follows */
    uint8_t *codes;
    uint8_t *fine; /* NULL without a residual plane */
    uint16_t *scales;
    uint8_t table[TQ_LEVELS_BYTES];
} tq_stage;

struct tq_qmatrix {
    tq_qspec spec;
    size_t rows, cols, stages;
    tq_stage stage[TQ_MAX_STAGES];
};

/* A matrix with the program's own level tables, codes and scales undefined; NULL with a message. */
tq_qmatrix *tq_qmatrix_new(const tq_qspec *spec, size_t rows, size_t cols, tq_rotation_cache *cache, tq_err *err);

/* Makes s->table say what s->levels and s->packed.scale_mul are. */
void tq_stage_write_table(tq_stage *s);

/* The codebook of a stage's own tables. */
void tq_stage_codebook(tq_codebook *book, const tq_stage_shape *shape);

/* scale_mul for scales of which `most` is the largest: the power of two that brings it just below 2^14. fp16 then keeps
 * 11 bits of every scale down to 2^-28 of the largest. */
float tq_scale_unit(float most);

/* From ||W||^2, <W, Q>, ||Q||^2 and ||W - Q||^2. */
tq_distortion tq_distortion_of(double ww, double wq, double qq, double error);

/* Trellis codes of one column: z: [rows16], coordinates of N(0,1), rows16 a multiple of 16 (what pads it may be 0);
 * codes: [rows16], of which the columns' codes of all 16 sequences are; level: [rows16], what they decode to, in z
 * (step applied); again: codes hold a path, the one found is no worse. book: of tq_codebook_init_trellis. work:
 * tq_trellis_column_work bytes, aligned to 4. Serial, thread-safe. */
void tq_trellis_column(const tq_codebook *book, const float *z, size_t rows16, uint8_t *codes, float *level, bool again,
                       void *work);
size_t tq_trellis_column_work(const tq_codebook *book, size_t rows16);

/* Rows r0 .. r0+n-1 of the first `stages` stages; otherwise as tq_qmatrix_dequantize_rows. */
void tq_qmatrix_dequantize_stages(const tq_qmatrix *q, size_t stages, size_t r0, size_t n, float *out, float *scratch);

#endif
