/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/push.h"

#include "base/secret.h"
#include "gateway/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MIN_BYTES 16 /* below it, cutting further makes no room worth having */

/* What iOS shows by itself, since no code of the app runs. */
static json_t *aps_json(const struct push_content *c, const char *handle, const char *name) {
    if (!c->alert)
        return json_object();
    return json_pack("{s:{s:s,s:s},s:s,s:s}", "alert", "title",
                     *name     ? name
                     : *handle ? handle
                               : "?",
                     "body", c->video ? "Incoming video call" : "Incoming call", "sound", "default",
                     "interruption-level", "time-sensitive");
}

static json_t *payload_json(const struct push_content *c, size_t name_cap) {
    char handle[PUSH_NAME_BYTES], name[PUSH_NAME_BYTES];
    text_clean(handle, name_cap, c->handle, strlen(c->handle));
    text_clean(name, name_cap, c->name, strlen(c->name));
    return json_pack("{s:o,s:{s:i,s:s,s:s,s:{s:s,s:s},s:b,s:I,s:I,s:s,s:s,s:s*},s:o}", "aps", aps_json(c, handle, name),
                     "wakegate", "v", 1, "call", c->call, "push", c->push, "caller", "handle", handle, "name", name,
                     "video", c->video, "sent_at", (json_int_t)c->sent_at_ms, "expires_at",
                     (json_int_t)c->expires_at_ms, "attach", c->attach, "token", c->token, "sealed", c->sealed, "data",
                     c->data ? json_deep_copy(c->data) : json_object());
}

size_t push_room(const struct push_content *c) {
    struct push_content with = *c;
    with.sealed = "";
    json_t *o = payload_json(&with, PUSH_NAME_SEALED_BYTES);
    size_t len = json_dumpb(o, NULL, 0, JSON_COMPACT);
    json_decref(o);
    return o && len < APNS_VOIP_PAYLOAD_MAX_BYTES ? APNS_VOIP_PAYLOAD_MAX_BYTES - len : 0;
}

int push_payload(char **out, size_t *len, const struct push_content *c) {
    for (size_t cap = PUSH_NAME_BYTES; cap >= NAME_MIN_BYTES; cap /= 2) {
        json_t *o = payload_json(c, cap);
        char *text = o ? json_dumps(o, JSON_COMPACT) : NULL;
        json_decref(o);
        if (!text)
            return E_NOMEM;
        *len = strlen(text);
        if (*len <= (c->alert ? APNS_PAYLOAD_MAX_BYTES : APNS_VOIP_PAYLOAD_MAX_BYTES)) {
            *out = text;
            return 0;
        }
        secret_wipe(text, *len);
        free(text);
    }
    return E_FULL;
}

void push_topic(char out[static PUSH_TOPIC_BYTES], const char *bundle_id) {
    snprintf(out, PUSH_TOPIC_BYTES, "%s.voip", bundle_id);
}

int push_attach_url(char out[static PUSH_URL_BYTES], const char *public_url) {
    size_t len = strlen(public_url);
    if (strncmp(public_url, "http", 4) != 0)
        return E_INVAL;
    while (len > 0 && public_url[len - 1] == '/')
        len--;
    int n = snprintf(out, PUSH_URL_BYTES, "ws%.*s/v1/attach", (int)(len - 4), public_url + 4);
    return n < PUSH_URL_BYTES ? 0 : E_FULL;
}
