/* SPDX-License-Identifier: Apache-2.0 */
/* An ICE-lite agent for one component and one candidate (RFC 8445 2.5, 7.3, 8.2): answers authenticated checks and
 * follows the controlling peer's nomination. No sockets, no timers, no allocation. Owner: embedded in its leg. Thread:
 * the leg's worker. */
#ifndef DTLS_ICE_LITE_H
#define DTLS_ICE_LITE_H

#include "base/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ICE_UFRAG_BYTES        9   /* our fragments: 8 characters and the NUL (RFC 8839 5.4: at least 4) */
#define ICE_PWD_BYTES          33  /* our passwords: 32 characters and the NUL (at least 22) */
#define ICE_REMOTE_UFRAG_BYTES 257 /* RFC 8839 5.4: at most 256 */

struct ice_lite {
    char ufrag[ICE_UFRAG_BYTES];
    char pwd[ICE_PWD_BYTES];
    char remote_ufrag[ICE_REMOTE_UFRAG_BYTES]; /* the user name must be "ufrag:remote_ufrag"; "" accepts any remote part
                                                */
    char old_ufrag[ICE_UFRAG_BYTES], old_pwd[ICE_PWD_BYTES]; /* of before a restart; "" when it is over, or none was */
    uint64_t tie_breaker;
    struct addr selected;   /* unset until the first nomination */
    uint64_t last_check_ms; /* last authenticated check from the selected address (consent, RFC 7675) */
};

struct ice_result {
    bool authenticated;    /* the source address is vouched for */
    bool selected_changed; /* il->selected is new, or was nominated anew after a restart */
    int reply_len;         /* bytes in the reply buffer; 0: nothing to send. Never longer than the request plus
                              what RFC 8489 requires, and an unauthenticated request gets no reply at all */
};

/* Consume one STUN datagram from src. reply: STUN_MSG_MAX_BYTES. Not kept after return.
 * Returns 0, or E_MALFORMED, E_AUTH (dropped: bad user name or integrity), E_CONFLICT (487 in reply: we are lite, so
 * the peer claims the controlled role, RFC 8445 7.3.1.1), E_UNSUPPORTED (420 in reply). */
int ice_lite_input(struct ice_lite *il, const uint8_t *dg, size_t len, const struct addr *src, uint64_t now_ms,
                   uint8_t *reply, size_t reply_cap, struct ice_result *res);

/* Fill ufrag, pwd and tie breaker from the system's randomness. */
void ice_lite_init(struct ice_lite *il);

/* ICE restart (RFC 8445 9): take ufrag, pwd and remote_ufrag of next. The selected address stays, and checks with the
 * old credentials are answered and followed, until one with the new ones nominates. A restart during a restart replaces
 * the session that never came to a nomination. */
void ice_lite_restart(struct ice_lite *il, const struct ice_lite *next);

/* The local fragment of a binding request's user name ("LOCAL:remote"), for demultiplexing before the leg is known.
 * Copies it to out and returns its length, or E_MALFORMED. Does not check integrity. */
int ice_lite_peek_ufrag(char *out, size_t cap, const uint8_t *dg, size_t len);

#endif
