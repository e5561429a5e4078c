/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/httpd_priv.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define CONNECTIONS_MAX 65536
#define FDS_RESERVED    64       /* for what is no connection of a client: push services, files */
#define REFUSED_LOG_US  10000000 /* how often that is said */
#define CLOSING_TURNS   8        /* of the loop, in which libwebsockets ends; it needs three */
#define WS_RX_BYTES     1024     /* each WebSocket has a buffer of this size; a longer message comes in pieces */
#define PING_MS         20000
#define PINGER_SHARE    10 /* a deadline is noticed so much of it late at most */

/* Without a descriptor left, accept() would fail at once again and again. Numbers are given out from the lowest, so a
 * high one says that few are left. */
int httpd_filter_connection(struct httpd *h, lws_intptr_t fd) {
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

/* libwebsockets does not look for silence: its timers are one sorted list, and with thousands of WebSockets in it each
 * byte that comes costs a walk through all of them. on_pinger looks. */
static const lws_retry_bo_t no_pings = {.secs_since_valid_hangup = 0};

static int create(struct httpd *h, struct err_text *et) {
    const struct httpd_config *cfg = &h->cfg;
    char ip[ADDR_STR_BYTES];
    struct lws_context_creation_info info = {
        .options = LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS,
        .foreign_loops = h->loops,
        .user = h,
        .pcontext = &h->context, /* NULL again when it is gone */
        .retry_and_idle_policy = &no_pings,
        .pt_serv_buf_size = 16384,
    };
    if (cfg->certificate_file)
        info.options |= LWS_SERVER_OPTION_DO_SSL_GLOBAL_INIT;
    h->context = lws_create_context(&info);
    if (!h->context)
        return err_say(et, E_IO, "%s: libwebsockets does not start", cfg->listen);
    h->protocols[0] = (struct lws_protocols){"http", httpd_on_http, sizeof(struct session), 0, 0, NULL, 0};
    h->protocols[1] = (struct lws_protocols){.name = cfg->ws_protocol,
                                             .callback = httpd_on_ws,
                                             .per_session_data_size = sizeof(struct session),
                                             .rx_buffer_size = WS_RX_BYTES};
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

static void on_pinger(uv_timer_t *timer) {
    httpd_ws_sweep(timer->data);
}

static void start_pinger(struct httpd *h) {
    unsigned shortest_ms =
        h->cfg.answer_max_ms && h->cfg.answer_max_ms < h->cfg.ping_ms ? h->cfg.answer_max_ms : h->cfg.ping_ms;
    uv_timer_init(h->cfg.loop, &h->pinger);
    h->pinger.data = h;
    uv_timer_start(&h->pinger, on_pinger, shortest_ms / PINGER_SHARE, shortest_ms / PINGER_SHARE);
}

int httpd_start(struct httpd **hp, const struct httpd_config *cfg, struct err_text *et) {
    struct httpd *h = calloc(1, sizeof *h);
    if (!h)
        return err_say(et, E_NOMEM, "out of memory");
    h->cfg = *cfg;
    h->cfg.ping_ms = cfg->ping_ms ? cfg->ping_ms : PING_MS;
    h->loops[0] = cfg->loop;
    lws_set_log_level(LLL_ERR | LLL_WARN, on_lws_log);
    int err = addr_parse_hostport(&h->address, cfg->listen);
    if (err != 0)
        err_say(et, err, "\"%s\" is not an address and a port", cfg->listen);
    if (err == 0)
        err = check_bind(&h->address, cfg->listen, et);
    if (err == 0 && cfg->certificate_file)
        err = httpd_certificate_read(&h->certificate, cfg->certificate_file, cfg->key_file, et);
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
        httpd_certificate_free(h->certificate);
        slots_free(h->exchanges);
        slots_free(h->websockets);
        free(h);
        return err;
    }
    h->cfg.listen = h->cfg.certificate_file = h->cfg.key_file = NULL; /* they may go */
    start_pinger(h);
    *hp = h;
    return 0;
}

static void on_closer_closed(uv_handle_t *handle) {
    struct httpd *h = handle->data;
    void (*done)(void *) = h->done;
    void *arg = h->done_arg;
    httpd_certificate_free(h->certificate);
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
        httpd_exchange_drop(h, &s);
    }
    for (cursor = 0; slots_next(h->websockets, &cursor, &id);)
        httpd_ws_drop(h, id);
    uv_close((uv_handle_t *)&h->pinger, NULL);
    lws_context_destroy(h->context);
    uv_idle_init(h->cfg.loop, &h->closer);
    h->closer.data = h;
    uv_idle_start(&h->closer, on_idle);
}

const struct addr *httpd_address(const struct httpd *h) {
    return &h->address;
}
