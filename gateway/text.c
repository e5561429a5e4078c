/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/text.h"

#include "base/bytes.h"

#include <stdbool.h>
#include <string.h>

#define REPLACEMENT       "\xef\xbf\xbd" /* U+FFFD */
#define REPLACEMENT_BYTES 3
#define ESCAPE_BYTES      6 /* backslash, u, four digits */

/* Bytes of the character at p, or 0 when it is none. */
static size_t char_bytes(const char *p, size_t left) {
    unsigned char lead = (unsigned char)*p;
    size_t n = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    return n <= left && utf8_valid(p, n) ? n : 0;
}

static bool is_control(const char *p, size_t n) {
    unsigned char c = (unsigned char)*p;
    return (n == 1 && (c < 0x20 || c == 0x7f)) || (n == 2 && c == 0xc2 && (unsigned char)p[1] < 0xa0);
}

size_t text_clean(char *out, size_t cap, const char *in, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        size_t bytes = char_bytes(in + i, len - i), add = bytes;
        const char *what = in + i;
        if (bytes == 0) {
            what = REPLACEMENT;
            add = REPLACEMENT_BYTES;
            bytes = 1;
        } else if (is_control(in + i, bytes)) {
            what = " ";
            add = 1;
        }
        if (n + add >= cap)
            break;
        memcpy(out + n, what, add);
        n += add;
        i += bytes;
    }
    out[n] = 0;
    return n;
}

/* The value of a \uXXXX at p, or -1. */
static long escape_value(const char *p, size_t left) {
    char hex[5] = {0};
    uint8_t v[2];
    if (left < ESCAPE_BYTES || p[0] != '\\' || p[1] != 'u')
        return -1;
    memcpy(hex, p + 2, 4);
    return hex_decode(v, sizeof v, hex) == 2 ? v[0] << 8 | v[1] : -1;
}

static bool is_high(long v) {
    return v >= 0xd800 && v <= 0xdbff;
}

static bool is_low(long v) {
    return v >= 0xdc00 && v <= 0xdfff;
}

/* One escape: returns the bytes consumed. */
static size_t mend_escape(struct buf *out, const char *p, size_t left) {
    long v = escape_value(p, left);
    if (is_high(v) && is_low(escape_value(p + ESCAPE_BYTES, left - ESCAPE_BYTES))) {
        buf_add(out, p, (size_t)2 * ESCAPE_BYTES);
        return (size_t)2 * ESCAPE_BYTES;
    }
    if (v == 0 || is_high(v) || is_low(v)) {
        buf_adds(out, REPLACEMENT);
        return ESCAPE_BYTES;
    }
    size_t n = left < 2 ? 1 : 1 + char_bytes(p + 1, left - 1);
    buf_add(out, p, n);
    return n;
}

void text_mend_json(struct buf *out, const char *in, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t n = char_bytes(in + i, len - i);
        if (in[i] == '\\') {
            i += mend_escape(out, in + i, len - i);
            continue;
        }
        if (n)
            buf_add(out, in + i, n);
        else
            buf_adds(out, REPLACEMENT);
        i += n ? n : 1;
    }
}

size_t text_json_depth(const char *p, size_t len) {
    size_t depth = 0, most = 0;
    bool quoted = false;
    for (size_t i = 0; i < len; i++) {
        if (quoted && p[i] == '\\')
            i++;
        else if (p[i] == '"')
            quoted = !quoted;
        else if (!quoted && (p[i] == '{' || p[i] == '['))
            most = ++depth > most ? depth : most;
        else if (!quoted && (p[i] == '}' || p[i] == ']') && depth > 0)
            depth--;
    }
    return most;
}

static bool is_escaped(unsigned char c) {
    return c < 0x20 || c == 0x7f || c == '"' || c == '\\';
}

void text_json_string(struct buf *out, const char *s) {
    buf_adds(out, "\"");
    while (*s) {
        size_t plain = 0;
        while (s[plain] && !is_escaped((unsigned char)s[plain]))
            plain++;
        buf_add(out, s, plain);
        s += plain;
        unsigned char c = (unsigned char)*s;
        if (c == 0)
            break;
        s++;
        if (c == '"' || c == '\\')
            buf_addf(out, "\\%c", c);
        else if (c == '\n')
            buf_adds(out, "\\n");
        else if (c == '\r')
            buf_adds(out, "\\r");
        else
            buf_addf(out, "\\u%04x", c);
    }
    buf_adds(out, "\"");
}
