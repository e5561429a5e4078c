/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions back to back, their datagrams in queues of this file. */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/err.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_session.h"

#include <openssl/x509.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUEUE_MAX  64
#define DGRAM_MAX  1500
#define NOW_MS     1000
#define RTT_MS     1 /* the first retransmission comes after the least time, 50 ms */
#define PATIENT_MS 3000

struct dgram {
    size_t len;
    uint8_t p[DGRAM_MAX];
};

struct end {
    struct dtls_session *s;
    struct dgram out[QUEUE_MAX]; /* towards the other end */
    size_t out_count, sent, longest;
    size_t drop_from, drop_to; /* numbers of sent datagrams that are lost */
    struct media_keys keys;
    unsigned connected, closed, data;
    int closed_err;
    uint8_t last[DGRAM_MAX];
    size_t last_len;
};

struct pair {
    struct end client, server;
};

static struct dtls_identity *identities[2];
static struct sdp_fingerprint fingerprints[2];

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    struct end *e = arg;
    size_t number = e->sent++;
    assert_in_range(len, 1, DGRAM_MAX);
    e->longest = len > e->longest ? len : e->longest;
    if (number >= e->drop_from && number < e->drop_to)
        return;
    assert_in_range(e->out_count, 0, QUEUE_MAX - 1);
    e->out[e->out_count].len = len;
    memcpy(e->out[e->out_count++].p, dg, len);
}

static void on_connected(const struct media_keys *keys, void *arg) {
    struct end *e = arg;
    e->keys = *keys;
    e->connected++;
}

static void on_data(const uint8_t *p, size_t len, void *arg) {
    struct end *e = arg;
    e->data++;
    e->last_len = len;
    assert_in_range(len, 1, sizeof e->last);
    memcpy(e->last, p, len);
}

static void on_closed(int err, void *arg) {
    struct end *e = arg;
    e->closed++;
    e->closed_err = err;
}

static const struct dtls_ops ops = {on_send, on_connected, on_data, on_closed};

static struct sdp_fingerprint fingerprint_of(const struct dtls_identity *id, const char *name, const EVP_MD *md) {
    struct sdp_fingerprint f = {{0}, {0}, 0};
    unsigned len = 0;
    strcpy(f.hash, name);
    assert_int_equal(X509_digest(SSL_CTX_get0_certificate(dtls_identity_ctx(id)), md, f.value, &len), 1);
    f.len = len;
    return f;
}

static void end_open(struct end *e, struct dtls_identity *id, bool client, const struct sdp_fingerprint *fp,
                     size_t count) {
    struct dtls_params p = {.client = client, .fingerprints = fp, .fingerprint_count = count, .rtt_ms = RTT_MS};
    memset(e, 0, sizeof *e);
    assert_int_equal(dtls_session_new(&e->s, id, &p, &ops, e), 0);
}

static struct pair *pair_new(void) {
    struct pair *w = malloc(sizeof *w);
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &fingerprints[0], 1);
    return w;
}

static void pair_free(struct pair *w) {
    w->client.s = dtls_session_forget(w->client.s);
    w->server.s = dtls_session_forget(w->server.s);
    assert_null(w->client.s);
    free(w);
}

/* All that one end sent, to the other. */
static void deliver(struct end *from, struct end *to) {
    static struct dgram batch[QUEUE_MAX];
    size_t count = from->out_count;
    memcpy(batch, from->out, count * sizeof *batch);
    from->out_count = 0;
    for (size_t i = 0; i < count; i++)
        if (to->s)
            dtls_session_input(to->s, batch[i].p, batch[i].len, NOW_MS);
}

static void settle(struct pair *w) {
    while (w->client.out_count || w->server.out_count) {
        deliver(&w->client, &w->server);
        deliver(&w->server, &w->client);
    }
}

static void start(struct pair *w) {
    dtls_session_start(w->client.s, NOW_MS);
    dtls_session_start(w->server.s, NOW_MS);
}

static struct pair *pair_connected(void) {
    struct pair *w = pair_new();
    start(w);
    settle(w);
    assert_true(dtls_session_connected(w->client.s) && dtls_session_connected(w->server.s));
    return w;
}

/* With retransmissions; OpenSSL's timer runs by the real clock. */
static void settle_with_losses(struct pair *w) {
    uint64_t until = clock_mono_ms() + PATIENT_MS;
    while (!(w->client.connected && w->server.connected) && clock_mono_ms() < until) {
        settle(w);
        poll(NULL, 0, 5);
        dtls_session_tick(w->client.s, NOW_MS + 100);
        dtls_session_tick(w->server.s, NOW_MS + 100);
    }
    settle(w);
}

static void both_ends_connect_and_their_keys_match_crosswise(void **state) {
    struct pair *w = pair_connected();
    const struct media_keys *c = &w->client.keys, *s = &w->server.keys;
    (void)state;
    assert_int_equal(w->client.connected, 1);
    assert_int_equal(w->server.connected, 1);
    assert_int_equal(w->client.closed + w->server.closed, 0);
    assert_int_equal(c->profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_int_equal(s->profile, MEDIA_PROFILE_AEAD_AES_128_GCM);
    assert_memory_equal(c->tx, s->rx, sizeof c->tx);
    assert_memory_equal(c->rx, s->tx, sizeof c->rx);
    assert_memory_not_equal(c->tx, c->rx, 28);
    pair_free(w);
}

static void the_roles_do_not_depend_on_the_identity(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[1], true, &fingerprints[0], 1);
    end_open(&w->server, identities[0], false, &fingerprints[1], 1);
    start(w);
    settle(w);
    assert_true(w->client.connected && w->server.connected);
    assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
    pair_free(w);
}

static void a_server_says_nothing_first(void **state) {
    struct pair *w = pair_new();
    (void)state;
    assert_int_equal(dtls_session_start(w->server.s, NOW_MS), 0);
    assert_int_equal(w->server.sent, 0);
    assert_int_equal(dtls_session_start(w->client.s, NOW_MS), 0);
    assert_int_equal(w->client.sent, 1);
    pair_free(w);
}

static void every_call_has_keys_of_its_own(void **state) {
    struct pair *a = pair_connected(), *b = pair_connected();
    (void)state;
    assert_memory_not_equal(a->client.keys.tx, b->client.keys.tx, 28);
    pair_free(a);
    pair_free(b);
}

static void the_profile_is_the_best_that_both_have(void **state) {
    static const struct {
        const char *list;
        enum media_profile want;
    } rows[] = {{"SRTP_AES128_CM_SHA1_80", MEDIA_PROFILE_AES128_CM_SHA1_80},
                {"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_256_GCM", MEDIA_PROFILE_AEAD_AES_256_GCM}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct dtls_identity *id = NULL;
        struct pair *w = malloc(sizeof *w);
        assert_non_null(w);
        assert_int_equal(dtls_identity_new_profiles(&id, rows[i].list, NULL), 0);
        struct sdp_fingerprint f = fingerprint_of(id, "sha-256", EVP_sha256());
        end_open(&w->client, id, true, &fingerprints[1], 1);
        end_open(&w->server, identities[1], false, &f, 1);
        start(w);
        settle(w);
        assert_true(w->client.connected && w->server.connected);
        assert_int_equal(w->client.keys.profile, rows[i].want);
        assert_int_equal(w->server.keys.profile, rows[i].want);
        assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
        pair_free(w);
        dtls_identity_free(id);
    }
}

static void without_a_common_profile_there_are_no_keys(void **state) {
    struct dtls_identity *cm = NULL, *gcm = NULL;
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    assert_int_equal(dtls_identity_new_profiles(&cm, "SRTP_AES128_CM_SHA1_80", NULL), 0);
    assert_int_equal(dtls_identity_new_profiles(&gcm, "SRTP_AEAD_AES_128_GCM", NULL), 0);
    struct sdp_fingerprint of_cm = fingerprint_of(cm, "sha-256", EVP_sha256()),
                           of_gcm = fingerprint_of(gcm, "sha-256", EVP_sha256());
    end_open(&w->client, cm, true, &of_gcm, 1);
    end_open(&w->server, gcm, false, &of_cm, 1);
    start(w);
    settle(w);
    assert_int_equal(w->client.connected + w->server.connected, 0);
    assert_int_equal(w->client.closed, 1);
    assert_int_equal(w->client.closed_err, E_CRYPTO);
    assert_int_equal(w->server.closed, 1);
    assert_int_equal(w->server.closed_err, E_CRYPTO);
    pair_free(w);
    dtls_identity_free(cm);
    dtls_identity_free(gcm);
}

static void an_unknown_profile_makes_no_identity(void **state) {
    struct dtls_identity *id = NULL;
    struct err_text et = {""};
    (void)state;
    assert_int_equal(dtls_identity_new_profiles(&id, "SRTP_NONE_OF_THAT_NAME", &et), E_CRYPTO);
    assert_null(id);
    assert_non_null(strstr(et.s, "the DTLS identity could not be made"));
}

static void the_fingerprint_is_that_of_the_certificate(void **state) {
    char hex[65], *c = hex;
    (void)state;
    assert_memory_equal(dtls_identity_fingerprint(identities[0]), "sha-256 ", 8);
    for (const char *s = dtls_identity_fingerprint(identities[0]) + 8; *s; s++)
        if (*s != ':')
            *c++ = *s;
    *c = 0;
    uint8_t value[32];
    assert_int_equal(hex_decode(value, sizeof value, hex), 32);
    assert_memory_equal(value, fingerprints[0].value, 32);
    assert_string_not_equal(dtls_identity_fingerprint(identities[0]), dtls_identity_fingerprint(identities[1]));
}

static void assert_mistrust(struct pair *w, struct end *who, struct end *other) {
    start(w);
    settle(w);
    assert_int_equal(who->connected + other->connected, 0);
    assert_int_equal(who->closed, 1);
    assert_int_equal(who->closed_err, E_AUTH);
    assert_int_equal(other->closed, 1);
    assert_int_equal(other->closed_err, E_CRYPTO);
    assert_false(dtls_session_connected(who->s) || dtls_session_connected(other->s));
    pair_free(w);
}

static void a_server_refuses_a_certificate_that_the_description_does_not_name(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &fingerprints[1], 1);
    assert_mistrust(w, &w->server, &w->client);
}

static void a_client_refuses_a_certificate_that_the_description_does_not_name(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[0], 1);
    end_open(&w->server, identities[1], false, &fingerprints[0], 1);
    assert_mistrust(w, &w->client, &w->server);
}

static void without_a_fingerprint_nobody_is_trusted(void **state) {
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &fingerprints[0], 0);
    assert_mistrust(w, &w->server, &w->client);
}

static void a_fingerprint_under_another_hash_name_does_not_match(void **state) {
    struct sdp_fingerprint f = fingerprints[0];
    struct pair *w = malloc(sizeof *w);
    (void)state;
    assert_non_null(w);
    strcpy(f.hash, "sha-512");
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &f, 1);
    assert_mistrust(w, &w->server, &w->client);
}

static void one_of_several_fingerprints_is_enough(void **state) {
    struct sdp_fingerprint some[3] = {fingerprints[1], fingerprints[1], fingerprints[1]};
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct pair *w = malloc(sizeof *w);
        assert_non_null(w);
        some[2] = i == 0 ? fingerprint_of(identities[0], "sha-384", EVP_sha384())
                         : fingerprint_of(identities[0], "sha-512", EVP_sha512());
        end_open(&w->client, identities[0], true, &fingerprints[1], 1);
        end_open(&w->server, identities[1], false, some, 3);
        start(w);
        settle(w);
        assert_true(w->client.connected && w->server.connected);
        pair_free(w);
    }
}

static void no_datagram_of_a_handshake_is_longer_than_the_mtu(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
    assert_in_range(w->server.longest, 1, DTLS_MTU_BYTES);
    pair_free(w);
}

static void no_datagram_of_data_is_longer_than_the_mtu(void **state) {
    static const uint8_t zeros[DTLS_MTU_BYTES + 2];
    struct pair *w = pair_connected();
    size_t most = 0;
    (void)state;
    for (size_t len = 1; len <= sizeof zeros; len++) {
        int err = dtls_session_write(w->client.s, zeros, len);
        assert_true(err == 0 || err == E_FULL);
        most = err == 0 ? len : most;
        settle(w);
        assert_int_equal(w->server.last_len, most);
    }
    assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
    assert_in_range(most, DTLS_MTU_BYTES - 64, DTLS_MTU_BYTES);
    pair_free(w);
}

/* Loses `width` datagrams of the handshake together, each such group in turn; no flight here has more than three. */
static void lose_each(size_t width) {
    struct pair *probe = pair_connected();
    size_t sent[2] = {probe->client.sent, probe->server.sent};
    pair_free(probe);
    for (size_t end = 0; end < 2; end++) {
        for (size_t i = 0; i < sent[end]; i += width) {
            struct pair *w = pair_new();
            struct end *e = end ? &w->server : &w->client;
            e->drop_from = i;
            e->drop_to = i + width;
            start(w);
            settle_with_losses(w);
            assert_true(w->client.connected == 1 && w->server.connected == 1);
            assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
            assert_int_equal(w->client.closed + w->server.closed, 0);
            assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
            assert_in_range(w->server.longest, 1, DTLS_MTU_BYTES);
            pair_free(w);
        }
    }
}

static void any_lost_datagram_is_sent_again(void **state) {
    (void)state;
    lose_each(1);
}

static void a_lost_flight_is_sent_again(void **state) {
    (void)state;
    lose_each(3);
}

static void nothing_is_sent_again_before_its_time(void **state) {
    struct pair *w = pair_new();
    (void)state;
    dtls_session_start(w->client.s, NOW_MS);
    dtls_session_tick(w->client.s, NOW_MS + 1);
    assert_int_equal(w->client.sent, 1);
    poll(NULL, 0, 60);
    dtls_session_tick(w->client.s, NOW_MS + 60);
    assert_int_equal(w->client.sent, 2);
    pair_free(w);
}

static void datagrams_in_the_wrong_order_do_no_harm(void **state) {
    struct pair *w = pair_new();
    (void)state;
    start(w);
    for (int round = 0; round < 6; round++) {
        struct end *ends[] = {&w->client, &w->server};
        for (int i = 0; i < 2; i++) {
            struct end *from = ends[i], *to = ends[1 - i];
            for (size_t a = 0, b = from->out_count; a + 1 < b; a++, b--) {
                struct dgram swap = from->out[a];
                from->out[a] = from->out[b - 1];
                from->out[b - 1] = swap;
            }
            deliver(from, to);
        }
    }
    settle_with_losses(w);
    assert_true(w->client.connected && w->server.connected);
    pair_free(w);
}

static void a_handshake_without_a_peer_is_given_up(void **state) {
    struct pair *w = pair_new();
    (void)state;
    dtls_session_start(w->client.s, NOW_MS);
    dtls_session_tick(w->client.s, NOW_MS + 15000);
    assert_int_equal(w->client.closed, 0);
    dtls_session_tick(w->client.s, NOW_MS + 15001);
    dtls_session_tick(w->client.s, NOW_MS + 15002);
    assert_int_equal(w->client.closed, 1);
    assert_int_equal(w->client.closed_err, E_TIMEOUT);
    assert_int_equal(dtls_session_input(w->client.s, (const uint8_t *)"x", 1, NOW_MS + 15003), E_CLOSED);
    pair_free(w);
}

static void a_connected_session_has_no_deadline(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    dtls_session_tick(w->client.s, NOW_MS + 3600000);
    dtls_session_tick(w->server.s, NOW_MS + 3600000);
    assert_int_equal(w->client.closed + w->server.closed, 0);
    pair_free(w);
}

static void data_passes_both_ways(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"hello", 5), 0);
    settle(w);
    assert_int_equal(w->server.data, 1);
    assert_int_equal(w->server.last_len, 5);
    assert_memory_equal(w->server.last, "hello", 5);
    assert_int_equal(dtls_session_write(w->server.s, (const uint8_t *)"you", 3), 0);
    settle(w);
    assert_int_equal(w->client.data, 1);
    assert_memory_equal(w->client.last, "you", 3);
    pair_free(w);
}

static void data_waits_for_the_handshake(void **state) {
    struct pair *w = pair_new();
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"x", 1), E_STATE);
    dtls_session_start(w->client.s, NOW_MS);
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"x", 1), E_STATE);
    pair_free(w);
}

static void empty_data_is_no_datagram(void **state) {
    struct pair *w = pair_connected();
    size_t before = w->client.sent;
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"", 0), E_FULL);
    assert_int_equal(w->client.sent, before);
    pair_free(w);
}

static void a_replayed_datagram_is_delivered_once(void **state) {
    struct pair *w = pair_connected();
    struct dgram copy;
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"once", 4), 0);
    copy = w->client.out[0];
    settle(w);
    assert_int_equal(dtls_session_input(w->server.s, copy.p, copy.len, NOW_MS), 0);
    assert_int_equal(w->server.data, 1);
    pair_free(w);
}

static void two_records_in_one_datagram_are_both_read(void **state) {
    struct pair *w = pair_connected();
    struct dgram joined;
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"one", 3), 0);
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"two", 3), 0);
    joined = w->client.out[0];
    memcpy(joined.p + joined.len, w->client.out[1].p, w->client.out[1].len);
    joined.len += w->client.out[1].len;
    assert_int_equal(dtls_session_input(w->server.s, joined.p, joined.len, NOW_MS), 0);
    assert_int_equal(w->server.data, 2);
    assert_memory_equal(w->server.last, "two", 3);
    pair_free(w);
}

static void freeing_a_connected_session_tells_the_peer(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    w->client.s = dtls_session_free(w->client.s);
    settle(w);
    assert_int_equal(w->server.closed, 1);
    assert_int_equal(w->server.closed_err, 0);
    assert_false(dtls_session_connected(w->server.s));
    assert_int_equal(dtls_session_write(w->server.s, (const uint8_t *)"x", 1), E_CLOSED);
    assert_int_equal(dtls_session_input(w->server.s, (const uint8_t *)"x", 1, NOW_MS), E_CLOSED);
    pair_free(w);
}

static void forgetting_a_session_is_silent(void **state) {
    struct pair *w = pair_connected();
    size_t before = w->client.sent;
    (void)state;
    w->client.s = dtls_session_forget(w->client.s);
    assert_int_equal(w->client.sent, before);
    assert_int_equal(w->server.closed, 0);
    pair_free(w);
}

static void freeing_an_unfinished_session_is_silent(void **state) {
    struct pair *w = pair_new();
    (void)state;
    dtls_session_start(w->client.s, NOW_MS);
    w->client.s = dtls_session_free(w->client.s);
    assert_int_equal(w->client.sent, 1);
    assert_null(dtls_session_free(NULL));
    pair_free(w);
}

static void noise_does_not_end_a_handshake(void **state) {
    struct pair *w = pair_new();
    uint8_t noise[200];
    (void)state;
    start(w);
    srandom(11);
    for (int i = 0; i < 200; i++) {
        for (size_t k = 0; k < sizeof noise; k++)
            noise[k] = (uint8_t)random();
        noise[0] = (uint8_t)(20 + i % 44); /* RFC 7983: what is taken for DTLS */
        dtls_session_input(w->server.s, noise, 1 + (size_t)i, NOW_MS);
        dtls_session_input(w->client.s, noise, 1 + (size_t)i, NOW_MS);
    }
    settle_with_losses(w);
    assert_true(w->client.connected && w->server.connected);
    pair_free(w);
}

static void noise_does_not_end_an_association(void **state) {
    struct pair *w = pair_connected();
    (void)state;
    assert_int_equal(dtls_session_write(w->client.s, (const uint8_t *)"word", 4), 0);
    struct dgram good = w->client.out[0];
    w->client.out_count = 0;
    for (size_t i = 0; i < good.len; i++) {
        struct dgram bad = good;
        bad.p[i] ^= 0x40;
        dtls_session_input(w->server.s, bad.p, bad.len, NOW_MS);
        dtls_session_input(w->server.s, good.p, i, NOW_MS);
    }
    assert_int_equal(w->server.data, 0);
    assert_int_equal(w->server.closed, 0);
    assert_int_equal(dtls_session_input(w->server.s, good.p, good.len, NOW_MS), 0);
    assert_int_equal(w->server.data, 1);
    pair_free(w);
}

static int setup(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        if (dtls_identity_new(&identities[i], NULL) != 0)
            return -1;
        fingerprints[i] = fingerprint_of(identities[i], "sha-256", EVP_sha256());
    }
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++)
        identities[i] = dtls_identity_free(identities[i]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_ends_connect_and_their_keys_match_crosswise),
        cmocka_unit_test(the_roles_do_not_depend_on_the_identity),
        cmocka_unit_test(a_server_says_nothing_first),
        cmocka_unit_test(every_call_has_keys_of_its_own),
        cmocka_unit_test(the_profile_is_the_best_that_both_have),
        cmocka_unit_test(without_a_common_profile_there_are_no_keys),
        cmocka_unit_test(an_unknown_profile_makes_no_identity),
        cmocka_unit_test(the_fingerprint_is_that_of_the_certificate),
        cmocka_unit_test(a_server_refuses_a_certificate_that_the_description_does_not_name),
        cmocka_unit_test(a_client_refuses_a_certificate_that_the_description_does_not_name),
        cmocka_unit_test(without_a_fingerprint_nobody_is_trusted),
        cmocka_unit_test(a_fingerprint_under_another_hash_name_does_not_match),
        cmocka_unit_test(one_of_several_fingerprints_is_enough),
        cmocka_unit_test(no_datagram_of_a_handshake_is_longer_than_the_mtu),
        cmocka_unit_test(no_datagram_of_data_is_longer_than_the_mtu),
        cmocka_unit_test(any_lost_datagram_is_sent_again),
        cmocka_unit_test(a_lost_flight_is_sent_again),
        cmocka_unit_test(nothing_is_sent_again_before_its_time),
        cmocka_unit_test(datagrams_in_the_wrong_order_do_no_harm),
        cmocka_unit_test(a_handshake_without_a_peer_is_given_up),
        cmocka_unit_test(a_connected_session_has_no_deadline),
        cmocka_unit_test(data_passes_both_ways),
        cmocka_unit_test(data_waits_for_the_handshake),
        cmocka_unit_test(empty_data_is_no_datagram),
        cmocka_unit_test(a_replayed_datagram_is_delivered_once),
        cmocka_unit_test(two_records_in_one_datagram_are_both_read),
        cmocka_unit_test(freeing_a_connected_session_tells_the_peer),
        cmocka_unit_test(forgetting_a_session_is_silent),
        cmocka_unit_test(freeing_an_unfinished_session_is_silent),
        cmocka_unit_test(noise_does_not_end_a_handshake),
        cmocka_unit_test(noise_does_not_end_an_association),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
