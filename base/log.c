/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "base/bytes.h"
#include "base/clock.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096 /* a longer line is cut: the log stays readable, and one write stays one line */

static atomic_int log_min = LOG_LEVEL_INFO;
static atomic_int log_style = LOG_FORMAT_LOGFMT;
static _Atomic(const char *) log_name = NULL;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void log_setup(enum log_level level, enum log_format format) {
    log_min = level;
    log_style = format;
}

void log_service(const char *name) {
    log_name = name;
}

bool log_enabled(enum log_level level) {
    return (int)level >= log_min;
}

/* A line being written; what does not fit is dropped. */
struct line {
    char *p;
    size_t len, cap;
    bool json, first;
};

static void put(struct line *l, const char *s, size_t n) {
    if (n > l->cap - l->len)
        n = l->cap - l->len;
    memcpy(l->p + l->len, s, n);
    l->len += n;
}

static void puts_line(struct line *l, const char *s) {
    put(l, s, strlen(s));
}

/* Bytes of the character at s, or 0 when it is broken UTF-8. */
static size_t char_bytes(const char *s) {
    unsigned char lead = (unsigned char)*s;
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return strnlen(s, n) == n && utf8_valid(s, n) ? n : 0;
}

/* Between quotes; control characters become \u00XX, so that a value stays on its line, and broken UTF-8 becomes U+FFFD,
 * so that JSON stays JSON. */
static void put_quoted(struct line *l, const char *s) {
    char escaped[8];
    put(l, "\"", 1);
    for (size_t n = 0; *s; s += n ? n : 1) {
        unsigned char c = (unsigned char)*s;
        n = char_bytes(s);
        if (c == '"' || c == '\\')
            put(l, c == '"' ? "\\\"" : "\\\\", 2);
        else if (c == '\n')
            put(l, "\\n", 2);
        else if (c < 0x20 || c == 0x7f)
            put(l, escaped, (size_t)snprintf(escaped, sizeof escaped, "\\u%04x", c));
        else if (n == 0)
            put(l, "\\ufffd", 6);
        else
            put(l, s, n);
    }
    put(l, "\"", 1);
}

static bool is_bare(const char *s) {
    if (!utf8_valid(s, strlen(s)))
        return false;
    for (; *s; s++)
        if ((unsigned char)*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' || *s == 0x7f)
            return false;
    return true;
}

static void put_key(struct line *l, const char *key) {
    if (!l->first)
        put(l, l->json ? "," : " ", 1);
    l->first = false;
    if (l->json)
        put(l, "\"", 1);
    puts_line(l, key);
    puts_line(l, l->json ? "\":" : "=");
}

static void put_str(struct line *l, const char *key, const char *s) {
    put_key(l, key);
    if (l->json || !is_bare(s))
        put_quoted(l, s);
    else
        puts_line(l, s);
}

static void put_kv(struct line *l, const struct log_kv *kv) {
    char number[24];
    if (kv->kind == LOG_KIND_STR) {
        put_str(l, kv->key, kv->s ? kv->s : "");
        return;
    }
    put_key(l, kv->key);
    if (kv->kind == LOG_KIND_BOOL)
        puts_line(l, kv->i ? "true" : "false");
    else
        put(l, number, (size_t)snprintf(number, sizeof number, "%" PRId64, kv->i));
}

size_t log_line(char *out, size_t cap, enum log_level level, const char *event, const struct log_kv *kvs,
                uint64_t wall_ms) {
    char at[CLOCK_RFC3339_BYTES];
    bool json = log_style == LOG_FORMAT_JSON;
    const char *name = log_name;
    /* Room for the end, so that a cut JSON line still ends as a line. */
    struct line l = {out, 0, cap - 2, json, true};
    if (json)
        put(&l, "{", 1);
    put_str(&l, "time", clock_rfc3339(at, wall_ms));
    put_str(&l, "level", level_names[level]);
    if (name)
        put_str(&l, "service", name);
    put_str(&l, "event", event);
    for (; kvs->kind != LOG_KIND_NONE; kvs++) {
        size_t before = l.len;
        put_kv(&l, kvs);
        if (l.len == l.cap) { /* did not fit: leave the field out whole */
            l.len = before;
            break;
        }
    }
    if (json)
        out[l.len++] = '}';
    out[l.len++] = '\n';
    return l.len;
}

void log_write(enum log_level level, const char *event, const struct log_kv *kvs) {
    char line[LINE_MAX_BYTES];
    size_t len = log_line(line, sizeof line, level, event, kvs, clock_wall_ms());
    ssize_t ignored = write(STDERR_FILENO, line, len);
    (void)ignored;
}
