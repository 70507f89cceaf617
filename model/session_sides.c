/* session_sides.c - plans packed beside the one in force, for what is compared: two at most are kept. */
#include <stdlib.h>

#include "model/session_internal.h"

void tq_packing_free(tq_packing *p, size_t count) {
    for (size_t i = 0; p->q && i < count; i++)
        tq_qmatrix_free(p->q[i]);
    tq_plan_free(p->plan);
    free(p->q);
    free(p->distortion);
    free(p->calibrated);
    *p = (tq_packing){0};
}

int tq_packing_new(const tq_session *s, const tq_plan *plan, tq_packing *out, tq_err *err) {
    *out = (tq_packing){.plan = tq_plan_copy(plan)};
    out->q = calloc(s->count + 1, sizeof(void *));
    out->distortion = calloc(s->count + 1, sizeof *out->distortion);
    out->calibrated = calloc(s->count + 1, sizeof *out->calibrated);
    if (out->plan && out->q && out->distortion && out->calibrated) return TQ_OK;
    tq_packing_free(out, s->count);
    return tq_fail(err, "out of memory for a plan");
}

void tq_packing_swap(tq_session *s, tq_packing *other) {
    tq_packing now = {s->plan, s->q, s->distortion, s->calibrated};
    s->plan = other->plan;
    s->q = other->q;
    s->distortion = other->distortion;
    s->calibrated = other->calibrated;
    *other = now;
}

/* What both plans give is the same, whatever else they say. */
static bool same_matrices(const tq_session *s, const tq_plan *a, const tq_plan *b) {
    for (size_t i = 0; i < s->count; i++) {
        tq_qspec x = tq_plan_spec(a, i), y = tq_plan_spec(b, i);
        bool kept = x.bits == TQ_BITS_KEEP && y.bits == TQ_BITS_KEEP;
        if (!kept && !tq_qspec_equal(&x, &y)) return false;
    }
    return true;
}

/* Packs into a slot. The evaluators, and the conversation, stay those of the plan in force. */
static int pack(tq_session *s, tq_packing *slot, const tq_plan *plan, const tq_progress *p, tq_err *err) {
    tq_packing_free(slot, s->count);
    int rc = tq_packing_new(s, plan, slot, err);
    if (rc != TQ_OK) return rc;
    tq_packing_swap(s, slot);
    s->aside = true;
    rc = tq_session_apply(s, p, NULL, NULL, err);
    s->aside = false;
    tq_packing_swap(s, slot);
    if (rc != TQ_OK) tq_packing_free(slot, s->count);
    return rc;
}

int tq_session_sides(tq_session *s, const tq_plan *const plan[2], const tq_progress *p, tq_variant out[2],
                     tq_err *err) {
    bool used[2] = {false, false};
    int at[2] = {-1, -1}; /* -1: none of the slots */
    for (int k = 0; k < 2; k++) {
        out[k] = NULL;
        if (!plan[k] || tq_plan_keeps_all(plan[k])) continue;
        if (same_matrices(s, plan[k], s->plan)) {
            int rc = tq_session_apply(s, p, NULL, NULL, err);
            if (rc != TQ_OK) return rc;
            out[k] = s->q;
            continue;
        }
        at[k] = 2; /* to be packed */
        for (int i = 0; i < 2; i++)
            if (s->sides[i].plan && same_matrices(s, plan[k], s->sides[i].plan)) at[k] = i;
        if (at[k] < 2) used[at[k]] = true;
    }
    for (int k = 0; k < 2; k++) {
        if (at[k] < 0) continue;
        if (at[k] == 2 && k == 1 && at[0] >= 0 && same_matrices(s, plan[0], plan[1])) at[1] = at[0];
        if (at[k] == 2) {
            at[k] = used[0] ? 1 : 0;
            used[at[k]] = true;
            int rc = pack(s, &s->sides[at[k]], plan[k], p, err);
            if (rc != TQ_OK) return rc;
        }
        out[k] = s->sides[at[k]].q;
    }
    return TQ_OK;
}
