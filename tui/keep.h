/* keep.h - the session that is never lost: after every change what a person would miss is put into a file (keep.c), and
 * the next start offers to go on with it (resume.c). */
#ifndef TQ_KEEP_H
#define TQ_KEEP_H

#include "tui/app_internal.h"

/* The first record: whose session it is. */
#define TQ_KEEP_HEADER "tqexplore-session"
enum { TQ_KEEP_FORMAT = 2 };

/* Puts what has changed since the last call; cheap when nothing has. */
void tq_keep_now(tq_app *a);
/* Nothing is kept any more; what was put is on the disk. */
void tq_keep_close(tq_app *a);

/* Looks for a session of this model: begins a new one, goes on with the old one, or asks (an overlay), as the options
 * say. What cannot be used is said, and stays beside. To be called when the model is open. */
void tq_resume_look(tq_app *a);
void tq_resume_key(tq_app *a, int key);
void tq_draw_resume(tq_app *a, tq_area at);
/* The same of questions; e NULL: a look at the status. */
void tq_resume_questions(tq_app *a, const tq_event *e);
void tq_resume_text(tq_app *a, const tq_event *e); /* a text was read: is it the one that the figures are of? */

#endif
