/* mouse.c - clicks and the wheel, as the keys that they stand for. */
#include "tui/actions.h"
#include "tui/keys.h"
#include "tui/overlay.h"

enum { WHEEL_ROWS = 3 };

static bool within(tq_area at, tq_mouse m) {
    return at.h > 0 && m.y >= at.y && m.y < at.y + at.h && m.x >= at.x && m.x < at.x + at.w;
}

/* Chosen like by its key, so that a range of marks goes on. */
static void act(tq_app *a, int key) {
    const tq_action *action = tq_action_for(key);
    if (action) tq_action_run(a, action);
}

/* A click chooses the row; on the left edge it marks or folds; a second one does what Enter does. */
static void click_layers(tq_app *a, tq_mouse m) {
    tq_table *t = &a->table;
    size_t row = t->top + (size_t)(m.y - a->layout.layers.y - 1);
    tq_app_focus(a, TQ_FOCUS_LAYERS);
    if (m.y == a->layout.layers.y || row >= t->count) return;
    t->cursor = row;
    tq_table_range_update(t);
    int edge = m.x - a->layout.layers.x;
    if (m.what == TQ_MOUSE_DOUBLE)
        act(a, TQ_KEY_ENTER);
    else if (tq_row_is_head(&t->rows[row]) && edge == (t->rows[row].count ? TQ_KIND_FOLD : 1))
        act(a, 'z');
    else if (edge < 3) {
        tq_table_range_end(t, true);
        tq_table_toggle(t);
    }
}

/* A click on a row of a list chooses it, a second one does what Enter does; beside one it closes what is open. */
static void click_overlay(tq_app *a, const tq_overlay_traits *over, tq_mouse m) {
    tq_list *list = over->list ? (tq_list *)((char *)a + over->list) : NULL;
    size_t was = list ? list->at : 0;
    if (!list || !tq_list_click(list, m.y))
        a->overlay = TQ_OVER_NONE;
    else if (m.what == TQ_MOUSE_DOUBLE)
        tq_app_key(a, TQ_KEY_ENTER);
    else if (list->at != was && over->chosen)
        over->chosen(a);
}

static void wheel(tq_app *a, tq_mouse m) {
    bool up = m.what == TQ_MOUSE_WHEEL_UP;
    bool chat = within(a->layout.chat, m) || (a->layout.chat.h == 0 && a->focus == TQ_FOCUS_CHAT);
    if (a->overlay == TQ_OVER_NONE && chat) {
        a->talk.scroll = up                            ? a->talk.scroll + WHEEL_ROWS
                         : a->talk.scroll > WHEEL_ROWS ? a->talk.scroll - WHEEL_ROWS
                                                       : 0;
        return;
    }
    int times =
        a->overlay == TQ_OVER_NONE || a->overlay == TQ_OVER_HELP || a->overlay == TQ_OVER_MESSAGES ? WHEEL_ROWS : 1;
    for (int i = 0; i < times && a->overlay != TQ_OVER_NONE; i++)
        tq_app_key(a, up ? TQ_KEY_UP : TQ_KEY_DOWN);
    if (a->overlay == TQ_OVER_NONE && within(a->layout.layers, m)) {
        tq_table_move(&a->table, up ? -WHEEL_ROWS : WHEEL_ROWS);
        tq_table_range_update(&a->table);
    }
}

void tq_mouse_key(tq_app *a, tq_mouse m) {
    const tq_overlay_traits *over = tq_overlay_get(a->overlay);
    a->said_until = 0;
    a->rest_at = tq_now() + 0.12;
    if (a->layout.too_small || tq_lineedit_prompts()) return; /* a line that is typed is not lost by a click */
    if (over && over->asks) return;                           /* questions are answered by keys */
    if (m.what == TQ_MOUSE_WHEEL_UP || m.what == TQ_MOUSE_WHEEL_DOWN)
        wheel(a, m);
    else if (over)
        click_overlay(a, over, m);
    else if (within(a->layout.chat, m))
        tq_app_focus(a, TQ_FOCUS_CHAT);
    else if (within(a->layout.inspect, m) && a->layout.inspect_line >= 0)
        tq_app_focus(a, TQ_FOCUS_INSPECT);
    else if (within(a->layout.layers, m) && a->layout.chat.h == 0 && a->focus == TQ_FOCUS_CHAT)
        return; /* the chat lies over the layers */
    else if (within(a->layout.layers, m) && !(a->inspect_over && a->layout.inspect_line < 0))
        click_layers(a, m);
}
