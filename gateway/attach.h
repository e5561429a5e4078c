/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of the WebSocket protocol wakegate.v1, as values: what phones say, read and checked; what the gateway
 * says, written. No connection here; that is calls_phone.c. Thread: any. */
#ifndef GATEWAY_ATTACH_H
#define GATEWAY_ATTACH_H

#include "base/buf.h"
#include "gateway/ledger.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum attach_type {
    ATTACH_HELLO,
    ATTACH_RECEIPT,
    ATTACH_RINGING,
    ATTACH_ANSWER,
    ATTACH_DECLINE,
    ATTACH_HANGUP,
    ATTACH_MEDIA,
    ATTACH_KEYS_TAKEN,
    ATTACH_STATE,
    ATTACH_TYPES
};

/* Fields that a message does not have are "" (on_call: -1). */
struct attach_msg {
    enum attach_type type;
    json_t *json; /* owns the texts */
    const char *device, *secret, *token, *call, *app_state, *os_version, *sdp, *reason;
    int on_call;
    struct receipt receipt; /* ATTACH_RECEIPT; its call is in `call`, too */
};

/* Read one frame. Returns 0 (attach_msg_free it), or E_MALFORMED, E_UNSUPPORTED with the message's `code` for `error`
 * and a sentence in et. m needs no freeing then. */
int attach_read(struct attach_msg *m, const char *text, size_t len, const char **code, struct err_text *et);
/* Wipes nothing: jansson's memory cannot be. Secrets in it live as long as the frame. */
void attach_msg_free(struct attach_msg *m);
/* "foreground" (or iOS's "active"). */
bool attach_is_foreground(const char *app_state);

/* Writers: one message each, appended to out. */
void attach_write_welcome(struct buf *out, const char *device, const char *node);
struct attach_call {
    const char *call, *handle, *name, *state;
    bool video;
    uint64_t expires_at_ms;    /* Unix */
    const struct buf *handoff; /* the object, or NULL */
};
void attach_write_call(struct buf *out, const struct attach_call *c);
void attach_write_handoff(struct buf *out, const char *call, const struct buf *handoff);
void attach_write_elsewhere(struct buf *out, const char *call);
void attach_write_ended(struct buf *out, const char *call, const char *reason);
void attach_write_error(struct buf *out, const char *code, const char *detail);

#endif
