/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the live calls share. A call is a state machine (call_fsm) whose actions are carried out here.
 *
 *   calls.c        the table of calls, steps and their actions, time
 *   calls_create.c  a new call, from a request to its first push
 *   calls_push.c    pushes, their results
 *   calls_receipt.c  receipts, the ledger, also long after the call
 *   calls_health.c  what the ledger says of a phone, and what follows for its calls
 *   calls_media.c   far leg, near leg, events of the media plane
 *   calls_sealed.c  near legs of phones that ring with keys of their own
 *   calls_ringback.c  may the caller hear a ringback tone?
 *   calls_phone.c   connections of phones (wakegate.v1)
 *   calls_attach.c  a phone attaches, and hears what it missed
 *   calls_heard.c   what phones say about their calls
 *   calls_data.c   DTLS application data
 *   calls_store.c   rows, and what a restart finds
 *   calls_keep.c    what a call needs to go on after a crash
 *   calls_resume.c  going on with it
 *   idempotency.c   keys that make a repeated request harmless
 *   call_json.c     the resource documents
 *   api_create.c    a new call over HTTP, up to its 201
 *   api_calls.c     REST: calls
 *   api_calls_phone.c  REST: a call, for the phone that it rang
 *   api_whip.c      WHIP: calls
 *   api_receipts.c  REST: receipts
 */
#ifndef GATEWAY_CALLS_PRIV_H
#define GATEWAY_CALLS_PRIV_H

#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/slots.h"
#include "gateway/attach.h"
#include "gateway/call_fsm.h"
#include "gateway/calls.h"
#include "gateway/handoff.h"
#include "gateway/ledger.h"
#include "gateway/push.h"

#include <uthash.h>

#define CALL_LINGER_MS      120000 /* a late waker is told the truth for so long */
#define CALLS_SWEEP_MS      50     /* how late a ring's end may be noticed */
#define CALL_CANDIDATES_MAX 8      /* addresses in an SDP: a few interfaces, both families */
#define CALL_PUSHES_MAX     3      /* to one phone: a VoIP push, the one that repeats it, an alert */
#define CALL_TIMELINE_MAX   256    /* events kept of a call; a healthy one has about 20 */
#define IDEMPOTENCY_MS      (24ULL * 3600 * 1000)
#define IDEMPOTENCY_MAX     500000 /* keys in memory, some 2 KiB each with their answer */
#define DEVICE_KEY_BYTES    (DEVICE_TENANT_BYTES + DEVICE_ID_BYTES)
/* A message around a handoff: names of PUSH_NAME_BYTES may be escaped to six times their length. A buffer that grew
 * would leave pieces of keys behind in freed memory. */
#define MESSAGE_RESERVE_BYTES 4096
#define CALL_STATS_WAITING                                                                                             \
    4 /* GETs of one call that wait for its worker's figures; a fifth gets the last known ones                         \
       */

enum push_state {
    PUSH_NONE,
    PUSH_QUEUED,
    PUSH_ACCEPTED,
    PUSH_REJECTED, /* by APNs */
    PUSH_FAILED,   /* no answer, or it could not be made */
    PUSH_EXPIRED,
    PUSH_WITHDRAWN
};

struct call;

/* How the media comes to a phone. The call has one for the phone that gets it; a phone that rings with keys of its own
 * (mode sealed) has one that waits. */
struct call_near {
    int device; /* -1: nobody yet */
    enum media_mode mode;
    struct ice_lite ice;
    struct media_keys keys; /* as the phone sees them; sealed: kept for a push until it took them */
    char phone_ufrag[HANDOFF_UFRAG_BYTES];
    struct buf handoff; /* the object when it is ready (sealed: when the phone is here); may hold keys until `taken` */
    bool told, taken, answered_sdp;
    bool noted; /* in the timeline */
    bool kept;  /* a crash finds it, or nothing is kept: before that the phone is not told of it */
};

struct call_device;

/* One push to a phone, which has one row of the ledger. */
struct call_push {
    struct call_device *device;
    char id[UUID_BYTES];
    enum apns_push_type type; /* VoIP or alert */
    enum push_state state;
    struct ledger ledger;
    apns_push_id queued;
    char token_hash[SECRET_HASH_BYTES]; /* of the push's attach token; "" before there is one */
    UT_hash_handle by_token;
};

/* One phone of a call. */
struct call_device {
    struct call *call;
    unsigned index;
    char id[DEVICE_ID_BYTES];
    char app_version[DEVICE_VERSION_BYTES], os_version[DEVICE_VERSION_BYTES];
    enum media_mode mode;
    struct call_near *waiting; /* mode sealed, until it is chosen or out; else NULL */
    struct call_push pushes[CALL_PUSHES_MAX];
    unsigned push_count;                /* 0 over the connection */
    struct apns_credential *credential; /* NULL: there is none, or it is retired and the call needs it no more */
    ws_id ws;                           /* the connection that this leg is told over; 0: none */
    bool joining;                       /* the `call` message is being made, and takes the handoff with it */
    bool call_waits;                    /* the `call` message waits until the handoff in it is kept */
    bool over_told;                     /* the phone knows that it is out, for all that is known here */
    struct call_device *prev, *next;    /* in device_calls.list */
};

/* The calls that a device has a leg in, ended ones included while they are in memory. */
struct device_calls {
    char key[DEVICE_KEY_BYTES];
    struct call_device *list;
    UT_hash_handle hh;
};

struct call {
    struct calls *owner;
    slot_id slot;
    char id[UUID_BYTES];
    char tenant[DEVICE_TENANT_BYTES], callee[DEVICE_ID_BYTES];
    char handle[PUSH_NAME_BYTES], name[PUSH_NAME_BYTES];
    bool video, started;
    const struct config *config;      /* a reference: the call keeps to what it began with */
    const struct config_route *route; /* of it, and so is the app */
    const struct config_app *app;
    json_t *data;
    struct call_fsm fsm;
    struct call_device *devices;
    unsigned device_count;

    uint64_t request_us;                                                     /* monotonic */
    uint64_t request_wall_us, created_ms, expires_ms, answered_ms, ended_ms; /* Unix */
    json_t *timeline;

    media_id media; /* 0: none, or given back */
    unsigned worker;
    bool close_wanted;          /* the worker's queue was full when the media was to be given back */
    struct sdp *offer;          /* its ICE credentials are the caller's present ones */
    unsigned ice_session;       /* 1, and one more with each ICE restart */
    struct ice_lite far_ice;    /* ours, since the first restart */
    enum media_profile profile; /* of the far leg, once its handshake is done */
    bool ringback;              /* the caller hears a tone while it rings: its keys are the gateway's for good */
    struct call_near near;
    struct media_call_stats stats;
    struct buf kept_data; /* of the caller, for a phone that is not here yet */
    unsigned lost_data;   /* datagrams for which it had no room */

    bool resumed;     /* it began in a process that is gone */
    char *offer_text; /* until it is kept for a crash */
    bool keeping;     /* in calls.to_keep */
    bool near_new;    /* its near leg is to be kept at once, and told then */
    struct call *keep_prev, *keep_next;

    bool dirty;      /* the stored document is behind */
    bool behind;     /* the store refused a row: all of them are written again */
    unsigned writes; /* rows on their way to the store */
    http_id stats_waiting[CALL_STATS_WAITING];
    unsigned stats_waiting_count;

    struct call *prev, *next; /* in calls.live or calls.ended */
    UT_hash_handle hh, by_media;
};

/* Close codes (RFC 6455 7.4.2: 4000-4999 are ours). After 4401, 4403 and 4409 an app does not come again by itself. */
enum {
    PHONE_CLOSE_POLICY = 1008,
    PHONE_CLOSE_UNAUTHORIZED = 4401,
    PHONE_CLOSE_REVOKED = 4403,
    PHONE_CLOSE_NO_HELLO = 4408,
    PHONE_CLOSE_REPLACED = 4409,
    PHONE_CLOSE_CALL_OVER = 4410,
    PHONE_CLOSE_TOO_MANY = 4429
};

/* A phone's connection. */
struct phone {
    ws_id ws;
    struct addr peer;
    bool hello, whole; /* whole: by device secret, good for all calls of the device; else for `call` alone */
    char tenant[DEVICE_TENANT_BYTES], device[DEVICE_ID_BYTES];
    char key[DEVICE_KEY_BYTES];
    slot_id call;             /* by attach token */
    bool foreground, on_call; /* as it last said */
    unsigned errors;
    uint64_t opened_ms;
    UT_hash_handle hh, by_device; /* by_device: whole ones */
};

struct idempotency {
    char *key; /* tenant, newline, key */
    char body_hash[SECRET_HASH_BYTES], call[UUID_BYTES];
    char *response; /* of the 201; NULL until the call is stored */
    uint64_t created_ms;
    http_id *waiting; /* the same request again, before the first one was answered */
    size_t waiting_count;
    UT_hash_handle hh;
};

/* Of a push on its way; outlives its call, and the calls too. */
struct push_ctx {
    struct calls *calls; /* NULL when they are gone */
    slot_id call;
    unsigned device, push;
    uint64_t token_updated_ms; /* of the device when it was sent */
    struct push_ctx *prev, *next;
};

struct calls {
    struct calls_deps d;
    struct http *http;
    struct slots *slots; /* struct call */
    struct call *by_id, *by_media, *live, *ended;
    struct call_push *by_token;
    struct late_receipt *late;
    struct device_calls *by_device;
    struct phone *phones, *phones_by_device;
    struct idempotency *keys;
    struct push_ctx *pushes;
    size_t live_count, live_max, attached_count;
    uint64_t slow_ms; /* when the slow part of the sweep ran last */
    bool draining, closing, done_told;
    unsigned writes, handles; /* store operations and libuv handles that calls_close waits for */
    void (*done)(void *arg);
    void *done_arg;
    uv_poll_t poll;
    uv_timer_t sweep;
    uv_prepare_t keep;                           /* runs while there is something to keep */
    struct call *to_keep;                        /* their part `call` is behind */
    struct kept *kept;                           /* of calls that may go on, while the store is loaded */
    struct addr candidates[CALL_CANDIDATES_MAX]; /* without ports */
    size_t candidate_count;
    uint64_t candidates_ms;
    struct metric *m_live, *m_attached, *m_answer, *m_pushed, *m_requests, *m_resumed;
};

/* calls.c */
struct call *calls_get(const struct calls *cs, slot_id slot);
struct call *calls_find(const struct calls *cs, const char *tenant, const char *id); /* tenant NULL: any */
/* id: of a call that goes on; NULL: a new one. */
struct call *calls_add(struct calls *cs, const char *id);
void calls_remove(struct call *c);
/* c->devices is complete: make it found by device. Returns 0 or E_NOMEM. */
int calls_index_devices(struct call *c);
/* The legs of a device, the latest call first; NULL: none. */
struct call_device *calls_of_device(const struct calls *cs, const char *tenant, const char *device);
/* "tenant/device": a tenant has no slash. Returns out. */
char *calls_device_key(char out[static DEVICE_KEY_BYTES], const char *tenant, const char *device);
/* Feed the state machine and carry out what it says. Returns 0 or E_STATE. The call stays valid. */
int call_step(struct call *c, enum call_input_kind kind, unsigned device);
/* Add an event at a monotonic time (0: now). fields is stolen; NULL: none. */
void call_note(struct call *c, uint64_t at_us, const char *event, json_t *fields);
void call_note_device(struct call *c, uint64_t at_us, const char *event, unsigned device);
uint64_t call_wall_ms(const struct call *c, uint64_t mono_us); /* 0 stays 0 */
int call_device_by_id(const struct call *c, const char *device);

/* A store operation or a handle has ended: calls_close may be done. */
void calls_close_when_stored(struct calls *cs);

/* calls_create.c */
struct call_request {
    const char *callee, *handle, *name, *offer, *tenant;
    const json_t *caller, *data;
    bool video, video_by_offer; /* the latter: the offer says whether there is video */
    int unreadable_status;      /* of the refusal of an offer that is no SDP: 422 in JSON, 400 alone (RFC 9725 4.2) */
    long long ring_timeout_s;
    uint64_t received_us;
};
struct call_refusal {
    int status;
    const char *type, *field; /* field: NULL when none */
    struct err_text detail;
};
/* Say why not. Returns E_DENIED. */
int call_refuse(struct call_refusal *no, int status, const char *type, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* A new call, not stored and not started. answer gets the SDP answer when there was an offer. */
int call_create(struct call **cp, struct calls *cs, const struct call_request *rq, struct buf *answer,
                struct call_refusal *no);
/* It is stored: ring the phones. */
void call_start(struct call *c);
void call_join(struct call *c, unsigned device);

/* calls_push.c */
/* Send one more push, of type APNS_TYPE_VOIP or APNS_TYPE_ALERT. */
void call_push(struct call *c, unsigned device, enum apns_push_type type);
/* The push that will be sent first has its id from the beginning. */
struct call_push *call_push_new(struct call_device *d, enum apns_push_type type);
/* NULL when it is none of this phone's. id in either case. */
struct call_push *call_push_by_id(struct call_device *d, const char *id);
void call_withdraw(struct call *c, unsigned device);
/* Rows for the pushes that the call was made with, in the transaction that stores it: whatever cuts the gateway off, a
 * push that left has its row, and its receipt counts. call_store follows. */
void call_pushes_plan(struct call *c);
/* The call has ended: what never left stays so, and its row says it. */
void call_pushes_give_up(struct call *c);
/* The attach tokens of this phone's pushes open nothing any more. */
void call_forget_tokens(struct call_device *d);
const char *push_state_name(enum push_state s);

/* calls_receipt.c */
/* Returns 0, or E_NOTFOUND when the push is none of this phone. */
int call_receipt(struct call *c, unsigned device, const struct receipt *r);
/* The event of an outcome; to be called before the row is written. */
void calls_tell_outcome(struct calls *cs, const struct push_row *row);
/* A receipt for a call that is not in memory any more. bearer: the device's secret or the push's attach token, or NULL
 * when device and tenant are proved already. cb gets 0 when the row is durable, E_NOTFOUND when the store has no such
 * push of that bearer, E_FULL when too many wait, E_IO, E_NOMEM; it may come from inside. cb may be NULL. */
struct receipt_owner {
    const char *bearer, *tenant, *device;
};
void calls_late_receipt(struct calls *cs, const struct receipt *r, const struct receipt_owner *o, store_done_cb cb,
                        void *arg);
/* Is it the hash of the row's device's secret, or of its attach token? */
bool calls_row_is_of(const struct calls *cs, const struct push_row *row, const char *bearer_hash);
void call_ledger_tick(struct call *c, uint64_t wall_ms);
bool call_ledger_open(const struct call *c);

/* calls_health.c */
/* Ask the ledger how the device is, by the rules of a route (NULL: of the one that takes calls to it), and note what it
 * says. */
void calls_health_review(struct calls *cs, const char *tenant, const char *device,
                         const struct config_must_report *rules);
/* An outcome, or a first receipt: is it worth a review? */
void call_health_heard(struct call *c, const struct call_device *d, const struct ledger *l);
/* How the state machine is to call this phone. */
enum call_way call_way_to(const struct call *c, const struct call_device *d, bool *suspect);
/* A phone is not heard of: its receipt is overdue; its call takes the second path. The latter is what a call server
 * that is told of events hears of. */
void call_note_overdue(struct call *c, unsigned device);
void call_note_second_path(struct call *c, unsigned device);

/* calls_media.c */
int calls_media_start(struct calls *cs);
int call_media_open(struct call *c, struct buf *answer, struct call_refusal *no);
/* The caller restarts ICE (RFC 8445 9) with the fragment's credentials: new ones of ours, written to out as a fragment.
 * Returns 0, or E_FULL, E_STATE, E_NOMEM with a sentence; nothing has changed then. */
int call_ice_restart(struct call *c, const struct sdp *fragment, struct buf *out, struct err_text *et);
/* The fragment of the last restart again. Returns as call_ice_restart. */
int call_ice_fragment(struct call *c, struct buf *out, struct err_text *et);
void call_hand_over(struct call *c, unsigned device);
void call_media_close(struct call *c);
/* How the media comes, or would come, to this phone; NULL: it does not. */
struct call_near *call_near_of(struct call *c, unsigned device);
/* Make ICE credentials, and keys where the near leg has its own, and open the leg at the worker. Returns 0, E_FULL. */
int call_near_open(struct call *c, struct call_near *n, bool waits);
/* Write n's handoff object. streams: mode transfer; brief_codecs: as in sdp_local. Returns 0, or E_* with a sentence.
 */
int call_near_write(struct buf *out, struct call *c, const struct call_near *n, const struct rtp_streams *streams,
                    unsigned brief_codecs, struct err_text *et);
/* What is left of its secrets here goes. */
void call_near_wipe(struct call_near *n);
/* The phone took the keys: what is left of them here is wiped. Returns 0 or E_STATE. */
int call_keys_taken(struct call *c, unsigned device);
/* The phone's SDP of mode dtls. E_STATE: there is nothing to answer; E_MALFORMED, E_UNSUPPORTED with a sentence. */
int call_near_sdp(struct call *c, unsigned device, const char *sdp, struct err_text *et);
const char *calls_attach_url(struct calls *cs, char out[static PUSH_URL_BYTES]);

/* calls_sealed.c */
/* Before the first push: each phone in mode sealed gets its keys, and its leg waits for it. */
void call_sealed_open(struct call *c);
/* The value of `sealed` in a push, where its phone is to have one: as long as there is room beside the rest. *text:
 * free() it, NULL: none. A phone that cannot have it falls to its next mode. */
void call_sealed_text(char **text, struct call *c, struct call_device *d, const struct push_content *beside);
/* Before the phone is told of the call or of its media: write the object, where there is none yet. */
void call_sealed_write(struct call *c, struct call_near *n);
/* This phone, which waits, gets the media. */
void call_sealed_choose(struct call *c, struct call_device *d);
/* It is out of the call: its keys go. */
void call_sealed_drop(struct call *c, struct call_device *d);
/* calls_ringback.c */
/* Whether the caller hears the ringback tone; if not, although there is one, the timeline says why. */
void call_ringback(struct call *c, struct media_far *far);

/* calls_phone.c */
/* The device is attached and in the foreground, or on a call: a call reaches it without a push. NULL: it is not. */
struct phone *phone_awake(const struct calls *cs, const char *tenant, const char *device);
void phone_known(const struct calls *cs, const char *tenant, const char *device, struct ledger_known *known);
void phone_note_state(struct calls *cs, const char *tenant, const char *device, const char *app_state, int on_call);
/* NULL: no such connection; of the device's own one, by its secret: it is not attached by that. */
struct phone *phone_by_ws(const struct calls *cs, ws_id ws);
struct phone *phone_whole(const struct calls *cs, const char *tenant, const char *device);
/* Queue a message; b is wiped. ws 0 is nobody. */
void phone_send(struct calls *cs, ws_id ws, struct buf *b);
/* Refuse a message; after too many of these the connection is closed. */
void phone_send_error(struct calls *cs, struct phone *p, const char *code, const char *detail);
/* Say why, and close: error is the message's code and the close frame's reason. The phone stays in the table until its
 * connection is closed, but nothing that it says comes in any more. */
void phone_close(struct calls *cs, ws_id ws, int code, const char *error, const char *detail);
/* What p's device was told of an end over this connection (0: over any), and may not have got, is told again when it
 * attaches. To be called before anything more is sent there. */
void phone_recall(struct calls *cs, const struct phone *p, ws_id ws);
/* Calls for the device as a whole go to this connection no more. */
void phone_leave_whole(struct calls *cs, struct phone *p);
/* So many phones more are attached. */
void phones_count(struct calls *cs, int by);
/* The handoff's message has left, or is on its way inside `call`. */
void phone_note_handoff(struct call *c);
/* `answered_elsewhere`, or `ended` with the reason. */
void phone_write_over(struct buf *b, const struct call *c, enum call_reason reason);
void phone_tell_handoff(struct call *c);
void phone_tell_over(struct call *c, unsigned device, enum call_reason reason);
void phones_sweep(struct calls *cs, uint64_t now_ms);
void phones_free(struct calls *cs);

/* calls_attach.c */
/* The first message: who is it? It is told of its calls, or turned away. */
void phone_hello(struct calls *cs, struct phone *p, const struct attach_msg *m);
/* A call rings at a phone that is attached, or goes on there. */
void phone_join(struct phone *p, struct call *c, unsigned device);
/* The message `call`, with the handoff where there is one; that may have to be kept first, and takes the message along.
 */
void phone_tell_call(struct call *c, unsigned device);

/* calls_heard.c */
/* A message about a call, of a phone that has attached. */
void phone_heard(struct calls *cs, struct phone *p, const struct attach_msg *m);

/* calls_data.c */
void call_data_from_caller(struct call *c, const uint8_t *p, size_t len);
/* The phone that gets the media is here: it gets what was kept for it. */
void call_data_flush(struct call *c);
/* Returns 0, E_NOTFOUND when this connection has no call whose caller could take it, E_INVAL for a bad length. */
int call_data_from_phone(struct calls *cs, const struct phone *p, const uint8_t *data, size_t len);

/* calls_store.c */
/* Write the call as it is. cb may be NULL; it comes when the row is durable, or with the store's error. */
void call_store(struct call *c, const struct idempotency_row *idem, store_done_cb cb, void *arg);
/* The push's row; its texts are the call's. */
struct push_row call_push_row(const struct call *c, const struct call_push *p);
void call_store_push(struct call *c, const struct call_push *p, store_done_cb cb, void *arg);
/* Write what the store does not have yet, unless something of it is on its way. */
void call_store_rest(struct call *c);
/* The same for a part that is kept for a crash; row NULL: there was no memory for it. */
void call_submit_kept(struct call *c, const struct kept_row *row, bool late, store_done_cb cb, void *arg);
/* The store has all there is to know. */
bool call_is_stored(const struct call *c);

/* calls_keep.c; all do nothing without a seal */
/* Its part `call` has changed. */
void call_keep(struct call *c);
/* In the transaction of the row that is about to be written: the part, or, of a call that has ended, nothing any more.
 */
void call_keep_along(struct call *c);
void call_keep_done(struct call *c);
void calls_on_keep(uv_prepare_t *prepare);
void call_keep_offer(struct call *c, const char *offer);
void call_keep_forget_offer(struct call *c);
void call_keep_near(struct call *c, const struct media_near *near);
void call_keep_leg(struct call *c, const struct media_leg_state *leg);
void call_keep_media(struct call *c, const struct media_call_state *state);
/* calls_resume.c */
/* Go on with a call that was live. Returns 0, or E_* with a sentence: nothing is left of it then. */
int calls_resume(struct calls *cs, const struct call_row *row, struct err_text *et);
/* What the ledger knows of one of its pushes. */
void call_resume_push(struct call *c, const struct push_row *row);

/* idempotency.c */
struct idempotency *idempotency_find(const struct calls *cs, const char *tenant, const char *key);
struct idempotency *idempotency_add(struct calls *cs, const char *tenant, const char *key);
/* One more request waits for the first one's answer. Returns 0 or E_NOMEM. */
int idempotency_wait(struct idempotency *i, http_id id);
void idempotency_remove(struct calls *cs, struct idempotency *i);
void idempotency_sweep(struct calls *cs, uint64_t wall_ms);
void idempotency_free(struct calls *cs);

/* call_json.c */
json_t *call_json(const struct call *c);
json_t *call_json_created(const struct call *c, const char *answer);
/* What a phone may see of a call's document: its own leg, and no other device's name. call is changed and returned. */
json_t *call_json_for_phone(json_t *call, const char *device);

/* api_create.c */
/* How the caller is told of its new call. */
struct call_created {
    char *(*body)(const struct call *c, const char *answer); /* of the 201, malloc'd; NULL: no memory */
    void (*reply)(struct calls *cs, http_id id, const char *call, const char *body);
};
/* Create, store and start a call, and reply. same: two requests are one when this text and the Idempotency-Key are. */
void api_create(struct calls *cs, const struct http_request *r, const struct call_request *rq, const char *same,
                const struct call_created *how);

/* api_calls.c */
/* End the call as DELETE does; the reply has this status, and comes when the end is stored. */
void api_end_call(struct call *c, http_id id, int status);
/* 404: no such call, or it is not for whoever asks. */
void api_no_call(struct calls *cs, http_id id);
/* The worker's figures are here: reply to the GETs that waited for them. */
void api_calls_stats_known(struct call *c);

/* api_receipts.c */
void api_receipt_post(const struct http_request *r, void *arg);
/* Is the bearer the device's secret, or the attach token of this very push? */
bool api_is_phone(const struct calls *cs, const struct call_push *push, const char *bearer);

/* api_calls_phone.c */
/* The phone of this call whose device secret, or attach token of a push of this call, the bearer is; NULL: none's. */
const struct call_device *api_phone_of_call(const struct calls *cs, const struct call *c, const char *bearer);
void api_call_for_phone(struct calls *cs, const struct http_request *r);

#endif
