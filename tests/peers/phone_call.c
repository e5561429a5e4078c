/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/phone_call.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "dtls/dtls_identity.h"
#include "dtls/sdp.h"
#include "tests/peers/peer_audio.h"
#include "tests/peers/peer_endpoint.h"

#include <stdlib.h>
#include <string.h>

struct phone_call {
    struct dtls_identity *identity;
    struct peer_endpoint *endpoint;
    struct peer_tone *tone;
    struct peer_meter *meter;
    struct sdp *offer;
    struct buf answer;
    enum peer_codec codec;
    int pt;
    uv_poll_t poll;
    uv_timer_t tick, frame;
    unsigned open_handles;
    bool playing;
    struct phone_call_report report;
};

static const char *text_of(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

/* The first codec of the offer's audio that we can play. */
static void choose_codec(struct phone_call *c) {
    for (size_t i = 0; i < c->offer->media_count; i++) {
        const struct sdp_media *m = &c->offer->media[i];
        for (size_t k = 0; strcmp(m->kind, "audio") == 0 && k < m->codec_count; k++) {
            if (strcasecmp(m->codecs[k].name, "opus") == 0)
                c->codec = PEER_CODEC_OPUS;
            else if (strcasecmp(m->codecs[k].name, "PCMU") == 0)
                c->codec = PEER_CODEC_PCMU;
            else
                continue;
            c->pt = m->codecs[k].pt;
            return;
        }
    }
}

/* The codec of an arriving packet, by its payload type. */
static enum peer_codec codec_of(const struct phone_call *c, int pt) {
    for (size_t i = 0; i < c->offer->media_count; i++) {
        const struct sdp_media *m = &c->offer->media[i];
        for (size_t k = 0; k < m->codec_count; k++)
            if (m->codecs[k].pt == pt && strcmp(m->kind, "audio") == 0)
                return strcasecmp(m->codecs[k].name, "opus") == 0   ? PEER_CODEC_OPUS
                       : strcasecmp(m->codecs[k].name, "PCMU") == 0 ? PEER_CODEC_PCMU
                                                                    : PEER_CODEC_NONE;
    }
    return PEER_CODEC_NONE;
}

static void on_path_up(void *arg) {
    struct phone_call *c = arg;
    c->report.path_up = true;
}

static void on_keys_up(enum media_profile profile, void *arg) {
    struct phone_call *c = arg;
    (void)profile;
    c->report.keys_up = true;
}

static void on_rtp(const uint8_t *p, size_t len, void *arg) {
    struct phone_call *c = arg;
    enum peer_codec codec = codec_of(c, p[1] & 0x7f);
    c->report.rx_pkts++;
    if (codec != PEER_CODEC_NONE)
        peer_meter_packet(c->meter, codec, p, len);
}

static void on_readable(uv_poll_t *h, int status, int events) {
    struct phone_call *c = h->data;
    (void)status;
    (void)events;
    peer_endpoint_on_readable(c->endpoint, clock_mono_ms());
}

static void on_tick(uv_timer_t *t) {
    struct phone_call *c = t->data;
    peer_endpoint_tick(c->endpoint, clock_mono_ms());
}

static void on_frame(uv_timer_t *t) {
    struct phone_call *c = t->data;
    uint8_t packet[PEER_AUDIO_PACKET_BYTES];
    if (!c->playing || !c->tone)
        return;
    size_t len = peer_tone_packet(c->tone, packet);
    if (peer_endpoint_send_rtp(c->endpoint, packet, len) == 0)
        c->report.tx_pkts++;
}

static int decode_master(uint8_t *out, const json_t *handoff, const char *key, const struct media_profile_info *info,
                         struct err_text *et) {
    const char *text = text_of(handoff, key);
    int n = b64_decode(out, MEDIA_MASTER_MAX_BYTES, text, strlen(text));
    if (n != (int)(info->key_bytes + info->salt_bytes))
        return err_say(et, E_MALFORMED, "handoff.%s: not %zu bytes of base64", key, info->key_bytes + info->salt_bytes);
    return 0;
}

static int take_keys(struct peer_endpoint_params *params, struct media_keys *keys, const json_t *handoff,
                     struct err_text *et) {
    const struct media_profile_info *info = media_profile_by_sdes(text_of(handoff, "profile"));
    if (!info)
        return err_say(et, E_UNSUPPORTED, "handoff.profile: \"%s\" is not known", text_of(handoff, "profile"));
    keys->profile = info->profile;
    int err = decode_master(keys->rx, handoff, "rx", info, et);
    if (err == 0)
        err = decode_master(keys->tx, handoff, "tx", info, et);
    params->keys = keys;
    return err;
}

static void set_streams(struct phone_call *c, const json_t *handoff) {
    size_t i;
    json_t *s;
    json_array_foreach(json_object_get(handoff, "streams"), i, s) {
        if (strcmp(text_of(s, "direction"), "rx") == 0)
            peer_endpoint_set_rx_roc(c->endpoint, (uint32_t)json_integer_value(json_object_get(s, "ssrc")),
                                     (uint32_t)json_integer_value(json_object_get(s, "roc")));
    }
}

/* The phone's answer to the gateway's offer of mode dtls: same m-lines and codecs, we are active. */
static int write_answer(struct phone_call *c, const char *ufrag, const char *pwd, struct err_text *et) {
    struct addr local = peer_endpoint_local(c->endpoint);
    struct sdp_local l = {
        .candidates = &local,
        .candidate_count = 1,
        .ufrag = ufrag,
        .pwd = pwd,
        .fingerprint = dtls_identity_fingerprint(c->identity),
        .setup = SDP_SETUP_ACTIVE,
        .session_id = clock_wall_us(),
    };
    return sdp_write_answer(&c->answer, c->offer, &l, et);
}

static int open_endpoint(struct phone_call *c, const json_t *handoff, struct err_text *et) {
    static const struct peer_endpoint_ops ops = {.path_up = on_path_up, .keys_up = on_keys_up, .rtp = on_rtp};
    const json_t *ice = json_object_get(handoff, "ice"), *m = json_array_get(json_object_get(handoff, "media"), 0);
    struct peer_endpoint_params params = {
        .remote_ufrag = text_of(ice, "ufrag"),
        .remote_pwd = text_of(ice, "pwd"),
        .local_ufrag = text_of(ice, "remote_ufrag"),
    };
    struct media_keys keys = {0};
    char ufrag[9], pwd[33];
    int err =
        addr_parse(&params.remote, text_of(m, "address"), (uint16_t)json_integer_value(json_object_get(m, "port")));
    if (err != 0)
        return err_say(et, err, "handoff.media: no usable address");
    bool dtls = strcmp(c->report.mode, "dtls") == 0;
    if (params.local_ufrag[0] == 0)
        params.local_ufrag = random_alnum(ufrag, sizeof ufrag - 1);
    params.local_pwd = random_alnum(pwd, sizeof pwd - 1);
    if (dtls) {
        err = dtls_identity_new(&c->identity, et);
        params.identity = c->identity;
        params.dtls = PEER_DTLS_CLIENT;
        params.fingerprints = c->offer->fingerprints;
        params.fingerprint_count = c->offer->fingerprint_count;
    } else {
        err = take_keys(&params, &keys, handoff, et);
    }
    if (err == 0 && (err = peer_endpoint_new(&c->endpoint, &params, &ops, c)) != 0)
        err_say(et, err, "the media socket could not be opened: %s", err_str(err));
    if (err == 0 && dtls)
        err = write_answer(c, params.local_ufrag, params.local_pwd, et);
    media_keys_wipe(&keys);
    return err;
}

static void call_free(struct phone_call *c) {
    peer_endpoint_free(c->endpoint);
    dtls_identity_free(c->identity);
    peer_tone_free(c->tone);
    peer_meter_free(c->meter);
    sdp_free(c->offer);
    buf_free(&c->answer);
    free(c);
}

static void on_closed(uv_handle_t *h) {
    struct phone_call *c = h->data;
    if (--c->open_handles == 0)
        call_free(c);
}

static void start_handles(struct phone_call *c, uv_loop_t *loop) {
    uv_poll_init(loop, &c->poll, peer_endpoint_fd(c->endpoint));
    uv_timer_init(loop, &c->tick);
    uv_timer_init(loop, &c->frame);
    c->poll.data = c->tick.data = c->frame.data = c;
    c->open_handles = 3;
    uv_poll_start(&c->poll, UV_READABLE, on_readable);
    uv_timer_start(&c->tick, on_tick, 0, 20);
    uv_timer_start(&c->frame, on_frame, 0, PEER_AUDIO_PTIME_MS);
}

int phone_call_new(struct phone_call **cp, uv_loop_t *loop, const json_t *handoff, double tone_hz,
                   struct err_text *et) {
    const char *sdp = text_of(handoff, "sdp");
    struct phone_call *c = calloc(1, sizeof *c);
    if (!c)
        return err_say(et, E_NOMEM, "out of memory");
    snprintf(c->report.mode, sizeof c->report.mode, "%s", text_of(handoff, "mode"));
    int err = sdp_parse(&c->offer, sdp, strlen(sdp), et);
    if (err == 0)
        choose_codec(c);
    if (err == 0 && (err = peer_meter_new(&c->meter)) == 0 && c->codec != PEER_CODEC_NONE)
        err = peer_tone_new(&c->tone, c->codec, c->pt, tone_hz);
    if (err == 0)
        err = open_endpoint(c, handoff, et);
    if (err != 0) {
        call_free(c);
        return err;
    }
    set_streams(c, handoff);
    start_handles(c, loop);
    *cp = c;
    return 0;
}

const char *phone_call_sdp(const struct phone_call *c) {
    return c->answer.p ? c->answer.p : "";
}

bool phone_call_has_keys(const struct phone_call *c) {
    return !c->identity;
}

void phone_call_answer(struct phone_call *c) {
    c->playing = true;
}

void phone_call_report(const struct phone_call *c, struct phone_call_report *r) {
    *r = c->report;
    r->heard_hz = peer_meter_hz(c->meter);
}

void phone_call_close(struct phone_call *c) {
    uv_close((uv_handle_t *)&c->poll, on_closed);
    uv_close((uv_handle_t *)&c->tick, on_closed);
    uv_close((uv_handle_t *)&c->frame, on_closed);
}
