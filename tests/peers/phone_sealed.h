/* SPDX-License-Identifier: Apache-2.0 */
/* Mode sealed on the simulated phone: its key pair, and the handoff object that a push brings for it. Thread: the
 * loop's. */
#ifndef TESTS_PEERS_PHONE_SEALED_H
#define TESTS_PEERS_PHONE_SEALED_H

#include "base/bytes.h"
#include "base/hpke.h"

#include <jansson.h>
#include <stdbool.h>

struct phone_sealed {
    bool can; /* the app lists the mode */
    uint8_t private_key[HPKE_KEY_BYTES];
    char public_key[B64_BYTES(HPKE_KEY_BYTES)]; /* base64url, for the registration; "" when it cannot */
};

/* handoff: the modes, "sealed,transfer". Returns 0 or E_CRYPTO. Wipe it by phone_sealed_wipe. */
int phone_sealed_init(struct phone_sealed *s, const char *handoff);
void phone_sealed_wipe(struct phone_sealed *s);
/* wakegate: the object of that name in the push. *handoff: json_decref it. Returns 0, E_NOTFOUND (the push has none, or
 * the app cannot use it), E_MALFORMED, E_AUTH (not for this device, this call, this key), E_NOMEM. */
int phone_sealed_open(json_t **handoff, const struct phone_sealed *s, const json_t *wakegate, const char *device);

#endif
