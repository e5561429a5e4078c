/* SPDX-License-Identifier: Apache-2.0 */
/* How the media comes to the phone: the choice of the mode, and the handoff object. Thread: any. */
#ifndef GATEWAY_HANDOFF_H
#define GATEWAY_HANDOFF_H

#include "config/config.h"
#include "dtls/media.h"
#include "gateway/devices.h"

#define HANDOFF_UFRAG_BYTES 9 /* the fragment that the phone is given: 8 characters and the NUL */

#define HANDOFF_SEALED_INFO "wakegate sealed v1" /* of HPKE */

/* The first mode of the route that the phone can do; MEDIA_MODE_NONE when they have none in common. Nobody can do
 * sealed without a sealing key. without: modes that are passed over, 1 << enum media_mode for each. */
enum media_mode handoff_choose(const struct config_route *route, const struct device *dev, unsigned without);
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
    unsigned brief_codecs;              /* as in sdp_local */
    uint64_t session_id, expires_at_ms; /* Unix */
};

/* Write the object of design.md, "Handoff modes". out may hold keys afterwards: buf_wipe it. Returns 0, E_UNSUPPORTED
 * when no m-line is left, E_NOMEM. */
int handoff_write(struct buf *out, const struct handoff *h, struct err_text *et);

/* The object as the text of `wakegate.sealed`, for one phone and one call (RFC 9180). *text: free() it. Returns 0,
 * E_CRYPTO (sealing_key is no point of the curve that can be used), E_NOMEM. */
int handoff_seal(char **text, const struct buf *object, const struct device *dev, const char *call);
/* How long that text is, for an object of so many bytes. */
size_t handoff_sealed_chars(size_t bytes);

#endif
