/* SPDX-License-Identifier: Apache-2.0 */
/* The record layer of a DTLS 1.2 association after its handshake, without an SSL object (RFC 6347 4.1; AEAD as in RFC
 * 5246 6.2.3.3, RFC 5288, RFC 7905).
 *
 * Why: OpenSSL keeps 74 KB for each association, most of it for handshakes. A call that waits for its phone needs four
 * things of its association: read close_notify, send close_notify, pass application data, answer a repeated Finished.
 * All four are single records under keys that follow from the master secret, the two randoms and the suite, which
 * OpenSSL gives out; so the session takes these keys, proves them on a record that OpenSSL itself has sealed, and frees
 * the SSL object, and the master secret with it. What this layer does not know (CBC and CCM suites, another version)
 * stays with OpenSSL.
 *
 *   |type|version |epoch (16)|sequence number (48)    |length (16)|
 *   |explicit nonce (64), AES-GCM only |  ciphertext  |  tag (128) |
 *
 * Owner: embedded in its session. Thread: the session's. */
#ifndef DTLS_DTLS_RECORD_H
#define DTLS_DTLS_RECORD_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DTLS_RECORD_HEADER_BYTES   13
#define DTLS_RECORD_OVERHEAD_BYTES 37 /* at most: header, explicit nonce, tag */

/* Content types (RFC 5246 A.1). */
enum dtls_record_type {
    DTLS_RECORD_CCS = 20,
    DTLS_RECORD_ALERT = 21,
    DTLS_RECORD_HANDSHAKE = 22,
    DTLS_RECORD_DATA = 23
};

struct dtls_record_suite;

/* What one side protects with. */
struct dtls_record_keys {
    uint8_t key[32], iv[12];
};

struct dtls_record {
    const struct dtls_record_suite *suite; /* NULL: not taken */
    struct dtls_record_keys rx, tx;
    uint64_t tx_seq, tx_nonce;      /* of the next record */
    uint64_t tx_limit;              /* the first sequence number that must not be used */
    uint64_t rx_highest, rx_window; /* replays (RFC 6347 4.1.2.6): bit n is the record that is n below the highest */
};

/* The same as a value that another process can go on with. It holds keys. */
struct dtls_record_state {
    int cipher; /* OpenSSL's NID; 0: none */
    struct dtls_record_keys rx, tx;
    uint64_t tx_seq, tx_nonce, rx_highest, rx_window;
};

/* Bytes of the first record in p, header included; len when it is cut or no record. */
size_t dtls_record_length(const uint8_t *p, size_t len);

/* Take the keys over from a connected SSL, which must send nothing afterwards. sent: the last record that it sealed.
 * Returns 0, E_UNSUPPORTED when version or suite is none of ours, E_CRYPTO when the keys do not open that record. */
int dtls_record_take(struct dtls_record *r, const SSL *ssl, const uint8_t *sent, size_t sent_len);
void dtls_record_wipe(struct dtls_record *r);

/* What is sent from that state on begins with sequence number tx_seq: at `from`, which is not below r's own. Whoever
 * goes on with it may use none before its own reservation is safe, so its limit is tx_seq at first. */
void dtls_record_save(const struct dtls_record *r, struct dtls_record_state *state, uint64_t from);
/* Returns 0 or E_UNSUPPORTED. */
int dtls_record_restore(struct dtls_record *r, const struct dtls_record_state *state);

/* Seal one record into out. Returns its length, or E_FULL when cap is too small, E_CLOSED when the sequence numbers up
 * to the limit are used, E_CRYPTO. */
int dtls_record_seal(struct dtls_record *r, enum dtls_record_type type, const uint8_t *p, size_t len, uint8_t *out,
                     size_t cap);
/* Open one whole record, in place. *text points into it. Returns its length, or E_MALFORMED (another epoch or version,
 * too short), E_AUTH, E_CONFLICT (replayed, or too old to tell). */
int dtls_record_open(struct dtls_record *r, uint8_t *p, size_t len, const uint8_t **text);

#endif
