/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_json.h"

#include "base/bytes.h"

#include <stdbool.h>
#include <string.h>

struct scan {
    const char *p, *end;
};

static void space(struct scan *s) {
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r'))
        s->p++;
}

static bool take(struct scan *s, char c) {
    if (s->p == s->end || *s->p != c)
        return false;
    s->p++;
    return true;
}

static bool is_digit(const struct scan *s) {
    return s->p < s->end && *s->p >= '0' && *s->p <= '9';
}

static bool digits(struct scan *s) {
    const char *from = s->p;
    while (is_digit(s))
        s->p++;
    return s->p > from;
}

static bool hex4(struct scan *s) {
    for (int i = 0; i < 4; i++, s->p++)
        if (s->p == s->end || !memchr("0123456789abcdefABCDEF", *s->p, 22))
            return false;
    return true;
}

/* Behind the opening quote. */
static bool string(struct scan *s) {
    while (s->p < s->end) {
        unsigned char c = (unsigned char)*s->p++;
        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
        if (s->p == s->end)
            return false;
        c = (unsigned char)*s->p++;
        if (c == 'u' ? !hex4(s) : !memchr("\"\\/bfnrt", c, 8))
            return false;
    }
    return false;
}

static bool number(struct scan *s) {
    take(s, '-');
    if (!take(s, '0') && !digits(s))
        return false;
    if (take(s, '.') && !digits(s))
        return false;
    if (take(s, 'e') || take(s, 'E')) {
        if (!take(s, '+'))
            take(s, '-');
        return digits(s);
    }
    return true;
}

static bool word(struct scan *s, const char *w) {
    size_t n = strlen(w);
    if ((size_t)(s->end - s->p) < n || memcmp(s->p, w, n) != 0)
        return false;
    s->p += n;
    return true;
}

static bool scalar(struct scan *s) {
    if (take(s, '"'))
        return string(s);
    return word(s, "true") || word(s, "false") || word(s, "null") || number(s);
}

static bool key(struct scan *s) {
    space(s);
    if (!take(s, '"') || !string(s))
        return false;
    space(s);
    return take(s, ':');
}

/* One value. Not recursive: what is open stands in a small stack, 'o' or 'a'. */
static bool value(struct scan *s) {
    char open[APNS_JSON_DEPTH_MAX];
    size_t depth = 0;
    for (;;) {
        space(s);
        bool object = take(s, '{');
        if (object || take(s, '[')) {
            if (depth == sizeof open)
                return false;
            space(s);
            open[depth++] = object ? 'o' : 'a';
            if (!take(s, object ? '}' : ']')) {
                if (object && !key(s))
                    return false;
                continue;
            }
            depth--;
        } else if (!scalar(s)) {
            return false;
        }
        /* A value has ended: what encloses it goes on, or ends too. */
        for (;; depth--) {
            if (depth == 0)
                return true;
            space(s);
            if (take(s, ','))
                break;
            if (!take(s, open[depth - 1] == 'o' ? '}' : ']'))
                return false;
        }
        if (open[depth - 1] == 'o' && !key(s))
            return false;
    }
}

const char *apns_json_object_check(const char *p, size_t len) {
    struct scan s = {p, p + len};
    space(&s);
    if (s.p == s.end || *s.p != '{')
        return "it does not begin with {";
    if (!utf8_valid(p, len))
        return "it is not UTF-8";
    if (!value(&s))
        return s.p == s.end ? "it ends too early" : "a character is out of place";
    space(&s);
    return s.p == s.end ? NULL : "something follows behind the object";
}
