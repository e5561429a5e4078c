/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file, from YAML to the checked structure. Every refusal is a sentence with the file's name. */
#include "config/config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INPUT_MAX 8192 /* libyaml's time grows with the square of the nesting */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int fd = -1;
    static char path[32];
    struct err_text et = {""};
    struct config *c = NULL;
    if (fd < 0) {
        fd = memfd_create("config", MFD_CLOEXEC);
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    }
    if (size > INPUT_MAX || ftruncate(fd, 0) != 0 || pwrite(fd, data, size, 0) != (ssize_t)size)
        return 0;
    int err = config_load(&c, path, &et);
    if ((err == 0) != (c != NULL) || (err != 0 && strncmp(et.s, path, strlen(path)) != 0))
        abort();
    if (c) {
        struct config_query q = {.callee = "someone", .caller = "+4930", .tenant = "default"};
        struct buf explain = {0};
        config_route(c, &q, &explain);
        buf_free(&explain);
    }
    config_unref(c);
    return 0;
}
