/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/media_ringback.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "dtls/media_call_priv.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define RTP_HEADER_BYTES 12
#define RTP_MARKER       0x80 /* the first packet after silence (RFC 3551 4.1) */

/* One call's tone. All have the same period, so a queue in which each goes to the end when it was served stays in the
 * order of their times. */
struct media_ringing {
    struct media_call *call;
    struct rtp_crypt *crypt;
    unsigned frame;
    uint16_t seq;
    uint32_t ts, ssrc;
    uint64_t due_ms;
    bool begun;
    struct media_ringing *prev, *next;
};

void media_ringback_start(struct media_call *c) {
    struct media_worker *w = c->worker;
    if (!w->ringback || !c->ringback || c->ringing || c->gate || c->failed || c->far.keys.profile == MEDIA_PROFILE_NONE)
        return;
    if (c->mode == MEDIA_MODE_TRANSFER || c->keys_told)
        return;
    struct media_ringing *r = calloc(1, sizeof *r);
    if (!r || rtp_crypt_new(&r->crypt, &c->far.keys) != 0) {
        free(r); /* a call without ringback is still a call */
        return;
    }
    r->call = c;
    random_bytes(&r->ssrc, sizeof r->ssrc);
    random_bytes(&r->ts, sizeof r->ts);
    random_bytes(&r->seq, sizeof r->seq);
    r->seq &= 0x7fff; /* no roll-over in the first ten minutes */
    r->due_ms = w->now_ms + RINGBACK_FRAME_MS;
    c->ringing = r;
    c->ringback_ssrc = r->ssrc;
    c->ringback_sent = true;
    DL_APPEND(w->ringing, r);
}

void media_ringback_stop(struct media_call *c) {
    struct media_ringing *r = c->ringing;
    if (!r)
        return;
    DL_DELETE(c->worker->ringing, r);
    rtp_crypt_free(r->crypt);
    free(r);
    c->ringing = NULL;
}

bool media_ringback_owns(const struct media_call *c, uint32_t ssrc) {
    return c->ringback_sent && c->ringback_ssrc == ssrc;
}

static void put32(uint8_t *p, uint32_t v) {
    p[0] = (uint8_t)(v >> 24);
    p[1] = (uint8_t)(v >> 16);
    p[2] = (uint8_t)(v >> 8);
    p[3] = (uint8_t)v;
}

static void send_frame(struct media_ringing *r) {
    struct media_call *c = r->call;
    struct media_worker *w = c->worker;
    uint8_t p[RTP_HEADER_BYTES + RINGBACK_FRAME_MAX_BYTES + RTP_CRYPT_TRAILER_BYTES];
    size_t len;
    const uint8_t *payload = ringback_frame(w->ringback, r->frame, &len);
    p[0] = 0x80;
    p[1] = (uint8_t)(c->ringback_pt | (r->begun ? 0 : RTP_MARKER));
    p[2] = (uint8_t)(r->seq >> 8);
    p[3] = (uint8_t)r->seq;
    put32(p + 4, r->ts);
    put32(p + 8, r->ssrc);
    memcpy(p + RTP_HEADER_BYTES, payload, len);
    len += RTP_HEADER_BYTES;
    assert(!c->keys_told);
    r->seq++;
    if (rtp_crypt_protect(r->crypt, p, &len, false) != 0)
        return;
    media_worker_send(w, media_leg_path(&c->far), p, len, true);
    worker_count(&w->n.ringback_pkts, 1);
    if (!r->begun)
        media_call_event(c, MEDIA_EV_RINGBACK);
    r->begun = true;
}

void media_ringback_tick(struct media_worker *w) {
    struct media_ringing *r;
    while ((r = w->ringing) && r->due_ms <= w->now_ms) {
        uint64_t late_ms = w->now_ms - r->due_ms;
        uint32_t per_ms = ringback_clock_hz(w->ringback) / 1000;
        if (r->call->failed) {
            media_ringback_stop(r->call);
            continue;
        }
        /* What was missed is silence, and is not made good by a burst. */
        if (late_ms >= RINGBACK_FRAME_MS) {
            r->ts += (uint32_t)late_ms * per_ms;
            r->due_ms = w->now_ms;
        }
        send_frame(r);
        r->frame = (r->frame + 1) % ringback_frames(w->ringback);
        r->ts += RINGBACK_FRAME_MS * per_ms;
        r->due_ms += RINGBACK_FRAME_MS;
        DL_DELETE(w->ringing, r);
        DL_APPEND(w->ringing, r);
    }
}

int media_ringback_wait_ms(const struct media_worker *w, int most_ms) {
    if (!w->ringing)
        return most_ms;
    uint64_t now_ms = clock_mono_ms(), due_ms = w->ringing->due_ms;
    if (due_ms <= now_ms)
        return 0;
    return due_ms - now_ms < (uint64_t)most_ms ? (int)(due_ms - now_ms) : most_ms;
}
