/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_preflight.h"

#include "apns/apns_json.h"

#include <string.h>

/* What the topic of each type ends in behind the bundle id. */
static const struct {
    const char *name, *suffix;
} types[APNS_TYPES] = {
    [APNS_TYPE_VOIP] = {"voip", ".voip"},
    [APNS_TYPE_ALERT] = {"alert", ""},
    [APNS_TYPE_BACKGROUND] = {"background", ""},
    [APNS_TYPE_PUSHTOTALK] = {"pushtotalk", ".voip-ptt"},
    [APNS_TYPE_LOCATION] = {"location", ".location-query"},
    [APNS_TYPE_COMPLICATION] = {"complication", ".complication"},
    [APNS_TYPE_FILEPROVIDER] = {"fileprovider", ".pushkit.fileprovider"},
    [APNS_TYPE_MDM] = {"mdm", ""},
    [APNS_TYPE_LIVEACTIVITY] = {"liveactivity", ".push-type.liveactivity"},
    [APNS_TYPE_CONTROLS] = {"controls", ".push-type.controls"},
    [APNS_TYPE_WIDGETS] = {"widgets", ".push-type.widgets"},
};

const char *apns_push_type_name(enum apns_push_type t) {
    return types[t].name;
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

static bool ends_in(const char *topic, const char *suffix) {
    size_t len = strlen(topic), n = strlen(suffix);
    return len > n && strcmp(topic + len - n, suffix) == 0;
}

static int check_topic(const struct apns_push *p, struct err_text *et) {
    const char *suffix = types[p->type].suffix, *name = types[p->type].name;
    if (p->topic[0] == 0)
        return err_say(et, E_INVAL, "topic: empty; the app's bundle id is meant");
    if (strlen(p->topic) > APNS_TOPIC_MAX_CHARS)
        return err_say(et, E_INVAL, "topic: longer than %d characters", APNS_TOPIC_MAX_CHARS);
    if (*suffix && !ends_in(p->topic, suffix))
        return err_say(et, E_INVAL, "topic: \"%s\" does not end in %s, as a %s push needs", p->topic, suffix, name);
    for (int i = 0; i < APNS_TYPES && !*suffix; i++)
        if (*types[i].suffix && ends_in(p->topic, types[i].suffix))
            return err_say(et, E_INVAL, "topic: \"%s\" is for %s pushes only", p->topic, types[i].name);
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
    if (p->payload_len == 0 || p->payload_len > max)
        return err_say(et, E_INVAL, "payload: %zu bytes; a %s push has 1 to %zu", p->payload_len,
                       apns_push_type_name(p->type), max);
    const char *wrong = apns_json_object_check(p->payload, p->payload_len);
    return wrong ? err_say(et, E_INVAL, "payload: not a JSON object: %s", wrong) : 0;
}

static int check_kind(const struct apns_push *p, struct err_text *et) {
    if ((unsigned)p->type >= APNS_TYPES)
        return err_say(et, E_INVAL, "type: %d is none", (int)p->type);
    if ((unsigned)p->lane >= APNS_LANES)
        return err_say(et, E_INVAL, "lane: %d is none", (int)p->lane);
    return 0;
}

int apns_preflight(const struct apns_push *p, struct err_text *et) {
    int (*const checks[])(const struct apns_push *, struct err_text *) = {check_token, check_kind,     check_id,
                                                                          check_topic, check_priority, check_payload};
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        int err = checks[i](p, et);
        if (err != 0)
            return err;
    }
    return 0;
}
