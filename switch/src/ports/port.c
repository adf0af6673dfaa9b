/* What all types of ports have in common. */
#include "port.h"

#include <stdio.h>
#include <string.h>

#include <rte_ether.h>
#include <rte_mbuf.h>

#include "../openflow/ofp13.h"
#include "types.h"

static const struct port_type *const TYPES[] = {
    &port_type_dpdk, &port_type_vhost_user, &port_type_memif, &port_type_af_packet,
    &port_type_tap,  &port_type_af_xdp,     &port_type_vxlan,
};

const struct port_type *port_type_find(const char *name) {
    for (size_t i = 0; i < RTE_DIM(TYPES); i++)
        if (!strcmp(TYPES[i]->name, name))
            return TYPES[i];
    return NULL;
}

const char *port_type_names(void) {
    return "dpdk, vhost-user, memif, af_packet, tap, af_xdp, vxlan";
}

void port_init(struct port *port, const struct port_type *type, const struct port_host *host, const char *name,
               unsigned queues) {
    port->type = type;
    port->host = host;
    snprintf(port->name, sizeof port->name, "%s", name);
    port->slot = -1;
    port->n_rx_queues = port->n_tx_queues = (uint16_t) RTE_MIN(queues, (unsigned) PORT_MAX_QUEUES);
    port->mtu = 1500;
    port->ring = 256;
    port->peak_rate = 14880952; /* 64-byte frames at 10 Gb/s */
    for (unsigned i = 0; i < PORT_MAX_QUEUES; i++)
        rte_spinlock_init(&port->locks[i].lock);
}

/* In pieces of a batch at most, which is what types are made for; a copied packet can make more of one batch. */
static unsigned transmit(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    unsigned sent = 0, piece, took;
    do {
        piece = RTE_MIN(n - sent, (unsigned) DP_BATCH);
        took = port->type->transmit(port, queue, packets + sent, piece);
        sent += took;
    } while (took == piece && sent < n);
    return sent;
}

void port_send(struct port *port, unsigned worker, struct rte_mbuf **packets, unsigned n) {
    if (!port->n_tx_queues) { /* nobody at the other end yet */
        port->workers[worker].tx_dropped += n;
        rte_pktmbuf_free_bulk(packets, n);
        return;
    }
    unsigned queue = worker % port->n_tx_queues;
    bool shared = port->n_tx_queues < port->host->n_workers;
    if (shared)
        rte_spinlock_lock(&port->locks[queue].lock);
    unsigned sent = transmit(port, queue, packets, n);
    if (shared)
        rte_spinlock_unlock(&port->locks[queue].lock);
    if (unlikely(sent < n)) {
        port->workers[worker].tx_dropped += n - sent;
        rte_pktmbuf_free_bulk(packets + sent, n - sent);
    }
}

void port_mac_of_name(const char *name, uint8_t mac[6]) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */
    for (; *name; name++)
        hash = (hash ^ (uint8_t) *name) * UINT64_C(0x100000001b3);
    for (unsigned i = 0; i < 6; i++)
        mac[i] = (uint8_t) (hash >> (8 * i));
    mac[0] = (uint8_t) ((mac[0] & 0xfc) | 0x02);
}

bool port_parse_mac(const char *text, uint8_t mac[6]) {
    struct rte_ether_addr address;
    if (rte_ether_unformat_addr(text, &address))
        return false;
    memcpy(mac, address.addr_bytes, sizeof address.addr_bytes);
    return true;
}

/* ofp_port_features of section 7.2.1, those that a speed stands for. */
enum {
    OFPPF_10MB_FD = 1 << 1,
    OFPPF_100MB_FD = 1 << 3,
    OFPPF_1GB_FD = 1 << 5,
    OFPPF_10GB_FD = 1 << 6,
    OFPPF_40GB_FD = 1 << 7,
    OFPPF_100GB_FD = 1 << 8,
    OFPPF_OTHER = 1 << 10,
};

static uint32_t speed_feature(uint32_t mbps) {
    switch (mbps) {
    case 10:
        return OFPPF_10MB_FD;
    case 100:
        return OFPPF_100MB_FD;
    case 1000:
        return OFPPF_1GB_FD;
    case 10000:
        return OFPPF_10GB_FD;
    case 40000:
        return OFPPF_40GB_FD;
    case 100000:
        return OFPPF_100GB_FD;
    default:
        return OFPPF_OTHER;
    }
}

void port_describe_link(struct dp_port *description, bool up, uint32_t mbps) {
    description->state = up ? OFPPS_LIVE : OFPPS_LINK_DOWN;
    description->curr = mbps ? speed_feature(mbps) : 0;
    description->supported = description->advertised = description->curr;
    description->curr_speed = description->max_speed = mbps * 1000;
}
