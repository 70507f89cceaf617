/* app.h - the explorer. */
#ifndef TQ_APP_H
#define TQ_APP_H

#include "tui/options.h"

/* Opens the model and runs the explorer until the user quits. Returns the exit status; what went wrong was said on
 * stderr. A signal that ends the program ends it as that signal does, with the terminal given back. */
int tq_explore(const tq_options *o);

#endif
