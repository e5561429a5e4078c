/* SPDX-License-Identifier: Apache-2.0 */
/* The ringback tone, as a caller gets it. */
#include "base/err.h"
#include "dtls/rtp.h"
#include "tests/peers/peer_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#define FRAMES 4 /* a short file: it begins again after 80 ms */
#define PT     0

static struct ringback *tone;

/* WAV with mu-law in which each frame has its number in every sample. */
static int make_tone(void **state) {
    static const uint8_t head[] = {'R', 'I', 'F', 'F', 0, 0, 0,   0,   'W', 'A',  'V',  'E',  'f', 'm',  't',
                                   ' ', 16,  0,   0,   0, 7, 0,   1,   0,   0x40, 0x1f, 0,    0,   0x40, 0x1f,
                                   0,   0,   1,   0,   8, 0, 'd', 'a', 't', 'a',  0x80, 0x02, 0,   0};
    uint8_t file[sizeof head + FRAMES * 160UL];
    (void)state;
    memcpy(file, head, sizeof head);
    for (unsigned i = 0; i < FRAMES; i++)
        memset(file + sizeof head + (size_t)i * 160, (int)i, 160);
    return ringback_parse(&tone, file, sizeof file, NULL);
}

static int drop_tone(void **state) {
    (void)state;
    tone = ringback_free(tone);
    return 0;
}

static int setup(void **state) {
    struct media_config cfg = {.address = "127.0.0.1", .workers = 1, .calls_max = 8, .hold_ms = 500, .ringback = tone};
    *state = peer_world_new(&cfg);
    return 0;
}

static int teardown(void **state) {
    *state = peer_world_free(*state);
    return 0;
}

static const struct media_far rings = {.ringback = true, .ringback_pt = PT}, quiet = {.ringback = false};

static uint32_t ts_of(const struct peer_packet *k) {
    return (uint32_t)k->p[4] << 24 | (uint32_t)k->p[5] << 16 | (uint32_t)k->p[6] << 8 | k->p[7];
}

static uint64_t ringback_pkts(const struct peer_world *w) {
    struct media_totals t;
    media_totals(w->media, &t);
    return t.ringback_pkts;
}

/* Nothing more comes. */
static void is_over(struct peer_world *w) {
    peer_world_settle(w, 40); /* what is on its way */
    unsigned count = w->caller.count;
    uint64_t sent = ringback_pkts(w);
    peer_world_settle(w, 100);
    assert_int_equal(w->caller.count, count);
    assert_int_equal(ringback_pkts(w), sent);
}

static void a_ringing_caller_gets_one_stream_in_a_loop(void **state) {
    struct peer_world *w = *state;
    peer_world_call(w, &rings);
    peer_world_until(w, w->caller.count >= 20);
    assert_true(w->seen[MEDIA_EV_RINGBACK]);
    const struct peer_packet *first = &w->caller.got[0];
    for (unsigned i = 0; i < 20; i++) {
        const struct peer_packet *k = &w->caller.got[i];
        assert_int_equal(k->len, 12 + 160);
        assert_int_equal(k->p[0], 0x80);
        assert_int_equal(k->p[1], PT | (i == 0 ? 0x80 : 0)); /* the marker, once */
        assert_int_equal(rtp_ssrc(k->p), rtp_ssrc(first->p));
        assert_int_equal(rtp_seq(k->p), rtp_seq(first->p) + i);
        assert_int_equal(k->p[12], i % FRAMES);
        assert_int_equal(k->p[171], i % FRAMES);
    }
}

/* Whatever the machine does meanwhile: timestamps are those of the time that passed, and no packet is early. */
static void packets_are_paced_at_20_ms(void **state) {
    struct peer_world *w = *state;
    uint64_t began_ms = clock_mono_ms();
    peer_world_call(w, &rings);
    peer_world_until(w, w->caller.count >= 50);
    const struct peer_packet *first = &w->caller.got[0], *last = &w->caller.got[49];
    uint32_t ts_ms = (ts_of(last) - ts_of(first)) / 8;
    assert_true(ts_ms >= 49 * RINGBACK_FRAME_MS);
    assert_true(last->at_ms - began_ms >= ts_ms);
    assert_true(last->at_ms - first->at_ms < ts_ms + 1000);
    for (unsigned i = 1; i < 50; i++)
        assert_true(ts_of(&w->caller.got[i]) - ts_of(&w->caller.got[i - 1]) >= 160);
}

static void it_ends_at_the_answer_and_the_phone_has_an_ssrc_of_its_own(void **state) {
    struct peer_world *w = *state;
    peer_world_call(w, &rings);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_until(w, w->caller.count >= 3);
    uint32_t ssrc = rtp_ssrc(w->caller.got[0].p);
    peer_world_gate(w);
    is_over(w);
    unsigned before = w->caller.count;
    for (uint16_t seq = 1; seq <= 5; seq++)
        peer_world_send_rtp(&w->phone, ssrc + 1, seq);
    peer_world_until(w, w->caller.count == before + 5);
    assert_int_equal(rtp_ssrc(w->caller.got[before].p), ssrc + 1);
    assert_int_equal(rtp_seq(w->caller.got[before].p), 1);
    peer_world_sync(w);
    assert_int_equal(w->last_stats.u.stats.far_tx_pkts, 5); /* the tone is no media of the call */
}

static void the_phone_cannot_write_with_the_ssrc_of_the_tone(void **state) {
    struct peer_world *w = *state;
    peer_world_call(w, &rings);
    peer_world_hand_over(w, MEDIA_MODE_SDES);
    peer_world_until(w, w->caller.count >= 3);
    uint32_t ssrc = rtp_ssrc(w->caller.got[0].p);
    peer_world_gate(w);
    is_over(w);
    unsigned before = w->caller.count;
    peer_world_send_rtp(&w->phone, ssrc, 40000);
    peer_world_send_rtp(&w->phone, ssrc + 1, 1);
    peer_world_until(w, w->caller.count > before);
    peer_world_settle(w, 30);
    assert_int_equal(w->caller.count, before + 1);
    assert_int_equal(rtp_ssrc(w->caller.got[before].p), ssrc + 1);
}

static void the_keys_that_wrote_a_tone_go_to_no_phone(void **state) {
    struct peer_world *w = *state;
    struct media_near near = {.mode = MEDIA_MODE_TRANSFER};
    peer_world_call(w, &rings);
    peer_world_until(w, w->caller.count >= 2);
    ice_lite_init(&near.ice);
    media_near_open(w->media, w->id, &near);
    peer_world_until(w, w->seen[MEDIA_EV_FAILED]);
    assert_int_equal(w->failed_err, E_STATE);
    assert_false(w->seen[MEDIA_EV_KEYS]);
    is_over(w);
}

/* The near leg is there before the caller's handshake is done: then nothing may be written at all. */
static void keys_that_will_go_to_a_phone_write_no_tone(void **state) {
    struct peer_world *w = *state;
    struct media_near near = {.mode = MEDIA_MODE_TRANSFER};
    ice_lite_init(&near.ice);
    peer_world_open(w, &rings);
    assert_int_equal(media_near_open(w->media, w->id, &near), 0);
    peer_world_until(w, w->seen[MEDIA_EV_KEYS]);
    is_over(w);
    assert_int_equal(ringback_pkts(w), 0);
}

static void a_call_that_does_not_want_it_has_none(void **state) {
    struct peer_world *w = *state;
    peer_world_call(w, &quiet);
    is_over(w);
    assert_int_equal(ringback_pkts(w), 0);
}

static void it_ends_with_the_call(void **state) {
    struct peer_world *w = *state;
    peer_world_call(w, &rings);
    peer_world_until(w, w->caller.count >= 2);
    media_close(w->media, w->id);
    peer_world_until(w, w->seen[MEDIA_EV_CLOSED]);
    is_over(w);
}

#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        test(a_ringing_caller_gets_one_stream_in_a_loop),
        test(packets_are_paced_at_20_ms),
        test(it_ends_at_the_answer_and_the_phone_has_an_ssrc_of_its_own),
        test(the_phone_cannot_write_with_the_ssrc_of_the_tone),
        test(the_keys_that_wrote_a_tone_go_to_no_phone),
        test(keys_that_will_go_to_a_phone_write_no_tone),
        test(a_call_that_does_not_want_it_has_none),
        test(it_ends_with_the_call),
    };
    return cmocka_run_group_tests(tests, make_tone, drop_tone);
}
