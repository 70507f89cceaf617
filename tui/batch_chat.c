/* batch_chat.c - one answer, or a conversation, without a screen. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "tui/batch.h"

/* All that was said; texts are owned. */
typedef struct conversation {
    tq_message *messages;
    size_t n;
} conversation;

static int say(conversation *c, const char *role, const char *text, tq_err *err) {
    tq_message *grown = realloc(c->messages, (c->n + 1) * sizeof *grown);
    char *copy = strdup(text);
    if (grown) c->messages = grown;
    if (!grown || !copy) {
        free(copy);
        return tq_fail(err, "out of memory");
    }
    c->messages[c->n++] = (tq_message){.role = role, .text = copy};
    return TQ_OK;
}

static void forget(conversation *c) {
    for (size_t i = 0; i < c->n; i++)
        free((char *)c->messages[i].text);
    free(c->messages);
    *c = (conversation){0};
}

static bool print_piece(void *ctx, const char *text, size_t bytes) {
    (void)ctx;
    fwrite(text, 1, bytes, stdout);
    return fflush(stdout) == 0;
}

static double tokens_per_second(const tq_chat_stats *st) {
    return st->seconds > 0 ? (double)st->tokens / st->seconds : 0;
}

static int print_json(const char *text, const tq_chat_stats *st, tq_err *err) {
    cJSON *root = cJSON_CreateObject();
    bool ok = cJSON_AddStringToObject(root, "text", text) && tq_json_number(root, "tokens", (double)st->tokens) &&
              tq_json_number(root, "tok_per_s", tokens_per_second(st)) &&
              tq_json_number(root, "prompt_tokens", (double)st->prompt_tokens) &&
              tq_json_number(root, "prompt_seconds", st->prompt_seconds) &&
              cJSON_AddBoolToObject(root, "ended", st->ended);
    if (ok) return tq_batch_json(root, err);
    cJSON_Delete(root);
    return tq_fail(err, "out of memory");
}

/* Answers the conversation; the answer becomes a part of it. */
static int answer(const tq_options *o, tq_session *s, tq_batch *b, conversation *c, tq_err *err) {
    char *text = NULL;
    tq_chat_stats st;
    bool json = o->json;
    int rc = tq_session_answer(s, c->messages, c->n, &o->chat, &b->progress, json ? NULL : print_piece, NULL, &text,
                               &st, err);
    tq_batch_step(b, "");
    if (rc == TQ_OK && json) rc = print_json(text, &st, err);
    if (rc == TQ_OK && !json) putchar('\n');
    if (rc == TQ_OK) rc = say(c, "assistant", text, err);
    if (rc == TQ_OK && !json && b->shows)
        fprintf(stderr, "%zu tokens, %.1f tok/s%s\n", st.tokens, tokens_per_second(&st),
                st.ended ? "" : ", cut at the limit");
    free(text);
    return rc == TQ_OK ? tq_batch_flush(err) : rc;
}

/* The next line, without its end; NULL when there are no more. The caller frees it. */
static char *read_line(void) {
    if (isatty(STDIN_FILENO)) {
        char *line = readline("> ");
        if (line && *line) add_history(line);
        return line;
    }
    char *line = NULL;
    size_t size = 0;
    ssize_t n = getline(&line, &size, stdin);
    if (n < 0) {
        free(line);
        return NULL;
    }
    if (n > 0 && line[n - 1] == '\n') line[n - 1] = '\0';
    return line;
}

/* Ctrl-C stops an answer; at the prompt it ends the program, as everywhere. */
static int converse(const tq_options *o, tq_session *s, tq_batch *b, tq_err *err) {
    conversation c = {0};
    int rc = TQ_OK;
    tq_batch_end(b);
    if (isatty(STDIN_FILENO)) fputs("an empty line starts over, Ctrl-D ends\n", stderr);
    for (char *line = read_line(); line && rc == TQ_OK; line = rc == TQ_OK ? read_line() : NULL) {
        if (*line) {
            tq_batch_begin(b);
            rc = say(&c, "user", line, err);
            if (rc == TQ_OK) rc = answer(o, s, b, &c, err);
            tq_batch_end(b);
            if (rc == TQ_CANCELLED) {
                fputs("\nstopped; the conversation starts over\n", stderr);
                forget(&c);
                rc = TQ_OK;
            }
        } else {
            forget(&c);
        }
        free(line);
    }
    forget(&c);
    return rc;
}

int tq_run_chat(const tq_options *o) {
    tq_batch b;
    tq_err err = {{0}};
    tq_session *s = NULL;
    conversation c = {0};
    tq_batch_begin(&b);
    tq_batch_step(&b, "quantizing");
    int rc = tq_options_open(o, &s, &err);
    if (rc == TQ_OK && !tq_session_chat(s))
        rc = tq_fail(&err, "%s: no tokenizer.json beside the model: no chat", o->model);
    if (rc == TQ_OK && !o->chat.base) rc = tq_session_apply(s, &b.progress, NULL, NULL, &err);
    tq_batch_step(&b, "reading");
    if (rc == TQ_OK && o->prompt) {
        rc = say(&c, "user", o->prompt, &err);
        if (rc == TQ_OK) rc = answer(o, s, &b, &c, &err);
        if (rc == TQ_OK) tq_batch_notes(s);
    } else if (rc == TQ_OK) {
        tq_batch_notes(s);
        rc = converse(o, s, &b, &err);
    }
    forget(&c);
    tq_session_close(s);
    if (rc != TQ_OK) return tq_batch_fail(&b, &err);
    tq_batch_end(&b);
    return EXIT_SUCCESS;
}
