/* A worker: one thread on one CPU that polls its queues, runs packets through the pipeline and sends them, to
 * completion.
 *
 * What it polls is a `struct queue_set`, replaced as a whole by the control thread (workers.c). Packet-outs and packets
 * of our own come in by a ring of jobs. Nothing on the packet path is shared with another worker but what a port's
 * transmit queue makes necessary.
 *
 * Rest
 * ----
 * A worker whose queues are empty naps, as long as rest.h says, or, after a while without any packet, arms its ports'
 * wake-ups and blocks until one of them, or the control thread, wakes it: at zero load it takes no CPU time. Ports
 * without wake-ups keep it napping. A resting worker is offline for RCU: nobody waits for it.
 *
 * Neighbours: workers.c owns workers; rest.c says how long they rest; pipeline/dp.h runs the packets; ports/port.h brings and takes them. */
#ifndef QUAKE_PROCESS_WORKER_H
#define QUAKE_PROCESS_WORKER_H 1

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "../ports/port.h"
#include "rest.h"

struct rte_rcu_qsbr;
struct rte_ring;

struct queue_ref {
    struct port *port;
    uint16_t queue;
};

struct queue_set {
    uint64_t generation; /* no two sets have the same */
    unsigned n;
    struct rest_limits limits; /* of the port that allows least; nap_ns 0: never nap (policy "spin") */
    struct queue_ref queues[];
};

enum worker_state { WORKER_RUNNING, WORKER_NAPPING, WORKER_BLOCKED };

/* Written by the worker alone; read by the control thread at any time. */
struct worker_counters {
    _Atomic uint64_t rounds, busy_cycles, batches, packets, naps, blocks;
};

enum job_type { JOB_EXECUTE, JOB_SEND };

/* Work for a worker, allocated by the control thread and freed by the worker. */
struct job {
    enum job_type type;
    struct rte_mbuf *packet;
    struct port *port; /* JOB_SEND */
    uint32_t in_port;  /* JOB_EXECUTE */
    unsigned n_actions;
    struct action actions[];
};

struct worker {
    unsigned id;
    int cpu;
    pthread_t thread;
    struct dp *dp;
    struct dp_worker *dp_worker; /* made by worker_start */
    struct rte_mempool *pool;
    struct rte_rcu_qsbr *rcu;
    struct port *_Atomic *ports; /* by slot */
    struct rte_ring *jobs;
    int wake_fd;

    _Atomic bool stop;
    struct queue_set *_Atomic queues;
    _Atomic uint8_t state __attribute__((aligned(64))); /* enum worker_state */
    _Atomic uint64_t jobs_done;
    struct worker_counters counters;

    /* The worker's own. */
    double ns_per_cycle;
    uint64_t mark, last_packet; /* TSC */
    uint64_t unrested; /* packets since the queues were last empty */
    struct rest rest;
    uint64_t generation; /* of the set that was polled last */

    /* The control thread's own. */
    uint64_t jobs_given;
    bool parked;
};

/* Give up the real-time priority that the process was started with (chrt), and keep it for the workers, which start
 * after this. DPDK waits for threads that it makes in a way that starves them of a CPU where both have such a priority;
 * and a worker that spins must not be the equal of those that control it. */
void worker_keep_priority(void);

/* NULL, or what is wrong. `worker` has id, cpu, dp, pool, rcu, ports and a queue set. */
char *worker_start(struct worker *worker);
void worker_stop(struct worker *worker); /* returns when the thread has ended */

/* Control thread: make a resting worker look at its queues and jobs. */
void worker_wake(struct worker *worker);
/* Control thread: queue a job; takes it. */
void worker_give(struct worker *worker, struct job *job);
/* Control thread: wait until every job given so far is done. */
void worker_finish_jobs(struct worker *worker);

const char *worker_state_name(const struct worker *worker);

#endif
