/* The headers that quake reads and writes, as offsets into packets, with loads and stores that need no alignment.
 * For packet/ and ports/offload.c; the numbers are those of IANA and of the RFCs and IEEE standards named. */
#ifndef QUAKE_PACKET_HEADERS_H
#define QUAKE_PACKET_HEADERS_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <rte_byteorder.h>

/* Ethernet (IEEE 802.3), VLAN (802.1Q) and provider backbone bridging (802.1ah). */
#define ETH_LEN 14
#define ETH_TYPE_AT 12
#define VLAN_LEN 4
#define ETH_TYPE_IPV4 0x0800
#define ETH_TYPE_ARP 0x0806
#define ETH_TYPE_VLAN 0x8100
#define ETH_TYPE_IPV6 0x86dd
#define ETH_TYPE_MPLS 0x8847
#define ETH_TYPE_MPLS_MULTICAST 0x8848
#define ETH_TYPE_QINQ 0x88a8
#define ETH_TYPE_PBB 0x88e7
#define PBB_TAG_LEN 4 /* priority, drop eligible, use customer address, I-SID; two addresses follow */
#define PBB_ISID_MASK UINT32_C(0xffffff)
#define PBB_HEADER_LEN (ETH_LEN + PBB_TAG_LEN)

/* MPLS (RFC 3032). */
#define MPLS_LEN 4
#define MPLS_TTL_MASK UINT32_C(0xff)
#define MPLS_BOS UINT32_C(0x100)
#define MPLS_TTL_AT 3

/* ARP (RFC 826). */
#define ARP_LEN 28
#define ARP_ETHERNET_IPV4 UINT32_C(0x00010800)
#define ARP_ADDRESS_LENGTHS 0x0604
#define ARP_OP 6
#define ARP_SHA 8
#define ARP_SPA 14
#define ARP_THA 18
#define ARP_TPA 24
#define ARP_REQUEST 1
#define ARP_REPLY 2

/* IPv4 (RFC 791). */
#define IPV4_LEN 20
#define IPV4_TOTAL 2
#define IPV4_FRAGMENT 6
#define IPV4_OFFSET_MASK 0x1fff
#define IPV4_MORE 0x2000
#define IPV4_TTL 8
#define IPV4_PROTO 9
#define IPV4_CHECKSUM 10
#define IPV4_SRC 12
#define IPV4_DST 16

/* IPv6 (RFC 8200) and its extension headers. */
#define IPV6_LEN 40
#define IPV6_PAYLOAD 4
#define IPV6_NEXT 6
#define IPV6_HOPS 7
#define IPV6_SRC 8
#define IPV6_DST 24
#define IPV6_FLABEL_MASK UINT32_C(0xfffff)
#define IPV6_OFFSET_MASK 0xfff8
#define OFPIEH_NONEXT (1U << 0)
#define OFPIEH_ESP (1U << 1)
#define OFPIEH_AUTH (1U << 2)
#define OFPIEH_DEST (1U << 3)
#define OFPIEH_FRAG (1U << 4)
#define OFPIEH_ROUTER (1U << 5)
#define OFPIEH_HOP (1U << 6)
#define OFPIEH_UNREP (1U << 7)
#define OFPIEH_UNSEQ (1U << 8)

#define IP_PROTO_HOPOPTS 0
#define IP_PROTO_ICMP 1
#define IP_PROTO_IPIP 4
#define IP_PROTO_TCP 6
#define IP_PROTO_UDP 17
#define IP_PROTO_IPV6 41
#define IP_PROTO_ROUTING 43
#define IP_PROTO_FRAGMENT 44
#define IP_PROTO_ESP 50
#define IP_PROTO_AH 51
#define IP_PROTO_ICMPV6 58
#define IP_PROTO_NONE 59
#define IP_PROTO_DSTOPTS 60
#define IP_PROTO_SCTP 132

/* TCP (RFC 9293), UDP (768), SCTP (9260), ICMP (792), ICMPv6 (4443). */
#define TCP_LEN 20
#define TCP_CHECKSUM 16
#define UDP_LEN 8
#define UDP_CHECKSUM 6
#define SCTP_LEN 12
#define SCTP_CHECKSUM 8
#define ICMP_LEN 4
#define ICMP_CHECKSUM 2

/* Neighbour discovery (RFC 4861). */
#define ICMPV6_ND_SOLICIT 135
#define ICMPV6_ND_ADVERT 136
#define ND_LEN 24
#define ND_FLAGS 4
#define ND_TARGET 8
#define ND_OPTION_LEN 8
#define ND_OPTION_SLL 1
#define ND_OPTION_TLL 2

static inline uint16_t load_be16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return rte_be_to_cpu_16(value);
}

static inline uint32_t load_be32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return rte_be_to_cpu_32(value);
}

static inline void store_be16(uint8_t *at, uint16_t value) {
    value = rte_cpu_to_be_16(value);
    memcpy(at, &value, sizeof value);
}

static inline void store_be32(uint8_t *at, uint32_t value) {
    value = rte_cpu_to_be_32(value);
    memcpy(at, &value, sizeof value);
}

static inline bool type_is_vlan(uint16_t eth_type) {
    return eth_type == ETH_TYPE_VLAN || eth_type == ETH_TYPE_QINQ;
}

static inline bool type_is_mpls(uint16_t eth_type) {
    return eth_type == ETH_TYPE_MPLS || eth_type == ETH_TYPE_MPLS_MULTICAST;
}

/* Bytes of the fixed header of a transport whose fields OpenFlow matches; 0 for any other. */
static inline uint32_t l4_header_length(uint8_t ip_proto, bool v6) {
    switch (ip_proto) {
    case IP_PROTO_TCP:
        return TCP_LEN;
    case IP_PROTO_UDP:
        return UDP_LEN;
    case IP_PROTO_SCTP:
        return SCTP_LEN;
    case IP_PROTO_ICMP:
        return v6 ? 0 : ICMP_LEN;
    case IP_PROTO_ICMPV6:
        return v6 ? ICMP_LEN : 0;
    default:
        return 0;
    }
}

/* The OFPIEH_* that an IPv6 next-header value stands for; 0: not an extension header. */
static inline uint16_t extension_flag(uint8_t next_header) {
    switch (next_header) {
    case IP_PROTO_HOPOPTS:
        return OFPIEH_HOP;
    case IP_PROTO_ROUTING:
        return OFPIEH_ROUTER;
    case IP_PROTO_FRAGMENT:
        return OFPIEH_FRAG;
    case IP_PROTO_DSTOPTS:
        return OFPIEH_DEST;
    case IP_PROTO_AH:
        return OFPIEH_AUTH;
    case IP_PROTO_ESP:
        return OFPIEH_ESP;
    case IP_PROTO_NONE:
        return OFPIEH_NONEXT;
    default:
        return 0;
    }
}

/* Bytes of the extension header `flag` (an OFPIEH_* with a length of its own) at `at`. */
static inline uint32_t ipv6_extension_length(uint16_t flag, const uint8_t *at) {
    switch (flag) {
    case OFPIEH_FRAG:
        return 8;
    case OFPIEH_AUTH:
        return (at[1] + 2U) * 4;
    default:
        return (at[1] + 1U) * 8;
    }
}

/* The first option `wanted` of those between `at` and `end`, or NULL; its address lies at offset 2. */
static inline const uint8_t *nd_option(const uint8_t *at, const uint8_t *end, uint8_t wanted) {
    while (end - at >= ND_OPTION_LEN) {
        ptrdiff_t length = at[1] * (ptrdiff_t) 8;
        if (!length || length > end - at) {
            return NULL;
        }
        if (at[0] == wanted) {
            return at;
        }
        at += length;
    }
    return NULL;
}

#endif
