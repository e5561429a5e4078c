/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns.h"

#include "apns/apns_conn.h"
#include "apns/apns_jwt.h"
#include "apns/apns_preflight.h"
#include "apns/apns_reason.h"
#include "base/addr.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "base/slots.h"

#include <inttypes.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define TOKEN_START_MAX_MS (30ULL * 60 * 1000) /* a connection does not start on a token older than this */
#define TOKEN_SWITCH_MS    (55ULL * 60 * 1000) /* and changes to a new one at this age: APNs refuses at 60 min */
#define SWEEP_MS           50                  /* how late a deadline may be noticed */
#define TRIES_MAX          2                   /* a push of unknown fate goes out once more */

struct push {
    struct push *prev, *next; /* in the queue */
    apns_push_id id;
    struct apns_credential *credential;
    char *strings; /* one allocation behind the pointers of req; wiped: a payload may hold tokens */
    size_t strings_bytes;
    struct apns_request req;
    char expiration[24], priority[4];
    uint64_t deadline_ms;
    uint64_t queued_us, written_us;
    unsigned tries;
    bool sent; /* on the wire, not in the queue */
    apns_result_cb cb;
    void *arg;
};

struct apns_credential {
    struct apns_credential *next;
    struct apns *client;
    char *name, *host, *team_id, *key_id;
    uint16_t port;
    EVP_PKEY *key;
    SSL_CTX *ctx;
    struct apns_conn *conn;
    char authorization[APNS_JWT_BYTES + 8]; /* "bearer TOKEN" */
    uint64_t minted_ms;                     /* monotonic; 0: never */
    struct push *queue;                     /* by deadline, the earliest first */
    unsigned queued;
    bool refused; /* since the last sweep: what the peer refuses is offered again then, not at once */
};

struct apns {
    uv_loop_t *loop;
    struct metrics *metrics;
    struct apns_credential *credentials;
    struct slots *pushes;
    uv_timer_t sweep;
    unsigned closing; /* handles still open */
    bool closed;
    void (*done)(void *arg);
    void *done_arg;
    struct metric *queue_wait, *answer_time;
};

/* The provider token */

static int mint(struct apns_credential *c) {
    char token[APNS_JWT_BYTES];
    int err = apns_jwt_make(token, c->key, c->team_id, c->key_id, clock_wall_ms() / 1000);
    if (err == 0) {
        snprintf(c->authorization, sizeof c->authorization, "bearer %s", token);
        c->minted_ms = clock_mono_ms();
    }
    secret_wipe(token, sizeof token);
    return err;
}

static void mint_when_older(struct apns_credential *c, uint64_t age_ms) {
    if (c->minted_ms == 0 || clock_mono_ms() - c->minted_ms > age_ms)
        if (mint(c) != 0)
            log_error("apns provider token cannot be signed", log_s("credential", c->name));
}

/* Queue */

static void enqueue(struct push *p) {
    struct apns_credential *c = p->credential;
    struct push *after = c->queue ? c->queue->prev : NULL; /* the tail */
    p->sent = false;
    while (after && after->deadline_ms > p->deadline_ms)
        after = after == c->queue ? NULL : after->prev;
    if (after)
        DL_APPEND_ELEM(c->queue, after, p);
    else
        DL_PREPEND(c->queue, p);
    c->queued++;
}

static void dequeue(struct push *p) {
    DL_DELETE(p->credential->queue, p);
    p->credential->queued--;
}

static void count(struct push *p, const char *result, const char *reason) {
    char labels[256], app[96], why[96];
    struct apns *a = p->credential->client;
    snprintf(labels, sizeof labels, "app=\"%s\",result=\"%s\",reason=\"%s\"",
             metrics_escape(app, sizeof app, p->credential->name), result, metrics_escape(why, sizeof why, reason));
    metric_add(metrics_counter(a->metrics, "wakegate_apns_pushes_total", "Pushes by result and APNs' reason.", labels),
               1);
}

/* The end of a push: its callback, once, and its memory. */
static void finish(struct push *p, struct apns_result *r) {
    struct apns *a = p->credential->client;
    apns_result_cb cb = p->cb;
    void *arg = p->arg;
    char id[UUID_BYTES];
    snprintf(id, sizeof id, "%s", p->req.apns_id);
    r->apns_id = r->apns_id && r->apns_id[0] ? r->apns_id : id;
    r->reason = r->reason ? r->reason : "";
    r->queued_us = p->queued_us;
    r->written_us = p->written_us;
    count(p,
          r->verdict == APNS_ACCEPTED ? "accepted"
          : r->status                 ? "rejected"
                                      : "failed",
          r->status ? r->reason : err_str(r->err));
    secret_free(p->strings, p->strings_bytes);
    slots_release(a->pushes, p->id);
    cb(r, arg);
}

static void fail(struct push *p, enum apns_verdict verdict, int err) {
    struct apns_result r = {.verdict = verdict, .err = err};
    if (!p->sent)
        dequeue(p);
    finish(p, &r);
}

/* Sending */

static void submit_queued(struct apns_credential *c) {
    struct apns_session *s = c->conn ? apns_conn_session(c->conn) : NULL;
    struct push *p, *next;
    bool any = false;
    if (!s)
        return;
    DL_FOREACH_SAFE(c->queue, p, next) {
        if (!apns_session_has_room(s, p->req.payload_len))
            break;
        if (clock_mono_ms() >= p->deadline_ms) /* the sweep tells its owner */
            continue;
        mint_when_older(c, TOKEN_SWITCH_MS);
        p->req.authorization = c->authorization;
        if (apns_session_submit(s, &p->req, p) != 0)
            break;
        dequeue(p);
        p->sent = true;
        p->tries++;
        p->written_us = clock_mono_us();
        metric_observe_us(c->client->queue_wait, p->written_us - p->queued_us);
        any = true;
    }
    if (any)
        apns_conn_flush(c->conn);
}

/* Written, no answer, connection gone: nobody knows. A ring is worth a second try; the call's UUID in the payload tells
 * the phone that it is the same. */
static void retry_or_fail(struct push *p) {
    if (p->tries < TRIES_MAX && clock_mono_ms() < p->deadline_ms)
        enqueue(p);
    else
        fail(p, APNS_SERVER_ERROR, E_IO);
}

static void on_answered(void *tag, const struct apns_answer *a, void *arg) {
    struct push *p = tag;
    struct apns_credential *c = arg;
    const struct apns_reason *why = apns_reason_find(a->status, a->reason);
    uint64_t now_us = clock_mono_us();
    struct apns_result r = {.verdict = why->verdict,
                            .status = a->status,
                            .reason = a->reason,
                            .timestamp_ms = a->timestamp_ms,
                            .apns_id = a->apns_id,
                            .answered_us = now_us};
    metric_observe_us(c->client->answer_time, now_us - p->written_us);
    if (strcmp(why->name, "ExpiredProviderToken") == 0)
        c->minted_ms = 0;
    if (why->close_connection)
        apns_conn_renew(c->conn);
    if (why->retry_elsewhere && p->tries < TRIES_MAX && clock_mono_ms() < p->deadline_ms) {
        enqueue(p);
        return;
    }
    if (why->verdict == APNS_CREDENTIAL_BAD || why->verdict == APNS_OUR_FAULT)
        log_error("apns refuses", log_s("credential", c->name), log_i("status", a->status), log_s("reason", a->reason),
                  log_s("mend", why->mend));
    finish(p, &r);
}

static void on_lost(void *tag, bool refused, void *arg) {
    struct push *p = tag;
    struct apns_credential *c = arg;
    if (refused) {
        c->refused = true;
        p->tries--; /* it was never processed: free of charge */
        p->written_us = 0;
        enqueue(p);
    } else {
        retry_or_fail(p);
    }
}

static void on_goaway(const char *reason, void *arg) {
    struct apns_credential *c = arg;
    log_warn("apns goaway", log_s("credential", c->name), log_s("reason", reason));
    apns_conn_renew(c->conn);
}

static void on_up(void *arg) {
    struct apns_credential *c = arg;
    mint_when_older(c, TOKEN_START_MAX_MS);
    submit_queued(c);
}

static void on_room(void *arg) {
    struct apns_credential *c = arg;
    if (!c->refused)
        submit_queued(c);
}

static void on_down(void *arg) {
    struct apns_credential *c = arg;
    uint32_t cursor = 0;
    slot_id id;
    struct push *p;
    while ((p = slots_next(c->client->pushes, &cursor, &id)))
        if (p->credential == c && p->sent)
            retry_or_fail(p);
}

static void on_sweep(uv_timer_t *t) {
    struct apns *a = t->data;
    uint64_t now_ms = clock_mono_ms();
    uint32_t cursor = 0;
    slot_id id;
    struct push *p;
    struct apns_credential *c;
    while ((p = slots_next(a->pushes, &cursor, &id))) {
        if (now_ms < p->deadline_ms)
            continue;
        if (!p->sent) {
            fail(p, APNS_NOT_SENT, E_EXPIRED);
            continue;
        }
        c = p->credential;
        if (apns_conn_session(c->conn))
            apns_session_forget(apns_conn_session(c->conn), p);
        fail(p, APNS_SERVER_ERROR, E_TIMEOUT);
    }
    LL_FOREACH(a->credentials, c) {
        c->refused = false;
        submit_queued(c);
        apns_conn_flush(c->conn);
    }
    if (slots_used(a->pushes) == 0)
        uv_timer_stop(t);
}

/* Life */

int apns_new(struct apns **ap, uv_loop_t *loop, struct metrics *m) {
    struct apns *a = calloc(1, sizeof *a);
    if (!a || slots_new(&a->pushes, sizeof(struct push), 65536) != 0) {
        free(a);
        return E_NOMEM;
    }
    a->loop = loop;
    a->metrics = m;
    a->queue_wait = metrics_histogram(m, "wakegate_apns_queue_seconds", "From taken to written.", "");
    a->answer_time = metrics_histogram(m, "wakegate_apns_answer_seconds", "From written to answered.", "");
    uv_timer_init(loop, &a->sweep);
    a->sweep.data = a;
    *ap = a;
    return 0;
}

static void credential_free(struct apns_credential *c) {
    secret_wipe(c->authorization, sizeof c->authorization);
    EVP_PKEY_free(c->key);
    SSL_CTX_free(c->ctx);
    free(c->name);
    free(c->host);
    free(c->team_id);
    free(c->key_id);
    free(c);
}

static void on_handle_closed(struct apns *a) {
    struct apns_credential *c, *next;
    if (--a->closing > 0)
        return;
    LL_FOREACH_SAFE(a->credentials, c, next) {
        credential_free(c);
    }
    slots_free(a->pushes);
    void (*done)(void *) = a->done;
    void *arg = a->done_arg;
    free(a);
    done(arg);
}

static void on_conn_closed(void *arg) {
    on_handle_closed(arg);
}

static void on_sweep_closed(uv_handle_t *h) {
    on_handle_closed(h->data);
}

void apns_close(struct apns *a, void (*done)(void *arg), void *arg) {
    struct apns_credential *c;
    uint32_t cursor = 0;
    slot_id id;
    struct push *p;
    a->closed = true;
    a->done = done;
    a->done_arg = arg;
    a->closing = 1;
    LL_FOREACH(a->credentials, c) {
        a->closing++;
        apns_conn_close(c->conn, on_conn_closed, a);
        c->conn = NULL;
    }
    while ((p = slots_next(a->pushes, &cursor, &id)))
        fail(p, p->sent ? APNS_SERVER_ERROR : APNS_NOT_SENT, E_CLOSED);
    uv_close((uv_handle_t *)&a->sweep, on_sweep_closed);
}

static int load_trust(struct apns_credential *c, const struct apns_credential_config *cfg, struct err_text *et) {
    c->ctx = SSL_CTX_new(TLS_client_method());
    if (!c->ctx)
        return err_say(et, E_NOMEM, "out of memory");
    SSL_CTX_set_min_proto_version(c->ctx, TLS1_2_VERSION);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, NULL);
    int ok = cfg->ca_file ? SSL_CTX_load_verify_file(c->ctx, cfg->ca_file) : SSL_CTX_set_default_verify_paths(c->ctx);
    ERR_clear_error();
    return ok == 1 ? 0
                   : err_say(et, E_IO, "ca_file: %s holds no CA certificate in PEM that can be read",
                             cfg->ca_file ? cfg->ca_file : "the system's store");
}

int apns_credential_add(struct apns *a, struct apns_credential **cp, const struct apns_credential_config *cfg,
                        struct err_text *et) {
    struct apns_credential *c = calloc(1, sizeof *c);
    if (!c)
        return err_say(et, E_NOMEM, "out of memory");
    c->client = a;
    c->name = strdup(cfg->name);
    c->host = strdup(cfg->host);
    c->team_id = strdup(cfg->team_id);
    c->key_id = strdup(cfg->key_id);
    c->port = cfg->port;
    int err = c->name && c->host && c->team_id && c->key_id ? 0 : err_say(et, E_NOMEM, "out of memory");
    if (err == 0 && (strlen(cfg->team_id) != 10 || strlen(cfg->key_id) != 10))
        err = err_say(et, E_INVAL, "team id and key id have 10 characters each");
    if (err == 0)
        err = apns_key_parse(&c->key, cfg->key_pem, cfg->key_pem_len, et);
    if (err == 0)
        err = load_trust(c, cfg, et);
    struct apns_conn_config conn = {.loop = a->loop,
                                    .ctx = c->ctx,
                                    .host = c->host,
                                    .name = c->name,
                                    .port = c->port,
                                    .ops = {on_up, on_room, on_down, {on_answered, on_lost, on_goaway}},
                                    .arg = c};
    if (err == 0 && (err = apns_conn_new(&c->conn, &conn)) != 0)
        err_say(et, err, "out of memory");
    if (err != 0) {
        credential_free(c);
        return err;
    }
    LL_APPEND(a->credentials, c);
    *cp = c;
    return 0;
}

bool apns_credential_ready(const struct apns_credential *c) {
    struct apns_session *s = c->conn ? apns_conn_session(c->conn) : NULL;
    return s && apns_session_ready(s);
}

/* One allocation for all strings of a push. */
static int copy_strings(struct push *p, const struct apns_push *in) {
    const char *from[] = {in->token, in->apns_id, in->topic, in->collapse_id};
    const char **to[] = {&p->req.token, &p->req.apns_id, &p->req.topic, &p->req.collapse_id};
    size_t bytes = in->payload_len;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++)
        bytes += from[i] ? strlen(from[i]) + 1 : 0;
    p->strings_bytes = bytes;
    char *at = p->strings = malloc(bytes);
    if (!at)
        return E_NOMEM;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        if (!from[i])
            continue;
        size_t n = strlen(from[i]) + 1;
        *to[i] = memcpy(at, from[i], n);
        at += n;
    }
    p->req.payload = memcpy(at, in->payload, in->payload_len);
    p->req.payload_len = in->payload_len;
    return 0;
}

int apns_push(struct apns_credential *c, const struct apns_push *in, apns_result_cb cb, void *arg, apns_push_id *id,
              struct err_text *et) {
    struct apns *a = c->client;
    if (a->closed)
        return err_say(et, E_CLOSED, "the client is closed");
    int err = apns_preflight(in, et);
    if (err != 0)
        return err;
    if (c->queued >= APNS_QUEUE_MAX)
        return err_say(et, E_FULL, "%u pushes wait already; APNs does not keep up or cannot be reached", c->queued);
    struct push *p = slots_alloc(a->pushes, id);
    if (!p)
        return err_say(et, E_FULL, "too many pushes are under way");
    if (copy_strings(p, in) != 0) {
        slots_release(a->pushes, *id);
        return err_say(et, E_NOMEM, "out of memory");
    }
    p->id = *id;
    p->credential = c;
    p->deadline_ms = in->deadline_ms;
    p->queued_us = clock_mono_us();
    p->cb = cb;
    p->arg = arg;
    snprintf(p->expiration, sizeof p->expiration, "%" PRIu64, in->expiration_s);
    snprintf(p->priority, sizeof p->priority, "%d", in->priority);
    p->req.authority = c->host;
    p->req.push_type = apns_push_type_name(in->type);
    p->req.priority = p->priority;
    p->req.expiration = p->expiration;
    enqueue(p);
    if (!uv_is_active((uv_handle_t *)&a->sweep))
        uv_timer_start(&a->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    submit_queued(c);
    return 0;
}

int apns_withdraw(struct apns_credential *c, apns_push_id id) {
    struct push *p = slots_get(c->client->pushes, id);
    if (!p || p->sent)
        return E_NOTFOUND;
    fail(p, APNS_NOT_SENT, E_CLOSED);
    return 0;
}
