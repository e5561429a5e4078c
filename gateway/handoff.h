/* SPDX-License-Identifier: Apache-2.0 */
/* How the media comes to the phone: the choice of the mode, and the handoff object. Thread: any. */
#ifndef GATEWAY_HANDOFF_H
#define GATEWAY_HANDOFF_H

#include "config/config.h"
#include "dtls/media.h"
#include "gateway/devices.h"

#define HANDOFF_UFRAG_BYTES 9 /* the fragment that the phone is given: 8 characters and the NUL */

/* The first mode of the route that the phone can do; MEDIA_MODE_NONE when they have none in common. */
enum media_mode handoff_choose(const struct config_route *route, const struct device *dev);
/* Keys travel in the object itself: it is wiped after use, and the phone confirms them. */
bool handoff_has_keys(enum media_mode mode);

struct handoff {
    enum media_mode mode;
    const struct sdp *offer; /* the caller's */
    const struct addr *candidates;
    size_t candidate_count;
    const struct ice_lite *ice;        /* the near leg's */
    const char *phone_ufrag;           /* what the phone calls itself */
    const char *fingerprint;           /* of the gateway; MEDIA_MODE_DTLS */
    const struct media_keys *keys;     /* as the phone sees them: rx what it receives, tx what it sends; with keys */
    const struct rtp_streams *streams; /* what the caller has sent so far; MEDIA_MODE_TRANSFER, else NULL */
    char *const *codecs;               /* the app's */
    size_t codec_count;
    uint64_t session_id, expires_at_ms; /* Unix */
};

/* Write the object of design.md, "Handoff modes". out may hold keys afterwards: buf_wipe it. Returns 0, E_UNSUPPORTED
 * when no m-line is left, E_NOMEM. */
int handoff_write(struct buf *out, const struct handoff *h, struct err_text *et);

#endif
