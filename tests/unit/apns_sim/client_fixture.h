/* SPDX-License-Identifier: Apache-2.0 */
/* The whole client on a real loop against the simulator in the same process, with a relay between them. */
#ifndef TESTS_UNIT_APNS_SIM_CLIENT_FIXTURE_H
#define TESTS_UNIT_APNS_SIM_CLIENT_FIXTURE_H

#include "apns/apns.h"
#include "apns/sim/sim_priv.h"
#include "base/clock.h"
#include "base/log.h"
#include "tests/unit/apns_sim/relay_fixture.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <unistd.h>

#define TEAM        "TEAM123456"
#define KEY         "KEY1234567"
#define BUNDLE      "com.example.app"
#define TOKEN       "00ff"
#define RESULTS_MAX 64

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

static inline X509 *certificate(EVP_PKEY *key, const char *name, const char *alt, X509 *issuer, EVP_PKEY *issuer_key) {
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

static inline void save_certificate(char path[static 96], const char *name, X509 *x) {
    snprintf(path, 96, "%s/%s", files.dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    PEM_write_X509(f, x);
    fclose(f);
    X509_free(x);
}

static inline int make_files(void **state) {
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

static inline int remove_files(void **state) {
    const char *const all[] = {files.ca, files.other_ca, files.certificate, files.wrong_name, files.key};
    (void)state;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        unlink(all[i]);
    return rmdir(files.dir);
}

/* The world */

static inline void on_tick(uv_timer_t *t) {
    (void)t;
}

static inline void on_flag(void *arg) {
    *(bool *)arg = true;
}

#define wait_for(w, condition)                                                                                         \
    do {                                                                                                               \
        uint64_t until = clock_mono_ms() + 4000;                                                                       \
        while (!(condition) && clock_mono_ms() < until)                                                                \
            uv_run(&(w)->loop, UV_RUN_ONCE);                                                                           \
        assert_true(condition);                                                                                        \
    } while (0)

static inline void settle(struct world *w, unsigned ms) {
    uint64_t until = clock_mono_ms() + ms;
    while (clock_mono_ms() < until)
        uv_run(&w->loop, UV_RUN_ONCE);
}

static inline struct world *world_new(const char *certificate_file, unsigned streams_max) {
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

static inline struct apns_credential_config config(struct world *w) {
    return (struct apns_credential_config){.name = "app",
                                           .host = "127.0.0.1",
                                           .port = w->relay.port,
                                           .ca_file = files.ca,
                                           .team_id = TEAM,
                                           .key_id = KEY,
                                           .key_pem = files.key_pem,
                                           .key_pem_len = files.key_pem_len};
}

static inline void add_credential(struct world *w) {
    struct apns_credential_config cfg = config(w);
    struct err_text et = {""};
    if (apns_credential_add(w->apns, &w->credential, &cfg, &et) != 0)
        fail_msg("%s", et.s);
}

static inline void close_apns(struct world *w) {
    apns_close(w->apns, on_flag, &w->apns_closed);
    wait_for(w, w->apns_closed);
    w->apns = NULL;
}

static inline int setup(void **state) {
    struct world *w = *state = world_new(files.certificate, 100);
    add_credential(w);
    return 0;
}

static inline int teardown(void **state) {
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

static inline void on_result(const struct apns_result *a, void *arg) {
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

static inline struct apns_push a_push(struct result *r, int64_t deadline_ms) {
    return (struct apns_push){.token = TOKEN,
                              .apns_id = uuid_new(r->sent_id),
                              .topic = BUNDLE ".voip",
                              .type = APNS_TYPE_VOIP,
                              .priority = 10,
                              .payload = "{\"aps\":{}}",
                              .payload_len = 10,
                              .deadline_ms = (uint64_t)((int64_t)clock_mono_ms() + deadline_ms)};
}

static inline int try_push(struct world *w, struct result *r, int64_t deadline_ms, struct err_text *et) {
    struct apns_push p = a_push(r, deadline_ms);
    r->w = w;
    return apns_push(w->credential, &p, on_result, r, &r->id, et);
}

static inline void push(struct world *w, struct result *r, int64_t deadline_ms) {
    struct err_text et = {""};
    if (try_push(w, r, deadline_ms, &et) != 0)
        fail_msg("%s", et.s);
}

static inline void push_many(struct world *w, size_t from, size_t count) {
    for (size_t i = from; i < from + count; i++)
        push(w, &w->results[i], 3000);
}

static inline size_t done(const struct world *w, size_t from, size_t count) {
    size_t n = 0;
    for (size_t i = from; i < from + count; i++)
        n += w->results[i].calls > 0;
    return n;
}

static inline void each_was(const struct world *w, size_t from, size_t count, enum apns_verdict verdict) {
    for (size_t i = from; i < from + count; i++) {
        assert_int_equal(w->results[i].calls, 1);
        assert_int_equal(w->results[i].verdict, verdict);
    }
}

static inline size_t requests(const struct world *w) {
    return json_array_size(w->sim->journal);
}

static inline const char *request_id(const struct world *w, size_t i) {
    return json_string_value(json_object_get(json_array_get(w->sim->journal, i), "apns_id"));
}

static inline void script(struct world *w, int status, const char *reason, unsigned count) {
    struct sim_scripted *a = calloc(1, sizeof *a);
    a->status = status;
    a->count = count;
    snprintf(a->reason, sizeof a->reason, "%s", reason);
    LL_APPEND(w->sim->scripted, a);
}

/* One push was accepted: the connection has its full number of streams. */
static inline void prove(struct world *w) {
    memset(&w->results[0], 0, sizeof w->results[0]);
    push_many(w, 0, 1);
    wait_for(w, w->results[0].calls);
    each_was(w, 0, 1, APNS_ACCEPTED);
    memset(&w->results[0], 0, sizeof w->results[0]);
}

/* Results 0 .. count-1 are on one connection: 0 was answered with a 403, the others were accepted, and the answers come
 * in slowly in this order. */
static inline void give_up_slowly(struct world *w, size_t count) {
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define OWN(name)  cmocka_unit_test_setup_teardown(name, NULL, teardown)

#endif
