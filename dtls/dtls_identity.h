/* SPDX-License-Identifier: Apache-2.0 */
/* A DTLS identity: key, certificate, SSL_CTX and fingerprint, made once and shared by many handshakes of one worker; it
 * never changes. Owner: whoever made it; sessions that were made with it may outlive it. Thread: one worker makes
 * sessions of it (the fingerprint text may be read by any). */
#ifndef DTLS_DTLS_IDENTITY_H
#define DTLS_DTLS_IDENTITY_H

#include "base/err.h"

#include <stddef.h>

#define DTLS_FINGERPRINT_BYTES 104 /* "sha-256 " and 32 * 3 - 1 characters, and the NUL */

struct dtls_identity;

struct dtls_identity_params {
    const char *certificate_file; /* PEM, the leaf first, then its chain; NULL: make a key and a certificate */
    const char *key_file;         /* PEM, a secret file (secret_file_read); with certificate_file */
    const char *pem;              /* instead of files: what dtls_identity_pem gave, pem_len bytes; NULL: none */
    size_t pem_len;
    const char *srtp_profiles; /* OpenSSL's list syntax, in our order; NULL: all, in the order below */
};

/* Returns 0, or E_CRYPTO, E_NOMEM, E_IO, E_DENIED, E_INVAL with a sentence. A certificate is taken as it is: peers go
 * by its fingerprint, not by its name or dates. */
int dtls_identity_make(struct dtls_identity **ip, const struct dtls_identity_params *p, struct err_text *et);
/* ECDSA P-256, CN "WebRTC", serial random, valid from a day ago for 30 days. Session cache and tickets off, MTU 1200,
 * client certificate asked for and required, SRTP profiles in the order AEAD_AES_128_GCM, AEAD_AES_256_GCM,
 * AES128_CM_SHA1_80. Returns 0, E_CRYPTO, E_NOMEM. */
int dtls_identity_new(struct dtls_identity **ip, struct err_text *et);
/* As above with the profiles limited to `srtp_profiles` (OpenSSL's list syntax, e.g. "SRTP_AEAD_AES_128_GCM"). */
int dtls_identity_new_profiles(struct dtls_identity **ip, const char *srtp_profiles, struct err_text *et);
/* Key and certificate in PEM. *pem: secret_free it, *len bytes. Returns 0, E_NOMEM, E_CRYPTO. */
int dtls_identity_pem(const struct dtls_identity *i, char **pem, size_t *len);
struct dtls_identity *dtls_identity_free(struct dtls_identity *i);
/* "sha-256 AB:CD:...": valid as long as the identity. */
const char *dtls_identity_fingerprint(const struct dtls_identity *i);

/* What the OpenSSL of this process can do, for a log. */
struct dtls_abilities {
    char openssl[64]; /* "OpenSSL 3.0.11 19 Sep 2023" */
    const char *versions, *groups;
};
void dtls_abilities(struct dtls_abilities *a);

#endif
