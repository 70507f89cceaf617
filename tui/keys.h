/* keys.h - keys as the explorer knows them: a Unicode character, a control character, or one of these. */
#ifndef TQ_KEYS_H
#define TQ_KEYS_H

enum {
    TQ_KEY_NONE = -1,
    TQ_KEY_TAB = 9,
    TQ_KEY_ENTER = 13,
    TQ_KEY_ESC = 27,
    TQ_KEY_UP = 0x110000, /* past the last Unicode character */
    TQ_KEY_DOWN,
    TQ_KEY_LEFT,
    TQ_KEY_RIGHT,
    TQ_KEY_PGUP,
    TQ_KEY_PGDN,
    TQ_KEY_HOME,
    TQ_KEY_END,
    TQ_KEY_DELETE,
    TQ_KEY_BACKSPACE,
    TQ_KEY_BACKTAB,
    TQ_KEY_F1,
    TQ_KEY_SHIFT_UP,
    TQ_KEY_SHIFT_DOWN,
    TQ_KEY_MOUSE,            /* tq_term_mouse_event says what */
    TQ_KEY_PASTE,            /* text, which tq_term_pasted gives */
    TQ_KEY_META = 0x1000000, /* added to the character that follows Escape at once */
};
#define TQ_CTRL(c) ((c)&31)

#endif
