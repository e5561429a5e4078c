/* SPDX-License-Identifier: Apache-2.0 */
/* The provider side of the simulator: TCP, TLS with ALPN h2, and an nghttp2 server session for each connection. */
#include "apns/sim/sim_priv.h"
#include "apns/sim/sim_rules.h"
#include "base/clock.h"
#include "base/log.h"

#include <inttypes.h>
#include <nghttp2/nghttp2.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define READ_BYTES            16384
#define STREAMS_AT_START      1 /* until the first valid provider token */
#define HEADER_LIST_MAX_BYTES 8000
#define BACKLOG               128

struct sim_stream {
    struct sim_stream *prev, *next;
    int32_t id;
    struct sim_request request;
    char *body;
    char reply[256];
    size_t reply_len, reply_at;
};

struct sim_conn {
    struct sim_conn *prev, *next;
    struct sim *s;
    uv_tcp_t tcp;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    nghttp2_session *h2;
    struct sim_provider provider;
    struct sim_stream *streams;
    unsigned open_streams, limit;
    bool closing;
    char read_buffer[READ_BYTES];
};

struct sim_listener {
    uv_tcp_t tcp;
    SSL_CTX *ctx;
    struct addr address;
    struct sim_conn *conns;
    bool open;
    void (*done)(struct sim *s);
};

static void listener_maybe_done(struct sim *s) {
    struct sim_listener *l = s->listener;
    if (l->open || l->conns)
        return;
    void (*done)(struct sim *) = l->done;
    SSL_CTX_free(l->ctx);
    free(l);
    s->listener = NULL;
    if (done)
        done(s);
}

static void stream_free(struct sim_conn *c, struct sim_stream *st) {
    DL_DELETE(c->streams, st);
    free(st->body);
    free(st);
}

static void on_conn_closed(uv_handle_t *h) {
    struct sim_conn *c = h->data;
    struct sim *s = c->s;
    struct sim_stream *st, *next;
    nghttp2_session_del(c->h2);
    DL_FOREACH_SAFE(c->streams, st, next) {
        stream_free(c, st);
    }
    SSL_free(c->ssl);
    DL_DELETE(s->listener->conns, c);
    free(c);
    if (s->closed || s->listener->done)
        listener_maybe_done(s);
}

static void conn_close(struct sim_conn *c) {
    if (c->closing)
        return;
    c->closing = true;
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

/* Writing */

struct sim_write {
    uv_write_t req;
    char p[];
};

static void on_written(uv_write_t *req, int status) {
    (void)status; /* a broken connection shows at the next read */
    free(req);
}

static void push_tls(struct sim_conn *c) {
    size_t pending;
    while (!c->closing && (pending = BIO_ctrl_pending(c->out)) > 0) {
        struct sim_write *w = malloc(sizeof *w + pending);
        if (!w) {
            conn_close(c);
            return;
        }
        uv_buf_t buf = uv_buf_init(w->p, (unsigned)BIO_read(c->out, w->p, (int)pending));
        if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
            free(w);
            conn_close(c);
        }
    }
}

static void flush(struct sim_conn *c) {
    const uint8_t *p;
    ssize_t n = 0;
    while (!c->closing && (n = nghttp2_session_mem_send(c->h2, &p)) > 0)
        SSL_write(c->ssl, p, (int)n);
    push_tls(c);
    if (n < 0 || (!nghttp2_session_want_read(c->h2) && !nghttp2_session_want_write(c->h2)))
        conn_close(c);
}

/* Requests */

static const struct {
    const char *name;
    enum sim_header header;
} header_table[] = {{":method", SIM_METHOD},
                    {":path", SIM_PATH},
                    {":authority", SIM_AUTHORITY},
                    {"authorization", SIM_AUTHORIZATION},
                    {"apns-push-type", SIM_PUSH_TYPE},
                    {"apns-topic", SIM_TOPIC},
                    {"apns-priority", SIM_PRIORITY},
                    {"apns-expiration", SIM_EXPIRATION},
                    {"apns-id", SIM_ID},
                    {"apns-collapse-id", SIM_COLLAPSE_ID}};

static void take_header(struct sim_request *r, const char *name, size_t name_len, const char *value, size_t value_len) {
    for (size_t i = 0; i < sizeof header_table / sizeof *header_table; i++) {
        enum sim_header h = header_table[i].header;
        if (strlen(header_table[i].name) != name_len || memcmp(header_table[i].name, name, name_len) != 0)
            continue;
        r->duplicate = r->duplicate || r->seen[h];
        r->seen[h] = true;
        snprintf(r->value[h], sizeof r->value[h], "%.*s", (int)value_len, value);
    }
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct sim_conn *c = arg;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (c->open_streams >= c->limit) {
        nghttp2_submit_rst_stream(h2, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_REFUSED_STREAM);
        return 0;
    }
    struct sim_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    st->id = frame->hd.stream_id;
    DL_APPEND(c->streams, st);
    c->open_streams++;
    nghttp2_session_set_stream_user_data(h2, st->id, st);
    return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
    struct sim_stream *st = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    (void)flags;
    (void)arg;
    if (st)
        take_header(&st->request, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *arg) {
    struct sim_stream *st = nghttp2_session_get_stream_user_data(h2, id);
    (void)flags;
    (void)arg;
    if (!st)
        return 0;
    if (!st->body && !(st->body = malloc(SIM_BODY_MAX_BYTES)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    size_t room = SIM_BODY_MAX_BYTES - st->request.body_len, n = len < room ? len : room;
    memcpy(st->body + st->request.body_len, p, n);
    st->request.body_len += n;
    return 0;
}

static ssize_t read_reply(nghttp2_session *h2, int32_t id, uint8_t *out, size_t cap, uint32_t *flags,
                          nghttp2_data_source *source, void *arg) {
    struct sim_stream *st = source->ptr;
    (void)h2;
    (void)id;
    (void)arg;
    size_t n = st->reply_len - st->reply_at < cap ? st->reply_len - st->reply_at : cap;
    memcpy(out, st->reply + st->reply_at, n);
    st->reply_at += n;
    if (st->reply_at == st->reply_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

/* An answer that a test asked for goes before the rules. */
static bool scripted(struct sim *s, const struct sim_request *r, struct sim_verdict *v, char reason[static 64]) {
    const char *token = sim_path_token(r->value[SIM_PATH]);
    struct sim_scripted *a;
    LL_FOREACH(s->scripted, a) {
        if (a->token[0] && (!token || strcasecmp(a->token, token) != 0))
            continue;
        snprintf(reason, 64, "%s", a->reason);
        *v = (struct sim_verdict){.status = a->status, .reason = reason, .timestamp_ms = clock_wall_ms()};
        if (--a->count == 0) {
            LL_DELETE(s->scripted, a);
            free(a);
        }
        return true;
    }
    return false;
}

static void raise_limit(struct sim_conn *c) {
    nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->s->cfg.streams_max};
    if (c->limit >= c->s->cfg.streams_max || !c->provider.token[0])
        return;
    c->limit = c->s->cfg.streams_max;
    nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, &entry, 1);
}

static nghttp2_nv field(const char *name, const char *value) {
    return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name,
                        .value = (uint8_t *)(uintptr_t)value,
                        .namelen = strlen(name),
                        .valuelen = strlen(value)};
}

static int reply(struct sim_conn *c, struct sim_stream *st, const struct sim_verdict *v, const char *apns_id) {
    char status[16], unique[UUID_BYTES];
    nghttp2_nv nv[3];
    size_t n = 0;
    snprintf(status, sizeof status, "%d", v->status);
    nv[n++] = field(":status", status);
    nv[n++] = field("apns-id", apns_id);
    if (c->s->cfg.sandbox && v->status == 200)
        nv[n++] = field("apns-unique-id", uuid_new(unique));
    if (v->status == 200)
        return nghttp2_submit_response(c->h2, st->id, nv, n, NULL);
    int len = v->status == 410 ? snprintf(st->reply, sizeof st->reply, "{\"reason\":\"%s\",\"timestamp\":%" PRIu64 "}",
                                          v->reason, v->timestamp_ms)
                               : snprintf(st->reply, sizeof st->reply, "{\"reason\":\"%s\"}", v->reason);
    st->reply_len = (size_t)len;
    nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_reply};
    return nghttp2_submit_response(c->h2, st->id, nv, n, &body);
}

static void answer(struct sim_conn *c, struct sim_stream *st) {
    struct sim_request *r = &st->request;
    struct sim_verdict v;
    char apns_id[UUID_BYTES], reason[64];
    r->body = st->body ? st->body : "";
    if (r->seen[SIM_ID] && uuid_valid(r->value[SIM_ID]))
        snprintf(apns_id, sizeof apns_id, "%.36s", r->value[SIM_ID]);
    else
        uuid_new(apns_id);
    if (!scripted(c->s, r, &v, reason))
        sim_rules_judge(c->s, &c->provider, r, clock_wall_ms(), &v);
    sim_answered(c->s, r, apns_id, v.status, v.reason);
    reply(c, st, &v, apns_id);
    raise_limit(c);
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct sim_stream *st = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id) : NULL;
    if (st && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) &&
        (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS))
        answer(arg, st);
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg) {
    struct sim_conn *c = arg;
    struct sim_stream *st = nghttp2_session_get_stream_user_data(h2, id);
    (void)code;
    if (st) {
        c->open_streams--;
        stream_free(c, st);
    }
    return 0;
}

/* Connections */

static bool start_http2(struct sim_conn *c) {
    nghttp2_session_callbacks *cbs = NULL;
    const nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 4096},
                                               {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, STREAMS_AT_START},
                                               {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 65535},
                                               {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, 16384},
                                               {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, HEADER_LIST_MAX_BYTES}};
    c->limit = STREAMS_AT_START;
    if (nghttp2_session_callbacks_new(&cbs) != 0)
        return false;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    bool ok = nghttp2_session_server_new(&c->h2, cbs, c) == 0 &&
              nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0;
    nghttp2_session_callbacks_del(cbs);
    return ok;
}

/* True when the handshake is done. */
static bool handshake(struct sim_conn *c) {
    const unsigned char *alpn;
    unsigned alpn_len;
    if (SSL_is_init_finished(c->ssl))
        return true;
    int ret = SSL_do_handshake(c->ssl);
    push_tls(c);
    SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_len);
    if (ret == 1 && alpn_len > 0)
        return true;
    if (ret == 1) { /* on_alpn is not asked when the client names no protocol at all */
        conn_close(c);
        return false;
    }
    if (SSL_get_error(c->ssl, ret) != SSL_ERROR_WANT_READ) {
        const char *why = ERR_reason_error_string(ERR_peek_last_error());
        log_warn("tls handshake failed", log_s("why", why ? why : "closed"));
        conn_close(c);
    }
    return false;
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct sim_conn *c = stream->data;
    uint8_t plain[READ_BYTES];
    int got;
    if (n < 0) {
        conn_close(c);
        return;
    }
    BIO_write(c->in, buf->base, (int)n);
    ERR_clear_error();
    if (!handshake(c))
        return;
    if (!c->h2 && !start_http2(c)) {
        conn_close(c);
        return;
    }
    while ((got = SSL_read(c->ssl, plain, sizeof plain)) > 0) {
        if (nghttp2_session_mem_recv(c->h2, plain, (size_t)got) != got) {
            conn_close(c);
            return;
        }
    }
    int why = SSL_get_error(c->ssl, got);
    flush(c);
    if (why != SSL_ERROR_WANT_READ)
        conn_close(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct sim_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init(c->read_buffer, sizeof c->read_buffer);
}

static void on_connection(uv_stream_t *server, int status) {
    struct sim *s = server->data;
    struct sim_conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return;
    c->s = s;
    uv_tcp_init(s->loop, &c->tcp);
    c->tcp.data = c;
    DL_APPEND(s->listener->conns, c);
    c->ssl = SSL_new(s->listener->ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    if (c->ssl && c->in && c->out) {
        SSL_set_bio(c->ssl, c->in, c->out);
        SSL_set_accept_state(c->ssl);
    }
    if (!c->ssl || uv_accept(server, (uv_stream_t *)&c->tcp) != 0 ||
        uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        conn_close(c);
    else
        uv_tcp_nodelay(&c->tcp, 1);
}

/* APNs speaks HTTP/2 only: a client that does not offer h2 is turned away in the handshake. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len, const unsigned char *in,
                   unsigned in_len, void *arg) {
    static const unsigned char h2[] = "\x02h2";
    (void)ssl;
    (void)arg;
    return SSL_select_next_proto((unsigned char **)(uintptr_t)out, out_len, h2, 3, in, in_len) == OPENSSL_NPN_NEGOTIATED
               ? SSL_TLSEXT_ERR_OK
               : SSL_TLSEXT_ERR_ALERT_FATAL;
}

static int load_certificate(struct sim *s, struct err_text *et) {
    SSL_CTX *ctx = s->listener->ctx = SSL_CTX_new(TLS_server_method());
    if (!ctx)
        return err_say(et, E_NOMEM, "out of memory");
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, s->cfg.certificate_file) != 1)
        return err_say(et, E_IO, "--cert: %s: no certificate in PEM that can be read", s->cfg.certificate_file);
    if (SSL_CTX_use_PrivateKey_file(ctx, s->cfg.key_file, SSL_FILETYPE_PEM) != 1)
        return err_say(et, E_IO, "--key: %s: no private key in PEM that belongs to the certificate", s->cfg.key_file);
    return 0;
}

static int bind_listener(struct sim *s, struct err_text *et) {
    struct sim_listener *l = s->listener;
    struct sockaddr_storage bound;
    int len = sizeof bound;
    if (addr_parse_hostport(&l->address, s->cfg.listen) != 0)
        return err_say(et, E_INVAL, "--listen: \"%s\" is not an address and a port", s->cfg.listen);
    int err = uv_tcp_bind(&l->tcp, &l->address.u.sa, 0);
    if (err == 0)
        err = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (err != 0)
        return err_say(et, E_IO, "--listen: %s: cannot listen: %s", s->cfg.listen, uv_strerror(err));
    uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&bound, &len);
    addr_from_sockaddr(&l->address, (struct sockaddr *)&bound);
    return 0;
}

int sim_listener_start(struct sim *s, struct err_text *et) {
    struct sim_listener *l = s->listener = calloc(1, sizeof *l);
    if (!l)
        return err_say(et, E_NOMEM, "out of memory");
    uv_tcp_init(s->loop, &l->tcp);
    l->tcp.data = s;
    l->open = true;
    int err = load_certificate(s, et);
    if (err == 0)
        err = bind_listener(s, et);
    if (err != 0)
        sim_listener_close(s, NULL);
    return err;
}

static void on_listener_closed(uv_handle_t *h) {
    struct sim *s = h->data;
    s->listener->open = false;
    listener_maybe_done(s);
}

void sim_listener_close(struct sim *s, void (*done)(struct sim *s)) {
    struct sim_conn *c, *next;
    s->listener->done = done;
    DL_FOREACH_SAFE(s->listener->conns, c, next) {
        conn_close(c);
    }
    uv_close((uv_handle_t *)&s->listener->tcp, on_listener_closed);
}

const struct addr *sim_listener_address(const struct sim *s) {
    return &s->listener->address;
}
