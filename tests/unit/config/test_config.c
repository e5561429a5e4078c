/* SPDX-License-Identifier: Apache-2.0 */
/* What a file says, defaults, mistakes of form, variables, and finding routes. */
#include "tests/unit/config/config_fixture.h"

static void what_the_file_does_not_say_has_its_default(void **state) {
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_string_equal(c->listen.api, "127.0.0.1:8080");
    assert_null(c->listen.tls);
    assert_false(c->listen.behind_proxy);
    assert_int_equal(c->listen.drain_s, 60);
    assert_true(c->listen.console);
    assert_int_equal(c->listen.cors_origins_count, 0);
    assert_int_equal(c->auth.rate->per_s, 5000);
    assert_int_equal(c->auth.rate->burst, 10000);
    assert_int_equal(c->auth.phone_rate->per_s, 20);
    assert_int_equal(c->auth.phone_rate->burst, 100);
    assert_int_equal(c->auth.unknown_rate->per_s, 1);
    assert_int_equal(c->auth.unknown_rate->burst, 60);
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
    config_unref(c);
}

static void the_default_of_one_log_key_does_not_depend_on_the_other(void **state) {
    struct config *c = loaded("log: {format: json}\n" SMALLEST);
    (void)state;
    assert_int_equal(c->log.level, LOG_LEVEL_INFO);
    config_unref(c);
    c = loaded("log: {level: debug}\n" SMALLEST);
    assert_int_equal(c->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(c->log.format, LOG_FORMAT_LOGFMT);
    config_unref(c);
}

static void handoffs_are_tried_from_the_fastest_when_none_is_named(void **state) {
    static const enum config_handoff want[] = {CONFIG_HANDOFF_SEALED, CONFIG_HANDOFF_TRANSFER, CONFIG_HANDOFF_SDES,
                                               CONFIG_HANDOFF_DTLS};
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_int_equal(c->routes[0].handoff_count, 4);
    assert_memory_equal(c->routes[0].handoff, want, sizeof want);
    config_unref(c);
}

static void what_the_file_says_is_taken(void **state) {
    struct config *c = loaded(
        "listen: {api: \"0.0.0.0:9000\", behind_proxy: true, public_url: \"https://calls.example\", drain_s: 5, "
        "console: false,\n"
        "  cors_origins: [\"https://console.example\", \"http://[::1]:3000\"]}\n"
        "media: {address: \"::\", port: 20000, workers: 2, calls_max: 7, announce: [192.0.2.1], hold_ms: 0,\n"
        "  inactivity_s: 5, rotate_identity_s: 60, certificate_file: c.pem, key_file: key.p8,\n"
        "  srtp_profiles: [AES_CM_128_HMAC_SHA1_80, AEAD_AES_256_GCM],\n"
        "  ringback: /srv/tone.opus}\n"
        "store: {url: \"sqlite:/tmp/x.db\", retention_h: 1}\n"
        "log: {level: debug, format: json}\n"
        "user: nobody\n"
        "auth:\n"
        "  rate: {per_s: 10}\n"
        "  phone_rate: {per_s: 0}\n"
        "  unknown_rate: {per_s: 2, burst: 3}\n"
        "  tokens:\n"
        "    - {name: t, sha256: " SHA256_OF_A_TOKEN ", scopes: [calls, admin], rate: {per_s: 7}}\n"
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
    assert_false(c->listen.console);
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
    assert_int_equal(c->auth.tokens[0].rate->per_s, 7);
    assert_int_equal(c->auth.tokens[0].rate->burst, 14);
    assert_int_equal(c->auth.rate->per_s, 10);
    assert_int_equal(c->auth.rate->burst, 20);
    assert_int_equal(c->auth.phone_rate->per_s, 0); /* not the default: no limit */
    assert_int_equal(c->auth.unknown_rate->per_s, 2);
    assert_int_equal(c->auth.unknown_rate->burst, 3);
    assert_int_equal(c->listen.cors_origins_count, 2);
    assert_string_equal(c->listen.cors_origins[1], "http://[::1]:3000");
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
    config_unref(c);
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
    config_unref(c);
}

static void relative_paths_are_meant_from_the_files_folder(void **state) {
    struct config *c = loaded(SMALLEST);
    (void)state;
    assert_string_equal(c->apps[0].apns.key_file, key_file);
    config_unref(c);
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

static void variables_of_the_environment_are_put_in(void **state) {
    (void)state;
    setenv("WAKEGATE_TEST_PORT", "12345", 1);
    struct config *c = loaded("media: {port: ${WAKEGATE_TEST_PORT}}\nuser: \"a${WAKEGATE_TEST_PORT}b\"\n" SMALLEST);
    assert_int_equal(c->media.port, 12345);
    assert_string_equal(c->user, "a12345b");
    config_unref(c);
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
    config_unref(loaded("# ${WAKEGATE_TEST_UNSET}\n" SMALLEST "# it's ${ not closed\n"));
}

static void a_doubled_dollar_stands_for_itself(void **state) {
    struct config *c = loaded("user: \"$${NAME}\"\n" SMALLEST);
    (void)state;
    assert_string_equal(c->user, "${NAME}");
    config_unref(c);
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
    config_unref(c);
}

static void nothing_matches_and_no_route_is_found(void **state) {
    struct config *c = loaded(routes);
    struct config_query q = {.callee = "someone", .caller = "", .tenant = "acme"};
    (void)state;
    assert_null(config_route(c, &q, NULL));
    config_unref(c);
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
    config_unref(c);
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
    assert_null(config_unref(c));
    assert_null(config_unref(NULL));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_file_does_not_say_has_its_default),
        cmocka_unit_test(the_default_of_one_log_key_does_not_depend_on_the_other),
        cmocka_unit_test(handoffs_are_tried_from_the_fastest_when_none_is_named),
        cmocka_unit_test(what_the_file_says_is_taken),
        cmocka_unit_test(a_webhook_needs_little),
        cmocka_unit_test(relative_paths_are_meant_from_the_files_folder),
        cmocka_unit_test(an_unknown_key_gets_the_nearest_known_one),
        cmocka_unit_test(an_unknown_key_unlike_any_gets_all_known_ones),
        cmocka_unit_test(a_missing_key_is_named),
        cmocka_unit_test(a_wrong_type_is_said),
        cmocka_unit_test(a_key_that_stands_twice_is_refused),
        cmocka_unit_test(an_unknown_word_gets_the_known_ones),
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
