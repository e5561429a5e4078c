/* SPDX-License-Identifier: Apache-2.0 */
/* The media plane end to end on loopback: real sockets, a caller and a phone that are peer endpoints. */
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

static void on_path(void *arg) {
    ((struct peer *)arg)->path = true;
}

static void on_keys(enum media_profile profile, void *arg) {
    (void)profile;
    ((struct peer *)arg)->keys = true;
}

static void on_rtp(const uint8_t *p, size_t len, void *arg) {
    struct peer *peer = arg;
    peer->rtp++;
    peer->last_len = len < sizeof peer->last ? len : sizeof peer->last;
    memcpy(peer->last, p, peer->last_len);
}

static void on_closed(int err, void *arg) {
    (void)err;
    ((struct peer *)arg)->closed = true;
}

static const struct peer_endpoint_ops ops = {
    .path_up = on_path, .keys_up = on_keys, .rtp = on_rtp, .closed = on_closed};

static struct sdp_fingerprint fingerprint_of(const char *text) {
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

static void events(struct world *w) {
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

static void step(struct world *w) {
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

static void settle(struct world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        step(w);
}

static void start_caller(struct world *w, bool caller_is_server, bool wrong_fingerprint) {
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

static void start_phone(struct world *w, const struct media_keys *keys) {
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

static struct media_near near_of(struct world *w, enum media_mode mode) {
    struct media_near near = {.mode = mode};
    ice_lite_init(&w->near_ice);
    strcpy(w->near_ice.remote_ufrag, LOCAL_UFRAG);
    near.ice = w->near_ice;
    return near;
}

static int send_rtp(struct peer *peer, uint16_t seq, char mark) {
    uint8_t packet[172] = {0x80, 0, (uint8_t)(seq >> 8), (uint8_t)seq, 0, 0, 0, 0, 1, 2, 3, 4};
    memset(packet + 12, mark, sizeof packet - 12);
    return peer_endpoint_send_rtp(peer->e, packet, sizeof packet);
}

static int setup_with(void **state, unsigned hold_ms) {
    struct world *w = calloc(1, sizeof *w);
    struct media_config cfg = {.address = "127.0.0.1", .workers = 1, .calls_max = 64, .hold_ms = hold_ms};
    struct err_text et = {""};
    *state = w;
    return media_start(&w->media, &cfg, &et);
}

static int setup(void **state) {
    return setup_with(state, 500);
}

static int teardown(void **state) {
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

static void relay_both_ways(struct world *w) {
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

static void transfer_to_phone(struct world *w) {
    struct media_near near = near_of(w, MEDIA_MODE_TRANSFER);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    wait_for(w, w->seen[MEDIA_EV_KEYS]);
    start_phone(w, &w->keys.u.keys.keys);
    wait_for(w, w->phone.path);
}

static void active_in_transfer(struct world *w) {
    start_caller(w, false, false);
    wait_for(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    transfer_to_phone(w);
    media_gate(w->media, w->id);
    media_keys_taken(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
}

static void transfer_hands_the_callers_keys_to_the_phone(void **state) {
    struct world *w = *state;
    active_in_transfer(w);
}

static void transfer_works_when_the_gateway_is_the_dtls_client(void **state) {
    struct world *w = *state;
    start_caller(w, true, false);
    wait_for(w, w->caller.keys);
    transfer_to_phone(w);
    media_gate(w->media, w->id);
    media_keys_taken(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
}

static void packets_do_not_count_before_keys_taken(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    transfer_to_phone(w);
    media_gate(w->media, w->id);
    for (uint16_t seq = 1; seq < 10; seq++)
        send_rtp(&w->phone, seq, 'p');
    settle(w, 100);
    assert_int_equal(w->caller.rtp, 0);
}

static void keys_are_told_once_and_never_to_a_second_near_leg(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    transfer_to_phone(w);
    w->seen[MEDIA_EV_KEYS] = false;
    struct media_near near = near_of(w, MEDIA_MODE_TRANSFER);
    media_near_open(w->media, w->id, &near);
    wait_for(w, w->seen[MEDIA_EV_FAILED]);
    assert_int_equal(w->failed_err, E_STATE);
    assert_false(w->seen[MEDIA_EV_KEYS]);
}

static void roll_over_counter_is_handed_over(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    for (uint32_t seq = 65000; seq < 65536 + 100; seq += 10) {
        send_rtp(&w->caller, (uint16_t)seq, 'x');
        if (seq % 500 == 0)
            settle(w, 5);
    }
    settle(w, 50);
    transfer_to_phone(w);
    assert_int_equal(w->keys.u.keys.rx.count, 1);
    assert_int_equal(w->keys.u.keys.rx.s[0].roc, 1);
    peer_endpoint_set_rx_roc(w->phone.e, w->keys.u.keys.rx.s[0].ssrc, 1);
    media_gate(w->media, w->id);
    media_keys_taken(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
}

static void dtls_mode(struct world *w) {
    struct media_near near = near_of(w, MEDIA_MODE_DTLS);
    assert_int_equal(dtls_identity_new(&w->phone.identity, NULL), 0);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    start_phone(w, NULL);
    wait_for(w, w->phone.path);
}

static void dtls_mode_encrypts_again(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    dtls_mode(w);
    struct sdp_fingerprint f = fingerprint_of(dtls_identity_fingerprint(w->phone.identity));
    settle(w, 50); /* the phone's ClientHello is parked meanwhile */
    assert_false(w->phone.keys);
    assert_int_equal(media_near_fingerprints(w->media, w->id, &f, 1, false), 0);
    wait_for(w, w->phone.keys && w->caller.keys && w->seen[MEDIA_EV_NEAR_DTLS]);
    media_gate(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
}

static void sdes_mode_encrypts_again(void **state) {
    struct world *w = *state;
    struct media_near near = near_of(w, MEDIA_MODE_SDES);
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    media_keys_random(&near.keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
    struct media_keys phone = {.profile = near.keys.profile};
    memcpy(phone.rx, near.keys.tx, sizeof phone.rx);
    memcpy(phone.tx, near.keys.rx, sizeof phone.tx);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    start_phone(w, &phone);
    wait_for(w, w->phone.path);
    media_gate(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
}

/* The worker takes packets before commands: this waits until it has carried out what it was told. The peers are still.
 */
static void carried_out(struct world *w) {
    w->seen[MEDIA_EV_STATS] = false;
    assert_int_equal(media_stats(w->media, w->id), 0);
    for (unsigned i = 0; i < 10000 && !w->seen[MEDIA_EV_STATS]; i++) {
        poll(NULL, 0, 1);
        events(w);
    }
    assert_true(w->seen[MEDIA_EV_STATS]);
}

/* A phone (anew) that was told these credentials; keys may be NULL. */
static void knock(struct world *w, struct peer *peer, const struct ice_lite *ice, const struct media_keys *keys) {
    struct peer_endpoint_params p = {.local_ufrag = LOCAL_UFRAG,
                                     .local_pwd = LOCAL_PWD,
                                     .remote_ufrag = ice->ufrag,
                                     .remote_pwd = ice->pwd,
                                     .keys = keys};
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    peer_endpoint_free(peer->e);
    memset(peer, 0, sizeof *peer);
    assert_int_equal(peer_endpoint_new(&peer->e, &p, &ops, peer), 0);
}

/* A phone with keys of its own, whose leg waits; it brings its path up at once. */
static void wait_with(struct world *w, struct peer *peer, unsigned number, enum media_profile profile) {
    struct media_near near = near_of(w, MEDIA_MODE_SEALED);
    struct media_keys keys;
    media_keys_random(&keys, profile);
    near.waits = true;
    near.number = number;
    near.keys.profile = profile;
    memcpy(near.keys.rx, keys.tx, sizeof keys.tx);
    memcpy(near.keys.tx, keys.rx, sizeof keys.rx);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    knock(w, peer, &near.ice, &keys);
}

static void one_of_the_phones_that_wait_gets_the_media(struct world *w, enum media_profile profile) {
    start_caller(w, false, false);
    wait_with(w, &w->phone, 0, profile);
    wait_with(w, &w->other, 1, profile);
    wait_for(w, w->phone.path && w->other.path && w->path_seen[0] && w->path_seen[1] && w->caller.keys);
    for (uint16_t seq = 1; seq <= 20; seq++) {
        assert_int_equal(send_rtp(&w->phone, seq, 'x'), 0);
        assert_int_equal(send_rtp(&w->other, seq, 'x'), 0);
    }
    assert_int_equal(media_gate(w->media, w->id), 0);
    settle(w, 100);
    assert_int_equal(w->caller.rtp, 0);
    assert_false(w->path_waited);
    assert_int_equal(media_near_choose(w->media, w->id, 0), 0);
    carried_out(w);
    assert_true(w->path_waited);
    relay_both_ways(w);
    assert_int_equal(w->other.rtp, 0);
    for (uint16_t seq = 300; seq < 320; seq++)
        assert_int_equal(send_rtp(&w->other, seq, 'x'), 0);
    knock(w, &w->other, &w->near_ice, NULL); /* those of the second phone */
    settle(w, 300);
    assert_int_equal(w->caller.rtp, 20);
    assert_false(w->other.path);
}

static void the_chosen_one_of_the_phones_that_wait_gets_the_media(void **state) {
    one_of_the_phones_that_wait_gets_the_media(*state, MEDIA_PROFILE_AES128_CM_SHA1_80);
}

static void phones_may_wait_with_any_profile(void **state) {
    one_of_the_phones_that_wait_gets_the_media(*state, MEDIA_PROFILE_AEAD_AES_256_GCM);
}

static void a_phone_that_waits_may_pass_the_end_of_its_sequence_numbers(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_with(w, &w->phone, 0, MEDIA_PROFILE_AEAD_AES_128_GCM);
    wait_for(w, w->phone.path && w->caller.keys);
    for (unsigned seq = 65530; seq < 65540; seq++)
        assert_int_equal(send_rtp(&w->phone, (uint16_t)seq, 'x'), 0);
    settle(w, 50);
    assert_int_equal(media_near_choose(w->media, w->id, 0), 0);
    carried_out(w);
    for (uint16_t seq = 10; seq < 20; seq++) /* chosen, and not answered yet */
        assert_int_equal(send_rtp(&w->phone, seq, 'x'), 0);
    settle(w, 50);
    assert_int_equal(w->caller.rtp, 0);
    assert_int_equal(media_gate(w->media, w->id), 0);
    carried_out(w);
    relay_both_ways(w);
}

static void a_phone_that_was_dropped_is_a_stranger(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_with(w, &w->phone, 0, MEDIA_PROFILE_AES128_CM_SHA1_80);
    wait_with(w, &w->other, 1, MEDIA_PROFILE_AES128_CM_SHA1_80);
    assert_int_equal(media_near_drop(w->media, w->id, 0), 0);
    carried_out(w);
    wait_for(w, w->other.path);
    settle(w, 300);
    assert_false(w->phone.path);
    assert_int_equal(media_near_choose(w->media, w->id, 0), 0);
    wait_for(w, w->seen[MEDIA_EV_FAILED]);
    assert_int_equal(w->failed_err, E_STATE);
}

static void a_near_leg_that_does_not_wait_ends_those_that_do(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_with(w, &w->phone, 0, MEDIA_PROFILE_AES128_CM_SHA1_80);
    struct media_near near = near_of(w, MEDIA_MODE_DTLS);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    carried_out(w);
    settle(w, 300);
    assert_false(w->phone.path);
    assert_int_equal(media_close(w->media, w->id), 0);
    wait_for(w, w->seen[MEDIA_EV_CLOSED]);
}

static void what_comes_before_the_gate_is_discarded(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    transfer_to_phone(w);
    media_keys_taken(w->media, w->id);
    for (uint16_t seq = 1; seq <= 10; seq++)
        send_rtp(&w->caller, seq, 'x');
    settle(w, 100);
    assert_int_equal(w->phone.rtp, 0);
    media_close(w->media, w->id);
    wait_for(w, w->seen[MEDIA_EV_CLOSED]);
    assert_int_equal(w->closed.u.stats.discarded_pkts, 10);
}

static void media_is_held_until_the_phone_is_there_and_then_comes_in_order(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    media_gate(w->media, w->id);
    settle(w, 20);
    for (uint16_t seq = 1; seq <= 10; seq++)
        send_rtp(&w->caller, seq, 'h');
    settle(w, 20);
    transfer_to_phone(w);
    media_keys_taken(w->media, w->id);
    wait_for(w, w->phone.rtp == 10);
    assert_int_equal(w->phone.last[3], 10);
}

static void a_wrong_fingerprint_ends_the_handshake(void **state) {
    struct world *w = *state;
    start_caller(w, false, true);
    wait_for(w, w->seen[MEDIA_EV_FAILED]);
    assert_int_equal(w->failed_err, E_AUTH);
    assert_false(w->seen[MEDIA_EV_FAR_DTLS]);
}

static void the_callers_close_notify_is_told(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    w->caller.e = peer_endpoint_free(w->caller.e);
    wait_for(w, w->seen[MEDIA_EV_PEER_CLOSED]);
}

static void the_callers_end_is_noticed_after_a_transfer(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    transfer_to_phone(w);
    media_gate(w->media, w->id);
    media_keys_taken(w->media, w->id);
    settle(w, 30);
    w->caller.e = peer_endpoint_free(w->caller.e);
    wait_for(w, w->seen[MEDIA_EV_PEER_CLOSED]);
}

static void closing_tells_the_caller(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    media_close(w->media, w->id);
    wait_for(w, w->caller.closed && w->seen[MEDIA_EV_CLOSED]);
    assert_int_equal(media_gate(w->media, w->id), E_NOTFOUND);
}

static void packets_from_unknown_addresses_are_counted_and_dropped(void **state) {
    struct world *w = *state;
    struct media_totals t;
    start_caller(w, false, false);
    wait_for(w, w->caller.keys);
    struct peer_endpoint_params p = {.local_ufrag = "x", .local_pwd = "x", .dtls = PEER_DTLS_NONE};
    struct peer_endpoint *stranger;
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    assert_int_equal(peer_endpoint_new(&stranger, &p, &ops, &w->phone), 0);
    const uint8_t rtp[40] = {0x80}, hello[40] = {22, 0xfe, 0xff}, stun[20] = {0, 1};
    peer_endpoint_send_raw(stranger, rtp, sizeof rtp);
    peer_endpoint_send_raw(stranger, hello, sizeof hello);
    peer_endpoint_send_raw(stranger, stun, sizeof stun);
    settle(w, 50);
    media_totals(w->media, &t);
    assert_int_equal(t.unknown_source_pkts, 2);
    assert_int_equal(t.stun_rejected, 1);
    peer_endpoint_free(stranger);
}

/* A call that was told one fingerprint gets it, whatever was made meanwhile. */
static void a_new_identity_is_for_new_calls(void **state) {
    struct world *w = *state;
    char before[DTLS_FINGERPRINT_BYTES];
    strcpy(before, media_fingerprint(w->media, 0));
    start_caller(w, false, false);
    media_id first = w->id;
    assert_int_equal(media_rotate(w->media, NULL), 0);
    assert_int_equal(media_rotate(w->media, NULL), 0);
    assert_string_not_equal(media_fingerprint(w->media, 0), before);
    assert_string_equal(media_call_fingerprint(w->media, first), before);
    wait_for(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    peer_endpoint_free(w->caller.e);
    dtls_identity_free(w->caller.identity);
    w->caller = (struct peer){0};
    start_caller(w, false, false);
    assert_string_equal(media_call_fingerprint(w->media, w->id), media_fingerprint(w->media, 0));
    wait_for(w, w->caller.keys);
    media_close(w->media, first);
    wait_for(w, w->seen[MEDIA_EV_CLOSED]);
    assert_null(media_call_fingerprint(w->media, first));
}

/* Until the path is there no RTP leaves the endpoint, and after it not one packet may be lost or go to the old socket:
 * the first one after the nomination already takes the new path. */
static void assert_moved(struct world *w, struct peer *peer) {
    struct media_totals t;
    unsigned caller = w->caller.rtp, phone = w->phone.rtp;
    wait_for(w, peer->path);
    for (uint16_t seq = 1; seq <= 20; seq++) {
        assert_int_equal(send_rtp(&w->caller, (uint16_t)(500 + phone + seq), 'c'), 0);
        assert_int_equal(send_rtp(&w->phone, (uint16_t)(500 + caller + seq), 'p'), 0);
    }
    wait_for(w, w->caller.rtp == caller + 20 && w->phone.rtp == phone + 20);
    media_totals(w->media, &t);
    assert_int_equal(t.unknown_source_pkts, 0);
    assert_int_equal(t.dtls_handshakes, w->phone.identity ? 2 : 1);
    assert_false(w->seen[MEDIA_EV_FAILED] || w->caller.closed || w->phone.closed);
}

/* Wi-Fi to cellular: the old socket is gone. */
static void move(struct world *w, struct peer *peer, enum media_event_kind told) {
    peer->path = false;
    w->seen[told] = false;
    assert_int_equal(peer_endpoint_move(peer->e), 0);
    assert_moved(w, peer);
    wait_for(w, w->seen[told]);
}

static void a_caller_that_changes_networks_keeps_its_media(void **state) {
    struct world *w = *state;
    active_in_transfer(w);
    move(w, &w->caller, MEDIA_EV_FAR_ICE);
}

static void both_ends_change_networks_while_the_gateway_encrypts_again(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    dtls_mode(w);
    struct sdp_fingerprint f = fingerprint_of(dtls_identity_fingerprint(w->phone.identity));
    assert_int_equal(media_near_fingerprints(w->media, w->id, &f, 1, false), 0);
    wait_for(w, w->phone.keys && w->caller.keys && w->seen[MEDIA_EV_NEAR_DTLS] && w->seen[MEDIA_EV_FAR_DTLS]);
    media_gate(w->media, w->id);
    settle(w, 30);
    relay_both_ways(w);
    move(w, &w->phone, MEDIA_EV_NEAR_ICE);
    move(w, &w->caller, MEDIA_EV_FAR_ICE);
}

static void a_phone_that_changes_networks_keeps_its_media(void **state) {
    struct world *w = *state;
    active_in_transfer(w);
    move(w, &w->phone, MEDIA_EV_NEAR_ICE);
}

/* A check by hand: what the gateway answers tells whether it still knows these credentials. */
static bool knows(struct world *w, const struct ice_lite *ice, const char *remote) {
    struct peer stranger = {.path = false};
    struct peer_endpoint_params p = {.local_ufrag = remote,
                                     .local_pwd = LOCAL_PWD,
                                     .remote_ufrag = ice->ufrag,
                                     .remote_pwd = ice->pwd,
                                     .dtls = PEER_DTLS_NONE};
    addr_parse(&p.remote, "127.0.0.1", media_port(w->media, 0));
    assert_int_equal(peer_endpoint_new(&stranger.e, &p, &ops, &stranger), 0);
    uint64_t until = clock_mono_ms() + 200;
    while (!stranger.path && clock_mono_ms() < until) {
        peer_endpoint_on_readable(stranger.e, clock_mono_ms());
        peer_endpoint_tick(stranger.e, clock_mono_ms());
        step(w);
    }
    peer_endpoint_free(stranger.e);
    return stranger.path;
}

static void an_ice_restart_moves_the_media_and_ends_the_old_credentials(void **state) {
    struct world *w = *state;
    struct ice_lite old, next = {.remote_ufrag = "newfrag"};
    active_in_transfer(w);
    old = w->far_ice;
    ice_lite_init(&next);
    assert_int_equal(media_far_restart(w->media, w->id, &next), 0);
    move(w, &w->caller, MEDIA_EV_FAR_ICE); /* with the old credentials: the new session has nominated nothing yet */
    w->caller.path = w->seen[MEDIA_EV_FAR_ICE] = false;
    peer_endpoint_restart(w->caller.e, "newfrag", next.ufrag, next.pwd);
    assert_moved(w, &w->caller);
    wait_for(w, w->seen[MEDIA_EV_FAR_ICE]);
    assert_false(knows(w, &old, LOCAL_UFRAG));
    ice_lite_init(&old);
    assert_int_equal(media_far_restart(w->media, w->id, &old), 0);
    move(w, &w->caller, MEDIA_EV_FAR_ICE); /* what was new is now the old that goes on */
}

static void restarts_that_come_to_nothing_leave_the_call_as_it_was(void **state) {
    struct world *w = *state;
    struct ice_lite first = {.remote_ufrag = "one"}, second = {.remote_ufrag = "two"};
    start_caller(w, false, false);
    wait_for(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    ice_lite_init(&first);
    ice_lite_init(&second);
    assert_int_equal(media_far_restart(w->media, w->id, &first), 0);
    assert_int_equal(media_far_restart(w->media, w->id, &second), 0);
    assert_false(knows(w, &first, "one"));
    w->caller.path = false;
    assert_int_equal(peer_endpoint_move(w->caller.e), 0);
    wait_for(w, w->caller.path);
    media_close(w->media, w->id);
    wait_for(w, w->seen[MEDIA_EV_CLOSED]);
    assert_int_equal(media_far_restart(w->media, w->id, &first), E_NOTFOUND);
    assert_false(knows(w, &w->far_ice, LOCAL_UFRAG));
}

/* Records are taken apart before anybody knows whether they are any. */
static void send_broken_records(struct world *w) {
    uint8_t dg[1400] = {0};
    for (size_t i = 0; i + 13 <= sizeof dg; i += 13) { /* empty records, more than a queue holds */
        dg[i] = 22;
        dg[i + 1] = 0xfe;
        dg[i + 2] = 0xfd;
    }
    for (int i = 0; i < 4; i++)
        peer_endpoint_send_raw(w->caller.e, dg, sizeof dg);
    peer_endpoint_send_raw(w->caller.e, dg, 12); /* less than a header */
    dg[11] = 0xff;
    peer_endpoint_send_raw(w->caller.e, dg, 40); /* longer than its datagram */
    dg[11] = 0;
    dg[12] = 20;
    peer_endpoint_send_raw(w->caller.e, dg, 40); /* a whole one, and the rest of another */
}

static void dtls_records_of_any_shape_do_no_harm(void **state) {
    struct world *w = *state;
    start_caller(w, false, false);
    wait_for(w, w->caller.path);
    send_broken_records(w);
    wait_for(w, w->seen[MEDIA_EV_FAR_DTLS]);
    send_broken_records(w);
    settle(w, 50);
    assert_false(w->seen[MEDIA_EV_FAILED]);
    assert_false(w->seen[MEDIA_EV_PEER_CLOSED]);
    w->caller.e = peer_endpoint_free(w->caller.e);
    wait_for(w, w->seen[MEDIA_EV_PEER_CLOSED]);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(transfer_hands_the_callers_keys_to_the_phone),
        test(transfer_works_when_the_gateway_is_the_dtls_client),
        test(packets_do_not_count_before_keys_taken),
        test(keys_are_told_once_and_never_to_a_second_near_leg),
        test(roll_over_counter_is_handed_over),
        test(dtls_mode_encrypts_again),
        test(sdes_mode_encrypts_again),
        test(the_chosen_one_of_the_phones_that_wait_gets_the_media),
        test(phones_may_wait_with_any_profile),
        test(a_phone_that_waits_may_pass_the_end_of_its_sequence_numbers),
        test(a_phone_that_was_dropped_is_a_stranger),
        test(a_near_leg_that_does_not_wait_ends_those_that_do),
        test(what_comes_before_the_gate_is_discarded),
        test(media_is_held_until_the_phone_is_there_and_then_comes_in_order),
        test(a_wrong_fingerprint_ends_the_handshake),
        test(the_callers_close_notify_is_told),
        test(the_callers_end_is_noticed_after_a_transfer),
        test(closing_tells_the_caller),
        test(packets_from_unknown_addresses_are_counted_and_dropped),
        test(a_new_identity_is_for_new_calls),
        test(a_caller_that_changes_networks_keeps_its_media),
        test(a_phone_that_changes_networks_keeps_its_media),
        test(both_ends_change_networks_while_the_gateway_encrypts_again),
        test(an_ice_restart_moves_the_media_and_ends_the_old_credentials),
        test(restarts_that_come_to_nothing_leave_the_call_as_it_was),
        test(dtls_records_of_any_shape_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
