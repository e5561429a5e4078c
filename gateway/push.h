/* SPDX-License-Identifier: Apache-2.0 */
/* The push that wakes a phone for a call: its payload and its headers. Thread: any. */
#ifndef GATEWAY_PUSH_H
#define GATEWAY_PUSH_H

#include "apns/apns.h"
#include "base/bytes.h"
#include "base/err.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PUSH_NAME_BYTES 257 /* a caller's name or handle on a phone's screen, and the NUL */
#define PUSH_DATA_MAX_BYTES                                                                                            \
    2048                          /* the call server's own data; leaves room for a sealed handoff (APNs: 5,120 in all) \
                                   */
#define PUSH_NAME_SEALED_BYTES 64 /* what a name keeps when keys are in the push: what a phone's screen shows */
#define PUSH_URL_BYTES         512
#define PUSH_TOPIC_BYTES       262 /* a bundle id of 255 characters and ".voip" */

struct push_content {
    const char *call, *push; /* UUIDs */
    const char *handle, *name;
    bool video;
    bool alert;                         /* a visible notification, in place of a VoIP push; without `sealed` */
    uint64_t sent_at_ms, expires_at_ms; /* Unix */
    const char *attach;                 /* wss://.../v1/attach */
    const char *token;
    const char *sealed; /* the handoff object, sealed; NULL: none */
    const json_t *data; /* object, or NULL */
};

/* How many characters `sealed` may have: for them, names are cut to PUSH_NAME_SEALED_BYTES and no further. */
size_t push_room(const struct push_content *c);

/* The payload, at most APNS_VOIP_PAYLOAD_MAX_BYTES, or APNS_PAYLOAD_MAX_BYTES of an alert: names that are too long are
 * cut further until it fits. *out: free() it after wiping, since it holds the token. Returns 0, E_FULL when data alone
 * is too large, E_NOMEM. */
int push_payload(char **out, size_t *len, const struct push_content *c);

/* "com.example.vcs" -> "com.example.vcs.voip". */
void push_topic(char out[static PUSH_TOPIC_BYTES], const char *bundle_id);

/* What a phone dials, from the gateway's public URL: https://HOST[/PATH] -> wss://HOST[/PATH]/v1/attach. */
int push_attach_url(char out[static PUSH_URL_BYTES], const char *public_url);

#endif
