/* SPDX-License-Identifier: Apache-2.0 */
#include "base/httpd.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <libwebsockets.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <utlist.h>

#define CONNECTIONS_MAX    65536
#define HEADER_BYTES       2048     /* of a reply */
#define HEADER_VALUE_MAX   1024     /* of a request's header that we read */
#define ARG_MAX_BYTES      2048     /* one name=value of a query */
#define FDS_RESERVED       64       /* for what is no connection of a client: push services, files */
#define REFUSED_LOG_US     10000000 /* how often that is said */
#define CLOSING_TURNS      8        /* of the loop, in which libwebsockets ends; it needs three */
#define BODY_MAX_US        30000000 /* for a body to arrive; a byte now and then would hold its connection for ever */
#define PING_S             20       /* a WebSocket that is silent for so long is asked, */
#define WS_USER_TIMEOUT_MS 5000
#define PING_HANGUP_S      40 /* and given up after this */
#define STREAM_SEND_BYTES                                                                                              \
    131072 /* of a stream in the kernel; a reader that is behind by more is for its writer to judge */
#define STREAM_CHUNK_BYTES 20480 /* a writer's 16 KiB, and the last thing that it appends */
#define STREAM_TIMEOUT_MS  60000 /* for a stream's reader to acknowledge what was sent */

struct message {
    struct message *next;
    size_t len;
    bool binary;
    uint8_t p[]; /* LWS_PRE bytes, then the message */
};

/* A request from its head to its reply. */
struct exchange {
    struct lws *wsi;
    char method[8];
    char *path;
    char *values[6]; /* of header_names */
    struct buf body;
    uint64_t received_us;
    bool dispatched, replied, headers_sent, close_after;
    uint8_t *head; /* LWS_PRE bytes, then the reply's head */
    size_t head_len;
    uint8_t *out; /* LWS_PRE bytes, then the reply's body */
    size_t out_len;
    const struct httpd_stream_ops *stream; /* NULL: a reply with an end */
    void *stream_arg;
    bool stream_ends;
};

struct websocket {
    struct lws *wsi;
    struct message *queue;
    size_t queued_bytes;
    struct buf in;
    bool in_binary, closing;
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
    uint64_t refused_us; /* when a refusal was logged last */
    bool closing;
    uv_idle_t closer;
    int closing_turns;
    void (*done)(void *arg);
    void *done_arg;
};

/* What libwebsockets keeps for each connection. */
struct session {
    slot_id id; /* of the exchange, or the websocket */
};

/* The request's headers that handlers see, in the order of exchange.values. */
static const struct {
    enum lws_token_indexes token; /* or a name that libwebsockets has no token for */
    const char *name;
} header_names[] = {{WSI_TOKEN_HTTP_AUTHORIZATION, NULL},  {WSI_TOKEN_HTTP_CONTENT_TYPE, NULL},
                    {WSI_TOKEN_HTTP_ACCEPT, NULL},         {WSI_TOKEN_HTTP_IF_MATCH, NULL},
                    {WSI_TOKEN_COUNT, "idempotency-key:"}, {WSI_TOKEN_COUNT, "last-event-id:"}};

enum { VALUE_AUTHORIZATION, VALUE_CONTENT_TYPE, VALUE_ACCEPT, VALUE_IF_MATCH, VALUE_IDEMPOTENCY, VALUE_LAST_EVENT };

static const struct {
    enum lws_token_indexes token;
    const char *name;
} methods[] = {{WSI_TOKEN_GET_URI, "GET"},       {WSI_TOKEN_POST_URI, "POST"},   {WSI_TOKEN_PUT_URI, "PUT"},
               {WSI_TOKEN_DELETE_URI, "DELETE"}, {WSI_TOKEN_PATCH_URI, "PATCH"}, {WSI_TOKEN_OPTIONS_URI, "OPTIONS"},
               {WSI_TOKEN_HEAD_URI, "HEAD"}};

static const uint8_t no_bytes[LWS_PRE]; /* that libwebsockets writes its own before ours into */

static struct httpd *httpd_of(struct lws *wsi) {
    return lws_context_user(lws_get_context(wsi));
}

/* Requests */

static void exchange_drop(struct httpd *h, struct session *s) {
    struct exchange *x = slots_get(h->exchanges, s->id);
    if (!x)
        return;
    const struct httpd_stream_ops *stream = x->stream;
    void *stream_arg = x->stream_arg;
    http_id id = s->id;
    for (size_t i = 0; i < sizeof x->values / sizeof *x->values; i++) {
        if (x->values[i])
            lws_explicit_bzero(x->values[i], strlen(x->values[i])); /* credentials */
        free(x->values[i]);
    }
    free(x->path);
    free(x->head);
    free(x->out);
    buf_wipe(&x->body);
    slots_release(h->exchanges, s->id);
    s->id = 0;
    if (stream)
        stream->closed(id, stream_arg);
}

/* A copy of a header's value; NULL when absent, *bad when longer than we take. */
static char *copy_header(struct lws *wsi, enum lws_token_indexes token, const char *name, bool *bad) {
    char value[HEADER_VALUE_MAX + 1];
    int len = name ? lws_hdr_custom_length(wsi, name, (int)strlen(name)) : lws_hdr_total_length(wsi, token);
    if (len <= 0)
        return NULL;
    *bad = *bad || len > HEADER_VALUE_MAX;
    int n = *bad   ? -1
            : name ? lws_hdr_custom_copy(wsi, value, sizeof value, name, (int)strlen(name))
                   : lws_hdr_copy(wsi, value, sizeof value, token);
    char *copy = n < 0 ? NULL : strdup(value);
    lws_explicit_bzero(value, sizeof value);
    return copy;
}

static void dispatch(struct httpd *h, struct exchange *x, http_id id) {
    const char *v[sizeof x->values / sizeof *x->values];
    for (size_t i = 0; i < sizeof v / sizeof *v; i++)
        v[i] = x->values[i] ? x->values[i] : "";
    struct httpd_request r = {
        .id = id,
        .method = x->method,
        .path = x->path,
        .body = x->body.p ? x->body.p : "",
        .body_len = x->body.len,
        .authorization = v[VALUE_AUTHORIZATION],
        .content_type = v[VALUE_CONTENT_TYPE],
        .accept = v[VALUE_ACCEPT],
        .if_match = v[VALUE_IF_MATCH],
        .idempotency_key = v[VALUE_IDEMPOTENCY],
        .last_event_id = v[VALUE_LAST_EVENT],
        .received_us = x->received_us,
        .args = x->wsi,
    };
    x->dispatched = true;
    h->cfg.request(&r, h->cfg.arg);
}

bool httpd_arg(const struct httpd_request *r, const char *name, char *out, size_t cap) {
    struct lws *wsi = (struct lws *)(uintptr_t)r->args;
    char arg[ARG_MAX_BYTES];
    size_t name_len = strlen(name);
    int len;
    out[0] = 0;
    for (int i = 0; (len = lws_hdr_copy_fragment(wsi, arg, sizeof arg, WSI_TOKEN_HTTP_URI_ARGS, i)) >= 0; i++) {
        if ((size_t)len <= name_len || memcmp(arg, name, name_len) != 0 || arg[name_len] != '=')
            continue;
        snprintf(out, cap, "%s", arg + name_len + 1);
        return true;
    }
    return false;
}

static void refuse(struct httpd *h, struct exchange *x, http_id id, int status, const char *detail) {
    x->dispatched = x->close_after = true;
    h->cfg.refused(id, status, detail, h->cfg.arg);
}

/* The request's head is there. */
static int on_request(struct httpd *h, struct lws *wsi, struct session *s, const char *path) {
    char length[24];
    bool bad = false;
    exchange_drop(h, s);
    struct exchange *x = slots_alloc(h->exchanges, &s->id);
    if (!x)
        return -1;
    x->wsi = wsi;
    x->received_us = clock_mono_us();
    x->path = strdup(path);
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (lws_hdr_total_length(wsi, methods[i].token))
            snprintf(x->method, sizeof x->method, "%s", methods[i].name);
    for (size_t i = 0; i < sizeof header_names / sizeof *header_names; i++)
        x->values[i] = copy_header(wsi, header_names[i].token, header_names[i].name, &bad);
    bool has_length = lws_hdr_copy(wsi, length, sizeof length, WSI_TOKEN_HTTP_CONTENT_LENGTH) > 0;
    unsigned long long bytes = has_length ? strtoull(length, NULL, 10) : 0;
    if (!x->path)
        return -1;
    if (bad)
        refuse(h, x, s->id, 431, "a header is longer than 1024 bytes");
    else if (lws_hdr_total_length(wsi, WSI_TOKEN_HTTP_TRANSFER_ENCODING))
        refuse(h, x, s->id, 411, "a chunked body is not taken; send Content-Length");
    else if (!has_length &&
             (strcmp(x->method, "POST") == 0 || strcmp(x->method, "PUT") == 0 || strcmp(x->method, "PATCH") == 0))
        refuse(h, x, s->id, 411, "Content-Length is missing");
    else if (bytes > h->cfg.body_max_bytes)
        refuse(h, x, s->id, 413, "the body is too large");
    else if (bytes == 0)
        dispatch(h, x, s->id);
    return 0;
}

static int on_body(struct httpd *h, struct session *s, const void *p, size_t len) {
    struct exchange *x = slots_get(h->exchanges, s->id);
    if (!x || x->dispatched)
        return 0;
    if (x->body.len + len > h->cfg.body_max_bytes || clock_mono_us() - x->received_us > BODY_MAX_US)
        return -1;
    buf_add(&x->body, p, len);
    return x->body.oom ? -1 : 0;
}

static int on_body_complete(struct httpd *h, struct session *s) {
    struct exchange *x = slots_get(h->exchanges, s->id);
    if (x && !x->dispatched)
        dispatch(h, x, s->id);
    return 0;
}

/* What libwebsockets could not write at once it keeps, and is writable again when that has left. */
static int on_stream_writable(struct httpd *h, struct lws *wsi, struct session *s) {
    struct exchange *x = slots_get(h->exchanges, s->id);
    struct buf out = {0};
    if (!x->headers_sent) {
        x->headers_sent = true;
        if (lws_write(wsi, x->head + LWS_PRE, x->head_len, LWS_WRITE_HTTP_HEADERS) < 0)
            return -1;
        lws_set_timeout(wsi, NO_PENDING_TIMEOUT, 0);
        lws_http_headers_detach(wsi); /* nobody needs the request's headers any more */
        lws_callback_on_writable(wsi);
        return strcmp(x->method, "HEAD") == 0 ? -1 : 0;
    }
    buf_reserve(&out, LWS_PRE + STREAM_CHUNK_BYTES);
    buf_add(&out, no_bytes, LWS_PRE);
    x->stream->writable(s->id, &out, x->stream_arg);
    size_t len = out.len > LWS_PRE ? out.len - LWS_PRE : 0;
    int err = out.oom || (len == 0 && x->stream_ends) ? -1 : 0;
    if (err == 0 && len > 0) {
        err = lws_write(wsi, (uint8_t *)out.p + LWS_PRE, len, LWS_WRITE_HTTP) < 0 ? -1 : 0;
        lws_callback_on_writable(wsi);
    }
    buf_free(&out);
    return err;
}

static int on_http_writable(struct httpd *h, struct lws *wsi, struct session *s) {
    struct exchange *x = slots_get(h->exchanges, s->id);
    if (!x || !x->replied)
        return 0;
    if (x->stream)
        return on_stream_writable(h, wsi, s);
    if (!x->headers_sent) {
        x->headers_sent = true;
        if (lws_write(wsi, x->head + LWS_PRE, x->head_len,
                      x->out_len ? LWS_WRITE_HTTP_HEADERS : LWS_WRITE_HTTP_HEADERS | LWS_WRITE_H2_STREAM_END) < 0)
            return -1;
        if (x->out_len) {
            lws_callback_on_writable(wsi);
            return 0;
        }
    } else if (lws_write(wsi, x->out + LWS_PRE, x->out_len, LWS_WRITE_HTTP_FINAL) < 0) {
        return -1;
    }
    bool close_after = x->close_after;
    exchange_drop(h, s);
    return close_after || lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int add_header(struct lws *wsi, const char *name, const char *value, uint8_t **at, uint8_t *end) {
    char with_colon[64];
    snprintf(with_colon, sizeof with_colon, "%s:", name);
    return lws_add_http_header_by_name(wsi, (const unsigned char *)with_colon, (const unsigned char *)value,
                                       (int)strlen(value), at, end);
}

static int build_head(struct exchange *x, int status, const char *content_type, size_t len,
                      const struct http_header *headers, size_t header_count) {
    x->head = malloc(LWS_PRE + HEADER_BYTES);
    if (!x->head)
        return E_NOMEM;
    uint8_t *start = x->head + LWS_PRE, *at = start, *end = start + HEADER_BYTES - 1;
    if (lws_add_http_header_status(x->wsi, (unsigned)status, &at, end))
        return E_FULL;
    if (content_type && add_header(x->wsi, "content-type", content_type, &at, end))
        return E_FULL;
    if (status != 204 && !x->stream && lws_add_http_header_content_length(x->wsi, len, &at, end))
        return E_FULL;
    if (x->close_after && add_header(x->wsi, "connection", "close", &at, end))
        return E_FULL;
    for (size_t i = 0; i < header_count; i++)
        if (add_header(x->wsi, headers[i].name, headers[i].value, &at, end))
            return E_FULL;
    if (lws_finalize_http_header(x->wsi, &at, end))
        return E_FULL;
    x->head_len = (size_t)(at - start);
    return 0;
}

void httpd_reply(struct httpd *h, http_id id, int status, const char *content_type, const void *body, size_t len,
                 const struct http_header *headers, size_t header_count) {
    struct exchange *x = slots_get(h->exchanges, id);
    if (!x || x->replied || h->closing)
        return;
    x->replied = true;
    int err = build_head(x, status, content_type, len, headers, header_count);
    bool is_head = strcmp(x->method, "HEAD") == 0;
    if (err == 0 && len && !is_head) {
        x->out = malloc(LWS_PRE + len);
        if (x->out)
            memcpy(x->out + LWS_PRE, body, len);
        x->out_len = len;
        err = x->out ? 0 : E_NOMEM;
    }
    if (err != 0) {
        log_error("http reply cannot be built", log_s("error", err_str(err)), log_i("status", status));
        lws_set_timeout(x->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
        return;
    }
    lws_callback_on_writable(x->wsi);
}

int httpd_stream(struct httpd *h, http_id id, const char *content_type, const struct http_header *headers,
                 size_t header_count, const struct httpd_stream_ops *ops, void *arg) {
    struct exchange *x = slots_get(h->exchanges, id);
    int send_bytes = STREAM_SEND_BYTES, timeout = STREAM_TIMEOUT_MS;
    if (!x || x->replied || h->closing)
        return E_NOTFOUND;
    x->stream = ops;
    x->stream_arg = arg;
    x->close_after = true; /* its end is the connection's */
    if (build_head(x, 200, content_type, 0, headers, header_count) != 0) {
        x->stream = NULL;
        return E_NOMEM;
    }
    setsockopt(lws_get_socket_fd(x->wsi), SOL_SOCKET, SO_SNDBUF, &send_bytes, sizeof send_bytes);
    setsockopt(lws_get_socket_fd(x->wsi), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    x->replied = true;
    lws_callback_on_writable(x->wsi);
    return 0;
}

static struct exchange *stream_of(const struct httpd *h, http_id id) {
    struct exchange *x = slots_get(h->exchanges, id);
    return x && x->stream && !h->closing ? x : NULL;
}

void httpd_stream_wake(struct httpd *h, http_id id) {
    struct exchange *x = stream_of(h, id);
    if (x)
        lws_callback_on_writable(x->wsi);
}

void httpd_stream_end(struct httpd *h, http_id id) {
    struct exchange *x = stream_of(h, id);
    if (!x)
        return;
    x->stream_ends = true;
    lws_callback_on_writable(x->wsi);
}

void httpd_stream_check(struct httpd *h, http_id id) {
    struct exchange *x = stream_of(h, id);
    struct pollfd p = {.events = POLLRDHUP};
    if (x)
        p.fd = lws_get_socket_fd(x->wsi);
    if (x && poll(&p, 1, 0) > 0)
        httpd_stream_cut(h, id);
}

void httpd_stream_cut(struct httpd *h, http_id id) {
    struct exchange *x = stream_of(h, id);
    if (x)
        lws_set_timeout(x->wsi, PENDING_TIMEOUT_USER_REASON_BASE, LWS_TO_KILL_ASYNC);
}

/* Without a descriptor left, accept() would fail at once again and again. Numbers are given out from the lowest, so a
 * high one says that few are left. */
static int filter_connection(struct httpd *h, lws_intptr_t fd) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || (rlim_t)fd + FDS_RESERVED < limit.rlim_cur)
        return 0;
    uint64_t now_us = clock_mono_us();
    if (h->refused_us == 0 || now_us - h->refused_us > REFUSED_LOG_US) {
        h->refused_us = now_us;
        log_warn("connection refused", log_s("detail", "too many are open; raise the limit of open files"),
                 log_i("limit", (int64_t)limit.rlim_cur));
    }
    return -1;
}

static int on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct httpd *h = wsi ? httpd_of(wsi) : NULL;
    struct session *s = user;
    if (h && !h->closing && reason == LWS_CALLBACK_FILTER_NETWORK_CONNECTION)
        return filter_connection(h, (lws_intptr_t)in);
    if (!h || !s || h->closing)
        return 0;
    switch (reason) {
    case LWS_CALLBACK_HTTP:
        return on_request(h, wsi, s, in);
    case LWS_CALLBACK_HTTP_BODY:
        return on_body(h, s, in, len);
    case LWS_CALLBACK_HTTP_BODY_COMPLETION:
        return on_body_complete(h, s);
    case LWS_CALLBACK_HTTP_WRITEABLE:
        return on_http_writable(h, wsi, s);
    case LWS_CALLBACK_CLOSED_HTTP:
        exchange_drop(h, s);
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: /* a WebSocket without our subprotocol */
        return -1;
    default:
        return 0;
    }
}

/* WebSockets */

/* Handoffs carry keys. */
static void message_free(struct message *m) {
    lws_explicit_bzero(m->p, LWS_PRE + m->len);
    free(m);
}

static void ws_drop(struct httpd *h, ws_id id) {
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
    /* What is sent and not acknowledged shows a dead path in seconds; the ping alone takes a minute. */
    int timeout = WS_USER_TIMEOUT_MS;
    setsockopt(lws_get_socket_fd(wsi), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    if (getpeername(lws_get_socket_fd(wsi), (struct sockaddr *)&ss, &len) == 0)
        addr_from_sockaddr(&peer, (struct sockaddr *)&ss);
    h->cfg.ws.open(s->id, &peer, h->cfg.arg);
    return 0;
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
    }
    return 0;
}

static void ws_closed(struct httpd *h, struct session *s) {
    ws_id id = s->id;
    if (!slots_get(h->websockets, id))
        return;
    ws_drop(h, id);
    s->id = 0;
    h->cfg.ws.closed(id, h->cfg.arg);
}

static int on_ws(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
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

/* Life */

static void on_lws_log(int level, const char *line) {
    char text[256];
    snprintf(text, sizeof text, "%s", line);
    text[strcspn(text, "\n")] = 0;
    log_at(level == LLL_ERR ? LOG_LEVEL_ERROR : LOG_LEVEL_WARN, "libwebsockets", log_s("message", text));
}

static int check_bind(const struct addr *a, const char *listen_text, struct err_text *et) {
    int one = 1, fd = socket(a->u.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_say(et, E_IO, "%s: no socket: %s", listen_text, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    int failed = bind(fd, &a->u.sa, addr_len(a)) != 0 || listen(fd, 1) != 0 ? errno : 0;
    close(fd);
    return failed ? err_say(et, E_IO, "%s: cannot listen: %s", listen_text, strerror(failed)) : 0;
}

static int check_files(const struct httpd_config *cfg, struct err_text *et) {
    const char *files[] = {cfg->certificate_file, cfg->key_file};
    for (size_t i = 0; i < 2; i++) {
        FILE *f = files[i] ? fopen(files[i], "re") : NULL;
        if (files[i] && !f)
            return err_say(et, E_IO, "%s: %s", files[i], strerror(errno));
        if (f)
            fclose(f);
    }
    return 0;
}

static const lws_retry_bo_t ping_policy = {.secs_since_valid_ping = PING_S, .secs_since_valid_hangup = PING_HANGUP_S};

static int create(struct httpd *h, struct err_text *et) {
    const struct httpd_config *cfg = &h->cfg;
    char ip[ADDR_STR_BYTES];
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = h->loops,
        .user = h,
        .pcontext = &h->context, /* NULL again when it is gone */
        .retry_and_idle_policy = &ping_policy,
        .pt_serv_buf_size = 16384,
    };
    if (cfg->certificate_file)
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    h->context = lws_create_context(&info);
    if (!h->context)
        return err_say(et, E_IO, "%s: libwebsockets does not start", cfg->listen);
    h->protocols[0] = (struct lws_protocols){"http", on_http, sizeof(struct session), 0, 0, NULL, 0};
    h->protocols[1] = (struct lws_protocols){cfg->ws_protocol, on_ws, sizeof(struct session), 0, 0, NULL, 0};
    info.port = addr_port(&h->address);
    info.iface = addr_ip(ip, &h->address);
    info.protocols = h->protocols;
    info.vhost_name = "api";
    info.keepalive_timeout = 60;
    info.timeout_secs = 10;
    info.alpn = "http/1.1";
    info.ssl_cert_filepath = cfg->certificate_file;
    info.ssl_private_key_filepath = cfg->key_file;
    if (h->address.u.sa.sa_family == AF_INET)
        info.options |= LWS_SERVER_OPTION_DISABLE_IPV6;
    struct lws_vhost *vhost = lws_create_vhost(h->context, &info);
    if (!vhost)
        return err_say(et, E_IO,
                       cfg->certificate_file ? "%s: no server: the certificate or its key cannot be used"
                                             : "%s: no server",
                       cfg->listen);
    addr_set_port(&h->address, (uint16_t)lws_get_vhost_port(vhost));
    return 0;
}

int httpd_start(struct httpd **hp, const struct httpd_config *cfg, struct err_text *et) {
    struct httpd *h = calloc(1, sizeof *h);
    if (!h)
        return err_say(et, E_NOMEM, "out of memory");
    h->cfg = *cfg;
    h->loops[0] = cfg->loop;
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    int err = addr_parse_hostport(&h->address, cfg->listen);
    if (err != 0)
        err_say(et, err, "\"%s\" is not an address and a port", cfg->listen);
    if (err == 0)
        err = check_bind(&h->address, cfg->listen, et);
    if (err == 0)
        err = check_files(cfg, et);
    if (err == 0 && (slots_new(&h->exchanges, sizeof(struct exchange), CONNECTIONS_MAX) != 0 ||
                     slots_new(&h->websockets, sizeof(struct websocket), CONNECTIONS_MAX) != 0))
        err = err_say(et, E_NOMEM, "out of memory");
    if (err == 0)
        err = create(h, et);
    if (err != 0) {
        h->closing = true;
        if (h->context)
            lws_context_destroy(h->context);
        for (int i = 0; i < CLOSING_TURNS; i++)
            uv_run(cfg->loop, UV_RUN_NOWAIT);
        if (h->context)
            lws_context_destroy(h->context);
        slots_free(h->exchanges);
        slots_free(h->websockets);
        free(h);
        return err;
    }
    *hp = h;
    return 0;
}

static void on_closer_closed(uv_handle_t *handle) {
    struct httpd *h = handle->data;
    void (*done)(void *) = h->done;
    void *arg = h->done_arg;
    slots_free(h->exchanges);
    slots_free(h->websockets);
    free(h);
    done(arg);
}

/* libwebsockets closes its handles in the loop's next turns, stage by stage, and its callbacks look into h until then.
 * (libuv calls back the handle closed last first: ours must not be closed in the same turn.) */
static void on_idle(uv_idle_t *idle) {
    struct httpd *h = idle->data;
    if (++h->closing_turns < CLOSING_TURNS)
        return;
    /* On a loop of somebody else's, the context is released by a second call. */
    if (h->context)
        lws_context_destroy(h->context);
    uv_idle_stop(idle);
    uv_close((uv_handle_t *)idle, on_closer_closed);
}

void httpd_close(struct httpd *h, void (*done)(void *arg), void *arg) {
    uint32_t cursor = 0;
    slot_id id;
    h->closing = true;
    h->done = done;
    h->done_arg = arg;
    while (slots_next(h->exchanges, &cursor, &id)) {
        struct session s = {id};
        exchange_drop(h, &s);
    }
    for (cursor = 0; slots_next(h->websockets, &cursor, &id);)
        ws_drop(h, id);
    lws_context_destroy(h->context);
    uv_idle_init(h->cfg.loop, &h->closer);
    h->closer.data = h;
    uv_idle_start(&h->closer, on_idle);
}

const struct addr *httpd_address(const struct httpd *h) {
    return &h->address;
}
