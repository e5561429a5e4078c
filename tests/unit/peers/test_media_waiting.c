/* SPDX-License-Identifier: Apache-2.0 */
/* Phones that ring with keys of their own, and one of them gets the media. */
#include "tests/unit/peers/media_fixture.h"

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

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(the_chosen_one_of_the_phones_that_wait_gets_the_media),
        test(phones_may_wait_with_any_profile),
        test(a_phone_that_waits_may_pass_the_end_of_its_sequence_numbers),
        test(a_phone_that_was_dropped_is_a_stranger),
        test(a_near_leg_that_does_not_wait_ends_those_that_do),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
