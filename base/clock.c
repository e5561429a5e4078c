/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"

#include "base/err.h"

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

/* Milliseconds of ".ddd..." at *s, which is moved behind it. */
static unsigned parse_fraction(const char **s) {
    unsigned ms = 0, weight = 100;
    if (**s != '.')
        return 0;
    for ((*s)++; **s >= '0' && **s <= '9'; (*s)++) {
        ms += weight * (unsigned)(**s - '0');
        weight /= 10;
    }
    return ms;
}

int clock_rfc3339_parse(uint64_t *wall_ms, const char *s) {
    struct tm tm = {0};
    int n = 0, hours = 0, minutes = 0, used = 0;
    char sign[2] = "";
    if (sscanf(s, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min,
               &tm.tm_sec, &n) != 6 ||
        n == 0)
        return E_MALFORMED;
    if (tm.tm_year < 1970 || tm.tm_year > 9999 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 ||
        tm.tm_mday > 31 || tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_hour < 0 || tm.tm_min < 0 ||
        tm.tm_sec < 0)
        return E_MALFORMED;
    s += n;
    unsigned ms = parse_fraction(&s);
    if ((*s != 'Z' && *s != 'z') || s[1] != 0) {
        if (sscanf(s, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &used) < 3)
            return E_MALFORMED;
        if (s[used] != 0 || hours < 0 || hours > 23 || minutes < 0 || minutes > 59)
            return E_MALFORMED;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t offset_s = (hours * 60 + minutes) * 60;
    int64_t seconds = (int64_t)timegm(&tm) - (sign[0] == '-' ? -offset_s : offset_s);
    if (seconds < 0)
        return E_MALFORMED;
    *wall_ms = (uint64_t)seconds * 1000U + ms;
    return 0;
}
