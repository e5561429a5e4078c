/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_conn.h"

#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define BACKOFF_MIN_MS  1000
#define BACKOFF_MAX_MS  60000
#define SETUP_MAX_MS    10000 /* DNS, TCP, TLS and SETTINGS together */
#define USER_TIMEOUT_MS 5000  /* unacknowledged data for so long: the path is dead */
#define DRAIN_MAX_MS    1000  /* for answers still under way on a connection that is given up */
#define READ_BYTES      16384

enum state { STATE_WAITING, STATE_RESOLVING, STATE_CONNECTING, STATE_HANDSHAKE, STATE_UP, STATE_CLOSING };

struct apns_conn {
    struct apns_conn_config cfg;
    enum state state;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_tcp_t tcp;
    uv_timer_t timer;
    bool tcp_open, resolving, timer_open, up_told, renew, in_session;
    uint64_t dialled_ms; /* monotonic */
    unsigned failures;
    unsigned next_address; /* rotates over what DNS gave */
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    struct apns_session *session;
    void (*closed)(void *arg);
    void *closed_arg;
    char read_buffer[READ_BYTES];
};

static const char renewed[] = "as the peer asked for";

static void dial(struct apns_conn *c);
static void drop(struct apns_conn *c, const char *what, const char *detail);

static void maybe_free(struct apns_conn *c) {
    if (c->state != STATE_CLOSING || c->tcp_open || c->resolving || c->timer_open)
        return;
    void (*closed)(void *) = c->closed;
    void *arg = c->closed_arg;
    free(c);
    closed(arg);
}

static void on_tcp_closed(uv_handle_t *h) {
    struct apns_conn *c = h->data;
    c->tcp_open = false;
    maybe_free(c);
}

static void on_timer_closed(uv_handle_t *h) {
    struct apns_conn *c = h->data;
    c->timer_open = false;
    maybe_free(c);
}

static void release(struct apns_conn *c) {
    c->session = apns_session_free(c->session);
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->tcp_open && !uv_is_closing((uv_handle_t *)&c->tcp))
        uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
}

static void on_redial(uv_timer_t *t) {
    struct apns_conn *c = t->data;
    if (c->tcp_open || c->resolving) /* the old socket is still closing */
        uv_timer_start(t, on_redial, 10, 0);
    else
        dial(c);
}

/* 0, then 1 s .. 60 s doubling, each with up to a quarter of jitter: many quick connects look like an attack to APNs.
 */
static uint64_t backoff_ms(const struct apns_conn *c) {
    uint64_t ms = BACKOFF_MIN_MS;
    uint16_t jitter;
    if (c->failures == 0)
        return 0;
    for (unsigned i = 1; i < c->failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    ms = ms > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : ms;
    random_bytes(&jitter, sizeof jitter);
    return ms + ms / 4 * jitter / 65536;
}

static void drop(struct apns_conn *c, const char *what, const char *detail) {
    bool was_up = c->up_told;
    if (c->state == STATE_CLOSING || c->state == STATE_WAITING)
        return;
    c->state = STATE_WAITING;
    c->up_told = c->renew = false;
    release(c);
    uint64_t wait_ms = backoff_ms(c), lived_ms = clock_mono_ms() - c->dialled_ms;
    /* One that came up and went down at once is no reason to hurry: that would be a storm. */
    if (was_up && lived_ms + wait_ms < BACKOFF_MIN_MS)
        wait_ms = BACKOFF_MIN_MS - lived_ms;
    c->failures++;
    log_warn("apns connection lost", log_s("credential", c->cfg.name), log_s("host", c->cfg.host),
             log_i("port", c->cfg.port), log_s("what", what), log_s("detail", detail),
             log_i("retry_ms", (int64_t)wait_ms));
    uv_timer_start(&c->timer, on_redial, wait_ms, 0);
    if (was_up)
        c->cfg.ops.down(c->cfg.arg);
}

/* Writing: session -> TLS -> socket */

struct write {
    uv_write_t req;
    char p[];
};

static void on_written(uv_write_t *req, int status) {
    struct apns_conn *c = req->data;
    free(req);
    if (status < 0 && status != UV_ECANCELED)
        drop(c, "write", uv_strerror(status));
}

static void push_tls(struct apns_conn *c) {
    size_t pending;
    while (c->ssl && (pending = BIO_ctrl_pending(c->out)) > 0) {
        struct write *w = malloc(sizeof *w + pending);
        if (!w) {
            drop(c, "write", "out of memory");
            return;
        }
        int n = BIO_read(c->out, w->p, (int)pending);
        uv_buf_t buf = uv_buf_init(w->p, (unsigned)n);
        w->req.data = c;
        int err = uv_write(&w->req, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
        if (err != 0) {
            free(w);
            drop(c, "write", uv_strerror(err));
            return;
        }
    }
}

void apns_conn_flush(struct apns_conn *c) {
    const uint8_t *p;
    ssize_t n;
    if (!c->session || c->in_session)
        return;
    c->in_session = true;
    while ((n = apns_session_output(c->session, &p)) > 0 && SSL_write(c->ssl, p, (int)n) > 0)
        ;
    c->in_session = false;
    push_tls(c);
    if (n != 0)
        drop(c, n < 0 ? "http/2" : "write", n < 0 ? "the session ended" : "TLS refused");
}

/* Reading: socket -> TLS -> session */

static void told_up(struct apns_conn *c) {
    if (c->up_told || !apns_session_ready(c->session))
        return;
    c->up_told = true;
    c->failures = 0;
    uv_timer_stop(&c->timer);
    log_info("apns connected", log_s("credential", c->cfg.name), log_s("host", c->cfg.host), log_i("port", c->cfg.port),
             log_s("tls", SSL_get_version(c->ssl)));
    c->cfg.ops.up(c->cfg.arg);
}

static void read_session(struct apns_conn *c) {
    uint8_t plain[READ_BYTES];
    int n, err = 0;
    /* SSL_get_error below would take for ours what somebody else left in this thread's error queue. */
    while (ERR_clear_error(), err == 0 && (n = SSL_read(c->ssl, plain, sizeof plain)) > 0) {
        c->in_session = true;
        err = apns_session_input(c->session, plain, (size_t)n);
        c->in_session = false;
    }
    if (err != 0) {
        drop(c, "http/2", "the peer broke the protocol");
        return;
    }
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SSL || why == SSL_ERROR_SYSCALL) {
        const char *text = ERR_reason_error_string(ERR_peek_last_error());
        ERR_clear_error();
        drop(c, "tls", why == SSL_ERROR_ZERO_RETURN ? "closed by the peer" : text ? text : "broken");
        return;
    }
    told_up(c);
    if (c->up_told)
        c->cfg.ops.room(c->cfg.arg);
    apns_conn_flush(c);
    if (c->renew && apns_session_idle(c->session))
        drop(c, "renewed", renewed);
}

static const char *tls_failure(struct apns_conn *c) {
    long verify = SSL_get_verify_result(c->ssl);
    if (verify != X509_V_OK)
        return X509_verify_cert_error_string(verify);
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "handshake failed";
}

static void handshake(struct apns_conn *c) {
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    ERR_clear_error();
    int ret = SSL_do_handshake(c->ssl);
    push_tls(c);
    if (!c->ssl)
        return;
    if (ret != 1) {
        if (SSL_get_error(c->ssl, ret) != SSL_ERROR_WANT_READ)
            drop(c, "tls", tls_failure(c));
        return;
    }
    SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_len);
    if (alpn_len != 2 || memcmp(alpn, "h2", 2) != 0) {
        drop(c, "alpn", "the server does not speak HTTP/2 (no ALPN h2)");
        return;
    }
    if (apns_session_new(&c->session, &c->cfg.ops.session, c->cfg.arg) != 0) {
        drop(c, "http/2", "out of memory");
        return;
    }
    c->state = STATE_UP;
    apns_conn_flush(c);
    if (c->ssl)
        read_session(c);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct apns_conn *c = stream->data;
    if (n < 0) {
        drop(c, "read", n == UV_EOF ? "closed by the peer" : uv_strerror((int)n));
        return;
    }
    if (n == 0 || !c->ssl)
        return;
    BIO_write(c->in, buf->base, (int)n);
    if (c->state == STATE_HANDSHAKE)
        handshake(c);
    else if (c->state == STATE_UP)
        read_session(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct apns_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init(c->read_buffer, sizeof c->read_buffer);
}

/* Dialling */

static bool start_tls(struct apns_conn *c) {
    struct addr numeric;
    static const unsigned char alpn[] = "\x02h2";
    c->ssl = SSL_new(c->cfg.ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    if (!c->ssl || !c->in || !c->out) {
        BIO_free(c->in);
        BIO_free(c->out);
        return false;
    }
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_connect_state(c->ssl);
    SSL_set_alpn_protos(c->ssl, alpn, sizeof alpn - 1);
    if (addr_parse(&numeric, c->cfg.host, 0) == 0)
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), c->cfg.host) == 1;
    /* SSL_set_tlsext_host_name, without its cast that takes the const away. */
    void *sni = (void *)(uintptr_t)c->cfg.host;
    return SSL_ctrl(c->ssl, SSL_CTRL_SET_TLSEXT_HOSTNAME, TLSEXT_NAMETYPE_host_name, sni) == 1 &&
           SSL_set1_host(c->ssl, c->cfg.host) == 1;
}

static void on_connected(uv_connect_t *req, int status) {
    struct apns_conn *c = req->data;
    int fd, timeout = USER_TIMEOUT_MS;
    if (status == UV_ECANCELED || c->state != STATE_CONNECTING)
        return;
    if (status < 0) {
        drop(c, "connect", uv_strerror(status));
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    if (uv_fileno((uv_handle_t *)&c->tcp, &fd) == 0)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout, sizeof timeout);
    if (!start_tls(c)) {
        drop(c, "tls", "out of memory");
        return;
    }
    c->state = STATE_HANDSHAKE;
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    handshake(c);
}

static const struct addrinfo *pick(struct apns_conn *c, const struct addrinfo *list) {
    unsigned count = 0;
    for (const struct addrinfo *a = list; a; a = a->ai_next)
        count++;
    unsigned skip = c->next_address++ % count;
    while (skip-- > 0)
        list = list->ai_next;
    return list;
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list) {
    struct apns_conn *c = req->data;
    c->resolving = false;
    if (c->state != STATE_RESOLVING) {
        uv_freeaddrinfo(list);
        maybe_free(c);
        return;
    }
    if (status < 0 || !list) {
        uv_freeaddrinfo(list);
        drop(c, "dns", uv_strerror(status));
        return;
    }
    c->state = STATE_CONNECTING;
    uv_tcp_init(c->cfg.loop, &c->tcp);
    c->tcp.data = c;
    c->tcp_open = true;
    c->connect.data = c;
    int err = uv_tcp_connect(&c->connect, &c->tcp, pick(c, list)->ai_addr, on_connected);
    uv_freeaddrinfo(list);
    if (err != 0)
        drop(c, "connect", uv_strerror(err));
}

static void on_setup_timeout(uv_timer_t *t) {
    struct apns_conn *c = t->data;
    drop(c, "setup", "no answer in 10 s (DNS, TCP, TLS and SETTINGS)");
}

static void dial(struct apns_conn *c) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    char port[8];
    snprintf(port, sizeof port, "%u", c->cfg.port);
    c->state = STATE_RESOLVING;
    c->dialled_ms = clock_mono_ms();
    c->resolve.data = c;
    uv_timer_start(&c->timer, on_setup_timeout, SETUP_MAX_MS, 0);
    int err = uv_getaddrinfo(c->cfg.loop, &c->resolve, on_resolved, c->cfg.host, port, &hints);
    c->resolving = err == 0;
    if (err != 0)
        drop(c, "dns", uv_strerror(err));
}

int apns_conn_new(struct apns_conn **cp, const struct apns_conn_config *cfg) {
    struct apns_conn *c = calloc(1, sizeof *c);
    if (!c)
        return E_NOMEM;
    c->cfg = *cfg;
    uv_timer_init(cfg->loop, &c->timer);
    c->timer.data = c;
    c->timer_open = true;
    *cp = c;
    dial(c);
    return 0;
}

void apns_conn_close(struct apns_conn *c, void (*closed)(void *arg), void *arg) {
    c->closed = closed;
    c->closed_arg = arg;
    c->state = STATE_CLOSING;
    release(c);
    if (c->resolving)
        uv_cancel((uv_req_t *)&c->resolve);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

struct apns_session *apns_conn_session(const struct apns_conn *c) {
    return c->up_told ? c->session : NULL;
}

static void on_drain_timeout(uv_timer_t *t) {
    drop(t->data, "renewed", renewed);
}

void apns_conn_renew(struct apns_conn *c) {
    if (c->state != STATE_UP || c->renew)
        return;
    c->renew = true;
    apns_session_drain(c->session);
    uv_timer_start(&c->timer, on_drain_timeout, apns_session_idle(c->session) ? 0 : DRAIN_MAX_MS, 0);
}
