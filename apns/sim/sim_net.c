/* SPDX-License-Identifier: Apache-2.0 */
/* The provider's side up to TLS: listeners, which are the "addresses" behind one name, and connections. */
#include "apns/sim/sim_conn.h"
#include "apns/sim/sim_tls.h"
#include "base/clock.h"
#include "base/log.h"

#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define RECORD_BYTES 16384 /* of one TLS record */

void sim_net_maybe_done(struct sim *s) {
    struct sim_net *n = s->net;
    struct sim_peer *p, *next;
    if (!n->closing || n->open || n->conns)
        return;
    void (*done)(struct sim *) = n->done;
    HASH_ITER(hh, n->peers, p, next) {
        HASH_DEL(n->peers, p); /* NOLINT(clang-analyzer-*): what a uthash macro does */
        free(p);
    }
    SSL_CTX_free(n->ctx);
    free(n);
    s->net = NULL;
    if (done)
        done(s);
}

static void on_conn_closed(uv_handle_t *h) {
    struct sim_conn *c = h->data;
    struct sim *s = c->s;
    sim_h2_free(c);
    SSL_free(c->ssl);
    buf_free(&c->plain);
    buf_free(&c->raw);
    DL_DELETE(s->net->conns, c);
    free(c);
    sim_net_maybe_done(s);
}

void sim_conn_close(struct sim_conn *c) {
    if (c->closing && !c->lingering)
        return;
    c->closing = true;
    c->lingering = false;
    uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

void sim_conn_reset(struct sim_conn *c) {
    if (c->closing)
        return;
    c->closing = true;
    if (uv_tcp_close_reset(&c->tcp, on_conn_closed) != 0)
        uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
}

struct sim_conn *sim_conn_find(const struct sim *s, uint64_t number) {
    struct sim_conn *c;
    if (s->net)
        DL_FOREACH(s->net->conns, c)
    if (c->number == number && !c->closing)
        return c;
    return NULL;
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

/* What does not fit into the socket waits in a copy of its own. */
static void write_rest(struct sim_conn *c, const char *p, size_t len) {
    struct sim_write *w = malloc(sizeof *w + len);
    if (!w) {
        sim_conn_close(c);
        return;
    }
    memcpy(w->p, p, len);
    uv_buf_t buf = uv_buf_init(w->p, (unsigned)len);
    if (uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written) != 0) {
        free(w);
        sim_conn_close(c);
    }
}

static void push_tls(struct sim_conn *c) {
    char *p;
    long len = BIO_get_mem_data(c->out, &p);
    if (c->closing || len <= 0)
        return;
    uv_buf_t buf = uv_buf_init(p, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n < 0)
        n = 0;
    if (n < len)
        write_rest(c, p + n, (size_t)(len - n));
    (void)BIO_reset(c->out);
}

void sim_conn_flush(struct sim_conn *c) {
    bool ok = true;
    if (c->closing || sim_conn_hole(c) == SIM_HOLE_SILENT)
        return;
    if (c->h2)
        ok = sim_h2_output(c);
    if (c->plain.len > 0 && SSL_is_init_finished(c->ssl))
        SSL_write(c->ssl, c->plain.p, (int)c->plain.len);
    buf_reset(&c->plain);
    push_tls(c);
    if (!ok)
        sim_conn_close(c);
}

int64_t sim_conn_hole(const struct sim_conn *c) {
    return c->hole >= 0 ? c->hole : c->s->b.black_hole;
}

/* Reading */

static bool http2_start(struct sim_conn *c) {
    struct sim *s = c->s;
    c->started = true;
    if (s->b.client_certificates && sim_tls_certificate(&c->certificate, s, c->ssl))
        c->provider.certificate = &c->certificate;
    if (s->b.bench) {
        sim_bench_start(c);
        return true;
    }
    return sim_h2_start(c);
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
        sim_conn_close(c);
        return false;
    }
    if (SSL_get_error(c->ssl, ret) != SSL_ERROR_WANT_READ) {
        const char *why = ERR_reason_error_string(ERR_peek_last_error());
        log_warn("tls handshake failed", log_s("why", why ? why : "closed"));
        sim_conn_close(c);
    }
    return false;
}

static void take_bytes(struct sim_conn *c, const char *p, size_t len) {
    uint8_t plain[RECORD_BYTES];
    int got = 0;
    BIO_write(c->in, p, (int)len);
    ERR_clear_error();
    if (!handshake(c))
        return;
    if (!c->started && !http2_start(c)) {
        sim_conn_close(c);
        return;
    }
    while (!c->closing && (got = SSL_read(c->ssl, plain, sizeof plain)) > 0) {
        if (!(c->h2 ? sim_h2_input(c, plain, (size_t)got) : sim_bench_input(c, plain, (size_t)got))) {
            sim_conn_flush(c);
            sim_conn_close(c);
            return;
        }
    }
    if (c->closing)
        return;
    int why = SSL_get_error(c->ssl, got);
    sim_conn_flush(c);
    if (why != SSL_ERROR_WANT_READ)
        sim_conn_close(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct sim_conn *c = stream->data;
    if (n < 0) {
        sim_conn_close(c);
    } else if (n > 0 && !c->started && c->s->b.handshake == SIM_HANDSHAKE_RESET) {
        sim_conn_reset(c);
    } else if (n > 0 && !c->started && (c->stalled || c->s->b.handshake == SIM_HANDSHAKE_STALL)) {
        c->stalled = true; /* its ClientHello is lost: it stays so whatever the behaviour is later */
    } else if (n > 0) {
        take_bytes(c, buf->base, (size_t)n);
    }
}

static void on_lingering(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    (void)buf;
    if (n < 0)
        sim_conn_close(stream->data);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct sim_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init((char *)c->s->net->read_buffer, sizeof c->s->net->read_buffer);
}

void sim_conn_read(struct sim_conn *c) {
    bool wanted = sim_conn_hole(c) != SIM_HOLE_STOP_READING;
    if (c->closing || wanted == c->reading)
        return;
    c->reading = wanted;
    if (!wanted)
        uv_read_stop((uv_stream_t *)&c->tcp);
    else if (uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read) != 0)
        sim_conn_close(c);
}

void sim_conn_finish(struct sim_conn *c) {
    uv_stream_t *stream = (uv_stream_t *)&c->tcp;
    if (c->closing)
        return;
    c->closing = c->lingering = true;
    uv_read_stop(stream); /* a close with bytes unread is an RST, which takes our last answers from the peer */
    if (uv_shutdown(&c->shutdown, stream, NULL) != 0 || uv_read_start(stream, on_alloc, on_lingering) != 0)
        sim_conn_close(c);
}

/* All of them */

void sim_act_all(struct sim *s, const struct sim_action *a, uint64_t connection, const char *address) {
    struct sim_behaviour next_behaviour = s->b;
    struct sim_conn *c, *next;
    if (a->type == SIM_ACT_SET) {
        if (sim_behaviour_set_json(&next_behaviour, a->behaviour, NULL) == 0)
            sim_behaviour_apply(s, &next_behaviour);
        return;
    }
    DL_FOREACH_SAFE(s->net->conns, c, next) {
        if (c->closing || (connection && c->number != connection))
            continue;
        if (address && *address && strcmp(address, c->address) != 0 && strcmp(address, c->ip) != 0)
            continue;
        sim_act(c, a);
        sim_conn_flush(c);
    }
}

void sim_net_apply(struct sim *s) {
    struct sim_conn *c, *next;
    if (!s->net)
        return;
    DL_FOREACH_SAFE(s->net->conns, c, next) {
        sim_conn_read(c);
        sim_conn_flush(c);
    }
}

json_t *sim_net_json(const struct sim *s) {
    json_t *list = json_array();
    const struct sim_conn *c;
    DL_FOREACH(s->net->conns, c) {
        char at[CLOCK_RFC3339_BYTES];
        json_t *o = json_pack("{s:I,s:s,s:s,s:s,s:I,s:I,s:i,s:I,s:b,s:b,s:b}", "connection", (json_int_t)c->number,
                              "address", c->address, "peer", c->peer_ip, "opened_at", clock_rfc3339(at, c->opened_ms),
                              "requests", (json_int_t)c->requests, "answers", (json_int_t)c->answers, "open_streams",
                              (int)c->open_streams, "stream_limit", (json_int_t)c->limit, "goaway", c->goaway_sent,
                              "wedged", c->wedged, "certificate", c->provider.certificate != NULL);
        if (c->h2) {
            json_object_set_new(o, "hpack_bytes",
                                json_integer((json_int_t)nghttp2_session_get_hd_inflate_dynamic_table_size(c->h2)));
            json_object_set_new(o, "window_left", json_integer(nghttp2_session_get_local_window_size(c->h2)));
        }
        json_array_append_new(list, o);
    }
    return list;
}
