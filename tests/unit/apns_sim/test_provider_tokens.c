/* SPDX-License-Identifier: Apache-2.0 */
/* The client's core on a fake clock, and the simulator's rules as the judge of its provider tokens. */
#include "apns/sim/sim_rules.h"
#include "tests/unit/apns/core_fixture.h"

#define APPS      4 /* with two ring connections each */
#define DAY_MS    (24ULL * 3600 * 1000)
#define MINUTE_MS 60000ULL
#define DAYS      5
#define BUNDLE    "com.example.app"

/* One for each connection that a day may have. */
struct judge {
    struct sim s;
    struct sim_provider providers[PEERS_MAX];
    struct sim_request r; /* the same for all but its provider token */
    uint64_t random;
    unsigned switches; /* another token on a connection, and it was good */
    unsigned refused;
    int64_t minted_s; /* of the latest token */
};

static void set(struct judge *j, enum sim_header h, const char *value) {
    j->r.seen[h] = true;
    snprintf(j->r.value[h], sizeof j->r.value[h], "%s", value);
}

static uint64_t below(struct judge *j, uint64_t n) {
    return sim_random(&j->random) % n;
}

/* At most one in 25 minutes. */
static void check_mint(struct judge *j, const struct sim_provider *p) {
    int64_t since = (int64_t)p->token_iat_s - j->minted_s;
    if (since == 0)
        return;
    if (j->minted_s)
        assert_true(llabs(since) >= 25LL * 60);
    if (since > 0)
        j->minted_s = (int64_t)p->token_iat_s;
}

static void judge_request(struct world *w, struct request *r) {
    struct judge *j = w->arg;
    struct sim_provider *p = &j->providers[r->peer->index];
    struct sim_verdict v;
    bool other = p->token[0] && strcmp(p->token, r->bearer) != 0;
    set(j, SIM_AUTHORIZATION, r->bearer);
    sim_rules_judge(&j->s, p, &j->r, w->now.wall_ms, &v);
    j->refused += v.status != 200;
    j->switches += v.status == 200 && other;
    if (v.status == 200)
        check_mint(j, p);
    respond(r, v.status, v.reason);
}

static struct judge *judge_new(EVP_PKEY *key, uint64_t seed) {
    struct judge *j = calloc(1, sizeof *j);
    j->random = seed;
    sim_behaviour_defaults(&j->s.b);
    j->s.cfg.keys[0] = (struct sim_key){"ABCDE12345", "FGHIJ67890", ""};
    j->s.cfg.key_count = 1;
    j->s.cfg.bundles[0] = BUNDLE;
    j->s.cfg.bundle_count = 1;
    j->s.keys[0] = key;
    sim_device_put(&j->s, "00ff", BUNDLE, false);
    set(j, SIM_METHOD, "POST");
    set(j, SIM_PATH, "/3/device/00ff");
    set(j, SIM_TOPIC, BUNDLE ".voip");
    set(j, SIM_PUSH_TYPE, "voip");
    set(j, SIM_PRIORITY, "10");
    set(j, SIM_EXPIRATION, "0");
    set(j, SIM_ID, "7d1b8a1e-31a5-4f7c-8b0d-2f6f6d0f3c11");
    j->r.body = "{}";
    j->r.body_len = 2;
    return j;
}

static void judge_free(struct judge *j) {
    sim_device_delete(&j->s, j->s.devices);
    free(j);
}

struct day {
    struct world *w;
    struct judge *j;
    struct apns_credential *apps[APPS];
    uint64_t opens_ms[APPS]; /* monotonic: when the app comes */
    unsigned pushes, restarts, most_alive;
};

/* The apps of a client come one after the other, in up to 40 minutes. */
static void plan_apps(struct day *d) {
    for (unsigned i = 0; i < APPS; i++) {
        d->apps[i] = NULL;
        d->opens_ms[i] = now_ms(d->w) + (i == 0 ? 0 : below(d->j, 40 * MINUTE_MS));
    }
}

static void open_apps(struct day *d) {
    for (unsigned i = 0; i < APPS; i++)
        if (!d->apps[i] && now_ms(d->w) >= d->opens_ms[i])
            d->apps[i] = world_credential(d->w, "app");
}

/* Two at once, for both ring connections of an app. */
static void push_two(struct day *d, unsigned app) {
    if (!d->apps[app])
        return;
    d->w->credential = d->apps[app];
    push(d->w, d->pushes++);
    push(d->w, d->pushes++);
}

/* Up to a minute mostly, and now and then long enough for tokens to grow old unused. */
static void pass_some_time(struct day *d) {
    advance(d->w, below(d->j, below(d->j, 20) == 0 ? 40 * MINUTE_MS : MINUTE_MS));
}

static void break_one(struct day *d) {
    struct peer *p = d->w->peers[below(d->j, d->w->peer_count)];
    if (p->link && p->connected)
        peer_cut(p);
}

/* What a gateway does: the token goes with it. */
static void restart(struct day *d) {
    struct world *w = d->w;
    char token[APNS_TOKEN_EXPORT_BYTES];
    advance(w, 10000);
    size_t len = apns_token_export(apns_core_token(d->apps[0]), token);
    world_stop(w);
    w->now.mono_us += 500000;
    w->now.wall_ms += 500;
    world_core(w);
    plan_apps(d);
    open_apps(d);
    int err = apns_token_import(apns_core_token(d->apps[0]), token, len, &w->now);
    assert_true(err == 0 || err == E_EXPIRED);
    d->restarts++;
}

static void live_a_day(struct day *d) {
    struct world *w = d->w;
    for (uint64_t end = now_ms(w) + DAY_MS; now_ms(w) < end;) {
        pass_some_time(d);
        open_apps(d);
        push_two(d, (unsigned)below(d->j, APPS));
        unsigned up = alive(w, APNS_LANE_RING);
        d->most_alive = up > d->most_alive ? up : d->most_alive;
        if (below(d->j, 30) == 0)
            break_one(d);
        if (below(d->j, 100) == 0)
            restart(d);
    }
    advance(w, 40000);
}

static void in_24_hours_with_eight_connections_no_token_is_refused(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= DAYS; seed++) {
        void *world;
        setup(&world);
        struct day d = {.w = world};
        d.j = d.w->arg = judge_new(d.w->key, seed);
        d.w->react = judge_request;
        plan_apps(&d);
        d.apps[0] = d.w->credential;
        live_a_day(&d);
        if (d.j->refused || d.most_alive != 2 * APPS || d.restarts < 3 || d.j->switches < 8 || d.pushes < 1000)
            fail_msg("seed %u: %u refused; at most %u connections, %u restarts, %u other tokens, %u pushes",
                     (unsigned)seed, d.j->refused, d.most_alive, d.restarts, d.j->switches, d.pushes);
        for (unsigned i = 0; i < d.pushes; i++)
            assert_int_equal(d.w->results[i].verdict, APNS_ACCEPTED);
        judge_free(d.j);
        teardown(&world);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_24_hours_with_eight_connections_no_token_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
