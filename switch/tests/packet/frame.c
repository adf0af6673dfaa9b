/* See frame.h. */
#include "frame.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <rte_mbuf.h>

#define HEADROOM 64

struct writer {
    uint8_t *bytes;
    size_t n;
};

static void put(struct writer *w, const void *data, size_t n) {
    memcpy(w->bytes + w->n, data, n);
    w->n += n;
}

static void put8(struct writer *w, uint8_t value) {
    put(w, &value, 1);
}

static void put16(struct writer *w, uint16_t value) {
    put8(w, value >> 8);
    put8(w, value & 0xff);
}

static void put32(struct writer *w, uint32_t value) {
    put16(w, value >> 16);
    put16(w, value & 0xffff);
}

static void patch16(struct writer *w, size_t at, uint16_t value) {
    w->bytes[at] = value >> 8;
    w->bytes[at + 1] = value & 0xff;
}

/* RFC 1071 by its text. */
static uint32_t sum16(uint32_t sum, const uint8_t *data, size_t n) {
    for (size_t i = 0; i < n; i++) {
        sum += i % 2 ? data[i] : (uint32_t) data[i] << 8;
    }
    while (sum > 0xffff) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return sum;
}

/* Bit by bit, polynomial 0x1EDC6F41 reflected. */
static uint32_t crc32c(const uint8_t *data, size_t n) {
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < n; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0x82f63b78 : crc >> 1;
        }
    }
    return ~crc;
}

struct frame frame_of(uint16_t eth_type, uint8_t ip_proto) {
    struct frame f = {
        .eth_dst = {2, 0, 0, 0, 0, 0xd},
        .eth_src = {2, 0, 0, 0, 0, 0x5},
        .mpls_type = 0x8847,
        .eth_type = eth_type,
        .tos = 0x2a,
        .ttl = 64,
        .ip_proto = ip_proto,
        .ipv4_src = 0x0a000001,
        .ipv4_dst = 0xc0a80102,
        .flow_label = 0x12345,
        .ipv6_src = {0x20, 1, 0xd, 0xb8, [15] = 1},
        .ipv6_dst = {0x20, 1, 0xd, 0xb8, [14] = 7, [15] = 2},
        .tp_src = 1000,
        .tp_dst = 2000,
        .nd_target = {0xfe, 0x80, [15] = 9},
        .nd_address = {2, 0, 0, 0, 0, 0x5},
        .arp_sha = {2, 0, 0, 0, 0, 0x5},
        .inner_ttl = 33,
        .payload = 21,
    };
    if (ip_proto == ICMP || ip_proto == ICMPV6) {
        f.tp_src = ip_proto == ICMP ? 8 : 128;
        f.tp_dst = 0;
    }
    return f;
}

static void put_payload(struct writer *w, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        put8(w, (uint8_t) (i * 7 + 1));
    }
}

static bool is_nd(const struct frame *f) {
    return f->ip_proto == ICMPV6 && (f->tp_src == 135 || f->tp_src == 136);
}

static void put_icmp(struct writer *w, const struct frame *f) {
    put8(w, f->tp_src);
    put8(w, f->tp_dst);
    put16(w, 0);
    put32(w, is_nd(f) ? (uint32_t) f->nd_flags << 24 : 0x00010002);
    if (is_nd(f)) {
        put(w, f->nd_target, 16);
    }
    if (is_nd(f) && f->nd_option) {
        put8(w, f->nd_option);
        put8(w, 1);
        put(w, f->nd_address, 6);
    }
    put_payload(w, is_nd(f) ? 0 : f->payload);
}

static void put_tcp(struct writer *w, const struct frame *f) {
    put16(w, f->tp_src);
    put16(w, f->tp_dst);
    put32(w, 0x01020304);
    put32(w, 0x05060708);
    put16(w, 0x5018);
    put16(w, 0x2000);
    put32(w, 0);
    put_payload(w, f->payload);
}

static void put_udp(struct writer *w, const struct frame *f) {
    put16(w, f->tp_src);
    put16(w, f->tp_dst);
    put16(w, 8 + f->payload);
    put16(w, 0);
    put_payload(w, f->payload);
}

static void put_sctp(struct writer *w, const struct frame *f) {
    put16(w, f->tp_src);
    put16(w, f->tp_dst);
    put32(w, 0xcafe);
    put32(w, 0);
    put_payload(w, f->payload);
}

static void put_inner_ipv4(struct writer *w, const struct frame *f) {
    size_t at = w->n;
    put32(w, 0x45000014);
    put32(w, 0);
    put16(w, (uint16_t) (f->inner_ttl << 8 | NONE));
    put16(w, 0);
    put32(w, 0x01010101);
    put32(w, 0x02020202);
    patch16(w, at + 10, ~sum16(0, w->bytes + at, 20));
}

/* The transport, its checksum over `pseudo` (the sum of the addresses). */
static void put_l4(struct writer *w, const struct frame *f, uint32_t pseudo) {
    size_t at = w->n;
    static const uint8_t offset[256] = {[TCP] = 16, [UDP] = 6, [ICMP] = 2, [ICMPV6] = 2};
    switch (f->ip_proto) {
    case TCP:
        put_tcp(w, f);
        break;
    case UDP:
        put_udp(w, f);
        break;
    case SCTP:
        put_sctp(w, f);
        uint32_t crc = crc32c(w->bytes + at, w->n - at);
        memcpy(w->bytes + at + 8, &crc, 4); /* little-endian on the wire, as on the hosts we test on */
        break;
    case ICMP:
    case ICMPV6:
        put_icmp(w, f);
        break;
    case IPIP:
        put_inner_ipv4(w, f);
        break;
    default:
        put_payload(w, f->payload);
        break;
    }
    if (offset[f->ip_proto] && !(f->ip_proto == UDP && f->no_udp_checksum)) {
        uint32_t start = f->ip_proto == ICMP ? 0 : pseudo + f->ip_proto + (uint32_t) (w->n - at);
        uint16_t checksum = ~sum16(start, w->bytes + at, w->n - at);
        patch16(w, at + offset[f->ip_proto], checksum || f->ip_proto != UDP ? checksum : 0xffff);
    }
}

static void put_ipv4(struct writer *w, const struct frame *f) {
    size_t at = w->n;
    put16(w, 0x4500 | f->tos);
    put16(w, 0);
    put16(w, 77);
    put16(w, f->ipv4_fragment);
    put16(w, (uint16_t) (f->ttl << 8 | f->ip_proto));
    put16(w, 0);
    put32(w, f->ipv4_src);
    put32(w, f->ipv4_dst);
    put_l4(w, f, sum16(0, w->bytes + at + 12, 8));
    patch16(w, at + 2, w->n - at);
    patch16(w, at + 10, ~sum16(0, w->bytes + at, 20));
}

static void put_extension(struct writer *w, const struct frame *f, uint8_t kind, uint8_t next) {
    put8(w, next);
    if (kind == FRAGMENT) {
        put8(w, 0);
        put16(w, f->fragment);
        put32(w, 99);
    } else if (kind == AH) {
        put8(w, 4);
        put_payload(w, 22);
    } else {
        put8(w, 0);
        put16(w, kind == ROUTING ? f->segments_left : 0x0104);
        put32(w, 0);
    }
}

static void put_ipv6(struct writer *w, const struct frame *f) {
    size_t at = w->n;
    put32(w, 6U << 28 | (uint32_t) f->tos << 20 | f->flow_label);
    put16(w, 0);
    put8(w, f->n_extensions ? f->extensions[0] : f->ip_proto);
    put8(w, f->ttl);
    put(w, f->ipv6_src, 16);
    put(w, f->ipv6_dst, 16);
    for (unsigned i = 0; i < f->n_extensions; i++) {
        put_extension(w, f, f->extensions[i], i + 1 < f->n_extensions ? f->extensions[i + 1] : f->ip_proto);
    }
    put_l4(w, f, sum16(0, w->bytes + at + 8, 32));
    patch16(w, at + 4, w->n - at - 40);
}

static void put_arp(struct writer *w, const struct frame *f) {
    put32(w, 0x00010800);
    put16(w, 0x0604);
    put16(w, f->tp_src);
    put(w, f->arp_sha, 6);
    put32(w, f->ipv4_src);
    put(w, f->arp_tha, 6);
    put32(w, f->ipv4_dst);
}

static void put_backbone(struct writer *w, const struct frame *f) {
    put(w, f->backbone_dst, 6);
    put(w, f->backbone_src, 6);
    if (f->backbone_vlan) {
        put16(w, 0x88a8);
        put16(w, f->backbone_vlan);
    }
    put16(w, 0x88e7);
    put32(w, f->itag);
}

size_t frame_render(const struct frame *f, uint8_t bytes[FRAME_MAX]) {
    struct writer w = {bytes, 0};
    if (f->pbb) {
        put_backbone(&w, f);
    }
    put(&w, f->eth_dst, 6);
    put(&w, f->eth_src, 6);
    for (unsigned i = 0; i < f->n_vlan; i++) {
        put16(&w, f->vlan[i].tpid);
        put16(&w, f->vlan[i].tci);
    }
    put16(&w, f->n_mpls ? f->mpls_type : f->eth_type);
    for (unsigned i = 0; i < f->n_mpls; i++) {
        put32(&w, f->mpls[i]);
    }
    switch (f->eth_type) {
    case 0x0800:
        put_ipv4(&w, f);
        break;
    case 0x86dd:
        put_ipv6(&w, f);
        break;
    case 0x0806:
        put_arp(&w, f);
        break;
    default:
        put_payload(&w, f->payload);
        break;
    }
    return w.n;
}

struct rte_mbuf *bytes_packet(const uint8_t *bytes, size_t n, size_t tailroom) {
    struct rte_mbuf *packet = calloc(1, sizeof *packet);
    packet->buf_len = HEADROOM + n + tailroom;
    packet->buf_addr = malloc(packet->buf_len);
    packet->data_off = HEADROOM;
    packet->data_len = n;
    packet->pkt_len = n;
    packet->nb_segs = 1;
    packet->refcnt = 1;
    if (n) {
        memcpy((uint8_t *) packet->buf_addr + HEADROOM, bytes, n);
    }
    return packet;
}

struct rte_mbuf *frame_packet(const struct frame *frame) {
    uint8_t bytes[FRAME_MAX];
    size_t n = frame_render(frame, bytes);
    return bytes_packet(bytes, n, 0);
}

void packet_free(struct rte_mbuf *packet) {
    free(packet->buf_addr);
    free(packet);
}

static void show(const char *what, const uint8_t *bytes, size_t n) {
    print_message("%s (%zu)", what, n);
    for (size_t i = 0; i < n; i++) {
        print_message("%s%02x", i % 16 ? " " : "\n  ", bytes[i]);
    }
    print_message("\n");
}

void assert_is_frame(struct rte_mbuf *packet, const struct frame *wanted) {
    uint8_t bytes[FRAME_MAX];
    size_t n = frame_render(wanted, bytes);
    const uint8_t *got = rte_pktmbuf_mtod(packet, const uint8_t *);
    bool same = packet->data_len == n && packet->pkt_len == n && !memcmp(got, bytes, n);
    if (!same) {
        show("wanted", bytes, n);
        show("got", got, packet->data_len);
    }
    packet_free(packet);
    assert_true(same);
}
