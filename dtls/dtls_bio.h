/* SPDX-License-Identifier: Apache-2.0 */
/* A BIO that keeps datagrams apart: each write is one datagram to a callback, each read takes the one datagram that was
 * put in. (A memory BIO would join datagrams and know no MTU.) Owner: the SSL it is set on. Thread: its session's. */
#ifndef DTLS_DTLS_BIO_H
#define DTLS_DTLS_BIO_H

#include <openssl/bio.h>
#include <stddef.h>
#include <stdint.h>

typedef void (*dtls_bio_send)(const uint8_t *dg, size_t len, void *arg);

/* mtu: bytes of a datagram. Returns NULL when memory is out. */
BIO *dtls_bio_new(dtls_bio_send send, void *arg, size_t mtu);
/* The datagram that the next read takes; must stay valid until then or until the next put. NULL withdraws it. */
void dtls_bio_put(BIO *bio, const uint8_t *dg, size_t len);

#endif
