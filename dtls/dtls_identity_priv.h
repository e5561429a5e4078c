/* SPDX-License-Identifier: Apache-2.0 */
/* What dtls_session needs of an identity. */
#ifndef DTLS_DTLS_IDENTITY_PRIV_H
#define DTLS_DTLS_IDENTITY_PRIV_H

#include "dtls/dtls_identity.h"

#include <openssl/ssl.h>

/* Judges the peer's certificate against the session's fingerprints; defined in dtls_session.c. */
int dtls_session_verify(X509_STORE_CTX *store, void *arg);
/* The cookies of sessions that listen; defined in dtls_session.c. */
int dtls_session_make_cookie(SSL *ssl, unsigned char *out, unsigned *len);
int dtls_session_check_cookie(SSL *ssl, const unsigned char *cookie, unsigned len);

SSL_CTX *dtls_identity_ctx(const struct dtls_identity *i);

#endif
