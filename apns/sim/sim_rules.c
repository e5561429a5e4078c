/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/sim/sim_rules.h"

#include "apns/apns_jwt.h"
#include "apns/sim/sim_binding.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct judged {
    struct sim *s;
    struct sim_provider *provider;
    const struct sim_request *r;
    uint64_t now_ms; /* virtual */
    struct sim_verdict *v;
};

static bool say(const struct judged *j, int status, const char *reason) {
    j->v->status = status;
    j->v->reason = reason;
    return false;
}

const char *sim_path_token(const char *path) {
    static const char prefix[] = "/3/device/";
    return strncmp(path, prefix, sizeof prefix - 1) == 0 ? path + sizeof prefix - 1 : NULL;
}

static bool rule_method(const struct judged *j) {
    return strcmp(j->r->value[SIM_METHOD], "POST") == 0 || say(j, 405, "MethodNotAllowed");
}

static bool rule_path(const struct judged *j) {
    return sim_path_token(j->r->value[SIM_PATH]) || say(j, 404, "BadPath");
}

static bool rule_duplicate(const struct judged *j) {
    return !j->r->duplicate || say(j, 400, "DuplicateHeaders");
}

/* One part of a JWT as JSON; NULL when it is none. */
static json_t *jwt_part(const char *p, size_t len) {
    uint8_t bytes[SIM_HEADER_BYTES];
    int n = b64url_decode(bytes, sizeof bytes, p, len);
    return n > 0 ? json_loadb((const char *)bytes, (size_t)n, 0, NULL) : NULL;
}

static uint64_t iat_of(const json_t *claims) {
    const json_t *iat = json_object_get(claims, "iat");
    if (json_is_string(iat)) /* one client in production writes it so */
        return strtoull(json_string_value(iat), NULL, 10);
    return json_is_integer(iat) && json_integer_value(iat) > 0 ? (uint64_t)json_integer_value(iat) : 0;
}

static bool text_is(const json_t *o, const char *key, const char *value) {
    const char *s = json_string_value(json_object_get(o, key));
    return s && strcmp(s, value) == 0;
}

/* Signature, key and team. Returns the key's index, or -1; *iat_s gets the token's time. */
static int jwt_key(const struct sim *s, const char *token, uint64_t *iat_s) {
    uint8_t sig[APNS_ES256_BYTES];
    const char *dot1 = strchr(token, '.'), *dot2 = dot1 ? strchr(dot1 + 1, '.') : NULL;
    int found = -1;
    if (!dot2 || b64url_decode(sig, sizeof sig, dot2 + 1, strlen(dot2 + 1)) != (int)sizeof sig)
        return -1;
    json_t *header = jwt_part(token, (size_t)(dot1 - token)), *claims = jwt_part(dot1 + 1, (size_t)(dot2 - dot1 - 1));
    for (unsigned i = 0; i < s->cfg.key_count && found < 0; i++)
        if (text_is(header, "alg", "ES256") && text_is(header, "kid", s->cfg.keys[i].key_id) &&
            text_is(claims, "iss", s->cfg.keys[i].team_id) &&
            apns_es256_verify(sig, s->keys[i], token, (size_t)(dot2 - token)) == 0)
            found = (int)i;
    *iat_s = iat_of(claims);
    json_decref(header);
    json_decref(claims);
    return found;
}

static bool rule_provider_token(const struct judged *j) {
    const char *value = j->r->value[SIM_AUTHORIZATION], *reason;
    const struct sim_behaviour *b = &j->s->b;
    struct sim_provider *p = j->provider;
    uint64_t iat_s = 0, now_s = j->now_ms / 1000;
    if (p->certificate) /* the token, if there is one, is ignored */
        return p->certificate->trusted || say(j, 403, "BadCertificate");
    if (!*value)
        return say(j, 403, "MissingProviderToken");
    /* A token that was good has its signature checked no more: only its time passes. */
    bool known = p->token[0] && strcmp(p->token, value) == 0;
    int key = known ? (int)p->token_key : strncasecmp(value, "bearer ", 7) == 0 ? jwt_key(j->s, value + 7, &iat_s) : -1;
    if (known)
        iat_s = p->token_iat_s;
    if (key < 0 || iat_s > now_s + (uint64_t)b->token_skew_s)
        return say(j, 403, "InvalidProviderToken");
    if (iat_s + (uint64_t)b->token_age_max_s < now_s)
        return say(j, 403, "ExpiredProviderToken");
    if ((reason = sim_binding_key(j->s, p, (unsigned)key)))
        return say(j, 403, reason);
    if (known)
        return true;
    if (p->token[0] && j->now_ms - p->first_use_ms < (uint64_t)b->token_change_min_s * 1000)
        return say(j, 429, "TooManyProviderTokenUpdates");
    snprintf(p->token, sizeof p->token, "%s", value);
    p->first_use_ms = j->now_ms;
    p->token_key = (unsigned)key;
    p->token_iat_s = iat_s;
    return true;
}

static bool rule_device_token_there(const struct judged *j) {
    return *sim_path_token(j->r->value[SIM_PATH]) || say(j, 400, "MissingDeviceToken");
}

static bool rule_id(const struct judged *j) {
    const char *id = j->r->value[SIM_ID];
    bool lower = strspn(id, "0123456789abcdef-") == UUID_BYTES - 1;
    return !j->r->seen[SIM_ID] || (uuid_valid(id) && (lower || j->s->b.upper_case_id)) || say(j, 400, "BadMessageId");
}

static bool rule_expiration(const struct judged *j) {
    const char *e = j->r->value[SIM_EXPIRATION];
    return !j->r->seen[SIM_EXPIRATION] || (*e && e[strspn(e, "0123456789")] == 0) || say(j, 400, "BadExpirationDate");
}

static bool rule_push_type(const struct judged *j) {
    static const char *const types[] = {"alert",        "background",   "voip",         "pushtotalk",
                                        "location",     "complication", "fileprovider", "mdm",
                                        "liveactivity", "controls",     "widgets"};
    const char *type = j->r->value[SIM_PUSH_TYPE];
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i], type) == 0)
            return true;
    return say(j, 400, "InvalidPushType");
}

static bool rule_priority(const struct judged *j) {
    const char *p = j->r->value[SIM_PRIORITY];
    if (j->r->seen[SIM_PRIORITY] && strcmp(p, "10") != 0 && strcmp(p, "5") != 0 && strcmp(p, "1") != 0)
        return say(j, 400, "BadPriority");
    bool background = strcmp(j->r->value[SIM_PUSH_TYPE], "background") == 0;
    return !background || strcmp(p, "5") == 0 || say(j, 400, "BadPriority");
}

/* The bundle id of a topic of this push type; false when the suffix is not the type's. */
static bool topic_bundle(char out[static SIM_BUNDLE_BYTES], const char *topic, const char *type) {
    static const struct {
        const char *type, *suffix;
    } suffixes[] = {{"voip", ".voip"},
                    {"pushtotalk", ".voip-ptt"},
                    {"complication", ".complication"},
                    {"fileprovider", ".pushkit.fileprovider"},
                    {"location", ".location-query"},
                    {"liveactivity", ".push-type.liveactivity"},
                    {"controls", ".push-type.controls"},
                    {"widgets", ".push-type.widgets"}};
    size_t len = strlen(topic);
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t n = strlen(suffixes[i].suffix);
        bool has = len > n && strcmp(topic + len - n, suffixes[i].suffix) == 0,
             is = strcmp(type, suffixes[i].type) == 0;
        if (is != has)
            return false;
        if (is)
            len -= n;
    }
    snprintf(out, SIM_BUNDLE_BYTES, "%.*s", (int)len, topic);
    return true;
}

static bool certificate_has(const struct sim_certificate *c, const char *topic) {
    for (unsigned i = 0; i < c->topic_count; i++)
        if (strcmp(c->topics[i], topic) == 0)
            return true;
    return strcmp(c->bundle_id, topic) == 0;
}

static bool rule_topic(const struct judged *j) {
    char bundle[SIM_BUNDLE_BYTES];
    const char *topic = j->r->value[SIM_TOPIC];
    if (!*topic)
        return say(j, 400, "MissingTopic");
    if (!topic_bundle(bundle, topic, j->r->value[SIM_PUSH_TYPE]))
        return say(j, 400, "BadTopic");
    if (j->provider->certificate && !certificate_has(j->provider->certificate, topic))
        return say(j, 400, "TopicDisallowed");
    for (unsigned i = 0; i < j->s->cfg.bundle_count; i++)
        if (strcmp(j->s->cfg.bundles[i], bundle) == 0)
            return sim_binding_bundle(j->s, j->provider, i) || say(j, 400, "TopicDisallowed");
    return say(j, 400, "TopicDisallowed");
}

static bool rule_collapse_id(const struct judged *j) {
    return strlen(j->r->value[SIM_COLLAPSE_ID]) <= APNS_COLLAPSE_ID_MAX_BYTES || say(j, 400, "BadCollapseId");
}

static bool rule_payload(const struct judged *j) {
    size_t max = strcmp(j->r->value[SIM_PUSH_TYPE], "voip") == 0 ? APNS_VOIP_PAYLOAD_MAX_BYTES : APNS_PAYLOAD_MAX_BYTES;
    if (j->r->body_len == 0)
        return say(j, 400, "PayloadEmpty");
    return j->r->body_len <= max || say(j, 413, "PayloadTooLarge");
}

static bool rule_device(const struct judged *j) {
    char bundle[SIM_BUNDLE_BYTES];
    const struct sim_device *d = sim_device_find(j->s, sim_path_token(j->r->value[SIM_PATH]));
    if (!d || d->sandbox != j->s->cfg.sandbox)
        return say(j, 400, "BadDeviceToken");
    topic_bundle(bundle, j->r->value[SIM_TOPIC], j->r->value[SIM_PUSH_TYPE]);
    if (strcmp(bundle, d->bundle_id) != 0)
        return say(j, 400, "DeviceTokenNotForTopic");
    if (!d->registered) {
        j->v->timestamp_ms = d->unregistered_ms;
        return say(j, 410, "Unregistered");
    }
    return true;
}

static bool rule_device_limit(const struct judged *j) {
    const struct sim_behaviour *b = &j->s->b;
    struct sim_device *d = b->device_limit ? sim_device_find(j->s, sim_path_token(j->r->value[SIM_PATH])) : NULL;
    if (!d)
        return true;
    if (j->now_ms - d->window_start_ms >= (uint64_t)b->device_limit_window_s * 1000) {
        d->window_start_ms = j->now_ms;
        d->window_pushes = 0;
    }
    if (++d->window_pushes <= b->device_limit)
        return true;
    j->v->retry_after_s = b->retry_after_s;
    return say(j, 429, "TooManyRequests");
}

void sim_rules_judge(struct sim *s, struct sim_provider *provider, const struct sim_request *r, uint64_t now_ms,
                     struct sim_verdict *v) {
    static bool (*const rules[])(const struct judged *) = {
        rule_method,      rule_path,       rule_duplicate, rule_provider_token, rule_device_token_there,
        rule_id,          rule_expiration, rule_push_type, rule_priority,       rule_topic,
        rule_collapse_id, rule_payload,    rule_device,    rule_device_limit};
    struct judged j = {s, provider, r, now_ms, v};
    *v = (struct sim_verdict){.status = 200, .reason = ""};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (!rules[i](&j))
            return;
}
