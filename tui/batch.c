/* batch.c - layers and export, and what the commands without a screen share. */
#include "tui/batch.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A signal handler has no argument: the flag that it sets is the one global of the command line. */
static atomic_bool cancelled;

static void on_signal(int number) {
    (void)number;
    atomic_store(&cancelled, true);
}

static void report(void *ctx, double done, double total) {
    tq_batch *b = ctx;
    if (!b->shows || !(total > 0)) return;
    double seconds = tq_now() - b->start, part = done / total;
    fprintf(stderr, "\r%s %3.0f %%", b->what, 100 * part);
    if (part > 0.02 && part < 1) fprintf(stderr, "  %.0f s left ", seconds / part - seconds);
    fputs("\033[K", stderr);
    b->shown = true;
}

static void handle_signals(void (*handler)(int)) {
    struct sigaction action = {.sa_handler = handler};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

void tq_batch_begin(tq_batch *b) {
    *b = (tq_batch){.what = "", .shows = isatty(STDERR_FILENO) == 1, .start = tq_now()};
    b->progress = (tq_progress){.report = report, .ctx = b, .cancel = &cancelled};
    atomic_store(&cancelled, false);
    handle_signals(on_signal);
}

void tq_batch_step(tq_batch *b, const char *what) {
    if (b->shown) fputs("\r\033[K", stderr);
    b->shown = false;
    b->what = what;
    b->start = tq_now();
}

void tq_batch_end(tq_batch *b) {
    tq_batch_step(b, "");
    handle_signals(SIG_DFL);
}

int tq_batch_fail(tq_batch *b, const tq_err *err) {
    tq_batch_end(b);
    fprintf(stderr, "tqexplore: %s\n", err->msg);
    return EXIT_FAILURE;
}

void tq_batch_notes(const tq_session *s) {
    for (const char *line = tq_session_note(s); *line;) {
        int n = (int)strcspn(line, "\n");
        fprintf(stderr, "tqexplore: note: %.*s\n", n, line);
        line += n + (line[n] == '\n');
    }
    size_t unseen = 0;
    for (size_t i = 0; i < tq_model_matrices(tq_session_model(s)); i++)
        unseen += tq_session_figures(s, i).unseen;
    if (unseen)
        fprintf(stderr,
                "tqexplore: note: %zu matrices of experts have plain codes: fewer than %d tokens of the calibration "
                "text reach them\n",
                unseen, TQ_CALIB_TOKENS_FEW);
}

int tq_batch_flush(tq_err *err) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return TQ_OK;
    return tq_fail(err, "cannot write to stdout: %s", strerror(errno));
}

int tq_batch_json(cJSON *root, tq_err *err) {
    char *text = root ? cJSON_Print(root) : NULL;
    int rc = text ? TQ_OK : tq_fail(err, "out of memory");
    if (text) puts(text);
    cJSON_free(text);
    cJSON_Delete(root);
    return rc;
}

bool tq_json_choice(cJSON *object, tq_choice c) {
    if (!cJSON_AddStringToObject(object, "bits", tq_bits_get(c.bits)->name)) return false;
    if (c.bits == TQ_BITS_KEEP) return cJSON_AddNullToObject(object, "group") != NULL;
    if (c.group == TQ_GROUP_ROW) return cJSON_AddStringToObject(object, "group", "row") != NULL;
    return tq_json_number(object, "group", (double)c.group);
}

bool tq_json_memory(cJSON *root, const tq_memory *m) {
    cJSON *bytes = cJSON_AddObjectToObject(root, "bytes"), *bpw = cJSON_AddObjectToObject(root, "bpw");
    return bytes && bpw && tq_json_number(bytes, "quantized", (double)m->quantized) &&
           tq_json_number(bytes, "kept", (double)m->kept) && tq_json_number(bytes, "total", (double)m->total) &&
           tq_json_number(bytes, "baseline", (double)m->baseline) && tq_json_number(bpw, "linear", m->bpw_linear) &&
           tq_json_number(bpw, "model", m->bpw_model);
}

bool tq_json_baseline(cJSON *object, const tq_session *s) {
    const char *text = tq_model_baseline(tq_session_model(s));
    return (text[0] ? cJSON_AddStringToObject(object, "baseline", text) : cJSON_AddNullToObject(object, "baseline")) !=
           NULL;
}

double tq_mib(size_t bytes) {
    return (double)bytes / (1 << 20);
}

int tq_batch_text(const tq_options *o, tq_session *s, tq_err *err) {
    int rc = tq_options_text(o, s, err);
    if (rc != TQ_OK || tq_session_text_name(s)) return rc;
    return tq_fail(err, "%s: no text to evaluate, give one with --text FILE", o->model);
}

/* --- layers --- */

/* Of the blocks' matrices, as bits a weight are. */
typedef struct layer_totals {
    size_t bytes, baseline, weights;
} layer_totals;

static size_t stored_bytes(const tq_matrix *m) {
    return m->packed ? tq_qmatrix_bytes(m->packed) : tq_matrix_bytes(&m->w);
}

static layer_totals sum_layers(const tq_session *s) {
    layer_totals t = {.weights = tq_model_matrix_weights(tq_session_model(s))};
    for (size_t i = 0; i < tq_model_block_matrices(tq_session_model(s)); i++) {
        t.bytes += tq_session_figures(s, i).bytes;
        t.baseline += stored_bytes(tq_model_matrix(tq_session_model(s), i));
    }
    return t;
}

static const char *const end_uses[] = {
    [TQ_END_NONE] = "", [TQ_END_EMBEDDING] = "embedding", [TQ_END_HEAD] = "head", [TQ_END_TIED] = "embedding and head"};

static bool layer_json(cJSON *layers, const tq_session *s, size_t i) {
    const tq_matrix *m = tq_model_matrix(tq_session_model(s), i);
    tq_matrix_figures f = tq_session_figures(s, i);
    cJSON *o = cJSON_CreateObject();
    if (!o || !cJSON_AddItemToArray(layers, o)) return false;
    return cJSON_AddStringToObject(o, "name", m->name) && tq_json_number(o, "rows", (double)m->w.rows) &&
           tq_json_number(o, "cols", (double)m->w.cols) && tq_json_choice(o, tq_plan_get(tq_session_plan(s), i)) &&
           tq_json_number(o, "rel_mse", f.distortion.rel_mse) && tq_json_number(o, "cosine", f.distortion.cosine) &&
           tq_json_number(o, "bytes", (double)f.bytes) && tq_json_number(o, "bpw", f.bpw) &&
           (m->end == TQ_END_NONE || cJSON_AddStringToObject(o, "use", end_uses[m->end]));
}

static cJSON *layers_json(const tq_session *s) {
    layer_totals t = sum_layers(s);
    cJSON *root = cJSON_CreateObject(), *layers = cJSON_AddArrayToObject(root, "layers");
    cJSON *ends = cJSON_AddArrayToObject(root, "ends"); /* apart, so that layers add up to the total */
    const tq_model *m = tq_session_model(s);
    bool ok = layers && ends;
    for (size_t i = 0; i < tq_model_matrices(m) && ok; i++)
        ok = layer_json(i < tq_model_block_matrices(m) ? layers : ends, s, i);
    cJSON *total = ok ? cJSON_AddObjectToObject(root, "total") : NULL;
    ok = total && tq_json_number(total, "bytes", (double)t.bytes) &&
         tq_json_number(total, "baseline_bytes", (double)t.baseline) &&
         tq_json_number(total, "bpw", tq_bits_per_weight((double)t.bytes, t.weights)) && tq_json_baseline(total, s);
    return tq_json_done(root, ok);
}

static void print_layers(const tq_session *s) {
    const tq_model *m = tq_session_model(s);
    layer_totals t = sum_layers(s);
    int width = 6;
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        int n = (int)strlen(tq_model_matrix(m, i)->name);
        width = n > width ? n : width;
    }
    printf("%-*s %6s %6s  %-5s%5s %9s %9s %12s %6s\n", width, "matrix", "rows", "cols", "bits", "group", "rel.MSE",
           "cosine", "bytes", "bpw");
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        tq_choice c = tq_plan_get(tq_session_plan(s), i);
        tq_matrix_figures f = tq_session_figures(s, i);
        char group[24];
        printf("%-*s %6zu %6zu  %-5s%5s %9.2e %9.6f %12zu %6.3f\n", width, x->name, x->w.rows, x->w.cols,
               tq_bits_get(c.bits)->name, c.bits == TQ_BITS_KEEP ? "" : tq_group_name(c.group, group),
               f.distortion.rel_mse, f.distortion.cosine, f.bytes, f.bpw);
    }
    printf("%-*s %6s %6s  %-5s%5s %9s %9s %12zu %6.3f\n", width, "total of the blocks", "", "", "", "", "", "", t.bytes,
           tq_bits_per_weight((double)t.bytes, t.weights));
    printf("%-*s %6s %6s  %-5s%5s %9s %9s %12zu%s%s\n", width, "as stored", "", "", "", "", "", "", t.baseline,
           tq_model_baseline(m)[0] ? "   baseline: " : "", tq_model_baseline(m));
}

int tq_run_layers(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    tq_batch_begin(&b);
    tq_batch_step(&b, "quantizing");
    int rc = tq_options_open(o, &s, &err);
    if (rc == TQ_OK) rc = tq_session_apply(s, &b.progress, NULL, NULL, &err);
    if (rc == TQ_OK) {
        tq_batch_end(&b);
        tq_batch_notes(s);
        if (o->json)
            rc = tq_batch_json(layers_json(s), &err);
        else
            print_layers(s);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_session_close(s);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}

/* --- export --- */

static cJSON *export_json(const tq_options *o, const tq_session *s) {
    tq_memory memory = tq_session_memory(s);
    const char *note = tq_export_note(o->format, tq_session_plan(s));
    cJSON *root = cJSON_CreateObject();
    if (cJSON_AddStringToObject(root, "format", tq_export_format_name(o->format)) &&
        cJSON_AddStringToObject(root, "out", o->out) && (!note || cJSON_AddStringToObject(root, "note", note)) &&
        tq_json_memory(root, &memory))
        return root;
    cJSON_Delete(root);
    return NULL;
}

int tq_run_export(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    tq_eval_result r;
    const tq_export_traits *format = tq_export_get(o->format);
    tq_batch_begin(&b);
    tq_batch_step(&b, "quantizing");
    int rc = tq_options_open(o, &s, &err);
    if (rc == TQ_OK) rc = tq_export_check(o->format, tq_session_plan(s), &err);
    if (rc == TQ_OK && !format->recipe) rc = tq_session_apply(s, &b.progress, NULL, NULL, &err);
    if (rc == TQ_OK && o->text) {
        tq_batch_step(&b, "evaluating");
        rc = tq_batch_text(o, s, &err);
        if (rc == TQ_OK) rc = tq_session_eval(s, &o->eval, &b.progress, NULL, NULL, &r, &err);
    }
    tq_batch_step(&b, "exporting");
    if (rc == TQ_OK) rc = tq_session_export(s, o->format, o->out, o->force, &b.progress, &err);
    if (rc == TQ_OK) {
        tq_batch_end(&b);
        tq_batch_notes(s);
        if (o->json)
            rc = tq_batch_json(export_json(o, s), &err);
        else
            printf("%s\n", o->out);
        const char *note = tq_export_note(o->format, tq_session_plan(s));
        if (note) fprintf(stderr, "tqexplore: note: %s\n", note);
    }
    if (rc == TQ_OK) rc = tq_batch_flush(&err);
    tq_session_close(s);
    return rc == TQ_OK ? EXIT_SUCCESS : tq_batch_fail(&b, &err);
}
