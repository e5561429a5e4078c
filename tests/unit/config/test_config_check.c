/* SPDX-License-Identifier: Apache-2.0 */
/* What the values of a file may be. */
#include "tests/unit/config/config_fixture.h"

static void plain_http_stays_on_the_loopback(void **state) {
    (void)state;
    assert_refused("listen:\n  api: \"0.0.0.0:8080\"\n" SMALLEST, 2, "listen.api: plain HTTP on 0.0.0.0:8080");
    assert_refused("listen: {api: \"[2001:db8::1]:80\"}\n" SMALLEST, 1, "listen.api: plain HTTP on [2001:db8::1]:80");
    config_unref(loaded("listen: {api: \"127.0.0.1:8080\"}\n" SMALLEST));
    config_unref(loaded("listen: {api: \"[::1]:8080\"}\n" SMALLEST));
    config_unref(loaded("listen: {api: \"0.0.0.0:8080\", behind_proxy: true}\n" SMALLEST));
}

static void with_a_certificate_every_address_is_served(void **state) {
    struct config *c = loaded("listen: {tls: {certificate_file: c.pem, key_file: key.p8}}\n" SMALLEST);
    char want[128];
    (void)state;
    assert_string_equal(c->listen.api, "0.0.0.0:8443");
    snprintf(want, sizeof want, "%s/c.pem", folder);
    assert_string_equal(c->listen.tls->certificate_file, want);
    assert_string_equal(c->listen.tls->key_file, key_file);
    config_unref(c);
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
        {"listen: {cors_origins: [\"*\"]}\n", "listen.cors_origins[0]: \"*\" is not an origin as browsers write it"},
        {"listen: {cors_origins: [\"https://a.example\", \"https://a.example/\"]}\n",
         "listen.cors_origins[1]: \"https://a.example/\" is not an origin"},
        {"listen: {cors_origins: [\"https://A.example\"]}\n", "listen.cors_origins[0]: \"https://A.example\" is not"},
        {"listen: {cors_origins: [\"null\"]}\n", "listen.cors_origins[0]: \"null\" is not an origin"},
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

static void rates_are_bounded(void **state) {
    (void)state;
    assert_refused("auth:\n  rate: {per_s: 100001}\n  tokens: []\n" APPS ROUTES, 2,
                   "auth.rate: per_s: 100001, burst: 200002; at most 100000 and 1000000; per_s: 0 is no limit");
    assert_refused("auth:\n  phone_rate: {burst: 5}\n  tokens: []\n" APPS ROUTES, 2,
                   "auth.phone_rate.per_s: this key is required");
    assert_refused("auth:\n  unknown_rate: {per_s: 1, burst: 1000001}\n  tokens: []\n" APPS ROUTES, 2,
                   "auth.unknown_rate: per_s: 1, burst: 1000001; at most");
    assert_refused("auth:\n  tokens:\n    - {name: t, sha256: " SHA256_OF_A_TOKEN
                   ", scopes: [calls], rate: {per_s: 100001}}\n" APPS ROUTES,
                   3, "auth.tokens[0].rate: per_s: 100001");
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
    config_unref(c);
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
    config_unref(c);
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
    config_unref(c);
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
    config_unref(c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_http_stays_on_the_loopback),
        cmocka_unit_test(with_a_certificate_every_address_is_served),
        cmocka_unit_test(a_tls_key_that_others_can_read_is_refused),
        cmocka_unit_test(values_out_of_range_are_said),
        cmocka_unit_test(tokens_are_hashes_with_a_scope),
        cmocka_unit_test(rates_are_bounded),
        cmocka_unit_test(apps_are_checked),
        cmocka_unit_test(a_certificate_takes_the_place_of_the_key),
        cmocka_unit_test(an_app_may_have_both_environments),
        cmocka_unit_test(a_proxy_is_checked),
        cmocka_unit_test(a_secret_file_that_others_can_read_is_refused),
        cmocka_unit_test(a_missing_secret_file_is_named),
        cmocka_unit_test(a_webhook_that_cannot_be_used_is_said),
        cmocka_unit_test(routes_are_checked),
        cmocka_unit_test(a_route_may_reject_with_the_default_status),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
