/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/webhook_rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The example of the specification of Standard Webhooks. */
#define SECRET    "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
#define MESSAGE   "msg_p5jXN8AQM9LWM0D4loKWxJek"
#define TIMESTAMP 1614265330
#define BODY      "{\"test\": 2432232314}"
#define SIGNATURE "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

static struct webhook_secret secret_of(const char *text) {
    struct webhook_secret s;
    struct err_text et = {""};
    if (webhook_secret_parse(&s, text, &et) != 0)
        fail_msg("%s", et.s);
    return s;
}

static void the_specifications_example_is_signed_as_it_says(void **state) {
    struct webhook_secret s = secret_of(SECRET);
    char out[WEBHOOK_SIGNATURE_BYTES];
    (void)state;
    assert_string_equal(webhook_sign(out, &s, MESSAGE, TIMESTAMP, BODY), SIGNATURE);
}

static void everything_that_is_sent_is_signed(void **state) {
    struct webhook_secret s = secret_of(SECRET);
    char out[WEBHOOK_SIGNATURE_BYTES];
    (void)state;
    assert_string_not_equal(webhook_sign(out, &s, "msg_q", TIMESTAMP, BODY), SIGNATURE);
    assert_string_not_equal(webhook_sign(out, &s, MESSAGE, TIMESTAMP + 1, BODY), SIGNATURE);
    assert_string_not_equal(webhook_sign(out, &s, MESSAGE, TIMESTAMP, BODY " "), SIGNATURE);
}

static void each_of_four_secrets_signs(void **state) {
    struct webhook_secret s = secret_of("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\r\n" SECRET
                                        "\n\nwhsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n" SECRET "\n");
    char out[WEBHOOK_SIGNATURE_BYTES];
    (void)state;
    assert_int_equal(s.count, 4);
    webhook_sign(out, &s, MESSAGE, TIMESTAMP, BODY);
    assert_int_equal(strlen(out), 4 * strlen(SIGNATURE) + 3);
    assert_memory_equal(out + strlen(SIGNATURE) + 1, SIGNATURE " v1,", strlen(SIGNATURE) + 4);
    assert_string_equal(out + 3 * (strlen(SIGNATURE) + 1), SIGNATURE);
}

static void assert_no_secret(const char *text, const char *sentence) {
    struct webhook_secret s;
    struct err_text et = {""};
    assert_int_equal(webhook_secret_parse(&s, text, &et), E_INVAL);
    if (!strstr(et.s, sentence))
        fail_msg("\"%s\" does not say \"%s\"", et.s, sentence);
}

static void what_is_no_secret_is_said(void **state) {
    (void)state;
    assert_no_secret("", "no secret is in it");
    assert_no_secret("\n\n", "no secret is in it");
    assert_no_secret("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "line 1 is not \"whsec_\" and 24 to 64 bytes");
    assert_no_secret("whsec_", "line 1 is not");
    assert_no_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLg==", "line 1 is not"); /* 22 bytes */
    assert_no_secret("whsec_!fKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "line 1 is not");
    assert_no_secret(SECRET "\nwhat", "line 2 is not");
    assert_no_secret(SECRET "\n" SECRET "\n" SECRET "\n" SECRET "\n" SECRET, "more than 4 secrets");
}

static void a_file_that_others_can_read_is_refused(void **state) {
    char path[] = "/tmp/wakegate-test-XXXXXX";
    struct webhook_secret s;
    struct err_text et = {""};
    int fd = mkstemp(path);
    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, SECRET "\n", strlen(SECRET) + 1), (int)strlen(SECRET) + 1);
    close(fd);
    assert_int_equal(webhook_secret_read(&s, path, &et), 0);
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(webhook_secret_read(&s, path, &et), E_DENIED);
    unlink(path);
}

static const unsigned delays_s[] = {5, 30, 86400};

static void each_wait_is_longer_and_has_jitter(void **state) {
    (void)state;
    assert_int_equal(webhook_delay_ms(delays_s, 1, 0, 0), 5000);
    assert_int_equal(webhook_delay_ms(delays_s, 1, 0, UINT32_MAX), 6000);
    assert_int_equal(webhook_delay_ms(delays_s, 2, 0, UINT32_MAX / 2), 32999);
    assert_int_equal(webhook_delay_ms(delays_s, 3, 0, 0), 86400000);
    assert_int_equal(webhook_delay_ms(delays_s, 3, 0, UINT32_MAX), 103680000);
}

static void the_receiver_may_ask_for_more_peace_but_not_for_ever(void **state) {
    (void)state;
    assert_int_equal(webhook_delay_ms(delays_s, 1, 60, 0), 60000);
    assert_int_equal(webhook_delay_ms(delays_s, 2, 3, 0), 30000);
    assert_int_equal(webhook_delay_ms(delays_s, 1, 86400 * 365ULL, 0), 86400000);
    assert_int_equal(webhook_delay_ms(delays_s, 1, UINT64_MAX, 0), 86400000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_specifications_example_is_signed_as_it_says),
        cmocka_unit_test(everything_that_is_sent_is_signed),
        cmocka_unit_test(each_of_four_secrets_signs),
        cmocka_unit_test(what_is_no_secret_is_said),
        cmocka_unit_test(a_file_that_others_can_read_is_refused),
        cmocka_unit_test(each_wait_is_longer_and_has_jitter),
        cmocka_unit_test(the_receiver_may_ask_for_more_peace_but_not_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
