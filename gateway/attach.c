/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/attach.h"

#include "base/bytes.h"
#include "dtls/sdp.h"
#include "gateway/text.h"

#include <inttypes.h>
#include <string.h>

#define UUID_CHARS   (UUID_BYTES - 1)
#define SECRET_CHARS 128

#define AT(member)   offsetof(struct attach_msg, member)
#define COUNT(table) (sizeof(table) / sizeof *(table))
#define MESSAGE(n, tbl)                                                                                                \
    { n, tbl, COUNT(tbl) }
#define FIELD_CALL                                                                                                     \
    { "call", FIELD_TEXT, AT(call), true, UUID_CHARS, NULL }
#define FIELD_APP_STATE                                                                                                \
    { "app_state", FIELD_TEXT, AT(app_state), false, 32, NULL }
#define FIELD_ON_CALL                                                                                                  \
    { "on_call", FIELD_TRI, AT(on_call), false, 0, NULL }
#define FIELD_SDP(needs)                                                                                               \
    { "sdp", FIELD_TEXT, AT(sdp), needs, SDP_MAX_BYTES, NULL }

static const struct field hello_fields[] = {
    {"device", FIELD_TEXT, AT(device), true, DEVICE_ID_BYTES - 1, NULL},
    {"secret", FIELD_TEXT, AT(secret), false, SECRET_CHARS, NULL},
    {"token", FIELD_TEXT, AT(token), false, SECRET_CHARS, NULL},
    {"call", FIELD_TEXT, AT(call), false, UUID_CHARS, NULL},
    {"os_version", FIELD_TEXT, AT(os_version), false, DEVICE_VERSION_BYTES - 1, NULL},
    FIELD_APP_STATE,
    FIELD_ON_CALL,
};
static const struct field receipt_fields[] = {FIELD_CALL};
static const struct field call_fields[] = {FIELD_CALL};
static const struct field answer_fields[] = {FIELD_CALL, FIELD_SDP(false)};
static const struct field decline_fields[] = {FIELD_CALL, {"reason", FIELD_TEXT, AT(reason), false, 64, NULL}};
static const struct field media_fields[] = {FIELD_CALL, FIELD_SDP(true)};
static const struct field state_fields[] = {FIELD_APP_STATE, FIELD_ON_CALL};

static const struct {
    const char *type;
    const struct field *fields;
    size_t count;
} messages[ATTACH_TYPES] = {
    [ATTACH_HELLO] = MESSAGE("hello", hello_fields),       [ATTACH_RECEIPT] = MESSAGE("receipt", receipt_fields),
    [ATTACH_RINGING] = MESSAGE("ringing", call_fields),    [ATTACH_ANSWER] = MESSAGE("answer", answer_fields),
    [ATTACH_DECLINE] = MESSAGE("decline", decline_fields), [ATTACH_HANGUP] = MESSAGE("hangup", call_fields),
    [ATTACH_MEDIA] = MESSAGE("media", media_fields),       [ATTACH_KEYS_TAKEN] = MESSAGE("keys_taken", call_fields),
    [ATTACH_STATE] = MESSAGE("state", state_fields),
};

static int type_by_name(const char *name) {
    for (int i = 0; i < ATTACH_TYPES; i++)
        if (strcmp(messages[i].type, name) == 0)
            return i;
    return -1;
}

static int read_fields(struct attach_msg *m, const char **code, struct err_text *et) {
    struct field_error fe;
    int err = fields_read(m, m->json, messages[m->type].fields, messages[m->type].count, "", &fe);
    if (err == 0 && m->type == ATTACH_RECEIPT)
        err = receipt_read(&m->receipt, m->json, &fe);
    if (err == 0)
        return 0;
    *code = "bad_field";
    return err_say(et, err, "%s: %s", messages[m->type].type, fe.text.s);
}

int attach_read(struct attach_msg *m, const char *text, size_t len, const char **code, struct err_text *et) {
    json_error_t je;
    json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
    const char *type = json_string_value(json_object_get(json, "type"));
    int known = type ? type_by_name(type) : -1;
    *m = (struct attach_msg){.json = json,
                             .device = "",
                             .secret = "",
                             .token = "",
                             .call = "",
                             .app_state = "",
                             .os_version = "",
                             .sdp = "",
                             .reason = "",
                             .on_call = -1};
    int err = E_MALFORMED;
    *code = "malformed";
    if (!json_is_object(json)) {
        err_say(et, err, "a message is one JSON object in a text frame");
    } else if (!type) {
        err_say(et, err, "a message needs a type");
    } else if (known < 0) {
        *code = "unknown_type";
        err = err_say(et, E_UNSUPPORTED, "this gateway knows no message of that type");
    } else {
        m->type = (enum attach_type)known;
        err = read_fields(m, code, et);
    }
    if (err != 0)
        attach_msg_free(m);
    return err;
}

void attach_msg_free(struct attach_msg *m) {
    json_decref(m->json);
    m->json = NULL;
}

bool attach_is_foreground(const char *app_state) {
    return strcmp(app_state, "foreground") == 0 || strcmp(app_state, "active") == 0;
}

/* Writers: by hand, since a message may carry keys, and jansson's memory cannot be wiped. */

static void begin(struct buf *out, const char *type) {
    buf_addf(out, "{\"type\":\"%s\"", type);
}

static void add_text(struct buf *out, const char *name, const char *value) {
    buf_addf(out, ",\"%s\":", name);
    text_json_string(out, value);
}

static void finish(struct buf *out) {
    buf_adds(out, "}");
}

void attach_write_welcome(struct buf *out, const char *device, const char *node) {
    begin(out, "welcome");
    add_text(out, "device", device);
    add_text(out, "node", node);
    finish(out);
}

void attach_write_call(struct buf *out, const struct attach_call *c) {
    begin(out, "call");
    add_text(out, "call", c->call);
    buf_adds(out, ",\"caller\":{\"handle\":");
    text_json_string(out, c->handle);
    add_text(out, "name", c->name);
    buf_addf(out, "},\"video\":%s", c->video ? "true" : "false");
    add_text(out, "state", c->state);
    buf_addf(out, ",\"expires_at\":%" PRIu64, c->expires_at_ms);
    if (c->handoff) {
        buf_adds(out, ",\"handoff\":");
        buf_add(out, c->handoff->p, c->handoff->len);
    }
    finish(out);
}

void attach_write_handoff(struct buf *out, const char *call, const struct buf *handoff) {
    begin(out, "handoff");
    add_text(out, "call", call);
    buf_adds(out, ",");
    buf_add(out, handoff->p + 1, handoff->len - 1); /* the object's own fields follow, and its closing brace */
}

void attach_write_elsewhere(struct buf *out, const char *call) {
    begin(out, "answered_elsewhere");
    add_text(out, "call", call);
    finish(out);
}

void attach_write_ended(struct buf *out, const char *call, const char *reason) {
    begin(out, "ended");
    add_text(out, "call", call);
    add_text(out, "reason", reason);
    finish(out);
}

void attach_write_error(struct buf *out, const char *code, const char *detail) {
    begin(out, "error");
    add_text(out, "code", code);
    add_text(out, "detail", detail);
    finish(out);
}
