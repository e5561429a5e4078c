/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 and WebSocket server on the caller's libuv loop, by libwebsockets. Requests come whole (body read) and are
 * replied to by id, at once or later. The only file pair of the servers that includes libwebsockets. Thread: the
 * loop's, for everything. */
#ifndef BASE_HTTPD_H
#define BASE_HTTPD_H

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slots.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#define HTTPD_HEADERS_MAX 16

struct httpd;
typedef slot_id http_id; /* a request that waits for its reply; a stale id (the client is gone) is harmless */
typedef slot_id ws_id;   /* an open WebSocket; a stale id is harmless */

struct httpd_request {
    http_id id;
    const char *method, *path; /* path is percent-decoded */
    const char *body;          /* NUL behind the last byte; "" when empty */
    size_t body_len;
    /* "" when absent: */
    const char *authorization, *content_type, *accept, *idempotency_key, *if_match, *if_none_match, *last_event_id;
    uint64_t received_us; /* monotonic */
    const void *args;     /* for httpd_arg */
};
/* All pointers live until the handler returns. */

/* A decoded query parameter into out, cut at cap; false and "" when absent. Only inside the handler. */
bool httpd_arg(const struct httpd_request *r, const char *name, char *out, size_t cap);

/* Of a request that has not been replied to. */
const char *httpd_origin(const struct httpd *h, http_id id);        /* Origin; "" when absent, or the id is stale */
const char *httpd_if_none_match(const struct httpd *h, http_id id); /* the same of If-None-Match */
bool httpd_is_preflight(const struct httpd *h, http_id id);         /* OPTIONS with Access-Control-Request-Method */
struct addr httpd_peer(const struct httpd *h, http_id id); /* the connection's other end; none when it is gone */

struct http_header {
    const char *name; /* lower case, without the colon */
    const char *value;
};

struct ws_ops {
    void (*open)(ws_id id, const struct addr *peer, void *arg);
    void (*text)(ws_id id, const char *p, size_t len, void *arg); /* one whole message, NUL behind it */
    void (*binary)(ws_id id, const uint8_t *p, size_t len, void *arg);
    void (*closed)(ws_id id, void *arg); /* once, also after ws_close; httpd_ws_delivered may be asked inside */
};

struct httpd_config {
    uv_loop_t *loop;
    const char *listen;                       /* "address:port"; port 0: any free one */
    const char *certificate_file, *key_file;  /* PEM; NULL: plain HTTP */
    size_t body_max_bytes, message_max_bytes; /* larger ones are refused: 413, and close code 1009 */
    /* WebSocket messages waiting for a slow peer; beyond either the connection is closed (1008, "too slow"), and what
     * waits is thrown away. */
    size_t queue_max_bytes;
    unsigned queue_max_messages;
    /* A WebSocket that is silent for so long gets a ping, and is closed after twice that. 0: 20,000. */
    unsigned ping_ms;
    /* A ping follows what was sent, and the connection is closed when nothing comes for so long. 0: it does not. */
    unsigned answer_max_ms;
    void (*request)(const struct httpd_request *r, void *arg);
    /* Something that httpd refuses itself (body too large, length missing): reply to it in the API's own form. */
    void (*refused)(http_id id, int status, const char *detail, void *arg);
    const char *ws_path, *ws_protocol; /* the one WebSocket there is, and its required subprotocol */
    struct ws_ops ws;
    void *arg;
};

/* Strings of the config are kept by reference, but for listen and the files. Returns 0 or E_IO, E_INVAL with a
 * sentence. */
int httpd_start(struct httpd **hp, const struct httpd_config *cfg, struct err_text *et);
/* Two steps: stop at once, close all connections; done(arg) from the loop, when nothing is left and h is freed. */
void httpd_close(struct httpd *h, void (*done)(void *arg), void *arg);
/* The address that it listens on, with the real port. */
const struct addr *httpd_address(const struct httpd *h);

/* A certificate with its chain and key, from PEM files that may go afterwards. Returns 0, or E_IO, E_CRYPTO, E_NOMEM
 * with a sentence that names the file: it cannot be read, holds none, or they do not belong together. */
struct httpd_certificate;
int httpd_certificate_read(struct httpd_certificate **cp, const char *certificate_file, const char *key_file,
                           struct err_text *et);
struct httpd_certificate *httpd_certificate_free(struct httpd_certificate *c);
/* New connections get this one; those that are open stay. Takes c. Only for a server that was started with TLS. Returns
 * whether it is another one than before. */
bool httpd_certificate_use(struct httpd *h, struct httpd_certificate *c);

/* Exactly one reply for each request. body is copied. */
void httpd_reply(struct httpd *h, http_id id, int status, const char *content_type, const void *body, size_t len,
                 const struct http_header *headers, size_t header_count);

/* A reply without an end, sent as the connection takes it. id stays good until `closed`. */
struct httpd_stream_ops {
    /* The connection takes more: append to out, best some 16 KiB. Nothing appended: it waits for httpd_stream_wake. */
    void (*writable)(http_id id, struct buf *out, void *arg);
    void (*closed)(http_id id, void *arg); /* once, for whatever reason; id is stale then */
};
/* In place of httpd_reply, with status 200: writable comes as soon as the head has left. A HEAD request gets the head,
 * and `closed`. ops and arg are kept. Returns 0, or E_NOTFOUND for a stale id, E_NOMEM (no callback then). */
int httpd_stream(struct httpd *h, http_id id, const char *content_type, const struct http_header *headers,
                 size_t header_count, const struct httpd_stream_ops *ops, void *arg);
/* There is something to write. Stale ids are ignored. */
void httpd_stream_wake(struct httpd *h, http_id id);
/* Close once `writable` has nothing more to append. */
void httpd_stream_end(struct httpd *h, http_id id);
/* Has the reader closed its side? Then it is cut off. libwebsockets does not look while a reply is under way. */
void httpd_stream_check(struct httpd *h, http_id id);
/* Close at once, with what is unsent; from any callback but the stream's own. */
void httpd_stream_cut(struct httpd *h, http_id id);

/* Queue one message. Returns 0, E_NOTFOUND for a stale id, E_FULL (the connection is then closed), E_NOMEM. */
int httpd_ws_send(struct httpd *h, ws_id id, const void *p, size_t len, bool binary);
/* Close with a status code (RFC 6455 7.4) after what is queued has left, or without it, when the peer does not take it
 * within some seconds. Nothing that the peer says comes from now on. */
void httpd_ws_close(struct httpd *h, ws_id id, int code, const char *reason);
/* Has the peer got all that was sent to it: has it answered a ping that left after that? False for a stale id. */
bool httpd_ws_delivered(const struct httpd *h, ws_id id);

#endif
