/* SPDX-License-Identifier: Apache-2.0 */
/* TLS of the provider's side, and what client certificates say. Thread: the loop's. */
#ifndef APNS_SIM_SIM_TLS_H
#define APNS_SIM_SIM_TLS_H

#include "apns/sim/sim_priv.h"

/* Returns 0, or E_NOMEM, E_IO with a sentence; the caller owns *ctx. */
int sim_tls_context(SSL_CTX **ctx, const struct sim *s, struct err_text *et);
/* A session on that context, with the behaviour's versions. NULL when memory is out. */
SSL *sim_tls_session(const struct sim *s, SSL_CTX *ctx);
/* After the handshake. False when the client showed no certificate. */
bool sim_tls_certificate(struct sim_certificate *out, const struct sim *s, const SSL *ssl);
/* Topics in the value of one of Apple's extensions (DER: a sequence of names, each followed by its kinds). */
void sim_tls_topics(struct sim_certificate *out, const unsigned char *der, size_t len);

#endif
