/* SPDX-License-Identifier: Apache-2.0 */
/* Reading JSON from the gateway and the simulator: what is missing or of another type reads as empty. Thread: any. */
#ifndef TESTS_PEERS_PEER_JSON_H
#define TESTS_PEERS_PEER_JSON_H

#include <jansson.h>

/* Borrowed from o; never NULL. */
static inline const char *peer_text(const json_t *o, const char *key) {
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "";
}

#endif
