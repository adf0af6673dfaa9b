/* Pushing and popping VLAN, MPLS and PBB headers, and TTLs (sections 5.12 and 7.2.5). See packet.h.
 *
 * A pushed tag is always the outermost of the packet, immediately behind the Ethernet addresses and before other tags
 * (section 5.12), and takes its fields from those that are there (section 5.12.1). So MPLS pushed on a VLAN frame takes
 * the place of the VLAN's Ethernet type, and popping it with that Ethernet type gives the frame back. */
#include "tags.h"

#include <string.h>

#include <rte_mbuf.h>

#include "checksum.h"
#include "headers.h"
#include "layout.h"

#define ADDRESSES_LEN 12

/* Open `n` bytes at `at`: what is before moves to the front. NULL: no headroom. */
static uint8_t *insert(struct rte_mbuf *packet, uint32_t at, uint16_t n) {
    uint8_t *data = (uint8_t *) rte_pktmbuf_prepend(packet, n);
    if (data) {
        memmove(data, data + n, at);
    }
    return data;
}

static void cut_out(struct rte_mbuf *packet, uint32_t at, uint16_t n) {
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    memmove(data + n, data, at);
    rte_pktmbuf_adj(packet, n);
}

static void shift(struct layers *layers, int by) {
    layers->l2_5 = layers->l2_5 ? layers->l2_5 + by : 0;
    layers->l3 = layers->l3 ? layers->l3 + by : 0;
    layers->l4 = layers->l4 ? layers->l4 + by : 0;
}

static uint16_t ethernet_type(const struct rte_mbuf *packet) {
    return load_be16(rte_pktmbuf_mtod_offset(packet, const uint8_t *, ETH_TYPE_AT));
}

/* Priority and VLAN ID of the outermost tag; 0 if there is none. */
static uint16_t outer_tci(const struct rte_mbuf *packet) {
    bool tagged = type_is_vlan(ethernet_type(packet)) && rte_pktmbuf_data_len(packet) >= ETH_LEN + VLAN_LEN;
    return tagged ? load_be16(rte_pktmbuf_mtod_offset(packet, const uint8_t *, ETH_LEN)) : 0;
}

enum packet_verdict push_vlan(struct rte_mbuf *packet, struct layers *layers, be16 eth_type) {
    uint16_t tci = outer_tci(packet) & ~FLOW_VLAN_PRESENT; /* PCP and VID; there is no field for the bit between */
    uint8_t *data = insert(packet, ADDRESSES_LEN, VLAN_LEN);
    if (!data) {
        return PACKET_DROP;
    }
    memcpy(data + ETH_TYPE_AT, &eth_type, 2);
    store_be16(data + ETH_LEN, tci);
    shift(layers, VLAN_LEN);
    return PACKET_OK;
}

enum packet_verdict pop_vlan(struct rte_mbuf *packet, struct layers *layers) {
    if (!type_is_vlan(ethernet_type(packet)) || rte_pktmbuf_data_len(packet) < ETH_LEN + VLAN_LEN) {
        return PACKET_DROP;
    }
    cut_out(packet, ADDRESSES_LEN, VLAN_LEN);
    shift(layers, -VLAN_LEN);
    return PACKET_OK;
}

static uint8_t *ip_ttl(uint8_t *ip) {
    return ip + (*ip >> 4 == 4 ? IPV4_TTL : IPV6_HOPS);
}

static bool has_mpls(const struct rte_mbuf *packet, const struct layers *layers) {
    return layers->l2_5 && type_is_mpls(load_be16(rte_pktmbuf_mtod_offset(packet, const uint8_t *, layers->l2_5 - 2)));
}

static bool has_ip(const struct rte_mbuf *packet, const struct layers *layers) {
    return layers->l3 && load_be16(rte_pktmbuf_mtod_offset(packet, const uint8_t *, layers->l3 - 2)) != ETH_TYPE_ARP;
}

/* What a new shim starts with: a copy of the outermost shim, or the IP header's TTL at the bottom of the stack. */
static uint32_t new_shim(const struct rte_mbuf *packet, const struct layers *layers) {
    if (has_mpls(packet, layers)) {
        return load_be32(rte_pktmbuf_mtod_offset(packet, const uint8_t *, layers->l2_5)) & ~MPLS_BOS;
    }
    if (has_ip(packet, layers)) {
        return MPLS_BOS | *ip_ttl(rte_pktmbuf_mtod_offset(packet, uint8_t *, layers->l3));
    }
    return MPLS_BOS;
}

enum packet_verdict push_mpls(struct rte_mbuf *packet, struct layers *layers, be16 eth_type) {
    uint32_t shim = new_shim(packet, layers);
    uint8_t *data = insert(packet, ETH_LEN, MPLS_LEN);
    if (!data) {
        return PACKET_DROP;
    }
    memcpy(data + ETH_TYPE_AT, &eth_type, 2);
    store_be32(data + ETH_LEN, shim);
    *layers = (struct layers){.l2_5 = ETH_LEN};
    return PACKET_OK;
}

enum packet_verdict pop_mpls(struct rte_mbuf *packet, struct layers *layers, be16 eth_type) {
    if (!has_mpls(packet, layers)) {
        return PACKET_DROP;
    }
    uint32_t at = layers->l2_5;
    memcpy(rte_pktmbuf_mtod_offset(packet, uint8_t *, at - 2), &eth_type, 2);
    cut_out(packet, at, MPLS_LEN);
    layers_find(packet, layers);
    return PACKET_OK;
}

/* Backbone addresses start as the customer's; the I-SID as that of a tag that is there, the priority as the VLAN's. */
enum packet_verdict push_pbb(struct rte_mbuf *packet, struct layers *layers, be16 eth_type) {
    uint32_t priority = (uint32_t) (outer_tci(packet) & 0xe000) << 16;
    uint32_t isid = 0;
    if (layers->l2_5 && !has_mpls(packet, layers)) {
        isid = load_be32(rte_pktmbuf_mtod_offset(packet, const uint8_t *, layers->l2_5)) & PBB_ISID_MASK;
    }
    uint8_t *data = (uint8_t *) rte_pktmbuf_prepend(packet, PBB_HEADER_LEN);
    if (!data) {
        return PACKET_DROP;
    }
    memcpy(data, data + PBB_HEADER_LEN, ADDRESSES_LEN);
    memcpy(data + ETH_TYPE_AT, &eth_type, 2);
    store_be32(data + ETH_LEN, priority | isid);
    *layers = (struct layers){.l2_5 = ETH_LEN};
    return PACKET_OK;
}

/* The customer addresses become the Ethernet addresses; a backbone VLAN tag, if still there, stays. */
enum packet_verdict pop_pbb(struct rte_mbuf *packet, struct layers *layers) {
    uint32_t tag = layers->l2_5;
    if (!tag || has_mpls(packet, layers) || rte_pktmbuf_data_len(packet) < tag + PBB_TAG_LEN + ETH_LEN) {
        return PACKET_DROP;
    }
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    memcpy(data, data + tag + PBB_TAG_LEN, ADDRESSES_LEN);
    cut_out(packet, tag - 2, PBB_HEADER_LEN);
    layers_find(packet, layers);
    return PACKET_OK;
}

/* A header with a TTL: an MPLS shim or an IP header. */
struct ttl {
    uint8_t *at;   /* NULL: no such header */
    uint8_t *ipv4; /* the header whose checksum covers it */
};

static struct ttl ttl_of_ip(uint8_t *ip, const uint8_t *end) {
    unsigned version = end - ip >= IPV4_LEN ? *ip >> 4 : 0;
    bool whole = version == 4 || (version == 6 && end - ip >= IPV6_LEN);
    return whole ? (struct ttl){.at = ip_ttl(ip), .ipv4 = version == 4 ? ip : NULL} : (struct ttl){0};
}

static void ttl_set(const struct ttl *ttl, uint8_t value) {
    uint8_t old[2];
    uint8_t *pair = ttl->ipv4 ? ttl->ipv4 + IPV4_TTL : old;
    memcpy(old, pair, sizeof old);
    *ttl->at = value;
    if (ttl->ipv4) {
        checksum_update(ttl->ipv4 + IPV4_CHECKSUM, old, pair, sizeof old);
    }
}

static struct ttl mpls_ttl(const struct rte_mbuf *packet, const struct layers *layers) {
    bool there = has_mpls(packet, layers);
    return (struct ttl){.at = there ? rte_pktmbuf_mtod_offset(packet, uint8_t *, layers->l2_5 + MPLS_TTL_AT) : NULL};
}

static struct ttl nw_ttl(const struct rte_mbuf *packet, const struct layers *layers) {
    const uint8_t *end = rte_pktmbuf_mtod_offset(packet, const uint8_t *, rte_pktmbuf_data_len(packet));
    return has_ip(packet, layers) ? ttl_of_ip(rte_pktmbuf_mtod_offset(packet, uint8_t *, layers->l3), end)
                                  : (struct ttl){0};
}

/* The header with a TTL that lies next under the outermost one: of MPLS a shim or IP, of IP another IP. */
static struct ttl next_ttl(struct rte_mbuf *packet, const struct layers *layers) {
    uint8_t *data = rte_pktmbuf_mtod(packet, uint8_t *);
    const uint8_t *end = data + rte_pktmbuf_data_len(packet);
    if (has_mpls(packet, layers)) {
        uint8_t *shim = data + layers->l2_5;
        if (load_be32(shim) & MPLS_BOS) {
            return ttl_of_ip(shim + MPLS_LEN, end);
        }
        return (struct ttl){.at = end - shim >= MPLS_LEN + MPLS_LEN ? shim + MPLS_LEN + MPLS_TTL_AT : NULL};
    }
    struct ip ip;
    if (ip_find(packet, layers, &ip) && (ip.proto == IP_PROTO_IPIP || ip.proto == IP_PROTO_IPV6) && ip.payload) {
        return ttl_of_ip(ip.payload, end);
    }
    return (struct ttl){0};
}

void copy_ttl(struct rte_mbuf *packet, const struct layers *layers, bool outwards) {
    struct ttl outer = has_mpls(packet, layers) ? mpls_ttl(packet, layers) : nw_ttl(packet, layers);
    struct ttl inner = next_ttl(packet, layers);
    if (outer.at && inner.at) {
        ttl_set(outwards ? &outer : &inner, outwards ? *inner.at : *outer.at);
    }
}

static enum packet_verdict ttl_decrement(const struct ttl *ttl) {
    if (ttl->at && *ttl->at <= 1) {
        return PACKET_INVALID_TTL;
    }
    if (ttl->at) {
        ttl_set(ttl, *ttl->at - 1);
    }
    return PACKET_OK;
}

enum packet_verdict decrement_ttl(struct rte_mbuf *packet, const struct layers *layers, bool mpls) {
    struct ttl ttl = mpls ? mpls_ttl(packet, layers) : nw_ttl(packet, layers);
    return ttl_decrement(&ttl);
}

void set_ttl(struct rte_mbuf *packet, const struct layers *layers, bool mpls, uint8_t value) {
    struct ttl ttl = mpls ? mpls_ttl(packet, layers) : nw_ttl(packet, layers);
    if (ttl.at) {
        ttl_set(&ttl, value);
    }
}
