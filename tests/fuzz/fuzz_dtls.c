/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram to a connected DTLS association that has left OpenSSL. In half of the runs the input is sealed with its
 * peer's keys, so that what lies behind the authentication is reached. */
#include "dtls/dtls_bio.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_record.h"
#include "dtls/dtls_session.h"

#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX 8
#define DGRAM_MAX 1500
#define NOW_MS    1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct queue {
    size_t count, len[QUEUE_MAX];
    uint8_t p[QUEUE_MAX][DGRAM_MAX];
};

static struct dtls_session *session;
static struct dtls_record peer; /* the other end */
static struct queue to_peer, to_session;
static bool connected, sealed, closed;

static void check(bool ok) {
    if (!ok)
        abort();
}

static void put(struct queue *q, const uint8_t *dg, size_t len) {
    check(q->count < QUEUE_MAX && len <= DGRAM_MAX);
    q->len[q->count] = len;
    memcpy(q->p[q->count++], dg, len);
}

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    (void)arg;
    check(!connected || sealed); /* what nobody sealed gets no answer */
    if (!connected)
        put(&to_peer, dg, len);
}

static void on_connected(const struct media_keys *keys, void *arg) {
    (void)keys;
    (void)arg;
}

static void on_data(const uint8_t *p, size_t len, void *arg) {
    (void)p;
    (void)len;
    (void)arg;
    check(sealed);
}

static void on_closed(int err, void *arg) {
    (void)err;
    (void)arg;
    check(sealed);
    closed = true;
}

static void on_peer_send(const uint8_t *dg, size_t len, void *arg) {
    (void)arg;
    put(&to_session, dg, len);
}

static int trust(X509_STORE_CTX *store, void *arg) {
    (void)store;
    (void)arg;
    return 1;
}

/* The peer is a plain SSL object, which gives its keys away. */
static void connect_ends(void) {
    static const struct dtls_ops ops = {on_send, on_connected, on_data, on_closed};
    static struct dtls_identity *ids[2];
    static SSL_CTX *ctx;
    struct sdp_fingerprint f = {"sha-256", {0}, 32};
    unsigned len;
    if (!ctx) {
        check(dtls_identity_new(&ids[0], NULL) == 0 && dtls_identity_new(&ids[1], NULL) == 0);
        ctx = SSL_CTX_new(DTLS_method());
        check(SSL_CTX_use_certificate(ctx, SSL_CTX_get0_certificate(dtls_identity_ctx(ids[1]))) == 1);
        check(SSL_CTX_use_PrivateKey(ctx, SSL_CTX_get0_privatekey(dtls_identity_ctx(ids[1]))) == 1);
        SSL_CTX_set_cert_verify_callback(ctx, trust, NULL);
        SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
        check(SSL_CTX_set_tlsext_use_srtp(ctx, "SRTP_AEAD_AES_128_GCM") == 0);
    }
    X509_digest(SSL_CTX_get0_certificate(ctx), EVP_sha256(), f.value, &len);
    struct dtls_params params = {.fingerprints = &f, .fingerprint_count = 1};
    check(dtls_session_new(&session, ids[0], &params, &ops, NULL) == 0);
    SSL *ssl = SSL_new(ctx);
    BIO *bio = dtls_bio_new(on_peer_send, NULL, DTLS_MTU_BYTES);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_mtu(ssl, DTLS_MTU_BYTES);
    SSL_set_connect_state(ssl);
    connected = closed = false;
    while (SSL_do_handshake(ssl) != 1 || to_session.count) {
        for (size_t i = 0; i < to_session.count; i++)
            dtls_session_input(session, to_session.p[i], to_session.len[i], NOW_MS);
        to_session.count = 0;
        for (size_t i = 0; i < to_peer.count; i++) {
            dtls_bio_put(bio, to_peer.p[i], to_peer.len[i]);
            SSL_do_handshake(ssl);
        }
        dtls_bio_put(bio, NULL, 0);
        to_peer.count = 0;
    }
    SSL_write(ssl, "x", 1);
    check(to_session.count == 1 && dtls_record_take(&peer, ssl, to_session.p[0], to_session.len[0]) == 0);
    to_session.count = 0;
    connected = true;
    SSL_free(ssl);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t dg[DGRAM_MAX];
    if (!session)
        connect_ends();
    sealed = size > 1 && data[0] & 0x80;
    if (sealed) {
        int n = dtls_record_seal(&peer, (enum dtls_record_type)data[1], data + 2, size - 2, dg, sizeof dg);
        if (n > 0)
            dtls_session_input(session, dg, (size_t)n, NOW_MS);
    } else if (size <= DGRAM_MAX) {
        dtls_session_input(session, data, size, NOW_MS);
    }
    if (closed)
        session = dtls_session_free(session);
    return 0;
}
