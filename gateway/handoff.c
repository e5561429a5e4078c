/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/handoff.h"

#include "base/bytes.h"
#include "base/hpke.h"
#include "base/secret.h"
#include "gateway/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SDP_RESERVE_BYTES   16384 /* a browser's offer with video stays under 10,000 */
#define FIELD_RESERVE_BYTES 4096  /* the object without its SDP: keys, RTP_STREAMS_MAX streams, addresses */

static enum media_mode mode_of(enum config_handoff h) {
    static const enum media_mode modes[] = {
        [CONFIG_HANDOFF_TRANSFER] = MEDIA_MODE_TRANSFER,
        [CONFIG_HANDOFF_SEALED] = MEDIA_MODE_SEALED,
        [CONFIG_HANDOFF_SDES] = MEDIA_MODE_SDES,
        [CONFIG_HANDOFF_DTLS] = MEDIA_MODE_DTLS,
    };
    return modes[h];
}

enum media_mode handoff_choose(const struct config_route *route, const struct device *dev, unsigned without) {
    for (unsigned i = 0; i < route->handoff_count; i++) {
        enum media_mode wanted = mode_of(route->handoff[i]);
        if (without & 1U << wanted || (wanted == MEDIA_MODE_SEALED && !dev->has_sealing_key))
            continue;
        for (unsigned k = 0; k < dev->handoff_count; k++)
            if (dev->handoff[k] == wanted)
                return wanted;
    }
    return MEDIA_MODE_NONE;
}

bool handoff_has_keys(enum media_mode mode) {
    return mode == MEDIA_MODE_TRANSFER || mode == MEDIA_MODE_SEALED || mode == MEDIA_MODE_SDES;
}

static int write_sdp(struct buf *out, const struct handoff *h, struct err_text *et) {
    struct media_keys mine; /* the SDP is ours: we send what the phone receives */
    struct sdp_local l = {
        .candidates = h->candidates,
        .candidate_count = h->candidate_count,
        .ufrag = h->ice->ufrag,
        .pwd = h->ice->pwd,
        .codecs = (const char *const *)h->codecs,
        .codec_count = h->codec_count,
        .brief_codecs = h->brief_codecs,
        .session_id = h->session_id,
    };
    if (!handoff_has_keys(h->mode)) {
        l.fingerprint = h->fingerprint;
        l.setup = SDP_SETUP_ACTPASS;
        return sdp_write_handoff(out, h->offer, &l, et);
    }
    mine.profile = h->keys->profile;
    memcpy(mine.tx, h->keys->rx, sizeof mine.tx);
    memcpy(mine.rx, h->keys->tx, sizeof mine.rx);
    l.keys = &mine;
    int err = sdp_write_handoff(out, h->offer, &l, et);
    media_keys_wipe(&mine);
    return err;
}

static void add_text(struct buf *out, const char *name, const char *value) {
    buf_addf(out, ",\"%s\":", name);
    text_json_string(out, value);
}

static void add_keys(struct buf *out, const struct handoff *h) {
    const struct media_profile_info *info = media_profile_info(h->keys->profile);
    char text[B64_BYTES(MEDIA_MASTER_MAX_BYTES)];
    size_t len = info->key_bytes + info->salt_bytes;
    add_text(out, "profile", info->sdes);
    add_text(out, "rx", b64_encode(text, h->keys->rx, len));
    add_text(out, "tx", b64_encode(text, h->keys->tx, len));
    secret_wipe(text, sizeof text);
    buf_adds(out, ",\"streams\":[");
    for (size_t i = 0; h->streams && i < h->streams->count; i++) {
        const struct rtp_stream *s = &h->streams->s[i];
        buf_addf(out, "%s{\"ssrc\":%" PRIu32 ",\"direction\":\"rx\",\"roc\":%" PRIu32 ",\"seq\":%u}", i ? "," : "",
                 s->ssrc, s->roc, s->seq);
    }
    buf_adds(out, "]");
}

static void add_path(struct buf *out, const struct handoff *h) {
    char ip[ADDR_STR_BYTES];
    buf_adds(out, ",\"media\":[");
    for (size_t i = 0; i < h->candidate_count; i++)
        buf_addf(out, "%s{\"address\":\"%s\",\"port\":%u}", i ? "," : "", addr_ip(ip, &h->candidates[i]),
                 addr_port(&h->candidates[i]));
    buf_addf(out, "],\"ice\":{\"ufrag\":\"%s\",\"pwd\":\"%s\",\"remote_ufrag\":\"%s\"}", h->ice->ufrag, h->ice->pwd,
             h->phone_ufrag);
}

int handoff_write(struct buf *out, const struct handoff *h, struct err_text *et) {
    struct buf sdp = {0};
    if (handoff_has_keys(h->mode))
        buf_reserve(&sdp, SDP_RESERVE_BYTES);
    int err = write_sdp(&sdp, h, et);
    if (err == 0) {
        buf_reserve(out, sdp.len + sdp.len / 4 + FIELD_RESERVE_BYTES);
        buf_addf(out, "{\"mode\":\"%s\"", media_mode_name(h->mode));
        add_text(out, "sdp", sdp.p ? sdp.p : "");
        if (handoff_has_keys(h->mode))
            add_keys(out, h);
        add_path(out, h);
        buf_addf(out, ",\"expires_at\":%" PRIu64 "}", h->expires_at_ms);
    }
    buf_wipe(&sdp);
    if (err == 0 && out->oom)
        err = err_say(et, E_NOMEM, "out of memory");
    if (err != 0)
        buf_wipe(out);
    return err;
}

size_t handoff_sealed_chars(size_t bytes) {
    return ((bytes + HPKE_OVERHEAD_BYTES) * 4 + 2) / 3; /* base64url without padding */
}

int handoff_seal(char **text, const struct buf *object, const struct device *dev, const char *call) {
    char aad[UUID_BYTES + DEVICE_ID_BYTES];
    size_t len = object->len + HPKE_OVERHEAD_BYTES;
    uint8_t *sealed = malloc(len);
    char *out = malloc(B64_BYTES(len));
    struct hpke_about about = {.info = HANDOFF_SEALED_INFO, .aad = aad};
    snprintf(aad, sizeof aad, "%s/%s", call, dev->id);
    int err =
        sealed && out ? hpke_seal(sealed, dev->sealing_key, &about, (const uint8_t *)object->p, object->len) : E_NOMEM;
    if (err == 0)
        *text = b64url_encode(out, sealed, len);
    else
        free(out);
    free(sealed);
    return err;
}
