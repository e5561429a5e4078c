/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"
#include "base/ring.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define MESSAGES 50000

struct message {
    uint64_t number;
    uint8_t fill[24]; /* each byte is the number's lowest */
};

static struct message numbered(uint64_t number) {
    struct message m = {.number = number};
    memset(m.fill, (int)(number & 0xff), sizeof m.fill);
    return m;
}

static void is_numbered(const struct message *m, uint64_t number) {
    struct message want = numbered(number);
    assert_memory_equal(m, &want, sizeof want);
}

static bool is_readable(const struct ring *r) {
    struct pollfd p = {.fd = ring_fd(r), .events = POLLIN};
    return poll(&p, 1, 0) == 1;
}

static struct ring *ring_of(size_t slots) {
    struct ring *r = NULL;
    assert_int_equal(ring_new(&r, slots, sizeof(struct message)), 0);
    return r;
}

static void messages_come_out_in_the_order_in_which_they_went_in(void **state) {
    struct ring *r = ring_of(4);
    struct message m;
    uint64_t in = 0, out = 0;
    (void)state;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 1 + round % 4; i++) {
            m = numbered(in++);
            assert_int_equal(ring_push(r, &m), 0);
        }
        while (ring_pop(r, &m) == 0)
            is_numbered(&m, out++);
        assert_int_equal(in, out);
    }
    ring_free(r);
}

static void every_slot_can_be_used_and_then_it_is_full(void **state) {
    struct ring *r = ring_of(8);
    struct message m;
    (void)state;
    for (uint64_t i = 0; i < 8; i++) {
        m = numbered(i);
        assert_int_equal(ring_room(r), 8 - i);
        assert_int_equal(ring_push(r, &m), 0);
    }
    assert_int_equal(ring_push(r, &m), E_FULL);
    assert_int_equal(ring_room(r), 0);
    assert_int_equal(ring_pop(r, &m), 0);
    is_numbered(&m, 0);
    assert_int_equal(ring_room(r), 1);
    m = numbered(8);
    assert_int_equal(ring_push(r, &m), 0);
    assert_int_equal(ring_push(r, &m), E_FULL);
    for (uint64_t i = 1; i <= 8; i++) {
        assert_int_equal(ring_pop(r, &m), 0);
        is_numbered(&m, i);
    }
    ring_free(r);
}

static void an_empty_ring_leaves_the_message_alone(void **state) {
    struct ring *r = ring_of(2);
    struct message m = numbered(7);
    (void)state;
    assert_int_equal(ring_pop(r, &m), E_AGAIN);
    is_numbered(&m, 7);
    ring_free(r);
}

static void the_descriptor_is_readable_while_messages_wait(void **state) {
    struct ring *r = ring_of(4);
    struct message m = numbered(1);
    (void)state;
    assert_false(is_readable(r));
    assert_int_equal(ring_push(r, &m), 0);
    assert_true(is_readable(r));
    ring_clear(r);
    assert_false(is_readable(r));
    assert_int_equal(ring_pop(r, &m), 0);
    ring_clear(r); /* does not block */
    assert_int_equal(ring_push(r, &m), 0);
    assert_true(is_readable(r));
    ring_free(r);
}

static void sizes_out_of_bounds_are_refused(void **state) {
    static const struct {
        size_t slots, bytes;
    } wrong[] = {{0, 8}, {1, 8}, {3, 8}, {131072, 8}, {65537, 8}, {4, 0}, {4, 65537}};
    struct ring *r = NULL;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(ring_new(&r, wrong[i].slots, wrong[i].bytes), E_INVAL);
    assert_null(r);
    assert_int_equal(ring_new(&r, 65536, 1), 0);
    assert_null(ring_free(r));
    assert_int_equal(ring_new(&r, 2, 65536), 0);
    assert_null(ring_free(r));
    assert_null(ring_free(NULL));
}

static void *produce(void *arg) {
    struct ring *r = arg;
    for (uint64_t i = 0; i < MESSAGES;) {
        struct message m = numbered(i);
        if (ring_push(r, &m) == 0)
            i++;
        else
            poll(NULL, 0, 0);
    }
    return NULL;
}

static void two_threads_lose_and_mix_nothing(void **state) {
    struct ring *r = ring_of(64);
    pthread_t producer;
    struct message m;
    uint64_t next = 0;
    (void)state;
    assert_int_equal(pthread_create(&producer, NULL, produce, r), 0);
    while (next < MESSAGES) {
        struct pollfd p = {.fd = ring_fd(r), .events = POLLIN};
        assert_int_equal(poll(&p, 1, 5000), 1); /* a lost wake-up would hang here */
        ring_clear(r);
        while (ring_pop(r, &m) == 0)
            is_numbered(&m, next++);
    }
    pthread_join(producer, NULL);
    assert_int_equal(ring_pop(r, &m), E_AGAIN);
    ring_free(r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_come_out_in_the_order_in_which_they_went_in),
        cmocka_unit_test(every_slot_can_be_used_and_then_it_is_full),
        cmocka_unit_test(an_empty_ring_leaves_the_message_alone),
        cmocka_unit_test(the_descriptor_is_readable_while_messages_wait),
        cmocka_unit_test(sizes_out_of_bounds_are_refused),
        cmocka_unit_test(two_threads_lose_and_mix_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
