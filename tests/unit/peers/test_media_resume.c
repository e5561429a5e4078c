/* SPDX-License-Identifier: Apache-2.0 */
/* A call goes on in another media plane, and its peers notice nothing but a gap. Their SRTP contexts stay, so an index
 * that came twice, or a wrong roll-over counter, would be refused there. */
#include "base/err.h"
#include "dtls/rtp.h"
#include "tests/peers/peer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define CALLER_SSRC 0x01020304U
#define PHONE_SSRC  0x0a0b0c0dU

static const struct media_config config = {
    .address = "127.0.0.1", .workers = 1, .calls_max = 8, .hold_ms = 500, .keep = true};
static const enum media_mode modes[] = {MEDIA_MODE_TRANSFER, MEDIA_MODE_SDES, MEDIA_MODE_SEALED, MEDIA_MODE_DTLS};
#define MODES (sizeof modes / sizeof *modes)

static struct peer_world *ringing(void) {
    static const struct media_far far = {.ringback = false};
    struct peer_world *w = peer_world_new(&config);
    w->keeps = true;
    peer_world_call(w, &far);
    return w;
}

static struct peer_world *talking(enum media_mode mode) {
    struct peer_world *w = ringing();
    peer_world_hand_over(w, mode);
    peer_world_gate(w);
    return w;
}

/* One RTP and one RTCP packet each way, as they were sent. */
static void both_ways(struct peer_world *w, uint16_t caller_seq, uint16_t phone_seq) {
    static const uint8_t of_caller[] = {0x81, 206, 0, 2, 1, 2, 3, 4, 9, 9, 9, 9},
                         of_phone[] = {0x81, 206, 0, 2, 0xa, 0xb, 0xc, 0xd, 8, 8, 8, 8};
    w->caller.count = w->phone.count = 0;
    peer_world_send_rtp(&w->caller, CALLER_SSRC, caller_seq);
    peer_world_send_rtp(&w->phone, PHONE_SSRC, phone_seq);
    peer_world_send(&w->caller, of_caller, sizeof of_caller);
    peer_world_send(&w->phone, of_phone, sizeof of_phone);
    peer_world_until(w, w->caller.count == 2 && w->phone.count == 2);
    assert_int_equal(rtp_seq(w->phone.got[0].p), caller_seq);
    assert_int_equal(rtp_seq(w->caller.got[0].p), phone_seq);
    assert_memory_equal(w->phone.got[1].p, of_caller, sizeof of_caller);
    assert_memory_equal(w->caller.got[1].p, of_phone, sizeof of_phone);
    assert_int_equal(peer_endpoint_refused(w->caller.e) + peer_endpoint_refused(w->phone.e), 0);
}

/* The latest state has what was relayed so far. */
static void told(struct peer_world *w) {
    peer_world_settle(w, 300); /* streams are told by the sweep */
}

static void in_every_mode_packets_flow_again(void **state) {
    (void)state;
    for (size_t i = 0; i < MODES; i++) {
        struct peer_world *w = talking(modes[i]);
        for (uint16_t seq = 0; seq < 5; seq++)
            both_ways(w, (uint16_t)(100 + seq), (uint16_t)(200 + seq));
        told(w);
        for (uint16_t crash = 1; crash <= 3; crash++) {
            peer_world_crash(w, &config);
            peer_world_settle(w, 30); /* until what was reserved anew is kept */
            for (uint16_t seq = 0; seq < 5; seq++)
                both_ways(w, (uint16_t)(100 + 10 * crash + seq), (uint16_t)(200 + 10 * crash + seq));
        }
        peer_world_free(w);
    }
}

/* To and past the roll-over, by steps that are less than half the circle. */
static void run_over(struct peer_world *w, unsigned times, unsigned caller_seq, unsigned phone_seq) {
    for (unsigned i = 0; i < 4 * times; i++)
        both_ways(w, (uint16_t)(caller_seq + i * 0x4000), (uint16_t)(phone_seq + i * 0x4000));
}

static void roll_over_counters_go_on(void **state) {
    (void)state;
    for (size_t i = 0; i < MODES; i++) {
        struct peer_world *w = talking(modes[i]);
        run_over(w, 2, 60000, 50000); /* both are at 60000 - 0x4000 and 50000 - 0x4000 of their second or third round */
        told(w);
        peer_world_crash(w, &config);
        peer_world_settle(w, 30);
        both_ways(w, (uint16_t)(60000 - 0x4000 + 5), (uint16_t)(50000 - 0x4000 + 5));
        both_ways(w, 60000, 50000);
        peer_world_free(w);
    }
}

static void a_roll_over_while_nobody_was_there_is_counted(void **state) {
    (void)state;
    struct peer_world *w = talking(MEDIA_MODE_SDES);
    both_ways(w, 65530, 65531);
    told(w);
    peer_world_crash(w, &config);
    peer_world_settle(w, 30);
    both_ways(w, 3, 4);
    peer_world_free(w);
}

/* The caller's counter was ahead before anything was relayed: what goes to the phone begins with 0 all the same. */
static void counters_of_both_sides_may_differ(void **state) {
    struct peer_world *w = ringing();
    (void)state;
    for (uint16_t seq = 65530; seq != 5; seq++)
        peer_world_send_rtp(&w->caller, CALLER_SSRC, seq);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_gate(w);
    both_ways(w, 10, 1);
    told(w);
    peer_world_crash(w, &config);
    peer_world_settle(w, 30);
    run_over(w, 2, 11, 2);
    peer_world_free(w);
}

/* What it heard while it rang is not lost. */
static void a_counter_that_was_only_seen_is_kept(void **state) {
    struct peer_world *w = ringing();
    (void)state;
    for (uint16_t seq = 65530; seq != 5; seq++)
        peer_world_send_rtp(&w->caller, CALLER_SSRC, seq);
    peer_world_until(w, w->call_state.from_far.rx.count == 1);
    peer_world_crash(w, &config);
    peer_world_hand_over(w, MEDIA_MODE_SEALED);
    peer_world_gate(w);
    peer_world_settle(w, 30);
    both_ways(w, 10, 1);
    peer_world_free(w);
}

static void nothing_is_sent_that_was_not_reserved(void **state) {
    static const uint8_t pli[] = {0x81, 206, 0, 2, 1, 2, 3, 4, 9, 9, 9, 9};
    struct peer_world *w = talking(MEDIA_MODE_SDES);
    (void)state;
    both_ways(w, 1, 1);
    told(w);
    w->keeps = false;
    peer_world_crash(w, &config);
    w->phone.count = 0;
    peer_world_send(&w->caller, pli, sizeof pli);
    peer_world_send_rtp(&w->caller, CALLER_SSRC, 2);
    peer_world_until(w, w->phone.count == 1);
    peer_world_settle(w, 50);
    assert_int_equal(w->phone.count, 1); /* the RTP packet has its index from its sender */
    assert_false(w->phone.got[0].rtcp);
    assert_int_equal(media_kept(w->media, w->id, &w->near_state), 0);
    assert_int_equal(media_kept(w->media, w->id, &w->far_state), 0);
    peer_world_sync(w);
    both_ways(w, 3, 3);
    peer_world_free(w);
}

/* The crash comes between the two: the call's state is from before its near leg was. */
static void the_state_of_the_near_leg_is_enough(void **state) {
    (void)state;
    for (size_t i = 0; i < MODES; i++) {
        struct peer_world *w = ringing();
        told(w);
        struct media_call_state before = w->call_state;
        peer_world_hand_over(w, modes[i]);
        bool taken = w->call_state.keys_taken;
        w->call_state = before;
        peer_world_crash(w, &config);
        if (taken) /* the gateway says so, or the phone again */
            assert_int_equal(media_keys_taken(w->media, w->id), 0);
        peer_world_gate(w);
        peer_world_settle(w, 50);
        both_ways(w, 1, 1);
        peer_world_free(w);
    }
}

/* A state is lost on its way to the disk, or the word that it is there. */
static void what_was_not_granted_is_asked_for_again(void **state) {
    static const uint8_t pli[] = {0x81, 206, 0, 2, 1, 2, 3, 4, 9, 9, 9, 9};
    struct peer_world *w = talking(MEDIA_MODE_SDES);
    (void)state;
    w->keeps = false;
    peer_world_crash(w, &config);
    told(w);
    w->keeps = true;
    w->phone.count = 0;
    for (unsigned i = 0; i < 100 && w->phone.count == 0; i++) {
        peer_world_send(&w->caller, pli, sizeof pli);
        peer_world_settle(w, 100);
    }
    assert_int_not_equal(w->phone.count, 0);
    peer_world_free(w);
}

/* The state of a phone that waited is what is left, though it was chosen and SRTCP went to it; and it speaks before it
 * is chosen again. */
static void a_phone_that_waited_gets_no_index_twice(void **state) {
    struct peer_world *w = ringing();
    (void)state;
    w->waits = true;
    peer_world_hand_over(w, MEDIA_MODE_SEALED);
    struct media_leg_state near = w->near_state;
    struct media_call_state call = w->call_state;
    assert_true(near.waits);
    assert_int_equal(media_near_choose(w->media, w->id, 0), 0);
    peer_world_gate(w);
    both_ways(w, 1, 1);
    w->near_state = near;
    w->call_state = call;
    peer_world_crash(w, &config);
    peer_world_send_rtp(&w->phone, PHONE_SSRC, 2);
    peer_world_settle(w, 50);
    assert_int_equal(media_near_choose(w->media, w->id, 0), 0);
    peer_world_gate(w);
    peer_world_settle(w, 30);
    both_ways(w, 3, 3);
    peer_world_free(w);
}

/* What a phone sends before the answer is counted by its context already. */
static void a_roll_over_before_the_answer_is_followed_by_another(void **state) {
    struct peer_world *w = ringing();
    (void)state;
    peer_world_hand_over(w, MEDIA_MODE_SEALED);
    for (uint16_t seq = 65530; seq != 5; seq++)
        peer_world_send_rtp(&w->phone, PHONE_SSRC, seq);
    peer_world_settle(w, 50);
    peer_world_gate(w);
    run_over(w, 3, 1, 10);
    peer_world_free(w);
}

static void application_data_and_the_end_are_understood(void **state) {
    struct peer_world *w = talking(MEDIA_MODE_SDES);
    (void)state;
    assert_int_equal(media_data(w->media, w->id, (const uint8_t *)"before", 6), 0);
    peer_world_until(w, strcmp(w->caller.data, "before") == 0);
    peer_world_crash(w, &config);
    peer_world_settle(w, 30);
    assert_int_equal(media_data(w->media, w->id, (const uint8_t *)"after", 5), 0);
    peer_world_until(w, strcmp(w->caller.data, "after") == 0);
    assert_int_equal(peer_endpoint_send_data(w->caller.e, (const uint8_t *)"back", 4), 0);
    peer_world_until(w, w->seen[MEDIA_EV_DATA]);
    assert_int_equal(media_close(w->media, w->id), 0);
    peer_world_until(w, w->caller.closed);
    peer_world_free(w);
}

static void the_caller_may_hang_up_by_dtls(void **state) {
    struct peer_world *w = talking(MEDIA_MODE_DTLS);
    (void)state;
    peer_world_crash(w, &config);
    w->caller.e = peer_endpoint_free(w->caller.e);
    peer_world_until(w, w->seen[MEDIA_EV_PEER_CLOSED]);
    peer_world_free(w);
}

static void keys_that_may_not_have_come_are_told_again(void **state) {
    struct peer_world *w = ringing();
    struct media_near near = {.mode = MEDIA_MODE_TRANSFER};
    struct media_keys told_keys;
    (void)state;
    ice_lite_init(&near.ice);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    peer_world_until(w, w->seen[MEDIA_EV_KEYS]);
    told_keys = w->keys.u.keys.keys;
    peer_world_sync(w);
    peer_world_crash(w, &config);
    peer_world_until(w, w->seen[MEDIA_EV_KEYS]);
    assert_memory_equal(&w->keys.u.keys.keys, &told_keys, sizeof told_keys);
    assert_int_equal(media_keys_taken(w->media, w->id), 0);
    peer_world_sync(w);
    assert_int_equal(w->far_state.keys.profile, MEDIA_PROFILE_NONE);
    assert_int_equal(w->far_state.dtls.record.cipher, 0);
    peer_world_crash(w, &config);
    peer_world_settle(w, 50);
    assert_false(w->seen[MEDIA_EV_KEYS]);
    peer_world_free(w);
}

/* Of the phone that was told them nothing is left. */
static void keys_that_a_phone_was_told_go_to_no_other_one(void **state) {
    struct peer_world *w = ringing();
    struct media_near near = {.mode = MEDIA_MODE_TRANSFER};
    (void)state;
    ice_lite_init(&near.ice);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    peer_world_until(w, w->call_state.keys_told);
    w->near_state.near = false;
    peer_world_crash(w, &config);
    near.mode = MEDIA_MODE_SDES;
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    peer_world_until(w, w->seen[MEDIA_EV_FAILED]);
    assert_int_equal(w->failed_err, E_STATE);
    peer_world_free(w);
}

/* With the identity that the answer told, and the same ICE credentials. */
static void a_handshake_that_has_not_begun_begins_afterwards(void **state) {
    static const struct media_far far = {.ringback = false};
    struct peer_world *w = peer_world_new(&config);
    (void)state;
    w->keeps = true;
    peer_world_open(w, &far);
    struct peer_endpoint *still = w->caller.e;
    w->caller.e = NULL;
    peer_world_until(w, w->far_state.ice.ufrag[0]);
    peer_world_crash(w, &config);
    w->caller.e = still;
    peer_world_until(w, w->caller.keys && w->seen[MEDIA_EV_FAR_DTLS]);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_gate(w);
    peer_world_settle(w, 30);
    both_ways(w, 1, 1);
    peer_world_free(w);
}

static void a_path_that_moved_is_known(void **state) {
    struct peer_world *w = talking(MEDIA_MODE_SDES);
    (void)state;
    w->caller.path = false;
    assert_int_equal(peer_endpoint_move(w->caller.e), 0);
    peer_world_until(w, w->caller.path);
    peer_world_settle(w, 50);
    peer_world_crash(w, &config);
    struct addr at = peer_endpoint_local(w->caller.e);
    assert_true(addr_eq(&w->far_state.ice.selected, &at));
    both_ways(w, 1, 1);
    peer_world_free(w);
}

static void a_port_or_an_identity_that_is_gone_is_named(void **state) {
    struct peer_world *w = ringing();
    struct err_text et = {""};
    struct media_resume r = {.port = 1, .fingerprint = "sha-256 00", .call = w->call_state, .far = w->far_state};
    media_id id;
    (void)state;
    assert_int_equal(media_resume(w->media, &r, &id, &et), E_NOTFOUND);
    assert_non_null(strstr(et.s, "port 1 "));
    r.port = media_port(w->media, 0);
    assert_int_equal(media_resume(w->media, &r, &id, &et), E_NOTFOUND);
    assert_non_null(strstr(et.s, "identity"));
    peer_world_free(w);
}

/* A stream that was one too many may have had any counter. */
static void a_stream_that_could_not_be_followed_does_not_go_on(void **state) {
    struct peer_world *w = talking(MEDIA_MODE_SDES);
    (void)state;
    for (uint32_t ssrc = 1; ssrc <= RTP_STREAMS_MAX + 1; ssrc++)
        peer_world_send_rtp(&w->caller, ssrc, 1);
    peer_world_until(w, w->phone.count == RTP_STREAMS_MAX + 1);
    told(w);
    peer_world_crash(w, &config);
    peer_world_settle(w, 30);
    w->phone.count = 0;
    for (uint32_t ssrc = RTP_STREAMS_MAX + 1; ssrc > 0; ssrc--)
        peer_world_send_rtp(&w->caller, ssrc, 2);
    peer_world_until(w, w->phone.count == RTP_STREAMS_MAX);
    peer_world_settle(w, 30);
    assert_int_equal(w->phone.count, RTP_STREAMS_MAX);
    peer_world_free(w);
}

static void without_keep_nothing_is_told(void **state) {
    static const struct media_far far = {.ringback = false};
    struct media_config cfg = config;
    (void)state;
    cfg.keep = false;
    struct peer_world *w = peer_world_new(&cfg);
    peer_world_call(w, &far);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_gate(w);
    both_ways(w, 1, 1);
    assert_int_equal(w->states, 0);
    peer_world_free(w);
}

/* A caller whose numbers jump makes no state of every packet. */
static void states_are_told_at_a_bounded_rate(void **state) {
    struct peer_world *w = ringing();
    (void)state;
    peer_world_settle(w, 50);
    unsigned before = w->states;
    for (unsigned i = 0; i < 200; i++)
        peer_world_send_rtp(&w->caller, CALLER_SSRC, (uint16_t)(i * 0x5000));
    peer_world_settle(w, 300);
    assert_in_range(w->states - before, 1, 6);
    peer_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_every_mode_packets_flow_again),
        cmocka_unit_test(roll_over_counters_go_on),
        cmocka_unit_test(a_roll_over_while_nobody_was_there_is_counted),
        cmocka_unit_test(counters_of_both_sides_may_differ),
        cmocka_unit_test(a_counter_that_was_only_seen_is_kept),
        cmocka_unit_test(nothing_is_sent_that_was_not_reserved),
        cmocka_unit_test(the_state_of_the_near_leg_is_enough),
        cmocka_unit_test(what_was_not_granted_is_asked_for_again),
        cmocka_unit_test(keys_that_a_phone_was_told_go_to_no_other_one),
        cmocka_unit_test(a_phone_that_waited_gets_no_index_twice),
        cmocka_unit_test(a_roll_over_before_the_answer_is_followed_by_another),
        cmocka_unit_test(application_data_and_the_end_are_understood),
        cmocka_unit_test(the_caller_may_hang_up_by_dtls),
        cmocka_unit_test(keys_that_may_not_have_come_are_told_again),
        cmocka_unit_test(a_handshake_that_has_not_begun_begins_afterwards),
        cmocka_unit_test(a_path_that_moved_is_known),
        cmocka_unit_test(a_port_or_an_identity_that_is_gone_is_named),
        cmocka_unit_test(a_stream_that_could_not_be_followed_does_not_go_on),
        cmocka_unit_test(without_keep_nothing_is_told),
        cmocka_unit_test(states_are_told_at_a_bounded_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
