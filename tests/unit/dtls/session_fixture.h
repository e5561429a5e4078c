/* SPDX-License-Identifier: Apache-2.0 */
/* Two sessions back to back, their datagrams in queues of this file. */
#ifndef TESTS_UNIT_DTLS_SESSION_FIXTURE_H
#define TESTS_UNIT_DTLS_SESSION_FIXTURE_H

#include "base/err.h"
#include "dtls/dtls_identity_priv.h"
#include "dtls/dtls_session.h"

#include <openssl/x509.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define QUEUE_MAX 64
#define DGRAM_MAX 1500
#define NOW_MS    1000
#define RTT_MS    1 /* the first retransmission comes after the least time, 50 ms */

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

static inline void on_send(const uint8_t *dg, size_t len, void *arg) {
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

static inline void on_connected(const struct media_keys *keys, void *arg) {
    struct end *e = arg;
    e->keys = *keys;
    e->connected++;
}

static inline void on_data(const uint8_t *p, size_t len, void *arg) {
    struct end *e = arg;
    e->data++;
    e->last_len = len;
    assert_in_range(len, 1, sizeof e->last);
    memcpy(e->last, p, len);
}

static inline void on_closed(int err, void *arg) {
    struct end *e = arg;
    e->closed++;
    e->closed_err = err;
}

static const struct dtls_ops ops = {on_send, on_connected, on_data, on_closed};

static inline struct sdp_fingerprint fingerprint_of(const struct dtls_identity *id, const char *name,
                                                    const EVP_MD *md) {
    struct sdp_fingerprint f = {{0}, {0}, 0};
    unsigned len = 0;
    strcpy(f.hash, name);
    assert_int_equal(X509_digest(SSL_CTX_get0_certificate(dtls_identity_ctx(id)), md, f.value, &len), 1);
    f.len = len;
    return f;
}

static inline void end_open(struct end *e, struct dtls_identity *id, bool client, const struct sdp_fingerprint *fp,
                            size_t count) {
    struct dtls_params p = {.client = client, .fingerprints = fp, .fingerprint_count = count, .rtt_ms = RTT_MS};
    memset(e, 0, sizeof *e);
    assert_int_equal(dtls_session_new(&e->s, id, &p, &ops, e), 0);
}

static inline struct pair *pair_new(void) {
    struct pair *w = malloc(sizeof *w);
    assert_non_null(w);
    end_open(&w->client, identities[0], true, &fingerprints[1], 1);
    end_open(&w->server, identities[1], false, &fingerprints[0], 1);
    return w;
}

static inline void pair_free(struct pair *w) {
    w->client.s = dtls_session_forget(w->client.s);
    w->server.s = dtls_session_forget(w->server.s);
    assert_null(w->client.s);
    free(w);
}

/* All that one end sent, to the other. */
static inline void deliver(struct end *from, struct end *to) {
    static struct dgram batch[QUEUE_MAX];
    size_t count = from->out_count;
    memcpy(batch, from->out, count * sizeof *batch);
    from->out_count = 0;
    for (size_t i = 0; i < count; i++)
        if (to->s)
            dtls_session_input(to->s, batch[i].p, batch[i].len, NOW_MS);
}

static inline void settle(struct pair *w) {
    while (w->client.out_count || w->server.out_count) {
        deliver(&w->client, &w->server);
        deliver(&w->server, &w->client);
    }
}

static inline void start(struct pair *w) {
    dtls_session_start(w->client.s, NOW_MS);
    dtls_session_start(w->server.s, NOW_MS);
}

static inline struct pair *pair_connected(void) {
    struct pair *w = pair_new();
    start(w);
    settle(w);
    assert_true(dtls_session_connected(w->client.s) && dtls_session_connected(w->server.s));
    return w;
}

static inline int setup(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        if (dtls_identity_new(&identities[i], NULL) != 0)
            return -1;
        fingerprints[i] = fingerprint_of(identities[i], "sha-256", EVP_sha256());
    }
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++)
        identities[i] = dtls_identity_free(identities[i]);
    return 0;
}

#endif
