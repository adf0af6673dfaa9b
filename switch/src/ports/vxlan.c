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
 * Neighbours: vxlan_path.h has what this side shares with the workers', vxlan_path.c. */
#include <arpa/inet.h>
#include <stdlib.h>

#include <rte_arp.h>
#include <rte_jhash.h>
#include <rte_mbuf.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "../openflow/ofp13.h"
#include "types.h"
#include "vxlan_path.h"

#define VXLAN_UDP_PORT 4789
#define BFD_UDP_PORT 3784
#define TICK_MS 100
#define ARP_TICKS 10 /* between questions, while the next hop is unknown */
#define ARP_REFRESH_TICKS 300

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
    memcpy(&ethernet->dst_addr, VXLAN_BFD_MAC, 6);
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
    atomic_store(&vxlan->peer, vxlan_pack_mac(mac));
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
    if (others && tunnels_find(others, vxlan->local, vxlan->remote, vxlan->vni))
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
    tunnels_replace(vxlan->underlay, vxlan, NULL);
    vxlan->timer = loop_timer_add(host->loop, loop_now_ms(), tick, vxlan);
    *port = &vxlan->up;
    return NULL;
}

static void vxlan_close(struct port *port) {
    struct vxlan *vxlan = vxlan_of(port);
    loop_timer_remove(vxlan->timer);
    tunnels_replace(vxlan->underlay, NULL, vxlan);
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

/* A vxlan port has no queue of its own: its packets come in by the underlay's. */
static unsigned vxlan_receive(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    (void) port, (void) queue, (void) packets, (void) n;
    return 0;
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
