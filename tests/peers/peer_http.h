/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking HTTP client for simulated peers, on libcurl. Thread: any; each keeps a connection of its own open. */
#ifndef TESTS_PEERS_PEER_HTTP_H
#define TESTS_PEERS_PEER_HTTP_H

#include "base/err.h"

#include <jansson.h>

struct peer_http {
    char base[512]; /* "http://127.0.0.1:8080" */
    char token[128];
    const char *ca_file; /* PEM */
};

/* One request with a JSON body (NULL: none). *reply gets the answer's JSON (json_decref it), NULL when there is none.
 * Returns the HTTP status, or E_IO with a sentence. */
int peer_http_call(const struct peer_http *h, const char *method, const char *path, const json_t *body, json_t **reply,
                   struct err_text *et);
/* base: "http://HOST:PORT", a slash at its end is dropped; token_file holds an API token in its first line; ca_file is
 * kept by reference, NULL: the system's trust store. Returns 0, or E_INVAL, E_IO with a sentence. */
int peer_http_init(struct peer_http *h, const char *base, const char *token_file, const char *ca_file,
                   struct err_text *et);

#endif
