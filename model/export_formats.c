/* export_formats.c - the table of formats that a model or its plan leaves the program in. */
#include <string.h>

#include "model/export.h"

#define ROW(id, ...) {TQ_EXPORT_##id, __VA_ARGS__},
static const tq_export_traits formats[TQ_EXPORT_COUNT] = {TQ_EXPORT_FORMATS(ROW, ROW, ROW)};

const tq_export_traits *tq_export_get(tq_export_format f) {
    return &formats[f];
}

const tq_export_traits *tq_export_find(const char *name) {
    for (int f = 0; f < TQ_EXPORT_COUNT; f++)
        if (strcmp(name, formats[f].name) == 0) return &formats[f];
    return NULL;
}

const char *tq_export_format_name(tq_export_format f) {
    return formats[f].name;
}

static bool quantizes_any(const tq_plan *plan) {
    for (size_t i = 0; i < tq_model_matrices(tq_plan_model(plan)); i++)
        if (tq_plan_spec(plan, i).bits != TQ_BITS_KEEP) return true; /* packed already: it is quantized all the same */
    return false;
}

const char *tq_export_note(tq_export_format f, const tq_plan *plan) {
    if (formats[f].recipe) return "a hint on bit widths, not an equivalent: other codes, other scales, other figures";
    return formats[f].write && !quantizes_any(plan) ? "nothing was quantized: the plan keeps every matrix as stored"
                                                    : NULL;
}

int tq_export_check(tq_export_format f, const tq_plan *plan, tq_err *err) {
    tq_err why = {{0}};
    if (!formats[f].check || formats[f].check(plan, &why) == TQ_OK) return TQ_OK;
    return tq_fail(err, "%s: not exported as %s: %s", tq_source_path(tq_model_source(tq_plan_model(plan))),
                   formats[f].name, why.msg);
}
