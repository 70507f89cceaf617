/* jinja_choose.h - filters that choose among many values or order them, for the table of jinja_filters.c. */
#ifndef TQ_JINJA_CHOOSE_H
#define TQ_JINJA_CHOOSE_H

#include "model/jinja_internal.h"

/* v.a.b for "a.b"; a number, or a name that is one, is an index. */
tq_jvalue tq_j_path(tq_jrun *r, tq_jvalue v, tq_jvalue path);

tq_jvalue tq_j_map(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_select(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_reject(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_selectattr(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_rejectattr(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_sort(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_dictsort(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_unique(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_min(tq_jrun *r, tq_jvalue self, const tq_jargs *a);
tq_jvalue tq_j_max(tq_jrun *r, tq_jvalue self, const tq_jargs *a);

#endif
