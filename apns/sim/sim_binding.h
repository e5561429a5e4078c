/* SPDX-License-Identifier: Apache-2.0 */
/* Key scopes, and what a connection is bound to by its first push. Thread: the loop's. */
#ifndef APNS_SIM_SIM_BINDING_H
#define APNS_SIM_SIM_BINDING_H

#include "apns/sim/sim_priv.h"

/* NULL when a token of this key (index in cfg.keys) is in its place, else the reason of the 403. Binds a connection
 * that is not bound yet. */
const char *sim_binding_key(const struct sim *s, struct sim_provider *p, unsigned key);
/* False when the bundle id (index in cfg.bundles) is outside of what key and connection may send to. */
bool sim_binding_bundle(const struct sim *s, const struct sim_provider *p, unsigned bundle);

#endif
