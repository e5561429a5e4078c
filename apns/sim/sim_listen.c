/* SPDX-License-Identifier: Apache-2.0 */
/* Listeners, which are the "addresses" behind one name, and the welcome of new connections. */
#include "apns/sim/sim_conn.h"
#include "apns/sim/sim_tls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define BACKLOG   511
#define PEERS_MAX 1024 /* whose connections are counted */

/* Accepting */

static bool peer_refused(struct sim *s, const char *ip) {
    const struct sim_behaviour *b = &s->b;
    uint64_t now_ms = sim_now_ms(s);
    struct sim_peer *p;
    if (!b->connect_limit)
        return false;
    HASH_FIND_STR(s->net->peers, ip, p); /* NOLINT(clang-analyzer-*): what a uthash macro does */
    if (!p && (HASH_COUNT(s->net->peers) >= PEERS_MAX || !(p = calloc(1, sizeof *p))))
        return false;
    if (!p->ip[0]) {
        snprintf(p->ip, sizeof p->ip, "%s", ip);
        HASH_ADD_STR(s->net->peers, ip, p);
    }
    if (now_ms < p->refused_until_ms)
        return true;
    if (now_ms - p->window_start_ms >= (uint64_t)b->connect_window_ms) {
        p->window_start_ms = now_ms;
        p->connects = 0;
    }
    if (++p->connects <= b->connect_limit)
        return false;
    p->refused_until_ms = now_ms + (uint64_t)b->connect_refuse_ms;
    return true;
}

static void on_accept_delay(struct sim *s, void *arg, bool cancelled) {
    uint64_t *number = arg;
    struct sim_conn *c = cancelled ? NULL : sim_conn_find(s, *number);
    free(number);
    if (c)
        sim_conn_read(c);
}

/* What the script says of a new connection; true when it goes on reading at once. */
static bool welcome(struct sim_conn *c) {
    struct sim *s = c->s;
    const struct sim_occasion o = {SIM_ON_CONNECT, c->number, 0, c->address, c->ip, "", ""};
    const struct sim_action *a = sim_script_match(s, &o);
    int64_t delay_ms = a && a->delay_ms ? a->delay_ms : s->b.accept_delay_ms;
    if (peer_refused(s, c->peer_ip)) {
        metric_add(metrics_counter(s->metrics, "apns_sim_refused_total", "Connections refused.", ""), 1);
        sim_conn_reset(c);
        return false;
    }
    if (a && a->type == SIM_ACT_STALL)
        c->stalled = true;
    else if (a && a->type != SIM_ACT_PASS)
        sim_act(c, a);
    uint64_t *number = delay_ms && !c->closing ? malloc(sizeof *number) : NULL;
    if (!number)
        return !c->closing;
    *number = c->number;
    if (sim_later(s, (uint64_t)delay_ms, on_accept_delay, number) != 0)
        free(number);
    return false;
}

static void name_conn(struct sim_conn *c) {
    struct sockaddr_storage peer;
    struct addr a = {0};
    int len = sizeof peer;
    if (uv_tcp_getpeername(&c->tcp, (struct sockaddr *)&peer, &len) == 0)
        addr_from_sockaddr(&a, (struct sockaddr *)&peer);
    addr_ip(c->peer_ip, &a);
    addr_str(c->address, &c->listener->address);
    addr_ip(c->ip, &c->listener->address);
}

static void on_connection(uv_stream_t *server, int status) {
    struct sim_listener *l = server->data;
    struct sim *s = l->s;
    struct sim_conn *c = status == 0 ? calloc(1, sizeof *c) : NULL;
    if (!c)
        return;
    c->s = s;
    c->listener = l;
    c->number = ++s->net->number;
    c->opened_ms = sim_now_ms(s);
    c->hole = -1;
    uv_tcp_init(s->loop, &c->tcp);
    c->tcp.data = c;
    DL_APPEND(s->net->conns, c);
    c->ssl = sim_tls_session(s, s->net->ctx);
    c->in = BIO_new(BIO_s_mem());
    c->out = BIO_new(BIO_s_mem());
    if (c->ssl && c->in && c->out)
        SSL_set_bio(c->ssl, c->in, c->out);
    if (!c->ssl || uv_accept(server, (uv_stream_t *)&c->tcp) != 0) {
        sim_conn_close(c);
        return;
    }
    uv_tcp_nodelay(&c->tcp, 1);
    name_conn(c);
    metric_add(metrics_counter(s->metrics, "apns_sim_connections_total", "Connections accepted.", ""), 1);
    sim_watch_connect(s->watch, c->peer_ip, c->address, c->number, c->opened_ms);
    if (welcome(c))
        sim_conn_read(c);
}

/* Listeners */

static int bind_one(struct sim *s, const char *text, struct err_text *et) {
    struct sim_listener *l = &s->net->listeners[s->net->count];
    struct sockaddr_storage bound;
    int len = sizeof bound;
    if (addr_parse_hostport(&l->address, text) != 0)
        return err_say(et, E_INVAL, "--listen: \"%s\" is not an address and a port", text);
    l->s = s;
    uv_tcp_init(s->loop, &l->tcp);
    l->tcp.data = l;
    l->open = true;
    s->net->count++;
    s->net->open++;
    int err = uv_tcp_bind(&l->tcp, &l->address.u.sa, 0);
    if (err == 0)
        err = uv_listen((uv_stream_t *)&l->tcp, BACKLOG, on_connection);
    if (err != 0)
        return err_say(et, E_IO, "--listen: %s: cannot listen: %s", text, uv_strerror(err));
    uv_tcp_getsockname(&l->tcp, (struct sockaddr *)&bound, &len);
    addr_from_sockaddr(&l->address, (struct sockaddr *)&bound);
    return 0;
}

int sim_net_start(struct sim *s, struct err_text *et) {
    s->net = calloc(1, sizeof *s->net);
    if (!s->net)
        return err_say(et, E_NOMEM, "out of memory");
    int err = sim_tls_context(&s->net->ctx, s, et);
    if (err == 0)
        err = bind_one(s, s->cfg.listen, et);
    for (unsigned i = 0; i < s->cfg.listen_more_count && err == 0; i++)
        err = bind_one(s, s->cfg.listen_more[i], et);
    if (err != 0)
        sim_net_close(s, NULL);
    return err;
}

static void on_listener_closed(uv_handle_t *h) {
    struct sim_listener *l = h->data;
    l->open = false;
    l->s->net->open--;
    sim_net_maybe_done(l->s);
}

void sim_net_close(struct sim *s, void (*done)(struct sim *s)) {
    struct sim_net *n = s->net;
    struct sim_conn *c, *next;
    n->done = done;
    n->closing = true;
    DL_FOREACH_SAFE(n->conns, c, next) {
        sim_conn_close(c);
    }
    if (n->count == 0) {
        sim_net_maybe_done(s);
        return;
    }
    for (unsigned i = 0; i < n->count; i++)
        uv_close((uv_handle_t *)&n->listeners[i].tcp, on_listener_closed);
}

const struct addr *sim_net_address(const struct sim *s, unsigned i) {
    return &s->net->listeners[i].address;
}

unsigned sim_net_count(const struct sim *s) {
    return s->net->count;
}
