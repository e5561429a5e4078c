/* SPDX-License-Identifier: Apache-2.0 */
#include "base/clock.h"
#include "base/log.h"
#include "gateway/gateway_priv.h"
#include "gateway/identities.h"
#include "gateway/privileges.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define DRAIN_CHECK_MS   100
#define FAREWELL_MS      200 /* for the last messages to phones and the last answers to leave */
#define PUSHES_DRAIN_MS  1000
#define PRUNE_EVERY_MS   60000
#define OPEN_FILES       66560  /* connections that base/httpd takes, and some */
#define RETENTION_MIN_MS 120000 /* an ended call is answered for at least so long */

/* Going down: calls, then the API, then pushes, then the store, each when the one before it is gone */

static void on_store_closed(void *arg) {
    struct gateway *g = arg;
    g->store = NULL;
}

static void close_store(void *arg) {
    struct gateway *g = arg;
    g->pushes = NULL;
    /* Until here, one more signal of an impatient operator would have ended the process half-way. */
    uv_close((uv_handle_t *)&g->sigterm, NULL);
    uv_close((uv_handle_t *)&g->sigint, NULL);
    uv_close((uv_handle_t *)&g->sighup, NULL);
    if (g->store)
        store_close(g->store, on_store_closed, g);
}

static void close_pushes(void *arg) {
    struct gateway *g = arg;
    if (g->store) /* results of pushes came meanwhile, and their rows point to the calls */
        store_sync(g->store);
    g->calls = calls_free(g->calls);
    if (g->pushes)
        push_service_close(g->pushes, close_store, g);
    else
        close_store(g);
}

/* What is on the wire gets its answer, for the ledger's sake. */
static void drain_pushes(void *arg) {
    struct gateway *g = arg;
    g->http = NULL;
    if (g->calls && g->pushes)
        push_service_drain(g->pushes, PUSHES_DRAIN_MS, close_pushes, g);
    else
        close_pushes(g);
}

static void close_http(uv_timer_t *t) {
    struct gateway *g = t->data;
    uv_close((uv_handle_t *)&g->drain, NULL);
    if (g->store) /* requests that wait for it point to the server; none comes between this and its end */
        store_sync(g->store);
    if (g->http)
        http_close(g->http, drain_pushes, g);
    else
        drain_pushes(g);
}

/* The last events are stored and on their way to their listeners. */
static void close_events(struct gateway *g) {
    if (g->webhooks)
        webhooks_close(g->webhooks);
    if (g->events)
        events_close(g->events);
}

static void on_calls_closed(void *arg) {
    struct gateway *g = arg;
    close_events(g);
    uv_timer_start(&g->drain, close_http, g->http ? FAREWELL_MS : 0, 0);
}

static void end(struct gateway *g) {
    if (g->ending)
        return;
    g->ending = true;
    uv_timer_stop(&g->drain);
    uv_close((uv_handle_t *)&g->prune, NULL);
    uv_close((uv_handle_t *)&g->rotate, NULL);
    if (g->calls)
        calls_close(g->calls, on_calls_closed, g);
    else
        on_calls_closed(g);
}

static void on_drain(uv_timer_t *t) {
    struct gateway *g = t->data;
    size_t live = calls_live(g->calls);
    if (live > 0 && clock_mono_ms() < g->drain_until_ms)
        return;
    log_info("stopping", log_i("calls", (int64_t)live));
    end(g);
}

static void on_signal(uv_signal_t *s, int signum) {
    struct gateway *g = s->data;
    if (g->ending)
        return;
    if (g->drain_until_ms) {
        log_warn("stopping at once", log_i("signal", signum), log_i("calls", (int64_t)calls_live(g->calls)));
        end(g);
        return;
    }
    log_info("draining", log_i("signal", signum), log_i("calls", (int64_t)calls_live(g->calls)),
             log_i("limit_s", g->cfg->listen.drain_s));
    calls_drain(g->calls);
    g->api_system.draining = true;
    g->drain_until_ms = clock_mono_ms() + (uint64_t)g->cfg->listen.drain_s * 1000;
    uv_timer_start(&g->drain, on_drain, 0, DRAIN_CHECK_MS);
}

static void on_sighup(uv_signal_t *s, int signum) {
    struct gateway *g = s->data;
    (void)signum;
    if (g->ending || g->drain_until_ms)
        log_info("not reloaded", log_s("detail", "the gateway goes down"));
    else
        gateway_reload(g);
}

/* Coming up */

static int start_pushes(struct gateway *g, struct err_text *et) {
    int err = push_service_new(&g->pushes, &g->loop, g->cfg, g->metrics, et);
    if (err == 0 && g->cfg->store.seal_key_file[0])
        err = seal_new(&g->seal, g->cfg->store.seal_key_file, et);
    return err;
}

/* The profiles in OpenSSL's list syntax. */
static void join_profiles(char *out, size_t cap, const struct config_media *m) {
    static const enum media_profile known[CONFIG_SRTP_MAX] = {
        [CONFIG_SRTP_AEAD_AES_128_GCM] = MEDIA_PROFILE_AEAD_AES_128_GCM,
        [CONFIG_SRTP_AEAD_AES_256_GCM] = MEDIA_PROFILE_AEAD_AES_256_GCM,
        [CONFIG_SRTP_AES128_CM_SHA1_80] = MEDIA_PROFILE_AES128_CM_SHA1_80};
    size_t at = 0;
    for (unsigned i = 0; i < m->srtp_profiles_count && at < cap; i++)
        at += (size_t)snprintf(out + at, cap - at, "%s%s", i ? ":" : "",
                               media_profile_info(known[m->srtp_profiles[i]])->openssl);
}

int gateway_ringback(struct ringback **rp, const struct config *cfg, struct err_text *et) {
    struct err_text why = {""};
    *rp = NULL;
    if (!cfg->media.ringback[0])
        return 0;
    int err = ringback_load(rp, cfg->media.ringback, &why);
    return err == 0 ? 0 : err_say(et, err, "media.ringback: %s", why.s);
}

static int start_media(struct gateway *g, struct err_text *et) {
    const struct config_media *m = &g->cfg->media;
    if (m->certificate_file[0]) {
        g->dtls_certificate_file = strdup(m->certificate_file);
        g->dtls_key_file = strdup(m->key_file);
        if (!g->dtls_certificate_file || !g->dtls_key_file)
            return err_say(et, E_NOMEM, "out of memory");
    }
    join_profiles(g->srtp_profiles, sizeof g->srtp_profiles, m);
    int err = gateway_ringback(&g->ringback, g->cfg, et);
    if (err != 0)
        return err;
    struct media_config mc = {.address = m->address,
                              .port = (uint16_t)m->port,
                              .workers = m->workers,
                              .calls_max = m->calls_max,
                              .hold_ms = *m->hold_ms,
                              .inactivity_ms = m->inactivity_s * 1000,
                              .identity = {.certificate_file = g->dtls_certificate_file,
                                           .key_file = g->dtls_key_file,
                                           .srtp_profiles = g->srtp_profiles},
                              .ringback = g->ringback,
                              .keep = g->cfg->store.seal_key_file[0] != 0};
    return media_start(&g->media, &mc, et);
}

/* Those of the operator are in their files. */
static void keep_identities(const struct gateway *g) {
    if (!g->cfg->media.certificate_file[0])
        identities_keep(g->media, g->store, g->seal, g->cfg->media.rotate_identity_s * 1000ULL);
}

static void on_rotate(uv_timer_t *t) {
    const struct gateway *g = t->data;
    struct err_text et = {""};
    int err = media_rotate(g->media, &et);
    keep_identities(g);
    if (err == 0)
        log_info("new DTLS identity", log_i("workers", media_workers(g->media)));
    else
        log_error("no new DTLS identity", log_s("detail", et.s));
}

void gateway_rotate_from_now(struct gateway *g) {
    uint64_t every_ms = g->cfg->media.rotate_identity_s * 1000ULL;
    if (!g->cfg->media.certificate_file[0])
        uv_timer_start(&g->rotate, on_rotate, every_ms, every_ms);
}

static int start_calls(struct gateway *g, struct err_text *et) {
    struct calls_deps deps = {.loop = &g->loop,
                              .config = g->cfg,
                              .store = g->store,
                              .devices = g->devices,
                              .media = g->media,
                              .metrics = g->metrics,
                              .pushes = g->pushes,
                              .events = g->events,
                              .seal = g->seal};
    int err = calls_new(&g->calls, &deps);
    if (err != 0)
        return err_say(et, err, "the calls could not be set up: %s", err_str(err));
    devices_attach_revoked(g->devices, calls_device_revoked, g->calls);
    return 0;
}

static void load_device(const struct device *dev, void *arg) {
    devices_load(((struct gateway *)arg)->devices, dev);
}

static void load_call(const struct call_row *row, void *arg) {
    calls_load_call(((struct gateway *)arg)->calls, row);
}

static void load_push(const struct push_row *row, void *arg) {
    calls_load_push(((struct gateway *)arg)->calls, row);
}

static void load_idempotency(const struct idempotency_row *row, void *arg) {
    calls_load_idempotency(((struct gateway *)arg)->calls, row);
}

static void load_sealed(const struct sealed_row *row, void *arg) {
    const struct gateway *g = arg;
    if (!identities_load(g->media, g->store, g->seal, row))
        push_service_load(g->pushes, row);
}

static void load_kept(const struct kept_row *row, void *arg) {
    calls_load_kept(((struct gateway *)arg)->calls, row);
}

static int start_events(struct gateway *g, struct err_text *et) {
    int err = events_new(&g->events, &g->loop, g->store, g->metrics, et);
    if (err != 0)
        return err;
    struct webhooks_deps deps = {&g->loop, g->store, g->metrics, events_source(g->events)};
    devices_attach_events(g->devices, g->events);
    err = webhooks_new(&g->webhooks, &deps);
    if (err != 0)
        return err_say(et, err, "the webhooks could not be set up: %s", err_str(err));
    events_attach_webhooks(g->events, g->webhooks);
    return webhooks_load(g->webhooks, g->cfg, et);
}

static int start_store(struct gateway *g, struct err_text *et) {
    int err = store_open(&g->store, &g->loop, g->cfg->store.url, et);
    if (err == 0 && devices_new(&g->devices, g->store) != 0)
        err = err_say(et, E_NOMEM, "out of memory");
    return err;
}

static int load(struct gateway *g, struct err_text *et) {
    static const struct store_load_ops ops = {load_device,      load_call,   load_push,
                                              load_idempotency, load_sealed, load_kept};
    push_service_keep_tokens(g->pushes, g->store, g->seal);
    int err = store_load(g->store, &ops, g, et);
    identities_loaded(g->media, g->store);
    if (err == 0)
        keep_identities(g);
    return err;
}

static int start_http(struct gateway *g, struct err_text *et) {
    g->apis[API_CALLS] = (struct http_api){calls_routes, calls_route_count, g->calls};
    g->apis[API_WHIP] = (struct http_api){whip_routes, whip_route_count, g->calls};
    g->apis[API_DEVICES] = (struct http_api){api_devices_routes, api_devices_route_count, &g->api_devices};
    g->apis[API_REPORTS] = (struct http_api){api_reports_routes, api_reports_route_count, &g->api_reports};
    g->apis[API_EVENTS] = (struct http_api){api_events_routes, api_events_route_count, &g->api_events};
    g->apis[API_WEBHOOKS] = (struct http_api){api_webhooks_routes, api_webhooks_route_count, &g->api_webhooks};
    g->apis[API_SYSTEM] = (struct http_api){api_system_routes, api_system_route_count, &g->api_system};
    g->apis[API_CONSOLE] = (struct http_api){api_console_routes, api_console_route_count, &g->api_console};
    struct http_config hc = {.loop = &g->loop,
                             .config = g->cfg,
                             .metrics = g->metrics,
                             .apis = g->apis,
                             .api_count = APIS,
                             .ws = calls_ws_ops,
                             .ws_arg = g->calls};
    int err = http_start(&g->http, &hc, et);
    if (err != 0)
        return err;
    calls_attach_http(g->calls, g->http);
    events_attach_http(g->events, g->http);
    g->api_devices = (struct api_devices){g->http, g->devices, g->cfg};
    g->api_reports = (struct api_reports){g->http, g->store};
    g->api_events = (struct api_events){g->http, g->events};
    g->api_webhooks = (struct api_webhooks){g->http, g->store, g->webhooks};
    g->api_system = (struct api_system){
        .http = g->http, .metrics = g->metrics, .store = g->store, .media = g->media, .pushes = g->pushes};
    g->api_console = (struct api_console){g->http, g->cfg};
    return 0;
}

/* A phone that is attached is an open file, and the usual limit of a shell or a service is 1,024. */
static void allow_open_files(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= OPEN_FILES)
        return;
    limit.rlim_cur = limit.rlim_max < OPEN_FILES ? limit.rlim_max : OPEN_FILES;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/* Media ports and secret files first, as whoever started it; then as the user that the config names: the database shall
 * be that user's, and the API's port is one that needs no root. */
static int start(struct gateway *g, struct err_text *et) {
    int (*const steps[])(struct gateway *, struct err_text *) = {start_media, start_pushes};
    if (metrics_new(&g->metrics) != 0)
        return err_say(et, E_NOMEM, "out of memory");
    gateway_reload_metrics(g);
    allow_open_files();
    privileges_lock();
    int err = 0;
    for (size_t i = 0; i < sizeof steps / sizeof *steps && err == 0; i++)
        err = steps[i](g, et);
    if (err == 0)
        err = privileges_drop(g->cfg->user, et);
    if (err == 0)
        err = start_store(g, et);
    if (err == 0)
        err = start_events(g, et);
    if (err == 0)
        err = start_calls(g, et);
    if (err == 0)
        err = load(g, et);
    return err == 0 ? start_http(g, et) : err;
}

static void announce(const struct gateway *g, const char *ready_file) {
    char at[ADDR_STR_BYTES];
    addr_str(at, http_address(g->http));
    log_info("serving", log_s("version", WAKEGATE_VERSION), log_s("api", at), log_b("tls", g->cfg->listen.tls != NULL),
             log_i("media_port", media_port(g->media, 0)), log_i("media_workers", media_workers(g->media)),
             log_i("apps", g->cfg->apps_count), log_i("routes", g->cfg->routes_count));
    struct dtls_abilities can;
    dtls_abilities(&can);
    log_info("dtls", log_s("library", can.openssl), log_s("versions", can.versions), log_s("groups", can.groups),
             log_s("srtp_profiles", g->srtp_profiles),
             log_s("identity", g->cfg->media.certificate_file[0] ? "given" : "made"));
    FILE *f = ready_file ? fopen(ready_file, "we") : NULL;
    if (f) {
        fprintf(f, "{\"api\":\"%s\",\"media\":%u}\n", at, media_port(g->media, 0));
        fclose(f);
    } else if (ready_file) {
        log_warn("ready file cannot be written", log_s("file", ready_file));
    }
}

static void on_prune(uv_timer_t *t) {
    struct gateway *g = t->data;
    uint64_t now_ms = clock_wall_ms(), keep_ms = (uint64_t)g->cfg->store.retention_h * 3600 * 1000;
    store_prune(g->store, now_ms - (keep_ms > RETENTION_MIN_MS ? keep_ms : RETENTION_MIN_MS), now_ms, NULL, NULL);
}

static void start_handles(struct gateway *g) {
    uv_signal_init(&g->loop, &g->sigterm);
    uv_signal_init(&g->loop, &g->sigint);
    uv_signal_init(&g->loop, &g->sighup);
    uv_timer_init(&g->loop, &g->drain);
    uv_timer_init(&g->loop, &g->prune);
    uv_timer_init(&g->loop, &g->rotate);
    g->sigterm.data = g->sigint.data = g->sighup.data = g->drain.data = g->prune.data = g->rotate.data = g;
}

/* Held back since the program's start, and for good in the threads that were made meanwhile. */
static void take_sighup(struct gateway *g) {
    sigset_t set;
    uv_signal_start(&g->sighup, on_sighup, SIGHUP);
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

int gateway_run(const struct config *cfg, const char *config_file, const char *ready_file, struct err_text *et) {
    struct gateway g = {.cfg = cfg, .config_file = config_file};
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&g.loop);
    start_handles(&g);
    int err = start(&g, et);
    if (err == 0) {
        uv_signal_start(&g.sigterm, on_signal, SIGTERM);
        uv_signal_start(&g.sigint, on_signal, SIGINT);
        uv_timer_start(&g.prune, on_prune, PRUNE_EVERY_MS, PRUNE_EVERY_MS);
        gateway_rotate_from_now(&g);
        take_sighup(&g);
        calls_loaded(g.calls);
        announce(&g, ready_file);
    } else {
        end(&g);
    }
    uv_run(&g.loop, UV_RUN_DEFAULT);
    media_stop(g.media);
    ringback_free(g.ringback);
    free(g.dtls_certificate_file);
    free(g.dtls_key_file);
    devices_free(g.devices);
    webhooks_free(g.webhooks);
    events_free(g.events);
    seal_free(g.seal);
    metrics_free(g.metrics);
    uv_loop_close(&g.loop);
    config_unref(g.cfg);
    if (err == 0)
        log_info("stopped", log_end());
    return err;
}
