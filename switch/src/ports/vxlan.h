/* VXLAN (RFC 7348) over another port of the switch; see vxlan.c, vxlan_path.c. */
#ifndef QUAKE_PORTS_VXLAN_H
#define QUAKE_PORTS_VXLAN_H 1

#include "port.h"

struct dp_worker;

/* Worker `id`: take what belongs to tunnels out of a batch that came in on the port they lie on: their packets go
 * through the pipeline as coming from the tunnel, ARP for their addresses is answered. What is left stays in front;
 * returns how many. */
unsigned tunnels_receive(struct tunnels *tunnels, struct dp_worker *worker, unsigned id, struct rte_mbuf **packets,
                         unsigned n);

#endif
