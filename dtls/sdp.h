/* SPDX-License-Identifier: Apache-2.0 */
/* SDP offers and answers as WebRTC peers and phones write them (RFC 8866, 8829, 8839, 8842, 5763, 4568). Thread: any.
 */
#ifndef DTLS_SDP_H
#define DTLS_SDP_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "dtls/ice_lite.h"
#include "dtls/media_keys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SDP_MAX_BYTES        65536 /* a browser with video and every codec stays under 10,000 */
#define SDP_MEDIA_MAX        8     /* m-lines */
#define SDP_CODECS_MAX       64    /* payload types of one m-line */
#define SDP_LINES_MAX        512   /* attribute lines kept of one m-line */
#define SDP_FINGERPRINTS_MAX 8
#define SDP_CANDIDATES_MAX   32

enum sdp_setup { SDP_SETUP_NONE, SDP_SETUP_ACTPASS, SDP_SETUP_ACTIVE, SDP_SETUP_PASSIVE };
enum sdp_direction { SDP_SENDRECV, SDP_SENDONLY, SDP_RECVONLY, SDP_INACTIVE };

struct sdp_fingerprint {
    char hash[8]; /* lower case: "sha-256", "sha-384", "sha-512" */
    uint8_t value[64];
    size_t len; /* bytes */
};

struct sdp_codec {
    int pt;        /* 0..127 */
    char name[32]; /* "opus", "PCMU"; static payload types are filled in (RFC 3551) */
    uint32_t clock_hz;
    int channels; /* 1 when not said */
};

struct sdp_media {
    char kind[16];   /* "audio", "video", "application" */
    char proto[32];  /* "UDP/TLS/RTP/SAVPF" */
    char mid[64];    /* "" when absent */
    char format[32]; /* the first one of the m-line, as it is: "0", "webrtc-datachannel" */
    uint16_t port;   /* 0: rejected */
    enum sdp_direction direction;
    bool rtcp_mux;
    struct sdp_codec codecs[SDP_CODECS_MAX]; /* in the order of the m-line */
    size_t codec_count;
    char **lines; /* the m-section's a= lines without "a=", in order: for what passes through (fmtp, rtcp-fb, extmap,
                     ...) */
    size_t line_count;
    struct {
        enum media_profile profile; /* a=crypto lines with a profile that we know, first one wins; NONE when absent */
        uint8_t master[MEDIA_MASTER_MAX_BYTES];
        int tag;
    } crypto;
};

/* One parsed description. ICE and DTLS attributes are of the BUNDLE group's first m-line, session level as the
 * fallback. */
struct sdp {
    char session_id[32];
    char tls_id[256];                       /* RFC 8842 4; "" when absent */
    char ice_ufrag[ICE_REMOTE_UFRAG_BYTES]; /* "" when the peer speaks no ICE */
    char ice_pwd[257];
    bool ice_lite, trickle, bundle;
    char bundle_mids[SDP_MEDIA_MAX][64];
    size_t bundle_count;
    enum sdp_setup setup;
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    struct addr
        candidates[SDP_CANDIDATES_MAX]; /* UDP candidates with numeric addresses, and c=/m= of a peer without ICE */
    size_t candidate_count;
    struct addr address; /* of c= and m=; unset where they name no host, e.g. 0.0.0.0, a multicast group, a DNS name */
    size_t candidate_lines; /* a=candidate lines, of no use to us or not */
    bool end_of_candidates;
    struct sdp_media *media; /* media_count of them, SDP_MEDIA_MAX at most; without one there is an empty section */
    size_t media_count;
};

/* Parse. text need not be NUL-terminated; CRLF or LF. Returns 0 and *sp (sdp_free it), or E_MALFORMED, E_UNSUPPORTED,
 * E_NOMEM with a sentence naming the line. */
int sdp_parse(struct sdp **sp, const char *text, size_t len, struct err_text *et);
struct sdp *sdp_free(struct sdp *s);
/* Beyond parsing, what the gateway needs of a caller's offer: at least one audio or video m-line that it can take, a
 * fingerprint, rtcp-mux; and an address when there is no ICE and we begin DTLS. Returns 0, or E_UNSUPPORTED /
 * E_MALFORMED with a sentence. */
int sdp_check_offer(const struct sdp *offer, struct err_text *et);

/* Will the peer send ICE checks? Not without ICE, and not as a lite agent, which only answers them (RFC 8445 2.5). */
bool sdp_has_ice(const struct sdp *s);

/* The gateway's side of a description. */
struct sdp_local {
    const struct addr *candidates; /* host candidates, the first is also in c= and m= */
    size_t candidate_count;
    const char *ufrag, *pwd; /* NULL: without ICE, only c= and m= */
    const char *tls_id;      /* answers an offer that has one; NULL: none */
    const char *fingerprint; /* "sha-256 AB:CD:..." ; NULL with keys */
    enum sdp_setup setup;    /* NONE with keys */
    bool trickle;            /* candidates can be trickled to this description's sender */
    bool full_ice;           /* a full ICE agent\'s description (a phone\'s): no a=ice-lite */
    const struct media_keys
        *keys; /* a=crypto with keys->tx (what this description's sender protects with); NULL with DTLS */
    const char *const *codecs; /* names that the app allows, case-insensitive; count 0: all. Retransmission, FEC, DTMF
                                  and comfort noise that belong to an allowed codec stay */
    size_t codec_count;
    /* 0: all there is to say. Else as short as can be: so many codecs of each m-line at most, no helpers of codecs, no
     * header extensions, no feedback. */
    unsigned brief_codecs;
    uint64_t session_id;
};

/* The answer to a caller's offer (RFC 3264, 8829 5.3): ICE-lite, or without ICE, one bundled transport, codecs in the
 * caller's order; directions mirrored, m-lines that cannot be taken rejected with port 0. Returns 0, E_UNSUPPORTED when
 * no m-line is left, E_NOMEM. */
int sdp_write_answer(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et);

/* The payload type of this codec in what sdp_write_answer writes: in the first audio section in which the caller
 * listens. E_NOTFOUND when there is none. Of l only the codecs count. */
int sdp_answer_pt(const struct sdp *offer, const struct sdp_local *l, const char *codec, uint32_t clock_hz);

/* The gateway's offer to a phone, for the call that `offer` began: same codecs and payload types, the caller's
 * directions. With keys: RTP/SAVPF and a=crypto, else UDP/TLS/RTP/SAVPF and a=setup:actpass. */
int sdp_write_handoff(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et);

/* A fragment of trickle ICE (RFC 8840 9, application/trickle-ice-sdpfrag): a= lines, and m-lines with their a= lines.
 * The result is a struct sdp with what such a fragment can say. Returns as sdp_parse; E_MALFORMED also for one that
 * says nothing about ICE, or only half of the credentials. */
int sdp_parse_fragment(struct sdp **sp, const char *text, size_t len, struct err_text *et);
/* Can the fragment be about this offer: is each of its sections one of the offer's (by mid)? Returns 0 or E_MALFORMED.
 */
int sdp_check_fragment(const struct sdp *fragment, const struct sdp *offer, struct err_text *et);
/* The fragment that answers an ICE restart: credentials and candidates of l. Returns 0 or E_NOMEM. */
int sdp_write_fragment(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et);

/* DTLS role of the gateway's answer: active when the offer is passive, else passive (RFC 5763 5). */
enum sdp_setup sdp_answer_setup(const struct sdp *offer);

#endif
