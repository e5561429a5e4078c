/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/httpd_priv.h"
#include "base/log.h"

#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES     2048     /* of a reply */
#define HEADER_VALUE_MAX 1024     /* of a request's header that we read */
#define ARG_MAX_BYTES    2048     /* one name=value of a query */
#define BODY_MAX_US      30000000 /* for a body to arrive; a byte now and then would hold its connection for ever */
#define STREAM_SEND_BYTES                                                                                              \
    131072 /* of a stream in the kernel; a reader that is behind by more is for its writer to judge */
#define STREAM_CHUNK_BYTES 20480 /* a writer's 16 KiB, and the last thing that it appends */
#define STREAM_TIMEOUT_MS  60000 /* for a stream's reader to acknowledge what was sent */

/* The request's headers that handlers see, in the order of exchange.values. */
static const struct {
    enum lws_token_indexes token; /* or a name that libwebsockets has no token for */
    const char *name;
} header_names[] = {{WSI_TOKEN_HTTP_AUTHORIZATION, NULL},
                    {WSI_TOKEN_HTTP_CONTENT_TYPE, NULL},
                    {WSI_TOKEN_HTTP_ACCEPT, NULL},
                    {WSI_TOKEN_HTTP_IF_MATCH, NULL},
                    {WSI_TOKEN_HTTP_IF_NONE_MATCH, NULL},
                    {WSI_TOKEN_ORIGIN, NULL},
                    {WSI_TOKEN_COUNT, "idempotency-key:"},
                    {WSI_TOKEN_COUNT, "last-event-id:"},
                    {WSI_TOKEN_COUNT, "access-control-request-method:"}};

enum {
    VALUE_AUTHORIZATION,
    VALUE_CONTENT_TYPE,
    VALUE_ACCEPT,
    VALUE_IF_MATCH,
    VALUE_IF_NONE_MATCH,
    VALUE_ORIGIN,
    VALUE_IDEMPOTENCY,
    VALUE_LAST_EVENT,
    VALUE_WANTED_METHOD
};

static const struct {
    enum lws_token_indexes token;
    const char *name;
} methods[] = {{WSI_TOKEN_GET_URI, "GET"},       {WSI_TOKEN_POST_URI, "POST"},   {WSI_TOKEN_PUT_URI, "PUT"},
               {WSI_TOKEN_DELETE_URI, "DELETE"}, {WSI_TOKEN_PATCH_URI, "PATCH"}, {WSI_TOKEN_OPTIONS_URI, "OPTIONS"},
               {WSI_TOKEN_HEAD_URI, "HEAD"}};

static const uint8_t no_bytes[LWS_PRE]; /* that libwebsockets writes its own before ours into */

/* Requests */

void httpd_exchange_drop(struct httpd *h, struct session *s) {
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
        .if_none_match = v[VALUE_IF_NONE_MATCH],
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

static const char *value_of(const struct httpd *h, http_id id, int value) {
    const struct exchange *x = slots_get(h->exchanges, id);
    return x && x->values[value] ? x->values[value] : "";
}

const char *httpd_origin(const struct httpd *h, http_id id) {
    return value_of(h, id, VALUE_ORIGIN);
}

const char *httpd_if_none_match(const struct httpd *h, http_id id) {
    return value_of(h, id, VALUE_IF_NONE_MATCH);
}

bool httpd_is_preflight(const struct httpd *h, http_id id) {
    const struct exchange *x = slots_get(h->exchanges, id);
    return x && strcmp(x->method, "OPTIONS") == 0 && *value_of(h, id, VALUE_WANTED_METHOD);
}

struct addr httpd_peer(const struct httpd *h, http_id id) {
    const struct exchange *x = slots_get(h->exchanges, id);
    struct sockaddr_storage ss;
    socklen_t len = sizeof ss;
    struct addr peer = {0};
    if (x && getpeername(lws_get_socket_fd(x->wsi), (struct sockaddr *)&ss, &len) == 0)
        addr_from_sockaddr(&peer, (struct sockaddr *)&ss);
    return peer;
}

static void refuse(struct httpd *h, struct exchange *x, http_id id, int status, const char *detail) {
    x->dispatched = x->close_after = true;
    h->cfg.refused(id, status, detail, h->cfg.arg);
}

/* The request's head is there. */
static int on_request(struct httpd *h, struct lws *wsi, struct session *s, const char *path) {
    char length[24];
    bool bad = false;
    httpd_exchange_drop(h, s);
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
    if (lws_write(wsi, x->head + LWS_PRE, x->head_len, LWS_WRITE_HTTP_HEADERS | LWS_WRITE_H2_STREAM_END) < 0)
        return -1;
    bool close_after = x->close_after;
    httpd_exchange_drop(h, s);
    return close_after || lws_http_transaction_completed(wsi) ? -1 : 0;
}

static int add_header(struct lws *wsi, const char *name, const char *value, uint8_t **at, uint8_t *end) {
    char with_colon[64];
    snprintf(with_colon, sizeof with_colon, "%s:", name);
    return lws_add_http_header_by_name(wsi, (const unsigned char *)with_colon, (const unsigned char *)value,
                                       (int)strlen(value), at, end);
}

/* With room for a body of len bytes behind it: head and body leave in one TLS record and one packet. */
static int build_head(struct exchange *x, int status, const char *content_type, size_t len,
                      const struct http_header *headers, size_t header_count) {
    x->head = malloc(LWS_PRE + HEADER_BYTES + len);
    if (!x->head)
        return E_NOMEM;
    uint8_t *start = x->head + LWS_PRE, *at = start, *end = start + HEADER_BYTES - 1;
    if (lws_add_http_header_status(x->wsi, (unsigned)status, &at, end))
        return E_FULL;
    if (content_type && add_header(x->wsi, "content-type", content_type, &at, end))
        return E_FULL;
    if (status != 204 && status != 304 && !x->stream && lws_add_http_header_content_length(x->wsi, len, &at, end))
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
        memcpy(x->head + LWS_PRE + x->head_len, body, len);
        x->head_len += len;
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

int httpd_on_http(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len) {
    struct httpd *h = wsi ? httpd_of(wsi) : NULL;
    struct session *s = user; /* but of a connection's callbacks alone */
    if (h && !h->closing && reason == LWS_CALLBACK_FILTER_NETWORK_CONNECTION)
        return httpd_filter_connection(h, (lws_intptr_t)in);
    if (h && h->certificate && reason == LWS_CALLBACK_OPENSSL_LOAD_EXTRA_SERVER_VERIFY_CERTS)
        httpd_tls_attach(h, user);
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
        httpd_exchange_drop(h, s);
        return 0;
    case LWS_CALLBACK_FILTER_PROTOCOL_CONNECTION: /* a WebSocket without our subprotocol */
        return -1;
    default:
        return 0;
    }
}
