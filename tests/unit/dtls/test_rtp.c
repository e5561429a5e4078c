/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/rtp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SSRC 0xcafebabeU

static void assert_at(const struct rtp_streams *t, uint32_t roc, uint16_t seq) {
    assert_int_equal(t->count, 1);
    assert_int_equal(t->s[0].ssrc, SSRC);
    assert_int_equal(t->s[0].roc, roc);
    assert_int_equal(t->s[0].seq, seq);
}

static void the_first_byte_and_the_length_decide_what_is_rtp(void **state) {
    uint8_t p[12] = {0};
    (void)state;
    for (int first = 0; first < 256; first++) {
        p[0] = (uint8_t)first;
        assert_int_equal(rtp_is_rtp_or_rtcp(p, sizeof p), first >= 128 && first <= 191);
    }
    p[0] = 0x80;
    assert_false(rtp_is_rtp_or_rtcp(p, 11));
    p[1] = 200; /* RTCP's header is shorter */
    assert_true(rtp_is_rtp_or_rtcp(p, 8));
    assert_false(rtp_is_rtp_or_rtcp(p, 7));
}

/* RFC 5761 4. */
static void the_packet_type_tells_rtcp_from_rtp(void **state) {
    uint8_t p[12] = {0x80};
    (void)state;
    for (int second = 0; second < 256; second++) {
        p[1] = (uint8_t)second;
        assert_int_equal(rtp_is_rtcp(p, sizeof p), second >= 192 && second <= 223);
    }
}

static void ssrc_and_sequence_number_are_in_network_order(void **state) {
    const uint8_t p[12] = {0x80, 0, 0x12, 0x34, 0, 0, 0, 0, 0xca, 0xfe, 0xba, 0xbe};
    (void)state;
    assert_int_equal(rtp_ssrc(p), SSRC);
    assert_int_equal(rtp_seq(p), 0x1234);
}

static void the_counter_begins_at_zero_whatever_the_first_number_is(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, SSRC, 65535);
    assert_at(&t, 0, 65535);
}

static void passing_zero_counts_one_roll_over(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, SSRC, 65534);
    rtp_streams_note(&t, SSRC, 65535);
    rtp_streams_note(&t, SSRC, 0);
    assert_at(&t, 1, 0);
    rtp_streams_note(&t, SSRC, 1);
    assert_at(&t, 1, 1);
}

static void losses_at_the_roll_over_are_passed(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, SSRC, 65500);
    rtp_streams_note(&t, SSRC, 100);
    assert_at(&t, 1, 100);
}

static void a_late_packet_changes_nothing(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, SSRC, 1000);
    rtp_streams_note(&t, SSRC, 990);
    assert_at(&t, 0, 1000);
}

static void a_late_packet_from_before_the_roll_over_changes_nothing(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, SSRC, 65535);
    rtp_streams_note(&t, SSRC, 2);
    rtp_streams_note(&t, SSRC, 65535);
    assert_at(&t, 1, 2);
    rtp_streams_note(&t, SSRC, 3);
    assert_at(&t, 1, 3);
}

static void a_duplicate_changes_nothing(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, SSRC, 5);
    rtp_streams_note(&t, SSRC, 5);
    assert_at(&t, 0, 5);
}

static void a_long_stream_counts_every_round(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    for (uint32_t i = 0; i < 5U * 65536U; i++)
        rtp_streams_note(&t, SSRC, (uint16_t)i);
    assert_at(&t, 4, 65535);
}

static void each_ssrc_has_its_own_counter(void **state) {
    struct rtp_streams t = {0};
    (void)state;
    rtp_streams_note(&t, 1, 65535);
    rtp_streams_note(&t, 2, 10);
    rtp_streams_note(&t, 1, 0);
    assert_int_equal(t.count, 2);
    assert_int_equal(t.s[0].roc, 1);
    assert_int_equal(t.s[1].roc, 0);
    assert_int_equal(t.s[1].seq, 10);
}

static void a_seventeenth_ssrc_is_not_followed(void **state) {
    struct {
        struct rtp_streams t;
        uint8_t behind[64];
    } s, before;
    (void)state;
    memset(&s, 0, sizeof s);
    for (uint32_t ssrc = 1; ssrc <= RTP_STREAMS_MAX; ssrc++)
        rtp_streams_note(&s.t, ssrc, 1);
    before = s;
    rtp_streams_note(&s.t, RTP_STREAMS_MAX + 1, 1);
    assert_memory_equal(&s, &before, sizeof s);
    rtp_streams_note(&s.t, RTP_STREAMS_MAX, 2);
    assert_int_equal(s.t.s[RTP_STREAMS_MAX - 1].seq, 2);
}

static void a_packets_counter_follows_from_a_near_one(void **state) {
    const struct rtp_stream s = {SSRC, 5, 100}, first = {SSRC, 0, 100}, late = {SSRC, 5, 65000};
    (void)state;
    assert_int_equal(rtp_stream_roc(&s, 100), 5);
    assert_int_equal(rtp_stream_roc(&s, 100 + 0x7fff), 5);
    assert_int_equal(rtp_stream_roc(&s, 99), 5);
    assert_int_equal(rtp_stream_roc(&s, 65535), 4);
    assert_int_equal(rtp_stream_roc(&first, 65535), 0); /* before the first round there is none */
    assert_int_equal(rtp_stream_roc(&late, 3), 6);
    assert_int_equal(rtp_stream_roc(&late, 64000), 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_byte_and_the_length_decide_what_is_rtp),
        cmocka_unit_test(the_packet_type_tells_rtcp_from_rtp),
        cmocka_unit_test(ssrc_and_sequence_number_are_in_network_order),
        cmocka_unit_test(the_counter_begins_at_zero_whatever_the_first_number_is),
        cmocka_unit_test(passing_zero_counts_one_roll_over),
        cmocka_unit_test(losses_at_the_roll_over_are_passed),
        cmocka_unit_test(a_late_packet_changes_nothing),
        cmocka_unit_test(a_late_packet_from_before_the_roll_over_changes_nothing),
        cmocka_unit_test(a_duplicate_changes_nothing),
        cmocka_unit_test(a_long_stream_counts_every_round),
        cmocka_unit_test(each_ssrc_has_its_own_counter),
        cmocka_unit_test(a_seventeenth_ssrc_is_not_followed),
        cmocka_unit_test(a_packets_counter_follows_from_a_near_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
