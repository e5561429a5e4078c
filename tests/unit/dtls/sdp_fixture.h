/* SPDX-License-Identifier: Apache-2.0 */
/* Offers, and what a parser makes of them. */
#ifndef TESTS_UNIT_DTLS_SDP_FIXTURE_H
#define TESTS_UNIT_DTLS_SDP_FIXTURE_H

#include "dtls/sdp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define FP_HEX "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
#define FP_256 "sha-256 " FP_HEX
#define FP_384 "sha-384 " FP_HEX ":AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89"
#define FP_512 "sha-512 " FP_HEX ":" FP_HEX
#define PWD    "passwordofatleast22chars"

#define TRANSPORT                                                                                                      \
    "a=ice-ufrag:Zx9+\r\na=ice-pwd:" PWD "\r\na=ice-options:trickle\r\na=fingerprint:" FP_256 "\r\na=setup:"           \
    "actpass\r\n"
#define HEAD "v=0\r\no=- 4611731400430051336 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"

/* Written in the form of a browser's offer: sound, pictures with retransmission, and a data channel. */
static const char browser[] =
    HEAD "a=group:BUNDLE 0 1 2\r\n"
         "a=extmap-allow-mixed\r\n"
         "a=msid-semantic: WMS stream\r\n"
         "m=audio 51472 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126\r\n"
         "c=IN IP4 192.0.2.33\r\n"
         "a=rtcp:9 IN IP4 0.0.0.0\r\n"
         "a=candidate:1467250027 1 udp 2122260223 192.0.2.33 51472 typ host generation 0 network-id 1\r\n"
         "a=candidate:2 1 udp 2122194687 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 51473 typ host generation 0\r\n"
         "a=candidate:3 1 tcp 1518280447 192.0.2.33 9 typ host tcptype active generation 0\r\n"
         "a=candidate:4 2 udp 2122260222 192.0.2.33 51474 typ host generation 0\r\n"
         "a=candidate:5 1 UDP 1686052607 2001:db8::33 51475 typ srflx raddr 0.0.0.0 rport 0\r\n" TRANSPORT "a=mid:0\r\n"
         "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n"
         "a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid\r\n"
         "a=sendrecv\r\n"
         "a=msid:stream track\r\n"
         "a=rtcp-mux\r\n"
         "a=rtcp-rsize\r\n"
         "a=rtpmap:111 opus/48000/2\r\n"
         "a=rtcp-fb:111 transport-cc\r\n"
         "a=fmtp:111 minptime=10;useinbandfec=1\r\n"
         "a=rtpmap:63 red/48000/2\r\n"
         "a=fmtp:63 111/111\r\n"
         "a=rtpmap:9 G722/8000\r\n"
         "a=rtpmap:0 PCMU/8000\r\n"
         "a=rtpmap:8 PCMA/8000\r\n"
         "a=rtpmap:13 CN/8000\r\n"
         "a=rtpmap:110 telephone-event/48000\r\n"
         "a=rtpmap:126 telephone-event/8000\r\n"
         "a=ssrc:3570614608 cname:4TOk42mSjXCkVIa6\r\n"
         "m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103 114\r\n"
         "c=IN IP4 0.0.0.0\r\n" TRANSPORT "a=mid:1\r\n"
         "a=sendonly\r\n"
         "a=rtcp-mux\r\n"
         "a=rtpmap:96 VP8/90000\r\n"
         "a=rtcp-fb:96 nack pli\r\n"
         "a=rtpmap:97 rtx/90000\r\n"
         "a=fmtp:97 apt=96\r\n"
         "a=rtpmap:102 H264/90000\r\n"
         "a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n"
         "a=rtpmap:103 rtx/90000\r\n"
         "a=fmtp:103 apt=102\r\n"
         "a=rtpmap:114 ulpfec/90000\r\n"
         "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"
         "c=IN IP4 0.0.0.0\r\n" TRANSPORT "a=mid:2\r\n"
         "a=sctp-port:5000\r\n";

#define SIMPLE_MEDIA "m=audio 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=rtcp-mux\r\n"
static const char simple[] = HEAD TRANSPORT SIMPLE_MEDIA;

static inline struct sdp *parsed(const char *text) {
    struct err_text et = {""};
    struct sdp *s = NULL;
    if (sdp_parse(&s, text, strlen(text), &et) != 0)
        fail_msg("%s", et.s);
    return s;
}

/* The text with `from` replaced by `to` once; static buffers, two in turn, so that calls can be nested. */
static inline const char *with(const char *text, const char *from, const char *to) {
    static char buffers[2][16384];
    static unsigned turn;
    char made[sizeof buffers[0]]; /* text may be in one of the buffers */
    const char *at = strstr(text, from);
    assert_non_null(at);
    snprintf(made, sizeof made, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return strcpy(buffers[turn++ % 2], made);
}

static inline void assert_codecs(const struct sdp_media *m, const char *want) {
    struct buf b = {0};
    for (size_t i = 0; i < m->codec_count; i++)
        buf_addf(&b, "%s%d", i ? " " : "", m->codecs[i].pt);
    assert_string_equal(b.p, want);
    buf_free(&b);
}

#endif
