/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/call_fsm.h"

#include "base/err.h"

#include <assert.h>
#include <string.h>

/* One step on its way through a handler. */
struct step {
    struct call_fsm *f;
    struct call_leg *leg; /* NULL for inputs of the call */
    unsigned device;
    uint64_t now_ms;
    struct call_actions *out;
};

typedef int (*call_handler)(struct step *s);

static void act(struct step *s, enum call_action_kind kind, unsigned device, enum call_reason reason) {
    assert(s->out->count < CALL_STEP_ACTIONS_MAX);
    s->out->a[s->out->count++] = (struct call_action){kind, device, reason};
}

unsigned call_fsm_legs_left(const struct call_fsm *f) {
    unsigned left = 0;
    for (unsigned i = 0; i < f->leg_count; i++)
        left += f->legs[i].state != CALL_LEG_OUT;
    return left;
}

static void enter(struct step *s, enum call_state state, enum call_reason reason) {
    s->f->state = state;
    s->f->reason = reason;
    act(s, CALL_DO_STATE, 0, reason);
}

static void end(struct step *s, enum call_reason reason) {
    struct call_fsm *f = s->f;
    enter(s, CALL_ENDED, reason);
    f->deadline_ms = 0;
    for (unsigned i = 0; i < f->leg_count; i++) {
        if (f->legs[i].state == CALL_LEG_OUT)
            continue;
        act(s, CALL_DO_WITHDRAW, i, reason);
        act(s, CALL_DO_TELL, i, reason);
        f->legs[i].state = CALL_LEG_OUT;
        f->legs[i].out = reason;
    }
    if (f->media)
        act(s, CALL_DO_CLOSE, 0, reason);
}

static void hand_over(struct step *s, unsigned device) {
    if (!s->f->media || s->f->handed >= 0)
        return;
    s->f->handed = (int)device;
    act(s, CALL_DO_HANDOFF, device, CALL_REASON_NONE);
}

/* Before an answer the media goes to a phone only when no other one can answer any more: keys never reach two. */
static void hand_over_early(struct step *s) {
    struct call_fsm *f = s->f;
    if (f->state != CALL_RINGING || call_fsm_legs_left(f) != 1)
        return;
    for (unsigned i = 0; i < f->leg_count; i++)
        if (f->legs[i].state != CALL_LEG_OUT && f->legs[i].connected)
            hand_over(s, i);
}

/* When nobody is left, the call ends for the reason that says most about the callee. */
static enum call_reason last_reason(const struct call_fsm *f) {
    static const enum call_reason order[] = {CALL_BUSY, CALL_FILTERED, CALL_UNREACHABLE, CALL_EXPIRED};
    for (size_t k = 0; k < sizeof order / sizeof *order; k++)
        for (unsigned i = 0; i < f->leg_count; i++)
            if (f->legs[i].out == order[k])
                return order[k];
    return CALL_ERROR;
}

static int leg_out(struct step *s, enum call_reason reason) {
    s->leg->state = CALL_LEG_OUT;
    s->leg->out = reason;
    act(s, CALL_DO_WITHDRAW, s->device, reason);
    act(s, CALL_DO_TELL, s->device, reason);
    if (call_fsm_legs_left(s->f) == 0)
        end(s, last_reason(s->f));
    else
        hand_over_early(s);
    return 0;
}

/* Calling, and what follows when a phone is not heard of */

static void alert_once(struct step *s, unsigned device) {
    struct call_leg *leg = &s->f->legs[device];
    if (leg->alerted)
        return;
    leg->alerted = true;
    act(s, CALL_DO_ALERT, device, CALL_REASON_NONE);
}

static void call_phone(struct step *s, unsigned device) {
    struct call_leg *leg = &s->f->legs[device];
    if (leg->way == CALL_WAY_CONNECTION) {
        act(s, CALL_DO_JOIN, device, CALL_REASON_NONE);
        return;
    }
    leg->called_ms = s->now_ms;
    if (leg->way != CALL_WAY_ALERT)
        act(s, CALL_DO_PUSH, device, CALL_REASON_NONE);
    if (leg->way != CALL_WAY_PUSH)
        alert_once(s, device);
}

static void overdue(struct step *s, unsigned device) {
    act(s, CALL_DO_OVERDUE, device, CALL_REASON_NONE);
}

static void suspect(struct step *s, unsigned device) {
    act(s, CALL_DO_SUSPECT, device, CALL_REASON_NONE);
}

/* The last phone is never given up: a late push is better than none. */
static bool has_second_path(const struct call_fsm *f, const struct call_leg *leg) {
    switch (f->second) {
    case CONFIG_SECOND_PATH_ALERT:
        return !leg->alerted;
    case CONFIG_SECOND_PATH_OTHERS:
        return call_fsm_legs_left(f) > 1;
    default:
        return f->second == CONFIG_SECOND_PATH_EVENT;
    }
}

static void second_path(struct step *s, unsigned device) {
    struct call_fsm *f = s->f;
    bool has = has_second_path(f, &f->legs[device]);
    if (has)
        act(s, CALL_DO_SECOND, device, CALL_REASON_NONE);
    if (f->repeat_push && f->legs[device].way == CALL_WAY_PUSH)
        act(s, CALL_DO_PUSH, device, CALL_REASON_NONE);
    if (has && f->second == CONFIG_SECOND_PATH_ALERT)
        alert_once(s, device);
    if (has && f->second == CONFIG_SECOND_PATH_OTHERS) {
        struct step of_leg = *s;
        of_leg.device = device;
        of_leg.leg = &f->legs[device];
        leg_out(&of_leg, CALL_UNREACHABLE);
    }
}

enum { WAIT_RECEIPT, WAIT_SUSPECT, WAIT_SECOND, WAITS };
static void (*const after_wait[WAITS])(struct step *s, unsigned device) = {overdue, suspect, second_path};

/* Monotonic; 0: this wait is over, or none. A receipt is waited for once APNs has accepted the push; the second path
 * does not wait for APNs. Of an alert push a receipt may come or not: whoever sees it need not touch it. */
static uint64_t wait_over_ms(const struct call_fsm *f, const struct call_leg *leg, unsigned wait) {
    const unsigned second_ms = leg->suspect && f->receipt_ms < f->second_ms ? f->receipt_ms : f->second_ms;
    const unsigned after_ms[WAITS] = {f->receipt_ms, f->suspect_ms, second_ms};
    if (!leg->called_ms || leg->reached || leg->state == CALL_LEG_OUT || (leg->waited & 1U << wait) || !after_ms[wait])
        return 0;
    if (wait != WAIT_SECOND && (!leg->sent || leg->way == CALL_WAY_ALERT))
        return 0;
    return leg->called_ms + after_ms[wait];
}

static int ring_tick(struct step *s) {
    struct call_fsm *f = s->f;
    for (unsigned i = 0; i < f->leg_count; i++)
        for (unsigned wait = 0; wait < WAITS; wait++) {
            uint64_t at_ms = wait_over_ms(f, &f->legs[i], wait);
            if (!at_ms || s->now_ms < at_ms)
                continue;
            f->legs[i].waited |= 1U << wait;
            after_wait[wait](s, i);
        }
    return 0;
}

static void set_ring_deadline(struct call_fsm *f) {
    f->deadline_ms = f->expires_ms;
    for (unsigned i = 0; i < f->leg_count; i++)
        for (unsigned wait = 0; wait < WAITS; wait++) {
            uint64_t at_ms = wait_over_ms(f, &f->legs[i], wait);
            if (at_ms && at_ms < f->deadline_ms)
                f->deadline_ms = at_ms;
        }
}

static int start(struct step *s) {
    struct call_fsm *f = s->f;
    for (unsigned i = 0; i < f->leg_count && f->state == CALL_RINGING; i++) {
        struct step of_leg = *s;
        of_leg.device = i;
        of_leg.leg = &f->legs[i];
        if (f->legs[i].state == CALL_LEG_OUT) /* its device was deleted while the call was being stored */
            continue;
        if (f->legs[i].way == CALL_WAY_BUSY)
            leg_out(&of_leg, CALL_BUSY);
        else
            call_phone(s, i);
    }
    return 0;
}

/* Handlers: of phones */

static int attached(struct step *s) {
    s->leg->connected = s->leg->reached = true;
    hand_over_early(s);
    return 0;
}

/* What rang over the connection alone needs a push now. */
static int detached(struct step *s) {
    s->leg->connected = false;
    if (s->f->state == CALL_RINGING && s->leg->way == CALL_WAY_CONNECTION) {
        s->leg->way = CALL_WAY_PUSH;
        call_phone(s, s->device);
    }
    return 0;
}

static int receipt(struct step *s) {
    s->leg->reached = true;
    return 0;
}

static int push_accepted(struct step *s) {
    s->leg->sent = true;
    return 0;
}

/* Of a phone that no push reaches nothing will be heard: its second path need not wait. A notification has no better
 * chance, by a token that is refused. */
static void second_path_at_once(struct step *s) {
    const struct call_fsm *f = s->f;
    bool taken = s->leg->waited & 1U << WAIT_SECOND;
    if (!taken && f->second != CONFIG_SECOND_PATH_ALERT && has_second_path(f, s->leg))
        act(s, CALL_DO_SECOND, s->device, CALL_REASON_NONE);
}

/* A phone that was heard of in this call needs no push any more. */
static int push_rejected(struct step *s) {
    if (s->leg->reached)
        return 0;
    second_path_at_once(s);
    return leg_out(s, CALL_UNREACHABLE);
}

static int push_expired(struct step *s) {
    return s->leg->reached ? 0 : leg_out(s, CALL_EXPIRED);
}

static int ringing(struct step *s) {
    s->leg->state = CALL_LEG_RINGING;
    s->leg->reached = true;
    return 0;
}

static int answer(struct step *s) {
    struct call_fsm *f = s->f;
    f->winner = (int)s->device;
    s->leg->state = CALL_LEG_ANSWERED;
    s->leg->reached = true;
    f->deadline_ms = s->now_ms + (f->media ? CALL_MEDIA_UP_MS : CALL_LIFE_MAX_MS);
    enter(s, CALL_ANSWERED, CALL_REASON_NONE);
    for (unsigned i = 0; i < f->leg_count; i++) {
        if (i == s->device || f->legs[i].state == CALL_LEG_OUT)
            continue;
        act(s, CALL_DO_WITHDRAW, i, CALL_ANSWERED_ELSEWHERE);
        act(s, CALL_DO_ELSEWHERE, i, CALL_ANSWERED_ELSEWHERE);
        f->legs[i].state = CALL_LEG_OUT;
        f->legs[i].out = CALL_ANSWERED_ELSEWHERE;
    }
    if (f->media)
        act(s, CALL_DO_GATE, s->device, CALL_REASON_NONE);
    hand_over(s, s->device);
    return 0;
}

static int answer_again(struct step *s) {
    return s->f->winner == (int)s->device ? 0 : E_STATE;
}

/* The callee is one person: what is declined on one phone is declined. */
static int decline(struct step *s) {
    end(s, CALL_DECLINED);
    return 0;
}

static int busy(struct step *s) {
    return leg_out(s, CALL_BUSY);
}

static int filtered(struct step *s) {
    return leg_out(s, CALL_FILTERED);
}

/* The phone is taken away from its user; the others ring on. */
static int gone(struct step *s) {
    return leg_out(s, CALL_UNREACHABLE);
}

static int phone_hangup(struct step *s) {
    if (s->f->winner != (int)s->device)
        return E_STATE;
    end(s, CALL_COMPLETED);
    return 0;
}

/* Handlers: of the call */

static int cancel(struct step *s) {
    end(s, CALL_CANCELLED);
    return 0;
}

static int complete(struct step *s) {
    end(s, CALL_COMPLETED);
    return 0;
}

/* With both paths up, the media plane watches them by itself (consent, RFC 7675). */
static void media_up(struct call_fsm *f) {
    if (f->state != CALL_RINGING && f->far_up && f->near_up)
        f->deadline_ms = 0;
}

static int far_up(struct step *s) {
    s->f->far_up = true;
    media_up(s->f);
    return 0;
}

static int near_up(struct step *s) {
    s->f->near_up = true;
    media_up(s->f);
    return 0;
}

static int flows(struct step *s) {
    struct call_fsm *f = s->f;
    if (f->state == CALL_ANSWERED && !f->need_near && !f->need_far) {
        f->deadline_ms = 0;
        enter(s, CALL_ACTIVE, CALL_REASON_NONE);
    }
    return 0;
}

static int to_near(struct step *s) {
    s->f->need_near = false;
    return flows(s);
}

static int to_far(struct step *s) {
    s->f->need_far = false;
    return flows(s);
}

static int media_failed(struct step *s) {
    end(s, CALL_MEDIA_FAILED);
    return 0;
}

static int talk_tick(struct step *s) {
    if (s->f->deadline_ms && s->now_ms >= s->f->deadline_ms)
        end(s, s->f->media ? CALL_MEDIA_FAILED : CALL_COMPLETED);
    return 0;
}

static int shutdown_call(struct step *s) {
    end(s, CALL_ERROR);
    return 0;
}

static int nothing(struct step *s) {
    (void)s;
    return 0;
}

/* The transitions, a row of handlers for each state; NULL: the input has no place there. */
static const call_handler while_ringing[CALL_INPUTS] = {
    [CALL_IN_ATTACHED] = attached,
    [CALL_IN_DETACHED] = detached,
    [CALL_IN_RECEIPT] = receipt,
    [CALL_IN_PUSH_ACCEPTED] = push_accepted,
    [CALL_IN_PUSH_REJECTED] = push_rejected,
    [CALL_IN_PUSH_EXPIRED] = push_expired,
    [CALL_IN_RINGING] = ringing,
    [CALL_IN_ANSWER] = answer,
    [CALL_IN_DECLINE] = decline,
    [CALL_IN_BUSY] = busy,
    [CALL_IN_FILTERED] = filtered,
    [CALL_IN_PHONE_HANGUP] = decline,
    [CALL_IN_GONE] = gone,
    [CALL_IN_CALLER_HANGUP] = cancel,
    [CALL_IN_NEAR_HANGUP] = decline,
    [CALL_IN_DELETE] = cancel,
    [CALL_IN_FAR_UP] = far_up,
    [CALL_IN_NEAR_UP] = near_up,
    [CALL_IN_MEDIA_FAILED] = media_failed,
    [CALL_IN_START] = start,
    [CALL_IN_TICK] = ring_tick,
    [CALL_IN_SHUTDOWN] = shutdown_call,
};

static const call_handler while_talking[CALL_INPUTS] = {
    [CALL_IN_ATTACHED] = attached,     [CALL_IN_DETACHED] = detached,      [CALL_IN_RECEIPT] = nothing,
    [CALL_IN_PUSH_ACCEPTED] = nothing, [CALL_IN_PUSH_REJECTED] = nothing,  [CALL_IN_PUSH_EXPIRED] = nothing,
    [CALL_IN_RINGING] = answer_again,  [CALL_IN_ANSWER] = answer_again,    [CALL_IN_DECLINE] = phone_hangup,
    [CALL_IN_BUSY] = phone_hangup,     [CALL_IN_FILTERED] = nothing,       [CALL_IN_PHONE_HANGUP] = phone_hangup,
    [CALL_IN_GONE] = phone_hangup,     [CALL_IN_CALLER_HANGUP] = complete, [CALL_IN_NEAR_HANGUP] = complete,
    [CALL_IN_DELETE] = complete,       [CALL_IN_FAR_UP] = far_up,          [CALL_IN_NEAR_UP] = near_up,
    [CALL_IN_TO_NEAR] = to_near,       [CALL_IN_TO_FAR] = to_far,          [CALL_IN_MEDIA_FAILED] = media_failed,
    [CALL_IN_TICK] = talk_tick,        [CALL_IN_SHUTDOWN] = shutdown_call,
};

static const call_handler once_ended[CALL_INPUTS] = {NULL};

static const call_handler *const table[CALL_STATES] = {while_ringing, while_talking, while_talking, once_ended};

void call_fsm_init(struct call_fsm *f, const struct call_fsm_config *cfg) {
    assert(cfg->devices >= 1 && cfg->devices <= CALL_LEGS_MAX);
    memset(f, 0, sizeof *f);
    f->leg_count = cfg->devices;
    f->winner = f->handed = -1;
    f->media = cfg->media;
    f->need_near = cfg->media_to_near;
    f->need_far = cfg->media_to_far;
    f->receipt_ms = cfg->receipt_ms;
    f->suspect_ms = cfg->suspect_ms;
    f->second_ms = cfg->second_ms;
    f->second = cfg->second;
    f->repeat_push = cfg->repeat_push;
    f->expires_ms = f->deadline_ms = cfg->expires_ms;
}

void call_fsm_set_way(struct call_fsm *f, unsigned device, enum call_way way, bool suspect) {
    f->legs[device].way = way;
    f->legs[device].suspect = suspect;
}

static void ring_over(struct step *s) {
    enum call_reason reason = CALL_EXPIRED;
    for (unsigned i = 0; i < s->f->leg_count; i++)
        if (s->f->legs[i].sent || s->f->legs[i].reached)
            reason = CALL_NO_ANSWER;
    end(s, reason);
}

int call_fsm_step(struct call_fsm *f, struct call_input in, uint64_t now_ms, struct call_actions *out) {
    struct step s = {.f = f, .device = in.device, .now_ms = now_ms, .out = out};
    out->count = 0;
    if (f->state == CALL_RINGING && now_ms >= f->expires_ms) {
        ring_over(&s);
        return in.kind == CALL_IN_TICK ? 0 : E_STATE;
    }
    if (in.kind < CALL_IN_OF_PHONES) {
        if (in.device >= f->leg_count || f->legs[in.device].state == CALL_LEG_OUT)
            return E_STATE;
        s.leg = &f->legs[in.device];
    }
    call_handler fn = table[f->state][in.kind];
    int err = fn ? fn(&s) : E_STATE;
    if (f->state == CALL_RINGING)
        set_ring_deadline(f);
    return err;
}

/* Names */

static const char *const state_names[CALL_STATES] = {"ringing", "answered", "active", "ended"};
static const char *const leg_names[] = {"called", "ringing", "answered", "out"};
static const char *const reason_names[CALL_REASONS] = {
    "",          "completed", "cancelled",          "declined",    "busy",         "filtered",
    "no_answer", "expired",   "answered_elsewhere", "unreachable", "media_failed", "error"};
static const char *const input_names[CALL_INPUTS] = {
    "attached", "detached", "receipt",  "push_accepted", "push_rejected", "push_expired",  "ringing",     "answer",
    "decline",  "busy",     "filtered", "hangup",        "gone",          "caller_hangup", "near_hangup", "delete",
    "far_up",   "near_up",  "to_near",  "to_far",        "media_failed",  "start",         "tick",        "shutdown"};
static const char *const second_names[] = {"none", "alert", "others", "event"};
static const char *const action_names[CALL_ACTIONS] = {"state",   "push",     "alert", "join",    "overdue",
                                                       "suspect", "second",   "gate",  "handoff", "elsewhere",
                                                       "tell",    "withdraw", "close"};

const char *call_state_name(enum call_state s) {
    return state_names[s];
}

const char *call_reason_name(enum call_reason r) {
    return reason_names[r];
}

const char *call_input_name(enum call_input_kind k) {
    return input_names[k];
}

const char *call_action_name(enum call_action_kind k) {
    return action_names[k];
}

const char *call_second_path_name(enum config_second_path s) {
    return second_names[s];
}

const char *call_leg_state_name(enum call_leg_state s) {
    return leg_names[s];
}
