/* The match key of OpenFlow 1.3: every header and pipeline field in one fixed layout of 64-bit words.
 *
 * What it is
 * ----------
 * `struct flow` holds one value for each OXM field of the OpenFlow Switch Specification 1.3.5, section 7.2.3.7, so a
 * match is two of them: a value and a mask. The layout follows the wire: wherever a 64-bit word of the key is eight
 * consecutive bytes of a packet (FW_ETH0, FW_ETH1, FW_IPV4), the classifier may load it from the packet with one masked
 * load instead of parsing first. Words that no packet holds in one piece (FW_IP, FW_TP and so on) come from
 * flow_extract().
 *
 * Fields whose prerequisites exclude each other share storage, as the prerequisite is itself part of every match that
 * uses the field: ARP addresses share with IPv4's, ICMP type and code with the transport ports, ARP hardware
 * addresses with the link-layer options of neighbour discovery.
 *
 * A field that a packet does not have must not match, not even by the value zero (section 5.3; section 7.3.2 on
 * fragments). Presence of most fields follows from their prerequisites; where it does not, a flag next to the field
 * tells: `tp_present` (the ports are absent from later fragments), `nd_sll_present` and `nd_tll_present` (options).
 * field_set() sets the flag along with the field, in a match's value and mask alike. Whoever loads the ports straight
 * from a packet into FW_TP sets the flag as well.
 *
 * Properties: all header fields are in network byte order; in_port, in_phy_port, metadata and tunnel_id in host order.
 * Unused bits are zero in every flow that flow_extract() made, so words compare as integers.
 *
 * Neighbours: field.h describes each OXM field's place in here; packet.h edits packets; pipeline/ classifies by words.
 */
#ifndef QUAKE_PACKET_FLOW_H
#define QUAKE_PACKET_FLOW_H 1

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

struct rte_mbuf;

typedef uint16_t be16;
typedef uint32_t be32;

enum flow_word {
    FW_PORTS,
    FW_METADATA,
    FW_TUNNEL,
    FW_ETH0, /* eth_dst, first two bytes of eth_src: packet bytes 0..7 */
    FW_ETH1, /* last four bytes of eth_src, eth_type, vlan_tci: bytes 8..13 of an untagged packet, then the tag */
    FW_MPLS_PBB,
    FW_IP,
    FW_IPV4, /* source, destination: bytes 12..19 of the IPv4 header */
    FW_IPV6_SRC0,
    FW_IPV6_SRC1,
    FW_IPV6_DST0,
    FW_IPV6_DST1,
    FW_TP,
    FW_ND_TARGET0,
    FW_ND_TARGET1,
    FW_ND_SLL,
    FW_ND_TLL,
    FLOW_WORDS
};

/* vlan_tci: PCP in the three top bits, FLOW_VLAN_PRESENT (OFPVID_PRESENT) in the place of CFI, VID below. */
#define FLOW_VLAN_PRESENT 0x1000

struct flow {
    union {
        uint64_t word[FLOW_WORDS];
        struct {
            uint32_t in_port;
            uint32_t in_phy_port;
            uint64_t metadata;
            uint64_t tunnel_id;
            uint8_t eth_dst[6];
            uint8_t eth_src[6];
            be16 eth_type; /* of the payload, behind VLAN tags, as the specification has it */
            be16 vlan_tci;
            be32 mpls_lse;    /* label, TC and bottom-of-stack of the outermost shim; TTL bits zero */
            be32 pbb_isid;    /* low 24 bits */
            uint8_t ip_proto; /* low byte of the opcode for ARP is not here: see arp_op */
            uint8_t ip_tos;   /* DSCP, ECN */
            be16 ipv6_exthdr; /* OFPIEH_* */
            be32 ipv6_flabel; /* low 20 bits */
            be32 ipv4_src;    /* or ARP SPA */
            be32 ipv4_dst;    /* or ARP TPA */
            uint8_t ipv6_src[16];
            uint8_t ipv6_dst[16];
            be16 tp_src; /* or ICMP type, ICMPv6 type, each in its low byte */
            be16 tp_dst; /* or ICMP code, ICMPv6 code */
            be16 arp_op;
            uint16_t tp_present; /* 1: tp_src and tp_dst, or arp_op, were in the packet */
            uint8_t nd_target[16];
            uint8_t nd_sll[6]; /* or ARP SHA */
            uint16_t nd_sll_present;
            uint8_t nd_tll[6]; /* or ARP THA */
            uint16_t nd_tll_present;
        };
    };
};
static_assert(sizeof(struct flow) == FLOW_WORDS * sizeof(uint64_t), "every word of the key is named");

struct match {
    struct flow value; /* zero wherever the mask is */
    struct flow mask;
};

/* Where the headers of a packet lie, as byte offsets from its data; 0 where there is none (L2 is always at 0). */
struct layers {
    uint16_t l2_5; /* first MPLS shim or PBB I-TAG */
    uint16_t l3;   /* IPv4, IPv6 or ARP header */
    uint16_t l4;   /* TCP, UDP, SCTP, ICMP header; 0 in later fragments */
};

/* Parse `packet` into `flow` and `layers`. Pipeline fields are taken from the arguments. Truncated or malformed headers
 * leave the fields behind them zero; the function never reads past the packet. */
void flow_extract(const struct rte_mbuf *packet, uint32_t in_port, uint32_t in_phy_port, uint64_t metadata,
                  uint64_t tunnel_id, struct flow *flow, struct layers *layers);

/* Pieces of matches. */
bool match_covers(const struct match *wide, const struct match *narrow); /* every packet of `narrow` is in `wide` */
bool match_overlaps(const struct match *a, const struct match *b); /* some packet is in both */

#endif
