/* SPDX-License-Identifier: Apache-2.0 */
/* A real database in a folder of its own, and a loop that runs until what was asked for has come. */
#ifndef TESTS_UNIT_GATEWAY_STORE_FIXTURE_H
#define TESTS_UNIT_GATEWAY_STORE_FIXTURE_H

#include "base/clock.h"
#include "base/log.h"
#include "gateway/store.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#define FIXTURE_WAIT_MS 5000

struct store_fixture {
    uv_loop_t loop;
    struct store *store;
    char folder[64], path[96], url[112];
    bool closed;
    struct rlimit file_size; /* before fixture_disk_full */
};

/* Returns 0, or -1 for cmocka. */
static inline int fixture_init(struct store_fixture *f) {
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_LOGFMT);
    /* In memory where there is such a folder: how fast a disk is, is not what is tested. */
    snprintf(f->folder, sizeof f->folder, "%s/wakegate-test.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(f->folder) || uv_loop_init(&f->loop) != 0)
        return -1;
    snprintf(f->path, sizeof f->path, "%s/w.db", f->folder);
    snprintf(f->url, sizeof f->url, "sqlite:%s", f->path);
    return 0;
}

static inline void fixture_open(struct store_fixture *f) {
    struct err_text et = {""};
    if (store_open(&f->store, &f->loop, f->url, &et) != 0)
        fail_msg("%s", et.s);
}

static inline void fixture_on_closed(void *arg) {
    *(bool *)arg = true;
}

static inline void fixture_close(struct store_fixture *f) {
    f->closed = false;
    store_close(f->store, fixture_on_closed, &f->closed);
    f->store = NULL;
    assert_false(f->closed); /* from the loop, never from within the call */
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_true(f->closed);
}

/* Run the loop until *count is at least n. */
static inline void fixture_wait(struct store_fixture *f, const unsigned *count, unsigned n) {
    uint64_t until = clock_mono_ms() + FIXTURE_WAIT_MS;
    while (*count < n && clock_mono_ms() < until) {
        if (uv_run(&f->loop, UV_RUN_NOWAIT) && *count < n)
            usleep(200);
    }
    assert_true(*count >= n);
}

/* From now on no file may grow beyond so many bytes: what a full disk is like. */
static inline void fixture_disk_full(struct store_fixture *f, rlim_t bytes) {
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &f->file_size), 0);
    struct rlimit less = {bytes, f->file_size.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
}

static inline void fixture_disk_has_room(struct store_fixture *f) {
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &f->file_size), 0);
}

static inline int fixture_free(struct store_fixture *f) {
    static const char *const endings[] = {"", "-wal", "-shm", ".lock"};
    char name[128];
    if (f->store)
        fixture_close(f);
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        snprintf(name, sizeof name, "%s%s", f->path, endings[i]);
        unlink(name);
    }
    return rmdir(f->folder) == 0 && uv_loop_close(&f->loop) == 0 ? 0 : -1;
}

#endif
