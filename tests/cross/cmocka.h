/* cmocka.h - as much of cmocka as the tests of the kernels use, for machines that are emulated and have no libraries.
 * A failed assertion ends the program; there is nothing to clean up. Included instead of the real one by check-cross.
 */
#ifndef TQ_TESTS_CROSS_CMOCKA_H
#define TQ_TESTS_CROSS_CMOCKA_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*test_func)(void **state);
    int (*setup_func)(void **state);
    int (*teardown_func)(void **state);
    void *initial_state;
};

#define print_message(...) printf(__VA_ARGS__)
#define fail_msg(...) (printf(__VA_ARGS__), printf("\n%s:%d: failed\n", __FILE__, __LINE__), exit(1))
#define tq_check(what, ok) ((ok) ? (void)0 : fail_msg("%s", what))

#define assert_true(c) tq_check(#c, c)
#define assert_null(p) tq_check(#p " is null", !(p))
#define assert_non_null(p) tq_check(#p " is not null", (p) != NULL)
#define assert_ptr_equal(a, b) tq_check(#a " == " #b, (a) == (b))
#define assert_int_equal(a, b) tq_check(#a " == " #b, (intmax_t)(a) == (intmax_t)(b))
#define assert_in_range(v, low, high) tq_check(#v " in " #low " .. " #high, (v) >= (low) && (v) <= (high))
#define assert_string_equal(a, b) tq_check(#a " equals " #b, !strcmp(a, b))
#define assert_memory_equal(a, b, n) tq_check(#a " equals " #b " in " #n " bytes", !memcmp(a, b, n))

static inline int _cmocka_run_group_tests(const char *name, const struct CMUnitTest *tests, size_t count,
                                          int (*setup)(void **state), int (*teardown)(void **state)) {
    (void)setup;
    (void)teardown;
    for (size_t i = 0; i < count; i++) {
        void *state = tests[i].initial_state;
        printf("[ RUN      ] %s\n", tests[i].name);
        (void)fflush(stdout);
        tests[i].test_func(&state);
        printf("[       OK ] %s\n", tests[i].name);
    }
    printf("[  PASSED  ] %s: %zu test(s).\n", name, count);
    return 0;
}

#endif
