/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_preflight.h"

#include <jansson.h>
#include <string.h>

const char *apns_push_type_name(enum apns_push_type t) {
    static const char *const names[] = {"voip", "alert", "background"};
    return names[t];
}

static int check_token(const struct apns_push *p, struct err_text *et) {
    size_t len = strlen(p->token);
    if (len == 0 || len > APNS_TOKEN_MAX_CHARS || len % 2 != 0 || strspn(p->token, "0123456789abcdefABCDEF") != len)
        return err_say(et, E_INVAL, "token: not a device token in hex (2 to %d digits)", APNS_TOKEN_MAX_CHARS);
    return 0;
}

static int check_id(const struct apns_push *p, struct err_text *et) {
    if (!uuid_valid(p->apns_id) || strspn(p->apns_id, "0123456789abcdef-") != UUID_BYTES - 1)
        return err_say(et, E_INVAL, "apns_id: not a UUID in lower case");
    if (p->collapse_id && (strlen(p->collapse_id) == 0 || strlen(p->collapse_id) > APNS_COLLAPSE_ID_MAX_BYTES))
        return err_say(et, E_INVAL, "collapse_id: %zu bytes; 1 to %d", strlen(p->collapse_id),
                       APNS_COLLAPSE_ID_MAX_BYTES);
    return 0;
}

static int check_topic(const struct apns_push *p, struct err_text *et) {
    size_t len = strlen(p->topic);
    bool voip = len > 5 && strcmp(p->topic + len - 5, ".voip") == 0;
    if (len == 0)
        return err_say(et, E_INVAL, "topic: empty; the app's bundle id is meant");
    if (p->type == APNS_TYPE_VOIP && !voip)
        return err_say(et, E_INVAL, "topic: \"%s\" does not end in .voip, as a voip push needs", p->topic);
    if (p->type != APNS_TYPE_VOIP && voip)
        return err_say(et, E_INVAL, "topic: \"%s\" is for voip pushes only", p->topic);
    return 0;
}

static int check_priority(const struct apns_push *p, struct err_text *et) {
    if (p->priority != 10 && p->priority != 5 && p->priority != 1)
        return err_say(et, E_INVAL, "priority: %d; 10, 5 or 1", p->priority);
    if (p->type == APNS_TYPE_BACKGROUND && p->priority == 10)
        return err_say(et, E_INVAL, "priority: a background push must have 5");
    return 0;
}

static int check_payload(const struct apns_push *p, struct err_text *et) {
    size_t max = p->type == APNS_TYPE_VOIP ? APNS_VOIP_PAYLOAD_MAX_BYTES : APNS_PAYLOAD_MAX_BYTES;
    json_error_t why;
    if (p->payload_len == 0 || p->payload_len > max)
        return err_say(et, E_INVAL, "payload: %zu bytes; a %s push has 1 to %zu", p->payload_len,
                       apns_push_type_name(p->type), max);
    json_t *o = json_loadb(p->payload, p->payload_len, 0, &why);
    bool good = json_is_object(o);
    json_decref(o);
    return good ? 0 : err_say(et, E_INVAL, "payload: not a JSON object: %s", o ? "another type" : why.text);
}

int apns_preflight(const struct apns_push *p, struct err_text *et) {
    int (*const checks[])(const struct apns_push *, struct err_text *) = {check_token, check_id, check_topic,
                                                                          check_priority, check_payload};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int err = checks[i](p, et);
        if (err != 0)
            return err;
    }
    return 0;
}
