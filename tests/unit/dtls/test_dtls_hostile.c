/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions over a relay that loses, doubles and reorders; strangers; long certificates. */
#include "base/clock.h"
#include "base/err.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_session.h"

#include <openssl/pem.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define DGRAM_MAX   1500
#define QUEUE_MAX   256
#define DELAY_MS    10    /* of the relay, each way; a datagram that is reordered takes three times that */
#define PATIENCE_MS 16000 /* the sessions give up after 15 s */
#define PAIRS       36

struct dgram {
    uint64_t due_ms;
    size_t len;
    uint8_t p[DGRAM_MAX];
};

struct relay {
    unsigned loss_percent, double_percent, reorder_percent;
    unsigned seed;
};

struct end {
    struct dtls_session *s;
    struct relay *relay;
    struct dgram queue[QUEUE_MAX]; /* towards the other end */
    size_t count, sent, longest;
    uint64_t sent_at_ms[QUEUE_MAX];
    struct media_keys keys;
    bool connected, closed;
    int err;
};

struct pair {
    struct relay relay;
    struct end client, server;
};

static struct dtls_identity *small[2], *large[2]; /* P-256; chains of three with 4,096-bit RSA */
static char folder[] = "/tmp/wakegate-hostile-XXXXXX";

static bool chance(struct relay *r, unsigned percent) {
    return percent && (unsigned)rand_r(&r->seed) % 100 < percent;
}

static void enqueue(struct end *e, const uint8_t *dg, size_t len, uint64_t due_ms) {
    assert_in_range(e->count, 0, QUEUE_MAX - 1);
    struct dgram *d = &e->queue[e->count++];
    d->due_ms = due_ms;
    d->len = len;
    memcpy(d->p, dg, len);
}

static void on_send(const uint8_t *dg, size_t len, void *arg) {
    struct end *e = arg;
    uint64_t now_ms = clock_mono_ms();
    assert_in_range(len, 1, DGRAM_MAX);
    e->longest = len > e->longest ? len : e->longest;
    if (e->sent < QUEUE_MAX)
        e->sent_at_ms[e->sent] = now_ms;
    e->sent++;
    for (int copies = chance(e->relay, e->relay->double_percent) ? 2 : 1; copies > 0; copies--)
        if (!chance(e->relay, e->relay->loss_percent))
            enqueue(e, dg, len, now_ms + (chance(e->relay, e->relay->reorder_percent) ? 3 * DELAY_MS : DELAY_MS));
}

static void on_connected(const struct media_keys *keys, void *arg) {
    struct end *e = arg;
    e->keys = *keys;
    e->connected = true;
}

static void on_closed(int err, void *arg) {
    struct end *e = arg;
    e->closed = true;
    e->err = err;
}

static const struct dtls_ops ops = {on_send, on_connected, NULL, on_closed};

static struct sdp_fingerprint fingerprint_of(const struct dtls_identity *id) {
    struct sdp_fingerprint f = {"sha-256", {0}, 32};
    assert_int_equal(X509_digest(SSL_CTX_get0_certificate(dtls_identity_ctx(id)), EVP_sha256(), f.value, NULL), 1);
    return f;
}

static void end_open(struct end *e, struct relay *r, struct dtls_identity *mine, const struct dtls_identity *theirs,
                     bool client) {
    struct sdp_fingerprint f = fingerprint_of(theirs);
    struct dtls_params p = {.client = client, .fingerprints = &f, .fingerprint_count = 1, .rtt_ms = 2 * DELAY_MS};
    e->relay = r;
    assert_int_equal(dtls_session_new(&e->s, mine, &p, &ops, e), 0);
}

static struct pair *pair_new(struct dtls_identity *client, struct dtls_identity *server, struct relay relay) {
    struct pair *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->relay = relay;
    end_open(&w->client, &w->relay, client, server, true);
    end_open(&w->server, &w->relay, server, client, false);
    return w;
}

static void pair_free(struct pair *w) {
    dtls_session_forget(w->client.s);
    dtls_session_forget(w->server.s);
    free(w);
}

/* What is due at the other end, by now. */
static void deliver(struct end *from, struct end *to) {
    uint64_t now_ms = clock_mono_ms();
    for (size_t i = 0; i < from->count;) {
        struct dgram d = from->queue[i];
        if (d.due_ms > now_ms) {
            i++;
            continue;
        }
        memmove(&from->queue[i], &from->queue[i + 1], (--from->count - i) * sizeof d);
        dtls_session_input(to->s, d.p, d.len, now_ms);
    }
}

static bool done(const struct pair *w) {
    return (w->client.connected || w->client.closed) && (w->server.connected || w->server.closed);
}

static void turn(struct pair *w) {
    deliver(&w->client, &w->server);
    deliver(&w->server, &w->client);
    dtls_session_tick(w->client.s, clock_mono_ms());
    dtls_session_tick(w->server.s, clock_mono_ms());
}

/* All of them side by side, so that the slowest one is what is waited for. */
static void run(struct pair **pairs, size_t count) {
    uint64_t until = clock_mono_ms() + PATIENCE_MS;
    size_t left = count;
    for (size_t i = 0; i < count; i++) {
        dtls_session_start(pairs[i]->client.s, clock_mono_ms());
        dtls_session_start(pairs[i]->server.s, clock_mono_ms());
    }
    while (left > 0 && clock_mono_ms() < until) {
        left = 0;
        for (size_t i = 0; i < count; i++) {
            turn(pairs[i]);
            left += !done(pairs[i]);
        }
        poll(NULL, 0, 5);
    }
}

static void assert_up(const struct pair *w) {
    assert_true(w->client.connected && w->server.connected);
    assert_memory_equal(w->client.keys.tx, w->server.keys.rx, MEDIA_MASTER_MAX_BYTES);
    assert_memory_equal(w->client.keys.rx, w->server.keys.tx, MEDIA_MASTER_MAX_BYTES);
    assert_in_range(w->client.longest, 1, DTLS_MTU_BYTES);
    assert_in_range(w->server.longest, 1, DTLS_MTU_BYTES);
}

/* Short flights, and either side's with many datagrams. */
static void thirty_percent_of_loss_each_way_delay_and_do_not_end_a_handshake(void **state) {
    struct dtls_identity *const clients[] = {small[0], large[0], small[0]}, *const servers[] = {small[1], small[1],
                                                                                                large[1]};
    struct pair *pairs[PAIRS];
    unsigned up = 0;
    (void)state;
    for (unsigned i = 0; i < PAIRS; i++)
        pairs[i] = pair_new(clients[i % 3], servers[i % 3], (struct relay){30, 10, 20, 1000 + i});
    run(pairs, PAIRS);
    for (unsigned i = 0; i < PAIRS; i++) {
        if (pairs[i]->client.connected && pairs[i]->server.connected) {
            assert_up(pairs[i]);
            up++;
        }
        pair_free(pairs[i]);
    }
    /* A client's last flight, or the answer to it, is lost thirteen times in a row in 2 of 10,000 handshakes. */
    assert_in_range(up, PAIRS - 1, PAIRS);
}

static void chains_of_large_certificates_keep_to_the_mtu(void **state) {
    struct pair *w = pair_new(large[0], large[1], (struct relay){0});
    (void)state;
    run(&w, 1);
    assert_up(w);
    assert_in_range(w->client.sent, 5, 20); /* some 5,000 bytes each way */
    assert_in_range(w->server.sent, 5, 20);
    assert_in_range(w->server.longest, 1000, DTLS_MTU_BYTES);
    pair_free(w);
}

/* A handshake message of 20,000 bytes: the first fragment says so, and nothing is kept of it. */
static void a_message_that_is_too_long_ends_the_handshake(void **state) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){0});
    static const uint8_t certificate[] = {22, 0xfe, 0xfd, 0,    0, 0, 0, 0, 0, 0, 9, 0, 12 + 4, /* record */
                                          11, 0,    0x4e, 0x20, 0, 1, 0, 0, 0, 0, 0, 4, 0,      0, 0, 0};
    (void)state;
    dtls_session_start(w->client.s, clock_mono_ms());
    while (w->server.count == 0) { /* until the server waits for a certificate */
        turn(w);
        poll(NULL, 0, 2);
    }
    dtls_session_input(w->server.s, certificate, sizeof certificate, clock_mono_ms());
    assert_true(w->server.closed);
    assert_int_equal(w->server.err, E_CRYPTO);
    pair_free(w);
}

/* When the second datagram left after the first. */
static uint64_t first_wait_ms(uint32_t rtt_ms) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){.loss_percent = 100});
    struct sdp_fingerprint f = fingerprint_of(small[1]);
    struct dtls_params p = {.client = true, .fingerprints = &f, .fingerprint_count = 1, .rtt_ms = rtt_ms};
    dtls_session_forget(w->client.s);
    assert_int_equal(dtls_session_new(&w->client.s, small[0], &p, &ops, &w->client), 0);
    dtls_session_start(w->client.s, clock_mono_ms());
    for (uint64_t until = clock_mono_ms() + 3000; w->client.sent < 2 && clock_mono_ms() < until;) {
        dtls_session_tick(w->client.s, clock_mono_ms());
        poll(NULL, 0, 1);
    }
    assert_int_equal(w->client.sent, 2);
    uint64_t waited_ms = w->client.sent_at_ms[1] - w->client.sent_at_ms[0];
    pair_free(w);
    return waited_ms;
}

static void the_first_retransmission_goes_by_the_round_trip(void **state) {
    (void)state;
    assert_in_range(first_wait_ms(1), 49, 99);
    assert_in_range(first_wait_ms(0), 99, 249);
    assert_in_range(first_wait_ms(150), 299, 599);
}

/* The ClientHello was answered after 2 * DELAY_MS; then everything is lost. */
static void each_wait_is_twice_the_one_before(void **state) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){.loss_percent = 100});
    const uint64_t *at = w->client.sent_at_ms;
    (void)state;
    dtls_session_start(w->client.s, clock_mono_ms());
    for (uint64_t until = clock_mono_ms() + 5000; w->client.sent < 5 && clock_mono_ms() < until; poll(NULL, 0, 1))
        dtls_session_tick(w->client.s, clock_mono_ms());
    assert_int_equal(w->client.sent, 5);
    assert_in_range(at[4] - at[3], 399, 799); /* after 50, 100 and 200 ms */
    assert_in_range(at[4] - at[0], 749, 1499);
    pair_free(w);
}

static void later_flights_go_by_what_the_handshake_showed(void **state) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){0});
    struct sdp_fingerprint f = fingerprint_of(small[1]);
    struct dtls_params p = {.client = true, .fingerprints = &f, .fingerprint_count = 1, .rtt_ms = 500};
    (void)state;
    dtls_session_forget(w->client.s);
    assert_int_equal(dtls_session_new(&w->client.s, small[0], &p, &ops, &w->client), 0);
    dtls_session_start(w->client.s, clock_mono_ms());
    for (uint64_t until = clock_mono_ms() + 900; w->client.sent < 2 && clock_mono_ms() < until; poll(NULL, 0, 1))
        turn(w);
    size_t flight = w->client.sent;
    assert_in_range(flight, 2, 6);
    w->client.count = 0;
    for (uint64_t until = clock_mono_ms() + 3000; w->client.sent == flight && clock_mono_ms() < until;) {
        dtls_session_tick(w->client.s, clock_mono_ms());
        poll(NULL, 0, 1);
    }
    assert_in_range(w->client.sent_at_ms[flight] - w->client.sent_at_ms[flight - 1], 30, 600);
    pair_free(w);
}

static void who_never_answers_is_not_called_for_ever(void **state) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){.loss_percent = 100});
    struct sdp_fingerprint f = fingerprint_of(small[1]);
    struct dtls_params p = {.client = true, .fingerprints = &f, .fingerprint_count = 1, .rtt_ms = 1, .unheard_max = 3};
    (void)state;
    dtls_session_forget(w->client.s);
    assert_int_equal(dtls_session_new(&w->client.s, small[0], &p, &ops, &w->client), 0);
    run(&w, 1);
    assert_int_equal(w->client.sent, 3);
    assert_true(w->client.closed);
    assert_int_equal(w->client.err, E_TIMEOUT);
    pair_free(w);
}

static void the_peers_alert_is_told(void **state) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){0});
    (void)state;
    dtls_session_forget(w->client.s);
    end_open(&w->client, &w->relay, small[0], large[0], true); /* it expects another certificate */
    assert_int_equal(dtls_session_alert(w->server.s), -1);
    run(&w, 1);
    turn(w);
    assert_int_equal(w->client.err, E_AUTH);
    assert_int_equal(w->server.err, E_CRYPTO);
    assert_in_range(dtls_session_alert(w->server.s), 40, 49);
    assert_int_equal(dtls_session_alert(w->client.s), -1);
    assert_string_equal(dtls_alert_name(40), "handshake failure");
    assert_string_equal(dtls_alert_name(200), "unknown");
    pair_free(w);
}

/* Listening */

static bool trusts_all(const struct dtls_certificate *c, void *arg) {
    struct sdp_fingerprint f = fingerprint_of(small[0]);
    (void)arg;
    return dtls_certificate_matches(c, &f, 1);
}

static struct addr address(const char *text) {
    struct addr a;
    assert_int_equal(addr_parse_hostport(&a, text), 0);
    return a;
}

static struct pair *listening(struct dtls_guard **g) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){0});
    struct dtls_params p = {.judge = trusts_all};
    dtls_session_forget(w->server.s);
    assert_int_equal(dtls_session_new(&w->server.s, small[1], &p, &ops, &w->server), 0);
    assert_int_equal(dtls_guard_new(g, clock_mono_ms()), 0);
    dtls_session_start(w->client.s, clock_mono_ms());
    return w;
}

static int listen_to(struct pair *w, struct dtls_guard *g, const struct addr *from, const struct dgram *d) {
    return dtls_session_listen(w->server.s, g, from, d->p, d->len, clock_mono_ms());
}

/* The client's next hello, after the server's last word. */
static struct dgram next_hello(struct pair *w) {
    for (size_t i = 0; i < w->server.count; i++)
        dtls_session_input(w->client.s, w->server.queue[i].p, w->server.queue[i].len, clock_mono_ms());
    w->server.count = 0;
    struct dgram d = w->client.queue[w->client.count - 1];
    w->client.count = 0;
    return d;
}

static void a_stranger_gets_a_cookie_first(void **state) {
    struct dtls_guard *g = NULL;
    struct pair *w = listening(&g);
    struct addr from = address("192.0.2.1:4000");
    (void)state;
    struct dgram first = next_hello(w);
    assert_int_equal(listen_to(w, g, &from, &first), 0);
    assert_int_equal(w->server.sent, 1);
    assert_in_range(w->server.longest, 1, first.len);
    assert_int_equal(listen_to(w, g, &from, &first), 0); /* again: another cookie, nothing more */
    struct dgram second = next_hello(w);
    assert_true(second.len > first.len);
    assert_int_equal(listen_to(w, g, &from, &second), 1);
    run(&w, 1);
    assert_up(w);
    pair_free(w);
    dtls_guard_free(g);
}

static void a_cookie_from_elsewhere_is_asked_for_again(void **state) {
    struct dtls_guard *g = NULL;
    struct pair *w = listening(&g);
    struct addr from = address("192.0.2.1:4000"), elsewhere = address("192.0.2.1:4001");
    (void)state;
    struct dgram first = next_hello(w);
    assert_int_equal(listen_to(w, g, &from, &first), 0);
    struct dgram second = next_hello(w);
    size_t before = w->server.sent;
    assert_int_equal(listen_to(w, g, &elsewhere, &second), 0);
    assert_int_equal(w->server.sent, before + 1);
    assert_int_equal(w->server.queue[w->server.count - 1].p[13], 3); /* HelloVerifyRequest */
    assert_int_equal(listen_to(w, g, &from, &second), 1);
    run(&w, 1);
    assert_up(w);
    pair_free(w);
    dtls_guard_free(g);
}

static void a_listener_survives_noise(void **state) {
    struct dtls_guard *g = NULL;
    struct pair *w = listening(&g);
    struct addr from = address("192.0.2.1:4000");
    (void)state;
    struct dgram first = next_hello(w), bad;
    for (size_t i = 0; i < first.len; i++) {
        bad = first;
        bad.p[i] ^= 0x55;
        assert_int_equal(listen_to(w, g, &from, &bad), 0);
        bad = first;
        bad.len = i;
        assert_int_equal(listen_to(w, g, &from, &bad), 0);
        assert_in_range(w->server.longest, 0, first.len);
        w->server.count = 0;
    }
    assert_false(w->server.closed);
    assert_int_equal(listen_to(w, g, &from, &first), 0);
    struct dgram second = next_hello(w);
    assert_int_equal(listen_to(w, g, &from, &second), 1);
    run(&w, 1);
    assert_up(w);
    pair_free(w);
    dtls_guard_free(g);
}

static void a_session_can_change_hands(void **state) {
    struct pair *w = pair_new(small[0], small[1], (struct relay){0});
    struct end heir = {.relay = &w->relay};
    (void)state;
    run(&w, 1);
    assert_up(w);
    dtls_session_move(w->server.s, &ops, &heir);
    w->client.s = dtls_session_free(w->client.s);
    for (size_t i = 0; i < w->client.count; i++)
        dtls_session_input(w->server.s, w->client.queue[i].p, w->client.queue[i].len, clock_mono_ms());
    assert_true(heir.closed && !w->server.closed);
    assert_int_equal(heir.err, 0);
    pair_free(w);
}

/* A caller without ICE: its last flight is in the hands of its leg by then. */
static void a_last_flight_that_was_lost_comes_again_after_a_change_of_hands(void **state) {
    struct dtls_guard *g = NULL;
    struct pair *w = listening(&g);
    struct end heir = {.relay = &w->relay};
    struct addr from = address("192.0.2.1:4000");
    uint64_t until_ms = clock_mono_ms() + PATIENCE_MS;
    (void)state;
    struct dgram first = next_hello(w);
    assert_int_equal(listen_to(w, g, &from, &first), 0);
    struct dgram second = next_hello(w);
    assert_int_equal(listen_to(w, g, &from, &second), 1);
    for (; !w->server.connected && clock_mono_ms() < until_ms; poll(NULL, 0, 1))
        turn(w);
    w->server.count = 0;
    assert_false(w->client.connected);
    dtls_session_move(w->server.s, &ops, &heir);
    for (; !w->client.connected && clock_mono_ms() < until_ms; poll(NULL, 0, 1)) {
        turn(w);
        deliver(&heir, &w->client);
    }
    assert_up(w);
    assert_true(heir.sent > 0);
    assert_false(heir.closed || w->client.closed);
    pair_free(w);
    dtls_guard_free(g);
}

/* Identities from files */

static void write_pem(const char *path, EVP_PKEY *key, X509 **chain, size_t count) {
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    if (key)
        assert_int_equal(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(PEM_write_X509(f, chain[i]), 1);
    fclose(f);
    chmod(path, 0600);
}

static X509 *certificate(const char *name, EVP_PKEY *key, const char *issuer, EVP_PKEY *by) {
    X509 *c = X509_new();
    X509_NAME *n = X509_NAME_new();
    X509_set_version(c, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(c), 1);
    X509_gmtime_adj(X509_getm_notBefore(c), 0);
    X509_gmtime_adj(X509_getm_notAfter(c), 3600);
    X509_set_pubkey(c, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(c), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const unsigned char *)issuer, -1, -1, 0);
    X509_set_issuer_name(c, n);
    assert_true(X509_sign(c, by, EVP_sha256()) > 0);
    X509_NAME_free(n);
    return c;
}

static char *path_of(char out[static 64], const char *name) {
    snprintf(out, 64, "%s/%s", folder, name);
    return out;
}

static struct dtls_identity *load(const char *cert, const char *key, int want, const char *sentence) {
    char cert_path[64], key_path[64];
    struct dtls_identity_params p = {.certificate_file = path_of(cert_path, cert), .key_file = path_of(key_path, key)};
    struct dtls_identity *id = NULL;
    struct err_text et = {""};
    assert_int_equal(dtls_identity_make(&id, &p, &et), want);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" is not in \"%s\"", sentence, et.s);
    return id;
}

/* Making 4,096-bit keys takes seconds: one for the leaf, one for both of its authorities. */
static int make_large(void) {
    char path[64];
    EVP_PKEY *leaf = EVP_RSA_gen(4096), *authority = EVP_RSA_gen(4096), *other = EVP_EC_gen("P-256");
    X509 *chain[] = {certificate("leaf", leaf, "middle", authority),
                     certificate("middle", authority, "root", authority),
                     certificate("root", authority, "root", authority)};
    write_pem(path_of(path, "chain.pem"), NULL, chain, 3);
    write_pem(path_of(path, "key.pem"), leaf, NULL, 0);
    write_pem(path_of(path, "other.pem"), other, NULL, 0);
    write_pem(path_of(path, "open.pem"), leaf, NULL, 0);
    chmod(path, 0644);
    for (int i = 0; i < 3; i++)
        X509_free(chain[i]);
    EVP_PKEY_free(leaf);
    EVP_PKEY_free(authority);
    EVP_PKEY_free(other);
    for (int i = 0; i < 2; i++)
        large[i] = load("chain.pem", "key.pem", 0, "");
    return 0;
}

static void an_identity_from_files_is_that_of_the_leaf(void **state) {
    struct sdp_fingerprint f = fingerprint_of(large[0]);
    char hex[4];
    (void)state;
    snprintf(hex, sizeof hex, "%02X:", f.value[0]);
    assert_memory_equal(dtls_identity_fingerprint(large[0]) + strlen("sha-256 "), hex, 3);
    assert_string_equal(dtls_identity_fingerprint(large[0]), dtls_identity_fingerprint(large[1]));
}

static void files_that_make_no_identity_are_told_why(void **state) {
    (void)state;
    assert_null(load("none.pem", "key.pem", E_INVAL, "none.pem has no certificate in PEM"));
    assert_null(load("key.pem", "key.pem", E_INVAL, "key.pem has no certificate in PEM"));
    assert_null(load("chain.pem", "chain.pem", E_INVAL, "has no private key in PEM"));
    assert_null(load("chain.pem", "other.pem", E_INVAL, "does not go with the certificate"));
    assert_null(load("chain.pem", "open.pem", E_DENIED, "open.pem"));
}

static void the_library_says_what_it_can(void **state) {
    struct dtls_abilities a;
    (void)state;
    dtls_abilities(&a);
    assert_memory_equal(a.openssl, "OpenSSL 3", 9);
    assert_non_null(strstr(a.versions, "1.2"));
    assert_non_null(strstr(a.groups, "X25519:P-256"));
}

static int setup(void **state) {
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    for (int i = 0; i < 2; i++)
        if (dtls_identity_new(&small[i], NULL) != 0)
            return -1;
    return make_large();
}

static int teardown(void **state) {
    static const char *const files[] = {"chain.pem", "key.pem", "other.pem", "open.pem"};
    char path[64];
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        unlink(path_of(path, files[i]));
    rmdir(folder);
    for (int i = 0; i < 2; i++) {
        dtls_identity_free(small[i]);
        dtls_identity_free(large[i]);
    }
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thirty_percent_of_loss_each_way_delay_and_do_not_end_a_handshake),
        cmocka_unit_test(chains_of_large_certificates_keep_to_the_mtu),
        cmocka_unit_test(a_message_that_is_too_long_ends_the_handshake),
        cmocka_unit_test(the_first_retransmission_goes_by_the_round_trip),
        cmocka_unit_test(each_wait_is_twice_the_one_before),
        cmocka_unit_test(later_flights_go_by_what_the_handshake_showed),
        cmocka_unit_test(who_never_answers_is_not_called_for_ever),
        cmocka_unit_test(the_peers_alert_is_told),
        cmocka_unit_test(a_stranger_gets_a_cookie_first),
        cmocka_unit_test(a_cookie_from_elsewhere_is_asked_for_again),
        cmocka_unit_test(a_listener_survives_noise),
        cmocka_unit_test(a_session_can_change_hands),
        cmocka_unit_test(a_last_flight_that_was_lost_comes_again_after_a_change_of_hands),
        cmocka_unit_test(an_identity_from_files_is_that_of_the_leaf),
        cmocka_unit_test(files_that_make_no_identity_are_told_why),
        cmocka_unit_test(the_library_says_what_it_can),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
