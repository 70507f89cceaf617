/* format.c - figures as text. */
#include "tui/format.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *put(tq_text buf, const char *text) {
    snprintf(buf, sizeof(tq_text), "%s", text);
    return buf;
}

const char *tq_fmt_count(size_t n, tq_text buf) {
    char digits[32];
    int len = snprintf(digits, sizeof digits, "%zu", n), out = 0;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0) buf[out++] = ',';
        buf[out++] = digits[i];
    }
    buf[out] = '\0';
    return buf;
}

const char *tq_fmt_sci(double x, tq_text buf) {
    if (!isfinite(x)) return put(buf, "nan");
    if (x == 0) return put(buf, "0");
    char text[32];
    snprintf(text, sizeof text, "%.1e", x);
    char *e = strchr(text, 'e');
    int exponent = 0;
    if (e && sscanf(e + 1, "%d", &exponent) == 1) *e = '\0';
    snprintf(buf, sizeof(tq_text), "%.8se%d", text, exponent);
    return buf;
}

/* Three digits that count. */
static int decimals(double x) {
    x = fabs(x);
    return x < 0.01 ? 5 : x < 0.1 ? 4 : x < 1 ? 3 : 2;
}

const char *tq_fmt_kld(double x, tq_text buf) {
    if (!isfinite(x)) return put(buf, "nan");
    if (fabs(x) < 1e-4) return tq_fmt_sci(x, buf);
    snprintf(buf, sizeof(tq_text), "%.*f", decimals(x), x);
    return buf;
}

const char *tq_fmt_kld_error(double mean, double e, tq_text buf) {
    if (!isfinite(e) || e == 0 || fabs(mean) < 1e-4) return tq_fmt_sci(e, buf);
    snprintf(buf, sizeof(tq_text), "%.*f", decimals(mean), e);
    return buf;
}

const char *tq_fmt_kld_change(double before, double after, tq_text buf) {
    tq_text size;
    double d = after - before;
    tq_fmt_kld(fabs(d), size);
    snprintf(buf, sizeof(tq_text), "%s%.32s", d == 0 ? "±" : d < 0 ? "−" : "+", size);
    return buf;
}

const char *tq_fmt_mib(size_t bytes, tq_text buf) {
    double mib = (double)bytes / 1048576.0;
    if (mib >= 1000) return tq_fmt_count((size_t)(mib + 0.5), buf);
    snprintf(buf, sizeof(tq_text), "%.*f", mib >= 100 ? 0 : mib >= 1 ? 1 : mib >= 0.1 ? 2 : 3, mib);
    return buf;
}

const char *tq_fmt_mib_signed(size_t before, size_t after, tq_text buf) {
    tq_text size;
    tq_fmt_mib(after > before ? after - before : before - after, size);
    if (after == before) return put(buf, "±0");
    snprintf(buf, sizeof(tq_text), "%s%.32s", after > before ? "+" : "−", size);
    return buf;
}

const char *tq_fmt_seconds(double s, tq_text buf) {
    if (!(s >= 0) || s > 1e8) return put(buf, "?");
    unsigned long n = (unsigned long)(s + 0.5);
    if (n < 1) n = 1;
    if (n < 100)
        snprintf(buf, sizeof(tq_text), "%lu s", n);
    else if (n < 3600)
        snprintf(buf, sizeof(tq_text), "%lu min %lu s", n / 60, n % 60);
    else
        snprintf(buf, sizeof(tq_text), "%lu h %lu min", n / 3600, n / 60 % 60);
    return buf;
}
