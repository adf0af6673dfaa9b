/* Set-field on packets, with the checksums that cover the field. See packet.h. */
#include "packet.h"

#include <string.h>

#include <rte_mbuf.h>

#include "checksum.h"
#include "headers.h"
#include "layout.h"

/* UDP's zero means that the sender made none, so a sum that comes out as zero is sent as its other form. */
static void update(const struct ip *ip, uint8_t *checksum, const void *old, const void *new, size_t n) {
    bool udp = ip->l4 && ip->proto == IP_PROTO_UDP && checksum == ip->l4 + UDP_CHECKSUM;
    if (udp && !load_be16(checksum)) {
        return;
    }
    checksum_update(checksum, old, new, n);
    if (udp && !load_be16(checksum)) {
        store_be16(checksum, 0xffff);
    }
}

/* The Internet checksum of the transport header; NULL if the packet has none. */
static uint8_t *l4_checksum(const struct ip *ip) {
    if (!ip->l4) {
        return NULL;
    }
    switch (ip->proto) {
    case IP_PROTO_TCP:
        return ip->l4 + TCP_CHECKSUM;
    case IP_PROTO_UDP:
        return ip->l4 + UDP_CHECKSUM;
    case IP_PROTO_ICMP:
    case IP_PROTO_ICMPV6:
        return ip->l4 + ICMP_CHECKSUM;
    default:
        return NULL;
    }
}

/* Overwrite `n` bytes at `offset` of `header`, which `checksum` covers (NULL: none does). Checksums count in pairs, so
 * the bytes are widened to even places. */
static void overwrite(const struct ip *ip, uint8_t *header, unsigned offset, const void *value, size_t n,
                      uint8_t *checksum) {
    unsigned even = offset & ~1U;
    size_t width = (offset - even + n + 1) & ~(size_t) 1;
    uint8_t old[FIELD_MAX_BYTES];
    memcpy(old, header + even, width);
    memcpy(header + offset, value, n);
    if (checksum) {
        update(ip, checksum, old, header + even, width);
    }
}

static void set_l4_bytes(const struct ip *ip, unsigned offset, const void *value, size_t n) {
    overwrite(ip, ip->l4, offset, value, n, l4_checksum(ip));
}

/* The pseudo-header has the addresses, so the transport's checksum follows; but with a routing header still to be
 * worked off, the destination in the pseudo-header is the last one (RFC 8200, section 8.1), and ICMPv4 and SCTP have
 * none. */
static void set_address(const struct ip *ip, unsigned offset, const uint8_t *value, size_t n) {
    uint8_t *checksum = ip->proto == IP_PROTO_ICMP ? NULL : l4_checksum(ip);
    uint8_t old[FIELD_MAX_BYTES];
    memcpy(old, ip->header + offset, n);
    overwrite(ip, ip->header, offset, value, n, ip->v6 ? NULL : ip->header + IPV4_CHECKSUM);
    if (checksum && !(ip->routed && offset == IPV6_DST)) {
        update(ip, checksum, old, value, n);
    }
}

static void set_traffic_class(const struct ip *ip, uint8_t mask, uint8_t value) {
    if (ip->v6) {
        uint32_t first = load_be32(ip->header);
        store_be32(ip->header, (first & ~((uint32_t) mask << 20)) | (uint32_t) value << 20);
    } else {
        uint8_t tos = (ip->header[1] & ~mask) | value;
        overwrite(ip, ip->header, 1, &tos, 1, ip->header + IPV4_CHECKSUM);
    }
}

static void set_flow_label(const struct ip *ip, const uint8_t *value) {
    store_be32(ip->header, (load_be32(ip->header) & ~IPV6_FLABEL_MASK) | (load_be32(value) & IPV6_FLABEL_MASK));
}

/* SCTP's checksum covers the whole packet, which a fragment does not have. */
static enum packet_verdict set_sctp_port(struct rte_mbuf *packet, const struct ip *ip, unsigned offset,
                                         const uint8_t *value) {
    uint32_t at = ip->l4 - rte_pktmbuf_mtod(packet, uint8_t *);
    if (ip->fragment || ip->l4_length < SCTP_LEN || at + ip->l4_length > rte_pktmbuf_pkt_len(packet)) {
        return PACKET_DROP;
    }
    uint32_t sent;
    memcpy(&sent, ip->l4 + SCTP_CHECKSUM, sizeof sent);
    memset(ip->l4 + SCTP_CHECKSUM, 0, sizeof sent);
    uint32_t was_right = checksum_crc32c(packet, at, ip->l4_length);
    memcpy(ip->l4 + offset, value, 2);
    uint32_t is_right = checksum_crc32c(packet, at, ip->l4_length);
    sent ^= rte_cpu_to_le_32(was_right ^ is_right); /* a wrong one stays wrong */
    memcpy(ip->l4 + SCTP_CHECKSUM, &sent, sizeof sent);
    return PACKET_OK;
}

static enum packet_verdict set_port(struct rte_mbuf *packet, const struct ip *ip, uint8_t proto, unsigned offset,
                                    const uint8_t *value) {
    if (!ip->l4 || ip->proto != proto) {
        return PACKET_OK;
    }
    if (proto == IP_PROTO_SCTP) {
        return set_sctp_port(packet, ip, offset, value);
    }
    set_l4_bytes(ip, offset, value, 2);
    return PACKET_OK;
}

static void set_icmp(const struct ip *ip, uint8_t proto, unsigned offset, const uint8_t *value) {
    if (ip->l4 && ip->proto == proto) {
        set_l4_bytes(ip, offset, value, 1);
    }
}

static void set_nd_option(const struct ip *ip, uint8_t type, uint8_t option, const uint8_t *value) {
    if (ip_is_nd(ip) && ip->l4[0] == type) {
        const uint8_t *at = nd_option(ip->l4 + ND_LEN, ip->l4 + ip->l4_room, option);
        if (at) {
            set_l4_bytes(ip, at + 2 - ip->l4, value, 6);
        }
    }
}

static void set_nd_target(const struct ip *ip, const uint8_t *value) {
    if (ip_is_nd(ip)) {
        set_l4_bytes(ip, ND_TARGET, value, 16);
    }
}

static void set_protocol(const struct ip *ip, const uint8_t *value) {
    if (ip->v6) {
        *ip->proto_at = *value;
    } else {
        overwrite(ip, ip->header, IPV4_PROTO, value, 1, ip->header + IPV4_CHECKSUM);
    }
}

/* IP and what lies on it. */
static enum packet_verdict set_ip_field(struct rte_mbuf *packet, const struct ip *ip, enum field_id field,
                                        const uint8_t *value) {
    switch (field) {
    case FIELD_IP_DSCP:
        set_traffic_class(ip, 0xfc, (uint8_t) (value[0] << 2));
        break;
    case FIELD_IP_ECN:
        set_traffic_class(ip, 0x03, value[0] & 3);
        break;
    case FIELD_IP_PROTO:
        set_protocol(ip, value);
        break;
    case FIELD_IPV4_SRC:
    case FIELD_IPV4_DST:
        if (!ip->v6) {
            set_address(ip, field == FIELD_IPV4_SRC ? IPV4_SRC : IPV4_DST, value, 4);
        }
        break;
    case FIELD_IPV6_SRC:
    case FIELD_IPV6_DST:
        if (ip->v6) {
            set_address(ip, field == FIELD_IPV6_SRC ? IPV6_SRC : IPV6_DST, value, 16);
        }
        break;
    case FIELD_IPV6_FLABEL:
        if (ip->v6) {
            set_flow_label(ip, value);
        }
        break;
    case FIELD_TCP_SRC:
    case FIELD_TCP_DST:
        return set_port(packet, ip, IP_PROTO_TCP, field == FIELD_TCP_SRC ? 0 : 2, value);
    case FIELD_UDP_SRC:
    case FIELD_UDP_DST:
        return set_port(packet, ip, IP_PROTO_UDP, field == FIELD_UDP_SRC ? 0 : 2, value);
    case FIELD_SCTP_SRC:
    case FIELD_SCTP_DST:
        return set_port(packet, ip, IP_PROTO_SCTP, field == FIELD_SCTP_SRC ? 0 : 2, value);
    case FIELD_ICMPV4_TYPE:
    case FIELD_ICMPV4_CODE:
        set_icmp(ip, IP_PROTO_ICMP, field == FIELD_ICMPV4_TYPE ? 0 : 1, value);
        break;
    case FIELD_ICMPV6_TYPE:
    case FIELD_ICMPV6_CODE:
        set_icmp(ip, IP_PROTO_ICMPV6, field == FIELD_ICMPV6_TYPE ? 0 : 1, value);
        break;
    case FIELD_IPV6_ND_TARGET:
        set_nd_target(ip, value);
        break;
    case FIELD_IPV6_ND_SLL:
        set_nd_option(ip, ICMPV6_ND_SOLICIT, ND_OPTION_SLL, value);
        break;
    case FIELD_IPV6_ND_TLL:
        set_nd_option(ip, ICMPV6_ND_ADVERT, ND_OPTION_TLL, value);
        break;
    default:
        break;
    }
    return PACKET_OK;
}

static void set_arp_field(uint8_t *arp, enum field_id field, const uint8_t *value) {
    switch (field) {
    case FIELD_ARP_OP:
        memcpy(arp + ARP_OP, value, 2);
        break;
    case FIELD_ARP_SPA:
        memcpy(arp + ARP_SPA, value, 4);
        break;
    case FIELD_ARP_TPA:
        memcpy(arp + ARP_TPA, value, 4);
        break;
    case FIELD_ARP_SHA:
        memcpy(arp + ARP_SHA, value, 6);
        break;
    case FIELD_ARP_THA:
        memcpy(arp + ARP_THA, value, 6);
        break;
    default:
        break;
    }
}

static void set_bits(uint8_t *at, uint32_t mask, unsigned shift, uint32_t value) {
    store_be32(at, (load_be32(at) & ~(mask << shift)) | (value & mask) << shift);
}

static void set_tag_field(uint8_t *tag, enum field_id field, const uint8_t *value) {
    switch (field) {
    case FIELD_MPLS_LABEL:
        set_bits(tag, 0xfffff, 12, load_be32(value));
        break;
    case FIELD_MPLS_TC:
        set_bits(tag, 0x7, 9, value[0]);
        break;
    case FIELD_MPLS_BOS:
        set_bits(tag, 0x1, 8, value[0]);
        break;
    case FIELD_PBB_ISID:
        memcpy(tag + 1, value, 3);
        break;
    default:
        break;
    }
}

static void set_vlan_field(struct rte_mbuf *packet, enum field_id field, const uint8_t *value) {
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    if (!type_is_vlan(load_be16(data + ETH_TYPE_AT)) || rte_pktmbuf_data_len(packet) < ETH_LEN + VLAN_LEN) {
        return;
    }
    uint8_t *tci = data + ETH_LEN;
    if (field == FIELD_VLAN_VID) {
        store_be16(tci, (load_be16(tci) & 0xf000) | (load_be16(value) & 0xfff));
    } else {
        tci[0] = (tci[0] & 0x1f) | (uint8_t) (value[0] << 5);
    }
}

static enum packet_verdict set_payload_field(struct rte_mbuf *packet, struct layers *layers, enum field_id field,
                                             const uint8_t *value) {
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    struct ip ip;
    if (field >= FIELD_MPLS_LABEL && field <= FIELD_PBB_ISID) {
        bool wants_pbb = field == FIELD_PBB_ISID;
        if (layers->l2_5 && (load_be16(data + layers->l2_5 - 2) == ETH_TYPE_PBB) == wants_pbb) {
            set_tag_field(data + layers->l2_5, field, value);
        }
    } else if (field >= FIELD_ARP_OP && field <= FIELD_ARP_THA) {
        if (layers->l3 && load_be16(data + layers->l3 - 2) == ETH_TYPE_ARP) {
            set_arp_field(data + layers->l3, field, value);
        }
    } else if (ip_find(packet, layers, &ip)) {
        return set_ip_field(packet, &ip, field, value);
    }
    return PACKET_OK;
}

enum packet_verdict packet_set_field(struct rte_mbuf *packet, struct layers *layers, enum field_id field,
                                     const uint8_t value[FIELD_MAX_BYTES]) {
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    enum packet_verdict verdict = PACKET_OK;
    if (rte_pktmbuf_data_len(packet) < ETH_LEN) {
        return PACKET_OK;
    }
    switch (field) {
    case FIELD_ETH_DST:
        memcpy(data, value, 6);
        break;
    case FIELD_ETH_SRC:
        memcpy(data + 6, value, 6);
        break;
    case FIELD_VLAN_VID:
    case FIELD_VLAN_PCP:
        set_vlan_field(packet, field, value);
        break;
    case FIELD_ETH_TYPE:
        memcpy(data + payload_type_at(packet), value, 2);
        layers_find(packet, layers);
        break;
    case FIELD_IP_PROTO:
        verdict = set_payload_field(packet, layers, field, value);
        layers_find(packet, layers); /* the transport is another now */
        break;
    default:
        verdict = set_payload_field(packet, layers, field, value);
        break;
    }
    return verdict;
}
