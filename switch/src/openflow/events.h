/* How a port is described, in port-status messages (events.c) and in answers (stats_port.c). */
#ifndef QUAKE_OPENFLOW_EVENTS_H
#define QUAKE_OPENFLOW_EVENTS_H 1

#include "../pipeline/dp.h"
#include "wire.h"

void port_encode(struct ofp_port *wire, const struct dp_port *port); /* `wire` is zeroed */

#endif
