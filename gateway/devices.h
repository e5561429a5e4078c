/* SPDX-License-Identifier: Apache-2.0 */
/* The registry of phones: in memory, written through to the store. Thread: loop. */
#ifndef GATEWAY_DEVICES_H
#define GATEWAY_DEVICES_H

#include "apns/apns.h"
#include "base/secret.h"
#include "config/config.h"
#include "dtls/media.h"
#include "gateway/health.h"

#include <stdbool.h>
#include <stdint.h>

#define DEVICE_ID_BYTES      129 /* device and user names: 1..128 characters and the NUL */
#define DEVICE_APP_BYTES     65
#define DEVICE_TENANT_BYTES  65
#define DEVICE_VERSION_BYTES 33
#define DEVICE_MODES_MAX     4
#define DEVICES_PER_USER_MAX 16 /* phones of one user that ring together */

enum device_ui { DEVICE_UI_CALLKIT, DEVICE_UI_LCK, DEVICE_UI_ALERT };

struct device {
    char id[DEVICE_ID_BYTES];
    char tenant[DEVICE_TENANT_BYTES];
    char user[DEVICE_ID_BYTES];
    char app[DEVICE_APP_BYTES];
    char token[APNS_TOKEN_MAX_CHARS + 1];       /* hex, as registered: PushKit's, for VoIP pushes */
    char alert_token[APNS_TOKEN_MAX_CHARS + 1]; /* hex: of the app's visible notifications; "" when not registered */
    bool sandbox;                               /* environment */
    enum device_ui ui;
    enum media_mode handoff[DEVICE_MODES_MAX];
    unsigned handoff_count;
    uint8_t sealing_key[32]; /* X25519 public key */
    bool has_sealing_key;
    char app_version[DEVICE_VERSION_BYTES], os_version[DEVICE_VERSION_BYTES];
    char secret_hash[SECRET_HASH_BYTES];
    enum health_cause health_cause;
    char health_reason[HEALTH_REASON_BYTES];           /* what is wrong, and the way back; "" when ok */
    uint64_t created_ms, updated_ms, token_updated_ms; /* Unix */
    uint64_t token_since_ms;                           /* Unix: when this very token came first */
    /* What APNs thinks of the token: */
    uint64_t token_accepted_ms;  /* Unix, of the first time since it is known; 0: never */
    bool token_refused;          /* since it was accepted last */
    uint64_t throttled_until_ms; /* Unix; no push before; not stored */
    uint64_t voip_ms;            /* Unix: of the latest VoIP push, as the ledger has it at start; 0: none is known */
};

const char *device_ui_name(enum device_ui ui);
const char *device_health_name(enum device_health h);
enum device_health device_health(const struct device *dev);
const char *media_mode_name(enum media_mode m);       /* "transfer", ... */
enum media_mode media_mode_by_name(const char *name); /* MEDIA_MODE_NONE when unknown */

struct devices;

/* NULL when unknown. The pointer lives until the next change of the registry. */
const struct device *devices_get(const struct devices *d, const char *tenant, const char *id);
/* A phone says its device and secret, and no tenant: the one device that both belong to, or NULL. Constant time for
 * each tenant that has a device of this id. */
const struct device *devices_by_secret(const struct devices *d, const char *id, const char *secret);
/* The phones of a user with this app, oldest first; of more than DEVICES_PER_USER_MAX the latest. Returns how many. */
size_t devices_of_user(const struct devices *d, const char *tenant, const char *user, const char *app,
                       const struct device *out[static DEVICES_PER_USER_MAX]);
/* Constant time. */
bool device_secret_ok(const struct device *dev, const char *secret);
/* What APNs said of the token that was registered at token_updated_ms; of an older one nothing is learned. Stored in
 * the background. */
struct device_verdict {
    const char *tenant, *id;
    uint64_t token_updated_ms;
    enum apns_verdict verdict;
    int status;
    const char *reason;
    uint64_t invalid_since_ms; /* of a 410; 0: unknown */
    bool sandbox;              /* the environment that answered */
    uint32_t retry_after_s;
};
void devices_token_verdict(struct devices *d, const struct device_verdict *v);
/* Rings to tokens that APNs took are kept apart from those to new and doubtful ones. */
enum apns_lane device_lane(const struct device *dev);

/* What the ledger says about a phone; stored in the background. Where APNs refuses the token, that stays. */
void devices_set_health(struct devices *d, const char *tenant, const char *id, const struct health *h);
/* A VoIP push leaves. */
void devices_note_voip(struct devices *d, const char *tenant, const char *id, uint64_t now_ms);
/* The phone told its system's version. */
void devices_set_os_version(struct devices *d, const char *tenant, const char *id, const char *os_version);

#endif
