/* SPDX-License-Identifier: Apache-2.0 */
/* The token clock of one key: which provider token a connection may use when. APNs refuses a token older than 60
 * minutes, and a new one on a connection that used another less than 20 minutes ago; so a connection starts on a token
 * of at most 30 minutes and changes when its token reaches 55, which is then at least 25 minutes later. At most one
 * token is minted in 25 minutes. Time comes in: monotonic for ages, Unix for what APNs reads. Thread: one. */
#ifndef APNS_APNS_TOKEN_H
#define APNS_APNS_TOKEN_H

#include "apns/apns_jwt.h"

#include <stdbool.h>

#define APNS_TOKEN_START_MAX_MS (30LL * 60 * 1000) /* a connection does not start on a token older than this */
#define APNS_TOKEN_SWITCH_MS    (55LL * 60 * 1000) /* and changes to another at this age */
#define APNS_TOKEN_FIRST_USE_MS (21LL * 60 * 1000) /* but not sooner than this after it began with the old one */
#define APNS_TOKEN_MINT_MS      (25LL * 60 * 1000) /* between two mints */
#define APNS_TOKEN_EXPORT_BYTES 384

struct apns_time {
    uint64_t mono_us; /* monotonic */
    uint64_t wall_ms; /* Unix */
};

struct apns_token;

/* What one connection has used; zeroed for a new connection. */
struct apns_token_use {
    uint64_t number; /* of the generation; 0: none yet */
    int64_t first_ms;
};

/* Takes its own reference to the key. The ids have 10 characters. Returns 0 or E_NOMEM. */
int apns_token_new(struct apns_token **tp, EVP_PKEY *key, const char *team_id, const char *key_id);
struct apns_token *apns_token_free(struct apns_token *t);
bool apns_token_is(const struct apns_token *t, EVP_PKEY *key, const char *team_id, const char *key_id);

/* The value of the authorization header for a request now on the connection of `use`; valid until the next call. NULL
 * when nothing can be signed. */
const char *apns_token_bearer(struct apns_token *t, struct apns_token_use *use, const struct apns_time *now);

/* APNs called the token of this use expired. Returns true when it cannot be by our monotonic clock: the system's time
 * is wrong, or was when it was minted. */
bool apns_token_expired(struct apns_token *t, const struct apns_token_use *use, const struct apns_time *now);

/* Age of what the use stands for, by the monotonic clock; 0 when there is none. */
int64_t apns_token_age_ms(const struct apns_token *t, const struct apns_token_use *use, const struct apns_time *now);
uint64_t apns_token_mints(const struct apns_token *t);

/* The current generation as a text, to be kept secret; "" when there is none. Returns its length. */
size_t apns_token_export(const struct apns_token *t, char out[static APNS_TOKEN_EXPORT_BYTES]);
/* Go on with an exported one: signature and ids are checked, an old one is taken as such. Returns 0, E_MALFORMED,
 * E_AUTH, E_EXPIRED, E_STATE (one has been minted already). */
int apns_token_import(struct apns_token *t, const char *p, size_t len, const struct apns_time *now);

#endif
