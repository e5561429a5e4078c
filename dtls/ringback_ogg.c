/* SPDX-License-Identifier: Apache-2.0 */
#include "dtls/ringback_priv.h"

#include <ogg/ogg.h>
#include <stdbool.h>
#include <string.h>

#define OPUS_HZ            48000 /* of RTP timestamps, whatever was encoded (RFC 7587 4.1) */
#define OPUS_FRAME_SAMPLES (OPUS_HZ / 1000 * RINGBACK_FRAME_MS)
#define OPUS_HEAD_BYTES    19

struct reader {
    struct ringback *r;
    ogg_stream_state stream;
    bool open;
    unsigned packets;
};

/* RFC 6716 3.1 and 3.2: the samples (at 48 kHz) of a packet; 0 when it is none. */
static unsigned packet_samples(const uint8_t *p, size_t len) {
    static const unsigned silk[] = {480, 960, 1920, 2880}, celt[] = {120, 240, 480, 960};
    if (len == 0)
        return 0;
    unsigned config = p[0] >> 3, code = p[0] & 3;
    unsigned samples = config < 12 ? silk[config & 3] : config < 16 ? silk[config & 1] : celt[config & 3];
    unsigned frames = code == 0 ? 1 : code < 3 ? 2 : len > 1 ? p[1] & 0x3f : 0;
    return frames * samples;
}

/* RFC 7845 5.1 */
static int take_head(const uint8_t *p, size_t len, struct err_text *et) {
    if (len < 8 || memcmp(p, "OpusHead", 8) != 0)
        return err_say(et, E_UNSUPPORTED, "Ogg without Opus; make it with opusenc");
    if (len < OPUS_HEAD_BYTES || p[8] > 15)
        return err_say(et, E_MALFORMED, "its Opus header is damaged, or of a later version");
    if (p[9] < 1 || p[9] > 2 || p[18] != 0)
        return err_say(et, E_UNSUPPORTED, "%u channels; one or two are needed", p[9]);
    return 0;
}

static int take_packet(struct reader *rd, const uint8_t *p, size_t len, struct err_text *et) {
    unsigned number = rd->packets++;
    if (number == 0)
        return take_head(p, len, et);
    if (number == 1)
        return len >= 8 && memcmp(p, "OpusTags", 8) == 0 ? 0 : err_say(et, E_MALFORMED, "no comment header in it");
    if (packet_samples(p, len) != OPUS_FRAME_SAMPLES)
        return err_say(et, E_UNSUPPORTED,
                       "packet %u has another length than %d ms; make it with opusenc --framesize %d", number - 1,
                       RINGBACK_FRAME_MS, RINGBACK_FRAME_MS);
    if (len > RINGBACK_FRAME_MAX_BYTES)
        return err_say(et, E_UNSUPPORTED,
                       "packet %u has %zu bytes; at most %d fit into a datagram: use a lower bitrate", number - 1, len,
                       RINGBACK_FRAME_MAX_BYTES);
    return ringback_add(rd->r, p, len, et);
}

static int take_page(struct reader *rd, ogg_page *page, struct err_text *et) {
    ogg_packet packet;
    int got, err = 0;
    if (!rd->open) {
        if (ogg_stream_init(&rd->stream, ogg_page_serialno(page)) != 0)
            return err_say(et, E_NOMEM, "out of memory");
        rd->open = true;
    } else if (ogg_page_serialno(page) != rd->stream.serialno) {
        return err_say(et, E_UNSUPPORTED, "more than one stream in it; one Opus stream alone is needed");
    }
    if (ogg_stream_pagein(&rd->stream, page) != 0)
        return err_say(et, E_MALFORMED, "a page cannot be read: the file is damaged");
    while (err == 0 && (got = ogg_stream_packetout(&rd->stream, &packet)) != 0)
        err = got > 0 ? take_packet(rd, packet.packet, (size_t)packet.bytes, et)
                      : err_say(et, E_MALFORMED, "a page is missing: the file is damaged");
    return err;
}

int ringback_ogg_read(struct ringback *r, const uint8_t *p, size_t len, struct err_text *et) {
    struct reader rd = {.r = r};
    ogg_sync_state sync;
    ogg_page page;
    int got, err = 0;
    r->codec = "opus";
    r->clock_hz = OPUS_HZ;
    ogg_sync_init(&sync);
    char *to = ogg_sync_buffer(&sync, (long)len);
    if (to) {
        memcpy(to, p, len);
        ogg_sync_wrote(&sync, (long)len);
    } else {
        err = err_say(et, E_NOMEM, "out of memory");
    }
    while (err == 0 && (got = ogg_sync_pageout(&sync, &page)) != 0)
        err = got > 0 ? take_page(&rd, &page, et)
                      : err_say(et, E_MALFORMED, "a page has a wrong checksum: the file is damaged");
    if (err == 0 && sync.returned != sync.fill)
        err = err_say(et, E_MALFORMED, "the last page is cut off: the file is damaged");
    if (err == 0 && r->count == 0)
        err = err_say(et, E_MALFORMED, "no sound in it");
    if (rd.open)
        ogg_stream_clear(&rd.stream);
    ogg_sync_clear(&sync);
    return err;
}
