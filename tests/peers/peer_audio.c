/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_audio.h"

#include "base/bytes.h"
#include "base/err.h"

#include <math.h>
#include <opus/opus.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define RATE_HZ       8000
#define FRAME_SAMPLES (RATE_HZ * PEER_AUDIO_PTIME_MS / 1000)
#define METER_SAMPLES 4000 /* half a second */
#define BLOCK_SAMPLES                                                                                                  \
    800 /* one is 10 Hz wide, so that a lost packet's phase jump or a tone between two steps of 5 Hz                   \
           costs little */
#define TOLERANCE_HZ 10
#define LOWEST_HZ    50
#define HIGHEST_HZ   3500
#define RTP_HEADER   12
#define AMPLITUDE    12000.0

struct peer_tone {
    enum peer_codec codec;
    int pt;
    double phase, step;
    uint16_t seq;
    uint32_t ts, ssrc;
    OpusEncoder *opus;
};

struct peer_meter {
    OpusDecoder *opus;
    int16_t samples[METER_SAMPLES];
    size_t at, filled;
    uint64_t packets;
};

enum peer_codec peer_codec_by_name(const char *name) {
    return strcasecmp(name, "opus") == 0   ? PEER_CODEC_OPUS
           : strcasecmp(name, "PCMU") == 0 ? PEER_CODEC_PCMU
                                           : PEER_CODEC_NONE;
}

bool peer_tone_is(double heard_hz, double expected_hz) {
    return heard_hz > 0 && fabs(heard_hz - expected_hz) <= TOLERANCE_HZ;
}

/* ITU-T G.711 mu-law. */
static uint8_t ulaw_encode(int sample) {
    int sign = sample < 0 ? 0x80 : 0, magnitude = (sample < 0 ? -sample : sample) + 132, exponent = 7;
    if (magnitude > 32767)
        magnitude = 32767;
    while (exponent > 0 && !(magnitude & (1 << (exponent + 7))))
        exponent--;
    return (uint8_t) ~(sign | exponent << 4 | ((magnitude >> (exponent + 3)) & 0x0f));
}

static int16_t ulaw_decode(uint8_t byte) {
    int value = (uint8_t)~byte, exponent = (value >> 4) & 7;
    int magnitude = (((value & 0x0f) << 3) + 132) << exponent;
    return (int16_t)(value & 0x80 ? 132 - magnitude : magnitude - 132);
}

int peer_tone_new(struct peer_tone **tp, enum peer_codec codec, int pt, double hz) {
    int err = 0;
    if (codec == PEER_CODEC_NONE)
        return E_UNSUPPORTED;
    struct peer_tone *t = calloc(1, sizeof *t);
    if (!t)
        return E_NOMEM;
    t->codec = codec;
    t->pt = pt;
    t->step = 2 * M_PI * hz / RATE_HZ;
    random_bytes(&t->seq, sizeof t->seq);
    random_bytes(&t->ts, sizeof t->ts);
    random_bytes(&t->ssrc, sizeof t->ssrc);
    if (codec == PEER_CODEC_OPUS)
        t->opus = opus_encoder_create(RATE_HZ, 1, OPUS_APPLICATION_AUDIO, &err);
    if (err != 0 || (codec == PEER_CODEC_OPUS && !t->opus)) {
        free(t);
        return E_NOMEM;
    }
    *tp = t;
    return 0;
}

struct peer_tone *peer_tone_free(struct peer_tone *t) {
    if (t && t->opus)
        opus_encoder_destroy(t->opus);
    free(t);
    return NULL;
}

static void put32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

size_t peer_tone_packet(struct peer_tone *t, uint8_t out[static PEER_AUDIO_PACKET_BYTES]) {
    int16_t pcm[FRAME_SAMPLES];
    for (size_t i = 0; i < FRAME_SAMPLES; i++) {
        pcm[i] = (int16_t)(AMPLITUDE * sin(t->phase));
        t->phase = fmod(t->phase + t->step, 2 * M_PI);
    }
    out[0] = 0x80;
    out[1] = (uint8_t)t->pt;
    out[2] = (uint8_t)(t->seq >> 8);
    out[3] = (uint8_t)t->seq;
    put32(out + 4, t->ts);
    put32(out + 8, t->ssrc);
    t->seq++;
    if (t->codec == PEER_CODEC_PCMU) {
        for (size_t i = 0; i < FRAME_SAMPLES; i++)
            out[RTP_HEADER + i] = ulaw_encode(pcm[i]);
        t->ts += FRAME_SAMPLES;
        return RTP_HEADER + FRAME_SAMPLES;
    }
    opus_int32 n = opus_encode(t->opus, pcm, FRAME_SAMPLES, out + RTP_HEADER, 400);
    t->ts += 48 * PEER_AUDIO_PTIME_MS; /* RFC 7587 4.1: the clock is always 48 kHz */
    return RTP_HEADER + (size_t)(n > 0 ? n : 0);
}

int peer_meter_new(struct peer_meter **mp) {
    int err = 0;
    struct peer_meter *m = calloc(1, sizeof *m);
    if (!m)
        return E_NOMEM;
    m->opus = opus_decoder_create(RATE_HZ, 1, &err);
    if (!m->opus) {
        free(m);
        return E_NOMEM;
    }
    *mp = m;
    return 0;
}

struct peer_meter *peer_meter_free(struct peer_meter *m) {
    if (m)
        opus_decoder_destroy(m->opus);
    free(m);
    return NULL;
}

static void meter_add(struct peer_meter *m, const int16_t *pcm, size_t n) {
    for (size_t i = 0; i < n; i++) {
        m->samples[m->at] = pcm[i];
        m->at = (m->at + 1) % METER_SAMPLES;
    }
    m->filled = m->filled + n > METER_SAMPLES ? METER_SAMPLES : m->filled + n;
}

/* Length of the RTP header with CSRCs and extension, or 0 when the packet is cut (RFC 3550 5.1, 5.3.1). */
static size_t rtp_header_len(const uint8_t *p, size_t len) {
    if (len < RTP_HEADER)
        return 0;
    size_t at = RTP_HEADER + 4U * (p[0] & 0x0f);
    if (p[0] & 0x10) {
        if (len < at + 4)
            return 0;
        at += 4 + 4U * (size_t)(p[at + 2] << 8 | p[at + 3]);
    }
    return at < len ? at : 0;
}

void peer_meter_packet(struct peer_meter *m, enum peer_codec codec, const uint8_t *rtp, size_t len) {
    int16_t pcm[RATE_HZ / 4];
    size_t at = rtp_header_len(rtp, len), n = 0;
    m->packets++;
    if (at == 0)
        return;
    if (codec == PEER_CODEC_PCMU) {
        for (; n < len - at && n < sizeof pcm / sizeof *pcm; n++)
            pcm[n] = ulaw_decode(rtp[at + n]);
    } else if (codec == PEER_CODEC_OPUS) {
        int got = opus_decode(m->opus, rtp + at, (opus_int32)(len - at), pcm, sizeof pcm / sizeof *pcm, 0);
        n = got > 0 ? (size_t)got : 0;
    }
    meter_add(m, pcm, n);
}

/* Goertzel: the power at one frequency in the last `blocks` blocks, each taken for itself. */
static double power_at(const struct peer_meter *m, double hz, size_t blocks) {
    double coefficient = 2 * cos(2 * M_PI * hz / RATE_HZ), sum = 0;
    for (size_t b = 0; b < blocks; b++) {
        size_t from = m->at + METER_SAMPLES - (b + 1) * BLOCK_SAMPLES;
        double s1 = 0, s2 = 0;
        for (size_t i = 0; i < BLOCK_SAMPLES; i++) {
            double s = m->samples[(from + i) % METER_SAMPLES] + coefficient * s1 - s2;
            s2 = s1;
            s1 = s;
        }
        sum += s1 * s1 + s2 * s2 - coefficient * s1 * s2;
    }
    return sum;
}

/* The strongest of some frequencies, and its power. */
static double strongest(const struct peer_meter *m, double from_hz, double to_hz, double step_hz, size_t blocks,
                        double *power) {
    double best_hz = 0;
    *power = 0;
    for (int i = 0; from_hz + i * step_hz <= to_hz; i++) {
        double hz = from_hz + i * step_hz, p = power_at(m, hz, blocks);
        if (p > *power) {
            *power = p;
            best_hz = hz;
        }
    }
    return best_hz;
}

double peer_meter_hz(const struct peer_meter *m) {
    double energy = 0, power;
    if (m->filled < METER_SAMPLES)
        return 0;
    for (size_t i = 0; i < METER_SAMPLES; i++)
        energy += (double)m->samples[i] * m->samples[i];
    /* Coarsely in the latest block, then finely in all: a load generator does this for thousands of calls. */
    double about_hz = strongest(m, LOWEST_HZ, HIGHEST_HZ, 10, 1, &power);
    double hz = strongest(m, about_hz - 10, about_hz + 10, 5, METER_SAMPLES / BLOCK_SAMPLES, &power);
    /* A pure tone of N samples and energy E has the power E * N / 2 at its frequency. */
    return energy > 1e6 && power > energy * BLOCK_SAMPLES / 4 ? hz : 0;
}

uint64_t peer_meter_packets(const struct peer_meter *m) {
    return m->packets;
}
