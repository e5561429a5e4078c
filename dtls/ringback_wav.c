/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/ringback_priv.h"

#include <stdbool.h>
#include <string.h>

#define RIFF_HEADER_BYTES  12
#define CHUNK_HEADER_BYTES 8
#define FORMAT_BYTES       16
#define FORMAT_PCM         1
#define FORMAT_ALAW        6
#define FORMAT_MULAW       7
#define PCMU_SILENCE       0xff

static unsigned le16(const uint8_t *p) {
    return (unsigned)p[0] | (unsigned)p[1] << 8;
}

static uint32_t le32(const uint8_t *p) {
    return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static int check_format(const uint8_t *p, size_t len, struct err_text *et) {
    if (len < FORMAT_BYTES)
        return err_say(et, E_MALFORMED, "the fmt chunk is cut off");
    unsigned format = le16(p), channels = le16(p + 2), bits = le16(p + 14);
    uint32_t rate = le32(p + 4);
    if (format != FORMAT_MULAW)
        return err_say(et, E_UNSUPPORTED, "WAV with %s (format %u); mu-law (format %d) is needed",
                       format == FORMAT_PCM    ? "linear samples"
                       : format == FORMAT_ALAW ? "A-law"
                                               : "another codec",
                       format, FORMAT_MULAW);
    if (rate != PCMU_HZ)
        return err_say(et, E_UNSUPPORTED, "%u samples a second; PCMU has %u", rate, PCMU_HZ);
    if (channels != 1)
        return err_say(et, E_UNSUPPORTED, "%u channels; PCMU has one", channels);
    if (bits != 8)
        return err_say(et, E_UNSUPPORTED, "%u bits a sample; PCMU has 8", bits);
    return 0;
}

static int add_frames(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et) {
    uint8_t last[PCMU_FRAME_BYTES];
    int err = 0;
    if (len == 0)
        return err_say(et, E_MALFORMED, "no sound in it");
    for (; len >= PCMU_FRAME_BYTES && err == 0; p += PCMU_FRAME_BYTES, len -= PCMU_FRAME_BYTES)
        err = ringback_add(r, p, PCMU_FRAME_BYTES, et);
    if (err != 0 || len == 0)
        return err;
    memset(last, PCMU_SILENCE, sizeof last);
    memcpy(last, p, len);
    return ringback_add(r, last, sizeof last, et);
}

/* Chunks of an id, a length and a body that is padded to an even length; `fmt ` comes before `data`. */
int ringback_wav_read(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et) {
    bool formatted = false;
    r->codec = "PCMU";
    r->clock_hz = PCMU_HZ;
    for (size_t at = RIFF_HEADER_BYTES; len - at >= CHUNK_HEADER_BYTES;) {
        const uint8_t *id = p + at;
        size_t body = le32(id + 4);
        at += CHUNK_HEADER_BYTES;
        if (body > len - at)
            return err_say(et, E_MALFORMED, "a chunk of %zu bytes is cut off: the file is damaged", body);
        if (memcmp(id, "data", 4) == 0)
            return formatted ? add_frames(r, p + at, body, et)
                             : err_say(et, E_MALFORMED, "no fmt chunk before the data chunk");
        if (memcmp(id, "fmt ", 4) == 0) {
            int err = check_format(p + at, body, et);
            if (err != 0)
                return err;
            formatted = true;
        }
        at += body;
        at += body % 2 && at < len;
    }
    return err_say(et, E_MALFORMED, "no data chunk in it");
}
