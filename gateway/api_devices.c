/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/api_devices.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "gateway/fields.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 50
#define LIMIT_MAX     200

/* The body of PUT /v1/devices/{device}; texts belong to the JSON. */
struct device_body {
    const char *user, *app, *token, *alert_token, *environment, *ui, *sealing_key, *app_version, *os_version;
    const char *pn_provider, *pn_param, *pn_prid; /* RFC 8599 */
    bool rotate_secret;
};

static const char *const environments[] = {"production", "sandbox", NULL};
static const char *const uis[] = {"callkit", "lck", "alert", NULL};
static const char *const pn_providers[] = {"apns", NULL};

#define TEXT(name, most)                                                                                               \
    { #name, FIELD_TEXT, offsetof(struct device_body, name), false, most, NULL }
static const struct field fields[] = {
    TEXT(user, DEVICE_ID_BYTES - 1),
    TEXT(app, DEVICE_APP_BYTES - 1),
    TEXT(token, APNS_TOKEN_MAX_CHARS),
    TEXT(alert_token, APNS_TOKEN_MAX_CHARS),
    {"environment", FIELD_CHOICE, offsetof(struct device_body, environment), false, 0, environments},
    {"ui", FIELD_CHOICE, offsetof(struct device_body, ui), false, 0, uis},
    TEXT(sealing_key, 64),
    TEXT(app_version, DEVICE_VERSION_BYTES - 1),
    TEXT(os_version, DEVICE_VERSION_BYTES - 1),
    {"pn_provider", FIELD_CHOICE, offsetof(struct device_body, pn_provider), false, 0, pn_providers},
    TEXT(pn_param, 512),
    TEXT(pn_prid, APNS_TOKEN_MAX_CHARS + 8),
    {"rotate_secret", FIELD_BOOL, offsetof(struct device_body, rotate_secret), false, 0, NULL},
};

/* A PUT between its change in memory and its commit. */
struct pending {
    struct http *http;
    http_id id;
    int status;
    json_t *body;
};

static json_t *device_json(const struct device *d) {
    char created[CLOCK_RFC3339_BYTES], updated[CLOCK_RFC3339_BYTES];
    json_t *modes = json_array();
    for (unsigned i = 0; i < d->handoff_count; i++)
        json_array_append_new(modes, json_string(media_mode_name(d->handoff[i])));
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:b,s:b,s:s,s:s,s:s,s:s}", "device", d->id, "tenant",
                     d->tenant, "user", d->user, "app", d->app, "environment", d->sandbox ? "sandbox" : "production",
                     "ui", device_ui_name(d->ui), "handoff", modes, "app_version", d->app_version, "os_version",
                     d->os_version, "sealing", d->has_sealing_key, "alerts", d->alert_token[0] != 0, "health",
                     device_health_name(device_health(d)), "health_reason", d->health_reason, "created_at",
                     clock_rfc3339(created, d->created_ms), "updated_at", clock_rfc3339(updated, d->updated_ms));
}

/* A PUT changes updated_at, and so the tag, also where it changes what is not shown. */
static char *device_tag(char out[static HTTP_ETAG_BYTES], const struct device *d) {
    json_t *doc = device_json(d);
    char *text = json_dumps(doc, JSON_COMPACT);
    http_etag(out, text ? text : "");
    free(text);
    json_decref(doc);
    return out;
}

static bool bad(struct http *h, http_id id, const char *field, const char *detail) {
    http_problem(h, id, 422, "bad-field", field, "%s", detail);
    return false;
}

/* RFC 8599 6: pn_param is "TEAM.TOPIC", and some clients append a service: "TEAM.BUNDLE.voip", "...voip&remote". The
 * team may be left out. */
static bool param_is_app(const char *param, const struct config_app *app) {
    char topic[512];
    size_t team = strlen(app->apns.team_id), bundle = strlen(app->bundle_id);
    snprintf(topic, sizeof topic, "%.*s", (int)strcspn(param, "&"), param);
    const char *at = strncmp(topic, app->apns.team_id, team) == 0 && topic[team] == '.' ? topic + team + 1 : topic;
    return strncmp(at, app->bundle_id, bundle) == 0 && (at[bundle] == 0 || strcmp(at + bundle, ".voip") == 0);
}

/* pn_prid is the token, or "TOKEN:voip". */
static bool take_rfc8599(struct api_devices *a, http_id id, struct device_body *b,
                         char token[static APNS_TOKEN_MAX_CHARS + 1]) {
    if (!b->pn_prid && !b->pn_param)
        return true;
    if (!b->pn_provider || !b->pn_prid || !b->pn_param)
        return bad(a->http, id, "pn_provider", "pn_provider, pn_param and pn_prid go together (RFC 8599)");
    snprintf(token, APNS_TOKEN_MAX_CHARS + 1, "%.*s", (int)strcspn(b->pn_prid, ":"), b->pn_prid);
    b->token = token;
    for (unsigned i = 0; i < a->config->apps_count && !b->app; i++)
        if (param_is_app(b->pn_param, &a->config->apps[i]))
            b->app = a->config->apps[i].name;
    return b->app || bad(a->http, id, "pn_param", "pn_param: no app of this gateway has that bundle id");
}

static bool take_modes(struct api_devices *a, http_id id, const json_t *list, struct device *d) {
    size_t i;
    const json_t *v;
    if (!list || json_is_null(list))
        return true;
    if (!json_is_array(list) || json_array_size(list) == 0 || json_array_size(list) > DEVICE_MODES_MAX)
        return bad(a->http, id, "handoff", "handoff: a list of 1 to 4 of transfer, sealed, sdes, dtls is expected");
    d->handoff_count = 0;
    json_array_foreach(list, i, v) {
        enum media_mode m = json_is_string(v) ? media_mode_by_name(json_string_value(v)) : MEDIA_MODE_NONE;
        if (m == MEDIA_MODE_NONE)
            return bad(a->http, id, "handoff", "handoff: only transfer, sealed, sdes and dtls are known");
        d->handoff[d->handoff_count++] = m;
    }
    return true;
}

static bool take_sealing_key(struct api_devices *a, http_id id, const char *text, struct device *d) {
    if (!text)
        return true;
    int n = b64url_decode(d->sealing_key, sizeof d->sealing_key, text, strlen(text));
    if (n != (int)sizeof d->sealing_key)
        n = b64_decode(d->sealing_key, sizeof d->sealing_key, text, strlen(text));
    d->has_sealing_key = n == (int)sizeof d->sealing_key;
    return d->has_sealing_key ||
           bad(a->http, id, "sealing_key", "sealing_key: 32 bytes (an X25519 public key) in base64 are expected");
}

static void set_text(char *out, size_t cap, const char *value) {
    if (value)
        snprintf(out, cap, "%s", value);
}

static bool is_token(const char *token) {
    size_t len = strlen(token);
    return len > 0 && len % 2 == 0 && strspn(token, "0123456789abcdefABCDEF") == len;
}

/* A registration is a new chance for a token that APNs refused, with the same token too: an app removed and installed
 * again may get it back. What the ledger says stays with the token: an app registers whenever it is started. */
static bool take_token(struct api_devices *a, http_id id, const char *token, struct device *d, uint64_t now_ms) {
    if (!token)
        return d->token[0] || bad(a->http, id, "token", "token: the device token of PushKit in hex is needed");
    if (!is_token(token))
        return bad(a->http, id, "token", "token: an even number of hex digits is expected, as PushKit's token has");
    bool other = strcasecmp(d->token, token) != 0;
    if (other || d->health_cause == HEALTH_TOKEN_INVALID) {
        d->token_accepted_ms = d->throttled_until_ms = 0;
        d->token_refused = false;
    }
    if (other)
        d->token_since_ms = now_ms;
    if (other || health_is_of_token(d->health_cause)) {
        d->health_cause = HEALTH_FINE;
        d->health_reason[0] = 0;
    }
    d->token_updated_ms = now_ms;
    snprintf(d->token, sizeof d->token, "%s", token);
    return true;
}

static bool take_alert_token(struct api_devices *a, http_id id, const char *token, struct device *d) {
    if (!token)
        return true;
    if (!is_token(token))
        return bad(a->http, id, "alert_token",
                   "alert_token: an even number of hex digits is expected, as the token of remote notifications has");
    snprintf(d->alert_token, sizeof d->alert_token, "%s", token);
    return true;
}

/* What the body says, onto what is known. */
static bool apply(struct api_devices *a, http_id id, const json_t *json, struct device *d, bool *rotate,
                  uint64_t now_ms) {
    struct device_body b = {0};
    struct field_error fe;
    char token[APNS_TOKEN_MAX_CHARS + 1];
    if (fields_read(&b, json, fields, sizeof fields / sizeof *fields, "", &fe) != 0) {
        http_problem(a->http, id, 422, "bad-field", fe.field, "%s", fe.text.s);
        return false;
    }
    if (!take_rfc8599(a, id, &b, token))
        return false;
    set_text(d->user, sizeof d->user, b.user);
    set_text(d->app, sizeof d->app, b.app);
    set_text(d->app_version, sizeof d->app_version, b.app_version);
    set_text(d->os_version, sizeof d->os_version, b.os_version);
    if (!d->user[0])
        return bad(a->http, id, "user", "user: whose phone this is, is needed");
    const struct config_app *app = config_app(a->config, d->app);
    if (!app)
        return bad(a->http, id, "app",
                   d->app[0] ? "app: no app of this gateway has that name"
                             : "app: the name of an app of this gateway is needed");
    if (b.environment)
        d->sandbox = strcmp(b.environment, "sandbox") == 0;
    else if (d->created_ms == now_ms)
        d->sandbox = app->environment == CONFIG_ENV_SANDBOX;
    for (int i = 0; b.ui && uis[i]; i++)
        if (strcmp(uis[i], b.ui) == 0)
            d->ui = (enum device_ui)i;
    *rotate = *rotate || b.rotate_secret;
    return take_token(a, id, b.token, d, now_ms) && take_alert_token(a, id, b.alert_token, d) &&
           take_sealing_key(a, id, b.sealing_key, d) && take_modes(a, id, json_object_get(json, "handoff"), d);
}

static void on_stored(int err, void *arg) {
    struct pending *p = arg;
    if (err == 0) {
        http_reply_json(p->http, p->id, p->status, p->body, NULL, 0);
    } else {
        json_decref(p->body);
        http_problem(p->http, p->id, 503, "store", NULL, "the device could not be stored: %s", store_err_str(err));
    }
    free(p);
}

static struct pending *pending_new(struct http *h, http_id id, int status, json_t *body) {
    struct pending *p = calloc(1, sizeof *p);
    if (p)
        *p = (struct pending){h, id, status, body};
    return p;
}

static bool name_ok(const char *s) {
    size_t len = strlen(s);
    return len > 0 && len < DEVICE_ID_BYTES && utf8_valid(s, len) && !strpbrk(s, "/\"\\ ");
}

static void put_device(const struct http_request *r, void *arg) {
    struct api_devices *a = arg;
    uint64_t now_ms = clock_wall_ms();
    struct device d = {.handoff = {MEDIA_MODE_DTLS}, .handoff_count = 1, .created_ms = now_ms};
    char secret[SECRET_TOKEN_BYTES], tag[HTTP_ETAG_BYTES];
    if (!name_ok(r->params[0])) {
        http_problem(a->http, r->id, 400, "bad-field", "device",
                     "the device's name has 1 to 128 bytes without blanks, quotes and slashes");
        return;
    }
    const struct device *known = devices_get(a->devices, r->tenant, r->params[0]);
    bool rotate = !known;
    if (http_preconditions(a->http, r, known ? device_tag(tag, known) : NULL) != 0)
        return;
    if (known)
        d = *known;
    snprintf(d.id, sizeof d.id, "%s", r->params[0]);
    snprintf(d.tenant, sizeof d.tenant, "%s", r->tenant);
    json_t *json = http_json_body(a->http, r);
    if (!json)
        return;
    bool good = apply(a, r->id, json, &d, &rotate, now_ms);
    json_decref(json);
    if (!good)
        return;
    /* No two states have the same time: the entity tag is of a document with it. */
    d.updated_ms = known && known->updated_ms >= now_ms ? known->updated_ms + 1 : now_ms;
    if (rotate)
        secret_hash(d.secret_hash, secret_token_new(secret, SECRET_DEVICE_PREFIX));
    json_t *body = device_json(&d);
    if (rotate)
        json_object_set_new(body, "device_secret", json_string(secret));
    secret_wipe(secret, sizeof secret);
    struct pending *p = pending_new(a->http, r->id, known ? 200 : 201, body);
    if (!p || devices_put(a->devices, &d, on_stored, p) != 0) {
        free(p);
        json_decref(body);
        http_problem(a->http, r->id, 503, "memory", NULL, "out of memory");
    }
}

static const struct device *find_or_404(struct api_devices *a, const struct http_request *r) {
    const struct device *d = devices_get(a->devices, r->tenant, r->params[0]);
    if (!d)
        http_problem(a->http, r->id, 404, "not-found", NULL, "no device of that name is registered");
    return d;
}

static void get_device(const struct http_request *r, void *arg) {
    struct api_devices *a = arg;
    const struct device *d = find_or_404(a, r);
    if (d)
        http_reply_tagged(a->http, r->id, device_json(d));
}

static void delete_device(const struct http_request *r, void *arg) {
    struct api_devices *a = arg;
    const struct device *d = find_or_404(a, r);
    char tag[HTTP_ETAG_BYTES];
    if (!d || http_preconditions(a->http, r, device_tag(tag, d)) != 0)
        return;
    struct pending *p = pending_new(a->http, r->id, 204, NULL);
    if (!p || devices_delete(a->devices, r->tenant, r->params[0], on_stored, p) != 0) {
        free(p);
        http_problem(a->http, r->id, 503, "memory", NULL, "out of memory");
    }
}

/* Returns whether it is one, or is absent: then -1. */
static bool read_health(const struct http_request *r, int *health) {
    char name[16];
    *health = -1;
    if (http_query_get(r, "health", name, sizeof name) != 0)
        return true;
    for (int i = 0; i < DEVICE_HEALTHS && *health < 0; i++)
        if (strcmp(name, device_health_name((enum device_health)i)) == 0)
            *health = i;
    return *health >= 0;
}

static void list_devices(const struct http_request *r, void *arg) {
    struct api_devices *a = arg;
    const struct device *found[LIMIT_MAX + 1]; /* one more, to see whether there is another page */
    char cursor[DEVICE_ID_BYTES + 1], user[DEVICE_ID_BYTES + 1], app[DEVICE_APP_BYTES + 1];
    uint64_t limit = LIMIT_DEFAULT;
    struct device_query q = {.tenant = r->tenant, .user = user, .app = app, .after = cursor};
    http_query_get(r, "cursor", cursor, sizeof cursor);
    http_query_get(r, "user", user, sizeof user);
    http_query_get(r, "app", app, sizeof app);
    const char *bad = !http_query_number(r, "limit", LIMIT_MAX, &limit) ? "limit"
                      : *cursor && !name_ok(cursor)                     ? "cursor"
                      : strlen(user) >= DEVICE_ID_BYTES                 ? "user"
                      : strlen(app) >= DEVICE_APP_BYTES                 ? "app"
                      : !read_health(r, &q.health)                      ? "health"
                                                                        : NULL;
    if (bad) {
        http_problem(a->http, r->id, 400, "bad-field", bad,
                     "%s is not usable: limit is 1 to %d, cursor as it came, user has at most %d bytes, app %d, health "
                     "is ok, suspect, blocked or invalid",
                     bad, LIMIT_MAX, DEVICE_ID_BYTES - 1, DEVICE_APP_BYTES - 1);
        return;
    }
    size_t n = devices_list(a->devices, &q, found, limit + 1);
    json_t *list = json_array(), *next = n > limit ? json_string(found[limit - 1]->id) : json_null();
    for (size_t i = 0; i < n && i < limit; i++)
        json_array_append_new(list, device_json(found[i]));
    http_reply_json(a->http, r->id, 200, json_pack("{s:o,s:o}", "devices", list, "next_cursor", next), NULL, 0);
}

const struct http_route api_devices_routes[] = {
    {"PUT", "/v1/devices/{device}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_DEVICES, put_device},
    {"GET", "/v1/devices/{device}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_DEVICES, get_device},
    {"DELETE", "/v1/devices/{device}", HTTP_AUTH_TOKEN, CONFIG_SCOPE_DEVICES, delete_device},
    {"GET", "/v1/devices", HTTP_AUTH_TOKEN, CONFIG_SCOPE_DEVICES, list_devices},
};
const size_t api_devices_route_count = sizeof api_devices_routes / sizeof *api_devices_routes;
