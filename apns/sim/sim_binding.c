/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_binding.h"

#include <string.h>

/* One entry of key_scopes: pointers into it, with lengths. */
struct scope {
    const char *environment, *topics, *related;
    size_t environment_len, topics_len, related_len;
};

/* The next part up to one of the ends; moves on behind a ':'. */
static const char *part(const char **at, size_t *len) {
    const char *from = *at;
    *len = strcspn(from, ":,");
    *at = from + *len + (from[*len] == ':');
    return from;
}

/* A key without an entry is the team's, in both environments: as keys were before scopes. */
static void scope_find(const struct sim *s, unsigned key, struct scope *out) {
    const char *at = s->b.key_scopes, *id = s->cfg.keys[key].key_id;
    *out = (struct scope){"any", "", "", 3, 0, 0};
    while (*at) {
        size_t len;
        const char *name = part(&at, &len);
        struct scope found;
        found.environment = part(&at, &found.environment_len);
        found.topics = part(&at, &found.topics_len);
        found.related = part(&at, &found.related_len);
        at += *at == ',';
        if (len == strlen(id) && memcmp(name, id, len) == 0) {
            *out = found;
            return;
        }
    }
}

static bool is(const char *p, size_t len, const char *word) {
    return len == strlen(word) && memcmp(p, word, len) == 0;
}

static bool environment_fits(const struct sim *s, const struct scope *scope) {
    return scope->environment_len == 0 || is(scope->environment, scope->environment_len, "any") ||
           is(scope->environment, scope->environment_len, s->cfg.sandbox ? "sandbox" : "production");
}

static const char *against_bound(const struct sim *s, unsigned bound, unsigned key, const struct scope *scope) {
    const struct sim_key *first = &s->cfg.keys[bound], *now = &s->cfg.keys[key];
    struct scope had;
    if (strcmp(first->team_id, now->team_id) != 0)
        return "InvalidProviderToken";
    scope_find(s, bound, &had);
    if ((had.topics_len > 0) != (scope->topics_len > 0))
        return "UnrelatedKeyIdInToken";
    bool related = bound == key || had.topics_len == 0 || is(had.related, had.related_len, now->key_id) ||
                   is(scope->related, scope->related_len, first->key_id);
    return related ? NULL : "UnrelatedKeyIdInToken";
}

const char *sim_binding_key(const struct sim *s, struct sim_provider *p, unsigned key) {
    static const char *const spellings[] = {"BadEnvironmentKeyIdInToken", "BadEnvironmentKeyInToken"};
    struct scope scope;
    scope_find(s, key, &scope);
    if (!environment_fits(s, &scope))
        return spellings[s->b.environment_key_reason != 0];
    if (p->bound && s->b.binding)
        return against_bound(s, p->bound_key, key, &scope);
    p->bound = true;
    p->bound_key = key;
    p->bundles_known = s->cfg.bundle_count;
    return NULL;
}

bool sim_binding_bundle(const struct sim *s, const struct sim_provider *p, unsigned bundle) {
    struct scope scope;
    if (!p->bound)
        return true;
    if (s->b.binding && bundle >= p->bundles_known)
        return false;
    scope_find(s, p->bound_key, &scope);
    for (const char *t = scope.topics, *end = t + scope.topics_len; t < end;) {
        size_t len = strcspn(t, "+:,");
        if (is(t, len, s->cfg.bundles[bundle]))
            return true;
        t += len + 1;
    }
    return scope.topics_len == 0;
}
