/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_reason.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

/* Apple, "Handling notification responses from APNs", and what each answer is to be taken for. */
static const struct {
    int status;
    const char *name;
    enum apns_verdict verdict;
    bool again, close;
} documented[] = {
    {400, "BadCollapseId", APNS_OUR_FAULT, false, false},
    {400, "BadDeviceToken", APNS_TOKEN_INVALID, false, false},
    {400, "BadExpirationDate", APNS_OUR_FAULT, false, false},
    {400, "BadMessageId", APNS_OUR_FAULT, false, false},
    {400, "BadPriority", APNS_OUR_FAULT, false, false},
    {400, "BadTopic", APNS_CREDENTIAL_BAD, false, false},
    {400, "DeviceTokenNotForTopic", APNS_TOKEN_MISFILED, false, false},
    {400, "DuplicateHeaders", APNS_OUR_FAULT, false, false},
    {400, "IdleTimeout", APNS_SERVER_ERROR, true, true},
    {400, "InvalidPushType", APNS_OUR_FAULT, false, false},
    {400, "MissingDeviceToken", APNS_OUR_FAULT, false, false},
    {400, "MissingTopic", APNS_CREDENTIAL_BAD, false, false},
    {400, "PayloadEmpty", APNS_OUR_FAULT, false, false},
    {400, "TopicDisallowed", APNS_CREDENTIAL_BAD, false, false},
    {403, "BadCertificate", APNS_CREDENTIAL_BAD, false, true},
    {403, "BadCertificateEnvironment", APNS_CREDENTIAL_BAD, false, true},
    {403, "BadEnvironmentKeyIdInToken", APNS_CREDENTIAL_BAD, false, true},
    {403, "BadEnvironmentKeyInToken", APNS_CREDENTIAL_BAD, false, true},
    {403, "ExpiredProviderToken", APNS_CREDENTIAL_BAD, true, true},
    {403, "Forbidden", APNS_CREDENTIAL_BAD, false, true},
    {403, "InvalidProviderToken", APNS_CREDENTIAL_BAD, false, true},
    {403, "MissingProviderToken", APNS_CREDENTIAL_BAD, false, true},
    {403, "UnrelatedKeyIdInToken", APNS_CREDENTIAL_BAD, false, true},
    {404, "BadPath", APNS_OUR_FAULT, false, false},
    {405, "MethodNotAllowed", APNS_OUR_FAULT, false, false},
    {410, "ExpiredToken", APNS_TOKEN_INVALID, false, false},
    {410, "Unregistered", APNS_TOKEN_INVALID, false, false},
    {413, "PayloadTooLarge", APNS_OUR_FAULT, false, false},
    {429, "TooManyProviderTokenUpdates", APNS_SERVER_ERROR, true, true},
    {429, "TooManyRequests", APNS_THROTTLED, false, false},
    {500, "InternalServerError", APNS_SERVER_ERROR, true, false},
    {503, "ServiceUnavailable", APNS_SERVER_ERROR, true, false},
    {503, "Shutdown", APNS_SERVER_ERROR, true, true},
};

#define DOCUMENTED (sizeof documented / sizeof *documented)

static void each_documented_answer_has_its_verdict(void **state) {
    (void)state;
    for (size_t i = 0; i < DOCUMENTED; i++) {
        const struct apns_reason *r = apns_reason_find(documented[i].status, documented[i].name);
        if (strcmp(r->name, documented[i].name) != 0 || r->status != documented[i].status)
            fail_msg("%d %s is not in the table", documented[i].status, documented[i].name);
        if (r->verdict != documented[i].verdict || r->retry_elsewhere != documented[i].again ||
            r->close_connection != documented[i].close)
            fail_msg("%s: verdict %d, again %d, close %d", r->name, r->verdict, r->retry_elsewhere,
                     r->close_connection);
    }
}

static void the_table_has_nothing_that_is_not_documented(void **state) {
    size_t count;
    (void)state;
    apns_reason_table(&count);
    assert_int_equal(count, DOCUMENTED);
}

/* What an operator must mend comes with a sentence on how. */
static void a_verdict_on_us_or_the_credential_says_how_to_mend_it(void **state) {
    size_t count;
    const struct apns_reason *table = apns_reason_table(&count);
    (void)state;
    for (size_t i = 0; i < count; i++)
        if (table[i].verdict == APNS_CREDENTIAL_BAD || table[i].verdict == APNS_OUR_FAULT)
            assert_true(strlen(table[i].mend) > 10);
}

static void an_accepted_push_is_accepted_whatever_the_body_says(void **state) {
    (void)state;
    assert_int_equal(apns_reason_find(200, "")->verdict, APNS_ACCEPTED);
    assert_int_equal(apns_reason_find(200, "BadDeviceToken")->verdict, APNS_ACCEPTED);
}

static void an_unknown_reason_falls_into_its_class(void **state) {
    static const struct {
        int status;
        enum apns_verdict verdict;
        bool again, close;
    } classes[] = {{400, APNS_OUR_FAULT, false, false},   {403, APNS_CREDENTIAL_BAD, false, true},
                   {404, APNS_OUR_FAULT, false, false},   {410, APNS_TOKEN_INVALID, false, false},
                   {418, APNS_OUR_FAULT, false, false},   {429, APNS_THROTTLED, false, false},
                   {500, APNS_SERVER_ERROR, true, false}, {503, APNS_SERVER_ERROR, true, false},
                   {599, APNS_SERVER_ERROR, true, false}};
    (void)state;
    for (size_t i = 0; i < sizeof classes / sizeof *classes; i++) {
        const struct apns_reason *r = apns_reason_find(classes[i].status, "NeverHeardOf");
        assert_int_equal(r->verdict, classes[i].verdict);
        assert_int_equal(r->retry_elsewhere, classes[i].again);
        assert_int_equal(r->close_connection, classes[i].close);
    }
}

/* The reason alone proves nothing: a token must not die by a server's trouble. */
static void a_reason_with_another_status_falls_into_the_class_of_the_status(void **state) {
    (void)state;
    assert_int_equal(apns_reason_find(500, "BadDeviceToken")->verdict, APNS_SERVER_ERROR);
    assert_int_equal(apns_reason_find(403, "Unregistered")->verdict, APNS_CREDENTIAL_BAD);
    assert_int_equal(apns_reason_find(410, "BadDeviceToken")->verdict, APNS_TOKEN_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_documented_answer_has_its_verdict),
        cmocka_unit_test(the_table_has_nothing_that_is_not_documented),
        cmocka_unit_test(a_verdict_on_us_or_the_credential_says_how_to_mend_it),
        cmocka_unit_test(an_accepted_push_is_accepted_whatever_the_body_says),
        cmocka_unit_test(an_unknown_reason_falls_into_its_class),
        cmocka_unit_test(a_reason_with_another_status_falls_into_the_class_of_the_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
