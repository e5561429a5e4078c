/* SPDX-License-Identifier: Apache-2.0 */
/* Ends that change networks, and ICE restarts: the media follows. */
#include "tests/unit/peers/media_fixture.h"

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

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(a_caller_that_changes_networks_keeps_its_media),
        test(a_phone_that_changes_networks_keeps_its_media),
        test(both_ends_change_networks_while_the_gateway_encrypts_again),
        test(an_ice_restart_moves_the_media_and_ends_the_old_credentials),
        test(restarts_that_come_to_nothing_leave_the_call_as_it_was),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
