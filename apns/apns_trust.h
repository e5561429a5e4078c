/* SPDX-License-Identifier: Apache-2.0 */
/* Whom we believe, and who we are, in TLS: the server's authorities and our provider certificate, if any. Thread: any.
 */
#ifndef APNS_APNS_TRUST_H
#define APNS_APNS_TRUST_H

#include "apns/apns.h"

#include <openssl/ssl.h>

/* From ca_file and certificate of the config. *expires_s: when the certificate ends, Unix time; 0 without one. Returns
 * 0, E_NOMEM, E_IO, E_CRYPTO, E_INVAL with a sentence. */
int apns_trust_new(SSL_CTX **ctxp, int64_t *expires_s, const struct apns_credential_config *cfg, struct err_text *et);

/* For SSL_new of that context: ALPN h2, the server's name in SNI, and as what its certificate must carry (an address:
 * as its iPAddress). Returns 0 or E_NOMEM. */
int apns_trust_expect(SSL *ssl, const char *host);

#endif
