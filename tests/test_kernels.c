/* test_kernels.c - every kernel of every instruction set against the scalar reference.
 * usage: test_kernels [--seed N] [--isa ISA] [--bench [ISA]]      ISA: only this one, which has to be there */
#include "tests/kernels_tests.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { TESTS_MAX = 256 };

static uint64_t seed = 20261124;

/* One test of one instruction set. */
typedef struct bound_test {
    const kt_test *test;
    const char *isa;
    char name[64];
} bound_test;

static void run_bound(void **state) {
    const bound_test *b = *state;
    kt_context c = {tq_kernels_find(b->isa), tq_kernels_find("scalar"), {seed}};
    assert_non_null(c.k);
    b->test->run(&c);
}

static void table_selection(void **state) {
    (void)state;
    const char *best = tq_kernels_name(0), *name;
    size_t count = 0;
    assert_non_null(best);
    assert_string_equal(tq_k()->name, best);
    assert_null(tq_kernels_find("no such table"));
    assert_int_equal(tq_kernels_use("no such table"), -1);
    assert_string_equal(tq_k()->name, best);
    for (; (name = tq_kernels_name(count)); count++) {
        assert_int_equal(tq_kernels_use(name), 0);
        assert_string_equal(tq_k()->name, name);
        assert_ptr_equal(tq_k(), tq_kernels_find(name));
    }
    assert_null(tq_kernels_name(count + 1));
    assert_string_equal(tq_kernels_name(count - 1), "scalar");
    assert_int_equal(tq_kernels_use("auto"), 0);
    assert_string_equal(tq_k()->name, best);
}

/* --- the table is made when it is first asked for, which a pool's threads may do together --- */

enum { FIRST_USES = 100 };
static int first_uses_failed;

static void *ask_together(void *arg) {
    atomic_int *missing = arg;
    atomic_fetch_sub(missing, 1);
    while (atomic_load(missing) > 0)
        ;
    return (void *)(uintptr_t)(tq_k()->rmsnorm != NULL);
}

/* In a process of its own, which has not asked yet. */
static int first_use(void) {
    atomic_int missing = 2;
    pthread_t thread;
    void *theirs = NULL;
    if (pthread_create(&thread, NULL, ask_together, &missing)) return 1;
    bool ours = ask_together(&missing) != NULL;
    if (pthread_join(thread, &theirs)) return 1;
    size_t count = 0;
    while (tq_kernels_name(count))
        count++;
    return !ours || !theirs || count == 0 || strcmp(tq_kernels_name(count - 1), "scalar") != 0 ||
           (count > 1 && !strcmp(tq_kernels_name(count - 2), "scalar"));
}

/* Before anything else asks. */
static void try_first_uses(void) {
    for (int i = 0; i < FIRST_USES; i++) {
        int status = -1;
        pid_t child = fork();
        if (child == 0) _exit(first_use());
        if (child < 0 || waitpid(child, &status, 0) != child || status) first_uses_failed++;
    }
}

static void first_use_by_threads(void **state) {
    (void)state;
    assert_int_equal(first_uses_failed, 0);
}

static void list_tests(bound_test *bound, size_t *count, const char *isa, const kt_test *tests) {
    for (; tests->name; tests++, ++*count) {
        assert_true(*count < TESTS_MAX);
        bound[*count].test = tests;
        bound[*count].isa = isa;
        snprintf(bound[*count].name, sizeof bound[*count].name, "%s %s", isa, tests->name);
    }
}

/* All tests of one instruction set. */
static void list_isa(bound_test *bound, size_t *count, const char *isa) {
    list_tests(bound, count, isa, kt_float_tests);
    list_tests(bound, count, isa, kt_blocks_tests);
    list_tests(bound, count, isa, kt_coding_tests);
    list_tests(bound, count, isa, kt_packed_tests);
    list_tests(bound, count, isa, kt_trellis_tests);
    list_tests(bound, count, isa, kt_gemm_tests);
}

int main(int argc, char **argv) {
    static bound_test bound[TESTS_MAX];
    static struct CMUnitTest tests[TESTS_MAX + 2];
    size_t count = 0;
    const char *isa, *only = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--bench")) {
            kt_bench(i + 1 < argc ? argv[i + 1] : NULL);
            return 0;
        }
        if (!strcmp(argv[i], "--seed") && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 0);
            continue;
        }
        if (!strcmp(argv[i], "--isa") && i + 1 < argc) {
            only = argv[++i];
            continue;
        }
        fprintf(stderr, "usage: %s [--seed N] [--isa ISA] [--bench [ISA]]\n", argv[0]);
        return 2;
    }
    try_first_uses();
    if (only && !tq_kernels_find(only)) {
        fprintf(stderr, "%s: no kernels for %s, best here: %s\n", argv[0], only, tq_kernels_name(0));
        return 2;
    }
    for (size_t i = 0; (isa = tq_kernels_name(i)); i++)
        if (!only || !strcmp(only, isa)) list_isa(bound, &count, isa);
    tests[0] = (struct CMUnitTest){"table selection", table_selection, NULL, NULL, NULL};
    tests[1] = (struct CMUnitTest){"first use by threads", first_use_by_threads, NULL, NULL, NULL};
    for (size_t i = 0; i < count; i++)
        tests[i + 2] = (struct CMUnitTest){bound[i].name, run_bound, NULL, NULL, &bound[i]};
    printf("seed %llu, best here: %s\n", (unsigned long long)seed, tq_kernels_name(0));
    return _cmocka_run_group_tests("kernels", tests, count + 2, NULL, NULL);
}
