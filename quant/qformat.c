#include "quant/qformat.h"

#include <stdio.h>
#include <string.h>

#include "quant/qmatrix_internal.h"

static const tq_bits_traits bits_traits[TQ_BITS_COUNT] = {
    {TQ_BITS_KEEP, "keep", '0', 0, 0, false, "the weights of the file, as they are"},
    {TQ_BITS_4, "4", '4', 4, 0, false, "16 Lloyd-Max levels"},
    {TQ_BITS_4T, "4t", '5', 4, 0, true, "trellis codes: 16 levels that depend on the codes before"},
    {TQ_BITS_4_2, "4+2", '6', 4, 2, false, "the 4-bit code, its cell divided in 4"},
    {TQ_BITS_4_4, "4+4", '8', 4, 4, false, "the 4-bit code, its cell divided in 16"},
};

static const char *const residual_names[TQ_RESIDUAL_COUNT] = {"nested", "independent"};
static const char *const calibrate_names[TQ_CALIBRATE_COUNT] = {"none", "ldlq", "ldlq-asym"};
static const char *const rotation_names[TQ_ROTATION_COUNT] = {"hadamard", "qr", "none"};

const size_t tq_groups[] = {32, 64, 128, 256, 512, TQ_GROUP_ROW};
const size_t tq_groups_count = sizeof tq_groups / sizeof tq_groups[0];

const tq_bits_traits *tq_bits_get(tq_bits bits) {
    return &bits_traits[bits];
}

const tq_bits_traits *tq_bits_find(const char *name) {
    for (size_t i = 0; i < TQ_BITS_COUNT; i++)
        if (strcmp(bits_traits[i].name, name) == 0) return &bits_traits[i];
    return NULL;
}

const char *tq_group_name(size_t group, char buf[24]) {
    if (group == TQ_GROUP_ROW)
        snprintf(buf, 24, "row");
    else
        snprintf(buf, 24, "%zu", group);
    return buf;
}

bool tq_group_parse(const char *text, size_t *group) {
    char buf[24];
    for (size_t i = 0; i < tq_groups_count; i++) {
        if (strcmp(text, tq_group_name(tq_groups[i], buf)) != 0) continue;
        *group = tq_groups[i];
        return true;
    }
    return false;
}

static bool find_name(const char *const *names, int count, const char *text, int *out) {
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], text) != 0) continue;
        *out = i;
        return true;
    }
    return false;
}

const char *tq_residual_name(tq_residual r) {
    return residual_names[r];
}
const char *tq_rotation_name(tq_rotation_kind r) {
    return rotation_names[r];
}

bool tq_residual_parse(const char *text, tq_residual *out) {
    int i;
    if (!find_name(residual_names, TQ_RESIDUAL_COUNT, text, &i)) return false;
    *out = (tq_residual)i;
    return true;
}

bool tq_rotation_parse(const char *text, tq_rotation_kind *out) {
    int i;
    if (!find_name(rotation_names, TQ_ROTATION_COUNT, text, &i)) return false;
    *out = (tq_rotation_kind)i;
    return true;
}

bool tq_qspec_published(const tq_qspec *s) {
    return s->rotation == TQ_ROTATION_HADAMARD && s->residual == TQ_RESIDUAL_INDEPENDENT;
}

int tq_qspec_states(const tq_qspec *s) {
    if (!bits_traits[s->bits].trellis) return 0;
    return s->states ? s->states : 16;
}

const char *tq_calibrate_name(tq_calibrate c) {
    return calibrate_names[c];
}

bool tq_calibrate_parse(const char *text, tq_calibrate *out) {
    int i;
    if (!find_name(calibrate_names, TQ_CALIBRATE_COUNT, text, &i)) return false;
    *out = (tq_calibrate)i;
    return true;
}

tq_common tq_common_default(void) {
    return (tq_common){.seed = TQ_SEED_DEFAULT, .states = TQ_STATES_DEFAULT};
}

bool tq_common_equal(const tq_common *a, const tq_common *b) {
    return a->residual == b->residual && a->rotation == b->rotation && a->seed == b->seed && a->states == b->states &&
           a->calibrate == b->calibrate;
}

tq_qspec tq_qspec_of(tq_bits bits, size_t group, const tq_common *common) {
    return (tq_qspec){bits, group, common->residual, common->rotation, common->seed, common->states, common->calibrate};
}

bool tq_qspec_same_layout(const tq_qspec *a, const tq_qspec *b) {
    if (a->bits != b->bits) return false;
    if (a->bits == TQ_BITS_KEEP) return true;
    return a->group == b->group && a->residual == b->residual && a->rotation == b->rotation && a->seed == b->seed;
}

bool tq_qspec_equal(const tq_qspec *a, const tq_qspec *b) {
    if (!tq_qspec_same_layout(a, b) || tq_qspec_states(a) != tq_qspec_states(b)) return false;
    return a->bits == TQ_BITS_KEEP || a->calibrate == b->calibrate;
}

static bool is_valid(const tq_qspec *s) {
    if (s->bits <= TQ_BITS_KEEP || s->bits >= TQ_BITS_COUNT) return false;
    if ((unsigned)s->residual >= TQ_RESIDUAL_COUNT || (unsigned)s->rotation >= TQ_ROTATION_COUNT) return false;
    int states = tq_qspec_states(s);
    if (states != 0 && states != 16 && states != 256) return false;
    for (size_t i = 0; i < tq_groups_count; i++)
        if (tq_groups[i] == s->group) return true;
    return false;
}

static bool plane_bytes(size_t *out, const tq_stage_shape *s, int bits) {
    return tq_mul_size(out, s->tiles, s->blocks) && tq_mul_size(out, *out, (size_t)2 * TQ_BLOCK * (size_t)bits);
}

static bool fill_shape(tq_stage_shape *s, size_t group, size_t rows, size_t cols, int code_bits, int fine_bits) {
    s->code_bits = code_bits;
    s->fine_bits = fine_bits;
    s->tiles = (rows - 1) / TQ_TILE_ROWS + 1;
    s->blocks = (cols - 1) / TQ_BLOCK + 1;
    s->group_blocks = group == TQ_GROUP_ROW || group > cols ? s->blocks : group / TQ_BLOCK;
    s->groups = (s->blocks - 1) / s->group_blocks + 1;
    return plane_bytes(&s->codes_bytes, s, code_bits) && plane_bytes(&s->fine_bytes, s, fine_bits) &&
           tq_mul_size(&s->scales_bytes, s->tiles, s->groups) &&
           tq_mul_size(&s->scales_bytes, s->scales_bytes, TQ_TILE_ROWS * sizeof(uint16_t)) &&
           /* Whatever is held per weight elsewhere (floats of a row, doubles of a tile) then fits too. */
           s->codes_bytes <= PTRDIFF_MAX / 64 && s->fine_bytes <= PTRDIFF_MAX / 64 &&
           s->scales_bytes <= PTRDIFF_MAX / 64;
}

size_t tq_stage_shapes(const tq_qspec *spec, size_t rows, size_t cols, tq_stage_shape shape[TQ_MAX_STAGES]) {
    if (!is_valid(spec) || rows == 0 || cols == 0) return 0;
    const tq_bits_traits *t = &bits_traits[spec->bits];
    shape[0].states = shape[1].states = tq_qspec_states(spec);
    bool split = spec->residual == TQ_RESIDUAL_INDEPENDENT && t->fine_bits > 0;
    if (!fill_shape(&shape[0], spec->group, rows, cols, t->code_bits, split ? 0 : t->fine_bits)) return 0;
    if (!split) return 1;
    return fill_shape(&shape[1], spec->group, rows, cols, t->fine_bits, 0) ? 2 : 0;
}

size_t tq_qspec_bytes(const tq_qspec *spec, size_t rows, size_t cols) {
    tq_stage_shape shape[2];
    size_t stages = tq_stage_shapes(spec, rows, cols, shape);
    size_t total = 0;
    for (size_t i = 0; i < stages; i++)
        total += shape[i].codes_bytes + shape[i].fine_bytes + shape[i].scales_bytes + TQ_LEVELS_BYTES;
    return total;
}

double tq_bits_per_weight(double bytes, size_t weights) {
    return weights ? 8.0 * bytes / (double)weights : 0;
}
