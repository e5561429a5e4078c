/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/httpd_priv.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define WS_USER_TIMEOUT_MS 5000

/* Handoffs carry keys. */
static void message_free(struct message *m) {
    lws_explicit_bzero(m->p, LWS_PRE + m->len);
    free(m);
}

void httpd_ws_drop(struct httpd *h, ws_id id) {
    struct websocket *w = slots_get(h->websockets, id);
    struct message *m, *next;
    if (!w)
        return;
    LL_FOREACH_SAFE(w->queue, m, next) {
        message_free(m);
    }
    buf_wipe(&w->in);
    slots_release(h->websockets, id);
}

static int ws_filter(struct httpd *h, struct lws *wsi) {
    char path[256];
    int n = lws_hdr_copy(wsi, path, sizeof path, WSI_TOKEN_GET_URI);
    return n > 0 && strcmp(path, h->cfg.ws_path) == 0 ? 0 : -1;
}

static int ws_open(struct httpd *h, struct lws *wsi, struct session *s) {
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct addr peer = {0};
    struct websocket *w = slots_alloc(h->websockets, &s->id);
    if (!w)
        return -1;
    w->wsi = wsi;
    w->heard_ms = clock_mono_ms();
    /* What is sent and not acknowledged shows a dead path in seconds; the ping alone takes a minute. */
    int timeout = WS_USER_TIMEOUT_MS;
    setsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    if (getpeername(lws_get_socket_fd(wsi), (struct sockaddr *)&ss, &len) == 0)
        addr_from_sockaddr(&peer, (struct sockaddr *)&ss);
    h->cfg.ws.open(s->id, &peer, h->cfg.arg);
    return 0;
}

static void ws_heard(const struct httpd *h, const struct session *s) {
    struct websocket *w = slots_get(h->websockets, s->id);
    if (!w)
        return;
    w->heard_ms = clock_mono_ms();
    w->pinged = false;
}

void httpd_ws_sweep(struct httpd *h) {
    uint64_t now_ms = clock_mono_ms();
    uint32_t cursor = 0;
    slot_id id;
    while (slots_next(h->websockets, &cursor, &id)) {
        struct websocket *w = slots_get(h->websockets, id);
        uint64_t silent_ms = now_ms - w->heard_ms;
        if (silent_ms >= 2ULL * h->cfg.ping_ms) {
            /* At once: outside of its callbacks libwebsockets does not see that a timer was set. w is gone then. */
            lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
        } else if (silent_ms >= h->cfg.ping_ms && !w->pinged && !w->closing) {
            w->pinged = w->ping_due = true;
            lws_callback_on_writable(w->wsi);
        }
    }
}

static int ws_ping(struct websocket *w) {
    uint8_t ping[LWS_PRE + 1] = {0}; /* libwebsockets keeps a pong without a payload to itself */
    w->ping_due = false;
    return lws_write(w->wsi, ping + LWS_PRE, 1, LWS_WRITE_PING) < 0 ? -1 : 0;
}

static int ws_receive(struct httpd *h, struct lws *wsi, struct session *s, const void *p, size_t len) {
    struct websocket *w = slots_get(h->websockets, s->id);
    if (!w || w->closing)
        return 0;
    if (lws_is_first_fragment(wsi))
        w->in_binary = lws_frame_is_binary(wsi);
    if (w->in.len + len > h->cfg.message_max_bytes) {
        httpd_ws_close(h, s->id, LWS_CLOSE_STATUS_MESSAGE_TOO_LARGE, "message too large");
        return 0;
    }
    buf_add(&w->in, p, len);
    if (!lws_is_final_fragment(wsi) || lws_remaining_packet_payload(wsi) > 0)
        return 0;
    /* The message is taken out first: a callback may close the connection. */
    struct buf in = w->in;
    w->in = (struct buf){0};
    if (w->in_binary)
        h->cfg.ws.binary(s->id, (const uint8_t *)(in.p ? in.p : ""), in.len, h->cfg.arg);
    else
        h->cfg.ws.text(s->id, in.p ? in.p : "", in.len, h->cfg.arg);
    buf_wipe(&in);
    return 0;
}

static int ws_writable(struct httpd *h, struct lws *wsi, struct session *s) {
    struct websocket *w = slots_get(h->websockets, s->id);
    if (!w)
        return 0;
    struct message *m = w->queue;
    if (m) {
        LL_DELETE(w->queue, m);
        w->queued_bytes -= m->len;
        int n = lws_write(wsi, m->p + LWS_PRE, m->len, m->binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT);
        message_free(m);
        if (n < 0)
            return -1;
    }
    if (w->queue) {
        lws_callback_on_writable(wsi);
    } else if (w->closing) {
        lws_close_reason(wsi, (enum lws_close_status)w->close_code, (unsigned char *)w->close_reason,
                         strlen(w->close_reason));
        /* Not "return -1": a libwebsockets built for debugging, as Debian's is, then closes twice, and the second time
         * throws the close frame away. */
        lws_set_timeout(wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
    } else if (w->ping_due && m) {
        lws_callback_on_writable(wsi); /* one frame each turn */
    } else if (w->ping_due) {
        return ws_ping(w);
    }
    return 0;
}

static void ws_closed(struct httpd *h, struct session *s) {
    ws_id id = s->id;
    if (!slots_get(h->websockets, id))
        return;
    httpd_ws_drop(h, id);
    s->id = 0;
    h->cfg.ws.closed(id, h->cfg.arg);
}

int httpd_on_ws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct httpd *h = wsi ? httpd_of(wsi) : NULL;
    struct session *s = user;
    if (!h || h->closing)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION:
        return ws_filter(h, wsi);
    case LWS_CALLBACK_ESTABLISHED:
        return ws_open(h, wsi, s);
    case LWS_CALLBACK_RECEIVE_PONG:
        ws_heard(h, s);
        return 0;
    case LWS_CALLBACK_RECEIVE:
        ws_heard(h, s);
        return ws_receive(h, wsi, s, in, len);
    case LWS_CALLBACK_SERVER_WRITEABLE:
        return ws_writable(h, wsi, s);
    case LWS_CALLBACK_CLOSED:
        ws_closed(h, s);
        return 0;
    default:
        return 0;
    }
}

int httpd_ws_send(struct httpd *h, ws_id id, const void *p, size_t len, bool binary) {
    struct websocket *w = slots_get(h->websockets, id);
    if (!w || w->closing || h->closing)
        return E_NOTFOUND;
    if (w->queued_bytes + len > h->cfg.queue_max_bytes) {
        w->closing = true;
        w->close_code = LWS_CLOSE_STATUS_POLICY_VIOLATION;
        lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
        return E_FULL;
    }
    struct message *m = malloc(sizeof *m + LWS_PRE + len);
    if (!m)
        return E_NOMEM;
    m->next = NULL;
    m->len = len;
    m->binary = binary;
    memcpy(m->p + LWS_PRE, p, len);
    LL_APPEND(w->queue, m);
    w->queued_bytes += len;
    lws_callback_on_writable(w->wsi);
    return 0;
}

void httpd_ws_close(struct httpd *h, ws_id id, int code, const char *reason) {
    struct websocket *w = slots_get(h->websockets, id);
    if (!w || w->closing || h->closing)
        return;
    w->closing = true;
    w->close_code = code;
    snprintf(w->close_reason, sizeof w->close_reason, "%s", reason);
    lws_callback_on_writable(w->wsi);
}
