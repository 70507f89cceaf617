/* Trains the level tables and prints quant/codebook_tables.h; run by `make tables`. */
#include <stdio.h>

#include "quant/codebook.h"

static void print_array(const char *name, const int *values, int count) {
    printf("        .%s = {", name);
    for (int i = 0; i < count; i++)
        printf("%s%d", i ? ", " : "", values[i]);
    printf("},\n");
}

static void print_table(const tq_levels *l, double mse, int code_bits, int fine_bits) {
    int values[16];
    printf("    {\n        /* %d+%d bits: mean squared error %.4e on N(0,1) */\n", code_bits, fine_bits, mse);
    for (int n = 0; n < 16; n++)
        values[n] = l->a[n];
    print_array("a", values, 1 << code_bits);
    for (int n = 0; n < 16; n++)
        values[n] = l->v[n];
    if (fine_bits > 0) print_array("v", values, 16);
    for (int k = 0; k < 2 && fine_bits > 0; k++) {
        for (int r = 0; r < 16; r++)
            values[r] = l->fine[k][r];
        print_array(k ? "fine[1]" : "fine[0]", values, 1 << fine_bits);
    }
    printf("        .step = %aF,\n    },\n", (double)l->step);
}

int main(void) {
    static const int bits[][2] = {{2, 0}, {4, 0}, {4, 2}, {4, 4}};
    tq_levels coarse;
    tq_codebook_train(&coarse, 4, 0);
    printf("/* Made by `make tables`; trained by quant/codebook_train.c. Included by quant/codebook.c alone. */\n");
    printf("static const tq_levels tables[] = {\n");
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        tq_levels l;
        tq_codebook_train(&l, bits[i][0], bits[i][1]);
        double mse = tq_codebook_mse(&l, bits[i][1] > 0 ? &coarse : NULL, bits[i][0], bits[i][1]);
        print_table(&l, mse, bits[i][0], bits[i][1]);
    }
    printf("};\n");
    return 0;
}
