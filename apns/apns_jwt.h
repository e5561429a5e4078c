/* SPDX-License-Identifier: Apache-2.0 */
/* ES256 tokens (RFC 7515, RFC 7518 3.4) as APNs wants them: header alg and kid, claims iss and iat. Thread: any. */
#ifndef APNS_APNS_JWT_H
#define APNS_APNS_JWT_H

#include "base/err.h"

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#define APNS_JWT_BYTES   256 /* with 10-character ids a token has 184 characters; and the NUL */
#define APNS_ES256_BYTES 64  /* r and s, 32 bytes each */

/* A P-256 private (or, with is_public, public) key from PEM. Returns 0 or E_CRYPTO, E_INVAL with a sentence. */
int apns_key_parse(EVP_PKEY **keyp, const char *pem, size_t len, struct err_text *et);
int apns_public_key_parse(EVP_PKEY **keyp, const char *pem, size_t len, struct err_text *et);

/* r||s over the bytes. Returns 0 or E_CRYPTO. */
int apns_es256_sign(uint8_t out[static APNS_ES256_BYTES], EVP_PKEY *key, const void *p, size_t len);
/* Returns 0 or E_AUTH, E_CRYPTO. */
int apns_es256_verify(const uint8_t sig[static APNS_ES256_BYTES], EVP_PKEY *key, const void *p, size_t len);

/* A provider token; iat_s: Unix seconds. Returns 0, E_CRYPTO, E_FULL. */
int apns_jwt_make(char out[static APNS_JWT_BYTES], EVP_PKEY *key, const char *team_id, const char *key_id,
                  uint64_t iat_s);

#endif
