/* SPDX-License-Identifier: Apache-2.0 */
#include "apns/apns_heap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define ITEMS 2000

struct item {
    uint64_t key, seq;
    uint32_t place;
};

static void items_come_out_by_key_and_in_order_of_arrival(void **state) {
    static struct item items[ITEMS];
    struct apns_heap h = {0};
    unsigned left = 0;
    (void)state;
    srand(3);
    assert_null(apns_heap_top(&h));
    for (unsigned i = 0; i < ITEMS; i++) {
        items[i] = (struct item){(uint64_t)(rand() % 50), i, 0};
        struct apns_heap_entry e = {items[i].key, i, &items[i], &items[i].place};
        assert_int_equal(apns_heap_put(&h, &e), 0);
        left++;
        if (i % 3 == 0) { /* out of the middle */
            struct item *victim = &items[(unsigned)rand() % (i + 1)];
            left -= victim->place != 0;
            apns_heap_remove(&h, &victim->place);
            assert_int_equal(victim->place, 0);
        }
    }
    const struct apns_heap_entry *top;
    for (uint64_t key = 0, seq = 0; (top = apns_heap_top(&h)); left--) {
        struct item *i = top->item;
        assert_true(i->key > key || (i->key == key && i->seq >= seq));
        key = i->key;
        seq = i->seq;
        apns_heap_remove(&h, &i->place);
    }
    assert_int_equal(left, 0);
    apns_heap_free(&h);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(items_come_out_by_key_and_in_order_of_arrival)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
