/* SPDX-License-Identifier: Apache-2.0 */
/* A proxy's answer to CONNECT: it comes to the same, in one piece or in many, and takes no byte of what follows it. */
#include "apns/apns_proxy.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

/* How many bytes the answer took in all; *err gets the outcome. */
static size_t read_in_pieces(const char *p, size_t len, size_t piece, int *err) {
    struct apns_proxy_answer a = {0};
    struct err_text et = {""};
    size_t used = 0;
    *err = E_AGAIN;
    for (size_t at = 0; at < len; at += piece) {
        size_t n = len - at < piece ? len - at : piece;
        *err = apns_proxy_read(&a, p + at, n, &used, &et);
        check(a.len <= APNS_PROXY_ANSWER_MAX_BYTES);
        if (*err == 0)
            check(used > 0 && used <= n);
        else if (*err != E_AGAIN)
            check(et.s[0] || *err == E_MALFORMED);
        if (*err != E_AGAIN)
            return at + used;
    }
    return len;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    int whole_err, pieces_err;
    if (size < 2)
        return 0;
    const char *p = (const char *)data + 1;
    size_t whole = read_in_pieces(p, size - 1, size - 1, &whole_err);
    size_t pieces = read_in_pieces(p, size - 1, 1 + data[0] % 64U, &pieces_err);
    check(whole_err == pieces_err);
    if (whole_err == 0) {
        check(whole == pieces && whole >= 4 && memcmp(p + whole - 4, "\r\n\r\n", 4) == 0);
        check(memcmp(p, "HTTP/1.", 7) == 0);
    }
    return 0;
}
