/* jinja.h - chat templates: the part of Jinja 2 that they use, evaluated as transformers sets it up (trim_blocks,
 * lstrip_blocks, loop controls, a sandbox without changes to lists and mappings).
 *
 * Templates come from strangers: depth, steps, memory and output are limited, and every failure is one line that names
 * the line of the template and what it is. An unknown tag is found when a template is parsed, an unknown filter, test,
 * function or method where it is met.
 */
#ifndef TQ_JINJA_H
#define TQ_JINJA_H

#include <cjson/cJSON.h>
#include <time.h>

#include "quant/base.h"

typedef struct tq_jinja tq_jinja;

/* n bytes of UTF-8; name says in errors where the template is from. Free *out with tq_jinja_free. */
int tq_jinja_parse(const char *name, const char *text, size_t n, tq_jinja **out, tq_err *err);
void tq_jinja_free(tq_jinja *t);

/* Is a variable of this name read anywhere? */
bool tq_jinja_reads(const tq_jinja *t, const char *name);

/* What came out. typed[i] tells that byte i came out of the variable `messages` (but for its "role"s): somebody typed
 * it, and no spelling in it is a control token. */
typedef struct tq_rendering {
    char *text;           /* n bytes and '\0', UTF-8 */
    unsigned char *typed; /* [n], 0 or 1 */
    size_t n;
    bool raised; /* the failure is the template's own: raise_exception */
} tq_rendering;

/* vars: an object, its members are the variables (valid UTF-8); now: the time that strftime_now tells, in local time.
 * Free out with tq_rendering_free, also after a failure. */
int tq_jinja_render(const tq_jinja *t, const cJSON *vars, time_t now, tq_rendering *out, tq_err *err);
void tq_rendering_free(tq_rendering *r);

#endif
