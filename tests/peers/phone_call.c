/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/phone_call.h"

#include "base/buf.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "dtls/dtls_identity.h"
#include "dtls/sdp.h"
#include "tests/peers/peer_json.h"
#include "tests/peers/peer_media.h"

#include <stdlib.h>
#include <string.h>

struct phone_call {
    struct dtls_identity *identity;
    struct peer_media *media;
    struct sdp *offer;
    struct buf answer;
    char mode[16];
};

static int decode_master(uint8_t *out, const json_t *handoff, const char *key, const struct media_profile_info *info,
                         struct err_text *et) {
    const char *text = peer_text(handoff, key);
    int n = b64_decode(out, MEDIA_MASTER_MAX_BYTES, text, strlen(text));
    if (n != (int)(info->key_bytes + info->salt_bytes))
        return err_say(et, E_MALFORMED, "handoff.%s: not %zu bytes of base64", key, info->key_bytes + info->salt_bytes);
    return 0;
}

static int take_keys(struct peer_endpoint_params *params, struct media_keys *keys, const json_t *handoff,
                     struct err_text *et) {
    const struct media_profile_info *info = media_profile_by_sdes(peer_text(handoff, "profile"));
    if (!info)
        return err_say(et, E_UNSUPPORTED, "handoff.profile: \"%s\" is not known", peer_text(handoff, "profile"));
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
        if (strcmp(peer_text(s, "direction"), "rx") == 0)
            peer_endpoint_set_rx_roc(peer_media_endpoint(c->media),
                                     (uint32_t)json_integer_value(json_object_get(s, "ssrc")),
                                     (uint32_t)json_integer_value(json_object_get(s, "roc")));
    }
}

/* The phone's answer to the gateway's offer of mode dtls: same m-lines and codecs, we are active. */
static int write_answer(struct phone_call *c, const char *ufrag, const char *pwd, struct err_text *et) {
    struct addr local = peer_endpoint_local(peer_media_endpoint(c->media));
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

/* The addresses in handoff.media; returns how many. */
static size_t read_candidates(struct addr out[static PEER_CANDIDATES_MAX], const json_t *handoff) {
    size_t i, n = 0;
    json_t *m;
    json_array_foreach(json_object_get(handoff, "media"), i, m) {
        uint16_t port = (uint16_t)json_integer_value(json_object_get(m, "port"));
        if (n < PEER_CANDIDATES_MAX && addr_parse(&out[n], peer_text(m, "address"), port) == 0)
            n++;
    }
    return n;
}

static int open_media(struct phone_call *c, uv_loop_t *loop, const json_t *handoff, double tone_hz,
                      struct err_text *et) {
    const json_t *ice = json_object_get(handoff, "ice");
    struct addr at[PEER_CANDIDATES_MAX];
    size_t count = read_candidates(at, handoff);
    if (count == 0)
        return err_say(et, E_MALFORMED, "handoff.media: no usable address");
    struct peer_endpoint_params params = {
        .remote_ufrag = peer_text(ice, "ufrag"),
        .remote_pwd = peer_text(ice, "pwd"),
        .local_ufrag = peer_text(ice, "remote_ufrag"),
        .remote = at[0],
        .more = at + 1,
        .more_count = count - 1,
    };
    struct media_keys keys = {0};
    char ufrag[9], pwd[33];
    int err = 0;
    bool dtls = strcmp(c->mode, "dtls") == 0;
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
    if (err == 0)
        err = peer_media_new(&c->media, loop, c->offer, &params, tone_hz, et);
    if (err == 0 && dtls)
        err = write_answer(c, params.local_ufrag, params.local_pwd, et);
    media_keys_wipe(&keys);
    return err;
}

static void call_free(void *arg) {
    struct phone_call *c = arg;
    dtls_identity_free(c->identity);
    sdp_free(c->offer);
    buf_free(&c->answer);
    free(c);
}

int phone_call_new(struct phone_call **cp, uv_loop_t *loop, const json_t *handoff, double tone_hz,
                   struct err_text *et) {
    const char *sdp = peer_text(handoff, "sdp");
    struct phone_call *c = calloc(1, sizeof *c);
    if (!c)
        return err_say(et, E_NOMEM, "out of memory");
    snprintf(c->mode, sizeof c->mode, "%s", peer_text(handoff, "mode"));
    int err = sdp_parse(&c->offer, sdp, strlen(sdp), et);
    if (err == 0)
        err = open_media(c, loop, handoff, tone_hz, et);
    if (err != 0) {
        phone_call_close(c);
        return err;
    }
    set_streams(c, handoff);
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
    peer_media_play(c->media);
}

void phone_call_report(const struct phone_call *c, struct phone_call_report *r) {
    const struct peer_media_report *m = peer_media_report(c->media);
    memcpy(r->mode, c->mode, sizeof r->mode);
    r->path_up = m->path_up;
    r->keys_up = m->keys_up;
    r->heard_hz = peer_media_heard_hz(c->media);
    r->rx_pkts = m->rx_pkts;
    r->gap_us = m->gap_us;
    r->refused_pkts = m->refused_pkts;
    r->tx_pkts = m->tx_pkts;
}

void phone_call_close(struct phone_call *c) {
    if (c->media)
        peer_media_close(c->media, call_free, c);
    else
        call_free(c);
}
