/* panel_chat.c - what the model says: conversations with the plan and with the model as stored, answered to the same
 * questions. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/app_internal.h"
#include "tui/format.h"

enum { NAME_WIDTH = 7 };

const char *tq_speaker_name(int speakers) {
    return speakers == TQ_PLAN ? "plan" : speakers == TQ_BASE ? "base" : "both";
}

void tq_chat_free_turns(tq_dialogue *t) {
    for (size_t i = 0; i < t->count; i++)
        free(t->turns[i].text);
    free(t->turns);
    t->turns = NULL;
    t->count = t->capacity = 0;
    t->answering = SIZE_MAX;
}

static tq_turn *add_turn(tq_dialogue *t, int speakers, bool answer, const char *text) {
    if (t->count == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 16;
        tq_turn *turns = realloc(t->turns, capacity * sizeof *turns);
        if (!turns) return NULL;
        t->turns = turns;
        t->capacity = capacity;
    }
    char *copy = strdup(text);
    if (!copy) return NULL;
    t->turns[t->count] = (tq_turn){.speakers = speakers, .answer = answer, .text = copy};
    return &t->turns[t->count++];
}

/* Asks one speaker for the answer to its conversation so far; the turn that takes the answer comes last. */
static void ask(tq_app *a, int speaker) {
    tq_dialogue *t = &a->talk;
    tq_message *messages = calloc(t->count + 1, sizeof *messages);
    size_t n = 0;
    for (size_t i = 0; messages && i < t->count; i++) {
        const tq_turn *turn = &t->turns[i];
        if ((turn->speakers & speaker) && *turn->text)
            messages[n++] = (tq_message){turn->answer ? "assistant" : "user", turn->text};
    }
    if (messages && add_turn(t, speaker, true, "")) {
        tq_chat_options o = a->options->chat;
        o.base = speaker == TQ_BASE;
        o.think = a->talk.think;
        tq_worker_chat(a->worker, messages, n, &o);
    }
    free(messages);
}

static void next_answering(tq_dialogue *t) {
    t->answering = SIZE_MAX;
    for (size_t i = 0; i < t->count; i++)
        if (t->turns[i].answer && !t->turns[i].ended) {
            t->answering = i;
            return;
        }
}

bool tq_chat_send(tq_app *a, const char *text) {
    if (!text[strspn(text, " \t\n")]) return true;
    if (a->talk.answering != SIZE_MAX) {
        tq_say(a, TQ_REFUSES, "still answering: Esc stops it");
        return false;
    }
    if (!a->tokenizer) {
        tq_say(a, TQ_REFUSES, "no tokenizer.json beside the model: it cannot chat");
        return false;
    }
    if (!add_turn(&a->talk, (int)a->talk.speakers, false, text)) return false;
    for (int speaker = TQ_PLAN; speaker <= TQ_BASE; speaker++)
        if ((int)a->talk.speakers & speaker) ask(a, speaker);
    a->talk.scroll = 0;
    next_answering(&a->talk);
    return true;
}

void tq_chat_event(tq_app *a, tq_event *e) {
    tq_dialogue *t = &a->talk;
    if (t->answering >= t->count) return;
    tq_turn *turn = &t->turns[t->answering];
    if (e->text) {
        size_t had = strlen(turn->text), more = strlen(e->text) + 1;
        char *longer = realloc(turn->text, had + more);
        if (!longer) return;
        turn->text = longer;
        memcpy(longer + had, e->text, more);
    }
    if (!e->ended) return;
    turn->ended = true;
    turn->stopped = e->rc != TQ_OK;
    turn->stats = e->stats;
    if (e->rc == TQ_FAIL) tq_say(a, TQ_REFUSES, "%s", e->err.msg);
    /* Stopped: what was asked after it was forgotten too. */
    for (size_t i = 0; e->rc != TQ_OK && i < t->count; i++)
        if (t->turns[i].answer && !t->turns[i].ended) t->turns[i].ended = t->turns[i].stopped = true;
    next_answering(t);
}

void tq_chat_clear(tq_app *a) {
    if (a->talk.answering != SIZE_MAX) {
        tq_say(a, TQ_REFUSES, "still answering: Esc stops it");
        return;
    }
    tq_chat_free_turns(&a->talk);
    tq_say(a, TQ_SAYS, "conversation forgotten");
}

void tq_chat_next_speaker(tq_app *a) {
    a->talk.speakers = a->talk.speakers == TQ_PLAN ? TQ_BASE : a->talk.speakers == TQ_BASE ? TQ_BOTH : TQ_PLAN;
    tq_say(a, TQ_SAYS, "%s answers", tq_speaker_name((int)a->talk.speakers));
}

/* --- drawing --- */

static const char *rate_of(const tq_app *a, size_t i, char buf[64]) {
    const tq_turn *turn = &a->talk.turns[i];
    if (!turn->answer) return "";
    if (turn->stopped) return "stopped";
    if (!turn->ended) return i == a->talk.answering ? "…" : "waits";
    tq_text rate;
    snprintf(
        buf, 64, "%zu tok  %s tok/s", turn->stats.tokens,
        tq_fmt_count(turn->stats.seconds > 0 ? (size_t)((double)turn->stats.tokens / turn->stats.seconds) : 0, rate));
    return buf;
}

/* Draws the lines of turn i from line `first` on (negative: below the top); returns how many lines it has. */
static long draw_turn(tq_app *a, tq_area at, size_t i, long first, bool draw) {
    const tq_turn *turn = &a->talk.turns[i];
    char buf[64];
    const char *rate = rate_of(a, i, buf);
    int room = at.w - 2 - NAME_WIDTH - (at.w >= 60 ? 22 : 0), end = at.x + at.w - 1;
    const char *p = turn->text;
    long line = 0;
    do {
        size_t skip, n = tq_wrap(&a->canvas, p, room, &skip);
        long y = first + line;
        if (draw && y >= 0 && y < at.h) {
            int row = at.y + (int)y;
            if (line == 0) {
                tq_put(&a->canvas, row, at.x + 1, at.x + 1 + NAME_WIDTH,
                       turn->answer ? (turn->speakers == TQ_PLAN ? TQ_ST_KEY : TQ_ST_CHANGED) : TQ_ST_TITLE,
                       turn->answer ? tq_speaker_name(turn->speakers) : "you");
                if (at.w >= 60) tq_put_right(&a->canvas, row, end - 21, end, TQ_ST_DIM, rate);
            }
            char part[1024];
            snprintf(part, sizeof part, "%.*s", (int)(n < 1000 ? n : 1000), p);
            tq_put(&a->canvas, row, at.x + 1 + NAME_WIDTH, at.x + 1 + NAME_WIDTH + room, TQ_ST_NORMAL, part);
        }
        line++;
        p += n + skip;
    } while (*p);
    return line;
}

static void draw_input(tq_app *a, tq_area at, int y) {
    bool here = tq_lineedit_active(TQ_LINE_CHAT);
    const char *text = tq_lineedit_draft(TQ_LINE_CHAT);
    int x = tq_put(&a->canvas, y, at.x + 1, at.x + at.w, here ? TQ_ST_CHOSEN : TQ_ST_DIM, "> "), end = at.x + at.w - 1;
    if (!here && !*text) {
        tq_put(&a->canvas, y, x, end, TQ_ST_DIM, "c: ask something");
        return;
    }
    /* The part around the cursor. */
    size_t from = 0, point = here ? (size_t)tq_lineedit_point() : 0;
    while (tq_text_width(&a->canvas, text + from, point - from) > end - x - 2)
        do
            from++;
        while ((text[from] & 0xC0) == 0x80);
    tq_put(&a->canvas, y, x, end, here ? TQ_ST_NORMAL : TQ_ST_DIM, text + from);
    if (here) {
        a->canvas.cursor_y = y;
        a->canvas.cursor_x = x + tq_text_width(&a->canvas, text + from, point - from);
    }
}

static void draw_title(tq_app *a, tq_area at) {
    bool focus = a->focus == TQ_FOCUS_CHAT;
    int end = at.x + at.w - 1;
    int x =
        tq_put(&a->canvas, at.y - 1, at.x + 1, end, focus ? TQ_ST_CHOSEN : TQ_ST_TITLE, focus ? "[Chat]" : " Chat ");
    x += 2;
    for (int s = TQ_PLAN; s <= TQ_BOTH; s++) {
        bool now = (int)a->talk.speakers == s;
        x = tq_putf(&a->canvas, at.y - 1, x, end, now ? TQ_ST_CHOSEN : TQ_ST_DIM, now ? "(%s)" : " %s ",
                    tq_speaker_name(s));
    }
    if (a->talk.scroll) tq_put_right(&a->canvas, at.y - 1, x, end, TQ_ST_DIM, " more below: PgDn ");
}

void tq_draw_chat(tq_app *a, tq_area at) {
    tq_clear(&a->canvas, at);
    draw_title(a, at);
    tq_area body = {at.y, at.x, at.h - 1, at.w};
    long total = 0;
    for (size_t i = 0; i < a->talk.count; i++)
        total += draw_turn(a, body, i, 0, false);
    long most = total > body.h ? total - body.h : 0;
    if ((long)a->talk.scroll > most) a->talk.scroll = (size_t)most;
    long first = most ? -(most - (long)a->talk.scroll) : 0;
    for (size_t i = 0; i < a->talk.count; i++)
        first += draw_turn(a, body, i, first, true);
    draw_input(a, at, at.y + at.h - 1);
}
