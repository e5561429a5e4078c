/* SPDX-License-Identifier: Apache-2.0 */
/* What goes through the relay comes out as it went in, in every mode; and what waits for the phone's path after the
 * answer. */
#include "dtls/rtp.h"
#include "tests/peers/peer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define SSRC          0x01020304U
#define HELD_PKTS_MAX 64 /* HOLD_PKTS_MAX of dtls/media_call_priv.h */

static const enum media_mode modes[] = {MEDIA_MODE_TRANSFER, MEDIA_MODE_SDES, MEDIA_MODE_SEALED, MEDIA_MODE_DTLS};
#define MODES (sizeof modes / sizeof *modes)

static struct peer_world *ringing(unsigned hold_ms) {
    static const struct media_far plain = {.ringback = false};
    struct media_config cfg = {.address = "127.0.0.1", .workers = 1, .calls_max = 8, .hold_ms = hold_ms};
    struct peer_world *w = peer_world_new(&cfg);
    peer_world_call(w, &plain);
    return w;
}

static struct peer_world *talking(enum media_mode mode) {
    struct peer_world *w = ringing(500);
    peer_world_hand_over(w, mode);
    peer_world_gate(w);
    return w;
}

static const struct media_call_stats *stats(struct peer_world *w) {
    peer_world_sync(w);
    return &w->last_stats.u.stats;
}

/* So many packets of the caller were looked at, before whatever command comes next. */
static void arrived(struct peer_world *w, unsigned count) {
    peer_world_until(w, stats(w)->far_rx_pkts == count);
}

struct sample {
    const char *name;
    size_t len;
    uint8_t p[64];
};

/* RFC 3550, RFC 4585, RFC 8285, and what browsers send beyond them. */
static const struct sample samples[] = {
    {"RTP with a one-byte header extension, CSRCs and the marker",
     12 + 8 + 12 + 6,
     {0x92, 0xef, 0x12, 0x34, 0xff, 0xff, 0xff, 0xf0, 1, 2, 3, 4, 9, 9,   9,   9,   8,   8,   8,
      8,    0xbe, 0xde, 0,    2,    0x10, 0xaa, 0x51, 1, 2, 0, 0, 0, 'm', 'e', 'd', 'i', 'a', '!'}},
    {"RTP with a two-byte header extension and padding", 12 + 8 + 8, {0xb0, 0x6f, 0x12, 0x35, 0, 0, 0, 16, 1,    2,
                                                                      3,    4,    0x10, 0,    0, 1, 4, 2,  0xcc, 0xdd,
                                                                      'm',  'e',  'd',  'i',  0, 0, 0, 4}},
    {"RTP without payload", 12, {0x80, 0x60, 0x12, 0x36, 0, 0, 0, 32, 1, 2, 3, 4}},
    {"sender report and source description", 28 + 12, {0x80, 200, 0, 6, 1, 2,  3, 4, 0xe0, 1, 2,   3, 4, 5,
                                                       6,    7,   0, 0, 0, 99, 0, 0, 0,    7, 0,   0, 4, 0,
                                                       0x81, 202, 0, 2, 1, 2,  3, 4, 1,    1, 'c', 0}},
    {"receiver report", 32, {0x81, 201, 0,    7,    5, 6, 7, 8, 1, 2, 3, 4, 12, 0, 0, 34,
                             0,    0,   0x12, 0x34, 0, 0, 0, 9, 1, 2, 3, 4, 0,  1, 0, 0}},
    {"generic NACK", 16, {0x81, 205, 0, 3, 5, 6, 7, 8, 1, 2, 3, 4, 0x12, 0x30, 0, 3}},
    {"picture loss indication", 12, {0x81, 206, 0, 2, 5, 6, 7, 8, 1, 2, 3, 4}},
    {"transport-wide feedback", 24, {0x8f, 205, 0, 5, 5, 6, 7, 8, 1, 2, 3, 4, 0, 1, 0, 2, 0, 0, 1, 0, 0x20, 2, 4, 4}},
    {"goodbye", 8, {0x81, 203, 0, 1, 1, 2, 3, 4}},
};
#define SAMPLES (sizeof samples / sizeof *samples)

static void pass(struct peer_world *w, struct peer_end *from, struct peer_end *to) {
    to->count = 0;
    for (size_t i = 0; i < SAMPLES; i++)
        peer_world_send(from, samples[i].p, samples[i].len);
    peer_world_until(w, to->count == SAMPLES);
    for (size_t i = 0; i < SAMPLES; i++) {
        if (to->got[i].len != samples[i].len || memcmp(to->got[i].p, samples[i].p, samples[i].len) != 0)
            fail_msg("not as it was sent: %s", samples[i].name);
        assert_int_equal(to->got[i].rtcp, rtp_is_rtcp(samples[i].p, samples[i].len));
    }
}

static void every_byte_of_rtp_and_rtcp_passes_in_every_mode_both_ways(void **state) {
    (void)state;
    for (size_t i = 0; i < MODES; i++) {
        struct peer_world *w = talking(modes[i]);
        pass(w, &w->caller, &w->phone);
        pass(w, &w->phone, &w->caller);
        peer_world_free(w);
    }
}

/* The near leg is there while the call rings, and what the caller sends meanwhile is discarded, yet followed. */
static void a_roll_over_between_the_handoff_and_the_answer_loses_nothing(void **state) {
    static const enum media_mode again[] = {MEDIA_MODE_SDES, MEDIA_MODE_DTLS};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct peer_world *w = ringing(500);
        unsigned sent = 0;
        peer_world_send_rtp(&w->caller, SSRC, 65000);
        arrived(w, ++sent);
        peer_world_hand_over(w, again[i]);
        for (uint32_t seq = 65010; seq < 65536 + 100; seq += 10) {
            peer_world_send_rtp(&w->caller, SSRC, (uint16_t)seq);
            sent++;
            peer_world_step(w);
        }
        arrived(w, sent);
        peer_world_gate(w);
        for (uint16_t seq = 101; seq <= 110; seq++)
            peer_world_send_rtp(&w->caller, SSRC, seq);
        peer_world_until(w, w->phone.count == 10);
        assert_int_equal(rtp_seq(w->phone.got[9].p), 110);
        peer_world_free(w);
    }
}

/* Holding */

static void send_range(struct peer_world *w, uint16_t first, uint16_t last) {
    for (uint16_t seq = first; seq <= last; seq++) {
        peer_world_send_rtp(&w->caller, SSRC, seq);
        peer_world_step(w);
    }
}

static void got_range(const struct peer_end *end, uint16_t first, uint16_t last) {
    assert_int_equal(end->count, last - first + 1);
    for (unsigned i = 0; i < end->count; i++)
        assert_int_equal(rtp_seq(end->got[i].p), first + i);
}

static void what_waited_comes_in_order_and_before_what_follows(void **state) {
    (void)state;
    for (size_t i = 0; i < MODES; i++) {
        struct media_totals t;
        struct peer_world *w = ringing(8000);
        peer_world_gate(w);
        send_range(w, 1, 15);
        peer_world_send(&w->caller, samples[3].p, samples[3].len); /* a sender report among them */
        send_range(w, 16, 30);
        arrived(w, 31);
        peer_world_hand_over(w, modes[i]);
        send_range(w, 31, 40);
        peer_world_until(w, w->phone.count == 41);
        assert_true(w->phone.got[15].rtcp);
        for (unsigned k = 0; k < 41; k++)
            if (k != 15)
                assert_int_equal(rtp_seq(w->phone.got[k].p), k < 15 ? k + 1 : k);
        assert_int_equal(stats(w)->dropped_pkts, 0);
        media_totals(w->media, &t);
        assert_in_range(t.held_pkts, 31, 41); /* the last ten may have been late or not */
        peer_world_free(w);
    }
}

static void of_too_many_the_latest_are_kept(void **state) {
    struct peer_world *w = ringing(20000);
    (void)state;
    peer_world_gate(w);
    send_range(w, 1, 100);
    arrived(w, 100);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_until(w, w->phone.count == HELD_PKTS_MAX);
    got_range(&w->phone, 100 - HELD_PKTS_MAX + 1, 100);
    assert_int_equal(stats(w)->dropped_pkts, 100 - HELD_PKTS_MAX);
    peer_world_free(w);
}

static void what_is_older_than_hold_ms_is_dropped(void **state) {
    struct peer_world *w = ringing(1500);
    (void)state;
    peer_world_gate(w);
    send_range(w, 1, 10);
    peer_world_settle(w, 1600);
    send_range(w, 11, 20);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_until(w, w->phone.count >= 10);
    got_range(&w->phone, 11, 20);
    assert_int_equal(stats(w)->dropped_pkts, 10);
    peer_world_free(w);
}

static void a_phone_that_comes_too_late_gets_nothing_old(void **state) {
    struct peer_world *w = ringing(300);
    (void)state;
    peer_world_gate(w);
    send_range(w, 1, 10);
    peer_world_settle(w, 400);
    peer_world_hand_over(w, MEDIA_MODE_TRANSFER);
    peer_world_settle(w, 50);
    assert_int_equal(w->phone.count, 0);
    assert_int_equal(stats(w)->dropped_pkts, 10);
    send_range(w, 11, 12);
    peer_world_until(w, w->phone.count == 2);
    got_range(&w->phone, 11, 12);
    peer_world_free(w);
}

static void with_hold_ms_0_nothing_waits(void **state) {
    struct media_totals t;
    struct peer_world *w = ringing(0);
    (void)state;
    peer_world_gate(w);
    send_range(w, 1, 10);
    arrived(w, 10);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_settle(w, 50);
    assert_int_equal(w->phone.count, 0);
    assert_int_equal(stats(w)->dropped_pkts, 10);
    media_totals(w->media, &t);
    assert_int_equal(t.held_pkts, 0);
    peer_world_free(w);
}

static void before_the_answer_nothing_is_held(void **state) {
    struct media_totals t;
    struct peer_world *w = ringing(20000);
    (void)state;
    send_range(w, 1, 10);
    arrived(w, 10);
    peer_world_gate(w);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_settle(w, 50);
    assert_int_equal(w->phone.count, 0);
    assert_int_equal(stats(w)->discarded_pkts, 10);
    media_totals(w->media, &t);
    assert_int_equal(t.held_pkts, 0);
    peer_world_free(w);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_byte_of_rtp_and_rtcp_passes_in_every_mode_both_ways),
        cmocka_unit_test(a_roll_over_between_the_handoff_and_the_answer_loses_nothing),
        cmocka_unit_test(what_waited_comes_in_order_and_before_what_follows),
        cmocka_unit_test(of_too_many_the_latest_are_kept),
        cmocka_unit_test(what_is_older_than_hold_ms_is_dropped),
        cmocka_unit_test(a_phone_that_comes_too_late_gets_nothing_old),
        cmocka_unit_test(with_hold_ms_0_nothing_waits),
        cmocka_unit_test(before_the_answer_nothing_is_held),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
