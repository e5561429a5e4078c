/* SPDX-License-Identifier: Apache-2.0 */
#include "base/httpd_priv.h"

#include "base/clock.h"

#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define WS_USER_TIMEOUT_MS 5000
#define WS_CLOSE_S         5      /* for what is queued, and the close frame, to leave */
#define WS_SEND_BYTES      131072 /* of the kernel's, for a peer that does not read; else it grows to megabytes */

/* Handoffs carry keys. */
static void message_free(struct message *m) {
    lws_explicit_bzero(m->p, LWS_PRE + m->len);
    free(m);
}

static void empty_queue(struct websocket *w) {
    struct message *m, *next;
    LL_FOREACH_SAFE(w->queue, m, next) {
        message_free(m);
    }
    w->queue = NULL;
    w->queued_bytes = 0;
    w->queued_messages = 0;
}

void httpd_ws_drop(struct httpd *h, ws_id id) {
    struct websocket *w = slots_get(h->websockets, id);
    if (!w)
        return;
    empty_queue(w);
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
    /* What is sent and not acknowledged shows a dead path in seconds. Where a proxy acknowledges, the ping does. */
    int timeout = WS_USER_TIMEOUT_MS, send_bytes = WS_SEND_BYTES;
    setsockopt(lws_get_socket_fd(wsi), SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    setsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    if (getpeername(lws_get_socket_fd(wsi), (struct sockaddr *)&ss, &len) == 0)
        addr_from_sockaddr(&peer, (struct sockaddr *)&ss);
    h->cfg.ws.open(s->id, &peer, h->cfg.arg);
    return 0;
}

/* A pong brings the ping's payload back, so it tells which one it answers. (libwebsockets keeps a pong without a
 * payload to itself.) */
enum { PING_AFTER_SILENCE, PING_AFTER_MESSAGES };

static int ping(struct websocket *w, uint8_t kind) {
    uint8_t frame[LWS_PRE + 1] = {0};
    frame[LWS_PRE] = kind;
    return lws_write(w->wsi, frame + LWS_PRE, 1, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* TCP, or a proxy, may take what the peer never reads: a ping behind the messages asks the peer itself. */
static int ask(struct websocket *w) {
    w->unasked = false;
    w->asked = true;
    w->asked_ms = clock_mono_ms();
    return ping(w, PING_AFTER_MESSAGES);
}

static void ws_heard(const struct httpd *h, const struct session *s) {
    struct websocket *w = slots_get(h->websockets, s->id);
    if (!w)
        return;
    w->heard_ms = clock_mono_ms();
    w->pinged = false;
}

static void ws_pong(struct httpd *h, struct lws *wsi, const struct session *s, const uint8_t *p, size_t len) {
    struct websocket *w = slots_get(h->websockets, s->id);
    ws_heard(h, s);
    if (!w || !w->asked || len != 1 || p[0] != PING_AFTER_MESSAGES)
        return;
    w->asked = false;
    if (w->unasked)
        lws_callback_on_writable(wsi);
}

/* No answer, and nothing else either. */
static bool is_dead(const struct httpd *h, const struct websocket *w, uint64_t now_ms) {
    uint64_t since_ms = w->asked_ms > w->heard_ms ? w->asked_ms : w->heard_ms;
    return now_ms - w->heard_ms >= 2ULL * h->cfg.ping_ms || (w->asked && now_ms - since_ms >= h->cfg.answer_max_ms);
}

void httpd_ws_sweep(struct httpd *h) {
    uint64_t now_ms = clock_mono_ms();
    uint32_t cursor = 0;
    slot_id id;
    while (slots_next(h->websockets, &cursor, &id)) {
        struct websocket *w = slots_get(h->websockets, id);
        if (is_dead(h, w, now_ms)) {
            /* At once: outside of its callbacks libwebsockets does not see that a timer was set. w is gone then. */
            lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_SYNC);
        } else if (now_ms - w->heard_ms >= h->cfg.ping_ms && !w->pinged && !w->closing) {
            w->pinged = w->ping_due = true;
            lws_callback_on_writable(w->wsi);
        }
    }
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
        w->queued_messages--;
        w->unasked = true;
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
    } else if (m && (w->ping_due || w->unasked)) {
        lws_callback_on_writable(wsi); /* one frame each turn */
    } else if (w->unasked && !w->asked && h->cfg.answer_max_ms) {
        w->ping_due = false;
        return ask(w);
    } else if (w->ping_due) {
        w->ping_due = false;
        return ping(w, PING_AFTER_SILENCE);
    }
    return 0;
}

static void ws_closed(struct httpd *h, struct session *s) {
    ws_id id = s->id;
    struct websocket *w = slots_get(h->websockets, id);
    if (!w)
        return;
    w->closing = true;
    s->id = 0;
    h->cfg.ws.closed(id, h->cfg.arg);
    httpd_ws_drop(h, id);
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
    case LWS_CALLBACK_RECEIVE:
        ws_heard(h, s);
        return ws_receive(h, wsi, s, in, len);
    case LWS_CALLBACK_RECEIVE_PONG:
        ws_pong(h, wsi, s, in, len);
        return 0;
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
    if (w->queued_bytes + len > h->cfg.queue_max_bytes || w->queued_messages >= h->cfg.queue_max_messages) {
        /* Should it read again, it is told; a message that left in part is completed before. */
        empty_queue(w);
        w->unasked = true;
        httpd_ws_close(h, id, LWS_CLOSE_STATUS_POLICY_VIOLATION, "too slow");
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
    w->queued_messages++;
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
    lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_REASON_BASE, WS_CLOSE_S);
    lws_callback_on_writable(w->wsi);
}

bool httpd_ws_delivered(const struct httpd *h, ws_id id) {
    const struct websocket *w = slots_get(h->websockets, id);
    return w && !w->queue && !w->unasked && !w->asked;
}
