/* SPDX-License-Identifier: Apache-2.0 */
/* One DTLS-SRTP association (RFC 5763, 5764) without a socket: datagrams and time in, datagrams and events out. OpenSSL
 * does the handshake; afterwards the association needs half a kilobyte (dtls_record.h).
 * Owner: its leg. Thread: the leg's worker. */
#ifndef DTLS_DTLS_SESSION_H
#define DTLS_DTLS_SESSION_H

#include "dtls/dtls_guard.h"
#include "dtls/dtls_identity.h"
#include "dtls/dtls_record.h"
#include "dtls/media_keys.h"
#include "dtls/sdp.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_MTU_BYTES 1200

struct dtls_session;

struct dtls_ops {
    /* One datagram to the peer, at most DTLS_MTU_BYTES; valid until return. */
    void (*send)(const uint8_t *dg, size_t len, void *arg);
    /* Handshake done and fingerprint verified: the keys, to be copied; wiped after return. */
    void (*connected)(const struct media_keys *keys, void *arg);
    /* Application data, one datagram; valid until return. May be NULL. */
    void (*data)(const uint8_t *p, size_t len, void *arg);
    /* err 0: the peer sent close_notify; else E_AUTH (fingerprint), E_CRYPTO (alert, no common profile), E_TIMEOUT.
     * Comes once. */
    void (*closed)(int err, void *arg);
};
/* None of the callbacks may call back into the session; free it after the call that raised them has returned. */

/* The peer's certificate while it is judged. */
struct dtls_certificate;
/* RFC 8122 5: does it have one of these fingerprints? */
bool dtls_certificate_matches(const struct dtls_certificate *c, const struct sdp_fingerprint *fp, size_t count);

struct dtls_params {
    bool client; /* we send the ClientHello (a=setup:active) */
    const struct sdp_fingerprint
        *fingerprints; /* the peer's certificate must match one; copied. count 0: nothing matches */
    size_t fingerprint_count;
    /* Instead of fingerprints, for a server whose peer is not known by its address: is this somebody's certificate? */
    bool (*judge)(const struct dtls_certificate *c, void *arg);
    uint32_t rtt_ms; /* from ICE; 0: unknown. First retransmission after max(50 ms, 2 RTT), 100 ms when unknown, doubled
                        up to 2 s. Later flights go by what the handshake itself shows */
    unsigned unheard_max; /* give up when so many flights went out and nothing came: the address may be a stranger's.
                             0: no such limit. Until then flights are up to 4 s apart */
};

/* Returns 0, E_CRYPTO, E_NOMEM. A client sends its first flight from dtls_session_start. */
int dtls_session_new(struct dtls_session **sp, struct dtls_identity *id, const struct dtls_params *p,
                     const struct dtls_ops *ops, void *arg);
/* Sends close_notify when connected, wipes secrets. Returns NULL. */
struct dtls_session *dtls_session_free(struct dtls_session *s);
/* As dtls_session_free, but silent: when the keys were handed over, the peer must not be told that the association
 * ends. */
struct dtls_session *dtls_session_forget(struct dtls_session *s);
int dtls_session_start(struct dtls_session *s, uint64_t now_ms);
/* A server's first datagrams, when nothing vouches for `from`. Returns 1 when dg has the cookie: the handshake is under
 * way, by dtls_session_input from now on. Returns 0 when a HelloVerifyRequest was sent, which is never longer than dg,
 * or dg was no good: the session is as new, and can listen to anybody. E_CLOSED. */
int dtls_session_listen(struct dtls_session *s, struct dtls_guard *g, const struct addr *from, const uint8_t *dg,
                        size_t len, uint64_t now_ms);
/* A connected association as a value, for another process to go on with. It holds keys. */
#define DTLS_FLIGHT_BYTES 128 /* ChangeCipherSpec and Finished take 75 */
struct dtls_session_state {
    struct dtls_record_state record;
    bool server;
    uint8_t flight[DTLS_FLIGHT_BYTES]; /* its last one, which the peer may have lost */
    uint16_t flight_len;               /* bytes */
};
/* `ahead`: so many sequence numbers are left out, for this process to use meanwhile. Returns 0, or E_UNSUPPORTED when
 * OpenSSL has the association. */
int dtls_session_save(const struct dtls_session *s, struct dtls_session_state *state, uint64_t ahead);
/* Go on with it: connected, but it sends nothing until its limit is raised. Returns 0, E_UNSUPPORTED, E_NOMEM. */
int dtls_session_resume(struct dtls_session **sp, const struct dtls_session_state *state, const struct dtls_ops *ops,
                        void *arg);
/* The first sequence number that must not be used; none but OpenSSL's own at first. */
void dtls_session_limit(struct dtls_session *s, uint64_t limit);
/* How many may still be used. */
uint64_t dtls_session_left(const struct dtls_session *s);

/* What is raised from now on goes to other callbacks. May be called from within `connected`. */
void dtls_session_move(struct dtls_session *s, const struct dtls_ops *ops, void *arg);
/* Was it made with this identity? */
bool dtls_session_is_of(const struct dtls_session *s, const struct dtls_identity *id);
/* One datagram that came from the validated address. Returns 0 or E_CLOSED. */
int dtls_session_input(struct dtls_session *s, const uint8_t *dg, size_t len, uint64_t now_ms);
/* Retransmit what is due; call at least every 20 ms while handshaking. The handshake is given up 15 s after it began.
 */
void dtls_session_tick(struct dtls_session *s, uint64_t now_ms);
/* Send application data as one datagram. Returns 0, E_STATE before the handshake is done, E_FULL when it is empty or
 * its record would pass the MTU (some 40 bytes are the record's), E_CLOSED. */
int dtls_session_write(struct dtls_session *s, const uint8_t *p, size_t len);
bool dtls_session_connected(const struct dtls_session *s);
/* The last alert that the peer sent, as in RFC 5246 7.2; -1: none. */
int dtls_session_alert(const struct dtls_session *s);
/* "handshake failure"; "unknown" for a number that has no name. Static. */
const char *dtls_alert_name(int alert);

#endif
