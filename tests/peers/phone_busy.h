/* SPDX-License-Identifier: Apache-2.0 */
/* A push for another call while one is going on: its receipt (mustReport is false then) and `busy`, over a connection
 * of its own, which then closes. Thread: the loop's. */
#ifndef TESTS_PEERS_PHONE_BUSY_H
#define TESTS_PEERS_PHONE_BUSY_H

#include "tests/peers/peer_ws.h"
#include "tests/peers/phone.h"

struct phone_busy; /* in the list that it was put into, until its connection is closed */

void phone_busy_new(struct phone_busy **list, struct peer_net *net, const struct phone_config *cfg,
                    const json_t *payload);
/* Frees all of a list whose connections were closed without callbacks (peer_net_close). */
void phone_busy_free_all(struct phone_busy **list);

#endif
