/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/peers/peer_ws.h"

#include "base/buf.h"
#include "base/err.h"

#include <libwebsockets.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define MESSAGE_MAX_BYTES 262144
#define PING_S            15 /* a server that is silent for so long is asked, */
#define PING_HANGUP_S     25 /* and given up after this */

struct outgoing {
    struct outgoing *next;
    size_t len;
    uint8_t p[]; /* LWS_PRE bytes, then the message */
};

struct peer_net {
    struct lws_context *context;
    void *loops[1];
    struct peer_ws *sockets; /* libwebsockets says nothing of those that were connecting when it was taken down */
    bool closing;
};

struct peer_ws {
    struct peer_net *net;
    struct peer_ws *prev, *next;
    struct peer_ws_ops ops;
    void *arg;
    struct lws *wsi;
    struct outgoing *queue;
    struct buf in;
    bool connecting, open, closing, over;
};

static void ws_free(struct peer_ws *w) {
    struct outgoing *o, *next;
    LL_FOREACH_SAFE(w->queue, o, next) {
        free(o);
    }
    buf_free(&w->in);
    DL_DELETE(w->net->sockets, w);
    free(w);
}

static void ws_over(struct peer_ws *w, const struct peer_net *n, const char *why) {
    w->over = true;
    if (w->connecting) /* peer_ws_connect still needs it, and returns the error */
        return;
    if (!n->closing)
        w->ops.closed(why, w->arg);
    ws_free(w);
}

static int ws_receive(struct peer_ws *w, const void *p, size_t len) {
    buf_add(&w->in, p, len);
    if (w->in.len > MESSAGE_MAX_BYTES)
        return -1;
    if (!lws_is_final_fragment(w->wsi) || lws_remaining_packet_payload(w->wsi) > 0)
        return 0;
    if (!lws_frame_is_binary(w->wsi))
        w->ops.text(w->in.p ? w->in.p : "", w->in.len, w->arg);
    buf_reset(&w->in);
    return 0;
}

static int ws_write(struct peer_ws *w) {
    struct outgoing *o = w->queue;
    if (o) {
        LL_DELETE(w->queue, o);
        int n = lws_write(w->wsi, o->p + LWS_PRE, o->len, LWS_WRITE_TEXT);
        free(o);
        if (n < 0)
            return -1;
    }
    if (w->queue)
        lws_callback_on_writable(w->wsi);
    else if (w->closing)
        return -1;
    return 0;
}

static int ws_event(struct peer_ws *w, struct lws *wsi, enum lws_callback_reasons reason, void *in, size_t len) {
    switch (reason) {
    case LWS_CALLBACK_CLIENT_ESTABLISHED:
        w->wsi = wsi;
        w->open = true;
        w->ops.open(w->arg);
        return 0;
    case LWS_CALLBACK_CLIENT_RECEIVE:
        return ws_receive(w, in, len);
    case LWS_CALLBACK_CLIENT_WRITEABLE:
        return ws_write(w);
    default:
        return 0;
    }
}

static int on_lws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct peer_ws *w = user;
    struct peer_net *n = wsi ? lws_context_user(lws_get_context(wsi)) : NULL;
    if (!w || !n)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_CLIENT_CONNECTION_ERROR:
        ws_over(w, n, in ? (const char *)in : "connection failed");
        return 0;
    case LWS_CALLBACK_CLIENT_CLOSED:
        ws_over(w, n, "closed");
        return 0;
    default:
        return n->closing ? 0 : ws_event(w, wsi, reason, in, len);
    }
}

static const struct lws_protocols protocols[] = {{"wakegate-peer", on_lws, 0, 65536, 0, NULL, 0}, {0}};

int peer_net_new(struct peer_net **np, uv_loop_t *loop, const char *ca_file) {
    struct peer_net *n = calloc(1, sizeof *n);
    if (!n)
        return E_NOMEM;
    lws_set_log_level(LLL_ERR, NULL);
    n->loops[0] = loop;
    struct lws_context_creation_info info = {
        .port = CONTEXT_PORT_NO_LISTEN,
        .protocols = protocols,
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT,
        .foreign_loops = n->loops,
        .client_ssl_ca_filepath = ca_file,
        .user = n,
    };
    n->context = lws_create_context(&info);
    if (!n->context) {
        free(n);
        return E_IO;
    }
    *np = n;
    return 0;
}

void peer_net_close(struct peer_net *n) {
    n->closing = true;
    lws_context_destroy(n->context);
}

struct peer_net *peer_net_free(struct peer_net *n) {
    if (!n)
        return NULL;
    /* On a loop that is not its own, libwebsockets frees the context only when it is told again after its handles are
     * gone. */
    lws_context_destroy(n->context);
    while (n->sockets)
        ws_free(n->sockets);
    free(n);
    return NULL;
}

static const lws_retry_bo_t ping_policy = {.secs_since_valid_ping = PING_S, .secs_since_valid_hangup = PING_HANGUP_S};

int peer_ws_connect(struct peer_ws **wp, struct peer_net *n, const char *url, const char *protocol,
                    const struct peer_ws_ops *ops, void *arg) {
    char copy[1024], target[1024], host[256];
    const char *scheme, *address, *path;
    int port;
    if (strlen(url) >= sizeof copy)
        return E_INVAL;
    snprintf(copy, sizeof copy, "%s", url);
    if (lws_parse_uri(copy, &scheme, &address, &port, &path) != 0)
        return E_INVAL;
    snprintf(target, sizeof target, "/%s", path);
    snprintf(host, sizeof host, "%s:%d", address, port);
    struct peer_ws *w = calloc(1, sizeof *w);
    if (!w)
        return E_NOMEM;
    w->net = n;
    w->ops = *ops;
    w->arg = arg;
    DL_APPEND(n->sockets, w);
    struct lws_client_connect_info ci = {
        .context = n->context,
        .address = address,
        .port = port,
        .path = target,
        .host = host,
        .origin = host,
        .protocol = protocol,
        .local_protocol_name = "wakegate-peer",
        .userdata = w,
        .retry_and_idle_policy = &ping_policy,
        .ssl_connection = strcmp(scheme, "wss") == 0 ? LCCSCF_USE_SSL : 0,
    };
    w->connecting = true;
    w->wsi = lws_client_connect_via_info(&ci);
    w->connecting = false;
    if (!w->wsi || w->over) {
        ws_free(w);
        return E_IO;
    }
    *wp = w;
    return 0;
}

void peer_ws_send(struct peer_ws *w, const char *p, size_t len) {
    struct outgoing *o = malloc(sizeof *o + LWS_PRE + len);
    if (!o)
        return;
    o->next = NULL;
    o->len = len;
    memcpy(o->p + LWS_PRE, p, len);
    LL_APPEND(w->queue, o);
    if (w->open)
        lws_callback_on_writable(w->wsi);
}

void peer_ws_close(struct peer_ws *w) {
    w->closing = true;
    if (w->open)
        lws_callback_on_writable(w->wsi);
    else
        lws_set_timeout(w->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}
