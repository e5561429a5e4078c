/* SPDX-License-Identifier: Apache-2.0 */
/* Single-producer single-consumer ring of fixed-size messages, passed by value between two threads, with an eventfd
 * that becomes readable when messages wait. The slot is wiped when its message is taken, so that keys do not linger.
 * Thread: push from one thread, pop and ring_fd's consumer from one other; new/free while neither runs. */
#ifndef BASE_RING_H
#define BASE_RING_H

#include <stddef.h>

struct ring;

/* slots: a power of two, 2..65536; msg_bytes: 1..65536. Returns 0, E_INVAL, E_NOMEM, E_IO. */
int ring_new(struct ring **ringp, size_t slots, size_t msg_bytes);
/* Returns NULL. Wipes what is left. NULL is fine. */
struct ring *ring_free(struct ring *r);
/* Copy msg_bytes in and signal the eventfd. Returns 0 or E_FULL. */
int ring_push(struct ring *r, const void *msg);
/* Producer. Messages that still fit. */
size_t ring_room(const struct ring *r);
/* Copy one message out. Returns 0 or E_AGAIN when empty. */
int ring_pop(struct ring *r, void *msg);
/* The consumer's eventfd, to be polled for reading; owned by the ring. */
int ring_fd(const struct ring *r);
/* Consumer: clear the eventfd; call before popping until E_AGAIN. */
void ring_clear(struct ring *r);

#endif
