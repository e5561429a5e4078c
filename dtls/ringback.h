/* SPDX-License-Identifier: Apache-2.0 */
/* A ringback tone: a file's sound as RTP payloads of 20 ms each, ready to be sent. The file is Ogg Opus (RFC 7845) with
 * one stream of 20 ms packets, mono or stereo, or WAV with 8-bit mu-law (PCMU), mono, 8 kHz. Thread: any; it does not
 * change after it was made. */
#ifndef DTLS_RINGBACK_H
#define DTLS_RINGBACK_H

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

#define RINGBACK_FILE_MAX_BYTES  (1U << 20) /* a minute of Opus at 128 kbit/s */
#define RINGBACK_FRAME_MS        20
#define RINGBACK_FRAMES_MAX      3000 /* a minute; it is played in a loop */
#define RINGBACK_FRAME_MAX_BYTES 1000 /* with RTP header and SRTP tag under every MTU that DTLS is held to */

struct ringback;

/* Returns 0, or with a sentence: E_IO, E_NOMEM, E_FULL (too long or too large), E_MALFORMED (damaged),
 * E_UNSUPPORTED (another format, codec, rate, number of channels or frame length). The sentence begins with the path.
 */
int ringback_load(struct ringback **rp, const char *path, struct err_text *et);
/* The same of a file's bytes, without a path in the sentence. */
int ringback_parse(struct ringback **rp, const uint8_t *p, size_t len, struct err_text *et);
struct ringback *ringback_free(struct ringback *r);

/* As an rtpmap has them: "opus" and 48000, or "PCMU" and 8000. */
const char *ringback_codec(const struct ringback *r);
uint32_t ringback_clock_hz(const struct ringback *r);
unsigned ringback_frames(const struct ringback *r); /* at least one */
/* One frame's payload; borrowed, as long as r. i < ringback_frames. */
const uint8_t *ringback_frame(const struct ringback *r, unsigned i, size_t *len);

#endif
