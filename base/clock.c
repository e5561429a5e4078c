/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/err.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static uint64_t read_us(clockid_t id) {
    struct timespec ts;
    clock_gettime(id, &ts);
    return (uint64_t)ts.tv_sec * 1000000U + (uint64_t)ts.tv_nsec / 1000U;
}

uint64_t clock_mono_us(void) {
    return read_us(CLOCK_MONOTONIC);
}

uint64_t clock_mono_ms(void) {
    return read_us(CLOCK_MONOTONIC) / 1000U;
}

uint64_t clock_wall_ms(void) {
    return read_us(CLOCK_REALTIME) / 1000U;
}

uint64_t clock_wall_us(void) {
    return read_us(CLOCK_REALTIME);
}

char *clock_rfc3339(char out[static CLOCK_RFC3339_BYTES], uint64_t wall_ms) {
    time_t seconds = (time_t)(wall_ms / 1000U);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t n = strftime(out, CLOCK_RFC3339_BYTES, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(out + n, CLOCK_RFC3339_BYTES - n, ".%03uZ", (unsigned)(wall_ms % 1000U));
    return out;
}

/* n digits at *s, which is moved behind them; -1 when they are not there. */
static int digits(const char **s, int n) {
    int value = 0;
    for (; n > 0; n--, (*s)++) {
        if (**s < '0' || **s > '9')
            return -1;
        value = value * 10 + (**s - '0');
    }
    return value;
}

/* One of the marks at *s, which is moved behind it. */
static bool mark(const char **s, const char *marks) {
    if (**s == 0 || !strchr(marks, **s))
        return false;
    (*s)++;
    return true;
}

/* Milliseconds of ".ddd..." at *s, which is moved behind it; -1 when there is no digit. */
static int parse_fraction(const char **s) {
    int ms = 0, weight = 100;
    if (!mark(s, "."))
        return 0;
    if (**s < '0' || **s > '9')
        return -1;
    for (; **s >= '0' && **s <= '9'; (*s)++) {
        ms += weight * (**s - '0');
        weight /= 10;
    }
    return ms;
}

/* Seconds of "Z" or "+hh:mm" at *s, which is moved behind it. */
static bool parse_offset(const char **s, int *offset_s) {
    *offset_s = 0;
    if (mark(s, "Zz"))
        return true;
    int sign = **s == '-' ? -1 : 1;
    if (!mark(s, "+-"))
        return false;
    int hours = digits(s, 2);
    int minutes = hours >= 0 && mark(s, ":") ? digits(s, 2) : -1;
    *offset_s = sign * (hours * 60 + minutes) * 60;
    return hours >= 0 && hours <= 23 && minutes >= 0 && minutes <= 59;
}

/* "yyyy-mm-dd", a mark and "hh:mm:ss" at *s, each within its bounds (RFC 3339 5.7, with leap seconds). */
static bool parse_date_time(const char **s, struct tm *tm) {
    static const struct {
        int width, min, max;
        const char *before;
    } rows[] = {{4, 1970, 9999, ""}, {2, 1, 12, "-"}, {2, 1, 31, "-"},
                {2, 0, 23, "Tt "},   {2, 0, 59, ":"}, {2, 0, 60, ":"}};
    int *const fields[] = {&tm->tm_year, &tm->tm_mon, &tm->tm_mday, &tm->tm_hour, &tm->tm_min, &tm->tm_sec};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        if (*rows[i].before && !mark(s, rows[i].before))
            return false;
        *fields[i] = digits(s, rows[i].width);
        if (*fields[i] < rows[i].min || *fields[i] > rows[i].max)
            return false;
    }
    tm->tm_year -= 1900;
    tm->tm_mon -= 1;
    /* timegm turns February 30 into March 2: then it was no date. */
    struct tm day = {.tm_year = tm->tm_year, .tm_mon = tm->tm_mon, .tm_mday = tm->tm_mday};
    timegm(&day);
    return day.tm_mday == tm->tm_mday;
}

int clock_rfc3339_parse(uint64_t *wall_ms, const char *s) {
    struct tm tm = {0};
    int offset_s;
    if (!parse_date_time(&s, &tm))
        return E_MALFORMED;
    int ms = parse_fraction(&s);
    if (ms < 0 || !parse_offset(&s, &offset_s) || *s != 0)
        return E_MALFORMED;
    int64_t seconds = (int64_t)timegm(&tm) - offset_s;
    if (seconds < 0)
        return E_MALFORMED;
    *wall_ms = (uint64_t)seconds * 1000U + (unsigned)ms;
    return 0;
}
