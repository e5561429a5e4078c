/* SPDX-License-Identifier: Apache-2.0 */
/* Encodings and identifiers: hex, base64 (RFC 4648 section 4), base64url without padding (section 5), UUID (RFC 9562).
 */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Lower-case hex; out holds 2 * len + 1 bytes. Returns out. */
char *hex_encode(char *out, const uint8_t *p, size_t len);
/* Returns the number of bytes, or E_MALFORMED, or E_FULL when cap is too small. */
int hex_decode(uint8_t *out, size_t cap, const char *s);

#define B64_BYTES(n) (((n) + 2) / 3 * 4 + 1) /* room for n bytes encoded, and the NUL */

char *b64_encode(char *out, const uint8_t *p, size_t len);    /* with padding; out holds B64_BYTES(len) */
char *b64url_encode(char *out, const uint8_t *p, size_t len); /* no padding; out holds B64_BYTES(len) */
/* Returns the number of bytes, E_MALFORMED, or E_FULL. */
int b64_decode(uint8_t *out, size_t cap, const char *s, size_t len);
int b64url_decode(uint8_t *out, size_t cap, const char *s, size_t len);

#define UUID_BYTES 37 /* 36 characters, lower case, and the NUL */

/* A random (version 4) UUID. Aborts when the system has no randomness. Returns out. */
char *uuid_new(char out[static UUID_BYTES]);
/* 8-4-4-4-12 hex, either case. */
bool uuid_valid(const char *s);

/* Phones write UUIDs in upper case, we in lower. Cut at 36 characters. Returns out. */
char *uuid_lower(char out[static UUID_BYTES], const char *s);

/* Valid UTF-8 (RFC 3629: no surrogates, no overlong forms). */
bool utf8_valid(const char *s, size_t len);

/* Glob with '*' and '?', ASCII case kept; linear time in the text for each '*'. */
bool glob_match(const char *pattern, const char *s);

/* 1 to 18 decimal digits and nothing else. */
bool decimal_parse(uint64_t *n, const char *s);

/* len characters of [A-Za-z0-9] (ice-chars without + and /) from the system's randomness; out holds len + 1. Returns
 * out. */
char *random_alnum(char *out, size_t len);
/* Random bytes; aborts when the system has none. */
void random_bytes(void *out, size_t len);

#endif
