/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"

/* Any of the phones may get the media, and in mode transfer with the caller's keys. Then it is their only writer. */
static bool keys_may_go(const struct call *c) {
    for (unsigned i = 0; i < c->device_count; i++)
        if (c->devices[i].mode == MEDIA_MODE_TRANSFER)
            return true;
    return false;
}

void call_ringback(struct call *c, struct media_far *far) {
    const struct ringback *r = media_ringback(c->owner->d.media);
    const struct sdp_local l = {.codecs = (const char *const *)c->app->codecs, .codec_count = c->app->codecs_count};
    if (!r)
        return;
    int pt = sdp_answer_pt(c->offer, &l, ringback_codec(r), ringback_clock_hz(r));
    c->ringback = far->ringback = pt >= 0 && !keys_may_go(c);
    if (far->ringback)
        far->ringback_pt = (uint8_t)pt;
    else
        call_note(c, 0, "no_ringback", json_pack("{s:s}", "reason", pt < 0 ? "codec" : "transfer"));
}
