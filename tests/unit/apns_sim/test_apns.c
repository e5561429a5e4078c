/* SPDX-License-Identifier: Apache-2.0 */
/* The whole client on a real loop against the simulator in the same process. Between them is a relay that can hold
 * back, slow down and cut what the simulator says. */
#include "apns/apns.h"
#include "apns/sim/sim_priv.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utlist.h>

#include <cmocka.h>

#define TEAM           "TEAM123456"
#define KEY            "KEY1234567"
#define BUNDLE         "com.example.app"
#define TOKEN          "00ff"
#define RESULTS_MAX    64
#define SLOW_MS        10
#define TLS_HEAD_BYTES 5
#define FULL_PUSHES    800 /* of 5 KB: more than socket buffers take */

enum relay_mode { RELAY_PASS, RELAY_HOLD, RELAY_SLOW };

struct relay;

struct pair {
    struct pair *prev, *next;
    struct relay *r;
    uv_tcp_t client, server;
    uv_connect_t connect;
    unsigned open;
    bool closing;
    struct buf held; /* what the server said and the client has not got */
    char read_buffer[65536];
};

struct relay {
    uv_tcp_t tcp;
    uv_timer_t slow;
    struct addr target;
    uint16_t port;
    enum relay_mode mode;
    struct pair *pairs;
    unsigned accepted;
};

struct result {
    unsigned calls;
    enum apns_verdict verdict;
    int status, err;
    char reason[64], apns_id[UUID_BYTES];
    uint64_t timestamp_ms, queued_us, written_us, answered_us;
    char sent_id[UUID_BYTES];
    apns_push_id id;
    struct world *w;
    struct result *then; /* pushed from inside this one's callback */
    bool careless;       /* its callback leaves an error in OpenSSL's queue */
};

struct world {
    uv_loop_t loop;
    uv_timer_t tick;
    struct relay relay;
    struct sim *sim;
    struct apns *apns;
    struct apns_credential *credential;
    struct result results[RESULTS_MAX];
    bool apns_closed, sim_closed;
};

static struct {
    char dir[64], ca[96], other_ca[96], certificate[96], wrong_name[96], key[96];
    char key_pem[1024];
    size_t key_pem_len;
} files;

/* Certificates */

static X509 *certificate(EVP_PKEY *key, const char *name, const char *alt, X509 *issuer, EVP_PKEY *issuer_key) {
    X509 *x = X509_new();
    static long serial;
    X509V3_CTX ctx;
    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer ? issuer : x));
    X509_set_pubkey(x, key);
    X509V3_set_ctx(&ctx, issuer ? issuer : x, x, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, alt ? NID_subject_alt_name : NID_basic_constraints,
                                            alt ? alt : "critical,CA:TRUE");
    assert_non_null(e);
    X509_add_ext(x, e, -1);
    X509_EXTENSION_free(e);
    assert_true(X509_sign(x, issuer_key, EVP_sha256()) > 0);
    return x;
}

static void save_certificate(char path[static 96], const char *name, X509 *x) {
    snprintf(path, 96, "%s/%s", files.dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    PEM_write_X509(f, x);
    fclose(f);
    X509_free(x);
}

static int make_files(void **state) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    (void)state;
    log_setup(LOG_LEVEL_ERROR + 1, LOG_FORMAT_LOGFMT);
    strcpy(files.dir, "/tmp/test-apns-XXXXXX");
    assert_non_null(mkdtemp(files.dir));
    X509 *ca = certificate(key, "ca", NULL, NULL, key);
    save_certificate(files.certificate, "server.pem",
                     certificate(key, "server", "IP:127.0.0.1,DNS:localhost", ca, key));
    save_certificate(files.wrong_name, "wrong.pem",
                     certificate(key, "wrong", "DNS:wrong.example,IP:127.0.0.2", ca, key));
    save_certificate(files.ca, "ca.pem", ca);
    EVP_PKEY *other_key = EVP_EC_gen("P-256");
    save_certificate(files.other_ca, "other.pem", certificate(other_key, "ca", NULL, NULL, other_key));
    snprintf(files.key, sizeof files.key, "%s/key.pem", files.dir);
    FILE *f = fopen(files.key, "w+");
    assert_non_null(f);
    PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL);
    rewind(f);
    files.key_pem_len = fread(files.key_pem, 1, sizeof files.key_pem, f);
    fclose(f);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other_key);
    return 0;
}

static int remove_files(void **state) {
    const char *const all[] = {files.ca, files.other_ca, files.certificate, files.wrong_name, files.key};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unlink(all[i]);
    return rmdir(files.dir);
}

/* The relay */

static void on_half_closed(uv_handle_t *h) {
    struct pair *p = h->data;
    if (--p->open > 0)
        return;
    buf_free(&p->held);
    free(p);
}

static void pair_close(struct pair *p) {
    if (p->closing)
        return;
    p->closing = true;
    DL_DELETE(p->r->pairs, p);
    uv_close((uv_handle_t *)&p->client, on_half_closed);
    uv_close((uv_handle_t *)&p->server, on_half_closed);
}

struct relay_write {
    uv_write_t req;
    char p[];
};

static void on_relay_written(uv_write_t *req, int status) {
    (void)status;
    free(req);
}

static void relay_send(uv_tcp_t *to, const char *p, size_t len) {
    struct relay_write *w = malloc(sizeof *w + len);
    uv_buf_t b = uv_buf_init(w->p, (unsigned)len);
    memcpy(w->p, p, len);
    if (uv_write(&w->req, (uv_stream_t *)to, &b, 1, on_relay_written) != 0)
        free(w);
}

static void release(struct pair *p, size_t len) {
    if (len == 0)
        return;
    relay_send(&p->client, p->held.p, len);
    buf_shift(&p->held, len);
}

static void on_slow(uv_timer_t *t) {
    struct relay *r = t->data;
    struct pair *p;
    DL_FOREACH(r->pairs, p) {
        const uint8_t *head = (const uint8_t *)p->held.p;
        size_t record = p->held.len < TLS_HEAD_BYTES ? 0 : TLS_HEAD_BYTES + (size_t)(head[3] << 8 | head[4]);
        if (r->mode == RELAY_PASS)
            release(p, p->held.len);
        else if (r->mode == RELAY_SLOW && record && record <= p->held.len)
            release(p, record);
    }
}

static void on_relay_read(uv_stream_t *from, ssize_t n, const uv_buf_t *b) {
    struct pair *p = from->data;
    if (n < 0) {
        pair_close(p);
    } else if (from == (uv_stream_t *)&p->client) {
        relay_send(&p->server, b->base, (size_t)n);
    } else {
        buf_add(&p->held, b->base, (size_t)n);
        if (p->r->mode == RELAY_PASS)
            release(p, p->held.len);
    }
}

static void on_relay_alloc(uv_handle_t *h, size_t suggested, uv_buf_t *b) {
    struct pair *p = h->data;
    (void)suggested;
    *b = uv_buf_init(p->read_buffer, sizeof p->read_buffer);
}

static void on_relay_connected(uv_connect_t *req, int status) {
    struct pair *p = req->data;
    if (status == UV_ECANCELED)
        return;
    if (status != 0) {
        pair_close(p);
        return;
    }
    uv_read_start((uv_stream_t *)&p->client, on_relay_alloc, on_relay_read);
    uv_read_start((uv_stream_t *)&p->server, on_relay_alloc, on_relay_read);
}

static void on_relay_accept(uv_stream_t *server, int status) {
    struct relay *r = server->data;
    struct pair *p = calloc(1, sizeof *p);
    assert_int_equal(status, 0);
    p->r = r;
    p->open = 2;
    p->client.data = p->server.data = p->connect.data = p;
    uv_tcp_init(server->loop, &p->client);
    uv_tcp_init(server->loop, &p->server);
    uv_tcp_nodelay(&p->server, 1);
    DL_APPEND(r->pairs, p);
    r->accepted++;
    uv_accept(server, (uv_stream_t *)&p->client);
    uv_tcp_nodelay(&p->client, 1); /* or slow records would come together */
    uv_tcp_connect(&p->connect, &p->server, &r->target.u.sa, on_relay_connected);
}

static void relay_start(struct relay *r, uv_loop_t *loop, const struct addr *target) {
    struct addr a;
    struct sockaddr_storage bound;
    int len = sizeof bound;
    r->target = *target;
    addr_parse(&a, "127.0.0.1", 0);
    uv_tcp_init(loop, &r->tcp);
    r->tcp.data = r;
    assert_int_equal(uv_tcp_bind(&r->tcp, &a.u.sa, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&r->tcp, 16, on_relay_accept), 0);
    uv_tcp_getsockname(&r->tcp, (struct sockaddr *)&bound, &len);
    addr_from_sockaddr(&a, (struct sockaddr *)&bound);
    r->port = addr_port(&a);
    uv_timer_init(loop, &r->slow);
    r->slow.data = r;
    uv_timer_start(&r->slow, on_slow, SLOW_MS, SLOW_MS);
}

/* What the client says stays in its socket, or is read on. */
static void relay_read(struct relay *r, bool on) {
    struct pair *p;
    DL_FOREACH(r->pairs, p) {
        if (on)
            uv_read_start((uv_stream_t *)&p->client, on_relay_alloc, on_relay_read);
        else
            uv_read_stop((uv_stream_t *)&p->client);
    }
}

static void relay_cut(struct relay *r) {
    struct pair *p, *next;
    DL_FOREACH_SAFE(r->pairs, p, next) {
        pair_close(p);
    }
}

/* The world */

static void on_tick(uv_timer_t *t) {
    (void)t;
}

static void on_flag(void *arg) {
    *(bool *)arg = true;
}

#define wait_for(w, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t until = clock_mono_ms() + 4000;                                                                       \
        while (!(condition) && clock_mono_ms() < until)                                                                \
            uv_run(&(w)->loop, UV_RUN_ONCE);                                                                           \
        assert_true(condition);                                                                                        \
    } while (0)

static void settle(struct world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static struct world *world_new(const char *certificate_file, unsigned streams_max) {
    struct world *w = calloc(1, sizeof *w);
    struct err_text et = {""};
    struct sim_config cfg = {.listen = "127.0.0.1:0",
                             .control = "127.0.0.1:0",
                             .certificate_file = certificate_file,
                             .key_file = files.key,
                             .keys = {{TEAM, KEY, files.key}},
                             .key_count = 1,
                             .bundles = {BUNDLE},
                             .bundle_count = 1,
                             .streams_max = streams_max};
    uv_loop_init(&w->loop);
    if (sim_start(&w->sim, &w->loop, &cfg, &et) != 0)
        fail_msg("%s", et.s);
    sim_device_put(w->sim, TOKEN, BUNDLE, false);
    relay_start(&w->relay, &w->loop, sim_address(w->sim));
    uv_timer_init(&w->loop, &w->tick);
    uv_timer_start(&w->tick, on_tick, 2, 2);
    assert_int_equal(apns_new(&w->apns, &w->loop, NULL), 0);
    return w;
}

static struct apns_credential_config config(struct world *w) {
    return (struct apns_credential_config){.name = "app",
                                           .host = "127.0.0.1",
                                           .port = w->relay.port,
                                           .ca_file = files.ca,
                                           .team_id = TEAM,
                                           .key_id = KEY,
                                           .key_pem = files.key_pem,
                                           .key_pem_len = files.key_pem_len};
}

static void add_credential(struct world *w) {
    struct apns_credential_config cfg = config(w);
    struct err_text et = {""};
    if (apns_credential_add(w->apns, &w->credential, &cfg, &et) != 0)
        fail_msg("%s", et.s);
}

static void close_apns(struct world *w) {
    apns_close(w->apns, on_flag, &w->apns_closed);
    wait_for(w, w->apns_closed);
    w->apns = NULL;
}

static int setup(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    add_credential(w);
    return 0;
}

static int teardown(void **state) {
    struct world *w = *state;
    if (w->apns)
        close_apns(w);
    relay_cut(&w->relay);
    uv_close((uv_handle_t *)&w->relay.tcp, NULL);
    uv_close((uv_handle_t *)&w->relay.slow, NULL);
    sim_close(w->sim, on_flag, &w->sim_closed);
    wait_for(w, w->sim_closed);
    uv_close((uv_handle_t *)&w->tick, NULL);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    free(w);
    return 0;
}

static void push(struct world *w, struct result *r, int64_t deadline_ms);

static void on_result(const struct apns_result *a, void *arg) {
    struct result *r = arg;
    r->calls++;
    r->verdict = a->verdict;
    r->status = a->status;
    r->err = a->err;
    r->timestamp_ms = a->timestamp_ms;
    r->queued_us = a->queued_us;
    r->written_us = a->written_us;
    r->answered_us = a->answered_us;
    snprintf(r->reason, sizeof r->reason, "%s", a->reason);
    snprintf(r->apns_id, sizeof r->apns_id, "%s", a->apns_id);
    if (r->careless)
        ERR_raise(ERR_LIB_SSL, SSL_R_BAD_LENGTH);
    if (r->then)
        push(r->w, r->then, 3000);
}

static struct apns_push a_push(struct result *r, int64_t deadline_ms) {
    return (struct apns_push){.token = TOKEN,
                              .apns_id = uuid_new(r->sent_id),
                              .topic = BUNDLE ".voip",
                              .type = APNS_TYPE_VOIP,
                              .priority = 10,
                              .payload = "{\"aps\":{}}",
                              .payload_len = 10,
                              .deadline_ms = (uint64_t)((int64_t)clock_mono_ms() + deadline_ms)};
}

static int try_push(struct world *w, struct result *r, int64_t deadline_ms, struct err_text *et) {
    struct apns_push p = a_push(r, deadline_ms);
    r->w = w;
    return apns_push(w->credential, &p, on_result, r, &r->id, et);
}

static void push(struct world *w, struct result *r, int64_t deadline_ms) {
    struct err_text et = {""};
    if (try_push(w, r, deadline_ms, &et) != 0)
        fail_msg("%s", et.s);
}

static void push_payload(struct world *w, struct result *r, const char *payload, size_t len) {
    struct apns_push p = a_push(r, 10000);
    struct err_text et = {""};
    p.payload = payload;
    p.payload_len = len;
    r->w = w;
    if (apns_push(w->credential, &p, on_result, r, &r->id, &et) != 0)
        fail_msg("%s", et.s);
}

static void push_many(struct world *w, size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++)
        push(w, &w->results[i], 3000);
}

static size_t done(const struct world *w, size_t from, size_t count) {
    size_t n = 0;
    for (size_t i = from; i < from + count; i++)
        n += w->results[i].calls > 0;
    return n;
}

static void each_was(const struct world *w, size_t from, size_t count, enum apns_verdict verdict) {
    for (size_t i = from; i < from + count; i++) {
        assert_int_equal(w->results[i].calls, 1);
        assert_int_equal(w->results[i].verdict, verdict);
    }
}

static size_t requests(const struct world *w) {
    return json_array_size(w->sim->journal);
}

static const char *request_id(const struct world *w, size_t i) {
    return json_string_value(json_object_get(json_array_get(w->sim->journal, i), "apns_id"));
}

static void script(struct world *w, int status, const char *reason, unsigned count) {
    struct sim_scripted *a = calloc(1, sizeof *a);
    a->status = status;
    a->count = count;
    snprintf(a->reason, sizeof a->reason, "%s", reason);
    LL_APPEND(w->sim->scripted, a);
}

/* One push was accepted: the connection has its full number of streams. */
static void prove(struct world *w) {
    memset(&w->results[0], 0, sizeof w->results[0]);
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_ACCEPTED);
    memset(&w->results[0], 0, sizeof w->results[0]);
}

/* What pushes get */

static void a_push_is_accepted(void **state) {
    struct world *w = *state;
    struct result *r = &w->results[0];
    assert_false(apns_credential_ready(w->credential));
    push(w, r, 3000);
    assert_int_equal(r->calls, 0);
    wait_for(w, r->calls);
    assert_int_equal(r->verdict, APNS_ACCEPTED);
    assert_int_equal(r->status, 200);
    assert_int_equal(r->err, 0);
    assert_string_equal(r->reason, "");
    assert_string_equal(r->apns_id, r->sent_id);
    assert_true(r->queued_us > 0 && r->queued_us <= r->written_us && r->written_us <= r->answered_us);
    assert_true(apns_credential_ready(w->credential));
    settle(w, 120);
    assert_int_equal(r->calls, 1);
    assert_int_equal(requests(w), 1);
}

static void a_device_that_left_is_told_with_its_time(void **state) {
    struct world *w = *state;
    struct sim_device *d = sim_device_find(w->sim, TOKEN);
    d->registered = false;
    d->unregistered_ms = 1780000000123;
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_TOKEN_INVALID);
    assert_int_equal(w->results[0].status, 410);
    assert_string_equal(w->results[0].reason, "Unregistered");
    assert_int_equal(w->results[0].timestamp_ms, 1780000000123);
}

static void a_push_past_its_deadline_is_never_sent(void **state) {
    struct world *w = *state;
    w->relay.mode = RELAY_HOLD;
    push(w, &w->results[0], 60);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_NOT_SENT);
    assert_int_equal(w->results[0].err, E_EXPIRED);
    assert_int_equal(w->results[0].status, 0);
    assert_int_equal(w->results[0].written_us, 0);
    assert_string_equal(w->results[0].apns_id, w->results[0].sent_id);
    w->relay.mode = RELAY_PASS;
    prove(w);
    push(w, &w->results[1], -1);
    wait_for(w, w->results[1].calls);
    assert_int_equal(w->results[1].err, E_EXPIRED);
    assert_int_equal(requests(w), 1);
}

static void an_answer_that_does_not_come_is_a_timeout(void **state) {
    struct world *w = *state;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push(w, &w->results[0], 60);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_SERVER_ERROR);
    assert_int_equal(w->results[0].err, E_TIMEOUT);
    assert_true(w->results[0].written_us > 0);
    w->relay.mode = RELAY_PASS;
    push(w, &w->results[1], 3000);
    wait_for(w, w->results[1].calls);
    each_was(w, 1, 1, APNS_ACCEPTED);
    each_was(w, 0, 1, APNS_SERVER_ERROR);
}

static void the_earliest_deadline_goes_first(void **state) {
    static const int64_t deadlines[] = {3000, 2500, 3500, 2000, 2500};
    static const size_t order[] = {3, 1, 4, 0, 2};
    struct world *w = *state;
    for (size_t i = 0; i < 5; i++)
        push(w, &w->results[i], deadlines[i]);
    wait_for(w, done(w, 0, 5) == 5);
    each_was(w, 0, 5, APNS_ACCEPTED);
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(request_id(w, i), w->results[order[i]].sent_id);
}

static void a_queued_push_can_be_withdrawn(void **state) {
    struct world *w = *state;
    push_many(w, 0, 2);
    assert_int_equal(apns_withdraw(w->credential, w->results[0].id), 0);
    each_was(w, 0, 1, APNS_NOT_SENT);
    assert_int_equal(w->results[0].err, E_CLOSED);
    assert_int_equal(apns_withdraw(w->credential, w->results[0].id), E_NOTFOUND);
    wait_for(w, w->results[1].calls);
    assert_int_equal(requests(w), 1);
    w->relay.mode = RELAY_HOLD;
    push(w, &w->results[2], 3000);
    assert_int_equal(apns_withdraw(w->credential, w->results[2].id), E_NOTFOUND);
    assert_int_equal(w->results[2].calls, 0);
}

static void a_callback_may_push_again(void **state) {
    struct world *w = *state;
    for (size_t i = 0; i + 1 < 10; i++)
        w->results[i].then = &w->results[i + 1];
    push(w, &w->results[0], 3000);
    wait_for(w, w->results[9].calls);
    each_was(w, 0, 10, APNS_ACCEPTED);
    assert_int_equal(w->relay.accepted, 1);
}

/* The network takes less than there is to say: what is left follows when it takes more. */
static void a_socket_that_is_full_loses_nothing(void **state) {
    struct world *w = *state = world_new(files.certificate, 1000);
    char payload[APNS_VOIP_PAYLOAD_MAX_BYTES];
    int fd, small = 4096;
    w->sim->b.window_bytes = 16000000;
    assert_int_equal(uv_fileno((uv_handle_t *)&w->relay.tcp, &fd), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    struct apns_credential_config cfg = config(w);
    cfg.hedge_ms = APNS_HEDGE_OFF;
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    prove(w);
    settle(w, 50); /* SETTINGS and windows */
    memset(payload, ' ', sizeof payload);
    memcpy(payload, "{}", 2);
    relay_read(&w->relay, false);
    struct result *many = calloc(FULL_PUSHES, sizeof *many);
    for (size_t i = 0; i < FULL_PUSHES; i++)
        push_payload(w, &many[i], payload, sizeof payload);
    settle(w, 100);
    assert_int_equal(requests(w), 1);
    w->relay.mode = RELAY_HOLD; /* nothing that comes in sets the writing going */
    relay_read(&w->relay, true);
    wait_for(w, requests(w) == 1 + FULL_PUSHES);
    w->relay.mode = RELAY_PASS;
    for (size_t i = 0; i < FULL_PUSHES; i++) {
        wait_for(w, many[i].calls);
        assert_int_equal(many[i].calls, 1);
        assert_int_equal(many[i].verdict, APNS_ACCEPTED);
    }
    assert_int_equal(w->relay.accepted, 1);
    free(many);
}

/* Each answer lets the next one out; nothing waits for the sweep. */
static void a_queue_moves_at_the_pace_of_the_answers(void **state) {
    struct world *w = *state = world_new(files.certificate, 1);
    add_credential(w);
    prove(w);
    uint64_t start_ms = clock_mono_ms();
    push_many(w, 0, RESULTS_MAX);
    wait_for(w, done(w, 0, RESULTS_MAX) == RESULTS_MAX);
    each_was(w, 0, RESULTS_MAX, APNS_ACCEPTED);
    assert_true(clock_mono_ms() - start_ms < RESULTS_MAX * 50 / 2);
}

static void a_full_queue_takes_no_more(void **state) {
    struct world *w = *state;
    struct result *many = calloc(APNS_QUEUE_MAX + 1, sizeof *many);
    struct err_text et = {""};
    for (size_t i = 0; i < APNS_QUEUE_MAX; i++)
        push(w, &many[i], 60000);
    assert_int_equal(try_push(w, &many[APNS_QUEUE_MAX], 60000, &et), E_FULL);
    assert_non_null(strstr(et.s, "8192"));
    close_apns(w);
    for (size_t i = 0; i < APNS_QUEUE_MAX; i++)
        assert_true(many[i].calls == 1 && many[i].err == E_CLOSED);
    assert_int_equal(many[APNS_QUEUE_MAX].calls, 0);
    free(many);
}

static void a_push_that_fails_the_preflight_is_not_taken(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    struct apns_push p = {.token = "xyz", .apns_id = "", .topic = "", .payload = "", .priority = 1};
    apns_push_id id;
    assert_int_equal(apns_push(w->credential, &p, on_result, &w->results[0], &id, &et), E_INVAL);
    assert_non_null(strstr(et.s, "token"));
    close_apns(w);
    assert_int_equal(w->results[0].calls, 0);
}

/* Whom the client believes */

static void not_connected(struct world *w) {
    push(w, &w->results[0], 120);
    wait_for(w, w->results[0].calls);
    assert_true(w->relay.accepted >= 1);
    each_was(w, 0, 1, APNS_NOT_SENT);
    assert_false(apns_credential_ready(w->credential));
    assert_int_equal(requests(w), 0);
}

static void a_certificate_for_another_name_is_refused(void **state) {
    struct world *w = *state = world_new(files.wrong_name, 100);
    struct apns_credential_config cfg = config(w);
    add_credential(w);
    not_connected(w);
    memset(&w->results[0], 0, sizeof w->results[0]);
    cfg.host = "localhost";
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    not_connected(w);
}

static void a_host_name_is_looked_up(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    struct apns_credential_config cfg = config(w);
    cfg.host = "localhost";
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_ACCEPTED);
}

static void a_certificate_of_another_authority_is_refused(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    struct apns_credential_config cfg = config(w);
    cfg.ca_file = files.other_ca;
    assert_int_equal(apns_credential_add(w->apns, &w->credential, &cfg, NULL), 0);
    not_connected(w);
}

static void a_credential_says_what_is_wrong_with_it(void **state) {
    struct world *w = *state;
    struct apns_credential *c;
    struct err_text et = {""};
    struct apns_credential_config cfg = config(w);
    cfg.key_id = "short";
    assert_int_equal(apns_credential_add(w->apns, &c, &cfg, &et), E_INVAL);
    assert_non_null(strstr(et.s, "10 characters"));
    cfg = config(w);
    cfg.key_pem = "rubbish";
    cfg.key_pem_len = 7;
    assert_int_equal(apns_credential_add(w->apns, &c, &cfg, &et), E_CRYPTO);
    assert_non_null(strstr(et.s, "private key"));
    cfg = config(w);
    cfg.ca_file = "/nowhere/ca.pem";
    assert_int_equal(apns_credential_add(w->apns, &c, &cfg, &et), E_IO);
    assert_non_null(strstr(et.s, "/nowhere/ca.pem"));
}

/* Connections that end */

static void what_a_lost_connection_left_unanswered_goes_out_once_more(void **state) {
    struct world *w = *state;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 3);
    wait_for(w, requests(w) == 4);
    relay_cut(&w->relay);
    w->relay.mode = RELAY_PASS;
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_ACCEPTED);
    assert_int_equal(w->relay.accepted, 2);
    /* The other two are on the wire again, and are lost again. */
    w->relay.mode = RELAY_HOLD;
    wait_for(w, requests(w) == 7);
    w->results[1].then = &w->results[3];
    relay_cut(&w->relay);
    wait_for(w, done(w, 1, 2) == 2);
    each_was(w, 0, 1, APNS_ACCEPTED);
    each_was(w, 1, 2, APNS_SERVER_ERROR);
    assert_int_equal(w->results[1].err, E_IO);
    assert_int_equal(w->results[1].status, 0);
    close_apns(w);
    each_was(w, 3, 1, APNS_NOT_SENT);
    assert_int_equal(requests(w), 7);
}

/* Results 0 .. count-1 are on one connection: 0 was answered with a 403, the others were accepted, and the answers come
 * in slowly in this order. */
static void give_up_slowly(struct world *w, size_t count) {
    prove(w);
    script(w, 403, "InvalidProviderToken", 1);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 1);
    wait_for(w, requests(w) == 2);
    for (size_t i = 1; i < count; i++)
        push(w, &w->results[i], 10000);
    wait_for(w, requests(w) == 1 + count);
    w->relay.mode = RELAY_SLOW;
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_CREDENTIAL_BAD);
    assert_int_equal(done(w, 1, count - 1), 0);
}

/* A 403 asks for another connection; the pushes behind it on the same one were answered, and that must be heard. */
static void answers_under_way_are_awaited_before_a_connection_is_given_up(void **state) {
    struct world *w = *state;
    give_up_slowly(w, 4);
    wait_for(w, done(w, 1, 3) == 3);
    each_was(w, 1, 3, APNS_ACCEPTED);
    assert_int_equal(requests(w), 5);
    assert_int_equal(w->relay.accepted, 1);
}

static void a_connection_that_is_given_up_does_not_wait_for_ever(void **state) {
    struct world *w = *state;
    give_up_slowly(w, 2);
    w->relay.mode = RELAY_HOLD;
    wait_for(w, w->relay.accepted == 2);
    settle(w, 1300); /* patience with the old one ends */
    w->relay.mode = RELAY_PASS;
    wait_for(w, w->results[1].calls);
    each_was(w, 1, 1, APNS_ACCEPTED);
    assert_int_equal(requests(w), 4);
}

static void an_answer_about_the_connection_sends_its_push_over_another(void **state) {
    struct world *w = *state;
    prove(w);
    script(w, 403, "ExpiredProviderToken", 1);
    script(w, 429, "TooManyProviderTokenUpdates", 1);
    push_many(w, 0, 2);
    wait_for(w, done(w, 0, 2) == 2);
    each_was(w, 0, 2, APNS_ACCEPTED);
    assert_int_equal(requests(w), 5);
    assert_int_equal(w->relay.accepted, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_string_equal(request_id(w, 1 + i), w->results[i].sent_id);
        assert_string_equal(request_id(w, 3 + i), w->results[i].sent_id);
    }
}

static void a_credential_that_is_refused_makes_no_storm_of_connections(void **state) {
    struct world *w = *state;
    prove(w);
    script(w, 403, "InvalidProviderToken", 100);
    for (size_t i = 0; i < 5; i++) {
        push_many(w, i, 1);
        settle(w, 100);
    }
    each_was(w, 0, 1, APNS_CREDENTIAL_BAD);
    assert_int_equal(w->relay.accepted, 1);
}

/* OpenSSL's error queue belongs to the thread: other users of TLS leave things in it. */
static void errors_of_others_do_not_end_a_connection(void **state) {
    struct world *w = *state;
    prove(w);
    for (size_t i = 0; i < 5; i++) {
        w->results[i].careless = true;
        push_many(w, i, 1);
        wait_for(w, w->results[i].calls);
        settle(w, 10);
    }
    ERR_clear_error();
    each_was(w, 0, 5, APNS_ACCEPTED);
    assert_int_equal(w->relay.accepted, 1);
}

/* The end */

static void closing_ends_each_push(struct world *w, size_t count) {
    close_apns(w);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(w->results[i].calls, 1);
        assert_int_equal(w->results[i].err, E_CLOSED);
    }
    settle(w, 20);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(w->results[i].calls, 1);
}

static void it_closes_before_the_loop_has_run(void **state) {
    struct world *w = *state;
    push_many(w, 0, 5);
    closing_ends_each_push(w, 5);
    each_was(w, 0, 5, APNS_NOT_SENT);
}

static void it_closes_at_every_step_of_the_way_up(void **state) {
    for (unsigned turns = 1; turns < 16; turns++) {
        struct world *w = world_new(files.certificate, 100);
        add_credential(w);
        w->relay.mode = turns % 2 ? RELAY_SLOW : RELAY_HOLD;
        push_many(w, 0, 2);
        for (unsigned i = 0; i < turns; i++)
            uv_run(&w->loop, UV_RUN_ONCE);
        closing_ends_each_push(w, 2);
        *state = w;
        if (turns < 15)
            teardown(state);
    }
}

static void it_closes_with_pushes_on_the_wire(void **state) {
    struct world *w = *state;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 5);
    wait_for(w, requests(w) == 6);
    closing_ends_each_push(w, 5);
    each_was(w, 0, 5, APNS_SERVER_ERROR);
}

static void it_closes_while_it_waits_to_dial_again(void **state) {
    struct world *w = *state;
    prove(w);
    relay_cut(&w->relay);
    w->relay.mode = RELAY_HOLD;
    wait_for(w, !apns_credential_ready(w->credential));
    push_many(w, 0, 5);
    closing_ends_each_push(w, 5);
    each_was(w, 0, 5, APNS_NOT_SENT);
}

static void it_closes_while_a_connection_is_given_up(void **state) {
    struct world *w = *state;
    give_up_slowly(w, 3);
    assert_false(apns_credential_ready(w->credential));
    close_apns(w);
    each_was(w, 0, 1, APNS_CREDENTIAL_BAD);
    each_was(w, 1, 2, APNS_SERVER_ERROR);
}

static void a_callback_may_try_to_push_while_it_closes(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    push_many(w, 0, 3);
    apns_close(w->apns, on_flag, &w->apns_closed);
    assert_int_equal(try_push(w, &w->results[3], 3000, &et), E_CLOSED);
    assert_non_null(strstr(et.s, "closed"));
    wait_for(w, w->apns_closed);
    w->apns = NULL;
    assert_int_equal(w->results[3].calls, 0);
}

static void a_drain_ends_when_the_last_answer_is_there(void **state) {
    struct world *w = *state;
    struct err_text et = {""};
    bool drained = false;
    push_many(w, 0, 5);
    apns_drain(w->apns, 3000, on_flag, &drained);
    assert_int_equal(try_push(w, &w->results[5], 3000, &et), E_CLOSED);
    wait_for(w, drained);
    each_was(w, 0, 5, APNS_ACCEPTED);
}

static void a_drain_has_a_limit(void **state) {
    struct world *w = *state;
    bool drained = false;
    prove(w);
    w->relay.mode = RELAY_HOLD;
    push_many(w, 0, 1);
    apns_drain(w->apns, 50, on_flag, &drained);
    wait_for(w, drained);
    assert_int_equal(w->results[0].calls, 0);
}

static void a_reload_goes_on_with_the_provider_token_of_the_same_key(void **state) {
    struct world *w = *state;
    struct apns_credential_config cfg = config(w);
    char before[APNS_TOKEN_EXPORT_MAX_BYTES], after[APNS_TOKEN_EXPORT_MAX_BYTES];
    prove(w);
    assert_true(apns_credential_token_export(w->credential, before) > 0);
    assert_int_equal(apns_credential_reload(w->credential, &cfg, NULL), 0);
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    wait_for(w, w->relay.accepted == 2);
    settle(w, 100);
    push_many(w, 1, 1);
    wait_for(w, w->results[1].calls);
    each_was(w, 0, 2, APNS_ACCEPTED);
    assert_true(apns_credential_token_export(w->credential, after) > 0);
    assert_string_equal(before, after);
    cfg.key_id = "short";
    assert_int_equal(apns_credential_reload(w->credential, &cfg, NULL), E_INVAL);
}

static void a_client_without_credentials_closes(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    close_apns(w);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OWN(name)  cmocka_unit_test_setup_teardown(name, NULL, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_push_is_accepted),
        TEST(a_device_that_left_is_told_with_its_time),
        TEST(a_push_past_its_deadline_is_never_sent),
        TEST(an_answer_that_does_not_come_is_a_timeout),
        TEST(the_earliest_deadline_goes_first),
        TEST(a_queued_push_can_be_withdrawn),
        TEST(a_callback_may_push_again),
        OWN(a_socket_that_is_full_loses_nothing),
        OWN(a_queue_moves_at_the_pace_of_the_answers),
        TEST(a_full_queue_takes_no_more),
        TEST(a_push_that_fails_the_preflight_is_not_taken),
        OWN(a_certificate_for_another_name_is_refused),
        OWN(a_host_name_is_looked_up),
        OWN(a_certificate_of_another_authority_is_refused),
        TEST(a_credential_says_what_is_wrong_with_it),
        TEST(what_a_lost_connection_left_unanswered_goes_out_once_more),
        TEST(answers_under_way_are_awaited_before_a_connection_is_given_up),
        TEST(a_connection_that_is_given_up_does_not_wait_for_ever),
        TEST(an_answer_about_the_connection_sends_its_push_over_another),
        TEST(a_credential_that_is_refused_makes_no_storm_of_connections),
        TEST(errors_of_others_do_not_end_a_connection),
        TEST(it_closes_before_the_loop_has_run),
        OWN(it_closes_at_every_step_of_the_way_up),
        TEST(it_closes_with_pushes_on_the_wire),
        TEST(it_closes_while_it_waits_to_dial_again),
        TEST(it_closes_while_a_connection_is_given_up),
        TEST(a_callback_may_try_to_push_while_it_closes),
        TEST(a_drain_ends_when_the_last_answer_is_there),
        TEST(a_drain_has_a_limit),
        TEST(a_reload_goes_on_with_the_provider_token_of_the_same_key),
        OWN(a_client_without_credentials_closes),
    };
    return cmocka_run_group_tests(tests, make_files, remove_files);
}
