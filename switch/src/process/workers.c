#include "workers.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>
#include <rte_malloc.h>
#include <rte_rcu_qsbr.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/log.h"

#define BUSY_ENOUGH 0.85       /* of one worker: wake another */
#define BUSY_AFTER_PARKING 0.6 /* of each that stays: park one */
#define CALM_LOOKS 20          /* in a row, before one is parked */

/* ---- Waiting ---- */

/* Like rte_rcu_qsbr_synchronize(), but lets a worker run that shares our CPU. */
static void quiesce(struct workers *workers) {
    uint64_t token = rte_rcu_qsbr_start(workers->rcu);
    for (unsigned spins = 0; !rte_rcu_qsbr_check(workers->rcu, token, false);)
        if (++spins > 1000)
            sched_yield();
}

void workers_synchronize(struct workers *workers) {
    for (unsigned i = 0; i < workers->n; i++)
        worker_finish_jobs(&workers->worker[i]);
    quiesce(workers);
}

/* ---- Handing queues out ---- */

static struct queue_set *set_create(struct workers *workers, unsigned room) {
    struct queue_set *set = xzalloc(sizeof *set + room * sizeof *set->queues);
    set->generation = ++workers->generation;
    return set;
}

static unsigned count_queues(const struct workers *workers) {
    unsigned n = 0;
    for (unsigned slot = 0; slot < DP_MAX_PORTS; slot++)
        if (workers->polled[slot])
            n += atomic_load(&workers->ports[slot])->n_rx_queues;
    return n;
}

/* How long a worker may leave a port alone: half the time in which its ring fills at its peak rate. */
static uint64_t max_nap_ns(const struct workers *workers, const struct port *port) {
    uint64_t rate = workers->policy.peak_rate ? workers->policy.peak_rate : port->peak_rate;
    return workers->policy.spin ? 0 : port->ring * UINT64_C(1000000000) / (2 * rate);
}

static void set_add(const struct workers *workers, struct queue_set *set, struct port *port, uint16_t queue) {
    struct rest_limits own = {max_nap_ns(workers, port), port->ring}, *limits = &set->limits;
    limits->nap_ns = set->n ? RTE_MIN(limits->nap_ns, own.nap_ns) : own.nap_ns;
    limits->ring = set->n ? RTE_MIN(limits->ring, own.ring) : own.ring;
    set->queues[set->n++] = (struct queue_ref){port, queue};
}

static unsigned next_active(const struct workers *workers, unsigned id) {
    do
        id = id + 1 < workers->n ? id + 1 : 0;
    while (workers->worker[id].parked);
    return id;
}

/* The sets as they should be: queues in order of slot and number, to active workers in turn. */
static void plan(const struct workers *workers, struct queue_set **sets) {
    unsigned id = workers->n - 1;
    for (unsigned slot = 0; slot < DP_MAX_PORTS; slot++) {
        struct port *port = workers->polled[slot] ? atomic_load(&workers->ports[slot]) : NULL;
        for (uint16_t queue = 0; port && queue < port->n_rx_queues; queue++) {
            id = next_active(workers, id);
            set_add(workers, sets[id], port, queue);
        }
    }
}

static bool set_equal(const struct queue_set *a, const struct queue_set *b) {
    if (a->n != b->n || a->limits.nap_ns != b->limits.nap_ns || a->limits.ring != b->limits.ring)
        return false;
    for (unsigned i = 0; i < a->n; i++)
        if (a->queues[i].port != b->queues[i].port || a->queues[i].queue != b->queues[i].queue)
            return false;
    return true;
}

static void publish(struct worker *worker, struct queue_set *set) {
    atomic_store(&worker->queues, set);
    worker_wake(worker);
}

void workers_assign(struct workers *workers) {
    unsigned room = count_queues(workers), changed = 0;
    struct queue_set *old[DP_MAX_WORKERS] = {NULL}, *new[DP_MAX_WORKERS] = {NULL};
    for (unsigned i = 0; i < workers->n; i++)
        new[i] = set_create(workers, room);
    plan(workers, new);
    struct queue_set none = {.generation = ++workers->generation};
    for (unsigned i = 0; i < workers->n; i++) {
        struct worker *worker = &workers->worker[i];
        old[i] = atomic_load(&worker->queues);
        if (set_equal(old[i], new[i])) {
            free(new[i]);
            new[i] = NULL;
        } else {
            publish(worker, &none);
            changed++;
        }
    }
    if (changed)
        quiesce(workers); /* now nobody polls a queue that moves */
    for (unsigned i = 0; i < workers->n; i++) {
        if (!new[i])
            continue;
        publish(&workers->worker[i], new[i]);
        free(old[i]);
    }
    if (changed)
        quiesce(workers); /* and nobody looks at `none` */
}

/* ---- Ports ---- */

void workers_attach(struct workers *workers, struct port *port) {
    atomic_store_explicit(&workers->ports[port->slot], port, memory_order_release);
    workers->polled[port->slot] = true;
    workers_assign(workers);
}

void workers_detach(struct workers *workers, struct port *port) {
    workers->polled[port->slot] = false;
    workers_assign(workers);
}

void workers_forget(struct workers *workers, struct port *port) {
    atomic_store(&workers->ports[port->slot], NULL);
    workers_synchronize(workers);
}

struct worker *workers_of_slot(struct workers *workers, int slot) {
    for (unsigned i = 0; i < workers->n; i++) {
        const struct queue_set *set = atomic_load(&workers->worker[i].queues);
        for (unsigned j = 0; j < set->n; j++)
            if (set->queues[j].port->slot == slot && !set->queues[j].queue)
                return &workers->worker[i];
    }
    return &workers->worker[next_active(workers, workers->n - 1)];
}

/* ---- Parking ---- */

static unsigned count_active(const struct workers *workers) {
    unsigned n = 0;
    for (unsigned i = 0; i < workers->n; i++)
        n += !workers->worker[i].parked;
    return n;
}

static char *set_parked(struct workers *workers, unsigned id, bool parked) {
    if (id >= workers->n)
        return error_make("there is no worker %u; there are 0 to %u", id, workers->n - 1);
    if (workers->worker[id].parked == parked)
        return NULL;
    if (parked && count_active(workers) == 1)
        return error_make("worker %u is the last that is awake: wake another before you park it", id);
    workers->worker[id].parked = parked;
    workers_assign(workers);
    return NULL;
}

char *workers_park(struct workers *workers, unsigned id) {
    return set_parked(workers, id, true);
}

char *workers_unpark(struct workers *workers, unsigned id) {
    return set_parked(workers, id, false);
}

/* Updates `load`, and returns the busiest worker's share of the time since the last look. */
static double look(struct workers *workers) {
    uint64_t now = rte_rdtsc(), passed = RTE_MAX(now - workers->last_look, UINT64_C(1));
    double busiest = 0;
    workers->load = 0;
    for (unsigned i = 0; i < workers->n; i++) {
        uint64_t busy = atomic_load_explicit(&workers->worker[i].counters.busy_cycles, memory_order_relaxed);
        double share = (double) (busy - workers->last_busy[i]) / (double) passed;
        workers->last_busy[i] = busy;
        workers->load += share;
        busiest = RTE_MAX(busiest, share);
    }
    workers->last_look = now;
    return busiest;
}

static void balance(struct workers *workers, double busiest) {
    unsigned active = count_active(workers), id = workers->n - 1;
    bool calm = active > 1 && workers->load / (active - 1) < BUSY_AFTER_PARKING;
    workers->calm_looks = calm ? workers->calm_looks + 1 : 0;
    if (busiest > BUSY_ENOUGH && active < workers->n) {
        while (!workers->worker[id].parked)
            id--;
        free(workers_unpark(workers, id));
    } else if (workers->calm_looks >= CALM_LOOKS) {
        while (workers->worker[id].parked)
            id--;
        free(workers_park(workers, id));
        workers->calm_looks = 0;
    }
}

void workers_balance(struct workers *workers) {
    double busiest = look(workers);
    if (workers->policy.automatic)
        balance(workers, busiest);
}

/* ---- Life ---- */

char *workers_start(struct workers *workers, struct dp *dp, struct rte_mempool *pool, const int *cpus, unsigned n) {
    workers->dp = dp;
    workers->worker = xzalloc(n * sizeof *workers->worker);
    workers->last_busy = xzalloc(n * sizeof *workers->last_busy);
    workers->last_look = rte_rdtsc();
    workers->rcu = rte_zmalloc("worker rcu", rte_rcu_qsbr_get_memsize(DP_MAX_WORKERS), RTE_CACHE_LINE_SIZE);
    if (!workers->rcu || rte_rcu_qsbr_init(workers->rcu, DP_MAX_WORKERS))
        return error_make("there is no memory for workers: raise memory.mib");
    for (unsigned i = 0; i < n; i++) {
        struct worker *worker = &workers->worker[i];
        *worker = (struct worker){
            .id = i, .cpu = cpus[i], .dp = dp, .pool = pool, .rcu = workers->rcu, .ports = workers->ports};
        atomic_store(&worker->queues, set_create(workers, 0));
        char *error = worker_start(worker);
        if (error)
            return error;
        workers->n++;
    }
    return NULL;
}

void workers_stop(struct workers *workers) {
    for (unsigned i = 0; i < workers->n; i++) {
        worker_stop(&workers->worker[i]);
        free(atomic_load(&workers->worker[i].queues));
    }
    rte_free(workers->rcu);
    free(workers->worker);
    free(workers->last_busy);
}
