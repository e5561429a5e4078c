/* SPDX-License-Identifier: Apache-2.0 */
/* A DTLS identity: key, self-signed certificate, SSL_CTX and fingerprint, made once and shared by many handshakes of
 * one worker. Owner: whoever made it; must outlive its sessions. Thread: one worker (the fingerprint text may be read
 * by any). */
#ifndef DTLS_DTLS_IDENTITY_H
#define DTLS_DTLS_IDENTITY_H

#include "base/err.h"

#define DTLS_FINGERPRINT_BYTES 104 /* "sha-256 " and 32 * 3 - 1 characters, and the NUL */

struct dtls_identity;

/* ECDSA P-256, CN "WebRTC", serial random, valid from a day ago for 30 days. Session cache and tickets off, MTU 1200,
 * client certificate asked for and required, SRTP profiles in the order AEAD_AES_128_GCM, AEAD_AES_256_GCM,
 * AES128_CM_SHA1_80. Returns 0, E_CRYPTO, E_NOMEM. */
int dtls_identity_new(struct dtls_identity **ip, struct err_text *et);
/* As above with the profiles limited to `srtp_profiles` (OpenSSL's list syntax, e.g. "SRTP_AEAD_AES_128_GCM"). */
int dtls_identity_new_profiles(struct dtls_identity **ip, const char *srtp_profiles, struct err_text *et);
struct dtls_identity *dtls_identity_free(struct dtls_identity *i);
/* "sha-256 AB:CD:...": valid as long as the identity. */
const char *dtls_identity_fingerprint(const struct dtls_identity *i);

#endif
