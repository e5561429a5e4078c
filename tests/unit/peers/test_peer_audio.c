/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "tests/peers/peer_audio.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define SECOND_PKTS (1000 / PEER_AUDIO_PTIME_MS)

/* What the meter names after a second of a tone, of which every `lose`th packet is lost (0: none). */
static double heard(enum peer_codec codec, double hz, unsigned lose) {
    struct peer_tone *t;
    struct peer_meter *m;
    uint8_t packet[PEER_AUDIO_PACKET_BYTES];
    assert_int_equal(peer_tone_new(&t, codec, 96, hz), 0);
    assert_int_equal(peer_meter_new(&m), 0);
    for (unsigned i = 1; i <= SECOND_PKTS; i++) {
        size_t len = peer_tone_packet(t, packet);
        assert_true(len > 12 && len + 32 <= sizeof packet);
        if (lose == 0 || i % lose != 0)
            peer_meter_packet(m, codec, packet, len);
    }
    double hz_heard = peer_meter_hz(m);
    peer_tone_free(t);
    peer_meter_free(m);
    return hz_heard;
}

static void every_tone_is_named_to_the_nearest_5_hz(enum peer_codec codec) {
    static const double tones[] = {60, 105, 440, 442.4, 443, 880, 1000, 2222, 3401};
    for (size_t i = 0; i < sizeof tones / sizeof *tones; i++)
        assert_true(fabs(heard(codec, tones[i], 0) - tones[i]) <= 5);
}

static void a_pcmu_tone_is_named(void **state) {
    (void)state;
    every_tone_is_named_to_the_nearest_5_hz(PEER_CODEC_PCMU);
}

static void an_opus_tone_is_named(void **state) {
    (void)state;
    every_tone_is_named_to_the_nearest_5_hz(PEER_CODEC_OPUS);
}

static void lost_packets_leave_the_tone_recognisable(void **state) {
    (void)state;
    assert_true(peer_tone_is(heard(PEER_CODEC_PCMU, 440, 10), 440));
    assert_true(peer_tone_is(heard(PEER_CODEC_PCMU, 885, 7), 885));
}

static void feed(struct peer_meter *m, void (*fill)(uint8_t *p, size_t len)) {
    uint8_t packet[12 + 160] = {0x80};
    for (unsigned i = 0; i < SECOND_PKTS; i++) {
        fill(packet + 12, 160);
        peer_meter_packet(m, PEER_CODEC_PCMU, packet, sizeof packet);
    }
}

static void silence(uint8_t *p, size_t len) {
    memset(p, 0xff, len); /* G.711: zero */
}

static void noise(uint8_t *p, size_t len) {
    random_bytes(p, len);
}

static void silence_has_no_tone(void **state) {
    struct peer_meter *m;
    (void)state;
    assert_int_equal(peer_meter_new(&m), 0);
    assert_true(peer_meter_hz(m) == 0);
    feed(m, silence);
    assert_true(peer_meter_hz(m) == 0);
    peer_meter_free(m);
}

static void noise_has_no_tone(void **state) {
    struct peer_meter *m;
    (void)state;
    assert_int_equal(peer_meter_new(&m), 0);
    feed(m, noise);
    assert_true(peer_meter_hz(m) == 0);
    peer_meter_free(m);
}

static void cut_packets_do_no_harm(void **state) {
    struct peer_tone *t;
    struct peer_meter *m;
    uint8_t packet[PEER_AUDIO_PACKET_BYTES];
    (void)state;
    assert_int_equal(peer_tone_new(&t, PEER_CODEC_OPUS, 111, 440), 0);
    assert_int_equal(peer_meter_new(&m), 0);
    size_t len = peer_tone_packet(t, packet);
    for (unsigned first = 0x80; first <= 0x9f; first++) { /* every CSRC count, with and without an extension */
        packet[0] = (uint8_t)first;
        for (size_t n = 0; n <= len; n++) {
            /* A copy of exactly n bytes lets the sanitizer see a read past the end. */
            uint8_t *cut = malloc(n ? n : 1);
            memcpy(cut, packet, n);
            peer_meter_packet(m, PEER_CODEC_OPUS, cut, n);
            peer_meter_packet(m, PEER_CODEC_PCMU, cut, n);
            free(cut);
        }
    }
    assert_int_equal(peer_meter_packets(m), 64 * (len + 1));
    peer_tone_free(t);
    peer_meter_free(m);
}

static void no_tone_is_never_the_expected_one(void **state) {
    (void)state;
    assert_false(peer_tone_is(0, 0));
    assert_false(peer_tone_is(0, 5));
    assert_true(peer_tone_is(450, 440));
    assert_false(peer_tone_is(455, 440));
}

static void codecs_are_known_by_name(void **state) {
    struct peer_tone *t;
    (void)state;
    assert_int_equal(peer_codec_by_name("OPUS"), PEER_CODEC_OPUS);
    assert_int_equal(peer_codec_by_name("pcmu"), PEER_CODEC_PCMU);
    assert_int_equal(peer_codec_by_name("G722"), PEER_CODEC_NONE);
    assert_true(peer_tone_new(&t, PEER_CODEC_NONE, 9, 440) < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pcmu_tone_is_named),
        cmocka_unit_test(an_opus_tone_is_named),
        cmocka_unit_test(lost_packets_leave_the_tone_recognisable),
        cmocka_unit_test(silence_has_no_tone),
        cmocka_unit_test(noise_has_no_tone),
        cmocka_unit_test(cut_packets_do_no_harm),
        cmocka_unit_test(no_tone_is_never_the_expected_one),
        cmocka_unit_test(codecs_are_known_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
