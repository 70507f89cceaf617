/* scratch.c - see scratch.h. */
#include "tests/scratch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/tensor_writer.h"

char scratch_dir[64] = "/tmp/tq-test-XXXXXX";

int scratch_make(void **state) {
    (void)state;
    return mkdtemp(scratch_dir) ? 0 : -1;
}

/* The whole program fails: of a tear-down that does, cmocka says so and counts the tests as passed. */
int scratch_remove(void **state) {
    char command[256];
    (void)state;
    (void)snprintf(command, sizeof command,
                   "left=$(find '%s' -name '*.tmp-*'); rm -rf '%s'; [ -z \"$left\" ] || { echo left: $left; exit 1; }",
                   scratch_dir, scratch_dir);
    if (system(command) != 0) exit(1);
    return 0;
}

const char *scratch_path(const char *name) {
    static char paths[4][256];
    static size_t next;
    char *path = paths[next++ % 4];
    (void)snprintf(path, sizeof paths[0], "%s/%s", scratch_dir, name);
    return path;
}

void scratch_write(const char *name, const char *bytes, size_t n) {
    tq_err err = {{0}};
    check(tq_write_file(scratch_path(name), bytes, n, &err), &err);
}

void scratch_text(const char *name, const char *text) {
    scratch_write(name, text, strlen(text));
}

void scratch_delete(const char *name) {
    (void)unlink(scratch_path(name));
}

void check(int rc, const tq_err *err) {
    if (rc != TQ_OK) print_error("%s\n", err->msg);
    assert_int_equal(rc, TQ_OK);
}
