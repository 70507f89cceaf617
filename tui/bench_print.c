/* bench_print.c - the figures of a benchmark as text and as JSON. */
#include <stdio.h>

#include "tui/bench.h"

/* --- text --- */

static void print_encode(const tq_bench_result *r) {
    char group[24], bits[24];
    printf("encode, a matrix of bf16, packing and distortion included\n  bits    group  Mweights/s\n");
    for (size_t i = 0; i < r->n_encode; i++) {
        const tq_bench_encode *e = &r->encode[i];
        (void)snprintf(bits, sizeof bits, e->states == 256 ? "%s 256" : "%s", tq_bits_get(e->choice.bits)->name);
        printf("  %-7s %5s  %10.0f\n", bits, tq_group_name(e->choice.group, group),
               tq_samples_median(&e->mweights_per_s));
    }
}

static void print_speeds(const tq_bench_result *r) {
    double huge = tq_samples_median(&r->read_huge_gbps);
    printf("\nmodel of %.1f M weights, %.0f MiB\n"
           "  bits   head   decode tok/s   GB/s  of read  of huge  prefill tok/s\n",
           (double)r->model_weights * 1e-6, tq_mib(r->model_bytes));
    for (size_t i = 0; i < r->n_speed; i++) {
        const tq_bench_speed *s = &r->speed[i];
        double gbps = tq_samples_median(&s->gbps);
        printf("  %-6s %-5s %13.1f %6.2f %6.0f %% %6.0f %% %14.1f\n", s->bits, tq_bits_get(s->head)->name,
               tq_samples_median(&s->tok_per_s), gbps, 100 * tq_samples_median(&s->share), 100 * gbps / huge,
               tq_samples_median(&s->prefill));
    }
}

static double rest_of(const double part[TQ_PART_COUNT], double seconds) {
    for (int i = 0; i < TQ_PART_COUNT; i++)
        seconds -= part[i];
    return seconds;
}

static void print_shares(const char *name, const double part[TQ_PART_COUNT], double seconds) {
    printf("  %-12s", name);
    for (int i = 0; i < TQ_PART_COUNT; i++)
        printf(" %9.1f", 100 * part[i] / seconds);
    printf(" %9.1f\n", 100 * rest_of(part, seconds) / seconds);
}

static void print_parts(const tq_bench_result *r) {
    printf("\nwhere the time of a token goes, %%\n  %-12s", "");
    for (int i = 0; i < TQ_PART_COUNT; i++)
        printf(" %9s", tq_part_name((tq_part)i));
    printf(" %9s\n", "rest");
    for (size_t i = 0; i < r->n_speed; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "decode %s", r->speed[i].bits);
        print_shares(name, r->speed[i].part, r->speed[i].seconds);
    }
    if (r->eval.bits) print_shares("evaluation", r->eval.part, r->eval.seconds);
}

static void print_eval(const tq_bench_eval *e) {
    double full = tq_samples_median(&e->full), prefill = tq_samples_median(&e->prefill);
    if (!e->bits) return;
    printf(
        "\nKL divergence of %zu tokens at %s, the base model cached: %.3f s, %.2f times a prompt of as many in fp32\n"
        "after a change in the last block: %.3f s, %.2f of it\n",
        e->tokens, e->bits, full, full / prefill, tq_samples_median(&e->last), tq_samples_median(&e->last) / full);
}

void tq_bench_print(const tq_bench_result *r) {
    printf("kernels %s, %d threads, memory is read at %.1f GB/s, from huge pages at %.1f GB/s", r->cpu, r->threads,
           tq_samples_median(&r->read_gbps), tq_samples_median(&r->read_huge_gbps));
    if (r->rounds > 1) printf("; medians of %zu rounds", r->rounds);
    printf("\n\n");
    print_encode(r);
    print_speeds(r);
    print_parts(r);
    print_eval(&r->eval);
}

/* --- JSON --- */

/* The median as `name`, and every round as `name`_rounds. */
static bool add_samples(cJSON *object, const char *name, const tq_samples *s) {
    char rounds[48];
    (void)snprintf(rounds, sizeof rounds, "%s_rounds", name);
    cJSON *array = cJSON_CreateDoubleArray(s->value, (int)s->n);
    if (!array || !cJSON_AddItemToObject(object, rounds, array)) {
        cJSON_Delete(array);
        return false;
    }
    return tq_json_number(object, name, tq_samples_median(s));
}

static bool add_shares(cJSON *object, const double part[TQ_PART_COUNT], double seconds) {
    cJSON *shares = cJSON_AddObjectToObject(object, "shares");
    if (!shares) return false;
    for (int i = 0; i < TQ_PART_COUNT; i++)
        if (!tq_json_number(shares, tq_part_name((tq_part)i), part[i] / seconds)) return false;
    return tq_json_number(shares, "rest", rest_of(part, seconds) / seconds);
}

/* A new object at the end of the array; NULL when memory is short. */
static cJSON *append_object(cJSON *array) {
    cJSON *o = array ? cJSON_CreateObject() : NULL;
    if (o && !cJSON_AddItemToArray(array, o)) {
        cJSON_Delete(o);
        return NULL;
    }
    return o;
}

static bool encode_json(cJSON *root, const tq_bench_result *r) {
    cJSON *array = cJSON_AddArrayToObject(root, "encode");
    for (size_t i = 0; i < r->n_encode; i++) {
        const tq_bench_encode *row = &r->encode[i];
        cJSON *e = append_object(array);
        if (!e || !tq_json_choice(e, row->choice) || (row->states && !tq_json_number(e, "states", row->states)) ||
            !add_samples(e, "mweights_per_s", &row->mweights_per_s))
            return false;
    }
    return array != NULL;
}

/* Every slice: what the machine read, what decoding did. */
static bool slices_json(cJSON *object, const tq_bench_speed *s) {
    cJSON *array = cJSON_AddArrayToObject(object, "slices");
    for (size_t i = 0; i < s->n_slices; i++) {
        cJSON *e = append_object(array);
        if (!e || !tq_json_number(e, "read_gbps", s->slice[i].read) || !tq_json_number(e, "gbps", s->slice[i].decode) ||
            !cJSON_AddBoolToObject(e, "steady", s->slice[i].steady))
            return false;
    }
    return array != NULL;
}

static bool speed_json(cJSON *decode, cJSON *prefill, const tq_bench_speed *s) {
    cJSON *d = append_object(decode), *p = append_object(prefill);
    const char *head = tq_bits_get(s->head)->name;
    return d && p && cJSON_AddStringToObject(d, "bits", s->bits) && cJSON_AddStringToObject(d, "head", head) &&
           tq_json_number(d, "token_bytes", (double)s->token_bytes) && add_samples(d, "tok_per_s", &s->tok_per_s) &&
           add_samples(d, "gbps", &s->gbps) && add_samples(d, "share_of_read", &s->share) &&
           add_shares(d, s->part, s->seconds) && slices_json(d, s) && cJSON_AddStringToObject(p, "bits", s->bits) &&
           cJSON_AddStringToObject(p, "head", head) && add_samples(p, "tok_per_s", &s->prefill);
}

static bool speeds_json(cJSON *root, const tq_bench_result *r) {
    cJSON *decode = cJSON_AddArrayToObject(root, "decode"), *prefill = cJSON_AddArrayToObject(root, "prefill");
    for (size_t i = 0; i < r->n_speed; i++)
        if (!speed_json(decode, prefill, &r->speed[i])) return false;
    return decode && prefill;
}

static bool eval_json(cJSON *root, const tq_bench_eval *e) {
    if (!e->bits) return true;
    cJSON *o = cJSON_AddObjectToObject(root, "evaluation");
    return o && cJSON_AddStringToObject(o, "bits", e->bits) && tq_json_number(o, "tokens", (double)e->tokens) &&
           add_samples(o, "prefill_seconds", &e->prefill) && add_samples(o, "full_seconds", &e->full) &&
           add_samples(o, "last_block_seconds", &e->last) && add_shares(o, e->part, e->seconds);
}

cJSON *tq_bench_json(const tq_bench_result *r) {
    cJSON *root = cJSON_CreateObject();
    bool ok = root && cJSON_AddStringToObject(root, "cpu", r->cpu) &&
              cJSON_AddStringToObject(root, "machine", r->machine) && tq_json_number(root, "threads", r->threads) &&
              tq_json_number(root, "rounds", (double)r->rounds) && add_samples(root, "read_gbps", &r->read_gbps) &&
              add_samples(root, "read_huge_gbps", &r->read_huge_gbps) && encode_json(root, r) && speeds_json(root, r) &&
              eval_json(root, &r->eval);
    cJSON *model = ok ? cJSON_AddObjectToObject(root, "model") : NULL;
    if (model && tq_json_number(model, "weights", (double)r->model_weights) &&
        tq_json_number(model, "bytes", (double)r->model_bytes))
        return root;
    cJSON_Delete(root);
    return NULL;
}
