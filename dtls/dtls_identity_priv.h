/* SPDX-License-Identifier: Apache-2.0 */
/* What dtls_session needs of an identity. */
#ifndef DTLS_DTLS_IDENTITY_PRIV_H
#define DTLS_DTLS_IDENTITY_PRIV_H

#include "dtls/dtls_identity.h"

#include <openssl/ssl.h>

/* Judges the peer's certificate against the session's fingerprints; defined in dtls_session.c. */
int dtls_session_verify(X509_STORE_CTX *store, void *arg);

SSL_CTX *dtls_identity_ctx(const struct dtls_identity *i);

#endif
