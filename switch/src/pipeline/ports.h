/* The datapath's ports: what the control thread knows of them, and the map that workers read.
 *
 * A port has a number of OpenFlow, any up to OFPP_MAX, and a slot, small and dense, by which workers keep queues and
 * counters. The map is made anew on each change and published as part of the datapath's state.
 *
 * Neighbours: execute.c sends by the map; group.c asks it for liveness. */
#ifndef QUAKE_PIPELINE_PORTS_H
#define QUAKE_PIPELINE_PORTS_H 1

#include "dp.h"

#define PORT_HASH_BITS 9 /* at most half full */
#define NO_SLOT (-1)

enum { PORT_RECEIVES = 1, PORT_SENDS = 2, PORT_PACKET_IN = 4, PORT_LIVE = 8 };

struct port_map {
    struct {
        uint32_t port_no; /* 0: empty */
        int32_t slot;
    } hash[1 << PORT_HASH_BITS];
    uint32_t port_no[DP_MAX_PORTS]; /* by slot; 0: none */
    uint8_t flags[DP_MAX_PORTS];
    unsigned n_slots; /* slots from here on are empty */
};

struct ports {
    struct dp_port port[DP_MAX_PORTS]; /* by slot; port_no 0: none */
    uint64_t created_ms[DP_MAX_PORTS];
    struct dp_port_stats
        retired[DP_MAX_PORTS]; /* what destroyed workers had counted, less what a new port starts from */
};

struct port_map *port_map_create(const struct ports *ports);
void port_configure(struct dp_port *port, uint32_t config);

static inline uint32_t port_hash(uint32_t port_no) {
    return port_no * UINT32_C(0x9e3779b1) >> (32 - PORT_HASH_BITS);
}
static inline int port_map_slot(const struct port_map *map, uint32_t port_no) {
    uint32_t at = port_hash(port_no);
    while (map->hash[at].port_no && map->hash[at].port_no != port_no) {
        at = (at + 1) & ((1 << PORT_HASH_BITS) - 1);
    }
    return map->hash[at].port_no ? map->hash[at].slot : NO_SLOT;
}
static inline bool port_map_live(const struct port_map *map, uint32_t port_no) {
    int slot = port_map_slot(map, port_no);
    return slot != NO_SLOT && (map->flags[slot] & PORT_LIVE);
}

#endif
