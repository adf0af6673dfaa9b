/* VXLAN, what its two sides share: vxlan.c opens ports and keeps them alive, on the control thread; vxlan_path.c puts
 * headers on and takes them off, on the workers.
 *
 * They meet in three places: the tunnels over a port (replaced as a whole), the next hop's MAC (one atomic word), and
 * the last BFD packet heard (under a lock). */
#ifndef QUAKE_PORTS_VXLAN_PATH_H
#define QUAKE_PORTS_VXLAN_PATH_H 1

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_ip.h>
#include <rte_udp.h>

#include "../packet/flow.h"
#include "bfd.h"
#include "port.h"

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

extern const uint8_t VXLAN_BFD_MAC[6]; /* RFC 8971 */

#define MAC_KNOWN (UINT64_C(1) << 63)

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

static inline struct vxlan *vxlan_of(struct port *port) {
    return (struct vxlan *) port;
}

static inline uint64_t vxlan_pack_mac(const uint8_t mac[6]) {
    uint64_t packed = 0;
    memcpy(&packed, mac, 6);
    return packed | MAC_KNOWN;
}

/* The tunnel between these addresses with this VNI, or NULL. */
struct vxlan *tunnels_find(const struct tunnels *tunnels, be32 local, be32 remote, uint32_t vni);
/* Control thread: replace the tunnels over `underlay` by those there are, with `added` and without `removed` (either
 * may be NULL). */
void tunnels_replace(struct port *underlay, struct vxlan *added, const struct vxlan *removed);

/* Worker: as in struct port_type. */
unsigned vxlan_transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n);

#endif
