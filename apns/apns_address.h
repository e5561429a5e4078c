/* SPDX-License-Identifier: Apache-2.0 */
/* Which of the addresses behind a name to dial, and when: APNs takes rapid connects for an attack, so an address gets
 * at most one in a second; one that failed is left alone for a while; connections spread. Thread: one. */
#ifndef APNS_APNS_ADDRESS_H
#define APNS_APNS_ADDRESS_H

#include "base/addr.h"

#define APNS_ADDRESS_MAX     32    /* behind one name; APNs was seen with 8 */
#define APNS_ADDRESS_BAN_MS  5000  /* after a failure; doubles with each, */
#define APNS_ADDRESS_LAME_MS 60000 /* up to this */
/* Between two dials of one address. A second is what the far side is to see, and it counts from accept to accept: the
 * way there, rounding to milliseconds and a timer that fires a moment early take a few milliseconds off one gap. */
#define APNS_CONNECT_MIN_MS 1050

struct apns_address {
    struct addr addr;
    uint64_t dial_ms; /* of the latest dial, may be a moment ahead; 0: never */
    uint64_t banned_until_ms;
    unsigned failures;
};

/* Zeroed: nothing is known. */
struct apns_addresses {
    struct apns_address known[2 * APNS_ADDRESS_MAX]; /* names change what they stand for */
    unsigned count;
};

/* Choose from `list` (1..APNS_ADDRESS_MAX addresses); in_use[i]: connections of ours there already. *wait_ms: not
 * sooner than so many milliseconds from now; the dial is booked. Returns the index. */
unsigned apns_address_choose(struct apns_addresses *a, const struct addr *list, const unsigned *in_use, unsigned count,
                             uint64_t now_ms, uint64_t *wait_ms);
void apns_address_failed(struct apns_addresses *a, const struct addr *addr, uint64_t now_ms);
void apns_address_worked(struct apns_addresses *a, const struct addr *addr);

#endif
