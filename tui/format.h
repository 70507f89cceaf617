/* format.h - figures as text, the same way everywhere on the screen. Every function writes into buf and returns it. */
#ifndef TQ_FORMAT_H
#define TQ_FORMAT_H

#include <stddef.h>

typedef char tq_text[48];

const char *tq_fmt_count(size_t n, tq_text buf);                         /* "4,096" */
const char *tq_fmt_sci(double x, tq_text buf);                           /* relative MSE: "9.2e-3", "0" */
const char *tq_fmt_kld(double x, tq_text buf);                           /* "0.0142", below 1e-4 "4.4e-5", "0" */
const char *tq_fmt_kld_error(double mean, double e, tq_text buf);        /* with as many decimals as its mean */
const char *tq_fmt_mib(size_t bytes, tq_text buf);                       /* "0.097", "8.9", "1,234": no unit */
const char *tq_fmt_mib_signed(size_t before, size_t after, tq_text buf); /* "−0.02", "+1.3", "±0" */
const char *tq_fmt_seconds(double s, tq_text buf);                       /* "3 s", "2 min 5 s", "1 h 2 min" */
const char *tq_fmt_kld_change(double before, double after, tq_text buf); /* "+0.0011" */

#endif
