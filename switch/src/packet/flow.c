/* The parser of packets into match keys, and the algebra of matches. See flow.h. */
#include "flow.h"

#include <string.h>

#include <rte_mbuf.h>

#include "headers.h"

/* What is left of a packet: nothing at or behind `end` is read. */
struct cursor {
    const uint8_t *data;
    uint32_t at, end;
};

static bool has(const struct cursor *c, uint32_t n) {
    return c->end - c->at >= n;
}

static const uint8_t *here(const struct cursor *c) {
    return c->data + c->at;
}

static void cut(struct cursor *c, uint32_t length) {
    if (c->end - c->at > length) {
        c->end = c->at + length;
    }
}

static void extract_ethernet(struct cursor *c, struct flow *flow) {
    memcpy(flow->eth_dst, here(c), 12);
    c->at += 12;
    uint16_t type = load_be16(here(c));
    for (bool first = true; type_is_vlan(type) && has(c, 6); first = false) {
        if (first) {
            flow->vlan_tci = rte_cpu_to_be_16(load_be16(here(c) + 2) | FLOW_VLAN_PRESENT);
        }
        c->at += 4;
        type = load_be16(here(c));
    }
    flow->eth_type = rte_cpu_to_be_16(type);
    c->at += 2;
}

static void extract_mpls(const struct cursor *c, struct flow *flow, struct layers *layers) {
    if (has(c, MPLS_LEN)) {
        layers->l2_5 = c->at;
        flow->mpls_lse = rte_cpu_to_be_32(load_be32(here(c)) & ~MPLS_TTL_MASK);
    }
}

static void extract_pbb(const struct cursor *c, struct flow *flow, struct layers *layers) {
    if (has(c, PBB_TAG_LEN)) {
        layers->l2_5 = c->at;
        flow->pbb_isid = rte_cpu_to_be_32(load_be32(here(c)) & PBB_ISID_MASK);
    }
}

/* ARP of other hardware or protocols than Ethernet and IPv4 has none of the fields that OpenFlow knows. */
static void extract_arp(const struct cursor *c, struct flow *flow, struct layers *layers) {
    const uint8_t *arp = here(c);
    if (!has(c, ARP_LEN) || load_be32(arp) != ARP_ETHERNET_IPV4 || load_be16(arp + 4) != ARP_ADDRESS_LENGTHS) {
        return;
    }
    layers->l3 = c->at;
    memcpy(&flow->arp_op, arp + ARP_OP, 2);
    flow->tp_present = 1;
    memcpy(flow->nd_sll, arp + ARP_SHA, 6);
    memcpy(&flow->ipv4_src, arp + ARP_SPA, 4);
    memcpy(flow->nd_tll, arp + ARP_THA, 6);
    memcpy(&flow->ipv4_dst, arp + ARP_TPA, 4);
    flow->nd_sll_present = flow->nd_tll_present = 1;
}

static void extract_nd(const struct cursor *c, struct flow *flow) {
    bool solicit = flow->tp_src == RTE_BE16(ICMPV6_ND_SOLICIT);
    if ((!solicit && flow->tp_src != RTE_BE16(ICMPV6_ND_ADVERT)) || !has(c, ND_LEN)) {
        return;
    }
    memcpy(flow->nd_target, here(c) + ND_TARGET, 16);
    uint8_t wanted = solicit ? ND_OPTION_SLL : ND_OPTION_TLL;
    const uint8_t *option = nd_option(here(c) + ND_LEN, c->data + c->end, wanted);
    if (option && solicit) {
        memcpy(flow->nd_sll, option + 2, 6);
        flow->nd_sll_present = 1;
    } else if (option) {
        memcpy(flow->nd_tll, option + 2, 6);
        flow->nd_tll_present = 1;
    }
}

static void extract_icmp(const struct cursor *c, struct flow *flow) {
    flow->tp_src = rte_cpu_to_be_16(here(c)[0]);
    flow->tp_dst = rte_cpu_to_be_16(here(c)[1]);
}

static void extract_l4(const struct cursor *c, struct flow *flow, struct layers *layers) {
    bool v6 = flow->eth_type == RTE_BE16(ETH_TYPE_IPV6);
    uint32_t length = l4_header_length(flow->ip_proto, v6);
    if (!length || !has(c, length)) {
        return;
    }
    layers->l4 = c->at;
    flow->tp_present = 1;
    if (flow->ip_proto == IP_PROTO_ICMP || flow->ip_proto == IP_PROTO_ICMPV6) {
        extract_icmp(c, flow);
        if (v6) {
            extract_nd(c, flow);
        }
    } else {
        memcpy(&flow->tp_src, here(c), 4);
    }
}

static void extract_ipv4(struct cursor *c, struct flow *flow, struct layers *layers) {
    const uint8_t *ip = here(c);
    if (!has(c, IPV4_LEN)) {
        return;
    }
    uint32_t header = (ip[0] & 0xfU) * 4;
    uint32_t total = load_be16(ip + IPV4_TOTAL);
    if (ip[0] >> 4 != 4 || header < IPV4_LEN || total < header || !has(c, header)) {
        return;
    }
    layers->l3 = c->at;
    flow->ip_tos = ip[1];
    flow->ip_proto = ip[IPV4_PROTO];
    memcpy(&flow->ipv4_src, ip + IPV4_SRC, 8);
    cut(c, total);
    c->at += header;
    if (!(load_be16(ip + IPV4_FRAGMENT) & IPV4_OFFSET_MASK)) {
        extract_l4(c, flow, layers);
    }
}

/* The extension headers of IPv6 as OFPIEH_* (section 7.2.3.7), told one by one. */
struct extensions {
    uint16_t flags;
    uint8_t stage; /* place in the order that RFC 2460, section 4.1, prefers */
    uint8_t n_destination;
};

static void extensions_note(struct extensions *x, uint16_t flag) {
    static const uint16_t order[] = {OFPIEH_HOP,  OFPIEH_DEST, OFPIEH_ROUTER, OFPIEH_FRAG,
                                     OFPIEH_AUTH, OFPIEH_ESP,  OFPIEH_DEST};
    bool repeated = flag == OFPIEH_DEST ? x->n_destination++ >= 2 : (x->flags & flag) != 0;
    unsigned stage = x->stage;
    while (stage < RTE_DIM(order) && order[stage] != flag) {
        stage++;
    }
    if (repeated) {
        x->flags |= OFPIEH_UNREP;
    } else if (stage == RTE_DIM(order)) {
        x->flags |= OFPIEH_UNSEQ;
    } else {
        x->stage = stage + 1;
    }
    if (flag != OFPIEH_HOP || x->stage == 1) { /* hop-by-hop counts as the first header only */
        x->flags |= flag;
    }
}

/* Walk the extension headers up to the upper layer; false if that is not in this packet (ESP, none, a later fragment,
 * a cut header). flow->ip_proto becomes the last next-header value that could be read. */
static bool extract_extensions(struct cursor *c, struct flow *flow) {
    struct extensions x = {0};
    uint16_t flag = extension_flag(flow->ip_proto);
    bool walking = true;
    while (flag && walking) {
        if (flag == OFPIEH_NONEXT) {
            x.flags |= flag;
        } else {
            extensions_note(&x, flag);
        }
        uint32_t length =
            flag == OFPIEH_ESP || flag == OFPIEH_NONEXT || !has(c, 8) ? 0 : ipv6_extension_length(flag, here(c));
        if (!length || !has(c, length)) {
            walking = false;
        } else {
            flow->ip_proto = here(c)[0];
            walking = flag != OFPIEH_FRAG || !(load_be16(here(c) + 2) & IPV6_OFFSET_MASK);
            c->at += length;
            flag = extension_flag(flow->ip_proto);
        }
    }
    flow->ipv6_exthdr = rte_cpu_to_be_16(x.flags);
    return walking;
}

static void extract_ipv6(struct cursor *c, struct flow *flow, struct layers *layers) {
    const uint8_t *ip = here(c);
    if (!has(c, IPV6_LEN) || ip[0] >> 4 != 6) {
        return;
    }
    layers->l3 = c->at;
    uint32_t first = load_be32(ip);
    flow->ip_tos = first >> 20;
    flow->ipv6_flabel = rte_cpu_to_be_32(first & IPV6_FLABEL_MASK);
    flow->ip_proto = ip[IPV6_NEXT];
    memcpy(flow->ipv6_src, ip + IPV6_SRC, 32);
    c->at += IPV6_LEN;
    if (load_be16(ip + IPV6_PAYLOAD)) { /* zero: a jumbogram, as long as the packet is */
        cut(c, load_be16(ip + IPV6_PAYLOAD));
    }
    if (extract_extensions(c, flow)) {
        extract_l4(c, flow, layers);
    }
}

static void extract_payload(struct cursor *c, struct flow *flow, struct layers *layers) {
    switch (rte_be_to_cpu_16(flow->eth_type)) {
    case ETH_TYPE_IPV4:
        extract_ipv4(c, flow, layers);
        break;
    case ETH_TYPE_IPV6:
        extract_ipv6(c, flow, layers);
        break;
    case ETH_TYPE_ARP:
        extract_arp(c, flow, layers);
        break;
    case ETH_TYPE_MPLS:
    case ETH_TYPE_MPLS_MULTICAST:
        extract_mpls(c, flow, layers);
        break;
    case ETH_TYPE_PBB:
        extract_pbb(c, flow, layers);
        break;
    default:
        break;
    }
}

void flow_extract(const struct rte_mbuf *packet, uint32_t in_port, uint32_t in_phy_port, uint64_t metadata,
                  uint64_t tunnel_id, struct flow *flow, struct layers *layers) {
    struct cursor c = {rte_pktmbuf_mtod(packet, const uint8_t *), 0, rte_pktmbuf_data_len(packet)};
    memset(flow, 0, sizeof *flow);
    memset(layers, 0, sizeof *layers);
    flow->in_port = in_port;
    flow->in_phy_port = in_phy_port;
    flow->metadata = metadata;
    flow->tunnel_id = tunnel_id;
    if (has(&c, ETH_LEN)) {
        extract_ethernet(&c, flow);
        extract_payload(&c, flow, layers);
    }
}

bool match_covers(const struct match *wide, const struct match *narrow) {
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        uint64_t mask = wide->mask.word[i];
        if ((mask & ~narrow->mask.word[i]) || ((wide->value.word[i] ^ narrow->value.word[i]) & mask)) {
            return false;
        }
    }
    return true;
}

bool match_overlaps(const struct match *a, const struct match *b) {
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        if ((a->value.word[i] ^ b->value.word[i]) & a->mask.word[i] & b->mask.word[i]) {
            return false;
        }
    }
    return true;
}
