/* SPDX-License-Identifier: Apache-2.0 */
/* A frame from a phone: read, or refused with a code and a sentence. Receipts are among them. */
#include "gateway/attach.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct attach_msg m;
    struct err_text et = {""};
    const char *code = NULL;
    if (attach_read(&m, (const char *)data, size, &code, &et) != 0) {
        if (!code || !code[0] || !et.s[0])
            abort();
        return 0;
    }
    const char *const texts[] = {m.device, m.secret, m.token, m.call, m.app_state, m.os_version, m.sdp, m.reason};
    size_t sum = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        sum += strlen(texts[i]);
    if (sum > 8 * size)
        abort();
    if (m.type == ATTACH_RECEIPT) {
        struct ledger_known known = {.remaining_ms = 1000};
        struct ledger l;
        ledger_open(&l, &known, 1000, 41000);
        ledger_receipt(&l, &m.receipt, 2000);
        if (ledger_receipt(&l, &m.receipt, 3000)) /* the same again changes nothing */
            abort();
        ledger_tick(&l, 50000);
    }
    attach_msg_free(&m);
    return 0;
}
