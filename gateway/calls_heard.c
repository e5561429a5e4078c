/* SPDX-License-Identifier: Apache-2.0 */
/* What attached phones say about their calls. */
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>

/* Each message is about one leg. */

struct heard {
    struct calls *cs;
    struct phone *p;
    struct call *c;
    unsigned device;
    const struct attach_msg *m;
};

/* The state machine's refusal, told in the phone's terms. */
static void tell_refused(const struct heard *h) {
    const struct call *c = h->c;
    struct buf b = {0};
    if (c->fsm.legs[h->device].state != CALL_LEG_OUT) {
        phone_send_error(h->cs, h->p, "state", "this is not possible in the state that the call is in");
        return;
    }
    phone_write_over(&b, c, c->fsm.legs[h->device].out);
    phone_send(h->cs, h->p->ws, &b);
}

static void step(const struct heard *h, enum call_input_kind kind) {
    if (call_step(h->c, kind, h->device) != 0)
        tell_refused(h);
}

static void on_receipt(const struct heard *h) {
    if (call_receipt(h->c, h->device, &h->m->receipt) != 0) {
        phone_send_error(h->cs, h->p, "unknown_push", "receipt: push is none of this device's pushes for the call");
        return;
    }
    /* An app that was running already may answer a push over the connection that it has. */
    if (!h->c->devices[h->device].ws)
        phone_join(h->p, h->c, h->device);
}

static void on_ringing(const struct heard *h) {
    if (h->c->fsm.state == CALL_RINGING && h->c->fsm.legs[h->device].state == CALL_LEG_CALLED)
        call_note_device(h->c, 0, "ringing", h->device);
    step(h, CALL_IN_RINGING);
}

static void on_media(const struct heard *h) {
    struct err_text et = {""};
    int err = call_near_sdp(h->c, h->device, h->m->sdp, &et);
    if (err != 0)
        phone_send_error(h->cs, h->p, err == E_STATE ? "state" : "bad_sdp", et.s);
}

static void on_answer(const struct heard *h) {
    if (call_step(h->c, CALL_IN_ANSWER, h->device) != 0)
        tell_refused(h);
    else if (h->m->sdp[0])
        on_media(h);
}

static void on_decline(const struct heard *h) {
    struct receipt r = {.report_error = h->m->reason};
    step(h, strcmp(h->m->reason, "busy") == 0 ? CALL_IN_BUSY
            : receipt_filtered(&r)            ? CALL_IN_FILTERED
                                              : CALL_IN_DECLINE);
}

static void on_hangup(const struct heard *h) {
    step(h, CALL_IN_PHONE_HANGUP);
}

static void on_keys_taken(const struct heard *h) {
    if (call_keys_taken(h->c, h->device) != 0)
        phone_send_error(h->cs, h->p, "state", "keys_taken: no keys went to this device");
}

static void (*const on_leg[ATTACH_TYPES])(const struct heard *h) = {
    [ATTACH_RECEIPT] = on_receipt,      [ATTACH_RINGING] = on_ringing, [ATTACH_ANSWER] = on_answer,
    [ATTACH_DECLINE] = on_decline,      [ATTACH_HANGUP] = on_hangup,   [ATTACH_MEDIA] = on_media,
    [ATTACH_KEYS_TAKEN] = on_keys_taken};

/* A receipt on its way to the row of a call that is long over. */
struct late_phone {
    struct calls *calls;
    ws_id ws;
};

static void on_late_receipt(int err, void *arg) {
    struct late_phone late = *(struct late_phone *)arg;
    struct phone *p = phone_by_ws(late.calls, late.ws);
    free(arg);
    if (p && err != 0)
        phone_send_error(late.calls, p, "unknown_call", "this connection has no call of that id");
}

void phone_heard(struct calls *cs, struct phone *p, const struct attach_msg *m) {
    struct heard h = {.cs = cs, .p = p, .c = calls_find(cs, p->tenant, m->call), .m = m};
    if (!h.c && m->type == ATTACH_RECEIPT && p->whole) {
        const struct receipt_owner o = {.tenant = p->tenant, .device = p->device};
        struct late_phone *late = malloc(sizeof *late);
        if (late)
            *late = (struct late_phone){cs, p->ws};
        calls_late_receipt(cs, &m->receipt, &o, late ? on_late_receipt : NULL, late);
        return;
    }
    int device = h.c && h.c->started && (p->whole || h.c->slot == p->call) ? call_device_by_id(h.c, p->device) : -1;
    if (device < 0) {
        phone_send_error(cs, p, "unknown_call", "this connection has no call of that id");
        return;
    }
    h.device = (unsigned)device;
    on_leg[m->type](&h);
}
