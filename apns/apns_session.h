/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP/2 connection to APNs without a socket (RFC 9113, by nghttp2): bytes in, bytes and answers out. Keeps the
 * stream rule: nothing before the peer's SETTINGS, one stream until the first provider token was accepted, then the
 * peer's limit; never a request that would have to wait for a stream or for the send window. Owner: its connection.
 * Thread: the loop's. */
#ifndef APNS_APNS_SESSION_H
#define APNS_APNS_SESSION_H

#include "apns/apns.h"

#include <sys/types.h>

#define APNS_RESPONSE_MAX_BYTES 4096 /* APNs' answers have under 100 */

struct apns_session;

/* What a stream carries; all pointers stay valid until its answer or its loss was told. */
struct apns_request {
    const char *authority, *token, *topic, *push_type, *priority, *expiration, *apns_id;
    const char *authorization, *collapse_id; /* may be NULL */
    const char *payload;
    size_t payload_len;
};

struct apns_answer {
    int status;
    const char *reason;    /* "" when the body names none */
    uint64_t timestamp_ms; /* 410 */
    const char *apns_id;   /* "" when not echoed */
    const char *unique_id; /* sandbox; "" when absent */
    uint32_t retry_after_s;
};

struct apns_session_ops {
    void (*answered)(void *tag, const struct apns_answer *a, void *arg);
    /* refused: the peer did not process it (REFUSED_STREAM, or above a GOAWAY's last stream); else it is unknown
     * whether it did. */
    void (*lost)(void *tag, bool refused, void *arg);
    /* No new streams from now on; reason: APNs' reason or the plain text of the GOAWAY, may be "". */
    void (*goaway)(const char *reason, void *arg);
};
/* The callbacks come from inside apns_session_input and apns_session_output; they may not free, nor call these two.
 * There is no room inside them: the bytes behind an answer may be a GOAWAY, and a request must not be caught by it. */

int apns_session_new(struct apns_session **sp, const struct apns_session_ops *ops, void *arg);
/* Tells no losses: the owner knows what is under way. */
struct apns_session *apns_session_free(struct apns_session *s);
/* TLS is up and the peer's SETTINGS are here, and it takes new streams. */
bool apns_session_ready(const struct apns_session *s);
/* The peer knows us by our certificate: its limit holds from the start. */
void apns_session_trust(struct apns_session *s);
/* Streams that may be open at once, and how many are. */
uint32_t apns_session_limit(const struct apns_session *s);
uint32_t apns_session_open(const struct apns_session *s);
/* What the peer's windows let out now, bytes. */
int32_t apns_session_window(const struct apns_session *s);
/* Ask for a sign of life: what comes back counts as input. */
void apns_session_ping(struct apns_session *s);
/* Is a stream free, and window for so many bytes beyond those that wait to be written? */
bool apns_session_has_room(const struct apns_session *s, size_t payload_len);
/* Returns 0, E_FULL (no room), E_NOMEM, E_CLOSED. */
int apns_session_submit(struct apns_session *s, const struct apns_request *r, void *tag);
/* No new streams from now on; what is under way may still be answered. */
void apns_session_drain(struct apns_session *s);
/* Nothing is under way. */
bool apns_session_idle(const struct apns_session *s);
/* Give one request up: its stream is reset, nothing more is told about it, and its memory may go. */
void apns_session_forget(struct apns_session *s, const void *tag);
/* Returns 0, or E_CLOSED when the connection must be given up. */
int apns_session_input(struct apns_session *s, const uint8_t *p, size_t len);
/* Bytes to write next, valid until the next call; 0: none now; E_CLOSED: none any more, give the connection up. */
ssize_t apns_session_output(struct apns_session *s, const uint8_t **p);

#endif
