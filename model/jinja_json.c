/* jinja_json.c - JSON into values, and values as json.dumps writes them. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "model/jinja_internal.h"
#include "model/tokenizer_internal.h"

static tq_jvalue text_of(tq_jrun *r, const char *text, bool typed) {
    size_t n = strlen(text);
    char *copy = tq_j_alloc(r, n + 1);
    unsigned char *marks = typed ? tq_j_alloc(r, n + 1) : NULL;
    if (r->failed) return tq_j_none();
    memcpy(copy, text, n + 1);
    if (marks) memset(marks, 1, n);
    return tq_j_string(r, copy, marks, n);
}

static tq_jvalue list_of(tq_jrun *r, const cJSON *item, bool typed) {
    tq_jvalue out = tq_j_list(r, (size_t)cJSON_GetArraySize(item), false);
    size_t i = 0;
    for (const cJSON *m = item->child; m && !r->failed; m = m->next)
        out.u.list->v[i++] = tq_j_of_json(r, m, typed);
    return out;
}

static tq_jvalue dict_of(tq_jrun *r, const cJSON *item, bool typed) {
    tq_jvalue out = tq_j_dict(r, (size_t)cJSON_GetArraySize(item));
    for (const cJSON *m = item->child; m && !r->failed; m = m->next) {
        tq_jvalue key = text_of(r, m->string, false);
        tq_j_put(r, out.u.dict, key, tq_j_of_json(r, m, typed && strcmp(m->string, "role") != 0));
    }
    return out;
}

tq_jvalue tq_j_of_json(tq_jrun *r, const cJSON *item, bool typed) {
    if (++r->value_depth > TQ_J_MAX_VALUE_DEPTH) tq_j_fail(r, "variables nested deeper than %d", TQ_J_MAX_VALUE_DEPTH);
    tq_jvalue out = tq_j_none();
    if (r->failed)
        out = tq_j_none();
    else if (cJSON_IsBool(item))
        out = tq_j_bool(cJSON_IsTrue(item));
    else if (cJSON_IsString(item))
        out = text_of(r, item->valuestring, typed);
    else if (cJSON_IsArray(item))
        out = list_of(r, item, typed);
    else if (cJSON_IsObject(item))
        out = dict_of(r, item, typed);
    else if (cJSON_IsNumber(item) && fabs(item->valuedouble) < 9e15 && item->valuedouble == floor(item->valuedouble))
        out = tq_j_int((int64_t)item->valuedouble);
    else if (cJSON_IsNumber(item))
        out = tq_j_float(item->valuedouble);
    r->value_depth--;
    return out;
}

static void add_character(tq_jrun *r, tq_jtext *t, const tq_jstring *s, size_t at, size_t n, bool ascii) {
    static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";
    utf8proc_int32_t c;
    char text[16];
    const char *special = s->p[at] ? strchr(from, s->p[at]) : NULL;
    utf8proc_iterate((const utf8proc_uint8_t *)s->p + at, (utf8proc_ssize_t)n, &c);
    if (special) {
        snprintf(text, sizeof text, "\\%c", to[special - from]);
    } else if (c < 0x20 || (ascii && c >= 0x7F && c < 0x10000)) {
        snprintf(text, sizeof text, "\\u%04x", (unsigned)c);
    } else if (ascii && c >= 0x10000) {
        unsigned k = (unsigned)c - 0x10000;
        snprintf(text, sizeof text, "\\u%04x\\u%04x", 0xD800 + (k >> 10), 0xDC00 + (k & 0x3FF));
    } else {
        tq_j_add(r, t, s->p + at, s->typed ? s->typed + at : NULL, n);
        return;
    }
    unsigned char typed[16];
    memset(typed, s->typed ? s->typed[at] : 0, sizeof typed);
    tq_j_add(r, t, text, typed, strlen(text));
}

static void add_string(tq_jrun *r, tq_jtext *t, const tq_jstring *s, bool ascii) {
    tq_j_add_text(r, t, "\"");
    for (size_t i = 0, n; i < s->n && !r->failed; i += n) {
        n = tq_utf8_length(s->p + i);
        add_character(r, t, s, i, n, ascii);
    }
    tq_j_add_text(r, t, "\"");
}

static void new_line(tq_jrun *r, tq_jtext *t, const tq_jjson *style) {
    if (!style->lines) return;
    tq_j_add_text(r, t, "\n");
    for (int64_t i = 0; i < style->indent * style->level && !r->failed; i++)
        tq_j_add_text(r, t, " ");
}

/* Before item i, or after the last one. */
static void separate(tq_jrun *r, tq_jtext *t, const tq_jjson *style, bool first) {
    if (!first) tq_j_add(r, t, style->item, NULL, style->item_n);
    new_line(r, t, style);
}

static void add_list(tq_jrun *r, tq_jtext *t, const tq_jlist *l, const tq_jjson *style) {
    tq_jjson inner = *style;
    inner.level++;
    tq_j_add_text(r, t, "[");
    for (size_t i = 0; i < l->n && !r->failed; i++) {
        separate(r, t, &inner, i == 0);
        tq_j_tojson(r, t, l->v[i], &inner);
    }
    if (l->n) new_line(r, t, style);
    tq_j_add_text(r, t, "]");
}

static void add_key(tq_jrun *r, tq_jtext *t, tq_jvalue key, const tq_jjson *style) {
    if (key.kind == TQ_J_STRING) {
        add_string(r, t, key.u.s, style->ascii);
    } else if (key.kind == TQ_J_LIST) {
        tq_j_fail(r, "a tuple as a key in tojson");
    } else {
        tq_j_add_text(r, t, "\"");
        tq_j_tojson(r, t, key, style);
        tq_j_add_text(r, t, "\"");
    }
}

/* The smallest key that is greater than `after` (which may be NULL); there are few. */
static size_t next_key(tq_jrun *r, const tq_jdict *d, const tq_jvalue *after) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < d->n && tq_j_step(r, 1); i++)
        if ((!after || tq_j_order(r, d->key[i], *after, "<") > 0) &&
            (best == SIZE_MAX || tq_j_order(r, d->key[i], d->key[best], "<") < 0))
            best = i;
    return best;
}

static void add_dict(tq_jrun *r, tq_jtext *t, const tq_jdict *d, const tq_jjson *style) {
    tq_jjson inner = *style;
    const tq_jvalue *last = NULL;
    inner.level++;
    tq_j_add_text(r, t, "{");
    for (size_t i = 0; i < d->n && !r->failed; i++) {
        size_t at = style->sorted ? next_key(r, d, last) : i;
        if (at == SIZE_MAX) break;
        last = &d->key[at];
        separate(r, t, &inner, i == 0);
        add_key(r, t, d->key[at], style);
        tq_j_add(r, t, style->key, NULL, style->key_n);
        tq_j_tojson(r, t, d->value[at], &inner);
    }
    if (d->n) new_line(r, t, style);
    tq_j_add_text(r, t, "}");
}

bool tq_j_tojson(tq_jrun *r, tq_jtext *t, tq_jvalue v, const tq_jjson *style) {
    if (style->level > TQ_J_MAX_VALUE_DEPTH) tq_j_fail(r, "lists within lists, deeper than %d", TQ_J_MAX_VALUE_DEPTH);
    if (!tq_j_step(r, 1)) return false;
    char text[40];
    switch (v.kind) {
    case TQ_J_NONE:
        return tq_j_add_text(r, t, "null");
    case TQ_J_BOOL:
        return tq_j_add_text(r, t, v.u.b ? "true" : "false");
    case TQ_J_FLOAT:
        tq_j_format_float(v.u.f, text);
        return tq_j_add_text(r, t, isnan(v.u.f) ? "NaN" : isinf(v.u.f) ? (v.u.f > 0 ? "Infinity" : "-Infinity") : text);
    case TQ_J_INT:
        return tq_j_add_repr(r, t, v);
    case TQ_J_STRING:
        add_string(r, t, v.u.s, style->ascii);
        break;
    case TQ_J_LIST:
        add_list(r, t, v.u.list, style);
        break;
    case TQ_J_DICT:
        add_dict(r, t, v.u.dict, style);
        break;
    default:
        tq_j_fail(r, "%s in tojson", tq_j_kind_name(v));
    }
    return !r->failed;
}
