/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/load/push_names.h"

#include "base/addr.h"

#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>

typedef int resolve_fn(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list);

static char names[PUSH_NAMES_MAX][ADDR_STR_BYTES];
static unsigned count;

bool push_names_set(const char *addresses) {
    struct addr a;
    for (const char *p = addresses; *p; p += p[0] == ',') {
        size_t n = strcspn(p, ",");
        if (count == PUSH_NAMES_MAX || n >= sizeof names[0])
            return false;
        snprintf(names[count], sizeof names[0], "%.*s", (int)n, p);
        if (addr_parse(&a, names[count++], 0) != 0)
            return false;
        p += n;
    }
    return count > 0;
}

/* Each address by the C library, so that its freeaddrinfo takes the whole list. */
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **list) {
    void *next = dlsym(RTLD_NEXT, "getaddrinfo");
    resolve_fn *resolve;
    struct addrinfo **end = list;
    memcpy(&resolve, &next, sizeof resolve);
    if (count == 0)
        return resolve(name, service, hints, list);
    *list = NULL;
    for (unsigned i = 0; i < count; i++) {
        int err = resolve(names[i], service, hints, end);
        if (err != 0) {
            *end = NULL;
            if (*list)
                freeaddrinfo(*list);
            return err;
        }
        while (*end)
            end = &(*end)->ai_next;
    }
    return 0;
}
