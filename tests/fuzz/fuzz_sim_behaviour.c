/* SPDX-License-Identifier: Apache-2.0 */
/* What switches the simulator: a JSON object sets all that it names, or nothing; a text sets its row, or nothing. The
 * first byte says which. */
#include "apns/sim/sim_behaviour.h"

#include <stdlib.h>
#include <string.h>

#define TEXT_MAX 2048

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

/* What it shows of itself is good, and sets another to the same. */
static void check_whole(const struct sim_behaviour *b) {
    struct sim_behaviour again;
    memset(&again, 0, sizeof again);
    json_t *shown = sim_behaviour_json(b);
    check(sim_behaviour_set_json(&again, shown, NULL) == 0);
    json_t *shown_again = sim_behaviour_json(&again);
    check(json_equal(shown, shown_again));
    json_decref(shown);
    json_decref(shown_again);
}

static void from_json(struct sim_behaviour *b, const char *p, size_t size) {
    struct err_text et = {""};
    const struct sim_behaviour before = *b;
    json_t *o = json_loadb(p, size, JSON_DECODE_ANY, NULL);
    if (sim_behaviour_set_json(b, o, &et) != 0)
        check(et.s[0] && memcmp(&before, b, sizeof before) == 0);
    json_decref(o);
}

/* "name=value", or "name". */
static void from_text(struct sim_behaviour *b, const char *p, size_t size) {
    struct err_text et = {""};
    const struct sim_behaviour before = *b;
    char name[TEXT_MAX + 1];
    memcpy(name, p, size);
    name[size] = 0;
    char *value = strchr(name, '=');
    if (value)
        *value++ = 0;
    int err = sim_behaviour_set_text(b, name, value, &et);
    check(err == 0 || err == E_INVAL || err == E_NOTFOUND);
    if (err != 0)
        check(et.s[0] && memcmp(&before, b, sizeof before) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sim_behaviour b;
    if (size == 0 || size > TEXT_MAX)
        return 0;
    memset(&b, 0, sizeof b);
    sim_behaviour_defaults(&b);
    if (data[0] & 1)
        from_text(&b, (const char *)data + 1, size - 1);
    else
        from_json(&b, (const char *)data + 1, size - 1);
    check_whole(&b);
    return 0;
}
