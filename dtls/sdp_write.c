/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "dtls/sdp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CANDIDATE_PRIORITY 2130706431U /* RFC 8445 5.1.2.1: host, highest local preference, component 1 */
#define DIRECTIONS         4

static const char *const direction_names[DIRECTIONS] = {"sendrecv", "sendonly", "recvonly", "inactive"};
static const char *const setup_names[] = {"", "actpass", "active", "passive"};

/* Attributes that describe the codec or the stream and pass through; those with a payload type first follow their
 * codec. */
static const char *const per_codec[] = {"rtpmap:", "fmtp:", "rtcp-fb:"};
static const char *const per_section[] = {
    "extmap:", "extmap-allow-mixed", "ptime:", "maxptime:", "rtcp-rsize", "framerate:"};
/* Those of them that a brief description has, too. */
static const char *const in_brief[] = {"rtpmap:", "fmtp:", "ptime:", "maxptime:"};

/* RFC 9143 15. Who agrees to it must send it: a browser then drops packets that do not carry it. The answer leaves
 * before anybody knows what the phone can do, so it is never agreed to, and packets are told apart by payload type
 * (9.2). */
static const char mid_extension[] = "urn:ietf:params:rtp-hdrext:sdes:mid";

enum sdp_setup sdp_answer_setup(const struct sdp *offer) {
    return offer->setup == SDP_SETUP_PASSIVE ? SDP_SETUP_ACTIVE : SDP_SETUP_PASSIVE;
}

static bool is_media(const struct sdp_media *m) {
    return strcmp(m->kind, "audio") == 0 || strcmp(m->kind, "video") == 0;
}

static bool in_bundle(const struct sdp *s, const struct sdp_media *m) {
    for (size_t i = 0; i < s->bundle_count; i++)
        if (strcmp(s->bundle_mids[i], m->mid) == 0)
            return true;
    return false;
}

static bool is_wanted(const struct sdp *offer, const struct sdp_media *m) {
    if (!is_media(m) || !strstr(m->proto, "RTP/") || m->codec_count == 0)
        return false;
    if (offer->bundle && m->mid[0])
        return in_bundle(offer, m) && (m->port != 0 || offer->bundle_count > 1);
    return m->port != 0;
}

/* One transport serves the call, with RTP and RTCP in it (RFC 5761): every bundled section, or else the first one. */
static bool is_takeable(const struct sdp *offer, size_t i) {
    const struct sdp_media *m = &offer->media[i];
    if (!is_wanted(offer, m) || !m->rtcp_mux)
        return false;
    for (size_t k = 0; k < i && !(offer->bundle && m->mid[0]); k++)
        if (is_wanted(offer, &offer->media[k]) && offer->media[k].rtcp_mux)
            return false;
    return true;
}

int sdp_check_offer(const struct sdp *offer, struct err_text *et) {
    bool any = false;
    size_t without_mux = 0;
    for (size_t i = 0; i < offer->media_count; i++) {
        any = any || is_takeable(offer, i);
        if (!without_mux && is_wanted(offer, &offer->media[i]) && !offer->media[i].rtcp_mux)
            without_mux = i + 1;
    }
    if (!any && without_mux)
        return err_say(
            et, E_UNSUPPORTED,
            "m-line %zu (%s) has no a=rtcp-mux; RTP and RTCP must share one port: switch it on at the caller",
            without_mux, offer->media[without_mux - 1].kind);
    if (!any)
        return err_say(et, E_UNSUPPORTED, "no audio or video m-line that can be taken");
    if (!offer->ice_ufrag[0] != !offer->ice_pwd[0])
        return err_say(et, E_MALFORMED, "a=ice-ufrag and a=ice-pwd come together, or not at all without ICE");
    if (!offer->fingerprint_count)
        return err_say(et, E_MALFORMED, "no a=fingerprint with sha-256, sha-384 or sha-512");
    if (offer->setup == SDP_SETUP_NONE)
        return err_say(et, E_MALFORMED, "no a=setup; actpass, active or passive is needed");
    if (!sdp_has_ice(offer) && sdp_answer_setup(offer) == SDP_SETUP_ACTIVE && !addr_is_set(&offer->address))
        return err_say(et, E_UNSUPPORTED,
                       "no ICE, a=setup:passive, and no address in c= and m= to begin DTLS with; say a=setup:actpass");
    return 0;
}

bool sdp_has_ice(const struct sdp *s) {
    return s->ice_ufrag[0] && s->ice_pwd[0] && !s->ice_lite;
}

static bool starts_with(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool is_named(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (strcasecmp(names[i], name) == 0)
            return true;
    return false;
}

/* The payload type that a retransmission codec serves ("fmtp:97 apt=96"), or -1. */
static int apt_of(const struct sdp_media *m, int pt) {
    char prefix[24];
    int apt = -1;
    snprintf(prefix, sizeof prefix, "fmtp:%d ", pt);
    for (size_t i = 0; i < m->line_count; i++) {
        const char *at = starts_with(m->lines[i], prefix) ? strstr(m->lines[i], "apt=") : NULL;
        if (at)
            apt = atoi(at + 4);
    }
    return apt;
}

static const char *const helpers[] = {"telephone-event", "CN", "red", "ulpfec", "flexfec-03", "rtx"};

/* Does it carry sound or pictures itself, and does the app allow it? */
static bool carries(const struct sdp_codec *c, const struct sdp_local *l) {
    return !is_named(helpers, sizeof helpers / sizeof *helpers, c->name) &&
           (l->codec_count == 0 || is_named(l->codecs, l->codec_count, c->name));
}

static bool codec_brief(const struct sdp_media *m, const struct sdp_codec *c, const struct sdp_local *l) {
    unsigned before = 0;
    for (const struct sdp_codec *k = m->codecs; k < c; k++)
        before += carries(k, l);
    return carries(c, l) && before < l->brief_codecs;
}

static bool codec_allowed(const struct sdp_media *m, const struct sdp_codec *c, const struct sdp_local *l) {
    if (l->brief_codecs)
        return codec_brief(m, c, l);
    if (l->codec_count == 0 || is_named(l->codecs, l->codec_count, c->name))
        return true;
    if (strcasecmp(c->name, "rtx") == 0) {
        int apt = apt_of(m, c->pt);
        for (size_t i = 0; i < m->codec_count; i++)
            if (m->codecs[i].pt == apt && strcasecmp(m->codecs[i].name, "rtx") != 0)
                return codec_allowed(m, &m->codecs[i], l);
        return false;
    }
    return is_named(helpers, sizeof helpers / sizeof *helpers, c->name);
}

/* Is there a codec among the allowed ones that carries sound or pictures itself? */
static bool section_allowed(const struct sdp_media *m, const struct sdp_local *l) {
    for (size_t i = 0; i < m->codec_count; i++)
        if (l->brief_codecs ? carries(&m->codecs[i], l)
                            : l->codec_count == 0 || is_named(l->codecs, l->codec_count, m->codecs[i].name))
            return true;
    return false;
}

/* RFC 8285 6: what one side only sends, the other only receives. The identifier and its direction come first. */
static void write_extmap(struct buf *out, const char *line, bool mirror) {
    static const char recv[] = "/recvonly ", send[] = "/sendonly ";
    size_t n = strcspn(line, "/ ");
    const char *rest = line + n;
    const char *other = !mirror ? NULL : starts_with(rest, recv) ? send : starts_with(rest, send) ? recv : NULL;
    buf_addf(out, "a=%.*s%s%s\r\n", (int)n, line, other ? other : "", other ? rest + strlen(other) : rest);
}

static bool passes(const char *attribute, const struct sdp_local *l) {
    return !l->brief_codecs || is_named(in_brief, sizeof in_brief / sizeof *in_brief, attribute);
}

/* mirror: for the other side of the offer, as opposed to one that passes it on. */
static void write_codec_lines(struct buf *out, const struct sdp_media *m, const struct sdp_local *l, bool mirror) {
    for (size_t i = 0; i < m->line_count; i++) {
        const char *line = m->lines[i];
        for (size_t k = 0; k < sizeof per_codec / sizeof *per_codec; k++) {
            if (!starts_with(line, per_codec[k]) || !passes(per_codec[k], l))
                continue;
            const char *pt = line + strlen(per_codec[k]);
            for (size_t c = 0; c < m->codec_count; c++)
                if ((*pt == '*' && c == 0) ||
                    (*pt != '*' && atoi(pt) == m->codecs[c].pt && codec_allowed(m, &m->codecs[c], l)))
                    buf_addf(out, "a=%s\r\n", line);
        }
        for (size_t k = 0; k < sizeof per_section / sizeof *per_section; k++)
            if (starts_with(line, per_section[k]) && passes(per_section[k], l) && !strstr(line, mid_extension))
                write_extmap(out, line, mirror && k == 0);
    }
}

static void write_address(struct buf *out, const struct addr *a) {
    char ip[ADDR_STR_BYTES];
    buf_addf(out, "c=IN %s %s\r\n", a->u.sa.sa_family == AF_INET6 ? "IP6" : "IP4", addr_ip(ip, a));
}

static void write_candidates(struct buf *out, const struct sdp_local *l) {
    char ip[ADDR_STR_BYTES];
    for (size_t i = 0; i < l->candidate_count; i++)
        buf_addf(out, "a=candidate:%zu 1 udp %u %s %u typ host\r\n", i + 1, CANDIDATE_PRIORITY - (unsigned)i * 256U,
                 addr_ip(ip, &l->candidates[i]), addr_port(&l->candidates[i]));
    buf_adds(out, "a=end-of-candidates\r\n");
}

static void write_security(struct buf *out, const struct sdp_local *l) {
    if (!l->keys) {
        buf_addf(out, "a=fingerprint:%s\r\na=setup:%s\r\n", l->fingerprint, setup_names[l->setup]);
        if (l->tls_id)
            buf_addf(out, "a=tls-id:%s\r\n", l->tls_id);
        return;
    }
    const struct media_profile_info *info = media_profile_info(l->keys->profile);
    char text[B64_BYTES(MEDIA_MASTER_MAX_BYTES)];
    b64_encode(text, l->keys->tx, info->key_bytes + info->salt_bytes);
    buf_addf(out, "a=crypto:1 %s inline:%s\r\n", info->sdes, text);
}

static void write_rejected(struct buf *out, const struct sdp_media *m) {
    buf_addf(out, "m=%s 0 %s", m->kind, m->proto);
    buf_addf(out, " %s", m->format[0] ? m->format : "0");
    buf_adds(out, "\r\nc=IN IP4 0.0.0.0\r\na=inactive\r\n");
    if (m->mid[0])
        buf_addf(out, "a=mid:%s\r\n", m->mid);
}

/* RFC 3264 6.1: what the offerer only sends, we only receive. */
static enum sdp_direction mirrored(enum sdp_direction d) {
    return d == SDP_SENDONLY ? SDP_RECVONLY : d == SDP_RECVONLY ? SDP_SENDONLY : d;
}

/* mirror: an answer, as opposed to an offer to somebody else. */
static void write_section(struct buf *out, const struct sdp_media *m, const struct sdp_local *l, const char *proto,
                          bool mirror) {
    enum sdp_direction direction = mirror ? mirrored(m->direction) : m->direction;
    buf_addf(out, "m=%s %u %s", m->kind, addr_port(&l->candidates[0]), proto);
    for (size_t i = 0; i < m->codec_count; i++)
        if (codec_allowed(m, &m->codecs[i], l))
            buf_addf(out, " %d", m->codecs[i].pt);
    buf_adds(out, "\r\n");
    write_address(out, &l->candidates[0]);
    if (m->mid[0])
        buf_addf(out, "a=mid:%s\r\n", m->mid);
    if (l->ufrag)
        buf_addf(out, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", l->ufrag, l->pwd);
    write_security(out, l);
    buf_addf(out, "a=%s\r\na=rtcp-mux\r\n", direction_names[direction]);
    if (direction == SDP_SENDRECV || direction == SDP_SENDONLY)
        buf_addf(out, "a=msid:wakegate %s\r\n", m->kind);
    write_codec_lines(out, m, l, mirror);
    if (l->ufrag)
        write_candidates(out, l);
}

static void write_head(struct buf *out, const struct sdp *offer, const struct sdp_local *l, const bool *take) {
    char ip[ADDR_STR_BYTES];
    bool v6 = l->candidates[0].u.sa.sa_family == AF_INET6;
    buf_addf(out, "v=0\r\no=- %" PRIu64 " 1 IN %s %s\r\ns=-\r\nt=0 0\r\n", l->session_id, v6 ? "IP6" : "IP4",
             addr_ip(ip, &l->candidates[0]));
    if (!l->full_ice && l->ufrag)
        buf_adds(out, "a=ice-lite\r\n");
    if (l->trickle)
        buf_adds(out, "a=ice-options:trickle\r\n");
    if (!offer->bundle)
        return;
    buf_adds(out, "a=group:BUNDLE");
    for (size_t i = 0; i < offer->media_count; i++)
        if (take[i] && offer->media[i].mid[0])
            buf_addf(out, " %s", offer->media[i].mid);
    buf_adds(out, "\r\n");
}

int sdp_check_fragment(const struct sdp *fragment, const struct sdp *offer, struct err_text *et) {
    for (size_t i = 0; i < fragment->media_count; i++) {
        const struct sdp_media *m = &fragment->media[i];
        bool known = false;
        for (size_t k = 0; k < offer->media_count; k++)
            known = known || strcmp(offer->media[k].mid, m->mid) == 0;
        if (!known)
            return err_say(et, E_MALFORMED, "m-line %zu (%s): its a=mid (\"%s\") is none of the offer's", i + 1,
                           m->kind, m->mid);
    }
    return 0;
}

int sdp_write_fragment(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et) {
    size_t i = 0;
    while (i + 1 < offer->media_count && !is_takeable(offer, i))
        i++;
    const struct sdp_media *m = &offer->media[i];
    buf_adds(out, "a=ice-lite\r\na=ice-options:trickle\r\n");
    buf_addf(out, "m=%s %u %s %d\r\n", m->kind, addr_port(&l->candidates[0]), m->proto, m->codecs[0].pt);
    if (m->mid[0])
        buf_addf(out, "a=mid:%s\r\n", m->mid);
    buf_addf(out, "a=ice-ufrag:%s\r\na=ice-pwd:%s\r\n", l->ufrag, l->pwd);
    write_candidates(out, l);
    return out->oom ? err_say(et, E_NOMEM, "out of memory") : 0;
}

/* Which sections are taken; false when none is. */
static bool choose(bool take[static SDP_MEDIA_MAX], const struct sdp *offer, const struct sdp_local *l) {
    bool any = false;
    for (size_t i = 0; i < offer->media_count; i++) {
        take[i] = is_takeable(offer, i) && section_allowed(&offer->media[i], l);
        any = any || take[i];
    }
    return any;
}

int sdp_write_answer(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et) {
    bool take[SDP_MEDIA_MAX] = {0};
    if (!choose(take, offer, l))
        return err_say(et, E_UNSUPPORTED, "no m-line has a codec that the app allows");
    write_head(out, offer, l, take);
    for (size_t i = 0; i < offer->media_count; i++) {
        const struct sdp_media *m = &offer->media[i];
        if (take[i])
            write_section(out, m, l, m->proto, true);
        else
            write_rejected(out, m);
    }
    return out->oom ? err_say(et, E_NOMEM, "out of memory") : 0;
}

int sdp_answer_pt(const struct sdp *offer, const struct sdp_local *l, const char *codec, uint32_t clock_hz) {
    bool take[SDP_MEDIA_MAX] = {0};
    choose(take, offer, l);
    for (size_t i = 0; i < offer->media_count; i++) {
        const struct sdp_media *m = &offer->media[i];
        bool listens = m->direction == SDP_SENDRECV || m->direction == SDP_RECVONLY;
        for (size_t k = 0; take[i] && listens && strcmp(m->kind, "audio") == 0 && k < m->codec_count; k++)
            if (strcasecmp(m->codecs[k].name, codec) == 0 && m->codecs[k].clock_hz == clock_hz &&
                codec_allowed(m, &m->codecs[k], l))
                return m->codecs[k].pt;
    }
    return E_NOTFOUND;
}

int sdp_write_handoff(struct buf *out, const struct sdp *offer, const struct sdp_local *l, struct err_text *et) {
    bool take[SDP_MEDIA_MAX] = {0};
    if (!choose(take, offer, l))
        return err_say(et, E_UNSUPPORTED, "no m-line has a codec that the app allows");
    write_head(out, offer, l, take);
    for (size_t i = 0; i < offer->media_count; i++)
        if (take[i])
            write_section(out, &offer->media[i], l, l->keys ? "RTP/SAVPF" : "UDP/TLS/RTP/SAVPF", false);
    return out->oom ? err_say(et, E_NOMEM, "out of memory") : 0;
}
