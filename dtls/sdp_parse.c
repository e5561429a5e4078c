/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bytes.h"
#include "dtls/sdp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LINES_GROW     32   /* of SDP_LINES_MAX; a call keeps its offer */
#define LINE_MAX_BYTES 4096 /* the longest lines of browsers' offers have some 300 */

/* The transport attributes of one level: the session's, or one m-section's. */
struct transport {
    char ufrag[ICE_REMOTE_UFRAG_BYTES], pwd[257];
    enum sdp_setup setup;
    struct sdp_fingerprint fingerprints[SDP_FINGERPRINTS_MAX];
    size_t fingerprint_count;
    char tls_id[256];
    bool has_address;    /* there is a c= line */
    struct addr address; /* of it; unset when it names no host */
};

struct parser {
    struct sdp *sdp;
    struct sdp_media *media; /* the current m-section; NULL at session level */
    struct transport session, sections[SDP_MEDIA_MAX];
    enum sdp_direction session_direction;
    int line;
    bool fragment; /* of trickle ICE, no whole description */
    struct err_text *et;
};

static int __attribute__((format(printf, 3, 4))) complain(struct parser *p, int err, const char *fmt, ...) {
    char text[ERR_TEXT_BYTES - 32];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return err_say(p->et, err, "line %d: %s", p->line, text);
}

static struct transport *transport_of(struct parser *p) {
    return p->media ? &p->sections[p->media - p->sdp->media] : &p->session;
}

/* The next blank-separated word of *s into out; false at the end or when it does not fit. */
static bool word(const char **s, char *out, size_t cap) {
    *s += strspn(*s, " ");
    size_t n = strcspn(*s, " ");
    if (n == 0 || n >= cap)
        return false;
    memcpy(out, *s, n);
    out[n] = 0;
    *s += n;
    return true;
}

static bool number(const char *s, unsigned long max, unsigned long *value) {
    char *end;
    if (*s < '0' || *s > '9')
        return false;
    *value = strtoul(s, &end, 10);
    return *end == 0 && *value <= max;
}

/* ice-char of RFC 8839 5.4. */
static bool is_ice_chars(const char *s, size_t min, size_t max) {
    size_t n = strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/");
    return s[n] == 0 && n >= min && n <= max;
}

static int attr_ufrag(struct parser *p, const char *v) {
    if (!is_ice_chars(v, 4, 256))
        return complain(p, E_MALFORMED, "a=ice-ufrag needs 4 to 256 letters, digits, + or /");
    snprintf(transport_of(p)->ufrag, sizeof transport_of(p)->ufrag, "%s", v);
    return 0;
}

static int attr_pwd(struct parser *p, const char *v) {
    if (!is_ice_chars(v, 22, 256))
        return complain(p, E_MALFORMED, "a=ice-pwd needs 22 to 256 letters, digits, + or /");
    snprintf(transport_of(p)->pwd, sizeof transport_of(p)->pwd, "%s", v);
    return 0;
}

static int attr_setup(struct parser *p, const char *v) {
    static const char *const names[] = {"", "actpass", "active", "passive"};
    for (int i = SDP_SETUP_ACTPASS; i <= SDP_SETUP_PASSIVE; i++) {
        if (strcmp(v, names[i]) == 0) {
            transport_of(p)->setup = (enum sdp_setup)i;
            return 0;
        }
    }
    return complain(p, E_UNSUPPORTED, "a=setup:%.32s: actpass, active or passive is needed", v);
}

/* RFC 8842 4: 20 to 255 letters, digits, +, /, - or _. */
static int attr_tls_id(struct parser *p, const char *v) {
    size_t n = strspn(v, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_");
    if (v[n] || n < 20 || n >= sizeof transport_of(p)->tls_id)
        return complain(p, E_MALFORMED, "a=tls-id needs 20 to 255 letters, digits, +, /, - or _");
    snprintf(transport_of(p)->tls_id, sizeof transport_of(p)->tls_id, "%s", v);
    return 0;
}

/* "sha-256 AB:CD:..." (RFC 8122 5). A hash that we do not know is left out: another line may have one that we do. */
static int attr_fingerprint(struct parser *p, const char *v) {
    static const struct {
        const char *name;
        size_t len;
    } hashes[] = {{"sha-256", 32}, {"sha-384", 48}, {"sha-512", 64}};
    struct transport *t = transport_of(p);
    struct sdp_fingerprint f = {0};
    char hash[32], hex[2 * sizeof f.value + 1];
    size_t n = 0, want = 0;
    if (!word(&v, hash, sizeof hash))
        return complain(p, E_MALFORMED, "a=fingerprint has no hash name");
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        if (strcasecmp(hash, hashes[i].name) == 0) {
            snprintf(f.hash, sizeof f.hash, "%s", hashes[i].name);
            want = hashes[i].len;
        }
    }
    if (want == 0)
        return 0;
    v += strspn(v, " ");
    for (; *v && n < sizeof hex - 1; v++)
        if (*v != ':')
            hex[n++] = *v;
    hex[n] = 0;
    int len = hex_decode(f.value, sizeof f.value, hex);
    if (len < 0 || *v || (size_t)len != want)
        return complain(p, E_MALFORMED, "a=fingerprint: %s needs %zu bytes in hex with colons, there are %d", f.hash,
                        want, len < 0 ? 0 : len);
    f.len = want;
    if (t->fingerprint_count == SDP_FINGERPRINTS_MAX)
        return complain(p, E_UNSUPPORTED, "more than %d fingerprints", SDP_FINGERPRINTS_MAX);
    t->fingerprints[t->fingerprint_count++] = f;
    return 0;
}

static int attr_group(struct parser *p, const char *v) {
    char mid[64];
    struct sdp *s = p->sdp;
    if (strncmp(v, "BUNDLE", 6) != 0 || (v[6] != ' ' && v[6] != 0) || s->bundle)
        return 0;
    s->bundle = true;
    v += 6;
    while (s->bundle_count < SDP_MEDIA_MAX && word(&v, mid, sizeof mid))
        snprintf(s->bundle_mids[s->bundle_count++], sizeof mid, "%s", mid);
    return 0;
}

static int attr_mid(struct parser *p, const char *v) {
    if (p->media && (*v == 0 || strlen(v) >= sizeof p->media->mid || strchr(v, ' ')))
        return complain(p, E_MALFORMED, "a=mid needs a word of 1 to %zu characters", sizeof p->media->mid - 1);
    if (p->media)
        snprintf(p->media->mid, sizeof p->media->mid, "%s", v);
    return 0;
}

static int attr_ice_lite(struct parser *p, const char *v) {
    (void)v;
    p->sdp->ice_lite = true;
    return 0;
}

static int attr_ice_options(struct parser *p, const char *v) {
    p->sdp->trickle = p->sdp->trickle || strstr(v, "trickle");
    return 0;
}

static int attr_rtcp_mux(struct parser *p, const char *v) {
    (void)v;
    if (p->media)
        p->media->rtcp_mux = true;
    return 0;
}

static int set_direction(struct parser *p, enum sdp_direction d) {
    if (p->media)
        p->media->direction = d;
    else
        p->session_direction = d;
    return 0;
}

static int attr_sendrecv(struct parser *p, const char *v) {
    (void)v;
    return set_direction(p, SDP_SENDRECV);
}

static int attr_sendonly(struct parser *p, const char *v) {
    (void)v;
    return set_direction(p, SDP_SENDONLY);
}

static int attr_recvonly(struct parser *p, const char *v) {
    (void)v;
    return set_direction(p, SDP_RECVONLY);
}

static int attr_inactive(struct parser *p, const char *v) {
    (void)v;
    return set_direction(p, SDP_INACTIVE);
}

/* "PT name/clock[/channels]" (RFC 8866 6.6). */
static int attr_rtpmap(struct parser *p, const char *v) {
    char pt[8], name[64];
    unsigned long value, clock = 0, channels = 1;
    if (!p->media)
        return 0;
    if (!word(&v, pt, sizeof pt) || !number(pt, 127, &value) || !word(&v, name, sizeof name))
        return complain(p, E_MALFORMED, "a=rtpmap needs a payload type of 0 to 127 and a codec");
    char *slash = strchr(name, '/');
    if (slash) {
        *slash = 0;
        clock = strtoul(slash + 1, &slash, 10);
        if (*slash == '/')
            channels = strtoul(slash + 1, NULL, 10);
    }
    for (size_t i = 0; i < p->media->codec_count; i++) {
        struct sdp_codec *c = &p->media->codecs[i];
        if (c->pt != (int)value)
            continue;
        snprintf(c->name, sizeof c->name, "%.31s", name);
        c->clock_hz = (uint32_t)clock;
        c->channels = channels >= 1 && channels <= 255 ? (int)channels : 1;
    }
    return 0;
}

static void add_candidate(struct sdp *s, const struct addr *a) {
    for (size_t i = 0; i < s->candidate_count; i++)
        if (addr_eq(&s->candidates[i], a))
            return;
    if (s->candidate_count < SDP_CANDIDATES_MAX)
        s->candidates[s->candidate_count++] = *a;
}

/* RFC 8839 5.1: foundation component transport priority address port typ ... Names (mDNS), TCP and the RTCP component
 * are no use to us and are passed over. */
static int attr_candidate(struct parser *p, const char *v) {
    char foundation[40], component[8], transport[8], priority[16], address[256], port[8];
    unsigned long port_value;
    struct addr a;
    if (!word(&v, foundation, sizeof foundation) || !word(&v, component, sizeof component) ||
        !word(&v, transport, sizeof transport) || !word(&v, priority, sizeof priority) ||
        !word(&v, address, sizeof address) || !word(&v, port, sizeof port) || !number(port, 65535, &port_value))
        return complain(p, E_MALFORMED,
                        "a=candidate needs foundation, component, transport, priority, address and port");
    p->sdp->candidate_lines++;
    if (strcasecmp(transport, "udp") == 0 && strcmp(component, "1") == 0 && port_value > 0 &&
        addr_parse(&a, address, (uint16_t)port_value) == 0)
        add_candidate(p->sdp, &a);
    return 0;
}

static int attr_end_of_candidates(struct parser *p, const char *v) {
    (void)v;
    p->sdp->end_of_candidates = true;
    return 0;
}

/* RFC 4568 9.1: "tag suite inline:key||salt[|lifetime][|MKI:length] [session-parameters]". A suite that we do not know
 * is left out. */
static int attr_crypto(struct parser *p, const char *v) {
    char tag[16], suite[64], inline_key[256];
    unsigned long tag_value;
    if (!p->media || p->media->crypto.profile != MEDIA_PROFILE_NONE)
        return 0;
    if (!word(&v, tag, sizeof tag) || !number(tag, 999999999, &tag_value) || !word(&v, suite, sizeof suite) ||
        !word(&v, inline_key, sizeof inline_key) || strncmp(inline_key, "inline:", 7) != 0)
        return complain(p, E_MALFORMED, "a=crypto needs a tag, a suite and inline:KEY");
    const struct media_profile_info *info = media_profile_by_sdes(suite);
    if (!info)
        return 0;
    int n = b64_decode(p->media->crypto.master, sizeof p->media->crypto.master, inline_key + 7,
                       strcspn(inline_key + 7, "|"));
    if (n != (int)(info->key_bytes + info->salt_bytes))
        return complain(p, E_MALFORMED, "a=crypto: %s needs %zu bytes of key and salt in base64", info->sdes,
                        info->key_bytes + info->salt_bytes);
    p->media->crypto.profile = info->profile;
    p->media->crypto.tag = (int)tag_value;
    return 0;
}

static const struct {
    const char *name;
    int (*parse)(struct parser *p, const char *value);
} attrs[] = {
    {"ice-ufrag", attr_ufrag},     {"ice-pwd", attr_pwd},
    {"setup", attr_setup},         {"fingerprint", attr_fingerprint},
    {"group", attr_group},         {"mid", attr_mid},
    {"ice-lite", attr_ice_lite},   {"ice-options", attr_ice_options},
    {"rtcp-mux", attr_rtcp_mux},   {"sendrecv", attr_sendrecv},
    {"sendonly", attr_sendonly},   {"recvonly", attr_recvonly},
    {"inactive", attr_inactive},   {"rtpmap", attr_rtpmap},
    {"candidate", attr_candidate}, {"crypto", attr_crypto},
    {"tls-id", attr_tls_id},       {"end-of-candidates", attr_end_of_candidates},
};

static int keep_line(struct parser *p, const char *line) {
    struct sdp_media *m = p->media;
    if (!m)
        return 0;
    if (m->line_count == SDP_LINES_MAX)
        return complain(p, E_UNSUPPORTED, "more than %d attribute lines in one m-section", SDP_LINES_MAX);
    if (m->line_count % LINES_GROW == 0) {
        char **lines = reallocarray(m->lines, m->line_count + LINES_GROW, sizeof *lines);
        if (!lines)
            return complain(p, E_NOMEM, "out of memory");
        m->lines = lines;
    }
    if (!(m->lines[m->line_count] = strdup(line)))
        return complain(p, E_NOMEM, "out of memory");
    m->line_count++;
    return 0;
}

static int parse_attr(struct parser *p, const char *line) {
    size_t n = strcspn(line, ":");
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++) {
        if (strlen(attrs[i].name) == n && strncmp(line, attrs[i].name, n) == 0) {
            int err = attrs[i].parse(p, line[n] ? line + n + 1 : "");
            if (err != 0)
                return err;
        }
    }
    return keep_line(p, line);
}

/* RFC 3551 6: payload types whose rtpmap may be missing. */
static void fill_static(struct sdp_codec *c) {
    static const struct sdp_codec statics[] = {{0, "PCMU", 8000, 1}, {3, "GSM", 8000, 1}, {8, "PCMA", 8000, 1},
                                               {9, "G722", 8000, 1}, {13, "CN", 8000, 1}, {18, "G729", 8000, 1}};
    for (size_t i = 0; i < sizeof statics / sizeof *statics; i++)
        if (statics[i].pt == c->pt)
            *c = statics[i];
}

static bool has_codec(const struct sdp_media *m, int pt) {
    for (size_t i = 0; i < m->codec_count; i++)
        if (m->codecs[i].pt == pt)
            return true;
    return false;
}

/* "kind port[/n] proto fmt..." (RFC 8866 5.14). */
static int parse_media(struct parser *p, const char *v) {
    char port[16], fmt[64];
    unsigned long value;
    if (p->sdp->media_count == SDP_MEDIA_MAX)
        return complain(p, E_UNSUPPORTED, "more than %d m-lines", SDP_MEDIA_MAX);
    struct sdp_media *m = reallocarray(p->sdp->media, p->sdp->media_count + 1, sizeof *m);
    if (!m)
        return complain(p, E_NOMEM, "out of memory");
    p->sdp->media = m;
    m += p->sdp->media_count;
    memset(m, 0, sizeof *m);
    if (!word(&v, m->kind, sizeof m->kind) || !word(&v, port, sizeof port) || !word(&v, m->proto, sizeof m->proto))
        return complain(p, E_MALFORMED, "m= needs a kind, a port and a protocol");
    port[strcspn(port, "/")] = 0;
    if (!number(port, 65535, &value))
        return complain(p, E_MALFORMED, "m= has no usable port");
    m->port = (uint16_t)value;
    m->direction = p->session_direction;
    p->media = m;
    p->sdp->media_count++;
    const char *formats = v;
    if (word(&formats, fmt, sizeof fmt))
        snprintf(m->format, sizeof m->format, "%.31s", fmt);
    bool rtp = strstr(m->proto, "RTP/") != NULL;
    while (rtp && word(&v, fmt, sizeof fmt)) {
        if (!number(fmt, 127, &value))
            return complain(p, E_MALFORMED, "m=: \"%.32s\" is not a payload type of 0 to 127", fmt);
        if (has_codec(m, (int)value)) /* a payload type named twice must not double what is written for it */
            continue;
        if (m->codec_count == SDP_CODECS_MAX)
            return complain(p, E_UNSUPPORTED, "more than %d codecs in one m-line", SDP_CODECS_MAX);
        struct sdp_codec *c = &m->codecs[m->codec_count++];
        *c = (struct sdp_codec){.pt = (int)value, .channels = 1};
        fill_static(c);
    }
    return 0;
}

/* Can a datagram be sent there? */
static bool is_host(const struct addr *a) {
    if (a->u.sa.sa_family == AF_INET6)
        return !IN6_IS_ADDR_UNSPECIFIED(&a->u.v6.sin6_addr) && !IN6_IS_ADDR_MULTICAST(&a->u.v6.sin6_addr);
    uint32_t ip = ntohl(a->u.v4.sin_addr.s_addr);
    return ip != INADDR_ANY && ip != INADDR_BROADCAST && !IN_MULTICAST(ip);
}

static int parse_connection(struct parser *p, const char *v) {
    char net[8], family[8], address[256];
    struct transport *t = transport_of(p);
    struct addr a;
    if (!word(&v, net, sizeof net) || !word(&v, family, sizeof family) || !word(&v, address, sizeof address))
        return complain(p, E_MALFORMED, "c= needs a network, a family and an address");
    address[strcspn(address, "/")] = 0;
    t->has_address = true;
    t->address = (struct addr){0};
    if (addr_parse(&a, address, 0) == 0 && is_host(&a))
        t->address = a;
    return 0;
}

static void parse_origin(struct parser *p, const char *v) {
    char user[128];
    if (word(&v, user, sizeof user))
        word(&v, p->sdp->session_id, sizeof p->sdp->session_id);
}

static int parse_line(struct parser *p, const char *line) {
    if (line[0] < 'a' || line[0] > 'z' || line[1] != '=')
        return complain(p, E_MALFORMED, "not of the form letter=value");
    if (p->fragment && line[0] != 'a' && line[0] != 'm')
        return complain(p, E_MALFORMED, "a fragment has a= and m= lines only");
    if (!p->fragment && p->line == 1 && strcmp(line, "v=0") != 0)
        return complain(p, E_MALFORMED, "an SDP description begins with v=0");
    switch (line[0]) {
    case 'm':
        return parse_media(p, line + 2);
    case 'a':
        return parse_attr(p, line + 2);
    case 'c':
        return parse_connection(p, line + 2);
    case 'o':
        parse_origin(p, line + 2);
        return 0;
    default:
        return 0;
    }
}

static int parse_lines(struct parser *p, const char *text, size_t len) {
    char line[LINE_MAX_BYTES];
    for (const char *end = text + len; text < end;) {
        const char *eol = memchr(text, '\n', (size_t)(end - text));
        size_t n = (size_t)((eol ? eol : end) - text);
        p->line++;
        if (n >= sizeof line)
            return complain(p, E_UNSUPPORTED, "longer than %d bytes", LINE_MAX_BYTES - 1);
        memcpy(line, text, n);
        line[n] = 0;
        if (n > 0 && line[n - 1] == '\r')
            line[--n] = 0;
        if (strlen(line) != n)
            return complain(p, E_MALFORMED, "a NUL byte");
        int err = n == 0 ? 0 : parse_line(p, line);
        if (err != 0)
            return err;
        text = eol ? eol + 1 : end;
    }
    return p->line == 0 ? err_say(p->et, E_MALFORMED, "the description is empty") : 0;
}

/* The m-section that carries the transport: the first of the bundle, or the first that is not rejected. */
static size_t transport_section(const struct sdp *s) {
    for (size_t i = 0; s->bundle_count > 0 && i < s->media_count; i++)
        if (strcmp(s->media[i].mid, s->bundle_mids[0]) == 0)
            return i;
    for (size_t i = 0; i < s->media_count; i++)
        if (s->media[i].port != 0)
            return i;
    return 0;
}

/* What the section does not say, the session level says (RFC 8839 5.4, RFC 8122 5, RFC 4145 4). */
static void choose_transport(struct parser *p) {
    struct sdp *s = p->sdp;
    const struct transport *t = &p->sections[transport_section(s)], *g = &p->session;
    memcpy(s->ice_ufrag, t->ufrag[0] ? t->ufrag : g->ufrag, sizeof s->ice_ufrag);
    memcpy(s->ice_pwd, t->pwd[0] ? t->pwd : g->pwd, sizeof s->ice_pwd);
    s->setup = t->setup != SDP_SETUP_NONE ? t->setup : g->setup;
    const struct transport *f = t->fingerprint_count ? t : g;
    memcpy(s->fingerprints, f->fingerprints, sizeof s->fingerprints);
    s->fingerprint_count = f->fingerprint_count;
    memcpy(s->tls_id, t->tls_id[0] ? t->tls_id : g->tls_id, sizeof s->tls_id);
    const struct addr *a = t->has_address ? &t->address : &g->address; /* RFC 8866 5.7 */
    if (s->media_count && addr_is_set(a) && s->media[transport_section(s)].port) {
        s->address = *a;
        addr_set_port(&s->address, s->media[transport_section(s)].port);
    }
    if (!s->ice_ufrag[0] && addr_is_set(&s->address))
        add_candidate(s, &s->address);
}

/* A fragment may name its credentials in any of its sections: they share one transport. */
static void choose_credentials(struct parser *p) {
    struct sdp *s = p->sdp;
    const struct transport *t = &p->session;
    for (size_t i = 0; i < s->media_count && !t->ufrag[0] && !t->pwd[0]; i++)
        t = &p->sections[i];
    memcpy(s->ice_ufrag, t->ufrag, sizeof s->ice_ufrag);
    memcpy(s->ice_pwd, t->pwd, sizeof s->ice_pwd);
}

static int parse(struct sdp **sp, const char *text, size_t len, bool fragment, struct err_text *et) {
    if (len > SDP_MAX_BYTES)
        return err_say(et, E_UNSUPPORTED, "the description has %zu bytes; at most %d are taken", len, SDP_MAX_BYTES);
    struct parser *p = calloc(1, sizeof *p);
    struct sdp *s = calloc(1, sizeof *s);
    struct sdp_media *none = calloc(1, sizeof *none);
    if (!p || !s || !none) {
        free(p);
        free(s);
        free(none);
        return err_say(et, E_NOMEM, "out of memory");
    }
    s->media = none;
    p->sdp = s;
    p->et = et;
    p->fragment = fragment;
    int err = parse_lines(p, text, len);
    if (err == 0 && fragment)
        choose_credentials(p);
    else if (err == 0)
        choose_transport(p);
    else
        s = sdp_free(s);
    free(p);
    *sp = s;
    return err;
}

int sdp_parse(struct sdp **sp, const char *text, size_t len, struct err_text *et) {
    return parse(sp, text, len, false, et);
}

int sdp_parse_fragment(struct sdp **sp, const char *text, size_t len, struct err_text *et) {
    int err = parse(sp, text, len, true, et);
    if (err != 0)
        return err;
    const struct sdp *s = *sp;
    if (!s->ice_ufrag[0] != !s->ice_pwd[0])
        err = err_say(et, E_MALFORMED, "a=ice-ufrag and a=ice-pwd belong together, in one place of the fragment");
    else if (!s->ice_ufrag[0] && s->candidate_lines == 0 && !s->end_of_candidates)
        err = err_say(et, E_MALFORMED, "the fragment has no a=candidate, a=end-of-candidates or a=ice-ufrag");
    if (err != 0)
        *sp = sdp_free(*sp);
    return err;
}

struct sdp *sdp_free(struct sdp *s) {
    for (size_t i = 0; s && i < s->media_count; i++) {
        for (size_t k = 0; k < s->media[i].line_count; k++)
            free(s->media[i].lines[k]);
        free(s->media[i].lines);
    }
    if (s)
        free(s->media);
    free(s);
    return NULL;
}
