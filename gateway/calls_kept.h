/* SPDX-License-Identifier: Apache-2.0 */
/* What lies in the store of a live call, so that it goes on after a crash: shared by calls_keep.c, which writes it, and
 * calls_resume.c, which reads it. All is sealed, in parts:
 *
 *   call        struct kept_call: the state machine, its phones and their pushes
 *   offer       the caller's SDP
 *   media       struct media_call_state
 *   far, near   struct media_leg_state, and phone/N of a phone that rings with keys of its own
 *
 * A part is written whenever it changes, `call` in the transaction of the call's row, and all go with its end. They are
 * this program's structs as they are: another version, or another boot of the machine, whose monotonic clock they speak
 * of, does not go on with them. Thread: loop. */
#ifndef GATEWAY_CALLS_KEPT_H
#define GATEWAY_CALLS_KEPT_H

#include "gateway/calls_priv.h"

#define KEPT_CALL  "call"
#define KEPT_OFFER "offer"
#define KEPT_MEDIA "media"
#define KEPT_FAR   "far"
#define KEPT_NEAR  "near"

#define KEPT_PART_BYTES    20
#define KEPT_VERSION_BYTES 32
#define KEPT_BOOT_BYTES    37 /* a UUID */
#define KEPT_ABOUT_BYTES   (UUID_BYTES + KEPT_PART_BYTES + 16)

struct kept_near {
    int device;
    enum media_mode mode;
    char phone_ufrag[HANDOFF_UFRAG_BYTES];
    bool told, taken, answered_sdp, noted;
};

/* The rest is in its row of the ledger, which is written before it can leave and with each thing that is heard of it.
 */
struct kept_push {
    char id[UUID_BYTES];
    enum apns_push_type type;
    enum push_state state;
};

/* Its pushes follow. */
struct kept_device {
    char id[DEVICE_ID_BYTES];
    char app_version[DEVICE_VERSION_BYTES], os_version[DEVICE_VERSION_BYTES];
    enum media_mode mode;
    bool waits;
    struct kept_near waiting;
    unsigned push_count;
};

/* Its devices follow, and its timeline as JSON. */
struct kept_call {
    char version[KEPT_VERSION_BYTES];
    char boot[KEPT_BOOT_BYTES];
    size_t sizes[5];
    struct call_fsm fsm;
    char handle[PUSH_NAME_BYTES], name[PUSH_NAME_BYTES];
    bool video, ringback;
    uint64_t request_us, request_wall_us, created_ms, expires_ms, answered_ms;
    uint16_t port;
    char fingerprint[DTLS_FINGERPRINT_BYTES];
    char ice_ufrag[ICE_REMOTE_UFRAG_BYTES], ice_pwd[257]; /* the caller's present ones */
    unsigned ice_session;
    struct ice_lite far_ice;
    enum media_profile profile;
    struct kept_near near;
    unsigned device_count;
};

/* Version and boot. */
void kept_stamp(struct kept_call *k);
bool kept_stamp_is_ours(const struct kept_call *k);
/* "phone/N". Returns out. */
const char *kept_phone(char out[static KEPT_PART_BYTES], unsigned number);
/* What a part is sealed with: it is of one call, and is that part. Returns out. */
const char *kept_about(char out[static KEPT_ABOUT_BYTES], const char *call, const char *part);

#endif
