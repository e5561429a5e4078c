/* SPDX-License-Identifier: Apache-2.0 */
/* The life of one call as a pure state machine: inputs and time in, actions out. It owns no timer, no socket and no
 * memory; what an action means is calls*.c's business.
 *
 *   ringing -> answered -> active -> ended        (and from each state straight to ended)
 *
 * A call has one leg per phone. Several ring, the first answer wins. The rule that the media reaches one phone only
 * lives here: CALL_DO_HANDOFF comes at most once in a call's life. So do the rules on pushes: a phone gets one VoIP
 * push for a call (two where the route says so) and one alert push, and none when the call is over. Thread: any, one at
 * a time. */
#ifndef GATEWAY_CALL_FSM_H
#define GATEWAY_CALL_FSM_H

#include "config/config.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CALL_LEGS_MAX 16 /* phones of one user that ring together (DEVICES_PER_USER_MAX) */
/* Answered, and a leg's media path is still not up: nobody hears anybody (ICE gives up after about as long). */
#define CALL_MEDIA_UP_MS 30000
/* A call without media ends by DELETE or hang-up; one that everybody forgot ends after a day. */
#define CALL_LIFE_MAX_MS (24ULL * 3600 * 1000)

enum call_state { CALL_RINGING, CALL_ANSWERED, CALL_ACTIVE, CALL_ENDED, CALL_STATES };

enum call_reason {
    CALL_REASON_NONE,
    CALL_COMPLETED,
    CALL_CANCELLED,
    CALL_DECLINED,
    CALL_BUSY,
    CALL_FILTERED,
    CALL_NO_ANSWER,
    CALL_EXPIRED, /* the ring's time passed before any push had left */
    CALL_ANSWERED_ELSEWHERE,
    CALL_UNREACHABLE,
    CALL_MEDIA_FAILED,
    CALL_ERROR,
    CALL_REASONS
};

/* How a phone is called. */
enum call_way {
    CALL_WAY_PUSH,
    CALL_WAY_CONNECTION, /* it is attached and awake: no push */
    CALL_WAY_ALERT,      /* blocked: VoIP pushes reach it no more */
    CALL_WAY_BOTH,       /* blocked, and it is time to try a VoIP push again */
    CALL_WAY_BUSY        /* on a call, and the route does not let a second one through */
};

enum call_leg_state { CALL_LEG_CALLED, CALL_LEG_RINGING, CALL_LEG_ANSWERED, CALL_LEG_OUT };

enum call_input_kind {
    /* of a phone: call_input.device says which */
    CALL_IN_ATTACHED,
    CALL_IN_DETACHED,
    CALL_IN_RECEIPT,
    CALL_IN_PUSH_ACCEPTED,
    CALL_IN_PUSH_REJECTED, /* or given up: APNs will not deliver it */
    CALL_IN_PUSH_EXPIRED,  /* never left within the ring's time */
    CALL_IN_RINGING,
    CALL_IN_ANSWER,
    CALL_IN_DECLINE,
    CALL_IN_BUSY,
    CALL_IN_FILTERED,
    CALL_IN_PHONE_HANGUP,
    CALL_IN_GONE,      /* the device was deleted */
    CALL_IN_OF_PHONES, /* not an input: how many there are above */
    /* of the call */
    CALL_IN_CALLER_HANGUP = CALL_IN_OF_PHONES,
    CALL_IN_NEAR_HANGUP, /* the phone that has the media closed its DTLS */
    CALL_IN_DELETE,
    CALL_IN_FAR_UP,
    CALL_IN_NEAR_UP,
    CALL_IN_TO_NEAR, /* first media packet caller -> phone */
    CALL_IN_TO_FAR,
    CALL_IN_MEDIA_FAILED,
    CALL_IN_START, /* the call is stored: call the phones */
    CALL_IN_TICK,
    CALL_IN_SHUTDOWN,
    CALL_INPUTS
};

struct call_input {
    enum call_input_kind kind;
    unsigned device; /* leg; ignored for inputs of the call */
};

enum call_action_kind {
    CALL_DO_STATE,     /* the state has changed: record it */
    CALL_DO_PUSH,      /* send this phone a VoIP push */
    CALL_DO_ALERT,     /* send this phone an alert push */
    CALL_DO_JOIN,      /* tell this phone of the call over its connection */
    CALL_DO_OVERDUE,   /* no receipt of this phone, and one was to be expected */
    CALL_DO_SUSPECT,   /* still none: its health is to be looked at */
    CALL_DO_SECOND,    /* still none, or no push reaches it, and its second path is taken */
    CALL_DO_GATE,      /* media may flow */
    CALL_DO_HANDOFF,   /* this phone gets the media */
    CALL_DO_ELSEWHERE, /* tell this phone that another one answered */
    CALL_DO_TELL,      /* tell this phone that the call is over for it, for `reason` */
    CALL_DO_WITHDRAW,  /* take this phone's push back if it is still queued */
    CALL_DO_CLOSE,     /* give the media back */
    CALL_ACTIONS
};

struct call_action {
    enum call_action_kind kind;
    unsigned device;
    enum call_reason reason;
};

#define CALL_STEP_ACTIONS_MAX (6 * CALL_LEGS_MAX + 8) /* six for each leg (ring_tick), and the call's own */

struct call_actions {
    struct call_action a[CALL_STEP_ACTIONS_MAX];
    size_t count;
};

struct call_leg {
    enum call_leg_state state;
    enum call_reason out; /* why, when OUT */
    bool sent;            /* its push was accepted by APNs */
    bool reached;         /* the phone has been heard of in this call */
    bool connected;       /* attached right now */
    enum call_way way;
    bool suspect;       /* it was so before this call: its second path comes sooner */
    bool alerted;       /* it had its one alert push */
    unsigned waited;    /* bits: which of the waits for its receipt are over */
    uint64_t called_ms; /* monotonic, when its push was asked for; 0: it had none */
};

struct call_fsm_config {
    unsigned devices;                        /* 1..CALL_LEGS_MAX */
    uint64_t expires_ms;                     /* monotonic: the ring's end */
    bool media, media_to_near, media_to_far; /* with an offer; which directions it has */
    /* After a push without a receipt; 0: never. */
    unsigned receipt_ms, suspect_ms, second_ms;
    enum config_second_path second;
    bool repeat_push;
};

struct call_fsm {
    enum call_state state;
    enum call_reason reason;
    struct call_leg legs[CALL_LEGS_MAX];
    unsigned leg_count;
    int winner; /* the leg that answered; -1: none */
    int handed; /* the leg that got the media; -1: none */
    bool media, need_near, need_far, far_up, near_up;
    unsigned receipt_ms, suspect_ms, second_ms;
    enum config_second_path second;
    bool repeat_push;
    uint64_t expires_ms;
    uint64_t deadline_ms; /* monotonic: CALL_IN_TICK is wanted then; 0: never */
};

void call_fsm_init(struct call_fsm *f, const struct call_fsm_config *cfg);
/* Before CALL_IN_START. */
void call_fsm_set_way(struct call_fsm *f, unsigned device, enum call_way way, bool suspect);
/* Take one input. out is filled with what is to be done, in order. A ring whose time is over ends before the input is
 * looked at. Returns 0, or E_STATE when the input has no place in this state (out may still hold the ring's end). */
int call_fsm_step(struct call_fsm *f, struct call_input in, uint64_t now_ms, struct call_actions *out);
/* Legs that still ring or talk. */
unsigned call_fsm_legs_left(const struct call_fsm *f);

const char *call_state_name(enum call_state s);
const char *call_reason_name(enum call_reason r); /* "" for NONE */
const char *call_input_name(enum call_input_kind k);
const char *call_action_name(enum call_action_kind k);
const char *call_second_path_name(enum config_second_path s);
const char *call_leg_state_name(enum call_leg_state s);

#endif
