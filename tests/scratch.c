/* scratch.c - see scratch.h. */
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

char scratch_dir[64] = "/tmp/tq-test-XXXXXX";

int scratch_make(void **state) {
    (void)state;
    return mkdtemp(scratch_dir) ? 0 : -1;
}

int scratch_remove(void **state) {
    char command[128];
    (void)state;
    (void)snprintf(command, sizeof command, "rm -rf '%s'", scratch_dir);
    return system(command);
}

void check(int rc, const tq_err *err) {
    if (rc != TQ_OK) print_error("%s\n", err->msg);
    assert_int_equal(rc, TQ_OK);
}
