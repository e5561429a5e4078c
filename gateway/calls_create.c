/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"
#include "gateway/calls_priv.h"
#include "gateway/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int call_refuse(struct call_refusal *no, int status, const char *type, const char *field, const char *fmt, ...) {
    va_list ap;
    no->status = status;
    no->type = type;
    no->field = field;
    va_start(ap, fmt);
    vsnprintf(no->detail.s, sizeof no->detail.s, fmt, ap);
    va_end(ap);
    return E_DENIED;
}

/* Can this gateway take any call at the moment? */
static int check_gateway(const struct calls *cs, struct call_refusal *no) {
    if (cs->draining)
        return call_refuse(no, 503, "draining", NULL, "this gateway is going down and takes no new calls");
    if (!store_ok(cs->d.store))
        return call_refuse(no, 503, "store", NULL,
                           "the database takes no writes: its disk is full, or read-only (the log says which); "
                           "calls go on, and new ones are taken as soon as there is room");
    if (cs->live_count >= cs->live_max)
        return call_refuse(no, 503, "full", NULL, "%zu calls are live, and media.calls_max allows no more",
                           cs->live_count);
    return 0;
}

static int choose_route(struct call *c, const struct call_request *rq, struct call_refusal *no) {
    const struct config *cfg = c->config = config_ref(c->owner->d.config);
    struct config_query q = {.callee = rq->callee, .caller = rq->handle, .tenant = rq->tenant};
    c->route = config_route(cfg, &q, NULL);
    if (!c->route)
        return call_refuse(no, 404, "no-route", "callee", "no route of the configuration matches this call");
    if (c->route->reject)
        return call_refuse(no, (int)c->route->reject->status, "rejected", "callee", "%s", c->route->reject->detail);
    c->app = config_app(cfg, c->route->app);
    return 0;
}

static int take_data(struct call *c, const struct call_request *rq, struct call_refusal *no) {
    if (!rq->data)
        return 0;
    size_t bytes = json_dumpb(rq->data, NULL, 0, JSON_COMPACT);
    if (bytes > PUSH_DATA_MAX_BYTES)
        return call_refuse(no, 422, "bad-field", "data", "data: %zu bytes as JSON; at most %d fit into a push", bytes,
                           PUSH_DATA_MAX_BYTES);
    c->data = json_deep_copy(rq->data);
    return c->data ? 0 : call_refuse(no, 503, "memory", NULL, "out of memory");
}

static int take_offer(struct call *c, const struct call_request *rq, struct call_refusal *no) {
    struct err_text et = {""};
    if (!rq->offer)
        return 0;
    int err = sdp_parse(&c->offer, rq->offer, strlen(rq->offer), &et);
    if (err == E_MALFORMED)
        return call_refuse(no, rq->unreadable_status, "bad-offer", "offer", "offer: %s", et.s);
    if (err == 0)
        err = sdp_check_offer(c->offer, &et);
    if (err != 0)
        return call_refuse(no, 422, "bad-offer", "offer", "offer: %s", et.s);
    call_keep_offer(c, rq->offer);
    for (size_t i = 0; rq->video_by_offer && i < c->offer->media_count; i++)
        c->video =
            c->video || (strcmp(c->offer->media[i].kind, "video") == 0 && c->offer->media[i].direction != SDP_INACTIVE);
    return 0;
}

static void add_device(struct call *c, const struct device *dev, enum media_mode mode) {
    struct calls *cs = c->owner;
    struct call_device *d = &c->devices[c->device_count++];
    snprintf(d->id, sizeof d->id, "%s", dev->id);
    snprintf(d->app_version, sizeof d->app_version, "%s", dev->app_version);
    snprintf(d->os_version, sizeof d->os_version, "%s", dev->os_version);
    d->mode = mode;
    d->credential = push_service_credential(cs->d.pushes, c->app->name, dev->sandbox);
}

/* Each phone's way is known when the call is told of, although nothing leaves before it is stored. */
static void choose_ways(struct call *c) {
    for (unsigned i = 0; i < c->device_count; i++) {
        struct call_device *d = &c->devices[i];
        bool suspect;
        enum call_way way = call_way_to(c, d, &suspect);
        call_fsm_set_way(&c->fsm, i, way, suspect);
        if (way != CALL_WAY_CONNECTION && way != CALL_WAY_BUSY)
            call_push_new(d, way == CALL_WAY_ALERT ? APNS_TYPE_ALERT : APNS_TYPE_VOIP);
    }
}

static int no_common_mode(const struct call *c, const struct device *const *found, size_t n, struct call_refusal *no) {
    struct buf can = {0}, may = {0};
    for (size_t i = 0; i < n; i++)
        for (unsigned k = 0; k < found[i]->handoff_count; k++)
            buf_addf(&can, "%s%s%s", can.len ? ", " : "", media_mode_name(found[i]->handoff[k]),
                     found[i]->handoff[k] == MEDIA_MODE_SEALED && !found[i]->has_sealing_key
                         ? " (but a sealing_key is not registered)"
                         : "");
    for (unsigned i = 0; i < c->route->handoff_count; i++)
        buf_addf(&may, "%s%s", i ? ", " : "", config_handoff_name(c->route->handoff[i]));
    int err = call_refuse(no, 409, "no-handoff", "callee",
                          "no handoff mode in common: the callee's devices can do %s, the route \"%s\" allows %s",
                          can.p ? can.p : "none", c->route->name, may.p ? may.p : "none");
    buf_free(&can);
    buf_free(&may);
    return err;
}

static int find_devices(struct call *c, struct call_refusal *no) {
    const struct device *found[DEVICES_PER_USER_MAX];
    size_t n = devices_of_user(c->owner->d.devices, c->tenant, c->callee, c->app->name, found);
    if (n == 0)
        return call_refuse(no, 404, "no-device", "callee",
                           "no device is registered for this callee with the app \"%s\"", c->app->name);
    c->devices = calloc(n, sizeof *c->devices);
    if (!c->devices)
        return call_refuse(no, 503, "memory", NULL, "out of memory");
    for (size_t i = 0; i < n; i++) {
        enum media_mode mode = handoff_choose(c->route, found[i], 0);
        if (mode != MEDIA_MODE_NONE || !c->offer)
            add_device(c, found[i], mode);
    }
    if (c->device_count == 0)
        return no_common_mode(c, found, n, no);
    return calls_index_devices(c) == 0 ? 0 : call_refuse(no, 503, "memory", NULL, "out of memory");
}

static void start_fsm(struct call *c, const struct call_request *rq) {
    struct call_fsm_config f = {.devices = c->device_count,
                                .media = c->offer != NULL,
                                .receipt_ms = c->route->must_report.receipt_after_ms,
                                .suspect_ms = c->route->must_report.suspect_after_ms,
                                .second_ms = c->route->must_report.second_path_after_ms,
                                .second = c->route->must_report.second_path,
                                .repeat_push = c->route->must_report.repeat_push};
    uint64_t ring_ms = (rq->ring_timeout_s ? (uint64_t)rq->ring_timeout_s : c->route->ring_timeout_s) * 1000;
    for (size_t i = 0; c->offer && i < c->offer->media_count; i++) {
        enum sdp_direction d = c->offer->media[i].direction;
        f.media_to_near = f.media_to_near || d == SDP_SENDRECV || d == SDP_SENDONLY;
        f.media_to_far = f.media_to_far || d == SDP_SENDRECV || d == SDP_RECVONLY;
    }
    c->created_ms = clock_wall_ms();
    c->expires_ms = c->created_ms + ring_ms;
    f.expires_ms = clock_mono_ms() + ring_ms;
    call_fsm_init(&c->fsm, &f);
}

static void fill(struct call *c, const struct call_request *rq) {
    uint64_t now_us = clock_mono_us();
    c->request_us = rq->received_us ? rq->received_us : now_us;
    c->request_wall_us = clock_wall_us() - (now_us - c->request_us);
    snprintf(c->tenant, sizeof c->tenant, "%s", rq->tenant);
    snprintf(c->callee, sizeof c->callee, "%s", rq->callee);
    text_clean(c->handle, sizeof c->handle, rq->handle, strlen(rq->handle));
    text_clean(c->name, sizeof c->name, rq->name, strlen(rq->name));
    c->video = rq->video;
}

int call_create(struct call **cp, struct calls *cs, const struct call_request *rq, struct buf *answer,
                struct call_refusal *no) {
    metric_add(cs->m_requests, 1);
    if (check_gateway(cs, no) != 0)
        return E_DENIED;
    struct call *c = calls_add(cs, NULL);
    if (!c)
        return call_refuse(no, 503, "full", NULL, "no room for another call");
    fill(c, rq);
    int err = choose_route(c, rq, no);
    if (err == 0)
        err = take_data(c, rq, no);
    if (err == 0)
        err = take_offer(c, rq, no);
    if (err == 0)
        err = find_devices(c, no);
    if (err == 0) {
        start_fsm(c, rq);
        choose_ways(c);
        call_note(c, c->request_us, "request",
                  json_pack("{s:s,s:s,s:b}", "callee", c->callee, "route", c->route->name, "offer", c->offer != NULL));
    }
    if (err == 0 && c->offer)
        err = call_media_open(c, answer, no);
    if (err != 0) {
        calls_remove(c);
        return err;
    }
    log_info("call", log_s("call", c->id), log_s("state", "ringing"), log_s("callee", c->callee),
             log_s("tenant", c->tenant), log_s("route", c->route->name), log_i("devices", c->device_count),
             log_b("media", c->offer != NULL));
    *cp = c;
    return 0;
}

/* A phone that has gone to sleep since the call was made is pushed in the same step that would have told it. */
void call_join(struct call *c, unsigned device) {
    struct phone *p = phone_awake(c->owner, c->tenant, c->devices[device].id);
    if (p)
        phone_join(p, c, device);
    else
        call_step(c, CALL_IN_DETACHED, device);
}

void call_start(struct call *c) {
    c->started = true;
    if (c->fsm.state != CALL_RINGING) /* ended while it was being stored */
        return;
    call_sealed_open(c);
    call_step(c, CALL_IN_START, 0);
}
