/* VXLAN on the workers: which tunnel a packet belongs to, outer headers off and on, ARP for the tunnels' addresses. See
 * vxlan.h and vxlan_path.h. */
#include "vxlan_path.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>

#include <rte_arp.h>
#include <rte_jhash.h>
#include <rte_mbuf.h>

#include "../base/buf.h"
#include "../packet/packet.h"
#include "vxlan.h"

#define HASHED_BYTES 34 /* of the inner frame: Ethernet and IPv4 headers */

const uint8_t VXLAN_BFD_MAC[6] = {0x00, 0x00, 0x5e, 0x00, 0x52, 0x02};

/* The vxlan ports over one underlay: a hash table by remote address and VNI. Never changed, only replaced. */
struct tunnels {
    struct port *underlay;
    unsigned n, mask;
    struct vxlan *slots[];
};

/* ---- Which tunnel ---- */

static unsigned slot_of(const struct tunnels *tunnels, be32 remote, uint32_t vni) {
    return rte_jhash_2words(remote, vni, 0) & tunnels->mask;
}

struct vxlan *tunnels_find(const struct tunnels *tunnels, be32 local, be32 remote, uint32_t vni) {
    for (unsigned i = slot_of(tunnels, remote, vni);; i++) {
        struct vxlan *vxlan = tunnels->slots[i & tunnels->mask];
        if (!vxlan || (vxlan->remote == remote && vxlan->vni == vni && vxlan->local == local))
            return vxlan;
    }
}

static void insert(struct tunnels *tunnels, struct vxlan *vxlan) {
    unsigned i = slot_of(tunnels, vxlan->remote, vxlan->vni);
    while (tunnels->slots[i & tunnels->mask])
        i++;
    tunnels->slots[i & tunnels->mask] = vxlan;
    tunnels->n++;
}

void tunnels_replace(struct port *underlay, struct vxlan *added, const struct vxlan *removed) {
    struct tunnels *old = atomic_load(&underlay->tunnels), *new = NULL;
    unsigned n = (old ? old->n : 0) + !!added - !!removed;
    if (n) {
        unsigned size = 4;
        while (size < 2 * n)
            size *= 2;
        new = xzalloc(offsetof(struct tunnels, slots[size]));
        *new = (struct tunnels){underlay, 0, size - 1};
        for (unsigned i = 0; old && i <= old->mask; i++)
            if (old->slots[i] && old->slots[i] != removed)
                insert(new, old->slots[i]);
        if (added)
            insert(new, added);
    }
    atomic_store(&underlay->tunnels, new);
    underlay->host->synchronize(underlay->host->aux);
    free(old);
}

/* ---- Receiving ---- */

/* The tunnel that an outer packet belongs to, and where the inner frame begins. */
static struct vxlan *classify(const struct tunnels *tunnels, const struct rte_mbuf *packet, uint16_t *inner) {
    const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, const struct rte_ether_hdr *);
    if (packet->data_len < sizeof(struct outer) || ethernet->ether_type != htons(RTE_ETHER_TYPE_IPV4))
        return NULL;
    const struct rte_ipv4_hdr *ip = (const struct rte_ipv4_hdr *) (ethernet + 1);
    uint16_t l4 = (uint16_t) (sizeof *ethernet + rte_ipv4_hdr_len(ip));
    bool fragment = ip->fragment_offset & htons(RTE_IPV4_HDR_MF_FLAG | RTE_IPV4_HDR_OFFSET_MASK);
    *inner = (uint16_t) (l4 + sizeof(struct rte_udp_hdr) + sizeof(struct vxlan_header));
    if (ip->next_proto_id != IPPROTO_UDP || fragment || packet->data_len < *inner + RTE_ETHER_HDR_LEN)
        return NULL;
    const struct rte_udp_hdr *udp = rte_pktmbuf_mtod_offset(packet, const struct rte_udp_hdr *, l4);
    const struct vxlan_header *header = (const struct vxlan_header *) (udp + 1);
    if (!(header->flags & htonl(VXLAN_FLAG_VNI)))
        return NULL;
    struct vxlan *vxlan = tunnels_find(tunnels, ip->dst_addr, ip->src_addr, ntohl(header->vni) >> 8);
    return vxlan && vxlan->udp_port == udp->dst_port ? vxlan : NULL;
}

/* A BFD packet is for the control thread; it is let known at its next tick. */
static bool take_bfd(struct vxlan *vxlan, const struct rte_mbuf *packet) {
    const size_t before = sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr);
    const uint8_t *data = rte_pktmbuf_mtod(packet, const uint8_t *);
    if (packet->data_len < before + BFD_PACKET || memcmp(data, VXLAN_BFD_MAC, sizeof VXLAN_BFD_MAC) != 0)
        return false;
    rte_spinlock_lock(&vxlan->heard_lock);
    memcpy(vxlan->heard_packet, data + before, BFD_PACKET);
    vxlan->heard = true;
    rte_spinlock_unlock(&vxlan->heard_lock);
    return true;
}

/* ARP between next hop and us: the answer is noted, a question is answered. True if the packet was taken. */
static bool take_arp(const struct tunnels *tunnels, unsigned worker, struct rte_mbuf *packet) {
    const struct rte_ether_hdr *ethernet = rte_pktmbuf_mtod(packet, const struct rte_ether_hdr *);
    const struct rte_arp_hdr *arp = (const struct rte_arp_hdr *) (ethernet + 1);
    if (ethernet->ether_type != htons(RTE_ETHER_TYPE_ARP) || packet->data_len < sizeof *ethernet + sizeof *arp)
        return false;
    struct vxlan *asked = NULL;
    for (unsigned i = 0; i <= tunnels->mask; i++) {
        struct vxlan *vxlan = tunnels->slots[i];
        if (!vxlan || arp->arp_data.arp_tip != vxlan->local)
            continue;
        asked = vxlan;
        if (arp->arp_data.arp_sip == vxlan->next_hop && !vxlan->fixed)
            atomic_store(&vxlan->peer, vxlan_pack_mac(arp->arp_data.arp_sha.addr_bytes));
    }
    if (!asked)
        return false;
    if (arp->arp_opcode == htons(RTE_ARP_OP_REQUEST) && packet_arp_nd_reply(packet, asked->mac) == PACKET_OK)
        port_send(tunnels->underlay, worker, &packet, 1);
    else
        rte_pktmbuf_free(packet);
    return true;
}

static void flush(struct dp_worker *worker, const struct vxlan *vxlan, struct rte_mbuf **packets, unsigned *n) {
    if (*n)
        dp_process(worker, (unsigned) vxlan->up.slot, vxlan->up.tunnel_id, packets, *n);
    *n = 0;
}

unsigned tunnels_receive(struct tunnels *tunnels, struct dp_worker *worker, unsigned id, struct rte_mbuf **packets,
                         unsigned n) {
    struct rte_mbuf *inside[DP_BATCH];
    struct vxlan *current = NULL;
    unsigned left = 0, collected = 0;
    for (unsigned i = 0; i < n; i++) {
        uint16_t inner;
        struct vxlan *vxlan = classify(tunnels, packets[i], &inner);
        if (!vxlan) {
            if (!take_arp(tunnels, id, packets[i]))
                packets[left++] = packets[i];
            continue;
        }
        rte_pktmbuf_adj(packets[i], inner);
        if (take_bfd(vxlan, packets[i]) || vxlan->up.slot < 0) {
            rte_pktmbuf_free(packets[i]);
            continue;
        }
        if (vxlan != current)
            flush(worker, current, inside, &collected); /* keeps the order of arrival */
        current = vxlan;
        inside[collected++] = packets[i];
    }
    flush(worker, current, inside, &collected);
    return left;
}

/* ---- Sending ---- */

static uint16_t source_port(const struct rte_mbuf *packet) {
    uint32_t hash =
        rte_jhash(rte_pktmbuf_mtod(packet, const void *), RTE_MIN(packet->data_len, (uint16_t) HASHED_BYTES), 0);
    return htons((uint16_t) (0xc000 | (hash & 0x3fff))); /* the dynamic ports, as RFC 7348 has it */
}

/* `packet` with the outer headers in front; NULL if it was dropped. */
static struct rte_mbuf *encapsulate(struct vxlan *vxlan, struct rte_mbuf *packet, uint64_t peer) {
    uint32_t length = packet->pkt_len;
    if (length > (uint32_t) vxlan->up.mtu + RTE_ETHER_HDR_LEN) {
        atomic_fetch_add_explicit(&vxlan->oversize, 1, memory_order_relaxed);
        rte_pktmbuf_free(packet);
        return NULL;
    }
    if (rte_mbuf_refcnt_read(packet) > 1 || !RTE_MBUF_DIRECT(packet)) { /* others see its headroom */
        struct rte_mbuf *copy = rte_pktmbuf_copy(packet, vxlan->up.host->pool, 0, UINT32_MAX);
        rte_pktmbuf_free(packet);
        if (!(packet = copy))
            return NULL;
    }
    uint16_t port = source_port(packet);
    struct outer *outer = (struct outer *) rte_pktmbuf_prepend(packet, sizeof *outer);
    if (!outer) {
        rte_pktmbuf_free(packet);
        return NULL;
    }
    *outer = vxlan->header;
    memcpy(&outer->ethernet.dst_addr, &peer, 6);
    outer->ip.total_length = htons((uint16_t) (length + sizeof *outer - sizeof outer->ethernet));
    outer->ip.hdr_checksum = rte_ipv4_cksum(&outer->ip);
    outer->udp.src_port = port;
    outer->udp.dgram_len = htons((uint16_t) (length + sizeof outer->udp + sizeof outer->vxlan));
    return packet;
}

unsigned vxlan_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    struct vxlan *vxlan = vxlan_of(port);
    uint64_t peer = atomic_load_explicit(&vxlan->peer, memory_order_relaxed);
    struct rte_mbuf *outside[DP_BATCH];
    unsigned ready = 0;
    if (!(peer & MAC_KNOWN))
        return 0;
    for (unsigned i = 0; i < n; i++) {
        struct rte_mbuf *packet = encapsulate(vxlan, packets[i], peer);
        if (packet)
            outside[ready++] = packet;
    }
    if (ready)
        port_send(vxlan->underlay, queue, outside, ready); /* a vxlan port has a queue per worker */
    return n;
}
