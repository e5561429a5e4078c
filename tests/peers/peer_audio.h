/* SPDX-License-Identifier: Apache-2.0 */
/* Sound for simulated peers: a tone as RTP packets (PCMU, RFC 3551; Opus, RFC 7587), and a meter that names the tone in
 * what arrives. Everything is at 8 kHz inside. Thread: one. */
#ifndef TESTS_PEERS_PEER_AUDIO_H
#define TESTS_PEERS_PEER_AUDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PEER_AUDIO_PTIME_MS     20
#define PEER_AUDIO_PACKET_BYTES 512 /* an RTP packet of 20 ms fits, with room for an SRTP trailer */

enum peer_codec { PEER_CODEC_NONE, PEER_CODEC_PCMU, PEER_CODEC_OPUS };

/* By its name in an rtpmap, either case; NONE when it is not one of ours. */
enum peer_codec peer_codec_by_name(const char *name);
/* Is the tone that a meter named the expected one? Within 10 Hz; no tone (0) is never the expected one. */
bool peer_tone_is(double heard_hz, double expected_hz);

struct peer_tone; /* the sender */

/* hz: 50..3500; pt: RTP payload type. Returns 0, E_NOMEM, E_UNSUPPORTED. */
int peer_tone_new(struct peer_tone **tp, enum peer_codec codec, int pt, double hz);
struct peer_tone *peer_tone_free(struct peer_tone *t);
/* The next 20 ms as a plain RTP packet; returns its length. */
size_t peer_tone_packet(struct peer_tone *t, uint8_t out[static PEER_AUDIO_PACKET_BYTES]);

struct peer_meter; /* the receiver */

int peer_meter_new(struct peer_meter **mp);
struct peer_meter *peer_meter_free(struct peer_meter *m);
/* Decode one plain RTP packet. */
void peer_meter_packet(struct peer_meter *m, enum peer_codec codec, const uint8_t *rtp, size_t len);
/* The strongest frequency of the last half second, in Hz to the nearest 5, or 0 when there is no clear tone (less than
 * half of the energy within it) or less than half a second of sound. */
double peer_meter_hz(const struct peer_meter *m);
uint64_t peer_meter_packets(const struct peer_meter *m);

#endif
