/* SPDX-License-Identifier: Apache-2.0 */
/* A blocking HTTP client for simulated peers, on libcurl. Thread: one. */
#ifndef TESTS_PEERS_PEER_HTTP_H
#define TESTS_PEERS_PEER_HTTP_H

#include "base/err.h"

#include <jansson.h>

struct peer_http {
    char base[512]; /* "http://127.0.0.1:8080" */
    char token[128];
    const char *ca_file; /* PEM; NULL: the system's trust store */
};

/* One request with a JSON body (NULL: none). *reply gets the answer's JSON (json_decref it), NULL when there is none.
 * Returns the HTTP status, or E_IO with a sentence. */
int peer_http_call(const struct peer_http *h, const char *method, const char *path, const json_t *body, json_t **reply,
                   struct err_text *et);
/* Reads an API token from a file, without the line's end. */
int peer_http_token_file(struct peer_http *h, const char *path, struct err_text *et);

#endif
