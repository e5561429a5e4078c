/* SPDX-License-Identifier: Apache-2.0 */
/* One line per event on stderr, logfmt or JSON: time, level, event, then key=value fields in the order given.
 * Values are escaped, so that no input can forge a line. Keys, tokens and SDP are never passed in.
 * Thread: any but the media workers, which never log; a line is one write(2). */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };
enum log_format { LOG_FORMAT_LOGFMT, LOG_FORMAT_JSON };

enum log_kind { LOG_KIND_NONE, LOG_KIND_STR, LOG_KIND_INT, LOG_KIND_BOOL };

struct log_kv {
    const char *key; /* [a-z_]+ */
    enum log_kind kind;
    const char *s; /* NULL is written as an empty value */
    int64_t i;
};

/* Set once at start, and again on reload. Defaults: info, logfmt, stderr. */
void log_setup(enum log_level level, enum log_format format);
/* Set the `service` field that stands on every line (static storage kept by the caller), e.g. "wakegate". */
void log_service(const char *name);
bool log_enabled(enum log_level level);

/* kvs ends with kind LOG_KIND_NONE. Use the macros below. */
void log_write(enum log_level level, const char *event, const struct log_kv *kvs);
/* Format one line without writing it; returns its length, at most cap. For tests. */
size_t log_line(char *out, size_t cap, enum log_level level, const char *event, const struct log_kv *kvs,
                uint64_t wall_ms);

static inline struct log_kv log_s(const char *key, const char *s) {
    return (struct log_kv){.key = key, .kind = LOG_KIND_STR, .s = s};
}
static inline struct log_kv log_i(const char *key, int64_t i) {
    return (struct log_kv){.key = key, .kind = LOG_KIND_INT, .i = i};
}
static inline struct log_kv log_b(const char *key, bool b) {
    return (struct log_kv){.key = key, .kind = LOG_KIND_BOOL, .i = b};
}
static inline struct log_kv log_end(void) {
    return (struct log_kv){.kind = LOG_KIND_NONE};
}

/* log_info("push accepted", log_s("call", id), log_i("status", 200)); an event without fields passes log_end(). */
#define log_at(level, event, ...)                                                                                      \
    do {                                                                                                               \
        if (log_enabled(level))                                                                                        \
            log_write((level), (event), (const struct log_kv[]){__VA_ARGS__, log_end()});                              \
    } while (0)
#define log_debug(event, ...) log_at(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...)  log_at(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...)  log_at(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) log_at(LOG_LEVEL_ERROR, event, __VA_ARGS__)

#endif
