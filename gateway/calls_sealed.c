/* SPDX-License-Identifier: Apache-2.0 */
/* Mode sealed: a phone gets its keys inside the push, before anybody knows whether it will answer. So every phone that
 * rings has keys, ICE credentials and a near leg of its own; one of them is chosen, the others' are wiped. */
#include "base/log.h"
#include "gateway/calls_priv.h"

#include <stdlib.h>
#include <string.h>

static void forget(struct call_device *d) {
    if (!d->waiting)
        return;
    call_near_wipe(d->waiting);
    free(d->waiting);
    d->waiting = NULL;
}

/* The next mode of the route. A phone that can do nothing else gets its keys when it attaches. */
static void fall_back(struct call *c, struct call_device *d, const char *why) {
    const struct device *dev = devices_get(c->owner->d.devices, c->tenant, d->id);
    /* The caller's keys that may have protected a ringback tone are given to nobody. */
    unsigned without = 1U << MEDIA_MODE_SEALED | (c->ringback ? 1U << MEDIA_MODE_TRANSFER : 0);
    enum media_mode next = dev ? handoff_choose(c->route, dev, without) : MEDIA_MODE_NONE;
    const struct call_near *n = call_near_of(c, d->index);
    if (next != MEDIA_MODE_NONE && n != &c->near && (!n || !n->told)) {
        call_sealed_drop(c, d);
        d->mode = next;
    }
    call_note(c, 0, "not_sealed",
              json_pack("{s:s,s:s,s:s}", "device", d->id, "mode", media_mode_name(d->mode), "reason", why));
    log_info("keys not in the push", log_s("call", c->id), log_s("device", d->id), log_s("detail", why),
             log_s("mode", media_mode_name(d->mode)));
}

static int open_waiting(struct call *c, struct call_device *d) {
    struct call_near *n = calloc(1, sizeof *n);
    if (!n)
        return E_NOMEM;
    d->waiting = n;
    n->device = (int)d->index;
    n->mode = MEDIA_MODE_SEALED;
    int err = call_near_open(c, n, true);
    if (err != 0)
        forget(d);
    return err;
}

void call_sealed_open(struct call *c) {
    for (unsigned i = 0; c->media && i < c->device_count; i++)
        if (c->fsm.legs[i].state != CALL_LEG_OUT && c->devices[i].mode == MEDIA_MODE_SEALED &&
            open_waiting(c, &c->devices[i]) != 0)
            fall_back(c, &c->devices[i], "the media worker is too busy");
}

void call_sealed_write(struct call *c, struct call_near *n) {
    struct err_text et = {""};
    if (n->mode == MEDIA_MODE_SEALED && !n->taken && n->handoff.len == 0 &&
        call_near_write(&n->handoff, c, n, NULL, 0, &et) != 0)
        log_error("no handoff", log_s("call", c->id), log_s("detail", et.s));
}

/* The fullest object that has room. A brief one is enough to begin: what it leaves out comes with the `call` message.
 */
static int write_that_fits(struct buf *out, struct call *c, const struct call_near *n, size_t room,
                           struct err_text *et) {
    static const unsigned brief_codecs[] = {0, 4, 1};
    for (size_t i = 0; i < sizeof brief_codecs / sizeof *brief_codecs; i++) {
        int err = call_near_write(out, c, n, NULL, brief_codecs[i], et);
        if (err != 0)
            return err;
        if (handoff_sealed_chars(out->len) <= room)
            return 0;
        buf_wipe(out);
    }
    return err_say(et, E_FULL, "there is no room for them beside what the push has to say");
}

static int seal(char **text, struct call *c, struct call_device *d, size_t room, struct err_text *et) {
    const struct device *dev = devices_get(c->owner->d.devices, c->tenant, d->id);
    struct buf object = {0};
    if (!dev || !dev->has_sealing_key)
        return err_say(et, E_NOTFOUND, "the device has no sealing_key any more");
    int err = write_that_fits(&object, c, call_near_of(c, d->index), room, et);
    if (err == 0 && handoff_seal(text, &object, dev, c->id) != 0)
        err = err_say(et, E_CRYPTO, "the device's sealing_key is no usable X25519 public key");
    buf_wipe(&object);
    return err;
}

void call_sealed_text(char **text, struct call *c, struct call_device *d, const struct push_content *beside) {
    struct err_text et = {""};
    const struct call_near *n = call_near_of(c, d->index);
    *text = NULL;
    if (!n || n->mode != MEDIA_MODE_SEALED || n->taken)
        return;
    if (seal(text, c, d, push_room(beside), &et) != 0)
        fall_back(c, d, et.s);
    else
        call_note_device(c, 0, "keys_sealed", d->index);
}

void call_sealed_choose(struct call *c, struct call_device *d) {
    c->near = *d->waiting;
    secret_wipe(d->waiting, sizeof *d->waiting);
    free(d->waiting);
    d->waiting = NULL;
    if (media_near_choose(c->owner->d.media, c->media, d->index) != 0) {
        call_step(c, CALL_IN_MEDIA_FAILED, 0);
        return;
    }
    phone_tell_handoff(c);
}

void call_sealed_drop(struct call *c, struct call_device *d) {
    if (!d->waiting)
        return;
    forget(d);
    /* When the worker is too busy to hear of it, the leg goes with the answer or with the call; until then it relays
     * nothing. */
    if (c->fsm.state != CALL_ENDED)
        media_near_drop(c->owner->d.media, c->media, d->index);
}
