/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns.h"

#include "apns/apns_conn.h"
#include "apns/apns_core.h"
#include "apns/apns_trust.h"
#include "base/clock.h"
#include "base/secret.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define EXPIRY_CHECK_MS   (24ULL * 3600 * 1000)
#define EXPIRY_ALARM_DAYS 30
#define DAY_S             86400

_Static_assert(APNS_TOKEN_EXPORT_MAX_BYTES == APNS_TOKEN_EXPORT_BYTES, "one size inside and outside");

/* What a credential needs outside of the core. */
struct credential_io {
    struct credential_io *next;
    struct apns_credential *credential;
    struct apns_route route;
    int64_t expires_s; /* 0: no certificate */
    unsigned alarm_days;
    uint64_t mints; /* that its owner was told of */
    bool retired;
};

struct apns {
    struct apns_conns conns;
    struct apns_core *core;
    struct credential_io *credentials;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uint64_t timer_at_ms, expiry_check_ms, drain_until_ms;
    unsigned handles;
    bool closing, draining;
    apns_minted_cb minted;
    void *minted_arg;
    void (*done)(void *arg);
    void *done_arg;
    void (*drained)(void *arg);
    void *drained_arg;
};

/* The core's wishes */

static int dial(struct apns_link *l, void *arg) {
    struct apns *a = arg;
    struct credential_io *io = apns_core_owner(apns_link_credential(l));
    return apns_conn_dial(&a->conns, &io->route, l);
}

static void flush(struct apns_link *l, void *arg) {
    (void)arg;
    if (apns_link_socket(l))
        apns_conn_touch(apns_link_socket(l));
}

static void hang_up(struct apns_link *l, void *arg) {
    (void)arg;
    if (apns_link_socket(l))
        apns_conn_hang_up(apns_link_socket(l));
}

static const struct apns_core_ops core_ops = {dial, flush, hang_up};

/* Time */

static void on_timer(uv_timer_t *t) {
    struct apns *a = t->data;
    a->timer_at_ms = UINT64_MAX;
    apns_conns_tick(&a->conns);
    apns_core_step(a->core);
}

static void check_expiry(const struct credential_io *io) {
    int64_t left_s = io->expires_s - (int64_t)(clock_wall_ms() / 1000);
    char sentence[160];
    if (!io->expires_s || left_s > (int64_t)io->alarm_days * DAY_S)
        return;
    if (left_s <= 0)
        snprintf(sentence, sizeof sentence, "the certificate has expired: APNs will refuse it; replace it now");
    else
        snprintf(sentence, sizeof sentence, "the certificate ends in %u days: replace it before",
                 (unsigned)(left_s / DAY_S));
    apns_core_alarm(io->credential, APNS_ALARM_EXPIRY, sentence);
}

static void arm(struct apns *a, uint64_t now_ms) {
    uint64_t next = apns_core_next_ms(a->core);
    if (a->drained && a->drain_until_ms < next)
        next = a->drain_until_ms;
    if (next == a->timer_at_ms)
        return;
    a->timer_at_ms = next;
    if (next == UINT64_MAX)
        uv_timer_stop(&a->timer);
    else
        uv_timer_start(&a->timer, on_timer, next > now_ms ? next - now_ms : 0, 0);
}

static void tell_minted(struct apns *a, struct credential_io *io) {
    const struct apns_token *t = apns_core_token(io->credential);
    uint64_t mints = t ? apns_token_mints(t) : 0;
    bool told = mints == io->mints;
    io->mints = mints;
    if (!told && mints && a->minted)
        a->minted(io->credential, a->minted_arg);
}

static void route_free(struct apns_route *r) {
    SSL_CTX_free(r->ctx);
    free(r->host);
    apns_proxy_wipe(&r->proxy);
}

static void io_free(struct credential_io *io) {
    route_free(&io->route);
    free(io);
}

static void remove_retired(struct apns *a) {
    struct credential_io **at = &a->credentials, *io;
    while ((io = *at)) {
        if (!io->retired || !apns_core_unused(io->credential)) {
            at = &io->next;
            continue;
        }
        *at = io->next;
        apns_core_remove(io->credential);
        io_free(io);
    }
}

/* Once before the loop sleeps: what many pushes and answers left to write goes out together. */
static void on_prepare(uv_prepare_t *h) {
    struct apns *a = h->data;
    struct credential_io *io;
    uint64_t now_ms = clock_mono_ms();
    apns_conns_flush(&a->conns);
    remove_retired(a);
    LL_FOREACH(a->credentials, io) {
        tell_minted(a, io);
    }
    if (now_ms >= a->expiry_check_ms) {
        a->expiry_check_ms = now_ms + EXPIRY_CHECK_MS;
        LL_FOREACH(a->credentials, io) {
            check_expiry(io);
        }
    }
    arm(a, now_ms);
    if (a->drained && (apns_core_under_way(a->core) == 0 || now_ms >= a->drain_until_ms)) {
        void (*drained)(void *) = a->drained;
        a->drained = NULL;
        drained(a->drained_arg);
    }
}

/* Life */

void apns_set_alarm(struct apns *a, apns_alarm_cb cb, void *arg) {
    apns_core_set_alarm(a->core, cb, arg);
}

void apns_set_minted(struct apns *a, apns_minted_cb cb, void *arg) {
    a->minted = cb;
    a->minted_arg = arg;
}

static void maybe_free(void *arg) {
    struct apns *a = arg;
    struct credential_io *io, *next;
    if (!a->closing || a->handles > 0 || a->conns.open > 0)
        return;
    LL_FOREACH_SAFE(a->credentials, io, next) {
        io_free(io);
    }
    apns_core_free(a->core);
    secret_wipe(a->conns.plain, sizeof a->conns.plain);
    void (*done)(void *) = a->done;
    void *done_arg = a->done_arg;
    free(a);
    done(done_arg);
}

int apns_new(struct apns **ap, uv_loop_t *loop, struct metrics *m) {
    struct apns *a = calloc(1, sizeof *a);
    if (!a || apns_core_new(&a->core, &core_ops, a, m) != 0) {
        free(a);
        return E_NOMEM;
    }
    a->conns.loop = loop;
    a->conns.core = a->core;
    a->conns.gone = maybe_free;
    a->conns.arg = a;
    uv_timer_init(loop, &a->timer);
    uv_prepare_init(loop, &a->prepare);
    a->timer.data = a->prepare.data = a;
    a->handles = 2;
    a->timer_at_ms = UINT64_MAX; /* not armed */
    uv_prepare_start(&a->prepare, on_prepare);
    uv_unref((uv_handle_t *)&a->prepare);
    apns_conns_tick(&a->conns);
    *ap = a;
    return 0;
}

static void on_handle_closed(uv_handle_t *h) {
    struct apns *a = h->data;
    a->handles--;
    maybe_free(a);
}

void apns_close(struct apns *a, void (*done)(void *arg), void *arg) {
    a->closing = true;
    a->drained = NULL;
    a->done = done;
    a->done_arg = arg;
    apns_conns_tick(&a->conns);
    apns_core_stop(a->core);
    uv_close((uv_handle_t *)&a->timer, on_handle_closed);
    uv_close((uv_handle_t *)&a->prepare, on_handle_closed);
}

void apns_drain(struct apns *a, uint64_t limit_ms, void (*done)(void *arg), void *arg) {
    apns_core_drain(a->core);
    a->drained = done;
    a->drained_arg = arg;
    a->drain_until_ms = clock_mono_ms() + limit_ms;
}

/* Credentials */

/* All that can be wrong with a config; nothing is changed yet. */
static int prepare(struct credential_io *io, EVP_PKEY **keyp, const struct apns_credential_config *cfg,
                   struct err_text *et) {
    int err = 0;
    *keyp = NULL;
    io->alarm_days = cfg->expiry_alarm_days ? cfg->expiry_alarm_days : EXPIRY_ALARM_DAYS;
    io->route.port = cfg->port;
    io->route.host = strdup(cfg->host);
    if (!io->route.host)
        return err_say(et, E_NOMEM, "out of memory");
    if (cfg->ring_connections > APNS_RING_CONNECTIONS_MAX)
        return err_say(et, E_INVAL, "ring_connections: %u; at most %d", cfg->ring_connections,
                       APNS_RING_CONNECTIONS_MAX);
    if (!cfg->certificate) {
        if (!cfg->team_id || !cfg->key_id || strlen(cfg->team_id) != 10 || strlen(cfg->key_id) != 10)
            return err_say(et, E_INVAL, "team id and key id have 10 characters each");
        err = apns_key_parse(keyp, cfg->key_pem ? cfg->key_pem : "", cfg->key_pem_len, et);
    }
    if (err == 0)
        err = apns_trust_new(&io->route.ctx, &io->expires_s, cfg, et);
    if (err == 0 && cfg->proxy)
        err = apns_proxy_parse(&io->route.proxy, cfg->proxy, cfg->proxy_user, cfg->proxy_password, et);
    return err;
}

static struct apns_core_identity identity(const struct apns_credential_config *cfg, EVP_PKEY *key, void *owner) {
    return (struct apns_core_identity){.name = cfg->name,
                                       .host = cfg->host,
                                       .port = cfg->port,
                                       .key = key,
                                       .team_id = cfg->team_id,
                                       .key_id = cfg->key_id,
                                       .ring_connections = cfg->ring_connections,
                                       .hedge_ms = cfg->hedge_ms,
                                       .open_probe = cfg->open_probe,
                                       .owner = owner};
}

int apns_credential_add(struct apns *a, struct apns_credential **cp, const struct apns_credential_config *cfg,
                        struct err_text *et) {
    struct credential_io *io = calloc(1, sizeof *io);
    EVP_PKEY *key;
    if (!io)
        return err_say(et, E_NOMEM, "out of memory");
    int err = prepare(io, &key, cfg, et);
    struct apns_core_identity id = identity(cfg, key, io);
    apns_conns_tick(&a->conns);
    if (err == 0 && (err = apns_core_add(a->core, &io->credential, &id)) != 0)
        err_say(et, err, "out of memory");
    EVP_PKEY_free(key);
    if (err != 0) {
        io_free(io);
        return err;
    }
    LL_APPEND(a->credentials, io);
    a->expiry_check_ms = 0;
    *cp = io->credential;
    return 0;
}

int apns_credential_reload(struct apns_credential *c, const struct apns_credential_config *cfg, struct err_text *et) {
    struct credential_io *io = apns_core_owner(c), next = {0};
    EVP_PKEY *key;
    if (strcmp(cfg->host, io->route.host) != 0 || cfg->port != io->route.port)
        return err_say(et, E_INVAL, "host and port of a credential stay: add another one");
    struct apns *a = apns_core_arg(apns_core_of(c));
    int err = prepare(&next, &key, cfg, et);
    struct apns_core_identity id = identity(cfg, key, io);
    apns_conns_tick(&a->conns);
    if (err == 0 && (err = apns_core_reload(c, &id)) != 0)
        err_say(et, err, "out of memory");
    EVP_PKEY_free(key);
    if (err != 0) {
        route_free(&next.route);
        return err;
    }
    route_free(&io->route);
    io->route = next.route;
    io->expires_s = next.expires_s;
    io->alarm_days = next.alarm_days;
    check_expiry(io);
    return 0;
}

int apns_credential_check(const struct apns_credential_config *cfg, struct err_text *et) {
    struct credential_io io = {0};
    EVP_PKEY *key;
    int err = prepare(&io, &key, cfg, et);
    EVP_PKEY_free(key);
    route_free(&io.route);
    return err;
}

void apns_credential_retire(struct apns_credential *c) {
    ((struct credential_io *)apns_core_owner(c))->retired = true;
    apns_core_retire(c);
}

void apns_credential_pair(struct apns_credential *a, struct apns_credential *b) {
    apns_core_pair(a, b);
}

bool apns_credential_ready(const struct apns_credential *c) {
    return apns_core_ready(c);
}

size_t apns_credential_token_export(const struct apns_credential *c, char out[static APNS_TOKEN_EXPORT_MAX_BYTES]) {
    const struct apns_token *t = apns_core_token(c);
    out[0] = 0;
    return t ? apns_token_export(t, out) : 0;
}

int apns_credential_token_import(struct apns_credential *c, const char *p, size_t len) {
    struct apns_time now = {clock_mono_us(), clock_wall_ms()};
    struct apns_token *t = apns_core_token(c);
    return t ? apns_token_import(t, p, len, &now) : E_STATE;
}

/* Pushes */

int apns_push(struct apns_credential *c, const struct apns_push *p, apns_result_cb cb, void *arg, apns_push_id *id,
              struct err_text *et) {
    struct apns *a = apns_core_arg(apns_core_of(c));
    apns_conns_tick(&a->conns);
    return apns_core_push(c, p, cb, arg, id, et);
}

int apns_withdraw(struct apns_credential *c, apns_push_id id) {
    struct apns *a = apns_core_arg(apns_core_of(c));
    apns_conns_tick(&a->conns);
    return apns_core_withdraw(c, id);
}
