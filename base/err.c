/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const texts[] = {
    [0] = "ok",
    [-E_NOMEM] = "out of memory",
    [-E_INVAL] = "not usable",
    [-E_MALFORMED] = "malformed",
    [-E_AUTH] = "authentication failed",
    [-E_CONFLICT] = "conflict",
    [-E_NOTFOUND] = "not found",
    [-E_FULL] = "full",
    [-E_AGAIN] = "try again later",
    [-E_CLOSED] = "closed",
    [-E_IO] = "input/output error",
    [-E_CRYPTO] = "cryptographic failure",
    [-E_STATE] = "not possible in this state",
    [-E_TIMEOUT] = "timed out",
    [-E_UNSUPPORTED] = "not supported",
    [-E_EXPIRED] = "expired",
    [-E_DENIED] = "not allowed",
};

const char *err_str(int err) {
    if (err > 0 || -err >= (int)(sizeof texts / sizeof *texts) || !texts[-err])
        return "unknown error";
    return texts[-err];
}

int err_say(struct err_text *et, int err, const char *fmt, ...) {
    va_list ap;
    if (et) {
        va_start(ap, fmt);
        vsnprintf(et->s, sizeof et->s, fmt, ap);
        va_end(ap);
    }
    return err;
}
