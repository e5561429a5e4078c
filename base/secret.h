/* SPDX-License-Identifier: Apache-2.0 */
/* Secrets: files that others must not read, hashes, constant-time compares, wiping. Thread: any. */
#ifndef BASE_SECRET_H
#define BASE_SECRET_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SECRET_FILE_MAX_BYTES 65536 /* a key or a certificate chain; anything larger is a mistake */
#define SECRET_TOKEN_BYTES    48    /* a prefix, '_', 43 characters of base64url(32 random bytes), and the NUL */
#define SECRET_API_PREFIX     "wg"  /* of API tokens */
#define SECRET_DEVICE_PREFIX  "wd"  /* of devices' secrets */
#define SECRET_ATTACH_PREFIX  "wa"  /* of attach tokens in pushes */
#define SECRET_HASH_BYTES     65    /* SHA-256 in lower-case hex, and the NUL */

/* Read a secret file. It must be a regular file that neither group nor others can read, write or execute.
 * *p gets len bytes and a NUL after them; secret_free() it. Returns 0 or E_IO, E_DENIED, E_INVAL with a sentence in et.
 */
int secret_file_read(char **p, size_t *len, const char *path, struct err_text *et);
/* Wipes and frees. Returns NULL. */
char *secret_free(char *p, size_t len);
/* memset that the compiler keeps. */
void secret_wipe(void *p, size_t len);
/* Constant time for equal lengths; different lengths are unequal. */
bool secret_eq(const char *a, const char *b);
bool secret_eq_bytes(const uint8_t *a, const uint8_t *b, size_t len);
/* SHA-256 of a string, lower-case hex. Returns out. */
char *secret_hash(char out[static SECRET_HASH_BYTES], const char *s);
/* A new random token: prefix (2 letters), '_', 43 characters. Returns out. */
char *secret_token_new(char out[static SECRET_TOKEN_BYTES], const char *prefix);

#endif
