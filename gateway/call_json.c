/* SPDX-License-Identifier: Apache-2.0 */
#include "gateway/calls_priv.h"

static json_t *time_json(uint64_t wall_ms) {
    char at[CLOCK_RFC3339_BYTES];
    return wall_ms ? json_string(clock_rfc3339(at, wall_ms)) : json_null();
}

static json_t *text_or_null(const char *s) {
    return *s ? json_string(s) : json_null();
}

static json_t *device_json(const struct call *c, const struct call_device *d) {
    static const char *const deliveries[] = {[CALL_WAY_PUSH] = "push",
                                             [CALL_WAY_CONNECTION] = "connection",
                                             [CALL_WAY_ALERT] = "alert",
                                             [CALL_WAY_BOTH] = "push",
                                             [CALL_WAY_BUSY] = "push"};
    const struct call_push *p = &d->pushes[0];
    const struct ledger *l = &p->ledger;
    bool by_push = d->push_count > 0;
    json_t *o =
        json_pack("{s:s,s:s,s:s,s:o,s:s,s:s}", "device", d->id, "delivery", deliveries[c->fsm.legs[d->index].way],
                  "state", call_leg_state_name(c->fsm.legs[d->index].state), "apns_id", text_or_null(p->id),
                  "push_state", push_state_name(p->state), "handoff", media_mode_name(d->mode));
    if (by_push) {
        json_object_set_new(o, "apns_status", l->status ? json_integer(l->status) : json_null());
        json_object_set_new(o, "apns_reason", text_or_null(l->reason));
        json_object_set_new(o, "predicted_must_report", json_boolean(ledger_predicted(l)));
        json_object_set_new(o, "must_report",
                            l->receipt_ms == 0 || l->observed < 0 ? json_null() : json_boolean(l->observed));
        json_object_set_new(o, "reported", text_or_null(l->reported));
        json_object_set_new(o, "outcome", text_or_null(ledger_outcome_name(l->outcome)));
    }
    return o;
}

static json_t *devices_json(const struct call *c) {
    json_t *list = json_array();
    for (unsigned i = 0; i < c->device_count; i++)
        json_array_append_new(list, device_json(c, &c->devices[i]));
    return list;
}

static json_t *media_json(const struct call *c) {
    const struct media_call_stats *s = &c->stats;
    const struct media_profile_info *info = media_profile_info(c->profile);
    bool handed = c->near.device >= 0;
    if (!c->fsm.media)
        return json_null();
    return json_pack("{s:i,s:o,s:o,s:o,s:{s:I,s:I,s:I,s:I},s:{s:I,s:I,s:I,s:I},s:I,s:I}", "worker", (int)c->worker,
                     "profile", info ? json_string(info->sdes) : json_null(), "handoff",
                     handed ? json_string(media_mode_name(c->near.mode)) : json_null(), "device",
                     handed ? json_string(c->devices[c->near.device].id) : json_null(), "caller", "rx_pkts",
                     (json_int_t)s->far_rx_pkts, "tx_pkts", (json_int_t)s->far_tx_pkts, "rx_bytes",
                     (json_int_t)s->far_rx_bytes, "tx_bytes", (json_int_t)s->far_tx_bytes, "phone", "rx_pkts",
                     (json_int_t)s->near_rx_pkts, "tx_pkts", (json_int_t)s->near_tx_pkts, "rx_bytes",
                     (json_int_t)s->near_rx_bytes, "tx_bytes", (json_int_t)s->near_tx_bytes, "discarded_pkts",
                     (json_int_t)s->discarded_pkts, "dropped_pkts", (json_int_t)s->dropped_pkts);
}

json_t *call_json(const struct call *c) {
    return json_pack("{s:s,s:s,s:o,s:s,s:s,s:{s:s,s:s},s:b,s:s,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "id", c->id, "state",
                     call_state_name(c->fsm.state), "reason", text_or_null(call_reason_name(c->fsm.reason)), "tenant",
                     c->tenant, "callee", c->callee, "caller", "handle", c->handle, "name", c->name, "video", c->video,
                     "route", c->route->name, "created_at", time_json(c->created_ms), "expires_at",
                     time_json(c->expires_ms), "answered_at", time_json(c->answered_ms), "ended_at",
                     time_json(c->ended_ms), "devices", devices_json(c), "media", media_json(c), "data",
                     c->data ? json_deep_copy(c->data) : json_object());
}
