/* Ports and their map. See ports.h and dp.h. */
#include "ports.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "datapath.h"
#include "worker.h"

static uint8_t flags_of(const struct dp_port *port) {
    bool up = !(port->config & OFPPC_PORT_DOWN);
    bool live = up && !(port->state & (OFPPS_LINK_DOWN | OFPPS_BLOCKED));
    return (up && !(port->config & OFPPC_NO_RECV) ? PORT_RECEIVES : 0) |
           (up && !(port->config & OFPPC_NO_FWD) ? PORT_SENDS : 0) |
           (port->config & OFPPC_NO_PACKET_IN ? 0 : PORT_PACKET_IN) | (live ? PORT_LIVE : 0);
}

static void map_add(struct port_map *map, uint32_t port_no, int slot, uint8_t flags) {
    uint32_t at = port_hash(port_no);
    while (map->hash[at].port_no) {
        at = (at + 1) & ((1 << PORT_HASH_BITS) - 1);
    }
    map->hash[at].port_no = port_no;
    map->hash[at].slot = slot;
    map->port_no[slot] = port_no;
    map->flags[slot] = flags;
    map->n_slots = slot + 1;
}

struct port_map *port_map_create(const struct ports *ports) {
    struct port_map *map = xzalloc(sizeof *map);
    for (int slot = 0; slot < DP_MAX_PORTS; slot++) {
        const struct dp_port *port = &ports->port[slot];
        if (port->port_no) {
            map_add(map, port->port_no, slot, flags_of(port));
        }
    }
    return map;
}

/* OFPPS_LIVE follows from the rest, so that fast failover and what controllers read agree. */
static void update_live(struct dp_port *port) {
    port->state = (port->state & ~OFPPS_LIVE) | (flags_of(port) & PORT_LIVE ? OFPPS_LIVE : 0);
}

static void tell(struct dp *dp, const struct dp_port *port, enum dp_port_reason reason) {
    if (dp->events.port_status) {
        dp->events.port_status(dp->events.aux, port, reason);
    }
}

int dp_port_slot(const struct dp *dp, uint32_t port_no) {
    return port_no ? port_map_slot(dp->state->ports, port_no) : NO_SLOT;
}

static struct dp_port *port_of(const struct dp *dp, uint32_t port_no) {
    int slot = dp_port_slot(dp, port_no);
    return slot == NO_SLOT ? NULL : (struct dp_port *) &dp->ports.port[slot];
}

static int empty_slot(const struct ports *ports) {
    for (int slot = 0; slot < DP_MAX_PORTS; slot++) {
        if (!ports->port[slot].port_no) {
            return slot;
        }
    }
    return NO_SLOT;
}

/* Counters of a slot go on for ever; a port starts from what the slot's former port left. */
static void start_from_zero(struct dp *dp, unsigned slot) {
    struct dp_port_stats sum = {0}, *retired = &dp->ports.retired[slot];
    workers_port_stats(dp, slot, &sum);
    *retired = (struct dp_port_stats){0};
    retired->rx_packets -= sum.rx_packets;
    retired->tx_packets -= sum.tx_packets;
    retired->rx_bytes -= sum.rx_bytes;
    retired->tx_bytes -= sum.tx_bytes;
    retired->rx_dropped -= sum.rx_dropped;
    retired->tx_dropped -= sum.tx_dropped;
}

int dp_port_add(struct dp *dp, const struct dp_port *port) {
    if (!port->port_no || port->port_no > OFPP_MAX) {
        return -EINVAL;
    }
    if (dp_port_slot(dp, port->port_no) != NO_SLOT) {
        return -EEXIST;
    }
    int slot = empty_slot(&dp->ports);
    if (slot == NO_SLOT) {
        return -ENOSPC;
    }
    dp->ports.port[slot] = *port;
    dp->ports.created_ms[slot] = now_ms();
    start_from_zero(dp, slot);
    update_live(&dp->ports.port[slot]);
    dp_publish_ports(dp);
    tell(dp, &dp->ports.port[slot], DP_PORT_ADD);
    return slot;
}

int dp_port_remove(struct dp *dp, uint32_t port_no) {
    struct dp_port *port = port_of(dp, port_no);
    if (!port) {
        return -ENODEV;
    }
    struct dp_port gone = *port;
    memset(port, 0, sizeof *port);
    dp_publish_ports(dp);
    dp_barrier(dp);
    tell(dp, &gone, DP_PORT_DELETE);
    return 0;
}

void dp_port_set_state(struct dp *dp, uint32_t port_no, uint32_t state) {
    struct dp_port *port = port_of(dp, port_no);
    if (!port) {
        return;
    }
    uint32_t before = port->state;
    port->state = state;
    update_live(port);
    if (port->state != before) {
        dp_publish_ports(dp);
        tell(dp, port, DP_PORT_MODIFY);
    }
}

void port_configure(struct dp_port *port, uint32_t config) {
    port->config = config;
    update_live(port);
}

const struct dp_port *dp_port_get(const struct dp *dp, uint32_t port_no) {
    return port_of(dp, port_no);
}

const struct dp_port *dp_port_next(const struct dp *dp, const struct dp_port *previous) {
    for (unsigned slot = previous ? previous - dp->ports.port + 1 : 0; slot < DP_MAX_PORTS; slot++) {
        if (dp->ports.port[slot].port_no) {
            return &dp->ports.port[slot];
        }
    }
    return NULL;
}

static void port_stats_add(struct dp_port_stats *stats, const struct dp_port_stats *more) {
    stats->rx_packets += more->rx_packets;
    stats->tx_packets += more->tx_packets;
    stats->rx_bytes += more->rx_bytes;
    stats->tx_bytes += more->tx_bytes;
    stats->rx_dropped += more->rx_dropped;
    stats->tx_dropped += more->tx_dropped;
}

void dp_port_stats(struct dp *dp, uint32_t port_no, struct dp_port_stats *stats) {
    int slot = dp_port_slot(dp, port_no);
    memset(stats, 0, sizeof *stats);
    if (slot == NO_SLOT) {
        return;
    }
    workers_port_stats(dp, slot, stats);
    port_stats_add(stats, &dp->ports.retired[slot]);
    stats->age_ns = (now_ms() - dp->ports.created_ms[slot]) * UINT64_C(1000000);
    if (dp->port_hook) {
        dp->port_hook(dp->port_hook_aux, port_no, stats);
    }
}

void dp_set_port_hook(struct dp *dp, dp_port_hook *hook, void *aux) {
    dp->port_hook = hook;
    dp->port_hook_aux = aux;
}
