/* SPDX-License-Identifier: Apache-2.0 */
#include "base/ring.h"

#include "base/err.h"

#include <openssl/crypto.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define CACHE_LINE 64 /* the two counters on lines of their own, so that the threads do not fight for one */

struct ring {
    size_t slots, msg_bytes;
    uint8_t *messages;
    int fd;
    _Alignas(CACHE_LINE) atomic_size_t head; /* consumer */
    _Alignas(CACHE_LINE) atomic_size_t tail; /* producer */
};

int ring_new(struct ring **ringp, size_t slots, size_t msg_bytes) {
    if (slots < 2 || slots > 65536 || (slots & (slots - 1)) != 0 || msg_bytes == 0 || msg_bytes > 65536)
        return E_INVAL;
    struct ring *r = aligned_alloc(CACHE_LINE, sizeof *r);
    if (!r)
        return E_NOMEM;
    memset(r, 0, sizeof *r);
    r->slots = slots;
    r->msg_bytes = msg_bytes;
    r->messages = calloc(slots, msg_bytes);
    r->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (!r->messages || r->fd < 0) {
        int err = r->messages ? E_IO : E_NOMEM;
        ring_free(r);
        return err;
    }
    *ringp = r;
    return 0;
}

struct ring *ring_free(struct ring *r) {
    if (!r)
        return NULL;
    if (r->messages)
        OPENSSL_cleanse(r->messages, r->slots * r->msg_bytes);
    if (r->fd >= 0)
        close(r->fd);
    free(r->messages);
    free(r);
    return NULL;
}

static uint8_t *slot_at(struct ring *r, size_t i) {
    return r->messages + (i & (r->slots - 1)) * r->msg_bytes;
}

int ring_push(struct ring *r, const void *msg) {
    size_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail - atomic_load_explicit(&r->head, memory_order_acquire) == r->slots)
        return E_FULL;
    memcpy(slot_at(r, tail), msg, r->msg_bytes);
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    /* Fails only when the counter would overflow, and then the consumer is woken anyway. */
    eventfd_write(r->fd, 1);
    return 0;
}

size_t ring_room(const struct ring *r) {
    return r->slots - (atomic_load_explicit(&r->tail, memory_order_relaxed) -
                       atomic_load_explicit(&r->head, memory_order_acquire));
}

int ring_pop(struct ring *r, void *msg) {
    size_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (head == atomic_load_explicit(&r->tail, memory_order_acquire))
        return E_AGAIN;
    uint8_t *slot = slot_at(r, head);
    memcpy(msg, slot, r->msg_bytes);
    OPENSSL_cleanse(slot, r->msg_bytes);
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return 0;
}

int ring_fd(const struct ring *r) {
    return r->fd;
}

void ring_clear(struct ring *r) {
    eventfd_t count;
    eventfd_read(r->fd, &count);
}
