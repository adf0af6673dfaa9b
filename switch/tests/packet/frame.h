/* Frames for tests, from a description: the oracle of the editing functions.
 *
 * frame_render() writes a whole frame with lengths and checksums computed from nothing, so a test describes what a
 * packet should have become, renders that, and compares bytes. It shares no code with src/packet/. frame_packet() wraps
 * bytes in an mbuf of its own whose buffer ends where the tailroom does, so that a sanitizer sees every read and write
 * out of bounds; no EAL is needed. */
#ifndef QUAKE_TESTS_FRAME_H
#define QUAKE_TESTS_FRAME_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;

#define FRAME_MAX 512

/* Next-header values that a frame may have. */
enum {
    HOP = 0,
    ICMP = 1,
    IPIP = 4,
    TCP = 6,
    UDP = 17,
    ROUTING = 43,
    FRAGMENT = 44,
    ESP = 50,
    AH = 51,
    ICMPV6 = 58,
    NONE = 59,
    DST = 60,
    SCTP = 132
};

struct frame {
    uint8_t eth_dst[6], eth_src[6];
    uint16_t backbone_vlan; /* with pbb: TCI of the tag before the I-TAG; 0: none */
    bool pbb;
    uint8_t backbone_dst[6], backbone_src[6];
    uint32_t itag;
    unsigned n_vlan;
    struct {
        uint16_t tpid, tci;
    } vlan[3];
    unsigned n_mpls;
    uint16_t mpls_type; /* 0x8847 unless said otherwise */
    uint32_t mpls[3];   /* whole shims */
    uint16_t eth_type;  /* 0x0800, 0x86dd and 0x0806 render the headers below; anything else is plain payload */
    uint8_t tos, ttl, ip_proto;
    uint16_t ipv4_fragment; /* flags and offset */
    uint32_t ipv4_src, ipv4_dst, flow_label;
    uint8_t ipv6_src[16], ipv6_dst[16];
    unsigned n_extensions;
    uint8_t extensions[8];   /* next-header values, in order */
    uint8_t segments_left;   /* of a routing header */
    uint16_t fragment;       /* offset and flags of an IPv6 fragment header */
    uint16_t tp_src, tp_dst; /* ICMP: type, code; ARP: operation */
    bool no_udp_checksum;
    uint8_t nd_target[16], nd_flags;
    uint8_t nd_option; /* 0: none */
    uint8_t nd_address[6];
    uint8_t arp_sha[6], arp_tha[6];
    uint8_t inner_ttl; /* IPIP: TTL of an IPv4 header inside */
    unsigned payload;
};

/* Plausible values all over; eth_type and ip_proto as given. */
struct frame frame_of(uint16_t eth_type, uint8_t ip_proto);

size_t frame_render(const struct frame *frame, uint8_t bytes[FRAME_MAX]);

struct rte_mbuf *frame_packet(const struct frame *frame);
struct rte_mbuf *bytes_packet(const uint8_t *bytes, size_t n, size_t tailroom);
void packet_free(struct rte_mbuf *packet);

/* Fails the test, showing both, unless the packet is the rendered frame; then frees it. */
void assert_is_frame(struct rte_mbuf *packet, const struct frame *wanted);

#endif
