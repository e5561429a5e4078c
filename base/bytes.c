/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"

#include "base/err.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#define DECIMAL_DIGITS_MAX 18 /* what fits into 64 bits in any case */
#define RANDOM_CHUNK_BYTES 32 /* an ICE password's 24 characters, mostly with some to spare */

char *hex_encode(char *out, const uint8_t *p, size_t len) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[p[i] >> 4];
        out[2 * i + 1] = digits[p[i] & 15];
    }
    out[2 * len] = 0;
    return out;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int hex_decode(uint8_t *out, size_t cap, const char *s) {
    size_t len = strlen(s);
    if (len % 2 != 0)
        return E_MALFORMED;
    if (len / 2 > cap)
        return E_FULL;
    for (size_t i = 0; i < len / 2; i++) {
        int high = hex_value(s[2 * i]), low = hex_value(s[2 * i + 1]);
        if (high < 0 || low < 0)
            return E_MALFORMED;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return (int)(len / 2);
}

char *b64_encode(char *out, const uint8_t *p, size_t len) {
    EVP_EncodeBlock((unsigned char *)out, p, (int)len);
    return out;
}

char *b64url_encode(char *out, const uint8_t *p, size_t len) {
    b64_encode(out, p, len);
    for (char *c = out; *c; c++) {
        if (*c == '=') {
            *c = 0;
            break;
        }
        *c = *c == '+' ? '-' : *c == '/' ? '_' : *c;
    }
    return out;
}

static int b64_value(char c, bool url) {
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* The digits without padding; strict: unused bits must be zero (RFC 4648 3.5). */
static int decode_digits(uint8_t *out, size_t cap, const char *s, size_t len, bool url) {
    uint32_t bits = 0;
    unsigned have = 0;
    size_t n = 0;
    if (len % 4 == 1)
        return E_MALFORMED;
    if (len / 4 * 3 + (len % 4 ? len % 4 - 1 : 0) > cap)
        return E_FULL;
    for (size_t i = 0; i < len; i++) {
        int v = b64_value(s[i], url);
        if (v < 0)
            return E_MALFORMED;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (uint8_t)(bits >> have);
        }
    }
    return (bits & ((1U << have) - 1)) == 0 ? (int)n : E_MALFORMED;
}

int b64_decode(uint8_t *out, size_t cap, const char *s, size_t len) {
    if (len % 4 != 0)
        return E_MALFORMED;
    for (int pad = 0; pad < 2 && len > 0 && s[len - 1] == '='; pad++)
        len--;
    return decode_digits(out, cap, s, len, false);
}

int b64url_decode(uint8_t *out, size_t cap, const char *s, size_t len) {
    return decode_digits(out, cap, s, len, true);
}

void random_bytes(void *out, size_t len) {
    if (RAND_bytes(out, (int)len) != 1)
        abort();
}

char *random_alnum(char *out, size_t len) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    enum { LETTERS = sizeof alphabet - 1, FAIR = 256 / LETTERS * LETTERS };
    uint8_t some[RANDOM_CHUNK_BYTES]; /* a call of the generator costs far more than a byte of it */
    size_t at = sizeof some;
    for (size_t i = 0; i < len; at++) {
        if (at == sizeof some) {
            random_bytes(some, sizeof some);
            at = 0;
        }
        if (some[at] < FAIR)
            out[i++] = alphabet[some[at] % LETTERS];
    }
    OPENSSL_cleanse(some, sizeof some);
    out[len] = 0;
    return out;
}

char *uuid_new(char out[static UUID_BYTES]) {
    uint8_t b[16];
    char hex[33];
    random_bytes(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40);
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    hex_encode(hex, b, sizeof b);
    for (int i = 0, k = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            out[k++] = '-';
        out[k++] = hex[i];
    }
    out[UUID_BYTES - 1] = 0;
    return out;
}

bool uuid_valid(const char *s) {
    for (int i = 0; i < UUID_BYTES - 1; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s[i] != '-' : hex_value(s[i]) < 0)
            return false;
    }
    return s[UUID_BYTES - 1] == 0;
}

char *uuid_lower(char out[static UUID_BYTES], const char *s) {
    size_t n = 0;
    for (; n < UUID_BYTES - 1 && s[n]; n++)
        out[n] = s[n] >= 'A' && s[n] <= 'Z' ? (char)(s[n] - 'A' + 'a') : s[n];
    out[n] = 0;
    return out;
}

/* Length of the UTF-8 sequence at s, or 0 when it is not valid (Unicode table 3-7). */
static size_t utf8_sequence(const unsigned char *s, size_t left) {
    unsigned char low = 0x80, high = 0xbf;
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
    if (n <= 1 || n > left)
        return n > left ? 0 : n;
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    return n;
}

bool utf8_valid(const char *s, size_t len) {
    for (size_t at = 0; at < len;) {
        size_t n = utf8_sequence((const unsigned char *)s + at, len - at);
        if (n == 0)
            return false;
        at += n;
    }
    return true;
}

/* Only the last '*' is ever tried again, so the time is bounded by pattern times text. */
bool decimal_parse(uint64_t *n, const char *s) {
    size_t len = strspn(s, "0123456789");
    if (len == 0 || len > DECIMAL_DIGITS_MAX || s[len] != 0)
        return false;
    *n = strtoull(s, NULL, 10);
    return true;
}

bool glob_match(const char *pattern, const char *s) {
    const char *star = NULL, *from = NULL;
    while (*s) {
        if (*pattern == '*') {
            star = ++pattern;
            from = s;
        } else if (*pattern && (*pattern == '?' || *pattern == *s)) {
            pattern++;
            s++;
        } else if (star) {
            pattern = star;
            s = ++from;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}
