/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/2 of a provider's connection. The session is told that streams are without limit and knows nothing of our
 * GOAWAY: what it is to refuse, and when, is the behaviour's, and its own strictness would come first. */
#include "apns/sim/sim_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

#define LIMIT_BASE   0x40000000U /* added to the session's idea of the stream limit, and taken off on the wire */
#define HEAD_BYTES   9
#define OUTPUT_BYTES 65536 /* handed to TLS at once */
#define ENTRY_BYTES  32    /* what RFC 9113 6.5.2 adds to each field of a header list */

static const struct {
    const char *name;
    enum sim_header header;
} header_table[] = {{":method", SIM_METHOD},
                    {":path", SIM_PATH},
                    {":authority", SIM_AUTHORITY},
                    {"authorization", SIM_AUTHORIZATION},
                    {"apns-push-type", SIM_PUSH_TYPE},
                    {"apns-topic", SIM_TOPIC},
                    {"apns-priority", SIM_PRIORITY},
                    {"apns-expiration", SIM_EXPIRATION},
                    {"apns-id", SIM_ID},
                    {"apns-collapse-id", SIM_COLLAPSE_ID}};

static void take_header(struct sim_request *r, const char *name, size_t name_len, const char *value, size_t value_len) {
    for (size_t i = 0; i < sizeof header_table / sizeof *header_table; i++) {
        enum sim_header h = header_table[i].header;
        if (strlen(header_table[i].name) != name_len || memcmp(header_table[i].name, name, name_len) != 0)
            continue;
        r->duplicate = r->duplicate || r->seen[h];
        r->seen[h] = true;
        snprintf(r->value[h], sizeof r->value[h], "%.*s", (int)value_len, value);
    }
}

static void watch_frame(const struct sim_conn *c, const nghttp2_frame_hd *hd, bool out, uint32_t code) {
    if (!sim_watch_frames(c->s->watch))
        return;
    const struct sim_frame f = {.at_ms = sim_now_ms(c->s),
                                .connection = c->number,
                                .type = hd->type,
                                .flags = hd->flags,
                                .out = out,
                                .stream = hd->stream_id,
                                .length = (uint32_t)hd->length,
                                .code = code};
    sim_watch_frame(c->s->watch, &f);
}

void sim_h2_raw(struct sim_conn *c, uint8_t type, int32_t stream, const void *payload, size_t len) {
    uint8_t head[HEAD_BYTES] = {(uint8_t)(len >> 16), (uint8_t)(len >> 8), (uint8_t)len, type, 0};
    sim_put32(head + 5, (uint32_t)stream);
    buf_add(&c->raw, head, sizeof head);
    buf_add(&c->raw, payload, len);
}

/* Ours go into the journal as they leave, behind those of the session. */
static void watch_raw(const struct sim_conn *c) {
    const uint8_t *p = (const uint8_t *)c->raw.p, *end = p + c->raw.len;
    while (p < end) {
        const uint8_t *payload = p + HEAD_BYTES;
        const nghttp2_frame_hd hd = {
            .length = (size_t)p[1] << 8 | p[2], .stream_id = (int32_t)sim_get32(p + 5), .type = p[3]};
        watch_frame(c, &hd, true, sim_get32(hd.type == NGHTTP2_GOAWAY ? payload + 4 : payload));
        p = payload + hd.length;
    }
}

void sim_h2_limit(struct sim_conn *c, int64_t streams) {
    const nghttp2_settings_entry entry = {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_BASE + (uint32_t)streams};
    if (c->limit == streams || !c->h2)
        return;
    c->limit_before = c->limit;
    c->limit = streams;
    nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, &entry, 1);
}

struct sim_stream *sim_h2_stream(const struct sim_conn *c, int32_t id) {
    return c->h2 ? nghttp2_session_get_stream_user_data(c->h2, id) : NULL;
}

static void stream_free(struct sim_conn *c, struct sim_stream *st) {
    DL_DELETE(c->streams, st);
    free(st->body);
    free(st);
}

void sim_h2_free(struct sim_conn *c) {
    struct sim_stream *st, *next;
    nghttp2_session_del(c->h2);
    c->h2 = NULL;
    DL_FOREACH_SAFE(c->streams, st, next) {
        stream_free(c, st);
    }
}

/* Frames in */

static void refuse(struct sim_conn *c, int32_t id, bool twice) {
    uint8_t code[4];
    nghttp2_submit_rst_stream(c->h2, NGHTTP2_FLAG_NONE, id, NGHTTP2_REFUSED_STREAM);
    sim_put32(code, NGHTTP2_STREAM_CLOSED);
    if (twice)
        sim_h2_raw(c, NGHTTP2_RST_STREAM, id, code, sizeof code);
}

static void above_limit(struct sim_conn *c, int32_t id) {
    static const char text[] = "Streams limit reached";
    if (c->s->b.above_limit != SIM_ABOVE_GOAWAY) {
        refuse(c, id, c->s->b.above_limit == SIM_ABOVE_REFUSE_TWICE);
        return;
    }
    struct sim_action a = {.code = NGHTTP2_REFUSED_STREAM,
                           .body = SIM_GOAWAY_TEXT,
                           .last = SIM_LAST_AT,
                           .times = 1,
                           .then = SIM_THEN_LATER,
                           .close_ms = c->s->b.goaway_delay_ms};
    snprintf(a.text, sizeof a.text, "%s", text);
    c->last_answered = c->last_stream; /* those before it are answered yet */
    sim_goaway_send(c, &a);
}

static void assert_streams(const struct sim_conn *c) {
    char detail[96];
    uint64_t now_ms = sim_now_ms(c->s);
    bool first = c->settings_acks == 0 || (!c->provider.token[0] && !c->provider.certificate);
    int64_t may = c->limit_before > c->limit ? c->limit_before : c->limit;
    snprintf(detail, sizeof detail, "%u streams were open already", c->open_streams);
    if (first)
        sim_watch_checked(c->s->watch, SIM_ASSERT_START, c->number, now_ms, c->open_streams >= 1 ? detail : NULL);
    if (c->settings_acks > 0)
        sim_watch_checked(c->s->watch, SIM_ASSERT_LIMIT, c->number, now_ms, c->open_streams >= may ? detail : NULL);
}

static int on_begin_headers(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct sim_conn *c = arg;
    int32_t id = frame->hd.stream_id;
    if (frame->hd.type != NGHTTP2_HEADERS || frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0;
    if (c->goaway_sent && id > c->goaway_last) {
        if (c->goaway_then == SIM_THEN_STAY)
            refuse(c, id, false);
        return 0;
    }
    assert_streams(c);
    if (c->open_streams >= c->limit) {
        above_limit(c, id);
        return 0;
    }
    struct sim_stream *st = calloc(1, sizeof *st);
    if (!st)
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    st->id = c->last_stream = id;
    st->request.connection = c->number;
    DL_APPEND(c->streams, st);
    c->open_streams++;
    nghttp2_session_set_stream_user_data(h2, st->id, st);
    return 0;
}

static int on_header(nghttp2_session *h2, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
                     const uint8_t *value, size_t value_len, uint8_t flags, void *arg) {
    struct sim_stream *st = nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id);
    (void)flags;
    (void)arg;
    if (!st)
        return 0;
    st->header_bytes += name_len + value_len + ENTRY_BYTES;
    take_header(&st->request, (const char *)name, name_len, (const char *)value, value_len);
    return 0;
}

static int on_data(nghttp2_session *h2, uint8_t flags, int32_t id, const uint8_t *p, size_t len, void *arg) {
    struct sim_conn *c = arg;
    struct sim_stream *st = nghttp2_session_get_stream_user_data(h2, id);
    (void)flags;
    if (!c->s->b.withhold_windows) /* the session gives back when half is used */
        nghttp2_session_consume(h2, id, len);
    if (!st)
        return 0;
    if (!st->body && !(st->body = malloc(SIM_BODY_MAX_BYTES)))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    size_t room = SIM_BODY_MAX_BYTES - st->request.body_len, n = len < room ? len : room;
    memcpy(st->body + st->request.body_len, p, n);
    st->request.body_len += n;
    return 0;
}

static int on_frame(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    struct sim_conn *c = arg;
    struct sim_stream *st = frame->hd.stream_id ? nghttp2_session_get_stream_user_data(h2, frame->hd.stream_id) : NULL;
    uint8_t type = frame->hd.type;
    watch_frame(c, &frame->hd, false,
                type == NGHTTP2_RST_STREAM ? frame->rst_stream.error_code
                : type == NGHTTP2_GOAWAY   ? frame->goaway.error_code
                                           : 0);
    if (type == NGHTTP2_PING && !(frame->hd.flags & NGHTTP2_FLAG_ACK) && sim_conn_hole(c) != SIM_HOLE_DROP_PING)
        nghttp2_submit_ping(h2, NGHTTP2_FLAG_ACK, frame->ping.opaque_data);
    if (type == NGHTTP2_SETTINGS && (frame->hd.flags & NGHTTP2_FLAG_ACK)) {
        c->settings_acks++;
        c->limit_before = 0;
    }
    if (st && (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && (type == NGHTTP2_DATA || type == NGHTTP2_HEADERS))
        sim_request_done(c, st);
    return 0;
}

static int on_frame_sent(nghttp2_session *h2, const nghttp2_frame *frame, void *arg) {
    (void)h2;
    watch_frame(arg, &frame->hd, true, frame->hd.type == NGHTTP2_RST_STREAM ? frame->rst_stream.error_code : 0);
    return 0;
}

static int on_stream_close(nghttp2_session *h2, int32_t id, uint32_t code, void *arg) {
    struct sim_conn *c = arg;
    struct sim_stream *st = nghttp2_session_get_stream_user_data(h2, id);
    (void)code;
    if (st) {
        c->open_streams--;
        stream_free(c, st);
    }
    return 0;
}

/* Frames out */

static ssize_t read_reply(nghttp2_session *h2, int32_t id, uint8_t *out, size_t cap, uint32_t *flags,
                          nghttp2_data_source *source, void *arg) {
    struct sim_stream *st = source->ptr;
    (void)h2;
    (void)id;
    (void)arg;
    size_t n = st->reply_len - st->reply_at < cap ? st->reply_len - st->reply_at : cap;
    memcpy(out, st->reply + st->reply_at, n);
    st->reply_at += n;
    if (st->reply_at == st->reply_len)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)n;
}

void sim_h2_headers(struct sim_conn *c, struct sim_stream *st, const nghttp2_nv *nv, size_t n, bool with_body) {
    const nghttp2_data_provider body = {.source.ptr = st, .read_callback = read_reply};
    nghttp2_submit_response(c->h2, st->id, nv, n, with_body ? &body : NULL);
}

/* The stream limit in a SETTINGS frame of the session becomes the real one. */
static void patch_settings(uint8_t *frame, size_t len) {
    if (len < HEAD_BYTES || frame[3] != NGHTTP2_SETTINGS)
        return;
    for (uint8_t *p = frame + HEAD_BYTES; p + 6 <= frame + len; p += 6)
        if (p[0] == 0 && p[1] == NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            sim_put32(p + 2, sim_get32(p + 2) - LIMIT_BASE);
}

bool sim_h2_output(struct sim_conn *c) {
    const uint8_t *p;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->h2, &p)) > 0) {
        size_t at = c->plain.len;
        buf_add(&c->plain, p, (size_t)n);
        if (c->plain.oom)
            return false;
        patch_settings((uint8_t *)c->plain.p + at, (size_t)n);
        if (c->plain.len >= OUTPUT_BYTES) {
            SSL_write(c->ssl, c->plain.p, (int)c->plain.len);
            buf_reset(&c->plain);
        }
    }
    if (c->raw.len > 0) {
        watch_raw(c);
        buf_add(&c->plain, c->raw.p, c->raw.len);
    }
    buf_reset(&c->raw);
    return n == 0 && (nghttp2_session_want_read(c->h2) || nghttp2_session_want_write(c->h2));
}

bool sim_h2_input(struct sim_conn *c, const uint8_t *p, size_t len) {
    return nghttp2_session_mem_recv(c->h2, p, len) == (ssize_t)len;
}

static nghttp2_session_callbacks *callbacks(void) {
    nghttp2_session_callbacks *cbs = NULL;
    if (nghttp2_session_callbacks_new(&cbs) != 0)
        return NULL;
    nghttp2_session_callbacks_set_on_begin_headers_callback(cbs, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(cbs, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cbs, on_data);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cbs, on_frame);
    nghttp2_session_callbacks_set_on_frame_send_callback(cbs, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(cbs, on_stream_close);
    return cbs;
}

bool sim_h2_start(struct sim_conn *c) {
    const struct sim_behaviour *b = &c->s->b;
    nghttp2_session_callbacks *cbs = callbacks();
    nghttp2_option *option = NULL;
    c->limit = c->provider.certificate ? b->settings_streams : b->streams_at_start;
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, (uint32_t)b->header_table_bytes},
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, LIMIT_BASE + (uint32_t)c->limit},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)b->window_bytes},
        {NGHTTP2_SETTINGS_MAX_FRAME_SIZE, (uint32_t)(b->frame_max_bytes < 16384 ? 16384 : b->frame_max_bytes)},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)b->header_list_max_bytes}};
    bool ok = cbs && nghttp2_option_new(&option) == 0;
    if (ok) {
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_no_auto_ping_ack(option, 1);
        nghttp2_option_set_no_closed_streams(option, 1);
        ok = nghttp2_session_server_new2(&c->h2, cbs, c, option) == 0 &&
             nghttp2_submit_settings(c->h2, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0;
    }
    if (ok && b->window_bytes > 65535)
        ok = nghttp2_session_set_local_window_size(c->h2, NGHTTP2_FLAG_NONE, 0, (int32_t)b->window_bytes) == 0;
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cbs);
    if (ok && c->provider.certificate && !(c->s->cfg.sandbox ? c->certificate.sandbox : c->certificate.production))
        sim_goaway_reason(c, "BadCertificateEnvironment", true);
    return ok;
}
