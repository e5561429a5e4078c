/* SPDX-License-Identifier: Apache-2.0 */
/* What has to lie on a disk and must not be read there: AES-256-GCM (NIST SP 800-38D) with keys from a file. A sealed
 * value is text, so that it fits into any column:
 *
 *   base64url( version 1 | key's id 4 bytes | nonce 12 | ciphertext | tag 16 )
 *
 * The nonce is random: one key is good for 2^32 values. Thread: any, read-only after seal_new. */
#ifndef BASE_SEAL_H
#define BASE_SEAL_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define SEAL_KEYS_MAX 8 /* the one that seals, and older ones */

struct seal;

/* file: a secret file (secret_file_read) of one key a line, 64 hex digits, as `openssl rand -hex 32` prints. The first
 * one seals, all of them open: put a new one on top to change it. Returns 0, or E_IO, E_DENIED, E_INVAL, E_NOMEM with a
 * sentence. */
int seal_new(struct seal **sp, const char *file, struct err_text *et);
/* Wipes the keys. Returns NULL. */
struct seal *seal_free(struct seal *s);

/* about: what the value is and whose; it opens with the same text only. *out: free() it. Returns 0, E_NOMEM, E_CRYPTO.
 */
int seal_close(char **out, const struct seal *s, const void *p, size_t len, const char *about);
/* *out gets *len bytes and a NUL after them; secret_free() it. Returns 0, or E_MALFORMED, E_NOTFOUND (its key is not in
 * the file any more), E_AUTH (changed, or about something else), E_NOMEM. */
int seal_open(char **out, size_t *len, const struct seal *s, const char *text, const char *about);

#endif
