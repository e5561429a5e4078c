/* SPDX-License-Identifier: Apache-2.0 */
/* The record layer against OpenSSL's: one end of an association is a session, the other an SSL object of this file, or
 * the record layer that took over from it. */
#include "base/bytes.h"
#include "base/err.h"
#include "dtls/dtls_bio.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_record.h"
#include "dtls/dtls_session.h"

#include <malloc.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUEUE_MAX 16
#define DGRAM_MAX 1500
#define NOW_MS    1000
#define SEQ_AT    5
#define NONCE_AT  13

struct dgram {
    size_t len;
    uint8_t p[DGRAM_MAX];
};

struct queue {
    struct dgram d[QUEUE_MAX];
    size_t count;
};

struct world {
    /* The end that is tested. */
    struct dtls_session *session;
    struct queue sent;
    bool connected;
    unsigned data, closed;
    int closed_err;
    uint8_t last[DGRAM_MAX];
    size_t last_len;
    /* The other one. */
    SSL *ssl;
    BIO *bio;
    struct queue peer_sent;
    struct dgram peer_sealed; /* its latest record of epoch 1 */
    struct dtls_record record;
};

static long live_bytes; /* of OpenSSL */

static void *counted_malloc(size_t n, const char *file, int line) {
    void *p = malloc(n);
    (void)file;
    (void)line;
    live_bytes += (long)malloc_usable_size(p);
    return p;
}

static void *counted_realloc(void *old, size_t n, const char *file, int line) {
    (void)file;
    (void)line;
    live_bytes -= (long)malloc_usable_size(old);
    void *p = realloc(old, n);
    live_bytes += (long)malloc_usable_size(p);
    return p;
}

static void counted_free(void *p, const char *file, int line) {
    (void)file;
    (void)line;
    live_bytes -= (long)malloc_usable_size(p);
    free(p);
}

static struct dtls_identity *identities[2];
static SSL_CTX *peer_ctx;
static const char *suite;
static bool session_is_client;

static void put(struct queue *q, const uint8_t *dg, size_t len) {
    assert_in_range(q->count, 0, QUEUE_MAX - 1);
    q->d[q->count].len = len;
    memcpy(q->d[q->count++].p, dg, len);
}

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    put(&((struct world *)arg)->sent, dg, len);
}

static void on_connected(const struct media_keys *keys, void *arg) {
    (void)keys;
    ((struct world *)arg)->connected = true;
}

static void on_data(const uint8_t *p, size_t len, void *arg) {
    struct world *w = arg;
    w->data++;
    w->last_len = len;
    memcpy(w->last, p, len);
}

static void on_closed(int err, void *arg) {
    struct world *w = arg;
    w->closed++;
    w->closed_err = err;
}

static const struct dtls_ops ops = {on_send, on_connected, on_data, on_closed};

static void on_peer_send(const uint8_t *dg, size_t len, void *arg) {
    struct world *w = arg;
    put(&w->peer_sent, dg, len);
    for (size_t at = 0, n; at < len; at += n) {
        n = dtls_record_length(dg + at, len - at);
        if (dg[at + 4] == 1) {
            w->peer_sealed.len = n;
            memcpy(w->peer_sealed.p, dg + at, n);
        }
    }
}

static int trust(X509_STORE_CTX *store, void *arg) {
    (void)store;
    (void)arg;
    return 1;
}

static SSL_CTX *make_peer_ctx(void) {
    SSL_CTX *ctx = SSL_CTX_new(DTLS_method()), *own = dtls_identity_ctx(identities[1]);
    assert_int_equal(SSL_CTX_use_certificate(ctx, SSL_CTX_get0_certificate(own)), 1);
    assert_int_equal(SSL_CTX_use_PrivateKey(ctx, SSL_CTX_get0_privatekey(own)), 1);
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    SSL_CTX_set_cert_verify_callback(ctx, trust, NULL);
    SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_QUERY_MTU);
    assert_int_equal(SSL_CTX_set_tlsext_use_srtp(ctx, "SRTP_AEAD_AES_128_GCM"), 0);
    return ctx;
}

static void to_peer(struct world *w) {
    struct queue q = w->sent;
    w->sent.count = 0;
    for (size_t i = 0; i < q.count; i++) {
        dtls_bio_put(w->bio, q.d[i].p, q.d[i].len);
        SSL_do_handshake(w->ssl);
        dtls_bio_put(w->bio, NULL, 0);
    }
}

static void to_session(struct world *w) {
    struct queue q = w->peer_sent;
    w->peer_sent.count = 0;
    for (size_t i = 0; i < q.count; i++)
        dtls_session_input(w->session, q.d[i].p, q.d[i].len, NOW_MS);
}

static struct world *world_new(void) {
    struct world *w = calloc(1, sizeof *w);
    struct sdp_fingerprint f = {"sha-256", {0}, 32};
    unsigned len;
    assert_non_null(w);
    assert_int_equal(X509_digest(SSL_CTX_get0_certificate(peer_ctx), EVP_sha256(), f.value, &len), 1);
    struct dtls_params p = {.client = session_is_client, .fingerprints = &f, .fingerprint_count = 1};
    assert_int_equal(dtls_session_new(&w->session, identities[0], &p, &ops, w), 0);
    w->ssl = SSL_new(peer_ctx);
    assert_int_equal(SSL_set_cipher_list(w->ssl, suite), 1);
    w->bio = dtls_bio_new(on_peer_send, w, DTLS_MTU_BYTES);
    SSL_set_bio(w->ssl, w->bio, w->bio);
    SSL_set_mtu(w->ssl, DTLS_MTU_BYTES);
    if (session_is_client)
        SSL_set_accept_state(w->ssl);
    else
        SSL_set_connect_state(w->ssl);
    return w;
}

static void shake(struct world *w) {
    dtls_session_start(w->session, NOW_MS);
    SSL_do_handshake(w->ssl);
    for (int i = 0; i < 6; i++) {
        to_peer(w);
        to_session(w);
    }
    assert_true(w->connected && SSL_is_init_finished(w->ssl));
}

static struct world *world_connected(void) {
    struct world *w = world_new();
    shake(w);
    return w;
}

/* The peer is the record layer, too, which can send what OpenSSL would not. */
static struct world *world_taken(void) {
    struct world *w = world_connected();
    assert_int_equal(dtls_record_take(&w->record, w->ssl, w->peer_sealed.p, w->peer_sealed.len), 0);
    return w;
}

static void world_free(struct world *w) {
    dtls_session_forget(w->session);
    SSL_free(w->ssl);
    free(w);
}

static bool aead(void) {
    return strstr(suite, "GCM") || strstr(suite, "CHACHA");
}

static void deliver(struct world *w, const struct dgram *d) {
    dtls_session_input(w->session, d->p, d->len, NOW_MS);
}

static struct dgram sealed(struct world *w, enum dtls_record_type type, const void *p, size_t len) {
    struct dgram d;
    int n = dtls_record_seal(&w->record, type, p, len, d.p, sizeof d.p);
    assert_true(n > 0);
    d.len = (size_t)n;
    return d;
}

static void say(struct world *w, enum dtls_record_type type, const void *p, size_t len) {
    struct dgram d = sealed(w, type, p, len);
    deliver(w, &d);
}

static int peer_reads(struct world *w, uint8_t *out) {
    assert_int_equal(w->sent.count, 1);
    dtls_bio_put(w->bio, w->sent.d[0].p, w->sent.d[0].len);
    w->sent.count = 0;
    return SSL_read(w->ssl, out, DGRAM_MAX);
}

static int peer_alert;

static void on_peer_info(const SSL *ssl, int where, int value) {
    (void)ssl;
    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT)
        peer_alert = value;
}

static void openssl_reads_what_the_session_writes(void **state) {
    struct world *w = world_connected();
    uint8_t out[DGRAM_MAX];
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(dtls_session_write(w->session, (const uint8_t *)"word", 4), 0);
        assert_int_equal(peer_reads(w, out), 4);
        assert_memory_equal(out, "word", 4);
    }
    uint8_t most[DTLS_MTU_BYTES] = {1};
    size_t len = sizeof most;
    while (dtls_session_write(w->session, most, len) == E_FULL)
        len--;
    assert_in_range(w->sent.d[0].len, len, DTLS_MTU_BYTES);
    assert_int_equal(peer_reads(w, out), len);
    world_free(w);
}

static void the_session_reads_what_openssl_writes(void **state) {
    struct world *w = world_connected();
    (void)state;
    for (unsigned i = 1; i <= 3; i++) {
        assert_int_equal(SSL_write(w->ssl, "word", 4), 4);
        to_session(w);
        assert_int_equal(w->data, i);
        assert_int_equal(w->last_len, 4);
        assert_memory_equal(w->last, "word", 4);
    }
    world_free(w);
}

static void openssl_understands_the_sessions_end(void **state) {
    struct world *w = world_connected();
    uint8_t out[DGRAM_MAX];
    (void)state;
    w->session = dtls_session_free(w->session);
    assert_int_equal(peer_reads(w, out), 0);
    assert_int_equal(SSL_get_shutdown(w->ssl), SSL_RECEIVED_SHUTDOWN);
    world_free(w);
}

static void the_session_understands_openssls_end_and_answers_it(void **state) {
    struct world *w = world_connected();
    uint8_t out[DGRAM_MAX];
    (void)state;
    assert_int_equal(SSL_shutdown(w->ssl), 0);
    to_session(w);
    assert_int_equal(w->closed, 1);
    assert_int_equal(w->closed_err, 0);
    assert_int_equal(peer_reads(w, out), 0);
    assert_int_equal(SSL_shutdown(w->ssl), 1);
    w->session = dtls_session_free(w->session);
    assert_int_equal(w->sent.count, 0);
    world_free(w);
}

/* The peer lost our last flight and sends its own again, in new records. */
static void a_repeated_finished_is_answered_with_the_same_flight(void **state) {
    struct world *w = world_new();
    struct queue lost;
    (void)state;
    SSL_do_handshake(w->ssl);
    while (!w->connected) {
        to_peer(w);
        to_session(w);
    }
    lost = w->sent;
    w->sent.count = 0;
    assert_false(SSL_is_init_finished(w->ssl));
    for (uint64_t end = 0; w->peer_sent.count == 0 && end < 3000; end++) {
        struct timespec ms = {.tv_nsec = 1000000};
        nanosleep(&ms, NULL);
        DTLSv1_handle_timeout(w->ssl);
    }
    to_session(w);
    if (aead()) /* OpenSSL splits it otherwise */
        assert_int_equal(w->sent.count, lost.count);
    for (size_t i = 0; aead() && i < lost.count; i++) {
        assert_int_equal(w->sent.d[i].len, lost.d[i].len);
        assert_memory_equal(w->sent.d[i].p, lost.d[i].p, lost.d[i].len);
    }
    to_peer(w);
    assert_true(SSL_is_init_finished(w->ssl));
    world_free(w);
}

static void openssl_keeps_nothing_of_an_association_with_aead(void **state) {
    (void)state;
    world_free(world_connected()); /* what is allocated once for all */
    long before = live_bytes;
    struct world *w = world_connected();
    SSL_free(w->ssl);
    w->ssl = NULL;
    if (aead())
        assert_int_equal(live_bytes, before);
    else
        assert_true(live_bytes - before > 20000);
    world_free(w);
    assert_int_equal(live_bytes, before);
}

/* Then OpenSSL goes on: it knows which records were read. */
static void data_that_comes_with_the_end_of_the_handshake_is_read_once(void **state) {
    struct world *w = world_new();
    (void)state;
    dtls_session_start(w->session, NOW_MS);
    while (!SSL_is_init_finished(w->ssl)) {
        to_peer(w);
        if (!SSL_is_init_finished(w->ssl))
            to_session(w);
    }
    assert_int_equal(SSL_write(w->ssl, "word", 4), 4);
    struct dgram joined = {0};
    for (size_t i = 0; i < w->peer_sent.count; i++) {
        memcpy(joined.p + joined.len, w->peer_sent.d[i].p, w->peer_sent.d[i].len);
        joined.len += w->peer_sent.d[i].len;
    }
    struct dgram data = w->peer_sent.d[w->peer_sent.count - 1];
    w->peer_sent.count = 0;
    deliver(w, &joined);
    assert_true(w->connected);
    assert_int_equal(w->data, 1);
    deliver(w, &data);
    assert_int_equal(w->data, 1);
    assert_int_equal(SSL_write(w->ssl, "more", 4), 4);
    to_session(w);
    assert_int_equal(w->data, 2);
    SSL_shutdown(w->ssl);
    to_session(w);
    assert_int_equal(w->closed, 1);
    world_free(w);
}

static void a_fatal_alert_ends_the_association(void **state) {
    struct world *w = world_taken();
    (void)state;
    say(w, DTLS_RECORD_ALERT, "\2\50", 2);
    assert_int_equal(w->closed, 1);
    assert_int_equal(w->closed_err, E_CRYPTO);
    world_free(w);
}

static void what_means_nothing_is_passed_over(void **state) {
    struct world *w = world_taken();
    (void)state;
    say(w, DTLS_RECORD_ALERT, "\1\144", 2); /* no_renegotiation, a warning */
    say(w, DTLS_RECORD_ALERT, "\1", 1);     /* half an alert */
    say(w, DTLS_RECORD_ALERT, "", 0);       /* and none */
    say(w, DTLS_RECORD_HANDSHAKE, "", 0);
    say(w, DTLS_RECORD_CCS, "\1", 1);
    say(w, DTLS_RECORD_DATA, "", 0);
    say(w, (enum dtls_record_type)24, "x", 1);
    assert_int_equal(w->closed, 0);
    assert_int_equal(w->data, 0);
    assert_int_equal(w->sent.count, 0);
    say(w, DTLS_RECORD_DATA, "word", 4);
    assert_int_equal(w->data, 1);
    world_free(w);
}

/* OpenSSL as the peer reads no_renegotiation, and the association goes on. */
static void another_handshake_is_refused(void **state) {
    struct world *w = world_taken();
    uint8_t hello[12] = {session_is_client ? 0 : 1}, other[12] = {session_is_client ? 1 : 0}, out[DGRAM_MAX];
    (void)state;
    say(w, DTLS_RECORD_HANDSHAKE, other, sizeof other);
    assert_int_equal(w->sent.count, 0);
    say(w, DTLS_RECORD_HANDSHAKE, hello, sizeof hello);
    SSL_set_info_callback(w->ssl, on_peer_info);
    peer_alert = -1;
    assert_int_equal(peer_reads(w, out), -1);
    assert_int_equal(peer_alert, SSL3_AL_WARNING << 8 | SSL_AD_NO_RENEGOTIATION);
    assert_int_equal(w->closed, 0);
    say(w, DTLS_RECORD_DATA, "word", 4);
    assert_int_equal(w->data, 1);
    world_free(w);
}

static void a_record_counts_once_and_only_while_it_is_young(void **state) {
    struct world *w = world_taken();
    struct dgram d[70];
    (void)state;
    for (size_t i = 0; i < 70; i++)
        d[i] = sealed(w, DTLS_RECORD_DATA, "x", 1);
    deliver(w, &d[69]);
    assert_int_equal(w->data, 1);
    deliver(w, &d[69]);
    assert_int_equal(w->data, 1);
    deliver(w, &d[6]); /* 63 below the highest: the last place of the window */
    assert_int_equal(w->data, 2);
    deliver(w, &d[6]);
    deliver(w, &d[5]);
    deliver(w, &d[4]);
    assert_int_equal(w->data, 2);
    deliver(w, &d[40]);
    deliver(w, &d[40]);
    assert_int_equal(w->data, 3);
    world_free(w);
}

static void a_forged_record_moves_no_window(void **state) {
    struct world *w = world_taken();
    struct dgram forged = sealed(w, DTLS_RECORD_DATA, "x", 1);
    (void)state;
    forged.p[SEQ_AT] = 0x7f;
    deliver(w, &forged);
    assert_int_equal(w->data, 0);
    say(w, DTLS_RECORD_DATA, "x", 1);
    assert_int_equal(w->data, 1);
    world_free(w);
}

static void every_changed_or_missing_byte_is_noticed(void **state) {
    struct world *w = world_taken();
    struct dgram good = sealed(w, DTLS_RECORD_DATA, "word", 4);
    (void)state;
    for (size_t i = 0; i < good.len; i++) {
        struct dgram bad = good;
        bad.p[i] ^= 1;
        deliver(w, &bad);
        bad = good;
        bad.len = i + 1 < good.len ? i + 1 : 0;
        deliver(w, &bad);
    }
    assert_int_equal(w->data, 0);
    assert_int_equal(w->closed, 0);
    deliver(w, &good);
    assert_int_equal(w->data, 1);
    world_free(w);
}

static void numbers_and_nonces_go_on_where_openssl_stopped(void **state) {
    struct world *w = world_connected();
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(SSL_write(w->ssl, "word", 4), 4);
    assert_int_equal(dtls_record_take(&w->record, w->ssl, w->peer_sealed.p, w->peer_sealed.len), 0);
    struct dgram d = sealed(w, DTLS_RECORD_DATA, "x", 1), e = sealed(w, DTLS_RECORD_DATA, "x", 1);
    assert_int_equal(d.p[SEQ_AT + 5], w->peer_sealed.p[SEQ_AT + 5] + 1);
    assert_int_equal(e.p[SEQ_AT + 5], d.p[SEQ_AT + 5] + 1);
    if (strstr(suite, "GCM")) {
        uint8_t next[8];
        memcpy(next, w->peer_sealed.p + NONCE_AT, sizeof next);
        for (size_t i = sizeof next; i > 0 && ++next[i - 1] == 0; i--)
            ;
        assert_memory_equal(d.p + NONCE_AT, next, sizeof next);
    }
    world_free(w);
}

static void the_last_sequence_number_is_the_last_record(void **state) {
    struct world *w = world_taken();
    uint8_t out[64];
    (void)state;
    w->record.tx_seq = (1ULL << 48) - 1;
    assert_true(dtls_record_seal(&w->record, DTLS_RECORD_DATA, out, 1, out, sizeof out) > 0);
    assert_int_equal(dtls_record_seal(&w->record, DTLS_RECORD_DATA, out, 1, out, sizeof out), E_CLOSED);
    assert_int_equal(dtls_record_seal(&w->record, DTLS_RECORD_DATA, out, 60, out, sizeof out), E_FULL);
    world_free(w);
}

static uint64_t get(const uint8_t *p, size_t bytes) {
    uint64_t n = 0;
    for (size_t i = 0; i < bytes; i++)
        n = n << 8 | p[i];
    return n;
}

/* Another process goes on: OpenSSL reads it, and no number and no nonce comes twice. */
static void a_saved_association_goes_on_above_what_was_used(void **state) {
    enum { AHEAD = 1000, MEANWHILE = 5 };
    struct world *w = world_connected();
    struct dtls_session_state s;
    struct dtls_session *next = NULL;
    uint8_t out[DGRAM_MAX];
    struct dgram last = {0};
    (void)state;
    assert_int_equal(dtls_session_save(w->session, &s, AHEAD), 0);
    for (int i = 0; i < MEANWHILE; i++) {
        assert_int_equal(dtls_session_write(w->session, (const uint8_t *)"word", 4), 0);
        last = w->sent.d[0];
        assert_int_equal(peer_reads(w, out), 4);
    }
    w->session = dtls_session_forget(w->session);
    assert_int_equal(dtls_session_resume(&next, &s, &ops, w), 0);
    w->session = next;
    assert_true(dtls_session_connected(next));
    assert_int_equal(dtls_session_left(next), 0);
    assert_int_equal(dtls_session_write(next, (const uint8_t *)"word", 4), E_CLOSED);
    dtls_session_limit(next, s.record.tx_seq + 2);
    assert_int_equal(dtls_session_left(next), 2);
    assert_int_equal(dtls_session_write(next, (const uint8_t *)"next", 4), 0);
    struct dgram first = w->sent.d[0];
    uint64_t step = get(first.p + SEQ_AT, 6) - get(last.p + SEQ_AT, 6);
    assert_int_equal(step, AHEAD - MEANWHILE + 1);
    if (!strstr(suite, "CHACHA"))
        assert_int_equal(get(first.p + NONCE_AT, 8) - get(last.p + NONCE_AT, 8), step);
    assert_int_equal(peer_reads(w, out), 4);
    assert_memory_equal(out, "next", 4);
    assert_int_equal(SSL_write(w->ssl, "back", 4), 4);
    to_session(w);
    assert_memory_equal(w->last, "back", 4);
    assert_int_equal(dtls_session_write(next, (const uint8_t *)"word", 4), 0);
    assert_int_equal(dtls_session_write(next, (const uint8_t *)"word", 4), E_CLOSED);
    world_free(w);
}

static void what_openssl_has_cannot_be_saved(void **state) {
    struct world *w = world_connected();
    struct dtls_session_state s;
    struct dtls_session *next = NULL;
    (void)state;
    assert_int_equal(dtls_session_save(w->session, &s, 1), E_UNSUPPORTED);
    memset(&s, 0, sizeof s);
    assert_int_equal(dtls_session_resume(&next, &s, &ops, w), E_UNSUPPORTED);
    assert_null(next);
    world_free(w);
}

static void keys_that_do_not_open_our_record_are_not_taken(void **state) {
    struct world *w = world_connected();
    struct dgram d = w->peer_sealed;
    (void)state;
    d.p[d.len - 1] ^= 1;
    assert_int_equal(dtls_record_take(&w->record, w->ssl, d.p, d.len), E_CRYPTO);
    assert_null(w->record.suite);
    assert_int_equal(dtls_record_take(&w->record, w->ssl, d.p, 0), E_CRYPTO);
    world_free(w);
}

static void a_suite_of_another_kind_stays_with_openssl(void **state) {
    struct world *w = world_connected();
    (void)state;
    assert_int_equal(dtls_record_take(&w->record, w->ssl, w->peer_sealed.p, w->peer_sealed.len), E_UNSUPPORTED);
    world_free(w);
}

static int run(const char *name, bool client) {
    const struct CMUnitTest both[] = {
        cmocka_unit_test(openssl_reads_what_the_session_writes),
        cmocka_unit_test(the_session_reads_what_openssl_writes),
        cmocka_unit_test(openssl_understands_the_sessions_end),
        cmocka_unit_test(the_session_understands_openssls_end_and_answers_it),
        cmocka_unit_test(openssl_keeps_nothing_of_an_association_with_aead),
    };
    const struct CMUnitTest as_server[] = {cmocka_unit_test(a_repeated_finished_is_answered_with_the_same_flight)};
    const struct CMUnitTest as_client[] = {
        cmocka_unit_test(data_that_comes_with_the_end_of_the_handshake_is_read_once)};
    const struct CMUnitTest taken[] = {
        cmocka_unit_test(a_fatal_alert_ends_the_association),
        cmocka_unit_test(what_means_nothing_is_passed_over),
        cmocka_unit_test(another_handshake_is_refused),
        cmocka_unit_test(a_record_counts_once_and_only_while_it_is_young),
        cmocka_unit_test(a_forged_record_moves_no_window),
        cmocka_unit_test(every_changed_or_missing_byte_is_noticed),
        cmocka_unit_test(numbers_and_nonces_go_on_where_openssl_stopped),
        cmocka_unit_test(the_last_sequence_number_is_the_last_record),
        cmocka_unit_test(a_saved_association_goes_on_above_what_was_used),
        cmocka_unit_test(keys_that_do_not_open_our_record_are_not_taken),
    };
    const struct CMUnitTest other[] = {cmocka_unit_test(a_suite_of_another_kind_stays_with_openssl),
                                       cmocka_unit_test(what_openssl_has_cannot_be_saved)};
    suite = name;
    session_is_client = client;
    print_message("%s, the session is the %s\n", name, client ? "client" : "server");
    int failed = cmocka_run_group_tests(both, NULL, NULL);
    failed += client ? cmocka_run_group_tests(as_client, NULL, NULL) : cmocka_run_group_tests(as_server, NULL, NULL);
    return failed + (aead() ? cmocka_run_group_tests(taken, NULL, NULL) : cmocka_run_group_tests(other, NULL, NULL));
}

int main(void) {
    static const char *const names[] = {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384",
                                        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-SHA256",
                                        "ECDHE-ECDSA-AES256-SHA",        "ECDHE-ECDSA-AES128-CCM"};
    int failed = 0;
    if (CRYPTO_set_mem_functions(counted_malloc, counted_realloc, counted_free) != 1)
        return 1;
    for (int i = 0; i < 2; i++)
        if (dtls_identity_new(&identities[i], NULL) != 0)
            return 1;
    peer_ctx = make_peer_ctx();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        failed += run(names[i], false) + run(names[i], true);
    SSL_CTX_free(peer_ctx);
    dtls_identity_free(identities[0]);
    dtls_identity_free(identities[1]);
    return failed;
}
