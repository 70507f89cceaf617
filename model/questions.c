#include "model/questions.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/json.h"
#include "model/tensor_writer.h"

#define MAX_FILE ((size_t)64 << 20)
#define MAX_VALUES 10000 /* in one line */
#define MAX_ANSWER 256   /* tokens */

typedef struct question {
    cJSON *line; /* owns all text */
    tq_message *messages;
    size_t n;
    const char *answer;
} question;

struct tq_questions {
    question *items;
    size_t count;
    char hash[17];
};

void tq_questions_free(tq_questions *q) {
    if (!q) return;
    for (size_t i = 0; i < q->count; i++) {
        cJSON_Delete(q->items[i].line);
        free(q->items[i].messages);
    }
    free(q->items);
    free(q);
}

/* The conversation of one line: its messages, or its prompt as the only one. */
static bool read_messages(question *q) {
    const cJSON *list = tq_json_get(q->line, "messages");
    const char *prompt = tq_json_text(q->line, "prompt");
    if (!list == !prompt || (list && !cJSON_IsArray(list))) return false;
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 1;
    if (!n) return false;
    q->messages = calloc(n, sizeof *q->messages);
    if (!q->messages) return false;
    if (prompt) {
        q->messages[q->n++] = (tq_message){"user", prompt};
        return true;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, list) {
        tq_message m = {tq_json_text(item, "role"), tq_json_text(item, "content")};
        if (!m.role || !m.text) return false;
        q->messages[q->n++] = m;
    }
    return true;
}

static int read_line(tq_questions *qs, const char *path, size_t number, const char *line, size_t bytes, tq_err *err) {
    cJSON *json;
    tq_err why;
    if (tq_json_parse(path, line, bytes, MAX_VALUES, &json, &why))
        return tq_fail(err, "%s: line %zu is not JSON", path, number);
    question *q = &qs->items[qs->count++];
    *q = (question){.line = json};
    q->answer = tq_json_text(json, "answer");
    if (!q->answer || !read_messages(q))
        return tq_fail(err, "%s: line %zu: expected an \"answer\" and either a \"prompt\" or \"messages\"", path,
                       number);
    return TQ_OK;
}

static bool is_blank(const char *text, size_t n) {
    return strspn(text, " \t\r\n") >= n;
}

static int read_lines(tq_questions *qs, const char *path, const char *text, size_t bytes, tq_err *err) {
    const char *at = text, *end = text + bytes;
    for (size_t number = 1; at < end; number++) {
        const char *stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) stop = end;
        size_t n = (size_t)(stop - at);
        if (!is_blank(at, n) && read_line(qs, path, number, at, n, err)) return TQ_FAIL;
        at = stop + 1;
    }
    return qs->count ? TQ_OK : tq_fail(err, "%s: holds no questions", path);
}

/* Room for as many questions as text has lines; NULL when memory is short. */
static tq_questions *new_questions(const char *text, size_t bytes) {
    size_t lines = 1;
    for (size_t i = 0; i < bytes; i++)
        lines += text[i] == '\n';
    tq_questions *q = calloc(1, sizeof *q);
    if (!q) return NULL;
    q->items = calloc(lines, sizeof *q->items);
    if (q->items) return q;
    free(q);
    return NULL;
}

int tq_questions_load(const char *path, tq_questions **out, tq_err *err) {
    char *text = NULL;
    size_t bytes;
    *out = NULL;
    if (tq_read_file(path, MAX_FILE, &text, &bytes, err)) return TQ_FAIL;
    tq_questions *q = new_questions(text, bytes);
    int rc = q ? read_lines(q, path, text, bytes, err) : tq_fail(err, "%s: not enough memory", path);
    if (q) (void)snprintf(q->hash, sizeof q->hash, "%016" PRIx64, tq_hash_bytes(TQ_HASH_SEED, text, bytes));
    free(text);
    if (rc == TQ_OK) {
        *out = q;
        return TQ_OK;
    }
    tq_questions_free(q);
    return rc;
}

size_t tq_questions_count(const tq_questions *q) {
    return q->count;
}

const char *tq_questions_hash(const tq_questions *q) {
    return q->hash;
}

/* Equal, white space at both ends aside. */
static bool same_text(const char *a, const char *b) {
    a += strspn(a, " \t\r\n");
    b += strspn(b, " \t\r\n");
    size_t na = strlen(a), nb = strlen(b);
    while (na && strchr(" \t\r\n", a[na - 1]))
        na--;
    while (nb && strchr(" \t\r\n", b[nb - 1]))
        nb--;
    return na == nb && !memcmp(a, b, na);
}

int tq_questions_ask_one(const tq_questions *q, tq_session *s, bool base, size_t i, const tq_progress *p, bool *right,
                         tq_err *err) {
    const tq_chat_options options = {
        .sampling = {.temperature = 0, .top_p = 1}, .max_tokens = MAX_ANSWER, .base = base};
    const tq_progress quiet = {.cancel = p ? p->cancel : NULL};
    const question *item = &q->items[i];
    char *text = NULL;
    int rc = tq_session_answer(s, item->messages, item->n, &options, &quiet, NULL, NULL, &text, NULL, err);
    *right = rc == TQ_OK && same_text(text, item->answer);
    free(text); /* there when cancelled, too */
    return rc;
}

int tq_questions_ask(const tq_questions *q, tq_session *s, bool base, const tq_progress *p, size_t *right,
                     tq_err *err) {
    *right = 0;
    for (size_t i = 0; i < q->count; i++) {
        bool is = false;
        int rc = tq_questions_ask_one(q, s, base, i, p, &is, err);
        if (rc) return rc;
        *right += is;
        tq_progress_report(p, (double)(i + 1), (double)q->count);
        if (tq_progress_cancelled(p)) return tq_cancelled(err);
    }
    return TQ_OK;
}

double tq_score_share(tq_score s) {
    return s.of ? (double)s.right / (double)s.of : 0;
}

void tq_score_interval(tq_score s, double *low, double *high) {
    const double z = 1.959963984540054; /* of 95 % */
    double n = (double)s.of, p = tq_score_share(s), z2 = z * z;
    *low = 0;
    *high = 1;
    if (!s.of) return;
    double middle = (p + z2 / (2 * n)) / (1 + z2 / n);
    double half = z / (1 + z2 / n) * sqrt(p * (1 - p) / n + z2 / (4 * n * n));
    *low = fmax(0, middle - half);
    *high = fmin(1, middle + half);
}
