/* SPDX-License-Identifier: Apache-2.0 */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define SHA256_OF_A_TOKEN "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* The smallest file; the tests change it. Its lines: auth 1, apps 3, routes 10. */
#define AUTH                                                                                                           \
    "auth:\n"                                                                                                          \
    "  tokens: []\n"
#define APPS                                                                                                           \
    "apps:\n"                                                                                                          \
    "  - name: phone\n"                                                                                                \
    "    bundle_id: org.example.phone\n"                                                                               \
    "    apns:\n"                                                                                                      \
    "      team_id: ABCDE12345\n"                                                                                      \
    "      key_id: KEY1234567\n"                                                                                       \
    "      key_file: key.p8\n"
#define ROUTES                                                                                                         \
    "routes:\n"                                                                                                        \
    "  - name: all\n"                                                                                                  \
    "    app: phone\n"
#define SMALLEST AUTH APPS ROUTES

static char folder[64], file[96], key_file[96];

static void write_file(const char *path, const char *text, mode_t mode) {
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static struct config *loaded(const char *text) {
    struct err_text et = {""};
    struct config *c = NULL;
    write_file(file, text, 0644);
    if (config_load(&c, file, &et) != 0)
        fail_msg("%s", et.s);
    return c;
}

/* The sentence must be "FILE:LINE: " and `sentence` at its beginning. */
static void assert_refused(const char *text, int line, const char *sentence) {
    struct err_text et = {""};
    struct config *c = (struct config *)(void *)folder;
    char want[512];
    write_file(file, text, 0644);
    assert_true(config_load(&c, file, &et) < 0);
    assert_null(c);
    snprintf(want, sizeof want, "%s:%d: %s", file, line, sentence);
    if (strncmp(et.s, want, strlen(want)) != 0)
        fail_msg("\"%s\" does not begin with \"%s\"", et.s, want);
}

/* The smallest file with `from` replaced by `to`. */
static const char *with(const char *from, const char *to) {
    static char out[8192];
    const char *at = strstr(SMALLEST, from), *end = at + strlen(from);
    assert_non_null(at);
    snprintf(out, sizeof out, "%.*s%s%s", (int)(at - SMALLEST), SMALLEST, to, end);
    return out;
}

static void what_the_file_does_not_say_has_its_default(void **state) {
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_string_equal(c->listen.api, "127.0.0.1:8080");
    assert_null(c->listen.tls);
    assert_false(c->listen.behind_proxy);
    assert_int_equal(c->listen.drain_s, 60);
    assert_string_equal(c->listen.public_url, "");
    assert_string_equal(c->media.address, "0.0.0.0");
    assert_int_equal(c->media.port, 10000);
    assert_int_equal(c->media.workers, 1);
    assert_int_equal(c->media.calls_max, 10000);
    assert_int_equal(*c->media.hold_ms, 500);
    assert_int_equal(c->media.inactivity_s, 60);
    assert_int_equal(c->media.rotate_identity_s, 86400);
    assert_string_equal(c->media.certificate_file, "");
    assert_int_equal(c->media.srtp_profiles_count, 3);
    assert_int_equal(c->media.srtp_profiles[0], CONFIG_SRTP_AEAD_AES_128_GCM);
    assert_int_equal(c->media.srtp_profiles[2], CONFIG_SRTP_AES128_CM_SHA1_80);
    assert_string_equal(c->media.ringback, "");
    assert_int_equal(c->store.retention_h, 24);
    assert_int_equal(c->apps[0].environment, CONFIG_ENV_PRODUCTION);
    assert_string_equal(c->apps[0].apns.host, "api.push.apple.com");
    assert_int_equal(c->apps[0].apns.port, 443);
    assert_string_equal(c->apps[0].apns.certificate_file, "");
    assert_string_equal(c->apps[0].apns.proxy, "");
    assert_int_equal(c->apps[0].apns.ring_connections, 0);
    assert_int_equal(*c->apps[0].apns.hedge_ms, 300);
    assert_int_equal(c->apps[0].apns.expiry_alarm_days, 30);
    assert_null(c->apps[0].other_environment);
    assert_int_equal(c->routes[0].ring_timeout_s, 40);
    assert_int_equal(c->routes[0].must_report.suspect_after_ms, 6000);
    assert_int_equal(c->routes[0].must_report.second_path_after_ms, 8000);
    assert_int_equal(c->routes[0].must_report.second_path, CONFIG_SECOND_PATH_NONE);
    assert_string_equal(c->routes[0].match.callee, "*");
    assert_null(c->routes[0].reject);
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    assert_int_equal(c->log.format, LOG_FORMAT_LOGFMT);
    assert_string_equal(c->cluster.node, "a");
    assert_string_equal(c->user, "");
    config_free(c);
}

static void the_default_of_one_log_key_does_not_depend_on_the_other(void **state) {
    struct config *c = loaded("log: {format: json}\n" SMALLEST);
    (void)state;
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    config_free(c);
    c = loaded("log: {level: debug}\n" SMALLEST);
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log.format, LOG_FORMAT_LOGFMT);
    config_free(c);
}

static void handoffs_are_tried_from_the_fastest_when_none_is_named(void **state) {
    static const enum config_handoff want[] = {CONFIG_HANDOFF_SEALED, CONFIG_HANDOFF_TRANSFER, CONFIG_HANDOFF_SDES,
                                               CONFIG_HANDOFF_DTLS};
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_int_equal(c->routes[0].handoff_count, 4);
    assert_memory_equal(c->routes[0].handoff, want, sizeof want);
    config_free(c);
}

static void what_the_file_says_is_taken(void **state) {
    struct config *c = loaded(
        "listen: {api: \"0.0.0.0:9000\", behind_proxy: true, public_url: \"https://calls.example\", drain_s: 5}\n"
        "media: {address: \"::\", port: 20000, workers: 2, calls_max: 7, announce: [192.0.2.1], hold_ms: 0,\n"
        "  inactivity_s: 5, rotate_identity_s: 60, certificate_file: c.pem, key_file: key.p8,\n"
        "  srtp_profiles: [AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM],\n"
        "  ringback: /srv/tone.opus}\n"
        "store: {url: \"sqlite:/tmp/x.db\", retention_h: 1}\n"
        "log: {level: debug, format: json}\n"
        "user: nobody\n"
        "auth:\n"
        "  tokens:\n"
        "    - {name: t, sha256: " SHA256_OF_A_TOKEN ", scopes: [calls, admin]}\n"
        "webhooks:\n"
        "  - {url: \"https://hooks.example\", secret_file: key.p8, events: [call.ended], name: h,\n"
        "     tenant: t, ca_file: ca.pem, allow_private: true, retry_s: [1, 2]}\n" APPS "    environment: sandbox\n"
        "    codecs: [opus, PCMU]\n"
        "routes:\n"
        "  - name: a\n"
        "    app: phone\n"
        "    match: {callee: \"+49*\"}\n"
        "    ring_timeout_s: 55\n"
        "    handoff: [dtls, sdes]\n"
        "    must_report: {suspect_after_ms: 1, second_path_after_ms: 2, second_path: alert}\n"
        "  - name: b\n"
        "    reject: {status: 403, detail: no}\n");
    (void)state;
    assert_string_equal(c->listen.api, "0.0.0.0:9000");
    assert_true(c->listen.behind_proxy);
    assert_string_equal(c->media.address, "::");
    assert_int_equal(c->media.workers, 2);
    assert_int_equal(*c->media.hold_ms, 0);
    assert_int_equal(c->media.inactivity_s, 5);
    assert_int_equal(c->media.rotate_identity_s, 60);
    assert_memory_equal(c->media.certificate_file, folder, strlen(folder));
    assert_string_equal(c->media.key_file, key_file);
    assert_int_equal(c->media.srtp_profiles_count, 2);
    assert_int_equal(c->media.srtp_profiles[0], CONFIG_SRTP_AES128_CM_SHA1_80);
    assert_int_equal(c->media.srtp_profiles[1], CONFIG_SRTP_AEAD_AES_256_GCM);
    assert_string_equal(c->media.ringback, "/srv/tone.opus");
    assert_int_equal(c->media.announce_count, 1);
    assert_int_equal(c->auth.tokens[0].scopes, CONFIG_SCOPE_CALLS | CONFIG_SCOPE_ADMIN);
    assert_string_equal(c->auth.tokens[0].tenant, "default");
    assert_string_equal(c->webhooks[0].name, "h");
    assert_string_equal(c->webhooks[0].secret_file, key_file);
    assert_string_equal(c->webhooks[0].tenant, "t");
    assert_memory_equal(c->webhooks[0].ca_file, folder, strlen(folder));
    assert_true(c->webhooks[0].allow_private);
    assert_int_equal(c->webhooks[0].retry_s_count, 2);
    assert_int_equal(c->webhooks[0].retry_s[1], 2);
    assert_string_equal(c->apps[0].apns.host, "api.sandbox.push.apple.com");
    assert_int_equal(c->apps[0].codecs_count, 2);
    assert_int_equal(c->routes[0].handoff_count, 2);
    assert_int_equal(c->routes[0].handoff[0], CONFIG_HANDOFF_DTLS);
    assert_int_equal(c->routes[0].must_report.second_path, CONFIG_SECOND_PATH_ALERT);
    assert_int_equal(c->routes[1].reject->status, 403);
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log.format, LOG_FORMAT_JSON);
    assert_string_equal(c->user, "nobody");
    config_free(c);
}

static void a_webhook_needs_little(void **state) {
    static const unsigned retry_s[] = {5, 30, 120, 600, 3600, 21600, 86400};
    struct config *c = loaded("webhooks:\n  - {url: \"https://hooks.example/x\", secret_file: key.p8}\n" SMALLEST);
    (void)state;
    assert_string_equal(c->webhooks[0].name, "https://hooks.example/x");
    assert_string_equal(c->webhooks[0].tenant, "default");
    assert_string_equal(c->webhooks[0].ca_file, "");
    assert_int_equal(c->webhooks[0].events_count, 0);
    assert_false(c->webhooks[0].allow_private);
    assert_int_equal(c->webhooks[0].retry_s_count, 7);
    assert_memory_equal(c->webhooks[0].retry_s, retry_s, sizeof retry_s);
    config_free(c);
}

#define HOOK(more) "webhooks:\n  - {url: \"https://h.example\", secret_file: key.p8" more "}\n"

static void a_webhook_that_cannot_be_used_is_said(void **state) {
    (void)state;
    assert_refused("webhooks:\n  - {url: \"http://h.example\", secret_file: key.p8}\n" SMALLEST, 2,
                   "webhooks[0].url: \"http://h.example\" does not begin with https://");
    assert_refused("webhooks:\n  - {url: \"https://\", secret_file: key.p8}\n" SMALLEST, 2, "webhooks[0].url: ");
    assert_refused("webhooks:\n  - {url: \"https://h.example\", secret_file: no.key}\n" SMALLEST, 2,
                   "webhooks[0].secret_file: ");
    assert_refused(HOOK(", name: \"\"") SMALLEST, 2, "webhooks[0].name: 1 to 200 characters are needed");
    assert_refused(HOOK(", retry_s: [5, 86401]") SMALLEST, 2, "webhooks[0].retry_s: 86401; seconds from 1 to 86400");
    assert_refused(HOOK("") "  - {url: \"https://h.example\", secret_file: key.p8}\n" SMALLEST, 3,
                   "webhooks[1].name: another webhook has the name \"https://h.example\"");
}

static void relative_paths_are_meant_from_the_files_folder(void **state) {
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_string_equal(c->apps[0].apns.key_file, key_file);
    config_free(c);
}

static void an_unknown_key_gets_the_nearest_known_one(void **state) {
    (void)state;
    assert_refused(with("bundle_id", "bundel_id"), 5, "apps[0].bundel_id: unknown key; did you mean \"bundle_id\"?");
    assert_refused("listn: {}\n" SMALLEST, 1, "listn: unknown key; did you mean \"listen\"?");
}

static void an_unknown_key_unlike_any_gets_all_known_ones(void **state) {
    (void)state;
    assert_refused("log:\n  something: else\n" SMALLEST, 2, "log.something: unknown key; known here: level, format");
}

static void a_missing_key_is_named(void **state) {
    (void)state;
    assert_refused(APPS ROUTES, 1, "auth: this key is required");
    assert_refused(with("    bundle_id: org.example.phone\n", ""), 4, "apps[0].bundle_id: this key is required");
    assert_refused(with("      key_id: KEY1234567\n", ""), 7, "apps[0].apns.key_id: this key is required");
}

static void a_wrong_type_is_said(void **state) {
    (void)state;
    assert_refused("listen: yes\n" SMALLEST, 1, "listen: keys with values are expected here");
    assert_refused("media: {port: high}\n" SMALLEST, 1, "media.port: \"high\" is not a whole number");
    assert_refused("media: {port: -1}\n" SMALLEST, 1, "media.port: \"-1\" is not a whole number");
    assert_refused("media: {port: 99999999999}\n" SMALLEST, 1, "media.port: \"99999999999\" is not a whole number");
    assert_refused("media: {port: [1]}\n" SMALLEST, 1, "media.port: \"\" is not a whole number");
    assert_refused("listen: {behind_proxy: 1}\n" SMALLEST, 1, "listen.behind_proxy: \"1\" is neither true nor false");
    assert_refused("user: [a]\n" SMALLEST, 1, "user: text is expected here");
    assert_refused("media: {announce: x}\n" SMALLEST, 1, "media.announce: a list is expected here");
    assert_refused(AUTH APPS "routes: []\n", 10, "routes: 0 entries; 1 to 4096 are possible");
    assert_refused("- a\n- b\n", 1, "the file: keys with values are expected here");
}

static void a_key_that_stands_twice_is_refused(void **state) {
    (void)state;
    assert_refused("user: a\nuser: b\n" SMALLEST, 2, "user: this key stands twice; remove one");
}

static void an_unknown_word_gets_the_known_ones(void **state) {
    (void)state;
    assert_refused("log:\n  level: loud\n" SMALLEST, 2,
                   "log.level: \"loud\" is not known; one of: info, debug, warn, error");
    assert_refused(with("    app: phone\n", "    app: phone\n    handoff: [sdes, zrtp]\n"), 13,
                   "routes[0].handoff[1]: \"zrtp\" is not known; one of: transfer, sealed, sdes, dtls");
    assert_refused("auth:\n  tokens:\n    - name: t\n      sha256: x\n      scopes: [calls, all]\n" APPS ROUTES, 5,
                   "auth.tokens[0].scopes: \"all\" is not known; one of: calls, devices, admin");
}

static void plain_http_stays_on_the_loopback(void **state) {
    (void)state;
    assert_refused("listen:\n  api: \"0.0.0.0:8080\"\n" SMALLEST, 2, "listen.api: plain HTTP on 0.0.0.0:8080");
    assert_refused("listen: {api: \"[2001:db8::1]:80\"}\n" SMALLEST, 1, "listen.api: plain HTTP on [2001:db8::1]:80");
    config_free(loaded("listen: {api: \"127.0.0.1:8080\"}\n" SMALLEST));
    config_free(loaded("listen: {api: \"[::1]:8080\"}\n" SMALLEST));
    config_free(loaded("listen: {api: \"0.0.0.0:8080\", behind_proxy: true}\n" SMALLEST));
}

static void with_a_certificate_every_address_is_served(void **state) {
    struct config *c = loaded("listen: {tls: {certificate_file: c.pem, key_file: key.p8}}\n" SMALLEST);
    char want[128];
    (void)state;
    assert_string_equal(c->listen.api, "0.0.0.0:8443");
    snprintf(want, sizeof want, "%s/c.pem", folder);
    assert_string_equal(c->listen.tls->certificate_file, want);
    assert_string_equal(c->listen.tls->key_file, key_file);
    config_free(c);
    assert_refused("listen:\n  tls: {key_file: k.pem}\n" SMALLEST, 2,
                   "listen.tls.certificate_file: this key is required");
}

static void a_tls_key_that_others_can_read_is_refused(void **state) {
    char path[128], want[512];
    (void)state;
    snprintf(path, sizeof path, "%s/open.key", folder);
    write_file(path, "key\n", 0640);
    snprintf(want, sizeof want, "listen.tls.key_file: %s: others can use this secret (mode 0640); run: chmod 600 %s",
             path, path);
    assert_refused("listen:\n  tls:\n    certificate_file: c.pem\n    key_file: open.key\n" SMALLEST, 4, want);
    unlink(path);
}

static void values_out_of_range_are_said(void **state) {
    static const struct {
        const char *line, *sentence;
    } rows[] = {
        {"listen: {api: here}\n", "listen.api: \"here\" is not an address and a port"},
        {"listen: {public_url: ftp://x}\n", "listen.public_url: \"ftp://x\" does not begin with https://"},
        {"media: {address: localhost}\n", "media.address: \"localhost\" is not an IP address"},
        {"media: {workers: 65}\n", "media.workers: 65; 1 to 64"},
        {"media: {port: 65535, workers: 2}\n", "media.port: 65535 and one port for each of 2 workers pass 65535"},
        {"media: {calls_max: 1000001}\n", "media.calls_max: 1000001; at most 1000000"},
        {"media: {certificate_file: c.pem}\n", "media.certificate_file: media.certificate_file and media.key_file"},
        {"media: {key_file: key.p8}\n", "media.key_file: media.certificate_file and media.key_file"},
        {"media: {rotate_identity_s: 2419201}\n", "media.rotate_identity_s: 2419201; at most 2419200"},
        {"media: {inactivity_s: 86401}\n", "media.inactivity_s: 86401; at most 86400"},
        {"media: {srtp_profiles: [AEAD_AES_128_GCM, AEAD_AES_128_GCM]}\n",
         "media.srtp_profiles: names a profile twice"},
        {"media: {announce: [192.0.2.1, name]}\n", "media.announce[1]: \"name\" is not an IP address"},
        {"store: {url: postgres://x}\n", "store.url: \"postgres://x\" is not of the form sqlite:PATH"},
        {"store: {url: \"sqlite:\"}\n", "store.url: \"sqlite:\" is not of the form sqlite:PATH"},
    };
    char text[2048];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "%s%s", rows[i].line, SMALLEST);
        assert_refused(text, 1, rows[i].sentence);
    }
}

static void tokens_are_hashes_with_a_scope(void **state) {
    (void)state;
    assert_refused("auth:\n  tokens:\n    - {name: t, sha256: abc, scopes: [calls]}\n" APPS ROUTES, 3,
                   "auth.tokens[0].sha256: not the SHA-256 of a token");
    assert_refused("auth:\n  tokens:\n    - {name: t, sha256: " SHA256_OF_A_TOKEN ", scopes: []}\n" APPS ROUTES, 3,
                   "auth.tokens[0].scopes: a token without a scope");
}

static void apps_are_checked(void **state) {
    (void)state;
    assert_refused(with("name: phone", "name: \"a phone\""), 4, "apps[0].name: 1 to 64 letters");
    assert_refused(with("ABCDE12345", "ABC"), 7, "apps[0].apns.team_id: a team id has 10 characters");
    assert_refused(with("KEY1234567", "KEY"), 8, "apps[0].apns.key_id: a key id has 10 characters");
    assert_refused(with("key_file: key.p8\n", "key_file: key.p8\n      port: 65536\n"), 10,
                   "apps[0].apns.port: 65536 is not a port");
    assert_refused(AUTH APPS
                   "  - name: phone\n    bundle_id: b\n    apns: {team_id: ABCDE12345, key_id: KEY1234567, key_file: "
                   "key.p8}\n" ROUTES,
                   10, "apps[1].name: another app has the name \"phone\"");
}

#define KEY_LINES "      team_id: ABCDE12345\n      key_id: KEY1234567\n      key_file: key.p8\n"

static void a_certificate_takes_the_place_of_the_key(void **state) {
    struct config *c = loaded(with(KEY_LINES, "      certificate_file: key.p8\n      hedge_ms: 0\n"));
    (void)state;
    assert_string_equal(c->apps[0].apns.certificate_file, key_file);
    assert_string_equal(c->apps[0].apns.key_file, "");
    assert_int_equal(*c->apps[0].apns.hedge_ms, 0);
    config_free(c);
    assert_refused(with("key_file: key.p8\n", "certificate_file: key.p8\n"), 7,
                   "apps[0].apns.team_id: not together with certificate_file");
    assert_refused(with("key_file: key.p8\n", "key_file: key.p8\n      certificate_password_file: key.p8\n"), 10,
                   "apps[0].apns.certificate_password_file: of no use without certificate_file");
}

static void an_app_may_have_both_environments(void **state) {
    struct config *c = loaded(with(
        ROUTES,
        "    other_environment: {team_id: ABCDE12345, key_id: KEY7654321, key_file: key.p8, hedge_ms: 500}\n" ROUTES));
    (void)state;
    assert_string_equal(c->apps[0].apns.host, "api.push.apple.com");
    assert_string_equal(c->apps[0].other_environment->host, "api.sandbox.push.apple.com");
    assert_string_equal(c->apps[0].other_environment->key_id, "KEY7654321");
    assert_int_equal(*c->apps[0].other_environment->hedge_ms, 500);
    config_free(c);
    assert_refused(with(ROUTES, "    other_environment:\n      team_id: ABCDE12345\n" ROUTES), 11,
                   "apps[0].other_environment.key_id: this key is required");
}

static void a_proxy_is_checked(void **state) {
    static const struct {
        const char *lines, *sentence;
    } rows[] = {
        {"      proxy: proxy.example.com\n", "apps[0].apns.proxy: \"proxy.example.com\" is not a host and a port"},
        {"      proxy: \"proxy:70000\"\n", "apps[0].apns.proxy: \"proxy:70000\" is not a host and a port"},
        {"      proxy_user: me\n", "apps[0].apns.proxy_user: of no use without proxy"},
        {"      proxy_password_file: key.p8\n", "apps[0].apns.proxy_password_file: of no use without proxy_user"},
        {"      ring_connections: 5\n", "apps[0].apns.ring_connections: 5; at most 4"},
    };
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        snprintf(text, sizeof text, "key_file: key.p8\n%s", rows[i].lines);
        assert_refused(with("key_file: key.p8\n", text), 10, rows[i].sentence);
    }
    struct config *c = loaded(with("key_file: key.p8\n", "key_file: key.p8\n      proxy: \"[2001:db8::1]:3128\"\n"
                                                         "      proxy_user: me\n      proxy_password_file: key.p8\n"));
    assert_string_equal(c->apps[0].apns.proxy, "[2001:db8::1]:3128");
    assert_string_equal(c->apps[0].apns.proxy_password_file, key_file);
    config_free(c);
}

static void a_secret_file_that_others_can_read_is_refused(void **state) {
    (void)state;
    assert_int_equal(chmod(key_file, 0640), 0);
    write_file(file, SMALLEST, 0644);
    struct err_text et = {""};
    struct config *c = NULL;
    assert_int_equal(config_load(&c, file, &et), E_DENIED);
    assert_non_null(strstr(et.s, ":9: apps[0].apns.key_file: "));
    assert_non_null(strstr(et.s, "chmod 600"));
    assert_int_equal(chmod(key_file, 0600), 0);
}

static void a_missing_secret_file_is_named(void **state) {
    char want[256];
    (void)state;
    snprintf(want, sizeof want, "apps[0].apns.key_file: %s/none.p8: No such file", folder);
    assert_refused(with("key.p8", "none.p8"), 9, want);
    snprintf(want, sizeof want, "store.seal_key_file: %s/none.key: No such file", folder);
    assert_refused("store: {seal_key_file: none.key}\n" SMALLEST, 1, want);
    snprintf(want, sizeof want, "store.seal_key_file: %s:1: a key is 64 hex digits", key_file);
    assert_refused("store: {seal_key_file: key.p8}\n" SMALLEST, 1, want);
}

static void routes_are_checked(void **state) {
    (void)state;
    assert_refused(with("app: phone", "app: other"), 12, "routes[0].app: no app has the name \"other\"");
    assert_refused(with("    app: phone\n", ""), 11, "routes[0].app: route \"all\" needs an app, or reject");
    assert_refused(with("    app: phone\n", "    app: phone\n    ring_timeout_s: 56\n"), 13,
                   "routes[0].ring_timeout_s: 56; at most 55");
    assert_refused(with("    app: phone\n", "    reject: {status: 200}\n"), 12,
                   "routes[0].reject.status: 200 is not an HTTP error status");
}

static void a_route_may_reject_with_the_default_status(void **state) {
    struct config *c = loaded(with("    app: phone\n", "    reject: {}\n"));
    (void)state;
    assert_int_equal(c->routes[0].reject->status, 404);
    assert_string_not_equal(c->routes[0].reject->detail, "");
    config_free(c);
}

static void variables_of_the_environment_are_put_in(void **state) {
    (void)state;
    setenv("WAKEGATE_TEST_PORT", "12345", 1);
    struct config *c = loaded("media: {port: ${WAKEGATE_TEST_PORT}}\nuser: \"a${WAKEGATE_TEST_PORT}b\"\n" SMALLEST);
    assert_int_equal(c->media.port, 12345);
    assert_string_equal(c->user, "a12345b");
    config_free(c);
    unsetenv("WAKEGATE_TEST_PORT");
}

static void a_variable_that_is_not_set_is_refused_with_its_line(void **state) {
    (void)state;
    unsetenv("WAKEGATE_TEST_UNSET");
    assert_refused("# a comment\nuser: ${WAKEGATE_TEST_UNSET}\n" SMALLEST, 2,
                   "${WAKEGATE_TEST_UNSET}: this environment variable is not set");
}

static void variables_in_comments_are_left_alone(void **state) {
    (void)state;
    unsetenv("WAKEGATE_TEST_UNSET");
    config_free(loaded("# ${WAKEGATE_TEST_UNSET}\n" SMALLEST "# it's ${ not closed\n"));
}

static void a_doubled_dollar_stands_for_itself(void **state) {
    struct config *c = loaded("user: \"$${NAME}\"\n" SMALLEST);
    (void)state;
    assert_string_equal(c->user, "${NAME}");
    config_free(c);
}

static void a_variable_cannot_change_the_structure(void **state) {
    (void)state;
    setenv("WAKEGATE_TEST_EVIL", "x\nuser: root", 1);
    assert_refused("user: ${WAKEGATE_TEST_EVIL}\n" SMALLEST, 1, "${WAKEGATE_TEST_EVIL}: its value has a quote");
    setenv("WAKEGATE_TEST_EVIL", "x\"", 1);
    assert_refused("user: \"${WAKEGATE_TEST_EVIL}\"\n" SMALLEST, 1, "${WAKEGATE_TEST_EVIL}: its value has a quote");
    unsetenv("WAKEGATE_TEST_EVIL");
}

static void an_unfinished_variable_is_refused(void **state) {
    (void)state;
    assert_refused("\nuser: ${}\n" SMALLEST, 2, "\"${\" needs a variable's name and \"}\"");
    assert_refused("user: ${NAME\n" SMALLEST, 1, "\"${\" needs a variable's name and \"}\"");
}

static void what_is_not_yaml_is_refused_with_its_line(void **state) {
    (void)state;
    assert_refused("user: a\nlog: [\n", 3, "not YAML: ");
    assert_refused("", 1, "the file is empty");
    assert_refused("# nothing\n", 1, "the file is empty");
}

static void a_file_that_is_not_there_is_named(void **state) {
    struct err_text et = {""};
    struct config *c = NULL;
    (void)state;
    assert_int_equal(config_load(&c, "/nonexistent/wakegate.yaml", &et), E_IO);
    assert_string_equal(et.s, "/nonexistent/wakegate.yaml: No such file or directory");
    assert_int_equal(config_load(&c, folder, &et), E_IO);
    assert_non_null(strstr(et.s, "cannot be read"));
}

static void an_alias_of_itself_is_refused(void **state) {
    struct err_text et = {""};
    struct config *c = NULL;
    (void)state;
    write_file(file, "listen: &a {tls: *a}\n" SMALLEST, 0644);
    assert_true(config_load(&c, file, &et) < 0);
    assert_null(c);
}

static const char routes[] = AUTH APPS "routes:\n"
                                       "  - {name: blocked, match: {caller: \"+1900*\"}, reject: {status: 403}}\n"
                                       "  - {name: support, match: {callee: \"support-?\", tenant: acme}, app: phone}\n"
                                       "  - {name: rest, match: {callee: \"*@example.org\"}, app: phone}\n"
                                       "  - {name: support-again, match: {callee: \"support-*\"}, app: phone}\n";

static void the_first_matching_route_wins(void **state) {
    struct config *c = loaded(routes);
    struct config_query q = {.callee = "support-1", .caller = "+4930", .tenant = "acme"};
    (void)state;
    assert_string_equal(config_route(c, &q, NULL)->name, "support");
    q.tenant = "other";
    assert_string_equal(config_route(c, &q, NULL)->name, "support-again");
    q.caller = "+19001234";
    assert_string_equal(config_route(c, &q, NULL)->name, "blocked");
    config_free(c);
}

static void nothing_matches_and_no_route_is_found(void **state) {
    struct config *c = loaded(routes);
    struct config_query q = {.callee = "someone", .caller = "", .tenant = "acme"};
    (void)state;
    assert_null(config_route(c, &q, NULL));
    config_free(c);
}

static void the_explanation_has_a_line_for_each_route_that_was_tried(void **state) {
    struct config *c = loaded(routes);
    struct config_query q = {.callee = "me@example.org", .caller = "+4930", .tenant = "acme"};
    struct buf explain = {0};
    (void)state;
    assert_string_equal(config_route(c, &q, &explain)->name, "rest");
    assert_string_equal(explain.p, "  blocked: no, caller \"+4930\" is not \"+1900*\"\n"
                                   "  support: no, callee \"me@example.org\" is not \"support-?\"\n"
                                   "  rest: yes\n");
    buf_free(&explain);
    config_free(c);
}

static void names_are_found_and_unknown_ones_are_not(void **state) {
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_ptr_equal(config_app(c, "phone"), &c->apps[0]);
    assert_null(config_app(c, "Phone"));
    assert_string_equal(config_handoff_name(CONFIG_HANDOFF_SEALED), "sealed");
    assert_string_equal(config_handoff_name(CONFIG_HANDOFF_DTLS), "dtls");
    assert_int_equal(config_scope_by_name("calls"), CONFIG_SCOPE_CALLS);
    assert_int_equal(config_scope_by_name("devices"), CONFIG_SCOPE_DEVICES);
    assert_int_equal(config_scope_by_name("admin"), CONFIG_SCOPE_ADMIN);
    assert_int_equal(config_scope_by_name("root"), 0);
    assert_null(config_free(c));
    assert_null(config_free(NULL));
}

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/wakegate-test-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(file, sizeof file, "%s/wakegate.yaml", folder);
    snprintf(key_file, sizeof key_file, "%s/key.p8", folder);
    write_file(key_file, "a key", 0600);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    unlink(file);
    unlink(key_file);
    return rmdir(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_file_does_not_say_has_its_default),
        cmocka_unit_test(the_default_of_one_log_key_does_not_depend_on_the_other),
        cmocka_unit_test(handoffs_are_tried_from_the_fastest_when_none_is_named),
        cmocka_unit_test(what_the_file_says_is_taken),
        cmocka_unit_test(a_webhook_needs_little),
        cmocka_unit_test(a_webhook_that_cannot_be_used_is_said),
        cmocka_unit_test(relative_paths_are_meant_from_the_files_folder),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_known_one),
        cmocka_unit_test(an_unknown_key_unlike_any_gets_all_known_ones),
        cmocka_unit_test(a_missing_key_is_named),
        cmocka_unit_test(a_wrong_type_is_said),
        cmocka_unit_test(a_key_that_stands_twice_is_refused),
        cmocka_unit_test(an_unknown_word_gets_the_known_ones),
        cmocka_unit_test(plain_http_stays_on_the_loopback),
        cmocka_unit_test(with_a_certificate_every_address_is_served),
        cmocka_unit_test(a_tls_key_that_others_can_read_is_refused),
        cmocka_unit_test(values_out_of_range_are_said),
        cmocka_unit_test(tokens_are_hashes_with_a_scope),
        cmocka_unit_test(apps_are_checked),
        cmocka_unit_test(a_certificate_takes_the_place_of_the_key),
        cmocka_unit_test(an_app_may_have_both_environments),
        cmocka_unit_test(a_proxy_is_checked),
        cmocka_unit_test(a_secret_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_missing_secret_file_is_named),
        cmocka_unit_test(routes_are_checked),
        cmocka_unit_test(a_route_may_reject_with_the_default_status),
        cmocka_unit_test(variables_of_the_environment_are_put_in),
        cmocka_unit_test(a_variable_that_is_not_set_is_refused_with_its_line),
        cmocka_unit_test(variables_in_comments_are_left_alone),
        cmocka_unit_test(a_doubled_dollar_stands_for_itself),
        cmocka_unit_test(a_variable_cannot_change_the_structure),
        cmocka_unit_test(an_unfinished_variable_is_refused),
        cmocka_unit_test(what_is_not_yaml_is_refused_with_its_line),
        cmocka_unit_test(a_file_that_is_not_there_is_named),
        cmocka_unit_test(an_alias_of_itself_is_refused),
        cmocka_unit_test(the_first_matching_route_wins),
        cmocka_unit_test(nothing_matches_and_no_route_is_found),
        cmocka_unit_test(the_explanation_has_a_line_for_each_route_that_was_tried),
        cmocka_unit_test(names_are_found_and_unknown_ones_are_not),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
