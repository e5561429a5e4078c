/* SPDX-License-Identifier: Apache-2.0 */
/* DTLS application data beside the media: from the caller to the one phone that gets the media, a binary frame for each
 * datagram, and back. What comes before that phone is there is kept. */
#include "gateway/calls_priv.h"

#include <utlist.h>

#define KEPT_MAX_BYTES 32768 /* of a call; a data channel's setup has some hundred, and is repeated when it is lost */

/* In `kept_data`, each datagram has its length before it: 2 bytes. */
static void keep(struct call *c, const uint8_t *p, size_t len) {
    const uint8_t head[2] = {(uint8_t)(len >> 8), (uint8_t)len};
    if (c->kept_data.len + sizeof head + len > KEPT_MAX_BYTES) {
        if (c->lost_data++ == 0)
            call_note(c, 0, "data_lost", NULL);
        return;
    }
    buf_reserve(&c->kept_data, KEPT_MAX_BYTES);
    buf_add(&c->kept_data, head, sizeof head);
    buf_add(&c->kept_data, p, len);
}

static ws_id phone_of(const struct call *c) {
    return c->near.device >= 0 && c->near.told ? c->devices[c->near.device].ws : 0;
}

void call_data_from_caller(struct call *c, const uint8_t *p, size_t len) {
    ws_id ws = phone_of(c);
    if (c->fsm.state == CALL_ENDED)
        return;
    if (ws && c->kept_data.len == 0)
        ws_send_binary(c->owner->http, ws, p, len);
    else
        keep(c, p, len);
}

void call_data_flush(struct call *c) {
    ws_id ws = phone_of(c);
    const uint8_t *p = (const uint8_t *)c->kept_data.p, *end = p + c->kept_data.len;
    if (!ws || c->kept_data.len == 0)
        return;
    while (end - p > 2) {
        size_t len = (size_t)(p[0] << 8 | p[1]);
        ws_send_binary(c->owner->http, ws, p + 2, len);
        p += 2 + len;
    }
    buf_wipe(&c->kept_data);
}

int call_data_from_phone(struct calls *cs, const struct phone *p, const uint8_t *data, size_t len) {
    struct call_device *d;
    DL_FOREACH(calls_of_device(cs, p->tenant, p->device), d) {
        if (d->ws != p->ws || d->call->near.device != (int)d->index || !d->call->media)
            continue;
        /* A datagram more than the worker can take is lost, as datagrams are. */
        return media_data(cs->d.media, d->call->media, data, len) == E_INVAL ? E_INVAL : 0;
    }
    return E_NOTFOUND;
}
