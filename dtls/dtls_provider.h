/* SPDX-License-Identifier: Apache-2.0 */
/* OpenSSL's default provider, narrowed to what a DTLS handshake can need.
 *
 * Why: for each public key that it reads, OpenSSL 3.0 goes through every key type and every decoder there is, PEM,
 * PKCS#8, DSA and the rest: a certificate takes 93 us, a third of a handshake. Here there are the key types of
 * certificates and key exchange, and their one encoding in a certificate, and it takes 43. All algorithms are the
 * default provider's own. Nothing is narrowed where that is not in use (FIPS, by openssl.cnf), nor from OpenSSL 3.2 on,
 * which remembers what it found.
 *
 * Thread: any. */
#ifndef DTLS_DTLS_PROVIDER_H
#define DTLS_DTLS_PROVIDER_H

#include <openssl/types.h>

/* The library context for SSL_CTX_new_ex and its like, until the end of the process; NULL, which is OpenSSL's own,
 * where nothing is narrowed. */
OSSL_LIB_CTX *dtls_provider_libctx(void);

#endif
