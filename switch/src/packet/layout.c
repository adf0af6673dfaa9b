/* See layout.h. */
#include "layout.h"

#include <stddef.h>

#include <rte_mbuf.h>

#include "headers.h"

uint32_t payload_type_at(const struct rte_mbuf *packet) {
    const uint8_t *data = rte_pktmbuf_mtod(packet, const uint8_t *);
    uint32_t at = ETH_TYPE_AT;
    while (type_is_vlan(load_be16(data + at)) && at + VLAN_LEN + 2 <= rte_pktmbuf_data_len(packet)) {
        at += VLAN_LEN;
    }
    return at;
}

void layers_find(const struct rte_mbuf *packet, struct layers *layers) {
    struct flow unused;
    flow_extract(packet, 0, 0, 0, 0, &unused, layers);
}

static bool is_skipped(uint8_t next_header) {
    return extension_flag(next_header) && next_header != IP_PROTO_ESP && next_header != IP_PROTO_NONE;
}

/* Follow the extension headers as flow_extract() does. */
static void ipv6_walk(struct ip *ip, const uint8_t *end) {
    uint8_t *at = ip->header + IPV6_LEN;
    uint32_t payload = load_be16(ip->header + IPV6_PAYLOAD);
    if (payload && end - at > (ptrdiff_t) payload) {
        end = at + payload;
    }
    ip->proto_at = ip->header + IPV6_NEXT;
    while (is_skipped(*ip->proto_at) && end - at >= 8) {
        uint16_t flag = extension_flag(*ip->proto_at);
        uint32_t length = ipv6_extension_length(flag, at);
        if (end - at < (ptrdiff_t) length) {
            break;
        }
        ip->fragment |= flag == OFPIEH_FRAG;
        ip->routed |= flag == OFPIEH_ROUTER && at[3] != 0;
        ip->proto_at = at;
        bool later = flag == OFPIEH_FRAG && load_be16(at + 2) & IPV6_OFFSET_MASK;
        at += length;
        if (later) {
            return;
        }
    }
    ip->payload = at;
    uint32_t headers = at - (ip->header + IPV6_LEN);
    ip->l4_length = payload > headers ? payload - headers : 0;
}

bool ip_find(struct rte_mbuf *packet, const struct layers *layers, struct ip *ip) {
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    uint16_t type = layers->l3 ? load_be16(data + layers->l3 - 2) : 0;
    if (type != ETH_TYPE_IPV4 && type != ETH_TYPE_IPV6) {
        return false;
    }
    *ip = (struct ip){.header = data + layers->l3, .v6 = type == ETH_TYPE_IPV6};
    if (ip->v6) {
        ipv6_walk(ip, data + rte_pktmbuf_data_len(packet));
    } else {
        ip->proto_at = ip->header + IPV4_PROTO;
        ip->fragment = load_be16(ip->header + IPV4_FRAGMENT) & (IPV4_OFFSET_MASK | IPV4_MORE);
        uint32_t header = (ip->header[0] & 0xfU) * 4;
        ip->l4_length = load_be16(ip->header + IPV4_TOTAL) - header;
        ip->payload = load_be16(ip->header + IPV4_FRAGMENT) & IPV4_OFFSET_MASK ? NULL : ip->header + header;
    }
    ip->proto = *ip->proto_at;
    if (layers->l4) {
        uint32_t room = rte_pktmbuf_data_len(packet) - layers->l4;
        ip->l4 = data + layers->l4;
        ip->l4_room = ip->l4_length ? RTE_MIN(room, ip->l4_length) : room;
    }
    return true;
}

bool ip_is_nd(const struct ip *ip) {
    return ip->l4 && ip->v6 && ip->proto == IP_PROTO_ICMPV6 && ip->l4_room >= ND_LEN &&
           (ip->l4[0] == ICMPV6_ND_SOLICIT || ip->l4[0] == ICMPV6_ND_ADVERT);
}
