/* SPDX-License-Identifier: Apache-2.0 */
/* The narrowed provider: every certificate that a peer may have is still read and verified, and for less. */
#include "dtls/dtls_bio.h"
#include "dtls/dtls_identity.h"
#include "dtls/dtls_provider.h"
#include "dtls/dtls_session.h"
#include "tests/unit/dtls/openssl_allocations.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define QUEUE_MAX 16
#define DGRAM_MAX 1500
#define NOW_MS    1000
#define DAY_S     86400L

static X509 *certificate(EVP_PKEY *key) {
    X509 *cert = X509_new();
    X509_NAME *name = X509_get_subject_name(cert);
    const EVP_MD *md = EVP_PKEY_is_a(key, "ED25519") ? NULL : EVP_sha256();
    assert_int_equal(X509_set_version(cert, X509_VERSION_3), 1);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(cert), DAY_S);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, (const unsigned char *)"x", -1, -1, 0);
    X509_set_issuer_name(cert, name);
    assert_int_equal(X509_set_pubkey(cert, key), 1);
    assert_true(X509_sign(cert, key, md) > 0);
    return cert;
}

struct queue {
    size_t count, len[QUEUE_MAX];
    uint8_t p[QUEUE_MAX][DGRAM_MAX];
};

struct world {
    struct queue to_peer, to_session;
    bool connected, closed;
};

static void put(struct queue *q, const uint8_t *dg, size_t len) {
    assert_in_range(q->count, 0, QUEUE_MAX - 1);
    q->len[q->count] = len;
    memcpy(q->p[q->count++], dg, len);
}

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    put(&((struct world *)arg)->to_peer, dg, len);
}

static void on_connected(const struct media_keys *keys, void *arg) {
    (void)keys;
    ((struct world *)arg)->connected = true;
}

static void on_closed(int err, void *arg) {
    (void)err;
    ((struct world *)arg)->closed = true;
}

static void on_peer_send(const uint8_t *dg, size_t len, void *arg) {
    put(&((struct world *)arg)->to_session, dg, len);
}

static int trust(X509_STORE_CTX *store, void *arg) {
    (void)store;
    (void)arg;
    return 1;
}

static void shake(struct world *w, struct dtls_session *s, SSL *ssl, BIO *bio) {
    for (int round = 0; round < 8; round++) {
        SSL_do_handshake(ssl);
        for (size_t i = 0; i < w->to_session.count; i++)
            dtls_session_input(s, w->to_session.p[i], w->to_session.len[i], NOW_MS);
        w->to_session.count = 0;
        for (size_t i = 0; i < w->to_peer.count; i++) {
            dtls_bio_put(bio, w->to_peer.p[i], w->to_peer.len[i]);
            SSL_do_handshake(ssl);
        }
        dtls_bio_put(bio, NULL, 0);
        w->to_peer.count = 0;
    }
}

/* A client with this key connects to a session. */
static void connect_with(EVP_PKEY *key) {
    static const struct dtls_ops ops = {on_send, on_connected, NULL, on_closed};
    struct world *w = calloc(1, sizeof *w);
    struct dtls_identity *id = NULL;
    struct dtls_session *s = NULL;
    struct sdp_fingerprint f = {"sha-256", {0}, 32};
    struct dtls_params params = {.fingerprints = &f, .fingerprint_count = 1};
    X509 *cert = certificate(key);
    SSL_CTX *ctx = SSL_CTX_new(DTLS_method());
    unsigned len;
    assert_int_equal(SSL_CTX_use_certificate(ctx, cert), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, key), 1);
    SSL_CTX_set_cert_verify_callback(ctx, trust, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_QUERY_MTU);
    assert_int_equal(SSL_CTX_set_tlsext_use_srtp(ctx, "SRTP_AEAD_AES_128_GCM"), 0);
    X509_digest(cert, EVP_sha256(), f.value, &len);
    assert_int_equal(dtls_identity_new(&id, NULL), 0);
    assert_int_equal(dtls_session_new(&s, id, &params, &ops, w), 0);
    SSL *ssl = SSL_new(ctx);
    BIO *bio = dtls_bio_new(on_peer_send, w, DTLS_MTU_BYTES);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_mtu(ssl, DTLS_MTU_BYTES);
    SSL_set_connect_state(ssl);
    shake(w, s, ssl, bio);
    assert_true(w->connected);
    assert_false(w->closed);
    dtls_session_forget(s);
    SSL_free(ssl);
    SSL_CTX_free(ctx);
    dtls_identity_free(id);
    X509_free(cert);
    EVP_PKEY_free(key);
    free(w);
}

static void peers_with_any_usual_key_connect(void **state) {
    (void)state;
    connect_with(EVP_EC_gen("P-256"));
    connect_with(EVP_EC_gen("P-384"));
    connect_with(EVP_EC_gen("P-521"));
    connect_with(EVP_RSA_gen(2048));
    connect_with(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"));
}

static unsigned cost_of_reading(OSSL_LIB_CTX *libctx, const uint8_t *der, long len) {
    unsigned before = 0;
    for (int round = 0; round < 2; round++) { /* the first one fills OpenSSL's caches */
        const uint8_t *p = der;
        X509 *cert = X509_new_ex(libctx, NULL);
        before = allocations;
        assert_non_null(d2i_X509(&cert, &p, len));
        assert_non_null(X509_get0_pubkey(cert));
        X509_free(cert);
    }
    return allocations - before;
}

static void a_certificate_is_read_with_less_to_do(void **state) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = certificate(key);
    OSSL_LIB_CTX *narrowed = dtls_provider_libctx();
    uint8_t *der = NULL;
    int len = i2d_X509(cert, &der);
    (void)state;
    assert_non_null(narrowed);
    assert_in_range(cost_of_reading(narrowed, der, len), 1, cost_of_reading(NULL, der, len) * 2 / 3);
    OPENSSL_free(der);
    X509_free(cert);
    EVP_PKEY_free(key);
}

/* openssl.cnf can ask for FIPS; that is not to be got round. */
static void where_fips_is_asked_for_nothing_is_narrowed(void **state) {
    (void)state;
    pid_t pid = fork();
    if (pid == 0) {
        EVP_default_properties_enable_fips(NULL, 1);
        _exit(dtls_provider_libctx() == NULL ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_fips_is_asked_for_nothing_is_narrowed), /* before the choice is made in this process */
        cmocka_unit_test(peers_with_any_usual_key_connect),
        cmocka_unit_test(a_certificate_is_read_with_less_to_do),
    };
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
