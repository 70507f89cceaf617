/* options_explorer.c - options of the explorer alone: sessions, colours, the mouse, and what is printed for shells. */
#include "tui/completion.h"
#include "tui/options_table.h"

bool tq_take_completion(tq_options *o, const char *v) {
    o->completion = v;
    return tq_completion_known(v);
}

bool tq_take_scheme(tq_options *o, const char *v) {
    o->scheme_given = true;
    return tq_scheme_parse(v, &o->scheme);
}

bool tq_take_no_mouse(tq_options *o, const char *v) {
    (void)v;
    return o->no_mouse = true;
}

bool tq_take_ascii(tq_options *o, const char *v) {
    (void)v;
    return o->ascii = true;
}

bool tq_take_memory(tq_options *o, const char *v) {
    double bytes = 0;
    if (!tq_size_parse(v, &bytes) || bytes < 1048576 || bytes > 1e18) return false;
    o->memory = (size_t)bytes;
    return true;
}

bool tq_take_resume(tq_options *o, const char *v) {
    (void)v;
    o->resumes++;
    o->resume = TQ_RESUME_YES;
    return true;
}

bool tq_take_no_resume(tq_options *o, const char *v) {
    (void)v;
    o->resumes++;
    o->resume = TQ_RESUME_NO;
    return true;
}

bool tq_take_session(tq_options *o, const char *v) {
    o->resumes++;
    o->session = v;
    return *v != '\0';
}

int tq_check_explorer(const tq_options *o, tq_err *err) {
    if (o->resumes > 1) return tq_fail(err, "--resume, --no-resume and --session exclude each other");
    return TQ_OK;
}
