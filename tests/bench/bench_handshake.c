/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/bench/bench_handshake.h"

#include "tests/bench/bench_cpu.h"

#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MTU_BYTES 1200
#define FLIGHTS   2 /* of each side: ClientHello, and the rest */
#define DAY_S     86400L

static void must(int ok) {
    if (!ok) {
        fprintf(stderr, "bench: the in-memory handshake fails\n");
        exit(1);
    }
}

static int trust(X509_STORE_CTX *store, void *arg) {
    (void)store;
    (void)arg;
    return 1;
}

static SSL_CTX *make_ctx(void) {
    char groups[] = "X25519:P-256";
    SSL_CTX *ctx = SSL_CTX_new(DTLS_method());
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    must(ctx && key && cert);
    must(ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) && X509_gmtime_adj(X509_getm_notBefore(cert), -DAY_S) &&
         X509_gmtime_adj(X509_getm_notAfter(cert), DAY_S) && X509_set_pubkey(cert, key) &&
         X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC, (const unsigned char *)"WebRTC",
                                    -1, -1, 0) &&
         X509_set_issuer_name(cert, X509_get_subject_name(cert)) && X509_sign(cert, key, EVP_sha256()) > 0);
    must(SSL_CTX_use_certificate(ctx, cert) == 1 && SSL_CTX_use_PrivateKey(ctx, key) == 1 &&
         SSL_CTX_set1_groups_list(ctx, groups) == 1 && SSL_CTX_set_tlsext_use_srtp(ctx, "SRTP_AES128_CM_SHA1_80") == 0);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, trust, NULL);
    SSL_CTX_set_read_ahead(ctx, 1);
    X509_free(cert);
    EVP_PKEY_free(key);
    return ctx;
}

static uint64_t cpu_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static SSL *make_ssl(SSL_CTX *ctx, BIO *in, BIO *out) {
    SSL *ssl = SSL_new(ctx);
    must(ssl && BIO_up_ref(in) && BIO_up_ref(out));
    SSL_set_bio(ssl, in, out);
    SSL_set_mtu(ssl, MTU_BYTES);
    return ssl;
}

static BIO *make_bio(void) {
    BIO *bio = BIO_new(BIO_s_mem());
    must(bio != NULL);
    BIO_set_mem_eof_return(bio, -1);
    return bio;
}

struct pair {
    BIO *to_server, *to_client;
    SSL *server, *client;
};

static uint64_t open_server(struct pair *p, SSL_CTX *ctx) {
    uint64_t from_ns = cpu_ns();
    p->server = make_ssl(ctx, p->to_server, p->to_client);
    SSL_set_accept_state(p->server);
    return cpu_ns() - from_ns;
}

static uint64_t step_server(struct pair *p) {
    uint64_t from_ns = cpu_ns();
    SSL_do_handshake(p->server);
    return cpu_ns() - from_ns;
}

static uint64_t end(struct pair *p) {
    must(SSL_is_init_finished(p->client) && SSL_is_init_finished(p->server));
    uint64_t from_ns = cpu_ns();
    SSL_free(p->server);
    uint64_t spent_ns = cpu_ns() - from_ns;
    SSL_free(p->client);
    BIO_free(p->to_server);
    BIO_free(p->to_client);
    return spent_ns;
}

uint64_t bench_handshakes_server_ns(unsigned n, unsigned nap_us) {
    static SSL_CTX *server_ctx, *client_ctx;
    struct pair pairs[BENCH_HANDSHAKES_MAX];
    uint64_t spent_ns = 0;
    if (!server_ctx) {
        server_ctx = make_ctx();
        client_ctx = make_ctx();
    }
    for (unsigned i = 0; i < n; i++) {
        struct pair *p = &pairs[i];
        p->to_server = make_bio();
        p->to_client = make_bio();
        p->client = make_ssl(client_ctx, p->to_client, p->to_server);
        SSL_set_connect_state(p->client);
        spent_ns += open_server(p, server_ctx);
    }
    for (unsigned flight = 0; flight < FLIGHTS; flight++) {
        for (unsigned i = 0; i < n; i++)
            SSL_do_handshake(pairs[i].client);
        if (nap_us)
            usleep(nap_us);
        for (unsigned i = 0; i < n; i++)
            spent_ns += step_server(&pairs[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        SSL_do_handshake(pairs[i].client);
        spent_ns += end(&pairs[i]);
    }
    return spent_ns;
}

struct floor_run {
    unsigned n, nap_us;
    uint64_t spent_ns;
};

static void *floor_main(void *arg) {
    struct floor_run *r = arg;
    bench_cpu_pin(0, bench_cpu_measured());
    bench_cpu_first(0, true);
    r->spent_ns = bench_handshakes_server_ns(r->n, r->nap_us);
    return NULL;
}

uint64_t bench_handshakes_floor_ns(unsigned n, unsigned nap_us) {
    struct floor_run r = {n, nap_us, 0};
    pthread_t thread;
    must(pthread_create(&thread, NULL, floor_main, &r) == 0);
    pthread_join(thread, NULL);
    return r.spent_ns;
}
