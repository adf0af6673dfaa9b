/* The switch as a whole: datapath, OpenFlow, workers, ports and journal, joined. Everything here is the control
 * thread's.
 *
 * What changes by the control socket or by controllers is journalled once it is in force. quake_start() replays the
 * journal of a predecessor, if there was one: ports are known again under their numbers, then tables, groups and
 * meters, and only then do devices open, so no packet meets half a pipeline.
 *
 * Neighbours: main.c makes it; control.c and commands.c change it; exporter.c reads it. */
#ifndef QUAKE_PROCESS_QUAKE_H
#define QUAKE_PROCESS_QUAKE_H 1

#include <jansson.h>

#include "../openflow/of.h"
#include "../pipeline/dp.h"
#include "../ports/port.h"
#include "config.h"
#include "journal.h"
#include "workers.h"

struct quake_port {
    uint32_t number; /* 0: the entry is free */
    char name[16];
    json_t *spec;      /* with name, type and number */
    struct port *port; /* NULL: the device could not be opened; tried again every second */
    int slot;
};

struct quake {
    struct loop *loop;
    struct dp *dp;
    struct of *of;
    struct workers workers;
    struct journal *journal;
    struct compaction *compaction; /* NULL: none is under way */
    struct rte_mempool *pool;
    struct port_host host;
    struct quake_port ports[DP_MAX_PORTS];
    json_t *controllers; /* targets, in the order in which they were added */
    struct loop_fd *dp_watch;
    struct loop_timer *tick, *second;
    uint64_t started_ms;
    uint64_t no_dump_before_ms; /* the last did not fit into the journal */
    bool restored;              /* a predecessor's state was taken over */
    bool replaying;             /* what is accepted now is in the journal already */
};

/* What can be done before it is this process's turn: packet buffers. DPDK's environment is up. NULL or what is wrong.
 */
char *quake_prepare(struct quake *quake, const struct config *config);
/* NULL or what is wrong. */
char *quake_start(struct quake *quake, const struct config *config, int journal_fd);
void quake_stop(struct quake *quake);

/* `spec`: {name, type, number (optional), ...}. NULL or what is wrong; on success *number is the port's. */
char *quake_port_add(struct quake *quake, const json_t *spec, uint32_t *number);
char *quake_port_remove(struct quake *quake, const char *name);
struct quake_port *quake_port_find(struct quake *quake, const char *name);

char *quake_controller_add(struct quake *quake, const char *target);
char *quake_controller_remove(struct quake *quake, const char *target);
/* Strike a target off the list only. */
void quake_controllers_forget(struct quake *quake, const char *target);

#endif
