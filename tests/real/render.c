/* render.c - what the program makes of a chat template, for a script that compares it with a reference.
 *
 *   render TEMPLATE FILE      FILE: a JSON object of variables a line; for each {"text": ...} or {"error": ...} */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/jinja.h"
#include "model/json.h"
#include "model/tensor_writer.h"

#define MAX_TEXT ((size_t)64 << 20)

static void print_line(const char *key, const char *text) {
    cJSON *out = cJSON_CreateObject();
    cJSON_AddStringToObject(out, key, text);
    char *line = cJSON_PrintUnformatted(out);
    puts(line ? line : "{}");
    cJSON_free(line);
    cJSON_Delete(out);
}

static void render(const tq_jinja *t, const char *line, size_t n) {
    tq_err err = {""};
    cJSON *vars = NULL;
    tq_rendering out = {0};
    int rc = tq_json_parse("variables", line, n, 1000000, &vars, &err);
    if (!rc) rc = tq_jinja_render(t, vars, time(NULL), &out, &err);
    print_line(rc ? "error" : "text", rc ? err.msg : out.text);
    tq_rendering_free(&out);
    cJSON_Delete(vars);
}

int main(int argc, char **argv) {
    tq_err err = {""};
    tq_jinja *t = NULL;
    char *template = NULL, *text = NULL;
    size_t n = 0, bytes = 0;
    if (argc != 3) {
        fprintf(stderr, "usage: render TEMPLATE FILE\n");
        return 2;
    }
    int rc = tq_read_file(argv[1], MAX_TEXT, &template, &bytes, &err);
    if (!rc) rc = tq_read_file(argv[2], MAX_TEXT, &text, &n, &err);
    if (!rc) rc = tq_jinja_parse("template", template, bytes, &t, &err);
    if (rc) print_line("error", err.msg);
    for (const char *line = text; !rc && line < text + n;) {
        const char *stop = memchr(line, '\n', (size_t)(text + n - line));
        size_t length = (size_t)((stop ? stop : text + n) - line);
        render(t, line, length);
        line += length + 1;
    }
    tq_jinja_free(t);
    free(template);
    free(text);
    return rc ? 1 : 0;
}
