/* SPDX-License-Identifier: Apache-2.0 */
#include "base/buf.h"

#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and a NUL. */
static bool buf_grow(struct buf *b, size_t more) {
    if (b->oom || more > SIZE_MAX / 4 - b->len)
        b->oom = true;
    if (b->oom)
        return false;
    size_t need = b->len + more + 1, cap = b->cap ? b->cap : 64;
    if (need <= b->cap)
        return true;
    while (cap < need)
        cap *= 2;
    char *p = realloc(b->p, cap);
    if (!p) {
        b->oom = true;
        return false;
    }
    b->p = p;
    b->cap = cap;
    return true;
}

void buf_reserve(struct buf *b, size_t bytes) {
    buf_grow(b, bytes);
}

void buf_add(struct buf *b, const void *p, size_t len) {
    if (!buf_grow(b, len))
        return;
    if (len)
        memcpy(b->p + b->len, p, len);
    b->len += len;
    b->p[b->len] = 0;
}

void buf_adds(struct buf *b, const char *s) {
    buf_add(b, s, strlen(s));
}

void buf_addf(struct buf *b, const char *fmt, ...) {
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    if (n < 0)
        b->oom = true;
    else if (buf_grow(b, (size_t)n)) {
        vsnprintf(b->p + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

void buf_shift(struct buf *b, size_t n) {
    if (n > b->len)
        n = b->len;
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->len - n);
    b->len -= n;
    b->p[b->len] = 0;
}

void buf_reset(struct buf *b) {
    b->len = 0;
    b->oom = false;
    if (b->p)
        b->p[0] = 0;
}

void buf_free(struct buf *b) {
    free(b->p);
    *b = (struct buf){0};
}

void buf_wipe(struct buf *b) {
    if (b->p)
        OPENSSL_cleanse(b->p, b->cap);
    buf_free(b);
}

char *buf_take(struct buf *b) {
    if (!b->p)
        buf_grow(b, 0);
    if (b->oom || !b->p) {
        buf_free(b);
        return NULL;
    }
    char *p = b->p;
    p[b->len] = 0;
    *b = (struct buf){0};
    return p;
}
