/* SPDX-License-Identifier: Apache-2.0 */
/* References to a configuration, and what becomes of one when another takes its place. */
#include "config/config_reload.h"
#include "tests/unit/config/config_fixture.h"

#define TLS "listen: {api: \"127.0.0.1:9000\", tls: {certificate_file: a.pem, key_file: key.p8}}\n"

static void a_configuration_lives_until_its_last_reference(void **state) {
    struct config *c = loaded(SMALLEST);
    (void)state;
    const struct config *again = config_ref(c);
    assert_ptr_equal(again, c);
    assert_null(config_unref(c));
    assert_string_equal(again->apps[0].name, "phone"); /* the sanitizers see it when this is too late */
    assert_null(config_unref(again));
}

static void what_shows_later_is_said_with_its_line(void **state) {
    struct err_text et = {""};
    char want[256];
    (void)state;
    write_file(file, SMALLEST, 0644);
    assert_int_equal(config_say(&et, E_CRYPTO, file, "apps[0].apns.key_file", "not a key"), E_CRYPTO);
    snprintf(want, sizeof want, "%s:9: apps[0].apns.key_file: not a key", file);
    assert_string_equal(et.s, want);
}

/* next, with what running had of the keys that take a restart; frees both. The names of these keys are as wanted. */
static void assert_kept(const char *running_text, const char *next_text, const char *keys) {
    struct config *running = loaded(running_text), *next = loaded(next_text);
    struct buf names = {0}, left = {0};
    assert_int_equal(config_keep_fixed(next, running, &names), 0);
    assert_string_equal(names.p ? names.p : "", keys);
    assert_int_equal(config_keep_fixed(next, running, &left), 0); /* all of it has been mended */
    assert_null(left.p);
    buf_free(&names);
    config_unref(running); /* next has copies of its own */
    assert_non_null(next->store.url);
    config_unref(next);
}

static void a_key_that_takes_a_restart_keeps_its_value(void **state) {
    (void)state;
    assert_kept(SMALLEST, SMALLEST, "");
    assert_kept(SMALLEST, "user: nobody\n" SMALLEST, "user\n");
    assert_kept(SMALLEST, "listen: {api: \"127.0.0.1:9\"}\n" SMALLEST, "listen.api\n");
    assert_kept(SMALLEST,
                "media: {address: \"::\", port: 9, workers: 2, calls_max: 5, hold_ms: 0, inactivity_s: 9,\n"
                "  ringback: key.p8, certificate_file: a.pem, key_file: key.p8}\n" SMALLEST,
                "media.address\nmedia.port\nmedia.workers\nmedia.calls_max\nmedia.hold_ms\nmedia.inactivity_s\n"
                "media.certificate_file\nmedia.key_file\nmedia.ringback\n");
    assert_kept("media: {srtp_profiles: [AEAD_AES_256_GCM]}\n" SMALLEST, SMALLEST, "media.srtp_profiles\n");
    assert_kept("store: {url: \"sqlite:/a\"}\n" SMALLEST, "store: {url: \"sqlite:/b\"}\n" SMALLEST, "store.url\n");
    assert_kept("cluster: {node: b}\n" SMALLEST, "cluster: {redis_url: \"redis://x\"}\n" SMALLEST,
                "cluster.node\ncluster.redis_url\n");
}

static void tls_is_not_turned_on_or_off_but_its_files_may_change(void **state) {
    (void)state;
    assert_kept(TLS SMALLEST, "listen: {api: \"127.0.0.1:9000\"}\n" SMALLEST, "listen.tls\n");
    assert_kept("listen: {api: \"127.0.0.1:9000\"}\n" SMALLEST, TLS SMALLEST, "listen.tls\n");
    assert_kept(TLS SMALLEST,
                "listen: {api: \"127.0.0.1:9000\", tls: {certificate_file: b.pem, key_file: key.p8}}\n" SMALLEST, "");
}

static void what_is_kept_is_the_value_that_is_in_effect(void **state) {
    struct config *running = loaded(TLS "media: {port: 9, hold_ms: 7, srtp_profiles: [AEAD_AES_256_GCM]}\n" SMALLEST);
    struct config *next = loaded(SMALLEST);
    struct buf names = {0};
    (void)state;
    assert_int_equal(config_keep_fixed(next, running, &names), 0);
    config_unref(running);
    assert_string_equal(next->listen.api, "127.0.0.1:9000");
    assert_non_null(strstr(next->listen.tls->certificate_file, "/a.pem"));
    assert_int_equal(next->media.port, 9);
    assert_int_equal(*next->media.hold_ms, 7);
    assert_int_equal(next->media.srtp_profiles_count, 1);
    assert_int_equal(next->media.srtp_profiles[0], CONFIG_SRTP_AEAD_AES_256_GCM);
    buf_free(&names);
    config_unref(next);
}

static void what_needs_no_restart_is_taken(void **state) {
    static const char other[] = "log: {level: debug, format: json}\n"
                                "listen: {public_url: \"https://a\", drain_s: 5, behind_proxy: true, console: false}\n"
                                "media: {announce: [192.0.2.1], rotate_identity_s: 60}\n"
                                "store: {retention_h: 3}\n" SMALLEST;
    struct config *was = loaded(SMALLEST), *now = loaded(other);
    struct buf names = {0}, changes = {0};
    (void)state;
    assert_int_equal(config_keep_fixed(now, was, &names), 0);
    assert_null(names.p);
    assert_int_equal(now->log.level, LOG_LEVEL_DEBUG);
    assert_int_equal(now->store.retention_h, 3);
    assert_int_equal(now->media.announce_count, 1);
    config_setting_changes(&changes, was, now);
    assert_string_equal(changes.p,
                        "listen.public_url, listen.behind_proxy, listen.drain_s, listen.console, media.announce, "
                        "media.rotate_identity_s, store.retention_h, log.level, log.format");
    buf_free(&changes);
    config_unref(was);
    config_unref(now);
}

static void assert_changes(const char *was_text, const char *now_text, const char *list, const char *want) {
    struct config *was = loaded(was_text), *now = loaded(now_text);
    struct buf out = {0};
    config_list_changes(&out, was, now, list);
    assert_string_equal(out.p ? out.p : "", want);
    buf_free(&out);
    config_unref(was);
    config_unref(now);
}

#define TOKEN(name, scopes) "    - {name: " name ", sha256: " SHA256_OF_A_TOKEN ", scopes: [" scopes "]}\n"
#define TOKENS(list)        "auth:\n  tokens:\n" list APPS ROUTES

static void changes_of_a_list_are_named(void **state) {
    (void)state;
    assert_changes(SMALLEST, SMALLEST, "apps", "");
    assert_changes(SMALLEST, with("KEY1234567", "KEY7654321"), "apps", "changed phone");
    assert_changes(SMALLEST, with("    apns:", "    codecs: [opus]\n    apns:"), "apps", "changed phone");
    assert_changes(SMALLEST, with("    app: phone", "    app: phone\n  - {name: more, app: phone}"), "routes",
                   "added more");
    assert_changes(SMALLEST, with("  - name: all\n    app: phone", "  - {name: more, reject: {status: 404}}"), "routes",
                   "added more; removed all");
    assert_changes(SMALLEST, with("    app: phone", "    app: phone\n    must_report: {blocked_retry_h: 3}"), "routes",
                   "changed all");
    assert_changes(TOKENS(TOKEN("a", "calls") TOKEN("b", "calls")), TOKENS(TOKEN("b", "admin") TOKEN("c", "calls")),
                   "auth.tokens", "added c; changed b; removed a");
    assert_changes(TOKENS(TOKEN("a", "calls") TOKEN("b", "calls")), TOKENS(TOKEN("b", "calls") TOKEN("a", "calls")),
                   "auth.tokens", "order changed");
    assert_changes(SMALLEST, "webhooks: [{name: hook, url: \"https://example.org\", secret_file: key.p8}]\n" SMALLEST,
                   "webhooks", "added hook");
}

static void of_many_changes_some_are_named(void **state) {
    char text[8192] = "auth:\n  tokens:\n", want[1024] = "added ";
    (void)state;
    for (int i = 0; i < 25; i++) {
        snprintf(text + strlen(text), sizeof text - strlen(text), TOKEN("t%d", "calls"), i);
        if (i < 20)
            snprintf(want + strlen(want), sizeof want - strlen(want), "%st%d", i ? ", " : "", i);
    }
    strcat(text, APPS ROUTES);
    strcat(want, " and 5 more");
    assert_changes(SMALLEST, text, "auth.tokens", want);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_lives_until_its_last_reference),
        cmocka_unit_test(what_shows_later_is_said_with_its_line),
        cmocka_unit_test(a_key_that_takes_a_restart_keeps_its_value),
        cmocka_unit_test(tls_is_not_turned_on_or_off_but_its_files_may_change),
        cmocka_unit_test(what_is_kept_is_the_value_that_is_in_effect),
        cmocka_unit_test(what_needs_no_restart_is_taken),
        cmocka_unit_test(changes_of_a_list_are_named),
        cmocka_unit_test(of_many_changes_some_are_named),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
