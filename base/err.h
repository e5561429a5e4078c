/* SPDX-License-Identifier: Apache-2.0 */
/* Error codes and error sentences.
 *
 * Functions return 0 (or a count) or one negative `enum err`. Where the mistake is a user's (config, request, file),
 * the function also takes a `struct err_text` and leaves one sentence in it that names the place and the mend. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

enum err {
    E_NOMEM = -1,        /* out of memory */
    E_INVAL = -2,        /* an argument or setting is not usable */
    E_MALFORMED = -3,    /* bytes from outside do not parse */
    E_AUTH = -4,         /* authentication or integrity failed */
    E_CONFLICT = -5,     /* contradicts what exists (role conflict, idempotency) */
    E_NOTFOUND = -6,     /* no such thing, or a stale id */
    E_FULL = -7,         /* a bounded queue, ring or buffer is full */
    E_AGAIN = -8,        /* nothing to do now; try later */
    E_CLOSED = -9,       /* the other side or the object is closed */
    E_IO = -10,          /* the operating system refused */
    E_CRYPTO = -11,      /* OpenSSL or libsrtp refused */
    E_STATE = -12,       /* not possible in this state */
    E_TIMEOUT = -13,     /* took too long */
    E_UNSUPPORTED = -14, /* well-formed, but not something we do */
    E_EXPIRED = -15,     /* past its time */
    E_DENIED = -16       /* known, but not allowed */
};

/* Short text of a code, e.g. "queue full". Static storage; never NULL. Thread: any. */
const char *err_str(int err);

#define ERR_TEXT_BYTES 512 /* one sentence with a path and a value in it */

struct err_text {
    char s[ERR_TEXT_BYTES]; /* NUL-terminated, cut when too long */
};

/* Write a sentence and return err, so that a caller can `return err_say(et, E_INVAL, "...")`. et may be NULL. */
int err_say(struct err_text *et, int err, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
