/* recipe_llama_cpp.c - llama.cpp: a shell script that calls llama-quantize with a type for every matrix.
 *
 * --tensor-type REGEX=TYPE, looked for in the tensor's name, the first that is found counts; only where the type at the
 * end of the line is a quantized one. So Q8_0 stands there, and all that stays is named too. */
#include <stdio.h>
#include <string.h>

#include "model/gguf_export.h"
#include "model/recipe.h"

enum { NAME_SIZE = 320, SUPER_BLOCK = 256, BLOCK = 32 };

/* Types by bits a weight: of rows of whole super-blocks, and of rows of whole blocks. */
static const struct {
    int bits;
    const char *super, *plain;
} types[] = {{4, "q4_k", "iq4_nl"}, {6, "q6_k", "q5_1"}, {8, "q8_0", "q8_0"}};

static const char *type_of(const tq_matrix *m, tq_choice c) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].bits == tq_recipe_bits(c)) return m->w.cols % SUPER_BLOCK == 0 ? types[i].super : types[i].plain;
    return NULL;
}

/* What it is stored as, as ggml says it. */
static void stored_type(const tq_tensor *t, char out[32]) {
    (void)snprintf(out, 32, "%s", t ? t->dtype_name : "bf16");
    for (char *p = out; *p; p++)
        if (*p >= 'A' && *p <= 'Z') *p = (char)(*p - 'A' + 'a');
}

static bool file_name(const tq_plan *plan, const tq_matrix *m, char out[NAME_SIZE]) {
    const tq_config *c = tq_model_config(tq_plan_model(plan));
    char weight[NAME_SIZE], plain[NAME_SIZE];
    (void)snprintf(weight, sizeof weight, "%s.weight", m->name);
    tq_gguf_plain_name(c, weight, plain, sizeof plain);
    return tq_gguf_name_of(tq_gguf_arch_of(c), plain, out, NAME_SIZE);
}

int tq_recipe_llama_cpp_check(const tq_plan *plan, tq_err *err) {
    const tq_model *model = tq_plan_model(plan);
    char name[NAME_SIZE];
    if (!tq_gguf_arch_of(tq_model_config(model)))
        return tq_fail(err, "what its tensors are called in GGUF is not known for %s",
                       tq_model_config(model)->model_type);
    for (size_t i = 0; i < tq_model_block_matrices(model); i++) {
        const tq_matrix *m = tq_model_matrix(model, i);
        if (!file_name(plan, m, name)) return tq_fail(err, "%s has no name of its own in GGUF", m->name);
        if (tq_plan_get(plan, i).bits != TQ_BITS_KEEP && m->w.cols % BLOCK)
            return tq_fail(err, "%s has %zu columns, llama.cpp's types have blocks of %d", m->name, m->w.cols, BLOCK);
    }
    return tq_recipe_fits(plan, err);
}

/* A name as a regular expression that finds it alone. */
static void escape(const char *name, char out[2 * NAME_SIZE]) {
    size_t n = 0;
    for (; *name; name++) {
        if (*name == '.') out[n++] = '\\';
        out[n++] = *name;
    }
    out[n] = '\0';
}

/* What is before and behind the blocks stays as stored. */
static void put_ends(tq_recipe_text *t, const tq_model *m) {
    char type[32];
    for (size_t i = tq_model_block_matrices(m); i < tq_model_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        stored_type(x->tensor, type);
        tq_recipe_line(t, "  --%s-type %s \\", x->end == TQ_END_HEAD ? "output-tensor" : "token-embedding", type);
    }
}

int tq_recipe_llama_cpp(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    tq_recipe_text t = {0};
    char label[512], name[NAME_SIZE], regex[2 * NAME_SIZE], type[32];
    (void)p;
    tq_recipe_label(job, TQ_EXPORT_LLAMA_CPP, label, sizeof label);
    tq_recipe_line(&t, "#!/bin/sh");
    tq_recipe_line(&t, "# %s.", label);
    tq_recipe_line(&t,
                   "# sh THIS MODEL.gguf OUT.gguf    MODEL.gguf: the model unquantized, as convert_hf_to_gguf.py or");
    tq_recipe_line(&t, "# tqexplore export --format gguf without a plan makes it; an --imatrix may be added.");
    tq_recipe_line(&t, "exec llama-quantize \\");
    put_ends(&t, job->model);
    for (size_t i = 0; i < tq_model_block_matrices(job->model); i++) {
        const tq_matrix *m = tq_model_matrix(job->model, i);
        const char *quantized = type_of(m, tq_plan_get(job->plan, i));
        stored_type(m->tensor, type);
        (void)file_name(job->plan, m, name);
        escape(name, regex);
        tq_recipe_line(&t, "  --tensor-type '^%s$=%s' \\", regex, quantized ? quantized : type);
    }
    tq_recipe_line(&t, "  \"$@\" Q8_0");
    return tq_recipe_save(&t, job, err);
}
