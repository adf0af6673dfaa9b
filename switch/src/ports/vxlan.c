/* VXLAN ports: Ethernet in UDP over IPv4, put on and taken off by the switch itself.
 *
 * A vxlan port lies over another port, its underlay, and carries one VNI between two addresses; the VNI is the
 * tunnel_id of what comes in. On the way out a packet gets 50 bytes of headers, with a source port that is a hash of
 * the inner frame; a frame that would not fit into the underlay's MTU is dropped and counted (tx_errors), never
 * fragmented. The next hop's MAC is asked for by ARP, which the switch also answers for its own address.
 *
 * Liveness, if asked for, is a BFD session (bfd.h) inside the tunnel as RFC 8971 describes it. The port's link is up
 * when the underlay's is, the next hop is known, and the session, if any, is up; so fast-failover groups see a dead
 * path.
 *
 * Worker and control thread meet in three places: the tunnels over a port (replaced as a whole), the next hop's MAC
 * (one atomic word), and the last BFD packet heard (under a lock). */
#include "vxlan.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <rte_arp.h>
#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_jhash.h>
#include <rte_mbuf.h>
#include <rte_udp.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "../openflow/ofp13.h"
#include "../packet/packet.h"
#include "bfd.h"
#include "types.h"

#define VXLAN_UDP_PORT 4789
#define BFD_UDP_PORT 3784
#define TICK_MS 100
#define ARP_TICKS 10 /* between questions, while the next hop is unknown */
#define ARP_REFRESH_TICKS 300
#define MAC_KNOWN (UINT64_C(1) << 63)
#define HASHED_BYTES 34 /* of the inner frame: Ethernet and IPv4 headers */

static const uint8_t BFD_MAC[6] = {0x00, 0x00, 0x5e, 0x00, 0x52, 0x02}; /* RFC 8971 */

struct vxlan_header {
    be32 flags;
    be32 vni; /* in the upper 24 bits */
} __attribute__((packed));

struct outer {
    struct rte_ether_hdr ethernet;
    struct rte_ipv4_hdr ip;
    struct rte_udp_hdr udp;
    struct vxlan_header vxlan;
} __attribute__((packed, aligned(2)));

#define VXLAN_FLAG_VNI 0x08000000u

struct vxlan {
    struct port up; /* first */
    struct port *underlay;
    be32 local, remote, next_hop;
    be16 udp_port;
    uint32_t vni;
    uint8_t mac[6];        /* ours on the underlay */
    bool fixed;            /* the next hop's MAC was given */
    _Atomic uint64_t peer; /* its MAC in the low 48 bits, and MAC_KNOWN */
    struct outer header;   /* but for destination, lengths, checksum and source port */
    _Atomic uint64_t oversize;
    struct loop_timer *timer;
    unsigned ticks;
    bool was_up;

    bool alive_checked; /* liveness was asked for */
    struct bfd bfd;
    uint64_t next_bfd_ms;
    rte_spinlock_t heard_lock;
    bool heard;
    uint8_t heard_packet[BFD_PACKET];
};

/* The vxlan ports over one underlay: a hash table by remote address and VNI. Never changed, only replaced. */
struct tunnels {
    struct port *underlay;
    unsigned n, mask;
    struct vxlan *slots[];
};

static struct vxlan *vxlan_of(struct port *port) {
    return (struct vxlan *) port;
}

static uint64_t pack_mac(const uint8_t mac[6]) {
    uint64_t packed = 0;
    memcpy(&packed, mac, 6);
    return packed | MAC_KNOWN;
}

/* ---- Which tunnel ---- */

static unsigned slot_of(const struct tunnels *tunnels, be32 remote, uint32_t vni) {
    return rte_jhash_2words(remote, vni, 0) & tunnels->mask;
}

static struct vxlan *find(const struct tunnels *tunnels, be32 local, be32 remote, uint32_t vni) {
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

/* Replace the tunnels over `underlay` by those there are, with `added` and without `removed` (either may be NULL). */
static void replace(struct port *underlay, struct vxlan *added, const struct vxlan *removed) {
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
    struct vxlan *vxlan = find(tunnels, ip->dst_addr, ip->src_addr, ntohl(header->vni) >> 8);
    return vxlan && vxlan->udp_port == udp->dst_port ? vxlan : NULL;
}

/* A BFD packet is for the control thread; it is let known at its next tick. */
static bool take_bfd(struct vxlan *vxlan, const struct rte_mbuf *packet) {
    const size_t before = sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) + sizeof(struct rte_udp_hdr);
    const uint8_t *data = rte_pktmbuf_mtod(packet, const uint8_t *);
    if (packet->data_len < before + BFD_PACKET || memcmp(data, BFD_MAC, sizeof BFD_MAC) != 0)
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
            atomic_store(&vxlan->peer, pack_mac(arp->arp_data.arp_sha.addr_bytes));
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

/* A vxlan port has no queue of its own: its packets come in by the underlay's. */
static unsigned vxlan_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    (void) port, (void) queue, (void) packets, (void) n;
    return 0;
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

static unsigned vxlan_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
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

/* ---- The control thread's ticks ---- */

static struct rte_mbuf *new_packet(struct vxlan *vxlan, uint16_t size, uint8_t **data) {
    struct rte_mbuf *packet = rte_pktmbuf_alloc(vxlan->up.host->pool);
    if (packet)
        *data = memset(rte_pktmbuf_append(packet, size), 0, size);
    return packet;
}

static void ask_for_next_hop(struct vxlan *vxlan) {
    uint8_t *data;
    struct rte_mbuf *packet = new_packet(vxlan, 60, &data);
    if (!packet)
        return;
    struct rte_ether_hdr *ethernet = (struct rte_ether_hdr *) data;
    struct rte_arp_hdr *arp = (struct rte_arp_hdr *) (ethernet + 1);
    memset(&ethernet->dst_addr, 0xff, 6);
    memcpy(&ethernet->src_addr, vxlan->mac, 6);
    ethernet->ether_type = htons(RTE_ETHER_TYPE_ARP);
    *arp = (struct rte_arp_hdr){.arp_hardware = htons(RTE_ARP_HRD_ETHER),
                                .arp_protocol = htons(RTE_ETHER_TYPE_IPV4),
                                .arp_hlen = 6,
                                .arp_plen = 4,
                                .arp_opcode = htons(RTE_ARP_OP_REQUEST)};
    memcpy(&arp->arp_data.arp_sha, vxlan->mac, 6);
    arp->arp_data.arp_sip = vxlan->local;
    arp->arp_data.arp_tip = vxlan->next_hop;
    vxlan->underlay->host->send(vxlan->underlay->host->aux, vxlan->underlay, packet);
}

static void send_bfd(struct vxlan *vxlan) {
    uint8_t *data;
    const uint16_t udp_length = sizeof(struct rte_udp_hdr) + BFD_PACKET;
    struct rte_mbuf *packet =
        new_packet(vxlan, sizeof(struct rte_ether_hdr) + sizeof(struct rte_ipv4_hdr) + udp_length, &data);
    if (!packet)
        return;
    struct rte_ether_hdr *ethernet = (struct rte_ether_hdr *) data;
    struct rte_ipv4_hdr *ip = (struct rte_ipv4_hdr *) (ethernet + 1);
    struct rte_udp_hdr *udp = (struct rte_udp_hdr *) (ip + 1);
    memcpy(&ethernet->dst_addr, BFD_MAC, 6);
    memcpy(&ethernet->src_addr, vxlan->mac, 6);
    ethernet->ether_type = htons(RTE_ETHER_TYPE_IPV4);
    *ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
                                .total_length = htons((uint16_t) (sizeof *ip + udp_length)),
                                .time_to_live = 255,
                                .next_proto_id = IPPROTO_UDP,
                                .src_addr = vxlan->local,
                                .dst_addr = htonl(0x7f000001)};
    ip->hdr_checksum = rte_ipv4_cksum(ip);
    *udp = (struct rte_udp_hdr){htons(0xc000), htons(BFD_UDP_PORT), htons(udp_length), 0};
    bfd_write(&vxlan->bfd, (uint8_t *) (udp + 1));
    vxlan->up.host->send(vxlan->up.host->aux, &vxlan->up, packet);
}

static void run_bfd(struct vxlan *vxlan, uint64_t now) {
    uint8_t packet[BFD_PACKET];
    rte_spinlock_lock(&vxlan->heard_lock);
    bool heard = vxlan->heard;
    memcpy(packet, vxlan->heard_packet, sizeof packet);
    vxlan->heard = false;
    rte_spinlock_unlock(&vxlan->heard_lock);
    if (heard)
        bfd_receive(&vxlan->bfd, packet, sizeof packet, now);
    bfd_check(&vxlan->bfd, now);
    if (now < vxlan->next_bfd_ms || vxlan->up.slot < 0)
        return;
    send_bfd(vxlan);
    vxlan->next_bfd_ms = now + bfd_send_interval_ms(&vxlan->bfd);
}

static bool underlay_up(struct vxlan *vxlan) {
    struct dp_port description = {0};
    vxlan->underlay->type->describe(vxlan->underlay, &description);
    return !(description.state & OFPPS_LINK_DOWN);
}

static bool is_up(struct vxlan *vxlan) {
    return (atomic_load(&vxlan->peer) & MAC_KNOWN) && (!vxlan->alive_checked || vxlan->bfd.state == BFD_UP) &&
           underlay_up(vxlan);
}

static void tick(void *aux) {
    struct vxlan *vxlan = aux;
    uint64_t now = loop_now_ms();
    bool known = atomic_load(&vxlan->peer) & MAC_KNOWN;
    if (!vxlan->fixed && vxlan->ticks % (known ? ARP_REFRESH_TICKS : ARP_TICKS) == 0)
        ask_for_next_hop(vxlan);
    vxlan->ticks++;
    if (vxlan->alive_checked)
        run_bfd(vxlan, now);
    bool up = is_up(vxlan);
    if (up != vxlan->was_up)
        vxlan->up.host->changed(vxlan->up.host->aux, &vxlan->up);
    vxlan->was_up = up;
    uint64_t step = vxlan->alive_checked ? RTE_MIN(vxlan->bfd.interval_us / 2000 + 1, (uint32_t) TICK_MS) : TICK_MS;
    loop_timer_set(vxlan->timer, now + step);
}

/* ---- Opening and closing ---- */

static void prepare_header(struct vxlan *vxlan) {
    struct outer *outer = &vxlan->header;
    memcpy(&outer->ethernet.src_addr, vxlan->mac, 6);
    outer->ethernet.ether_type = htons(RTE_ETHER_TYPE_IPV4);
    outer->ip = (struct rte_ipv4_hdr){.version_ihl = RTE_IPV4_VHL_DEF,
                                      .fragment_offset = htons(RTE_IPV4_HDR_DF_FLAG),
                                      .time_to_live = 64,
                                      .next_proto_id = IPPROTO_UDP,
                                      .src_addr = vxlan->local,
                                      .dst_addr = vxlan->remote};
    outer->udp.dst_port = vxlan->udp_port; /* no checksum, as RFC 7348 recommends over IPv4 */
    outer->vxlan = (struct vxlan_header){htonl(VXLAN_FLAG_VNI), htonl(vxlan->vni << 8)};
}

static char *read_addresses(struct vxlan *vxlan, const char *local, const char *remote, const char *gateway,
                            const char *remote_mac) {
    uint8_t mac[6];
    if (inet_pton(AF_INET, local, &vxlan->local) != 1 || inet_pton(AF_INET, remote, &vxlan->remote) != 1 ||
        inet_pton(AF_INET, gateway ? gateway : remote, &vxlan->next_hop) != 1)
        return error_make("local, remote and gateway must be IPv4 addresses");
    if (!remote_mac)
        return NULL;
    if (!port_parse_mac(remote_mac, mac))
        return error_make("remote_mac is \"%s\"; it must be like 02:00:00:00:00:01", remote_mac);
    vxlan->fixed = true;
    atomic_store(&vxlan->peer, pack_mac(mac));
    return NULL;
}

static char *read_liveness(struct vxlan *vxlan, const json_t *liveness) {
    json_error_t wrong;
    int interval = 100, multiplier = 3;
    if (!liveness)
        return NULL;
    if (json_unpack_ex((json_t *) liveness, &wrong, JSON_STRICT, "{s?i, s?i}", "interval_ms", &interval, "multiplier",
                       &multiplier))
        return error_make("liveness: %s; it takes interval_ms and multiplier", wrong.text);
    if (interval < 10 || interval > 60000 || multiplier < 1 || multiplier > 255)
        return error_make("liveness: interval_ms may be 10 to 60000, multiplier 1 to 255");
    vxlan->alive_checked = true;
    uint32_t discriminator = rte_jhash_3words(vxlan->local, vxlan->remote, vxlan->vni, 0);
    bfd_init(&vxlan->bfd, discriminator ? discriminator : 1, (uint32_t) interval, (uint8_t) multiplier);
    return NULL;
}

static char *read_spec(struct vxlan *vxlan, const json_t *spec) {
    json_error_t wrong;
    const char *underlay, *local, *remote, *gateway = NULL, *mac = NULL;
    int vni, udp_port = VXLAN_UDP_PORT;
    const json_t *liveness = NULL;
    if (json_unpack_ex((json_t *) spec, &wrong, JSON_STRICT, "{s:s, s:s, s:s, s:i, s?i, s?s, s?s, s?o}", "underlay",
                       &underlay, "local", &local, "remote", &remote, "vni", &vni, "udp_port", &udp_port, "gateway",
                       &gateway, "remote_mac", &mac, "liveness", &liveness))
        return error_make(
            "%s; a vxlan port takes underlay, local, remote, vni, udp_port, gateway, remote_mac, liveness", wrong.text);
    if (vni < 0 || vni >= 1 << 24 || udp_port < 1 || udp_port > UINT16_MAX)
        return error_make("vni may be 0 to %d, udp_port 1 to %d", (1 << 24) - 1, UINT16_MAX);
    vxlan->vni = (uint32_t) vni;
    vxlan->up.tunnel_id = vxlan->vni;
    vxlan->udp_port = htons((uint16_t) udp_port);
    vxlan->underlay = vxlan->up.host->find(vxlan->up.host->aux, underlay);
    if (!vxlan->underlay || vxlan->underlay->type == &port_type_vxlan)
        return error_make("the underlay %s is no port of this switch that could carry a tunnel; add it first",
                          underlay);
    char *error = read_addresses(vxlan, local, remote, gateway, mac);
    return error ? error : read_liveness(vxlan, liveness);
}

static char *vxlan_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    struct vxlan *vxlan = xzalloc(sizeof *vxlan);
    port_init(&vxlan->up, &port_type_vxlan, host, name, host->n_workers);
    vxlan->up.n_rx_queues = 0;
    rte_spinlock_init(&vxlan->heard_lock);
    char *error = read_spec(vxlan, spec);
    struct tunnels *others = error ? NULL : atomic_load(&vxlan->underlay->tunnels);
    if (others && find(others, vxlan->local, vxlan->remote, vxlan->vni))
        error = error_make("VNI %u between these addresses is another port's", vxlan->vni);
    if (error) {
        free(vxlan);
        return error;
    }
    struct dp_port below = {0};
    vxlan->underlay->type->describe(vxlan->underlay, &below);
    memcpy(vxlan->mac, below.hw_addr, sizeof vxlan->mac);
    vxlan->up.mtu = (uint16_t) (vxlan->underlay->mtu - sizeof(struct outer)); /* what is inside has its own L2 header */
    prepare_header(vxlan);
    replace(vxlan->underlay, vxlan, NULL);
    vxlan->timer = loop_timer_add(host->loop, loop_now_ms(), tick, vxlan);
    *port = &vxlan->up;
    return NULL;
}

static void vxlan_close(struct port *port) {
    struct vxlan *vxlan = vxlan_of(port);
    loop_timer_remove(vxlan->timer);
    replace(vxlan->underlay, NULL, vxlan);
    free(vxlan);
}

static void vxlan_describe(struct port *port, struct dp_port *description) {
    struct vxlan *vxlan = vxlan_of(port);
    port_mac_of_name(port->name, description->hw_addr);
    port_describe_link(description, is_up(vxlan), 0);
}

static void vxlan_statistics(struct port *port, struct dp_port_stats *statistics) {
    statistics->tx_errors += atomic_load(&vxlan_of(port)->oversize);
}

static json_t *vxlan_details(struct port *port) {
    struct vxlan *vxlan = vxlan_of(port);
    uint64_t peer = atomic_load(&vxlan->peer);
    uint8_t mac[6];
    char text[18] = "unknown";
    memcpy(mac, &peer, sizeof mac);
    if (peer & MAC_KNOWN)
        snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
    return json_pack("{s:s, s:s}", "next_hop", text, "liveness",
                     vxlan->alive_checked ? bfd_state_name(vxlan->bfd.state) : "off");
}

const struct port_type port_type_vxlan = {
    .name = "vxlan",
    .open = vxlan_open,
    .close = vxlan_close,
    .receive = vxlan_receive,
    .transmit = vxlan_transmit,
    .describe = vxlan_describe,
    .statistics = vxlan_statistics,
    .details = vxlan_details,
};
