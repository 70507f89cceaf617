/* Trains the trellis tables and prints quant/codebook_trellis_tables.h; run by `make tables`. */
#include <stdio.h>

#include "quant/codebook.h"

enum { FRESH_SEED = 2 };

static void print_array(const char *name, const int *values) {
    printf("        .%s = {", name);
    for (int i = 0; i < 16; i++)
        printf("%s%d", i ? ", " : "", values[i]);
    printf("},\n");
}

static void print_table(int states) {
    tq_levels l;
    int values[4][16];
    tq_codebook_train_trellis(&l, states);
    for (int i = 0; i < 16; i++) {
        values[0][i] = l.a[i];
        values[1][i] = l.v[i];
        values[2][i] = l.u[i];
        values[3][i] = l.t[i];
    }
    printf("    {\n        /* %d states: mean squared error %.3e on fresh samples of N(0,1) */\n", states,
           tq_codebook_trellis_mse(&l, states, FRESH_SEED));
    print_array("a", values[0]);
    print_array("v", values[1]);
    print_array("u", values[2]);
    if (states > 16) print_array("t", values[3]);
    printf("        .step = %aF,\n    },\n", (double)l.step);
}

int main(void) {
    printf("/* Made by `make tables`; trained by quant/codebook_trellis.c. Included by quant/codebook.c alone. */\n");
    printf("static const tq_levels trellis_tables[] = {\n");
    print_table(16);
    print_table(256);
    printf("};\n");
    return 0;
}
