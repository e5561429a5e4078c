/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram to the STUN parser: what it says lies inside of the datagram. */
#include "dtls/stun_msg.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct stun_msg m;
    if (stun_msg_parse(&m, data, size) != 0)
        return 0;
    check(stun_msg_is_stun(data, size));
    check(m.txid == data + 8);
    check(m.unknown_count <= sizeof m.unknown_required / sizeof *m.unknown_required);
    if (m.username_len) {
        size_t at = (size_t)((const uint8_t *)m.username - data);
        check(at >= STUN_HEADER_BYTES && at + m.username_len <= size);
    }
    if (m.integrity_at)
        check(m.integrity_at + 24 <= size);
    stun_msg_check(&m, "a password of 22 chars");
    return 0;
}
