/* The switch's ports: from what was asked for to a device that workers poll, and back. Part of quake.c's business. */
#ifndef QUAKE_PROCESS_PORTS_H
#define QUAKE_PROCESS_PORTS_H 1

#include "quake.h"

/* Hooks for struct port_host and dp_set_port_hook(). */
void quake_port_changed(void *quake, struct port *port);
void quake_port_statistics(void *quake, uint32_t port_no, struct dp_port_stats *statistics);

/* Restoring, first step: the port is known to the datapath, with its link down. `record` is what quake_port_record()
 * made. */
char *quake_port_declare(struct quake *quake, const json_t *record);
/* What a successor needs to declare the port: {spec, number, mac, features, speed}. A new reference. */
json_t *quake_port_record(struct quake *quake, const struct quake_port *entry);
/* Open the devices of ports that have none yet. */
void quake_ports_retry(struct quake *quake);
void quake_ports_close(struct quake *quake);

#endif
