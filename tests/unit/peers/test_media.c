/* SPDX-License-Identifier: Apache-2.0 */
/* Handing over in each mode, what is discarded and what is held, and ends. */
#include "tests/unit/peers/media_fixture.h"

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
        test(what_comes_before_the_gate_is_discarded),
        test(media_is_held_until_the_phone_is_there_and_then_comes_in_order),
        test(a_wrong_fingerprint_ends_the_handshake),
        test(the_callers_close_notify_is_told),
        test(the_callers_end_is_noticed_after_a_transfer),
        test(closing_tells_the_caller),
        test(packets_from_unknown_addresses_are_counted_and_dropped),
        test(a_new_identity_is_for_new_calls),
        test(dtls_records_of_any_shape_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
