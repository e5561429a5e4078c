/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_conn.h"

#include "apns/apns_trust.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/secret.h"

#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define SETUP_MAX_MS     10000                         /* DNS, TCP, TLS and SETTINGS together */
#define USER_TIMEOUT_MS  5000                          /* unacknowledged data for so long: the path is dead */
#define RECORD_MAX_BYTES (APNS_CONN_PLAIN_BYTES + 256) /* RFC 8446 5.2 */
#define WRITE_BYTES      (4 * RECORD_MAX_BYTES)

enum state { STATE_RESOLVING, STATE_PAUSED, STATE_CONNECTING, STATE_PROXY, STATE_HANDSHAKE, STATE_UP, STATE_CLOSING };

struct apns_conn {
    struct apns_conn *prev, *next; /* in the dirty list */
    struct apns_conns *all;
    struct apns_link *link;
    enum state state;
    SSL_CTX *ctx;
    char *host;
    uint16_t port;
    struct apns_proxy proxy;
    struct apns_proxy_answer answer;
    uv_getaddrinfo_t resolve;
    uv_connect_t connect;
    uv_write_t write;
    uv_tcp_t tcp;
    uv_timer_t timer;
    bool tcp_open, resolving, timer_open, dirty, writing;
    int sync_error; /* to be told from the loop */
    uint64_t setup_until_ms;
    struct addr peer;
    SSL *ssl;
    BIO *in, *out; /* owned by ssl */
    char write_buffer[WRITE_BYTES];
};

static void on_timer(uv_timer_t *t);

/* The end */

static void maybe_free(struct apns_conn *c) {
    struct apns_conns *all = c->all;
    if (c->state != STATE_CLOSING || c->tcp_open || c->resolving || c->timer_open)
        return;
    free(c->host);
    apns_proxy_wipe(&c->proxy);
    SSL_CTX_free(c->ctx);
    secret_wipe(c->write_buffer, sizeof c->write_buffer); /* the proxy's password went through it */
    free(c);
    all->open--;
    all->gone(all->arg);
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

void apns_conn_hang_up(struct apns_conn *c) {
    if (c->state == STATE_CLOSING)
        return;
    c->state = STATE_CLOSING;
    apns_link_set_socket(c->link, NULL);
    c->link = NULL;
    if (c->dirty)
        DL_DELETE(c->all->dirty, c);
    c->dirty = false;
    SSL_free(c->ssl);
    c->ssl = NULL;
    if (c->tcp_open)
        uv_close((uv_handle_t *)&c->tcp, on_tcp_closed);
    if (c->resolving)
        uv_cancel((uv_req_t *)&c->resolve);
    uv_close((uv_handle_t *)&c->timer, on_timer_closed);
}

static void drop(struct apns_conn *c, const char *what, const char *detail) {
    struct apns_link *l = c->link;
    if (c->state == STATE_CLOSING)
        return;
    apns_conns_tick(c->all);
    apns_conn_hang_up(c);
    apns_link_closed(l, what, detail);
}

/* Writing: link -> TLS -> socket. One write at a time; what does not go out stays with the session, whose window bounds
 * it. */

static void on_written(uv_write_t *req, int status) {
    struct apns_conn *c = req->data;
    c->writing = false;
    if (c->state == STATE_CLOSING)
        return;
    if (status < 0)
        drop(c, "write", uv_strerror(status));
    else
        apns_conn_touch(c);
}

static bool send_bytes(struct apns_conn *c, const char *p, size_t len) {
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)p, (unsigned)len);
    int n = uv_try_write((uv_stream_t *)&c->tcp, &buf, 1);
    if (n == UV_EAGAIN)
        n = 0;
    if (n >= 0 && (size_t)n < len) {
        buf = uv_buf_init((char *)(uintptr_t)p + n, (unsigned)(len - (size_t)n));
        c->write.data = c;
        n = uv_write(&c->write, (uv_stream_t *)&c->tcp, &buf, 1, on_written);
        c->writing = n == 0;
    }
    if (n < 0)
        drop(c, "write", uv_strerror(n));
    return n >= 0;
}

static bool push_tls(struct apns_conn *c) {
    int n;
    while (!c->writing && (n = BIO_read(c->out, c->write_buffer, sizeof c->write_buffer)) > 0)
        if (!send_bytes(c, c->write_buffer, (size_t)n))
            return false;
    return true;
}

static bool push_plain(struct apns_conn *c) {
    size_t len = c->all->plain_len;
    c->all->plain_len = 0;
    ERR_clear_error();
    if (len == 0 || SSL_write(c->ssl, c->all->plain, (int)len) > 0)
        return true;
    drop(c, "write", "TLS refused");
    return false;
}

/* Frames into the buffer for a TLS record, which goes out when it is full. */
static bool add_plain(struct apns_conn *c, const uint8_t *p, size_t len) {
    struct apns_conns *all = c->all;
    while (len > 0) {
        size_t room = APNS_CONN_PLAIN_BYTES - all->plain_len, part = len < room ? len : room;
        memcpy(all->plain + all->plain_len, p, part);
        all->plain_len += part;
        p += part;
        len -= part;
        if (part == room && !push_plain(c))
            return false;
    }
    return true;
}

/* Frames are small: a TLS record takes many of them, and a system call some records. */
static void flush(struct apns_conn *c) {
    const uint8_t *p;
    ssize_t n;
    if (c->state == STATE_HANDSHAKE)
        push_tls(c);
    if (c->state != STATE_UP)
        return;
    c->all->plain_len = 0; /* one that broke while it wrote may have left something */
    while (!c->writing && (n = apns_link_output(c->link, &p)) != 0) {
        if (n < 0) {
            if (push_plain(c) && push_tls(c))
                drop(c, "http/2", "the session ended");
            return;
        }
        if (!add_plain(c, p, (size_t)n) || (BIO_ctrl_pending(c->out) > WRITE_BYTES - RECORD_MAX_BYTES && !push_tls(c)))
            return;
    }
    if (push_plain(c))
        push_tls(c);
}

void apns_conn_touch(struct apns_conn *c) {
    if (c->dirty || c->state == STATE_CLOSING)
        return;
    c->dirty = true;
    DL_APPEND(c->all->dirty, c);
}

void apns_conns_flush(struct apns_conns *all) {
    struct apns_conn *c;
    apns_conns_tick(all);
    while ((c = all->dirty)) {
        DL_DELETE(all->dirty, c);
        c->dirty = false;
        flush(c);
    }
}

void apns_conns_tick(struct apns_conns *all) {
    struct apns_time now = {clock_mono_us(), clock_wall_ms()};
    apns_core_time(all->core, &now);
}

/* Reading: socket -> TLS -> link */

static const char *tls_error(void) {
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    return text;
}

static void read_link(struct apns_conn *c) {
    uint8_t plain[APNS_CONN_PLAIN_BYTES];
    int n, err = 0;
    apns_conns_tick(c->all);
    /* SSL_get_error below would take for ours what somebody else left in this thread's error queue. */
    while (ERR_clear_error(), err == 0 && (n = SSL_read(c->ssl, plain, sizeof plain)) > 0)
        err = apns_link_input(c->link, plain, (size_t)n);
    if (err != 0) {
        drop(c, "http/2", "the peer broke the protocol");
        return;
    }
    int why = SSL_get_error(c->ssl, n);
    if (why == SSL_ERROR_ZERO_RETURN || why == SSL_ERROR_SSL || why == SSL_ERROR_SYSCALL) {
        const char *text = tls_error();
        drop(c, "tls", why == SSL_ERROR_ZERO_RETURN ? "closed by the peer" : text ? text : "broken");
        return;
    }
    apns_link_settle(c->link);
}

static const char *handshake_failure(struct apns_conn *c) {
    long verify = SSL_get_verify_result(c->ssl);
    if (verify != X509_V_OK)
        return X509_verify_cert_error_string(verify);
    const char *text = tls_error();
    return text ? text : "handshake failed";
}

static void handshake(struct apns_conn *c) {
    const unsigned char *alpn = NULL;
    unsigned alpn_len = 0;
    ERR_clear_error();
    int ret = SSL_do_handshake(c->ssl);
    int why = ret == 1 ? SSL_ERROR_NONE : SSL_get_error(c->ssl, ret);
    if (!push_tls(c))
        return;
    if (ret != 1) {
        if (why != SSL_ERROR_WANT_READ)
            drop(c, "tls", handshake_failure(c));
        return;
    }
    SSL_get0_alpn_selected(c->ssl, &alpn, &alpn_len);
    if (alpn_len != 2 || memcmp(alpn, "h2", 2) != 0) {
        drop(c, "alpn", "the server does not speak HTTP/2 (no ALPN h2)");
        return;
    }
    c->state = STATE_UP;
    apns_conns_tick(c->all);
    if (apns_link_connected(c->link, SSL_get_version(c->ssl)) != 0)
        drop(c, "http/2", "out of memory");
    else
        read_link(c);
}

static bool start_tls(struct apns_conn *c) {
    c->ssl = SSL_new(c->ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    if (!c->ssl || !c->in || !c->out) {
        BIO_free(c->in);
        BIO_free(c->out);
        return false;
    }
    SSL_set_bio(c->ssl, c->in, c->out);
    SSL_set_connect_state(c->ssl);
    return apns_trust_expect(c->ssl, c->host) == 0;
}

static void begin_tls(struct apns_conn *c, const char *early, size_t early_len) {
    if (!start_tls(c)) {
        drop(c, "tls", "out of memory");
        return;
    }
    c->state = STATE_HANDSHAKE;
    if (early_len)
        BIO_write(c->in, early, (int)early_len);
    handshake(c);
}

/* The proxy */

static void ask_proxy(struct apns_conn *c) {
    int n = apns_proxy_ask(c->write_buffer, sizeof c->write_buffer, &c->proxy, c->host, c->port);
    c->state = STATE_PROXY;
    if (n < 0)
        drop(c, "proxy", "the request is too long");
    else
        send_bytes(c, c->write_buffer, (size_t)n);
}

static void read_proxy(struct apns_conn *c, const char *p, size_t len) {
    struct err_text et = {""};
    size_t used;
    int err = apns_proxy_read(&c->answer, p, len, &used, &et);
    if (err == 0)
        begin_tls(c, p + used, len - used);
    else if (err != E_AGAIN)
        drop(c, "proxy", et.s);
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
    struct apns_conn *c = stream->data;
    if (n < 0) {
        drop(c, "read", n == UV_EOF ? "closed by the peer" : uv_strerror((int)n));
        return;
    }
    if (n == 0)
        return;
    if (c->state == STATE_PROXY) {
        read_proxy(c, buf->base, (size_t)n);
        return;
    }
    BIO_write(c->in, buf->base, (int)n);
    if (c->state == STATE_HANDSHAKE)
        handshake(c);
    else if (c->state == STATE_UP)
        read_link(c);
}

static void on_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *buf) {
    struct apns_conn *c = h->data;
    (void)suggested;
    *buf = uv_buf_init(c->all->read_buffer, sizeof c->all->read_buffer);
}

/* Dialling */

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
    uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read);
    if (c->proxy.host)
        ask_proxy(c);
    else
        begin_tls(c, NULL, 0);
}

static void connect_peer(struct apns_conn *c) {
    c->state = STATE_CONNECTING;
    uv_tcp_init(c->all->loop, &c->tcp);
    c->tcp.data = c;
    c->tcp_open = true;
    c->connect.data = c;
    int err = uv_tcp_connect(&c->connect, &c->tcp, &c->peer.u.sa, on_connected);
    if (err != 0)
        drop(c, "connect", uv_strerror(err));
}

/* One timer for all that is waited for: a sync error to be told, the booked time of a dial, the end of patience. */
static void on_timer(uv_timer_t *t) {
    struct apns_conn *c = t->data;
    uint64_t now_ms = clock_mono_ms();
    if (c->sync_error) {
        drop(c, "dns", uv_strerror(c->sync_error));
        return;
    }
    if (c->state == STATE_PAUSED) {
        c->setup_until_ms = now_ms + SETUP_MAX_MS;
        connect_peer(c);
        if (c->state == STATE_CLOSING)
            return;
    }
    apns_conns_tick(c->all);
    if (c->state == STATE_UP && apns_link_is_up(c->link))
        return;
    if (now_ms >= c->setup_until_ms)
        drop(c, "setup", "no answer in 10 s (DNS, TCP, TLS and SETTINGS)");
    else
        uv_timer_start(t, on_timer, c->setup_until_ms - now_ms, 0);
}

static void on_resolved(uv_getaddrinfo_t *req, int status, struct addrinfo *list) {
    struct apns_conn *c = req->data;
    struct addr found[APNS_ADDRESS_MAX];
    unsigned count = 0;
    uint64_t wait_ms;
    c->resolving = false;
    if (c->state != STATE_RESOLVING) {
        uv_freeaddrinfo(list);
        maybe_free(c);
        return;
    }
    for (const struct addrinfo *a = status < 0 ? NULL : list; a && count < APNS_ADDRESS_MAX; a = a->ai_next)
        addr_from_sockaddr(&found[count++], a->ai_addr);
    uv_freeaddrinfo(list);
    if (count == 0) {
        drop(c, "dns", status < 0 ? uv_strerror(status) : "the name has no address");
        return;
    }
    apns_conns_tick(c->all);
    c->peer = found[apns_link_choose(c->link, found, count, &wait_ms)];
    c->state = STATE_PAUSED;
    if (wait_ms == 0)
        connect_peer(c);
    else
        uv_timer_start(&c->timer, on_timer, wait_ms, 0);
}

int apns_conn_dial(struct apns_conns *all, const struct apns_route *route, struct apns_link *l) {
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_family = AF_UNSPEC};
    struct apns_conn *c = calloc(1, sizeof *c);
    char port[8];
    if (!c || !(c->host = strdup(route->host)) || apns_proxy_copy(&c->proxy, &route->proxy) != 0) {
        if (c)
            free(c->host);
        free(c);
        return E_NOMEM;
    }
    c->all = all;
    c->link = l;
    c->port = route->port;
    SSL_CTX_up_ref(route->ctx);
    c->ctx = route->ctx;
    all->open++;
    apns_link_set_socket(l, c);
    uv_timer_init(all->loop, &c->timer);
    c->timer.data = c->resolve.data = c;
    c->timer_open = true;
    c->state = STATE_RESOLVING;
    c->setup_until_ms = clock_mono_ms() + SETUP_MAX_MS;
    const char *to = c->proxy.host ? c->proxy.host : c->host;
    uint16_t to_port = c->proxy.host ? c->proxy.port : c->port;
    snprintf(port, sizeof port, "%u", to_port);
    c->sync_error = uv_getaddrinfo(all->loop, &c->resolve, on_resolved, to, port, &hints);
    c->resolving = c->sync_error == 0;
    uv_timer_start(&c->timer, on_timer, c->sync_error ? 0 : SETUP_MAX_MS, 0);
    return 0;
}
