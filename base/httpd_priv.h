/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the server share: httpd.c (life, connections), httpd_exchange.c (requests, replies, streams),
 * httpd_ws.c (WebSockets), httpd_tls.c (certificates). */
#ifndef BASE_HTTPD_PRIV_H
#define BASE_HTTPD_PRIV_H

#include "base/httpd.h"

#include <libwebsockets.h>

/* A request from its head to its reply. */
struct exchange {
    struct lws *wsi;
    char method[8];
    char *path;
    char *values[9]; /* of header_names */
    struct buf body;
    uint64_t received_us;
    bool dispatched, replied, headers_sent, close_after;
    uint8_t *head; /* LWS_PRE bytes, then the reply's head, and its body unless it is a stream */
    size_t head_len;
    const struct httpd_stream_ops *stream; /* NULL: a reply with an end */
    void *stream_arg;
    bool stream_ends;
};

struct message {
    struct message *next;
    size_t len;
    bool binary;
    uint8_t p[]; /* LWS_PRE bytes, then the message */
};

struct websocket {
    struct lws *wsi;
    struct message *queue;
    size_t queued_bytes;
    unsigned queued_messages;
    struct buf in;
    bool in_binary, closing;
    uint64_t heard_ms;     /* when something came last, monotonic */
    bool pinged, ping_due; /* asked for its silence; and that ping has not left */
    bool unasked;          /* something left, and no ping after it */
    bool asked;            /* that ping left, at asked_ms, and its pong has not come */
    uint64_t asked_ms;
    int close_code;
    char close_reason[64];
};

struct httpd {
    struct httpd_config cfg;
    struct lws_context *context;
    void *loops[1];
    struct lws_protocols protocols[3];
    struct slots *exchanges, *websockets;
    struct addr address;
    struct httpd_certificate *certificate; /* NULL: plain HTTP */
    uint64_t refused_us;                   /* when a refusal was logged last */
    bool closing;
    uv_timer_t pinger;
    uv_idle_t closer;
    int closing_turns;
    void (*done)(void *arg);
    void *done_arg;
};

/* What libwebsockets keeps for each connection. */
struct session {
    slot_id id; /* of the exchange, or the websocket */
};

static inline struct httpd *httpd_of(struct lws *wsi) {
    return lws_context_user(lws_get_context(wsi));
}

/* httpd_exchange.c */
int httpd_on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
void httpd_exchange_drop(struct httpd *h, struct session *s);

/* httpd_ws.c */
int httpd_on_ws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
void httpd_ws_drop(struct httpd *h, ws_id id);
/* Ask those that are silent, and give up those that stay so. */
void httpd_ws_sweep(struct httpd *h);

/* httpd_tls.c: the certificate of h goes into each handshake of this SSL_CTX. */
void httpd_tls_attach(struct httpd *h, void *ssl_ctx);

/* httpd.c: may a new connection stay? Returns 0, or -1. */
int httpd_filter_connection(struct httpd *h, lws_intptr_t fd);

#endif
