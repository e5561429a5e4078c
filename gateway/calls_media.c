/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "dtls/dtls_session.h"
#include "gateway/calls_priv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVENTS_PER_WAKE   1024  /* then the loop gets its turn */
#define INTERFACES_OLD_MS 10000 /* a laptop changes networks */

/* Addresses for SDP */

static bool is_link_local(const struct addr *a) {
    return a->u.sa.sa_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&a->u.v6.sin6_addr);
}

static void add_candidate(struct calls *cs, const struct addr *a) {
    if (cs->candidate_count < CALL_CANDIDATES_MAX && addr_is_set(a) && !is_link_local(a))
        cs->candidates[cs->candidate_count++] = *a;
}

/* The machine's own addresses of one family. */
static void add_interfaces(struct calls *cs, const uv_interface_address_t *list, int count, int family, bool loopback) {
    struct addr a;
    for (int i = 0; i < count; i++) {
        addr_from_sockaddr(&a, (const struct sockaddr *)&list[i].address);
        if (a.u.sa.sa_family == family && !list[i].is_internal == !loopback)
            add_candidate(cs, &a);
    }
}

/* Bound to all addresses and nothing announced: what peers can reach, IPv4 first, loopback only when there is nothing
 * else. */
static void find_interfaces(struct calls *cs, int bound_family) {
    uv_interface_address_t *list = NULL;
    int count = 0;
    if (uv_interface_addresses(&list, &count) != 0)
        return;
    for (int loopback = 0; loopback < 2 && cs->candidate_count == 0; loopback++) {
        add_interfaces(cs, list, count, AF_INET, loopback);
        if (bound_family == AF_INET6)
            add_interfaces(cs, list, count, AF_INET6, loopback);
    }
    uv_free_interface_addresses(list, count);
}

static bool is_any(const struct addr *a) {
    return a->u.sa.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&a->u.v6.sin6_addr)
                                         : a->u.v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

static void refresh_candidates(struct calls *cs) {
    const struct config_media *m = &cs->d.config->media;
    struct addr a;
    uint64_t now_ms = clock_mono_ms();
    if (cs->candidate_count && now_ms - cs->candidates_ms < INTERFACES_OLD_MS)
        return;
    cs->candidates_ms = now_ms;
    cs->candidate_count = 0;
    for (unsigned i = 0; i < m->announce_count; i++)
        if (addr_parse(&a, m->announce[i], 0) == 0)
            add_candidate(cs, &a);
    if (cs->candidate_count || addr_parse(&a, m->address, 0) != 0)
        return;
    if (is_any(&a))
        find_interfaces(cs, a.u.sa.sa_family);
    else
        add_candidate(cs, &a);
}

/* Returns how many; each with the worker's port. */
static size_t candidates_of(struct calls *cs, unsigned worker, struct addr out[static CALL_CANDIDATES_MAX]) {
    refresh_candidates(cs);
    for (size_t i = 0; i < cs->candidate_count; i++) {
        out[i] = cs->candidates[i];
        addr_set_port(&out[i], media_port(cs->d.media, worker));
    }
    return cs->candidate_count;
}

/* Without a public URL phones dial the address that the API listens on. */
const char *calls_attach_url(struct calls *cs, char out[static PUSH_URL_BYTES]) {
    const struct config_listen *l = &cs->d.config->listen;
    char base[PUSH_URL_BYTES / 2], at[ADDR_STR_BYTES];
    if (l->public_url[0] && push_attach_url(out, l->public_url) == 0)
        return out;
    struct addr a = *http_address(cs->http);
    refresh_candidates(cs);
    if (is_any(&a) && cs->candidate_count) {
        uint16_t port = addr_port(&a);
        a = cs->candidates[0];
        addr_set_port(&a, port);
    }
    snprintf(base, sizeof base, "%s://%s", l->tls ? "https" : "http", addr_str(at, &a));
    push_attach_url(out, base);
    return out;
}

/* The far leg */

/* Without ICE there is one address: of the family that the caller named. */
static size_t only_of_family(struct addr *at, size_t count, const struct addr *caller) {
    for (size_t i = 0; i < count && addr_is_set(caller); i++) {
        if (at[i].u.sa.sa_family == caller->u.sa.sa_family) {
            at[0] = at[i];
            break;
        }
    }
    return count ? 1 : 0;
}

static void fill_far(struct media_far *far, const struct call *c) {
    memset(far, 0, sizeof *far);
    far->worker = c->worker;
    ice_lite_init(&far->ice);
    snprintf(far->ice.remote_ufrag, sizeof far->ice.remote_ufrag, "%s", c->offer->ice_ufrag);
    far->plain = !sdp_has_ice(c->offer);
    far->offered = c->offer->address;
    far->dtls_client = sdp_answer_setup(c->offer) == SDP_SETUP_ACTIVE;
    memcpy(far->fingerprints, c->offer->fingerprints, sizeof far->fingerprints);
    far->fingerprint_count = c->offer->fingerprint_count;
}

static int write_answer(struct buf *answer, struct call *c, const struct media_far *far, struct err_text *et) {
    struct addr at[CALL_CANDIDATES_MAX];
    struct calls *cs = c->owner;
    struct sdp_local l = {
        .candidates = at,
        .candidate_count = candidates_of(cs, c->worker, at),
        .ufrag = far->plain ? NULL : far->ice.ufrag,
        .pwd = far->plain ? NULL : far->ice.pwd,
        /* A UUID is as good as random, and stays the same for as long as the association does. */
        .tls_id = c->offer->tls_id[0] ? c->id : NULL,
        .fingerprint = media_fingerprint(cs->d.media, c->worker),
        .setup = sdp_answer_setup(c->offer),
        .trickle = c->offer->trickle,
        .codecs = (const char *const *)c->app->codecs,
        .codec_count = c->app->codecs_count,
        .session_id = clock_wall_us(),
    };
    if (l.candidate_count == 0)
        return err_say(et, E_STATE, "this machine has no address that a caller could reach; set media.announce");
    if (far->plain)
        l.candidate_count = only_of_family(at, l.candidate_count, &c->offer->address);
    return sdp_write_answer(answer, c->offer, &l, et);
}

int call_media_open(struct call *c, struct buf *answer, struct call_refusal *no) {
    struct calls *cs = c->owner;
    struct media_far far;
    struct err_text et = {""};
    c->worker = media_pick_worker(cs->d.media);
    fill_far(&far, c);
    int err = write_answer(answer, c, &far, &et);
    if (err == E_STATE)
        return call_refuse(no, 503, "no-media", NULL, "%s", et.s);
    if (err != 0)
        return call_refuse(no, 422, "bad-offer", "offer", "offer: %s", et.s);
    call_ringback(c, &far);
    err = media_open(cs->d.media, &far, &c->media);
    secret_wipe(&far, sizeof far);
    if (err != 0) {
        c->media = 0;
        return call_refuse(no, 503, "no-media", NULL, "no room for another call's media; try again later");
    }
    HASH_ADD(by_media, cs->by_media, media, sizeof c->media, c);
    return 0;
}

void call_near_wipe(struct call_near *n) {
    buf_wipe(&n->handoff);
    secret_wipe(&n->ice, sizeof n->ice);
    media_keys_wipe(&n->keys);
}

static int write_fragment(struct buf *out, struct call *c, const struct ice_lite *ice, struct err_text *et) {
    struct addr at[CALL_CANDIDATES_MAX];
    struct sdp_local l = {.candidates = at, .ufrag = ice->ufrag, .pwd = ice->pwd};
    l.candidate_count = candidates_of(c->owner, c->worker, at);
    if (l.candidate_count == 0)
        return err_say(et, E_STATE, "this machine has no address that a caller could reach; set media.announce");
    return sdp_write_fragment(out, c->offer, &l, et);
}

int call_ice_fragment(struct call *c, struct buf *out, struct err_text *et) {
    return write_fragment(out, c, &c->far_ice, et);
}

int call_ice_restart(struct call *c, const struct sdp *fragment, struct buf *out, struct err_text *et) {
    struct ice_lite ice = {.ufrag = ""};
    ice_lite_init(&ice);
    memcpy(ice.remote_ufrag, fragment->ice_ufrag, sizeof ice.remote_ufrag);
    int err = write_fragment(out, c, &ice, et);
    if (err == 0 && media_far_restart(c->owner->d.media, c->media, &ice) != 0)
        err = err_say(et, E_FULL, "the media plane has too much to do; try again later");
    if (err == 0) {
        c->far_ice = ice;
        c->ice_session++;
        memcpy(c->offer->ice_ufrag, fragment->ice_ufrag, sizeof c->offer->ice_ufrag);
        memcpy(c->offer->ice_pwd, fragment->ice_pwd, sizeof c->offer->ice_pwd);
        call_note(c, 0, "caller_ice_restart", NULL);
    }
    secret_wipe(&ice, sizeof ice);
    return err;
}

void call_media_close(struct call *c) {
    c->close_wanted = c->media && media_close(c->owner->d.media, c->media) == E_FULL;
    call_near_wipe(&c->near);
    for (unsigned i = 0; i < c->device_count; i++)
        call_sealed_drop(c, &c->devices[i]);
    secret_wipe(&c->far_ice, sizeof c->far_ice);
}

static void media_gone(struct call *c) {
    HASH_DELETE(by_media, c->owner->by_media, c);
    c->media = 0;
}

/* The near leg */

struct call_near *call_near_of(struct call *c, unsigned device) {
    return c->near.device == (int)device ? &c->near : c->devices[device].waiting;
}

int call_near_write(struct buf *out, struct call *c, const struct call_near *n, const struct rtp_streams *streams,
                    unsigned brief_codecs, struct err_text *et) {
    struct addr at[CALL_CANDIDATES_MAX];
    struct calls *cs = c->owner;
    struct handoff h = {
        .mode = n->mode,
        .offer = c->offer,
        .candidates = at,
        .candidate_count = candidates_of(cs, c->worker, at),
        .ice = &n->ice,
        .phone_ufrag = n->phone_ufrag,
        .fingerprint = media_call_fingerprint(cs->d.media, c->media),
        .keys = &n->keys,
        .streams = streams,
        .codecs = c->app->codecs,
        .codec_count = c->app->codecs_count,
        .brief_codecs = brief_codecs,
        .session_id = clock_wall_us(),
        .expires_at_ms = c->expires_ms,
    };
    return handoff_write(out, &h, et);
}

static void write_handoff(struct call *c, const struct rtp_streams *streams) {
    struct err_text et = {""};
    int err = call_near_write(&c->near.handoff, c, &c->near, streams, 0, &et);
    if (c->near.mode != MEDIA_MODE_SEALED) /* there, a push may have to bring them yet */
        media_keys_wipe(&c->near.keys);
    if (err != 0) {
        log_error("no handoff", log_s("call", c->id), log_s("detail", et.s));
        call_step(c, CALL_IN_MEDIA_FAILED, 0);
        return;
    }
    phone_tell_handoff(c);
}

static bool has_own_keys(enum media_mode mode) {
    return mode == MEDIA_MODE_SEALED || mode == MEDIA_MODE_SDES;
}

int call_near_open(struct call *c, struct call_near *n, bool waits) {
    struct media_near near;
    ice_lite_init(&n->ice);
    random_alnum(n->phone_ufrag, HANDOFF_UFRAG_BYTES - 1);
    memset(&near, 0, sizeof near);
    near.mode = n->mode;
    near.waits = waits;
    near.number = (unsigned)n->device;
    near.ice = n->ice;
    /* In mode dtls the phone may bring a fragment of its own in its SDP answer: any is taken, the password decides. */
    if (n->mode != MEDIA_MODE_DTLS)
        snprintf(near.ice.remote_ufrag, sizeof near.ice.remote_ufrag, "%s", n->phone_ufrag);
    if (has_own_keys(n->mode)) {
        media_keys_random(&n->keys, MEDIA_PROFILE_AES128_CM_SHA1_80);
        near.keys.profile = n->keys.profile;
        memcpy(near.keys.rx, n->keys.tx, sizeof near.keys.rx);
        memcpy(near.keys.tx, n->keys.rx, sizeof near.keys.tx);
    }
    int err = media_near_open(c->owner->d.media, c->media, &near);
    n->kept = waits || !c->owner->d.seal;
    if (err == 0)
        call_keep_near(c, &near);
    secret_wipe(&near, sizeof near);
    return err;
}

void call_hand_over(struct call *c, unsigned device) {
    struct call_near *n = &c->near;
    if (c->fsm.state == CALL_ENDED) /* by an action before this one */
        return;
    if (c->devices[device].waiting) {
        call_sealed_choose(c, &c->devices[device]);
        return;
    }
    n->device = (int)device;
    n->mode = c->devices[device].mode;
    if (call_near_open(c, n, false) != 0)
        call_step(c, CALL_IN_MEDIA_FAILED, 0);
    else if (n->mode != MEDIA_MODE_TRANSFER) /* there, the keys come with MEDIA_EV_KEYS */
        write_handoff(c, NULL);
}

int call_keys_taken(struct call *c, unsigned device) {
    struct call_near *n = call_near_of(c, device);
    /* In mode sealed they may have come by the push. */
    if (!n || !handoff_has_keys(n->mode) || (!n->told && n->mode != MEDIA_MODE_SEALED))
        return E_STATE;
    if (n->taken)
        return 0;
    n->taken = true;
    call_near_wipe(n);
    call_note_device(c, 0, "keys_taken", device);
    if (n->mode == MEDIA_MODE_TRANSFER && media_keys_taken(c->owner->d.media, c->media) == E_FULL)
        call_step(c, CALL_IN_MEDIA_FAILED, 0);
    return 0;
}

int call_near_sdp(struct call *c, unsigned device, const char *text, struct err_text *et) {
    struct call_near *n = &c->near;
    struct sdp *sdp = NULL;
    if (n->device != (int)device || n->mode != MEDIA_MODE_DTLS || c->media == 0)
        return err_say(et, E_STATE, "there is no handoff of mode dtls to be answered");
    if (n->answered_sdp)
        return 0;
    int err = sdp_parse(&sdp, text, strlen(text), et);
    if (err != 0)
        return err;
    if (sdp->fingerprint_count == 0)
        err = err_say(et, E_MALFORMED, "the answer has no a=fingerprint");
    else if (media_near_fingerprints(c->owner->d.media, c->media, sdp->fingerprints, sdp->fingerprint_count,
                                     sdp->setup == SDP_SETUP_PASSIVE) != 0)
        err = err_say(et, E_STATE, "the media of this call is gone");
    n->answered_sdp = err == 0;
    call_keep(c);
    sdp_free(sdp);
    return err;
}

/* Events */

static void on_far_dtls(struct call *c, const struct media_event *ev) {
    const struct media_profile_info *info = media_profile_info(ev->u.profile);
    c->profile = ev->u.profile;
    call_note(c, ev->at_us, "caller_dtls", json_pack("{s:s}", "profile", info ? info->sdes : ""));
    call_step(c, CALL_IN_FAR_UP, 0);
}

static void on_keys(struct call *c, const struct media_event *ev) {
    if (c->fsm.state == CALL_ENDED)
        return;
    c->near.keys = ev->u.keys.keys;
    write_handoff(c, &ev->u.keys.rx);
}

static void on_near_ice(struct call *c, const struct media_event *ev) {
    unsigned device = ev->u.path.number;
    const struct call_near *n = device < c->device_count ? call_near_of(c, device) : NULL;
    if (!n) /* of a phone that is out meanwhile */
        return;
    if (!ev->u.path.waited)
        call_note_device(c, ev->at_us, "phone_path", device);
    if (n == &c->near && n->mode != MEDIA_MODE_DTLS)
        call_step(c, CALL_IN_NEAR_UP, 0);
}

static void on_failed(struct call *c, const struct media_event *ev) {
    log_warn("media failed", log_s("call", c->id), log_s("leg", ev->u.failed.near ? "phone" : "caller"),
             log_s("error", err_str(ev->u.failed.err)));
    json_t *note =
        json_pack("{s:s,s:s}", "leg", ev->u.failed.near ? "phone" : "caller", "error", err_str(ev->u.failed.err));
    if (ev->u.failed.alert >= 0)
        json_object_set_new(note, "alert", json_string(dtls_alert_name(ev->u.failed.alert)));
    call_note(c, ev->at_us, "media_failed", note);
    call_step(c, CALL_IN_MEDIA_FAILED, 0);
}

static void on_closed(struct call *c, const struct media_event *ev) {
    c->stats = ev->u.stats;
    c->dirty = true;
    media_gone(c);
    api_calls_stats_known(c);
}

static void on_event(struct call *c, const struct media_event *ev) {
    switch (ev->kind) {
    case MEDIA_EV_FAR_ICE:
        call_note(c, ev->at_us, "caller_ice", NULL);
        break;
    case MEDIA_EV_FAR_ADDRESS:
        call_note(c, ev->at_us, "caller_address", NULL);
        break;
    case MEDIA_EV_FAR_DTLS:
        on_far_dtls(c, ev);
        break;
    case MEDIA_EV_RINGBACK:
        call_note(c, ev->at_us, "ringback",
                  json_pack("{s:s}", "codec", ringback_codec(media_ringback(c->owner->d.media))));
        break;
    case MEDIA_EV_KEYS:
        on_keys(c, ev);
        break;
    case MEDIA_EV_NEAR_ICE:
        on_near_ice(c, ev);
        break;
    case MEDIA_EV_NEAR_DTLS:
        call_note(c, ev->at_us, "phone_dtls", NULL);
        call_step(c, CALL_IN_NEAR_UP, 0);
        break;
    case MEDIA_EV_FIRST_TO_NEAR:
        call_note(c, ev->at_us, "first_packet_to_phone", NULL);
        call_step(c, CALL_IN_TO_NEAR, 0);
        break;
    case MEDIA_EV_FIRST_TO_FAR:
        call_note(c, ev->at_us, "first_packet_to_caller", NULL);
        call_step(c, CALL_IN_TO_FAR, 0);
        break;
    case MEDIA_EV_DATA:
        call_data_from_caller(c, ev->u.data.p, ev->u.data.len);
        break;
    case MEDIA_EV_PEER_CLOSED:
        call_step(c, ev->u.near ? CALL_IN_NEAR_HANGUP : CALL_IN_CALLER_HANGUP, 0);
        break;
    case MEDIA_EV_FAILED:
        on_failed(c, ev);
        break;
    case MEDIA_EV_STATS:
        c->stats = ev->u.stats;
        api_calls_stats_known(c);
        break;
    case MEDIA_EV_LEG_STATE:
        call_keep_leg(c, &ev->u.leg);
        break;
    case MEDIA_EV_CALL_STATE:
        call_keep_media(c, &ev->u.call);
        break;
    case MEDIA_EV_CLOSED:
        on_closed(c, ev);
        break;
    }
}

static void on_readable(uv_poll_t *h, int status, int events) {
    struct calls *cs = h->data;
    struct media_event ev;
    (void)status;
    (void)events;
    for (int i = 0; i < EVENTS_PER_WAKE && media_poll(cs->d.media, &ev) == 0; i++) {
        struct call *c;
        HASH_FIND(by_media, cs->by_media, &ev.id, sizeof ev.id, c);
        if (c)
            on_event(c, &ev);
        if (ev.kind == MEDIA_EV_KEYS || ev.kind == MEDIA_EV_LEG_STATE)
            secret_wipe(&ev, sizeof ev);
    }
}

int calls_media_start(struct calls *cs) {
    if (uv_poll_init(cs->d.loop, &cs->poll, media_fd(cs->d.media)) != 0)
        return E_IO;
    cs->poll.data = cs;
    cs->handles++;
    return uv_poll_start(&cs->poll, UV_READABLE, on_readable) == 0 ? 0 : E_IO;
}
