/* SPDX-License-Identifier: Apache-2.0 */
/* The structs of a media call, shared by media_call.c (life, DTLS), media_ice.c (checks, addresses), media_relay.c
 * (packets) and media_resume.c (what outlives the process). */
#ifndef DTLS_MEDIA_CALL_PRIV_H
#define DTLS_MEDIA_CALL_PRIV_H

#include "dtls/dtls_session.h"
#include "dtls/media_call.h"
#include "dtls/rtp_crypt.h"
#include "dtls/stun_budget.h"

#define LEG_SOURCES_MAX 4     /* addresses of one peer that checks came from: Wi-Fi and cellular, IPv4 and IPv6 */
#define LEG_PARKED_MAX  4     /* ClientHello fragments that wait for the fingerprint */
#define LEG_CONSENT_MS  30000 /* RFC 7675 5.1 */
#define HOLD_PKTS_MAX   64    /* more than a second of audio; hold_ms bounds it in time */

struct parked {
    uint16_t len;
    uint8_t p[WORKER_DGRAM_MAX];
};

struct media_leg {
    struct media_call *call;
    bool open, is_near;
    bool unchosen;   /* a phone in media_call.phones */
    unsigned number; /* of a near leg, as in media_near */
    struct ice_lite ice;
    bool plain, waiting;                          /* without ICE; until its address is proved */
    struct addr offered;                          /* plain: where the offer says it is */
    struct media_leg *waits_after, *waits_before; /* media_plain.c's list */
    UT_hash_handle by_offered;
    uint64_t stun_reply_ms; /* the first check was answered then: what follows shows the round trip */
    struct stun_budget checks;
    struct media_ufrag ufrag, old_ufrag; /* the second one during an ICE restart */
    struct media_source sources[LEG_SOURCES_MAX];
    unsigned source_count;
    uint64_t seen_ms;  /* last packet from a vouched address */
    uint64_t alert_ms; /* an alert that we cannot read any more came then; 0: none */
    struct dtls_session *dtls;
    bool dtls_client, dtls_up, handshaking, dtls_over;
    int dtls_err;
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    struct parked *parked; /* LEG_PARKED_MAX of them, or NULL */
    unsigned parked_count;
    struct media_keys keys; /* profile NONE: none, or erased */
    struct rtp_crypt *crypt;
    uint32_t rtcp_next, rtcp_limit; /* of crypt, when it is made; the limit holds also afterwards */
    uint64_t record_limit;          /* of dtls; 0: none was set */
    uint64_t told_ms;               /* its latest state */
    struct media_leg *next, *prev;  /* with handshaking: the worker's list */
    struct media_leg *next_phone;   /* in media_call.phones */
};

/* What comes in on one leg, and goes out on the other. */
struct media_flow {
    struct media_flow_state s;
    /* by place in s.rx: */
    bool in_step[RTP_STREAMS_MAX];      /* both SRTP contexts have seen it */
    uint16_t told_seq[RTP_STREAMS_MAX]; /* in the latest state */
};

struct held {
    uint64_t at_ms;
    size_t len;
    uint8_t p[WORKER_DGRAM_BYTES];
};

struct media_call {
    struct media_worker *worker;
    media_id id;
    struct media_leg far, near;
    struct media_leg *phones; /* that ring with keys of their own: one of them becomes the near leg */
    enum media_mode mode;     /* of the near leg */
    struct dtls_identity *identity;
    uint64_t gate_ms;
    bool gate, keys_told, keys_taken, told_to_near, told_to_far, failed;
    bool resumed, untold; /* untold: the latest state is behind */
    struct media_flow from_far, from_near;
    struct held *held; /* HOLD_PKTS_MAX of them, or NULL */
    unsigned held_count;
    bool ringback, ringback_sent; /* wanted; the far keys have protected some of it */
    uint8_t ringback_pt;
    uint32_t ringback_ssrc;
    struct media_ringing *ringing; /* NULL: not now */
    struct media_call_stats stats;
};

/* Where packets of this leg go; unset when there is no path yet. */
const struct addr *media_leg_path(const struct media_leg *leg);
void media_call_event(struct media_call *c, enum media_event_kind kind);
void media_call_fail(struct media_leg *leg, int err);

/* NULL for a stale id. */
struct media_call *media_call_find(const struct media_worker *w, media_id id);
/* A plain caller's handshake was done by somebody whose certificate is the leg's: session, address and keys are the
 * leg's from now on. */
void media_leg_adopt(struct media_leg *leg, struct dtls_session *dtls, const struct addr *src,
                     const struct media_keys *keys);

/* media_call.c: a call's and a leg's life */
struct media_call *media_call_new(struct media_worker *w, media_id id, struct dtls_identity *identity);
extern const struct dtls_ops media_dtls_ops; /* their argument is the leg */
/* A caller without ICE: wait for it, or call it. */
void media_leg_plain(struct media_leg *leg, const struct addr *offered);
/* It is to have a handshake, and has none yet. */
bool media_leg_wants_dtls(const struct media_leg *leg);
void media_leg_start_dtls(struct media_leg *leg);
/* TRANSFER: the keys go to the phone as soon as there are any. */
void media_call_tell_keys(struct media_call *c);
void media_leg_open(struct media_leg *leg, const struct ice_lite *ice, bool is_near);
void media_leg_close(struct media_leg *leg);
/* ICE has a new pair: DTLS and what waits may go. */
void media_leg_selected(struct media_leg *leg);
/* An event with u.path. */
void media_leg_tell_path(const struct media_leg *leg, enum media_event_kind kind, bool waited);

/* media_ice.c: the user fragments and addresses that a leg is known by, in the worker's tables */
void media_ice_open(struct media_leg *leg, const struct ice_lite *ice);
void media_ice_close(struct media_leg *leg);
/* An ICE restart is under way: the fragment before, which leg->ice has, is good as well. */
void media_ice_old(struct media_leg *leg);
/* The peer's ICE restart. The fragment before is good until the first check with the new one. */
void media_ice_restart(struct media_leg *leg, const struct ice_lite *next);
/* An authenticated check came from src: packets from there belong to this leg. */
void media_leg_vouch(struct media_leg *leg, const struct addr *src);

/* media_waiting.c */
void media_waiting_open(struct media_call *c, const struct media_near *near);
/* An empty leg in media_call.phones; NULL: no memory. */
struct media_leg *media_waiting_new(struct media_call *c, unsigned number);
void media_waiting_choose(struct media_call *c, unsigned number);
void media_waiting_drop(struct media_call *c, unsigned number);
void media_waiting_drop_all(struct media_call *c);

/* media_resume.c: with media_config.keep, tell what has changed */
void media_tell_leg(struct media_leg *leg);
void media_tell_call(struct media_call *c);
/* What is reserved of this leg goes to its end: reserve more. */
void media_leg_reserve(struct media_leg *leg);
void media_resume_command(struct media_worker *w, const struct media_command *cmd);

/* media_relay.c */
void media_relay_rtp(struct media_leg *from, uint8_t *p, size_t len);
/* Send what was held, once the near leg is ready. */
void media_relay_flush(struct media_call *c);
/* Make the SRTP contexts that the mode needs and the keys allow. */
void media_relay_prepare(struct media_call *c);

#endif
