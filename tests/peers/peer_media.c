/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_media.h"

#include "base/clock.h"
#include "tests/peers/peer_audio.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PAYLOAD_TYPES 128

struct peer_media {
    struct peer_endpoint *endpoint;
    struct peer_tone *tone; /* NULL: no codec that we can play */
    struct peer_meter *meter;
    uint8_t codec_by_pt[PAYLOAD_TYPES]; /* enum peer_codec */
    uv_poll_t poll;
    uv_timer_t tick;
    unsigned open_handles;
    bool playing;
    const char *say; /* NULL: nothing, or said */
    struct peer_media_report report;
    void (*closed)(void *arg);
    void *arg;
};

/* Notes which payload types are ours, and returns the first of them, or -1. */
static int choose_codec(struct peer_media *m, const struct sdp *remote) {
    int first = -1;
    for (size_t i = 0; i < remote->media_count; i++) {
        const struct sdp_media *s = &remote->media[i];
        for (size_t k = 0; strcmp(s->kind, "audio") == 0 && s->port != 0 && k < s->codec_count; k++) {
            enum peer_codec codec = peer_codec_by_name(s->codecs[k].name);
            m->codec_by_pt[s->codecs[k].pt] = (uint8_t)codec;
            if (codec != PEER_CODEC_NONE && first < 0)
                first = s->codecs[k].pt;
        }
    }
    return first;
}

static void on_path_up(void *arg) {
    struct peer_media *m = arg;
    m->report.path_up = true;
}

static void on_keys_up(enum media_profile profile, void *arg) {
    struct peer_media *m = arg;
    m->report.keys_up = true;
    m->report.profile = profile;
    m->report.keys_us = clock_mono_us();
}

static void on_rtp(const uint8_t *p, size_t len, void *arg) {
    struct peer_media *m = arg;
    enum peer_codec codec = (enum peer_codec)m->codec_by_pt[p[1] & 0x7f];
    uint64_t now_us = clock_mono_us();
    if (m->report.rx_pkts++ == 0)
        m->report.first_rx_us = now_us;
    else if (now_us - m->report.last_rx_us > m->report.gap_us)
        m->report.gap_us = now_us - m->report.last_rx_us;
    m->report.last_rx_us = now_us;
    if (codec != PEER_CODEC_NONE)
        peer_meter_packet(m->meter, codec, p, len);
}

static void on_data(const uint8_t *p, size_t len, void *arg) {
    struct peer_media *m = arg;
    snprintf(m->report.heard_data, sizeof m->report.heard_data, "%.*s", (int)len, (const char *)p);
}

static void on_dtls_closed(int err, void *arg) {
    struct peer_media *m = arg;
    m->report.closed = true;
    m->report.closed_err = err;
}

static void on_readable(uv_poll_t *h, int status, int events) {
    struct peer_media *m = h->data;
    (void)status;
    (void)events;
    peer_endpoint_on_readable(m->endpoint, clock_mono_ms());
    m->report.refused_pkts = peer_endpoint_refused(m->endpoint);
}

static void on_tick(uv_timer_t *t) {
    struct peer_media *m = t->data;
    uint8_t packet[PEER_AUDIO_PACKET_BYTES];
    peer_endpoint_tick(m->endpoint, clock_mono_ms());
    if (m->say && peer_endpoint_send_data(m->endpoint, (const uint8_t *)m->say, strlen(m->say)) == 0)
        m->say = NULL;
    if (!m->playing || !m->tone)
        return;
    size_t len = peer_tone_packet(m->tone, packet);
    if (peer_endpoint_send_rtp(m->endpoint, packet, len) == 0)
        m->report.tx_pkts++;
}

static void media_free(struct peer_media *m) {
    peer_endpoint_free(m->endpoint);
    peer_tone_free(m->tone);
    peer_meter_free(m->meter);
    free(m);
}

static void start_handles(struct peer_media *m, uv_loop_t *loop) {
    uv_poll_init(loop, &m->poll, peer_endpoint_fd(m->endpoint));
    uv_timer_init(loop, &m->tick);
    m->poll.data = m->tick.data = m;
    m->open_handles = 2;
    uv_poll_start(&m->poll, UV_READABLE, on_readable);
    uv_timer_start(&m->tick, on_tick, 0, PEER_AUDIO_PTIME_MS);
}

int peer_media_new(struct peer_media **mp, uv_loop_t *loop, const struct sdp *remote,
                   const struct peer_endpoint_params *params, double tone_hz, struct err_text *et) {
    static const struct peer_endpoint_ops ops = {
        .path_up = on_path_up, .keys_up = on_keys_up, .rtp = on_rtp, .data = on_data, .closed = on_dtls_closed};
    struct peer_media *m = calloc(1, sizeof *m);
    if (!m)
        return err_say(et, E_NOMEM, "out of memory");
    int pt = choose_codec(m, remote), err = peer_meter_new(&m->meter);
    if (err == 0 && pt >= 0)
        err = peer_tone_new(&m->tone, (enum peer_codec)m->codec_by_pt[pt], pt, tone_hz);
    if (err != 0)
        err_say(et, err, "the tone could not be made: %s", err_str(err));
    else if ((err = peer_endpoint_new(&m->endpoint, params, &ops, m)) != 0)
        err_say(et, err, "the media socket could not be opened: %s", err_str(err));
    if (err != 0) {
        media_free(m);
        return err;
    }
    start_handles(m, loop);
    *mp = m;
    return 0;
}

void peer_media_play(struct peer_media *m) {
    m->playing = true;
}

void peer_media_say(struct peer_media *m, const char *text) {
    m->say = text;
}

struct peer_endpoint *peer_media_endpoint(struct peer_media *m) {
    return m->endpoint;
}

const struct peer_media_report *peer_media_report(const struct peer_media *m) {
    return &m->report;
}

double peer_media_heard_hz(const struct peer_media *m) {
    return peer_meter_hz(m->meter);
}

static void on_handle_closed(uv_handle_t *h) {
    struct peer_media *m = h->data;
    if (--m->open_handles > 0)
        return;
    void (*closed)(void *) = m->closed;
    void *arg = m->arg;
    media_free(m);
    if (closed)
        closed(arg);
}

void peer_media_close(struct peer_media *m, void (*closed)(void *arg), void *arg) {
    m->closed = closed;
    m->arg = arg;
    uv_close((uv_handle_t *)&m->poll, on_handle_closed);
    uv_close((uv_handle_t *)&m->tick, on_handle_closed);
}
