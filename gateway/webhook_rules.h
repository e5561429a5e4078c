/* SPDX-License-Identifier: Apache-2.0 */
/* Standard Webhooks (standardwebhooks.com, version 1): secrets, signatures, and when to try again. Thread: any. */
#ifndef GATEWAY_WEBHOOK_RULES_H
#define GATEWAY_WEBHOOK_RULES_H

#include "base/bytes.h"
#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define WEBHOOK_KEYS_MAX          4 /* a new one and those that receivers still know */
#define WEBHOOK_KEY_MIN_BYTES     24
#define WEBHOOK_KEY_MAX_BYTES     64
#define WEBHOOK_SIGNATURE_BYTES   (4 * (3 + B64_BYTES(32UL))) /* "v1,BASE64" and a blank, for each key */
#define WEBHOOK_RETRY_AFTER_MAX_S 86400 /* a receiver that wants more peace than that is asked sooner */

struct webhook_secret {
    uint8_t keys[WEBHOOK_KEYS_MAX][WEBHOOK_KEY_MAX_BYTES];
    size_t lens[WEBHOOK_KEYS_MAX];
    unsigned count;
};

/* file: a secret file of one `whsec_BASE64` a line, each of which signs. Returns 0, or E_IO, E_DENIED, E_INVAL with a
 * sentence; secret_wipe what was read when it is not needed any more. */
int webhook_secret_read(struct webhook_secret *s, const char *file, struct err_text *et);
int webhook_secret_parse(struct webhook_secret *s, const char *text, struct err_text *et);
/* The value of webhook-signature: "v1,BASE64" for each key, with blanks between them. Returns out. */
char *webhook_sign(char out[static WEBHOOK_SIGNATURE_BYTES], const struct webhook_secret *s, const char *id,
                   uint64_t timestamp_s, const char *body);

/* Milliseconds until the next attempt after so many failed ones (1..count): delays_s[attempts - 1] and up to a fifth
 * more, by jitter (0..UINT32_MAX); not before the receiver's Retry-After. */
uint64_t webhook_delay_ms(const unsigned *delays_s, unsigned attempts, uint64_t retry_after_s, uint32_t jitter);

#endif
