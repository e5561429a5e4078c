/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_reason.h"

#include <string.h>

#define KEEP  false
#define CLOSE true
#define ONCE  false
#define AGAIN true

static const char check_payload[] = "a request that should never have been made: report it as a bug of this library";

static const struct apns_reason reasons[] = {
    {"BadCollapseId", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"BadExpirationDate", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"BadMessageId", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"BadPriority", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"InvalidPushType", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"DuplicateHeaders", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"MissingDeviceToken", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"PayloadEmpty", 400, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"BadTopic", 400, APNS_CREDENTIAL_BAD, ONCE, KEEP, "compare the app's bundle_id with the developer account"},
    {"MissingTopic", 400, APNS_CREDENTIAL_BAD, ONCE, KEEP, "set the app's bundle_id"},
    {"TopicDisallowed", 400, APNS_CREDENTIAL_BAD, ONCE, CLOSE,
     "the key may not send to this bundle id: add the topic to the key"},
    {"BadDeviceToken", 400, APNS_TOKEN_INVALID, ONCE, KEEP,
     "the token is not one of this environment: register the device again"},
    {"DeviceTokenNotForTopic", 400, APNS_TOKEN_MISFILED, ONCE, KEEP,
     "the token belongs to another topic: very often the alert token was registered in place of the VoIP token"},
    {"IdleTimeout", 400, APNS_SERVER_ERROR, AGAIN, CLOSE, ""},
    {"BadCertificate", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "replace the certificate"},
    {"BadCertificateEnvironment", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE,
     "the certificate is for the other environment"},
    {"ExpiredProviderToken", 403, APNS_CREDENTIAL_BAD, AGAIN, CLOSE, "check this machine's clock"},
    {"Forbidden", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the key is not allowed to do this"},
    {"InvalidProviderToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE,
     "check team_id, key_id and key_file: they do not belong together"},
    {"MissingProviderToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "check team_id, key_id and key_file"},
    {"UnrelatedKeyIdInToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "use one key for all topics of a connection"},
    {"BadEnvironmentKeyIdInToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the key is for the other environment"},
    {"BadEnvironmentKeyInToken", 403, APNS_CREDENTIAL_BAD, ONCE, CLOSE, "the key is for the other environment"},
    {"BadPath", 404, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"MethodNotAllowed", 405, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"ExpiredToken", 410, APNS_TOKEN_INVALID, ONCE, KEEP, "the device must register again"},
    {"Unregistered", 410, APNS_TOKEN_INVALID, ONCE, KEEP,
     "the app was removed from the device, or must register again"},
    {"PayloadTooLarge", 413, APNS_OUR_FAULT, ONCE, KEEP, check_payload},
    {"TooManyProviderTokenUpdates", 429, APNS_SERVER_ERROR, AGAIN, CLOSE,
     "another program uses the same team's keys too busily"},
    {"TooManyRequests", 429, APNS_THROTTLED, ONCE, KEEP, "too many pushes went to this device"},
    {"InternalServerError", 500, APNS_SERVER_ERROR, AGAIN, KEEP, ""},
    {"ServiceUnavailable", 503, APNS_SERVER_ERROR, AGAIN, KEEP, ""},
    {"Shutdown", 503, APNS_SERVER_ERROR, AGAIN, CLOSE, ""},
};

const struct apns_reason *apns_reason_table(size_t *count) {
    *count = sizeof reasons / sizeof *reasons;
    return reasons;
}

const struct apns_reason *apns_reason_find(int status, const char *name) {
    static const struct apns_reason accepted = {"", 200, APNS_ACCEPTED, ONCE, KEEP, ""};
    static const struct apns_reason gone = {"", 410, APNS_TOKEN_INVALID, ONCE, KEEP, ""};
    static const struct apns_reason refused = {"",   403,   APNS_CREDENTIAL_BAD,
                                               ONCE, CLOSE, "APNs gave a reason that is not documented"};
    static const struct apns_reason throttled = {"", 429, APNS_THROTTLED, ONCE, KEEP, ""};
    static const struct apns_reason client = {"",   400,  APNS_OUR_FAULT,
                                              ONCE, KEEP, "APNs gave a reason that is not documented"};
    static const struct apns_reason server = {"", 500, APNS_SERVER_ERROR, AGAIN, KEEP, ""};
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
