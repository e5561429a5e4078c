/* SPDX-License-Identifier: Apache-2.0 */
/* Budgets for STUN checks. Whoever knows a leg's user fragment (it crosses the network in the clear) can make us
 * compute HMACs; whoever does not costs a look-up alone.
 *
 * A leg has two budgets, for addresses that are vouched for and for all others, so that strangers cannot use up the
 * former's. An agent begins at most one check in 5 ms (RFC 8445 14.2: Ta), 200 a second over all its candidates
 * together, and browsers one in 48 ms; twice that leaves room for each to be sent again. In the worst case that is 400
 * HMACs to check and as many to make, about a millisecond of CPU in a second for each leg and kind of address.
 *
 * A source (an IPv4 address, or the /64 of an IPv6 one) has a budget of failed checks, over all legs of the worker. A
 * good agent's checks do not fail, but for a few around an ICE restart. Without it, one host that knows the fragments
 * of many calls could spend all their budgets. It is asked only for legs at which 8 checks have failed already, and not
 * for addresses that are vouched for: so a forged source address cannot keep others' new calls from coming up.
 *
 * Thread: the worker's. No allocation after the start. */
#ifndef DTLS_STUN_BUDGET_H
#define DTLS_STUN_BUDGET_H

#include "base/budgets.h"

#include <stdbool.h>
#include <stdint.h>

#define STUN_LEG_CHECKS_PER_S   400
#define STUN_LEG_CHECKS_BURST   400 /* a second's worth at once */
#define STUN_LEG_FAILED_FREE    8
#define STUN_SOURCE_FAILS_PER_S 10
#define STUN_SOURCE_FAILS_BURST 50
#define STUN_SOURCES            4096 /* remembered (base/budgets.h) */

/* Of a leg; zeroed, it is full. */
struct stun_budget {
    struct token_bucket vouched, others;
    uint32_t failed;
};

/* s: the worker's sources, STUN_SOURCES of them. */

/* May a check from src be looked into? One that may is paid for. vouched: this leg knows src. */
bool stun_budget_take(struct stun_budget *b, struct budgets *s, const struct addr *src, bool vouched, uint64_t now_ms);
/* It was not authentic. */
void stun_budget_failed(struct stun_budget *b, struct budgets *s, const struct addr *src, uint64_t now_ms);

#endif
