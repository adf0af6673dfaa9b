/* The rows of OpenFlow 1.3's match fields. See field.h. */
#include "field.h"

#include <string.h>

#include <rte_byteorder.h>

#include "headers.h"

enum prerequisite {
    NEEDS_NOTHING,
    NEEDS_IN_PORT,
    NEEDS_VLAN,
    NEEDS_IP,
    NEEDS_IPV4,
    NEEDS_IPV6,
    NEEDS_ARP,
    NEEDS_MPLS,
    NEEDS_PBB,
    NEEDS_TCP,
    NEEDS_UDP,
    NEEDS_SCTP,
    NEEDS_ICMPV4,
    NEEDS_ICMPV6,
    NEEDS_ND,
    NEEDS_ND_SOLICIT,
    NEEDS_ND_ADVERT
};

/* A field is `n_bits` of the big-endian integer of `size` bytes at `offset`, `shift` bits from its right; of a
 * host-order integer for the pipeline's own. What has no such number (IPv6 addresses) is `size` plain bytes. */
struct place {
    struct field_info info;
    uint16_t offset;
    uint8_t size, shift;
    bool host_order;
    uint16_t present; /* offset of the flag that tells whether the packet had the field; 0: no flag */
    enum prerequisite needs;
};

#define AT(MEMBER) .offset = offsetof(struct flow, MEMBER), .size = sizeof(((struct flow *) NULL)->MEMBER)
#define FLAG(MEMBER) .present = offsetof(struct flow, MEMBER)
#define INFO(ID, NAME, BITS, BYTES, MASKABLE, SETTABLE)                                                                \
    [FIELD_##ID] = {.info = {FIELD_##ID, NAME, BITS, BYTES, MASKABLE, SETTABLE},
#define END }

static const struct place places[FIELD_COUNT] = {
    /* Port numbers are names, not bit strings: no masks. */
    INFO(IN_PORT, "in_port", 32, 4, false, false) AT(in_port),
    .host_order = true END,
    INFO(IN_PHY_PORT, "in_phy_port", 32, 4, false, false) AT(in_phy_port),
    .host_order = true,
    .needs = NEEDS_IN_PORT END,
    INFO(METADATA, "metadata", 64, 8, true, false) AT(metadata),
    .host_order = true END,
    INFO(ETH_DST, "dl_dst", 48, 6, true, true) AT(eth_dst) END,
    INFO(ETH_SRC, "dl_src", 48, 6, true, true) AT(eth_src) END,
    INFO(ETH_TYPE, "dl_type", 16, 2, true, true) AT(eth_type) END,
    INFO(VLAN_VID, "vlan_vid", 13, 2, true, true) AT(vlan_tci) END,
    INFO(VLAN_PCP, "dl_vlan_pcp", 3, 1, true, true) AT(vlan_tci),
    .shift = 13,
    .needs = NEEDS_VLAN END,
    INFO(IP_DSCP, "ip_dscp", 6, 1, true, true) AT(ip_tos),
    .shift = 2,
    .needs = NEEDS_IP END,
    INFO(IP_ECN, "nw_ecn", 2, 1, true, true) AT(ip_tos),
    .needs = NEEDS_IP END,
    INFO(IP_PROTO, "nw_proto", 8, 1, true, true) AT(ip_proto),
    .needs = NEEDS_IP END,
    INFO(IPV4_SRC, "nw_src", 32, 4, true, true) AT(ipv4_src),
    .needs = NEEDS_IPV4 END,
    INFO(IPV4_DST, "nw_dst", 32, 4, true, true) AT(ipv4_dst),
    .needs = NEEDS_IPV4 END,
    INFO(TCP_SRC, "tcp_src", 16, 2, true, true) AT(tp_src),
    FLAG(tp_present),
    .needs = NEEDS_TCP END,
    INFO(TCP_DST, "tcp_dst", 16, 2, true, true) AT(tp_dst),
    FLAG(tp_present),
    .needs = NEEDS_TCP END,
    INFO(UDP_SRC, "udp_src", 16, 2, true, true) AT(tp_src),
    FLAG(tp_present),
    .needs = NEEDS_UDP END,
    INFO(UDP_DST, "udp_dst", 16, 2, true, true) AT(tp_dst),
    FLAG(tp_present),
    .needs = NEEDS_UDP END,
    INFO(SCTP_SRC, "sctp_src", 16, 2, true, true) AT(tp_src),
    FLAG(tp_present),
    .needs = NEEDS_SCTP END,
    INFO(SCTP_DST, "sctp_dst", 16, 2, true, true) AT(tp_dst),
    FLAG(tp_present),
    .needs = NEEDS_SCTP END,
    INFO(ICMPV4_TYPE, "icmp_type", 8, 1, true, true) AT(tp_src),
    FLAG(tp_present),
    .needs = NEEDS_ICMPV4 END,
    INFO(ICMPV4_CODE, "icmp_code", 8, 1, true, true) AT(tp_dst),
    FLAG(tp_present),
    .needs = NEEDS_ICMPV4 END,
    INFO(ARP_OP, "arp_op", 16, 2, true, true) AT(arp_op),
    FLAG(tp_present),
    .needs = NEEDS_ARP END,
    INFO(ARP_SPA, "arp_spa", 32, 4, true, true) AT(ipv4_src),
    FLAG(tp_present),
    .needs = NEEDS_ARP END,
    INFO(ARP_TPA, "arp_tpa", 32, 4, true, true) AT(ipv4_dst),
    FLAG(tp_present),
    .needs = NEEDS_ARP END,
    INFO(ARP_SHA, "arp_sha", 48, 6, true, true) AT(nd_sll),
    FLAG(nd_sll_present),
    .needs = NEEDS_ARP END,
    INFO(ARP_THA, "arp_tha", 48, 6, true, true) AT(nd_tll),
    FLAG(nd_tll_present),
    .needs = NEEDS_ARP END,
    INFO(IPV6_SRC, "ipv6_src", 128, 16, true, true) AT(ipv6_src),
    .needs = NEEDS_IPV6 END,
    INFO(IPV6_DST, "ipv6_dst", 128, 16, true, true) AT(ipv6_dst),
    .needs = NEEDS_IPV6 END,
    INFO(IPV6_FLABEL, "ipv6_label", 20, 4, true, true) AT(ipv6_flabel),
    .needs = NEEDS_IPV6 END,
    INFO(ICMPV6_TYPE, "icmpv6_type", 8, 1, true, true) AT(tp_src),
    FLAG(tp_present),
    .needs = NEEDS_ICMPV6 END,
    INFO(ICMPV6_CODE, "icmpv6_code", 8, 1, true, true) AT(tp_dst),
    FLAG(tp_present),
    .needs = NEEDS_ICMPV6 END,
    INFO(IPV6_ND_TARGET, "nd_target", 128, 16, true, true) AT(nd_target),
    .needs = NEEDS_ND END,
    INFO(IPV6_ND_SLL, "nd_sll", 48, 6, true, true) AT(nd_sll),
    FLAG(nd_sll_present),
    .needs = NEEDS_ND_SOLICIT END,
    INFO(IPV6_ND_TLL, "nd_tll", 48, 6, true, true) AT(nd_tll),
    FLAG(nd_tll_present),
    .needs = NEEDS_ND_ADVERT END,
    INFO(MPLS_LABEL, "mpls_label", 20, 4, true, true) AT(mpls_lse),
    .shift = 12,
    .needs = NEEDS_MPLS END,
    INFO(MPLS_TC, "mpls_tc", 3, 1, true, true) AT(mpls_lse),
    .shift = 9,
    .needs = NEEDS_MPLS END,
    INFO(MPLS_BOS, "mpls_bos", 1, 1, true, true) AT(mpls_lse),
    .shift = 8,
    .needs = NEEDS_MPLS END,
    INFO(PBB_ISID, "pbb_isid", 24, 3, true, true) AT(pbb_isid),
    .needs = NEEDS_PBB END,
    INFO(TUNNEL_ID, "tun_id", 64, 8, true, true) AT(tunnel_id),
    .host_order = true END,
    /* Tells which headers there are; there is nothing to set. */
    INFO(IPV6_EXTHDR, "ipv6_exthdr", 9, 2, true, false) AT(ipv6_exthdr),
    .needs = NEEDS_IPV6 END,
};

static uint64_t load(const uint8_t *at, unsigned size, bool host_order) {
    if (host_order) {
        return size == 4 ? *(const uint32_t *) at : *(const uint64_t *) at;
    }
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++) {
        value = value << 8 | at[i];
    }
    return value;
}

static void store(uint8_t *at, unsigned size, bool host_order, uint64_t value) {
    if (host_order && size == 4) {
        *(uint32_t *) at = (uint32_t) value;
    } else if (host_order) {
        *(uint64_t *) at = value;
    } else {
        for (unsigned i = size; i-- > 0; value >>= 8) {
            at[i] = value & 0xff;
        }
    }
}

static uint64_t bits(unsigned n) {
    return n >= 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1;
}

const struct field_info *field_by_id(unsigned id) {
    return id < FIELD_COUNT ? &places[id].info : NULL;
}

void field_get(enum field_id id, const struct flow *flow, uint8_t value[FIELD_MAX_BYTES]) {
    const struct place *place = &places[id];
    const uint8_t *at = (const uint8_t *) flow + place->offset;
    if (place->size == FIELD_MAX_BYTES) {
        memcpy(value, at, FIELD_MAX_BYTES);
    } else {
        uint64_t number = load(at, place->size, place->host_order) >> place->shift & bits(place->info.n_bits);
        store(value, place->info.n_bytes, false, number);
    }
}

static void set_present(const struct place *place, struct flow *flow) {
    if (place->present) {
        const uint16_t one = 1;
        memcpy((uint8_t *) flow + place->present, &one, sizeof one);
    }
}

void field_set(enum field_id id, struct flow *flow, const uint8_t *value) {
    const struct place *place = &places[id];
    uint8_t *at = (uint8_t *) flow + place->offset;
    if (place->size == FIELD_MAX_BYTES) {
        memcpy(at, value, FIELD_MAX_BYTES);
    } else {
        uint64_t field = bits(place->info.n_bits);
        uint64_t rest = load(at, place->size, place->host_order) & ~(field << place->shift);
        uint64_t number = load(value, place->info.n_bytes, false) & field;
        store(at, place->size, place->host_order, rest | number << place->shift);
    }
    set_present(place, flow);
}

static bool exactly(const struct match *match, enum field_id id, uint16_t wanted) {
    const struct place *place = &places[id];
    uint64_t all = bits(place->info.n_bits) << place->shift;
    const uint8_t *value = (const uint8_t *) &match->value + place->offset;
    const uint8_t *mask = (const uint8_t *) &match->mask + place->offset;
    return (load(mask, place->size, false) & all) == all && (load(value, place->size, false) & all) == wanted;
}

static bool is_ipv4(const struct match *match) {
    return exactly(match, FIELD_ETH_TYPE, ETH_TYPE_IPV4);
}

static bool is_ipv6(const struct match *match) {
    return exactly(match, FIELD_ETH_TYPE, ETH_TYPE_IPV6);
}

static bool is_transport(const struct match *match, uint8_t ip_proto) {
    return (is_ipv4(match) || is_ipv6(match)) && exactly(match, FIELD_IP_PROTO, ip_proto);
}

static bool is_icmpv6(const struct match *match, uint8_t type) {
    return is_ipv6(match) && exactly(match, FIELD_IP_PROTO, IP_PROTO_ICMPV6) && exactly(match, FIELD_ICMPV6_TYPE, type);
}

static bool has_vlan(const struct match *match) {
    be16 present = RTE_BE16(FLOW_VLAN_PRESENT);
    return match->mask.vlan_tci & match->value.vlan_tci & present;
}

bool field_prerequisites_met(enum field_id id, const struct match *match) {
    switch (places[id].needs) {
    case NEEDS_NOTHING:
        return true;
    case NEEDS_IN_PORT:
        return match->mask.in_port == UINT32_MAX;
    case NEEDS_VLAN:
        return has_vlan(match);
    case NEEDS_IP:
        return is_ipv4(match) || is_ipv6(match);
    case NEEDS_IPV4:
        return is_ipv4(match);
    case NEEDS_IPV6:
        return is_ipv6(match);
    case NEEDS_ARP:
        return exactly(match, FIELD_ETH_TYPE, ETH_TYPE_ARP);
    case NEEDS_MPLS:
        return exactly(match, FIELD_ETH_TYPE, ETH_TYPE_MPLS) || exactly(match, FIELD_ETH_TYPE, ETH_TYPE_MPLS_MULTICAST);
    case NEEDS_PBB:
        return exactly(match, FIELD_ETH_TYPE, ETH_TYPE_PBB);
    case NEEDS_TCP:
        return is_transport(match, IP_PROTO_TCP);
    case NEEDS_UDP:
        return is_transport(match, IP_PROTO_UDP);
    case NEEDS_SCTP:
        return is_transport(match, IP_PROTO_SCTP);
    case NEEDS_ICMPV4:
        return is_ipv4(match) && exactly(match, FIELD_IP_PROTO, IP_PROTO_ICMP);
    case NEEDS_ICMPV6:
        return is_ipv6(match) && exactly(match, FIELD_IP_PROTO, IP_PROTO_ICMPV6);
    case NEEDS_ND:
        return is_icmpv6(match, ICMPV6_ND_SOLICIT) || is_icmpv6(match, ICMPV6_ND_ADVERT);
    case NEEDS_ND_SOLICIT:
        return is_icmpv6(match, ICMPV6_ND_SOLICIT);
    case NEEDS_ND_ADVERT:
        return is_icmpv6(match, ICMPV6_ND_ADVERT);
    }
    return false;
}
