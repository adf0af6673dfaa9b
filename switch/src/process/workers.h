/* All workers: which queue is polled by whom, who is parked, and the waiting that changes of these need.
 *
 * A queue moves from one worker to another in two steps, between which nobody polls it: sets without it, then (when
 * every worker has let go of the old sets) sets with it. Parking a worker is moving all of its queues away; it then
 * blocks until it is woken. With the policy "auto" the control thread parks a worker when the others can carry the
 * load, and wakes one before the load needs it.
 *
 * Everything here runs on the control thread. Neighbours: worker.h; quake.c. */
#ifndef QUAKE_PROCESS_WORKERS_H
#define QUAKE_PROCESS_WORKERS_H 1

#include <stdbool.h>
#include <stdint.h>

#include "worker.h"

struct workers_policy {
    bool spin;          /* never nap: for measurements */
    bool automatic;     /* park and wake by load */
    uint64_t peak_rate; /* packets/s per queue; 0: what the port says */
};

struct workers {
    struct dp *dp;
    struct rte_rcu_qsbr *rcu;
    struct workers_policy policy;
    struct port *_Atomic ports[DP_MAX_PORTS]; /* by slot: where workers send to */
    bool polled[DP_MAX_PORTS];                /* by slot */
    uint64_t generation;                      /* of the newest queue set */
    unsigned n;
    struct worker *worker;          /* n of them */
    uint64_t last_look, *last_busy; /* of the load policy: TSC, and per worker */
    unsigned calm_looks;
    double load; /* sum of the workers' busy shares at the last look */
};

/* NULL or what is wrong. One worker per CPU of `cpus`; -1 stands for no particular one. */
char *workers_start(struct workers *workers, struct dp *dp, struct rte_mempool *pool, const int *cpus, unsigned n);
void workers_stop(struct workers *workers);

/* Put a port in or out of use. After workers_detach() no worker polls it; after a further workers_forget() none sends
 * to it. */
void workers_attach(struct workers *workers, struct port *port);
void workers_detach(struct workers *workers, struct port *port);
void workers_forget(struct workers *workers, struct port *port);
/* Hand the queues out anew: a port has other queues, or the policy changed. */
void workers_assign(struct workers *workers);

/* NULL or what is wrong. */
char *workers_park(struct workers *workers, unsigned id);
char *workers_unpark(struct workers *workers, unsigned id);
/* The load policy; call every 100 ms. */
void workers_balance(struct workers *workers);

/* Return once every worker has left whatever it was in, and done the jobs given to it. */
void workers_synchronize(struct workers *workers);

/* The worker that polls the first queue of the port in `slot`; any, for a slot that nobody polls. */
struct worker *workers_of_slot(struct workers *workers, int slot);

#endif
