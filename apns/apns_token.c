/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_token.h"

#include "base/bytes.h"
#include "base/secret.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ID_BYTES         11                 /* 10 characters and the NUL */
#define LIFE_MS          (60LL * 60 * 1000) /* APNs refuses older ones */
#define CLOCK_STEP_MS    60000 /* Unix time and monotonic time ran apart by so much: somebody set the clock */
#define CLOCK_FUTURE_MS  60000 /* an imported token may be so much younger than now */
#define STEP_MINT_MIN_MS (5LL * 60 * 1000) /* between two mints, even when the clock was set */

static const char exported[] = "wakegate-apns-token-1";

struct generation {
    uint64_t number; /* 0: none */
    int64_t mono_ms, wall_ms;
    char bearer[APNS_JWT_BYTES + 8];
};

struct apns_token {
    EVP_PKEY *key;
    char team_id[ID_BYTES], key_id[ID_BYTES];
    struct generation now, before;
    uint64_t mints;
    bool stale; /* APNs does not believe the current one */
};

static int64_t mono_ms(const struct apns_time *t) {
    return (int64_t)(t->mono_us / 1000);
}

int apns_token_new(struct apns_token **tp, EVP_PKEY *key, const char *team_id, const char *key_id) {
    struct apns_token *t = calloc(1, sizeof *t);
    if (!t)
        return E_NOMEM;
    EVP_PKEY_up_ref(key);
    t->key = key;
    snprintf(t->team_id, sizeof t->team_id, "%s", team_id);
    snprintf(t->key_id, sizeof t->key_id, "%s", key_id);
    *tp = t;
    return 0;
}

struct apns_token *apns_token_free(struct apns_token *t) {
    if (!t)
        return NULL;
    EVP_PKEY_free(t->key);
    secret_wipe(t, sizeof *t);
    free(t);
    return NULL;
}

bool apns_token_is(const struct apns_token *t, EVP_PKEY *key, const char *team_id, const char *key_id) {
    return strcmp(t->team_id, team_id) == 0 && strcmp(t->key_id, key_id) == 0 && EVP_PKEY_eq(t->key, key) == 1;
}

/* How far Unix time ran ahead of (or behind) monotonic time since the mint. */
static int64_t clock_step(const struct generation *g, const struct apns_time *now) {
    int64_t step = ((int64_t)now->wall_ms - g->wall_ms) - (mono_ms(now) - g->mono_ms);
    return step < 0 ? -step : step;
}

/* Monotonic time stands still while a machine sleeps: then Unix time knows better. */
static int64_t age_of(const struct generation *g, const struct apns_time *now) {
    int64_t mono = mono_ms(now) - g->mono_ms, wall = (int64_t)now->wall_ms - g->wall_ms;
    return wall > mono + CLOCK_STEP_MS ? wall : mono;
}

static bool may_mint(const struct apns_token *t, const struct apns_time *now) {
    int64_t since = mono_ms(now) - t->now.mono_ms;
    return t->now.number == 0 || since >= APNS_TOKEN_MINT_MS ||
           (clock_step(&t->now, now) > CLOCK_STEP_MS && since >= STEP_MINT_MIN_MS);
}

static void mint(struct apns_token *t, const struct apns_time *now) {
    struct generation g = {t->now.number + 1, mono_ms(now), (int64_t)now->wall_ms, "bearer "};
    char jwt[APNS_JWT_BYTES];
    if (apns_jwt_make(jwt, t->key, t->team_id, t->key_id, now->wall_ms / 1000) == 0) {
        snprintf(g.bearer, sizeof g.bearer, "bearer %s", jwt);
        t->before = t->now;
        t->now = g;
        t->stale = false;
        t->mints++;
    }
    secret_wipe(jwt, sizeof jwt);
    secret_wipe(&g, sizeof g);
}

static const struct generation *generation(const struct apns_token *t, uint64_t number) {
    return number == 0 ? NULL : t->now.number == number ? &t->now : t->before.number == number ? &t->before : NULL;
}

static const char *begin(struct apns_token *t, struct apns_token_use *use, const struct apns_time *now) {
    bool old = t->now.number == 0 || t->stale || age_of(&t->now, now) > APNS_TOKEN_START_MAX_MS;
    if (old && may_mint(t, now))
        mint(t, now);
    if (t->now.number == 0)
        return NULL;
    if (use->number != t->now.number)
        *use = (struct apns_token_use){t->now.number, mono_ms(now)};
    return t->now.bearer;
}

const char *apns_token_bearer(struct apns_token *t, struct apns_token_use *use, const struct apns_time *now) {
    const struct generation *g = generation(t, use->number);
    bool keep = g && age_of(g, now) < APNS_TOKEN_SWITCH_MS;
    /* Only a clock that was set brings it here too early; the old token is then still the better guess. */
    bool early = g && mono_ms(now) - use->first_ms < APNS_TOKEN_FIRST_USE_MS;
    return keep || early ? g->bearer : begin(t, use, now);
}

bool apns_token_expired(struct apns_token *t, const struct apns_token_use *use, const struct apns_time *now) {
    const struct generation *g = generation(t, use->number);
    if (!g)
        return false;
    if (g == &t->now)
        t->stale = true;
    return mono_ms(now) - g->mono_ms < APNS_TOKEN_SWITCH_MS;
}

int64_t apns_token_age_ms(const struct apns_token *t, const struct apns_token_use *use, const struct apns_time *now) {
    const struct generation *g = generation(t, use->number);
    return g ? mono_ms(now) - g->mono_ms : 0;
}

uint64_t apns_token_mints(const struct apns_token *t) {
    return t->mints;
}

size_t apns_token_export(const struct apns_token *t, char out[static APNS_TOKEN_EXPORT_BYTES]) {
    out[0] = 0;
    if (t->now.number == 0)
        return 0;
    int n = snprintf(out, APNS_TOKEN_EXPORT_BYTES, "%s %s %s %" PRId64 " %s", exported, t->team_id, t->key_id,
                     t->now.wall_ms, t->now.bearer + strlen("bearer "));
    return n < APNS_TOKEN_EXPORT_BYTES ? (size_t)n : 0;
}

static int verify(const struct apns_token *t, const char *jwt) {
    uint8_t sig[APNS_ES256_BYTES];
    const char *dot = strrchr(jwt, '.');
    if (!dot || b64url_decode(sig, sizeof sig, dot + 1, strlen(dot + 1)) != (int)sizeof sig)
        return E_MALFORMED;
    return apns_es256_verify(sig, t->key, jwt, (size_t)(dot - jwt));
}

int apns_token_import(struct apns_token *t, const char *p, size_t len, const struct apns_time *now) {
    char text[APNS_TOKEN_EXPORT_BYTES], team_id[ID_BYTES] = "", key_id[ID_BYTES] = "", jwt[APNS_JWT_BYTES] = "";
    int64_t wall_ms = 0;
    int err = 0;
    size_t head = strlen(exported);
    if (t->now.number != 0)
        return E_STATE;
    if (len >= sizeof text || len <= head || memcmp(p, exported, head) != 0)
        return E_MALFORMED;
    memcpy(text, p, len);
    text[len] = 0;
    if (sscanf(text + head, "%10s %10s %" SCNd64 " %255s", team_id, key_id, &wall_ms, jwt) != 4)
        err = E_MALFORMED;
    int64_t age = (int64_t)now->wall_ms - wall_ms;
    if (err == 0 && (strcmp(team_id, t->team_id) != 0 || strcmp(key_id, t->key_id) != 0))
        err = E_AUTH;
    if (err == 0)
        err = verify(t, jwt);
    if (err == 0 && (age < -CLOCK_FUTURE_MS || age >= LIFE_MS))
        err = E_EXPIRED;
    if (err == 0) {
        t->now = (struct generation){1, mono_ms(now) - age, wall_ms, ""};
        snprintf(t->now.bearer, sizeof t->now.bearer, "bearer %s", jwt);
    }
    secret_wipe(text, sizeof text);
    secret_wipe(jwt, sizeof jwt);
    return err;
}
