/* SPDX-License-Identifier: Apache-2.0 */
/* The media plane end to end on loopback: real sockets, a caller and a phone that are peer endpoints. */
#ifndef TESTS_UNIT_PEERS_MEDIA_FIXTURE_H
#define TESTS_UNIT_PEERS_MEDIA_FIXTURE_H

#include "base/bytes.h"
#include "base/clock.h"
#include "dtls/media.h"
#include "tests/peers/peer_endpoint.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LOCAL_UFRAG "localfrag"
#define LOCAL_PWD   "localpasswordlocalpassword"

struct peer {
    struct dtls_identity *identity;
    struct peer_endpoint *e;
    bool path, keys, closed;
    unsigned rtp;
    uint8_t last[256];
    size_t last_len;
};

struct world {
    struct media *media;
    media_id id;
    struct peer caller, phone, other; /* other: a second phone */
    struct ice_lite far_ice, near_ice;
    bool seen[MEDIA_EV_CLOSED + 1];
    struct media_event keys, closed;
    bool path_seen[2], path_waited; /* by number of the phone */
    int failed_err;
};

static inline void on_path(void *arg) {
    ((struct peer *)arg)->path = true;
}

static inline void on_keys(enum media_profile profile, void *arg) {
    (void)profile;
    ((struct peer *)arg)->keys = true;
}

static inline void on_rtp(const uint8_t *p, size_t len, void *arg) {
    struct peer *peer = arg;
    peer->rtp++;
    peer->last_len = len < sizeof peer->last ? len : sizeof peer->last;
    memcpy(peer->last, p, peer->last_len);
}

static inline void on_closed(int err, void *arg) {
    (void)err;
    ((struct peer *)arg)->closed = true;
}

static const struct peer_endpoint_ops ops = {
    .path_up = on_path, .keys_up = on_keys, .rtp = on_rtp, .closed = on_closed};

static inline struct sdp_fingerprint fingerprint_of(const char *text) {
    struct sdp_fingerprint f = {.hash = "sha-256", .len = 32};
    char hex[65];
    size_t n = 0;
    for (const char *s = text + strlen("sha-256 "); *s; s++)
        if (*s != ':')
            hex[n++] = *s;
    hex[n] = 0;
    assert_int_equal(hex_decode(f.value, sizeof f.value, hex), 32);
    return f;
}

static inline void events(struct world *w) {
    struct media_event ev;
    while (media_poll(w->media, &ev) == 0) {
        w->seen[ev.kind] = true;
        if (ev.kind == MEDIA_EV_NEAR_ICE)
            w->path_seen[ev.u.path.number] = true;
        if (ev.kind == MEDIA_EV_NEAR_ICE && ev.u.path.waited)
            w->path_waited = true;
        if (ev.kind == MEDIA_EV_KEYS)
            w->keys = ev;
        if (ev.kind == MEDIA_EV_CLOSED)
            w->closed = ev;
        if (ev.kind == MEDIA_EV_FAILED)
            w->failed_err = ev.u.failed.err;
    }
}

static inline void step(struct world *w) {
    struct peer *peers[] = {&w->caller, &w->phone, &w->other};
    poll(NULL, 0, 2);
    for (int i = 0; i < 3; i++) {
        if (!peers[i]->e)
            continue;
        peer_endpoint_on_readable(peers[i]->e, clock_mono_ms());
        peer_endpoint_tick(peers[i]->e, clock_mono_ms());
    }
    events(w);
}

#define wait_for(w, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t until = clock_mono_ms() + 10000;                                                                      \
        while (!(condition) && clock_mono_ms() < until)                                                                \
            step(w);                                                                                                   \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void settle(struct world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        step(w);
}

static inline void start_caller(struct world *w, bool caller_is_server, bool wrong_fingerprint) {
    struct media_far far = {.worker = 0, .dtls_client = caller_is_server, .fingerprint_count = 1};
    assert_int_equal(dtls_identity_new(&w->caller.identity, NULL), 0);
    far.fingerprints[0] = fingerprint_of(dtls_identity_fingerprint(w->caller.identity));
    far.fingerprints[0].value[0] ^= wrong_fingerprint;
    ice_lite_init(&w->far_ice);
    strcpy(w->far_ice.remote_ufrag, LOCAL_UFRAG);
    far.ice = w->far_ice;
    assert_int_equal(media_open(w->media, &far, &w->id), 0);
    struct sdp_fingerprint theirs = fingerprint_of(media_fingerprint(w->media, 0));
    struct peer_endpoint_params p = {
        .local_ufrag = LOCAL_UFRAG,
        .local_pwd = LOCAL_PWD,
        .remote_ufrag = w->far_ice.ufrag,
        .remote_pwd = w->far_ice.pwd,
        .dtls = caller_is_server ? PEER_DTLS_SERVER : PEER_DTLS_CLIENT,
        .identity = w->caller.identity,
        .fingerprints = &theirs,
        .fingerprint_count = 1,
    };
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    assert_int_equal(peer_endpoint_new(&w->caller.e, &p, &ops, &w->caller), 0);
}

static inline void start_phone(struct world *w, const struct media_keys *keys) {
    struct sdp_fingerprint theirs = fingerprint_of(media_fingerprint(w->media, 0));
    struct peer_endpoint_params p = {
        .local_ufrag = LOCAL_UFRAG,
        .local_pwd = LOCAL_PWD,
        .remote_ufrag = w->near_ice.ufrag,
        .remote_pwd = w->near_ice.pwd,
        .dtls = keys ? PEER_DTLS_NONE : PEER_DTLS_CLIENT,
        .identity = w->phone.identity,
        .fingerprints = &theirs,
        .fingerprint_count = 1,
        .keys = keys,
    };
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    assert_int_equal(peer_endpoint_new(&w->phone.e, &p, &ops, &w->phone), 0);
}

static inline struct media_near near_of(struct world *w, enum media_mode mode) {
    struct media_near near = {.mode = mode};
    ice_lite_init(&w->near_ice);
    strcpy(w->near_ice.remote_ufrag, LOCAL_UFRAG);
    near.ice = w->near_ice;
    return near;
}

static inline int send_rtp(struct peer *peer, uint16_t seq, char mark) {
    uint8_t packet[172] = {0x80, 0, (uint8_t)(seq >> 8), (uint8_t)seq, 0, 0, 0, 0, 1, 2, 3, 4};
    memset(packet + 12, mark, sizeof packet - 12);
    return peer_endpoint_send_rtp(peer->e, packet, sizeof packet);
}

static inline int setup_with(void **state, unsigned hold_ms) {
    struct world *w = calloc(1, sizeof *w);
    struct media_config cfg = {.address = "127.0.0.1", .workers = 1, .calls_max = 64, .hold_ms = hold_ms};
    struct err_text et = {""};
    *state = w;
    return media_start(&w->media, &cfg, &et);
}

static inline int setup(void **state) {
    return setup_with(state, 500);
}

static inline int teardown(void **state) {
    struct world *w = *state;
    peer_endpoint_free(w->caller.e);
    peer_endpoint_free(w->phone.e);
    peer_endpoint_free(w->other.e);
    dtls_identity_free(w->caller.identity);
    dtls_identity_free(w->phone.identity);
    media_stop(w->media);
    free(w);
    return 0;
}

static inline void relay_both_ways(struct world *w) {
    settle(w, 30); /* a worker looks for commands after a batch of packets */
    for (uint16_t seq = 1; seq <= 20; seq++) {
        assert_int_equal(send_rtp(&w->caller, (uint16_t)(100 + seq), 'c'), 0);
        assert_int_equal(send_rtp(&w->phone, (uint16_t)(200 + seq), 'p'), 0);
    }
    wait_for(w, w->caller.rtp == 20 && w->phone.rtp == 20);
    assert_int_equal(w->phone.last[12], 'c');
    assert_int_equal(w->caller.last[12], 'p');
    assert_int_equal(w->phone.last_len, 172);
    wait_for(w, w->seen[MEDIA_EV_FIRST_TO_FAR] && w->seen[MEDIA_EV_FIRST_TO_NEAR]);
}

static inline void transfer_to_phone(struct world *w) {
    struct media_near near = near_of(w, MEDIA_MODE_TRANSFER);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    wait_for(w, w->seen[MEDIA_EV_KEYS]);
    start_phone(w, &w->keys.u.keys.keys);
    wait_for(w, w->phone.path);
}

static inline void active_in_transfer(struct world *w) {
    start_caller(w, false, false);
    wait_for(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    transfer_to_phone(w);
    media_gate(w->media, w->id);
    media_keys_taken(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
}

static inline void dtls_mode(struct world *w) {
    struct media_near near = near_of(w, MEDIA_MODE_DTLS);
    assert_int_equal(dtls_identity_new(&w->phone.identity, NULL), 0);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    start_phone(w, NULL);
    wait_for(w, w->phone.path);
}

#endif
