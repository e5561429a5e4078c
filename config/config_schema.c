/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config_schema.h"

#include "config/config.h"

#define OPT  CYAML_FLAG_OPTIONAL
#define PTR  CYAML_FLAG_POINTER
#define NEED CYAML_FLAG_DEFAULT

#define TEXT(key, flags, type, field)         CYAML_FIELD_STRING_PTR(key, PTR | (flags), struct type, field, 0, CYAML_UNLIMITED)
#define NUMBER(key, type, field)              CYAML_FIELD_UINT(key, OPT, struct type, field)
#define GROUP(key, flags, type, field, table) CYAML_FIELD_MAPPING(key, flags, struct type, field, table)

static const cyaml_schema_value_t text_item = {CYAML_VALUE_STRING(PTR, char, 0, CYAML_UNLIMITED)};

static const cyaml_strval_t scopes[] = {
    {"calls", CONFIG_SCOPE_CALLS}, {"devices", CONFIG_SCOPE_DEVICES}, {"admin", CONFIG_SCOPE_ADMIN}};
static const cyaml_strval_t environments[] = {{"production", CONFIG_ENV_PRODUCTION}, {"sandbox", CONFIG_ENV_SANDBOX}};
static const cyaml_strval_t handoffs[] = {{"transfer", CONFIG_HANDOFF_TRANSFER},
                                          {"sealed", CONFIG_HANDOFF_SEALED},
                                          {"sdes", CONFIG_HANDOFF_SDES},
                                          {"dtls", CONFIG_HANDOFF_DTLS}};
static const cyaml_strval_t srtp_profiles[] = {{"AEAD_AES_128_GCM", CONFIG_SRTP_AEAD_AES_128_GCM},
                                               {"AEAD_AES_256_GCM", CONFIG_SRTP_AEAD_AES_256_GCM},
                                               {"AES_CM_128_HMAC_SHA1_80", CONFIG_SRTP_AES128_CM_SHA1_80}};
static const cyaml_schema_value_t srtp_profile_item = {
    CYAML_VALUE_ENUM(NEED, enum config_srtp, srtp_profiles, CYAML_ARRAY_LEN(srtp_profiles))};
static const cyaml_strval_t second_paths[] = {{"none", CONFIG_SECOND_PATH_NONE},
                                              {"alert", CONFIG_SECOND_PATH_ALERT},
                                              {"others", CONFIG_SECOND_PATH_OTHERS},
                                              {"event", CONFIG_SECOND_PATH_EVENT}};
static const cyaml_strval_t on_calls[] = {{"ring", CONFIG_ON_CALL_RING}, {"busy", CONFIG_ON_CALL_BUSY}};
static const cyaml_strval_t levels[] = {
    {"info", LOG_LEVEL_INFO}, {"debug", LOG_LEVEL_DEBUG}, {"warn", LOG_LEVEL_WARN}, {"error", LOG_LEVEL_ERROR}};
static const cyaml_strval_t formats[] = {{"logfmt", LOG_FORMAT_LOGFMT}, {"json", LOG_FORMAT_JSON}};

static const cyaml_schema_field_t tls[] = {TEXT("certificate_file", NEED, config_tls, certificate_file),
                                           TEXT("key_file", NEED, config_tls, key_file), CYAML_FIELD_END};

static const cyaml_schema_field_t listen_fields[] = {
    TEXT("api", OPT, config_listen, api),
    CYAML_FIELD_MAPPING_PTR("tls", OPT | PTR, struct config_listen, tls, tls),
    TEXT("public_url", OPT, config_listen, public_url),
    CYAML_FIELD_BOOL("behind_proxy", OPT, struct config_listen, behind_proxy),
    CYAML_FIELD_SEQUENCE("cors_origins", OPT | PTR, struct config_listen, cors_origins, &text_item, 0, 64),
    NUMBER("drain_s", config_listen, drain_s),
    CYAML_FIELD_BOOL("console", OPT, struct config_listen, console),
    CYAML_FIELD_END};

static const cyaml_schema_field_t media[] = {
    TEXT("address", OPT, config_media, address),
    NUMBER("port", config_media, port),
    NUMBER("workers", config_media, workers),
    NUMBER("calls_max", config_media, calls_max),
    CYAML_FIELD_SEQUENCE("announce", OPT | PTR, struct config_media, announce, &text_item, 0, 16),
    CYAML_FIELD_UINT_PTR("hold_ms", OPT | PTR, struct config_media, hold_ms),
    NUMBER("inactivity_s", config_media, inactivity_s),
    TEXT("certificate_file", OPT, config_media, certificate_file),
    TEXT("key_file", OPT, config_media, key_file),
    NUMBER("rotate_identity_s", config_media, rotate_identity_s),
    CYAML_FIELD_SEQUENCE("srtp_profiles", OPT | PTR, struct config_media, srtp_profiles, &srtp_profile_item, 1,
                         CONFIG_SRTP_MAX),
    TEXT("ringback", OPT, config_media, ringback),
    CYAML_FIELD_END};

static const cyaml_schema_field_t store[] = {TEXT("url", OPT, config_store, url),
                                             TEXT("seal_key_file", OPT, config_store, seal_key_file),
                                             NUMBER("retention_h", config_store, retention_h), CYAML_FIELD_END};

static const cyaml_schema_field_t rate[] = {CYAML_FIELD_UINT("per_s", NEED, struct config_rate, per_s),
                                            NUMBER("burst", config_rate, burst), CYAML_FIELD_END};
#define RATE(key, type) CYAML_FIELD_MAPPING_PTR(#key, OPT | PTR, struct type, key, rate)
static const cyaml_schema_field_t token[] = {
    TEXT("name", NEED, config_token, name),
    TEXT("sha256", NEED, config_token, sha256),
    CYAML_FIELD_FLAGS("scopes", NEED, struct config_token, scopes, scopes, CYAML_ARRAY_LEN(scopes)),
    TEXT("tenant", OPT, config_token, tenant),
    RATE(rate, config_token),
    CYAML_FIELD_END};
static const cyaml_schema_value_t token_item = {CYAML_VALUE_MAPPING(NEED, struct config_token, token)};
static const cyaml_schema_field_t auth[] = {
    CYAML_FIELD_SEQUENCE("tokens", PTR, struct config_auth, tokens, &token_item, 0, 1024), RATE(rate, config_auth),
    RATE(phone_rate, config_auth), RATE(unknown_rate, config_auth), CYAML_FIELD_END};

static const cyaml_schema_field_t apns[] = {
    TEXT("team_id", OPT, config_apns, team_id),
    TEXT("key_id", OPT, config_apns, key_id),
    TEXT("key_file", OPT, config_apns, key_file),
    TEXT("certificate_file", OPT, config_apns, certificate_file),
    TEXT("certificate_password_file", OPT, config_apns, certificate_password_file),
    TEXT("host", OPT, config_apns, host),
    NUMBER("port", config_apns, port),
    TEXT("ca_file", OPT, config_apns, ca_file),
    TEXT("proxy", OPT, config_apns, proxy),
    TEXT("proxy_user", OPT, config_apns, proxy_user),
    TEXT("proxy_password_file", OPT, config_apns, proxy_password_file),
    NUMBER("ring_connections", config_apns, ring_connections),
    CYAML_FIELD_UINT_PTR("hedge_ms", OPT | PTR, struct config_apns, hedge_ms),
    NUMBER("expiry_alarm_days", config_apns, expiry_alarm_days),
    CYAML_FIELD_END};

static const cyaml_schema_field_t app[] = {
    TEXT("name", NEED, config_app, name),
    TEXT("bundle_id", NEED, config_app, bundle_id),
    CYAML_FIELD_ENUM("environment", OPT, struct config_app, environment, environments, CYAML_ARRAY_LEN(environments)),
    GROUP("apns", NEED, config_app, apns, apns),
    CYAML_FIELD_MAPPING_PTR("other_environment", OPT | PTR, struct config_app, other_environment, apns),
    CYAML_FIELD_SEQUENCE("codecs", OPT | PTR, struct config_app, codecs, &text_item, 0, 64),
    CYAML_FIELD_END};
static const cyaml_schema_value_t app_item = {CYAML_VALUE_MAPPING(NEED, struct config_app, app)};

static const cyaml_schema_field_t match[] = {
    TEXT("callee", OPT, config_match, callee), TEXT("caller", OPT, config_match, caller),
    TEXT("tenant", OPT, config_match, tenant), TEXT("app", OPT, config_match, app), CYAML_FIELD_END};

static const cyaml_schema_field_t reject[] = {NUMBER("status", config_reject, status),
                                              TEXT("detail", OPT, config_reject, detail), CYAML_FIELD_END};

static const cyaml_schema_field_t must_report[] = {
    NUMBER("receipt_after_ms", config_must_report, receipt_after_ms),
    NUMBER("suspect_after_ms", config_must_report, suspect_after_ms),
    NUMBER("second_path_after_ms", config_must_report, second_path_after_ms),
    CYAML_FIELD_ENUM("second_path", OPT, struct config_must_report, second_path, second_paths,
                     CYAML_ARRAY_LEN(second_paths)),
    NUMBER("suspect_silent", config_must_report, suspect_silent),
    NUMBER("blocked_violations", config_must_report, blocked_violations),
    NUMBER("blocked_silent", config_must_report, blocked_silent),
    NUMBER("blocked_retry_h", config_must_report, blocked_retry_h),
    CYAML_FIELD_BOOL("repeat_push", OPT, struct config_must_report, repeat_push),
    CYAML_FIELD_END};

static const cyaml_schema_value_t handoff_item = {
    CYAML_VALUE_ENUM(NEED, enum config_handoff, handoffs, CYAML_ARRAY_LEN(handoffs))};
static const cyaml_schema_field_t route[] = {
    TEXT("name", NEED, config_route, name),
    GROUP("match", OPT, config_route, match, match),
    TEXT("app", OPT, config_route, app),
    NUMBER("ring_timeout_s", config_route, ring_timeout_s),
    CYAML_FIELD_SEQUENCE("handoff", OPT | PTR, struct config_route, handoff, &handoff_item, 1, 4),
    GROUP("must_report", OPT, config_route, must_report, must_report),
    CYAML_FIELD_ENUM("on_call", OPT, struct config_route, on_call, on_calls, CYAML_ARRAY_LEN(on_calls)),
    CYAML_FIELD_MAPPING_PTR("reject", OPT | PTR, struct config_route, reject, reject),
    CYAML_FIELD_END};
static const cyaml_schema_value_t route_item = {CYAML_VALUE_MAPPING(NEED, struct config_route, route)};

static const cyaml_schema_value_t retry_item = {CYAML_VALUE_UINT(NEED, unsigned)};
static const cyaml_schema_field_t webhook[] = {
    TEXT("name", OPT, config_webhook, name),
    TEXT("url", NEED, config_webhook, url),
    TEXT("secret_file", NEED, config_webhook, secret_file),
    TEXT("tenant", OPT, config_webhook, tenant),
    TEXT("ca_file", OPT, config_webhook, ca_file),
    CYAML_FIELD_SEQUENCE("events", OPT | PTR, struct config_webhook, events, &text_item, 0, 64),
    CYAML_FIELD_BOOL("allow_private", OPT, struct config_webhook, allow_private),
    CYAML_FIELD_SEQUENCE("retry_s", OPT | PTR, struct config_webhook, retry_s, &retry_item, 1, 16),
    CYAML_FIELD_END};
static const cyaml_schema_value_t webhook_item = {CYAML_VALUE_MAPPING(NEED, struct config_webhook, webhook)};

static const cyaml_schema_field_t log_fields[] = {
    CYAML_FIELD_ENUM("level", OPT, struct config_log, level, levels, CYAML_ARRAY_LEN(levels)),
    CYAML_FIELD_ENUM("format", OPT, struct config_log, format, formats, CYAML_ARRAY_LEN(formats)), CYAML_FIELD_END};

static const cyaml_schema_field_t cluster[] = {TEXT("node", OPT, config_cluster, node),
                                               TEXT("redis_url", OPT, config_cluster, redis_url), CYAML_FIELD_END};

static const cyaml_schema_field_t root[] = {
    GROUP("listen", OPT, config, listen, listen_fields),
    GROUP("media", OPT, config, media, media),
    GROUP("store", OPT, config, store, store),
    GROUP("auth", NEED, config, auth, auth),
    CYAML_FIELD_SEQUENCE("apps", PTR, struct config, apps, &app_item, 0, 1024),
    CYAML_FIELD_SEQUENCE("routes", PTR, struct config, routes, &route_item, 1, 4096),
    CYAML_FIELD_SEQUENCE("webhooks", OPT | PTR, struct config, webhooks, &webhook_item, 0, 64),
    GROUP("log", OPT, config, log, log_fields),
    GROUP("cluster", OPT, config, cluster, cluster),
    TEXT("user", OPT, config, user),
    CYAML_FIELD_END};

const cyaml_schema_value_t config_schema = {CYAML_VALUE_MAPPING(CYAML_FLAG_POINTER, struct config, root)};
const cyaml_config_t config_cyaml = {.log_level = CYAML_LOG_ERROR, .mem_fn = cyaml_mem, .flags = CYAML_CFG_NO_ALIAS};
