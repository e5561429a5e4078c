/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_reason.h"

#include <string.h>

#define KEEP  false
#define CLOSE true
#define ONCE  false
#define AGAIN true

#define BREAK APNS_POLICY_BREAK
#define TOPIC APNS_POLICY_TOPIC
#define BUG   APNS_POLICY_BUG
#define LATER APNS_POLICY_LATER
#define FREE  APNS_POLICY_FREE

static const char check_payload[] = "a request that should never have been made: report it as a bug of this library";

static const struct apns_reason reasons[] = {
    {"BadCollapseId", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"BadExpirationDate", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"BadMessageId", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"BadPriority", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"InvalidPushType", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"DuplicateHeaders", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"MissingDeviceToken", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"PayloadEmpty", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"BadTopic", 400, APNS_CREDENTIAL_BAD, ONCE, KEEP, "compare the app's bundle_id with the developer account", TOPIC},
    {"MissingTopic", 400, APNS_CREDENTIAL_BAD, ONCE, KEEP, "set the app's bundle_id", TOPIC},
    {"TopicDisallowed", 400, APNS_CREDENTIAL_BAD, ONCE, KEEP,
     "the key may not send to this bundle id: add the topic to the key", TOPIC},
    {"BadDeviceToken", 400, APNS_TOKEN_INVALID, ONCE, KEEP,
     "the token is not one of this environment: register the device again",
     APNS_POLICY_COUNT | APNS_POLICY_ENVIRONMENT},
    {"DeviceTokenNotForTopic", 400, APNS_TOKEN_MISFILED, ONCE, KEEP,
     "the token belongs to another topic: very often the alert token was registered in place of the VoIP token", 0},
    {"IdleTimeout", 400, APNS_SERVER_ERROR, AGAIN, CLOSE, "", 0},
    {"BadCertificate", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "replace the certificate", BREAK},
    {"BadCertificateEnvironment", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the certificate is for the other environment",
     BREAK},
    {"ExpiredProviderToken", 403, APNS_CREDENTIAL_BAD, AGAIN, CLOSE, "check this machine's clock", APNS_POLICY_CLOCK},
    {"Forbidden", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the key is not allowed to do this", BREAK},
    {"InvalidProviderToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE,
     "check team_id, key_id and key_file: they do not belong together", BREAK},
    {"MissingProviderToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "check team_id, key_id and key_file", BREAK},
    {"UnrelatedKeyIdInToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "use one key for all topics of a connection",
     BREAK},
    {"BadEnvironmentKeyIdInToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the key is for the other environment",
     BREAK},
    {"BadEnvironmentKeyInToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the key is for the other environment", BREAK},
    {"BadPath", 404, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"MethodNotAllowed", 405, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"ExpiredToken", 410, APNS_TOKEN_INVALID, ONCE, KEEP, "the device must register again", 0},
    {"Unregistered", 410, APNS_TOKEN_INVALID, ONCE, KEEP, "the app was removed from the device, or must register again",
     0},
    {"PayloadTooLarge", 413, APNS_OUR_FAULT, ONCE, KEEP, check_payload, BUG},
    {"TooManyProviderTokenUpdates", 429, APNS_SERVER_ERROR, AGAIN, CLOSE,
     "another program uses the same team's keys too busily", 0},
    {"TooManyRequests", 429, APNS_THROTTLED, ONCE, KEEP, "too many pushes went to this device", 0},
    {"InternalServerError", 500, APNS_SERVER_ERROR, AGAIN, KEEP, "", LATER},
    {"ServiceUnavailable", 503, APNS_SERVER_ERROR, AGAIN, KEEP, "", LATER},
    {"Shutdown", 503, APNS_SERVER_ERROR, AGAIN, CLOSE, "", LATER | FREE},
};

const struct apns_reason *apns_reason_table(size_t *count) {
    *count = sizeof reasons / sizeof *reasons;
    return reasons;
}

const struct apns_reason *apns_reason_find(int status, const char *name) {
    static const struct apns_reason accepted = {"", 200, APNS_ACCEPTED, ONCE, KEEP, "", 0};
    static const struct apns_reason gone = {"", 410, APNS_TOKEN_INVALID, ONCE, KEEP, "", 0};
    static const struct apns_reason refused = {
        "", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "APNs gave a reason that is not documented", BREAK};
    static const struct apns_reason throttled = {"", 429, APNS_THROTTLED, ONCE, KEEP, "", 0};
    static const struct apns_reason client = {
        "", 400, APNS_OUR_FAULT, ONCE, KEEP, "APNs gave a reason that is not documented", BUG};
    static const struct apns_reason server = {"", 500, APNS_SERVER_ERROR, AGAIN, KEEP, "", LATER};
    if (status == 200)
        return &accepted;
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status && strcmp(reasons[i].name, name) == 0)
            return &reasons[i];
    return status == 410   ? &gone
           : status == 403 ? &refused
           : status == 429 ? &throttled
           : status < 500  ? &client
                           : &server;
}
