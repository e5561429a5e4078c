/* SPDX-License-Identifier: Apache-2.0 */
/* Growable byte buffer. A failed allocation sets `oom` and drops what follows, so that a writer checks once at the end.
 * Owner: whoever declared it. Thread: one at a time. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
    char *p;    /* len bytes, always followed by a NUL once anything was added; NULL while empty */
    size_t len; /* bytes */
    size_t cap; /* bytes */
    bool oom;
};

/* Room for so many more bytes: what is added then does not move the memory, and leaves no copy of a secret behind. */
void buf_reserve(struct buf *b, size_t bytes);
void buf_add(struct buf *b, const void *p, size_t len);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Drop the first n bytes. */
void buf_shift(struct buf *b, size_t n);
/* Empty, memory kept. */
void buf_reset(struct buf *b);
/* Release the memory; the buffer can be used again. */
void buf_free(struct buf *b);
/* Wipe, then release: for keys and tokens. */
void buf_wipe(struct buf *b);
/* Hand over the bytes (free() them); the buffer is empty afterwards. NULL when oom; "" when nothing was added. */
char *buf_take(struct buf *b);

#endif
