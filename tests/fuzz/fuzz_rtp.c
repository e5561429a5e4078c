/* SPDX-License-Identifier: Apache-2.0 */
/* A datagram as RTP or RTCP: its header's fields, and SRTP that nobody protected. */
#include "dtls/rtp.h"
#include "dtls/rtp_crypt.h"

#include <stdlib.h>
#include <string.h>

#define DGRAM_MAX 1500

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct media_keys keys = {.profile = MEDIA_PROFILE_AEAD_AES_128_GCM, .rx = {1}, .tx = {2}};
    static struct rtp_crypt *crypt;
    static struct rtp_streams streams;
    if (!crypt && (rtp_crypt_init(NULL) != 0 || rtp_crypt_new(&crypt, &keys) != 0))
        abort();
    if (size > DGRAM_MAX || !rtp_is_rtp_or_rtcp(data, size))
        return 0;
    bool rtcp = rtp_is_rtcp(data, size);
    if (!rtcp)
        rtp_streams_note(&streams, rtp_ssrc(data), rtp_seq(data));
    if (streams.count > RTP_STREAMS_MAX)
        abort();
    /* Of that size, for the address sanitizer. */
    uint8_t *p = malloc(size);
    if (!p)
        return 0;
    memcpy(p, data, size);
    size_t len = size;
    if (rtp_crypt_unprotect(crypt, p, &len, rtcp) == 0)
        abort();
    free(p);
    p = malloc(size + RTP_CRYPT_TRAILER_BYTES);
    if (!p)
        return 0;
    memcpy(p, data, size);
    len = size;
    if (rtp_crypt_protect(crypt, p, &len, rtcp) == 0 && len > size + RTP_CRYPT_TRAILER_BYTES)
        abort();
    free(p);
    return 0;
}
