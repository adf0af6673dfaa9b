#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include <rte_cycles.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_rcu_qsbr.h>
#include <rte_ring.h>

#include "../base/error.h"
#include "../base/log.h"
#include "../ports/vxlan.h"

#define JOBS 1024
#define NS_PER_S 1000000000
#define UNBROKEN_NS 100000
#define MAX_WAITS (DP_MAX_PORTS + 1) /* queues that a worker can block on, and its own wake-up */

static inline void add(_Atomic uint64_t *counter, uint64_t n) {
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

/* ---- Packets ---- */

static void transmit(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    struct worker *worker = aux;
    struct port *port = atomic_load_explicit(&worker->ports[slot], memory_order_acquire);
    if (likely(port != NULL))
        port_send(port, worker->id, packets, n);
    else
        rte_pktmbuf_free_bulk(packets, n);
}

static inline unsigned poll_queue(struct worker *worker, const struct queue_ref *ref) {
    struct rte_mbuf *packets[DP_BATCH];
    struct port *port = ref->port;
    unsigned n = port->type->receive(port, ref->queue, packets, DP_BATCH);
    if (!n)
        return 0;
    struct tunnels *tunnels = atomic_load_explicit(&port->tunnels, memory_order_acquire);
    unsigned left = likely(!tunnels) ? n : tunnels_receive(tunnels, worker->dp_worker, worker->id, packets, n);
    if (left)
        dp_process(worker->dp_worker, (unsigned) port->slot, port->tunnel_id, packets, left);
    add(&worker->counters.batches, 1);
    add(&worker->counters.packets, n);
    return n;
}

struct look {
    unsigned packets; /* that came */
    bool more;        /* a queue may have some left */
};

/* One look at every queue. */
static struct look poll_queues(struct worker *worker, const struct queue_set *set) {
    struct look look = {0};
    for (unsigned i = 0; i < set->n; i++) {
        unsigned n = poll_queue(worker, &set->queues[i]);
        look.packets += n;
        look.more |= n == DP_BATCH;
    }
    return look;
}

static void do_job(struct worker *worker, struct job *job) {
    if (job->type == JOB_EXECUTE)
        dp_execute(worker->dp_worker, job->in_port, job->actions, job->n_actions, job->packet);
    else
        port_send(job->port, worker->id, &job->packet, 1);
    free(job);
    atomic_store_explicit(&worker->jobs_done, atomic_load_explicit(&worker->jobs_done, memory_order_relaxed) + 1,
                          memory_order_release);
}

static void do_jobs(struct worker *worker) {
    struct job *job;
    while (!rte_ring_sc_dequeue(worker->jobs, (void **) &job))
        do_job(worker, job);
}

/* ---- Rest ---- */

static void go_offline(struct worker *worker, enum worker_state state) {
    dp_worker_offline(worker->dp_worker);
    rte_rcu_qsbr_thread_offline(worker->rcu, worker->id);
    atomic_store(&worker->state, state); /* before the last look for jobs */
}

static void go_online(struct worker *worker) {
    atomic_store(&worker->state, WORKER_RUNNING);
    rte_rcu_qsbr_thread_online(worker->rcu, worker->id);
    dp_worker_online(worker->dp_worker);
}

static bool called(const struct worker *worker, const struct queue_set *set) {
    return !rte_ring_empty(worker->jobs) || atomic_load(&worker->queues) != set || atomic_load(&worker->stop);
}

static void drain(int fd) {
    uint64_t count;
    (void) !read(fd, &count, sizeof count);
}

static uint64_t ns_of(const struct worker *worker, uint64_t cycles) {
    return (uint64_t) ((double) cycles * worker->ns_per_cycle);
}

/* A short sleep is not broken off: a timer alone costs less than one beside a descriptor. Returns whether it was. */
static bool sleep_for(const struct worker *worker, uint64_t length_ns) {
    struct timespec time = {.tv_sec = (time_t) (length_ns / NS_PER_S), .tv_nsec = (long) (length_ns % NS_PER_S)};
    if (length_ns < UNBROKEN_NS)
        return clock_nanosleep(CLOCK_MONOTONIC, 0, &time, NULL);
    struct pollfd wake = {worker->wake_fd, POLLIN, 0};
    if (ppoll(&wake, 1, &time, NULL) <= 0)
        return false;
    drain(worker->wake_fd);
    return true;
}

static void nap(struct worker *worker, const struct queue_set *set, uint64_t length_ns) {
    uint64_t began = rte_rdtsc();
    go_offline(worker, WORKER_NAPPING);
    bool broken_off = called(worker, set) || sleep_for(worker, length_ns);
    go_online(worker);
    if (!broken_off)
        rest_napped(&worker->rest, ns_of(worker, rte_rdtsc() - began));
    add(&worker->counters.naps, 1);
}

static void disarm(const struct queue_set *set, const struct pollfd *waits, unsigned n) {
    for (unsigned i = 0; i + 1 < n; i++) {
        struct port *port = set->queues[i].port;
        port->type->disarm(port, set->queues[i].queue, waits[i + 1].revents & POLLIN);
    }
}

/* Ask every queue for a wake-up. Returns how many entries of `waits` were filled, or 0 if a port cannot wake us; then
 * none stays armed. */
static unsigned arm(const struct worker *worker, const struct queue_set *set, struct pollfd *waits) {
    unsigned n = 0;
    waits[n++] = (struct pollfd){worker->wake_fd, POLLIN, 0};
    for (unsigned i = 0; i < set->n; i++) {
        struct port *port = set->queues[i].port;
        bool can_wait = port->type->arm && n < MAX_WAITS;
        int fd = can_wait ? port->type->arm(port, set->queues[i].queue) : PORT_CANNOT_WAIT;
        if (fd == PORT_CANNOT_WAIT) {
            disarm(set, waits, n);
            return 0;
        }
        waits[n++] = (struct pollfd){fd, POLLIN, 0}; /* poll() passes over -1 */
    }
    return n;
}

/* A set that is new to this worker: whoever polled its queues before may have left them armed. */
static void adopt(struct worker *worker, const struct queue_set *set) {
    for (unsigned i = 0; i < set->n; i++)
        if (set->queues[i].port->type->disarm)
            set->queues[i].port->type->disarm(set->queues[i].port, set->queues[i].queue, false);
    worker->generation = set->generation;
}

/* Sleep until there is something to do. False if a port cannot tell when there is. While we are offline the set and its
 * ports may be taken away; then they are not ours to disarm. */
static bool block(struct worker *worker, const struct queue_set *set) {
    struct pollfd waits[MAX_WAITS];
    unsigned n = arm(worker, set, waits);
    if (!n) {
        rest_blocked(&worker->rest, 0);
        return false;
    }
    uint64_t began = rte_rdtsc();
    if (!poll_queues(worker, set).packets) { /* nothing slipped in while arming */
        go_offline(worker, WORKER_BLOCKED);
        if (!called(worker, set) && poll(waits, n, -1) > 0 && waits[0].revents)
            drain(worker->wake_fd);
        go_online(worker);
        add(&worker->counters.blocks, 1);
    }
    set = atomic_load_explicit(&worker->queues, memory_order_acquire);
    if (set->generation == worker->generation)
        disarm(set, waits, n);
    rest_blocked(&worker->rest, ns_of(worker, rte_rdtsc() - began));
    return true;
}

/* The queues are empty. */
static void rest(struct worker *worker, const struct queue_set *set) {
    bool quiet = ns_of(worker, worker->mark - worker->last_packet) >= worker->rest.patience_ns;
    if ((quiet || !set->n) && block(worker, set)) {
        worker->last_packet = rte_rdtsc();
    } else {
        uint64_t length_ns = rest_nap(&worker->rest, &set->limits, worker->unrested, ns_of(worker, worker->mark));
        worker->unrested = 0;
        if (length_ns)
            nap(worker, set, length_ns);
    }
    worker->mark = rte_rdtsc(); /* what passed was sleep, not work */
}

/* ---- The thread ---- */

/* Between rounds a worker holds no queue set and no port: then, and while it is offline, they may be taken away. */
static void round_of(struct worker *worker) {
    rte_rcu_qsbr_quiescent(worker->rcu, worker->id);
    const struct queue_set *set = atomic_load_explicit(&worker->queues, memory_order_acquire);
    if (unlikely(set->generation != worker->generation))
        adopt(worker, set);
    struct look look = poll_queues(worker, set);
    if (unlikely(!rte_ring_empty(worker->jobs)))
        do_jobs(worker);
    dp_worker_quiescent(worker->dp_worker);
    uint64_t now = rte_rdtsc();
    if (look.packets) {
        add(&worker->counters.busy_cycles, now - worker->mark);
        worker->last_packet = now;
        worker->unrested += look.packets;
    }
    worker->mark = now;
    add(&worker->counters.rounds, 1);
    if (!look.more && (set->limits.nap_ns || !set->n))
        rest(worker, set);
}

static void *run(void *aux) {
    struct worker *worker = aux;
    prctl(PR_SET_TIMERSLACK, 1UL); /* ns: naps are as long as asked for */
    if (rte_thread_register())
        log_warning("worker %u has no mempool cache: DPDK has no lcore number left", worker->id);
    rte_rcu_qsbr_thread_register(worker->rcu, worker->id);
    rte_rcu_qsbr_thread_online(worker->rcu, worker->id);
    dp_worker_online(worker->dp_worker);
    worker->ns_per_cycle = (double) NS_PER_S / (double) rte_get_tsc_hz();
    worker->mark = worker->last_packet = rte_rdtsc();
    rest_init(&worker->rest, ns_of(worker, worker->mark));
    while (!atomic_load_explicit(&worker->stop, memory_order_relaxed))
        round_of(worker);
    dp_worker_offline(worker->dp_worker);
    rte_rcu_qsbr_thread_offline(worker->rcu, worker->id);
    rte_rcu_qsbr_thread_unregister(worker->rcu, worker->id);
    rte_thread_unregister();
    return NULL;
}

static int kept_policy = SCHED_OTHER;
static struct sched_param kept_priority;

void worker_keep_priority(void) {
    int policy = sched_getscheduler(0) & ~SCHED_RESET_ON_FORK;
    if ((policy != SCHED_FIFO && policy != SCHED_RR) || sched_getparam(0, &kept_priority))
        return;
    kept_policy = policy;
    (void) sched_setscheduler(0, SCHED_OTHER, &(struct sched_param){0});
}

static int pin(struct worker *worker) {
    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET((size_t) worker->cpu, &cpus);
    return pthread_setaffinity_np(worker->thread, sizeof cpus, &cpus);
}

char *worker_start(struct worker *worker) {
    char name[RTE_RING_NAMESIZE];
    snprintf(name, sizeof name, "jobs%u", worker->id);
    worker->jobs = rte_ring_create(name, JOBS, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
    worker->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    worker->dp_worker = dp_worker_create(worker->dp, worker->id, worker->pool, transmit, worker);
    if (!worker->jobs || worker->wake_fd < 0 || !worker->dp_worker)
        return error_make("there is no memory for worker %u: raise memory.mib", worker->id);
    int error = pthread_create(&worker->thread, NULL, run, worker);
    if (error)
        return error_make("worker %u cannot start: %s", worker->id, strerror(error));
    snprintf(name, sizeof name, "worker%u", worker->id);
    pthread_setname_np(worker->thread, name);
    if (worker->cpu >= 0 && (error = pin(worker)))
        log_warning("worker %u cannot be pinned to CPU %d: %s", worker->id, worker->cpu, strerror(error));
    if (kept_policy != SCHED_OTHER && (error = pthread_setschedparam(worker->thread, kept_policy, &kept_priority)))
        log_warning("worker %u cannot have real-time priority: %s", worker->id, strerror(error));
    return NULL;
}

void worker_stop(struct worker *worker) {
    atomic_store(&worker->stop, true);
    worker_wake(worker);
    pthread_join(worker->thread, NULL);
    do_jobs(worker); /* none is lost, none leaks */
    dp_worker_destroy(worker->dp_worker);
    rte_ring_free(worker->jobs);
    close(worker->wake_fd);
}

/* ---- The control thread's side ---- */

void worker_wake(struct worker *worker) {
    if (atomic_load(&worker->state) != WORKER_RUNNING)
        (void) !write(worker->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

void worker_give(struct worker *worker, struct job *job) {
    while (rte_ring_sp_enqueue(worker->jobs, job)) {
        worker_wake(worker);
        sched_yield();
    }
    worker->jobs_given++;
    atomic_thread_fence(memory_order_seq_cst); /* the worker looks for jobs after it says that it rests */
    worker_wake(worker);
}

void worker_finish_jobs(struct worker *worker) {
    for (unsigned spins = 0; atomic_load_explicit(&worker->jobs_done, memory_order_acquire) < worker->jobs_given;) {
        if (++spins < 1000)
            rte_pause();
        else
            sched_yield(); /* it may want this very CPU */
    }
}

const char *worker_state_name(const struct worker *worker) {
    static const char *const names[] = {"running", "napping", "blocked"};
    return worker->parked ? "parked" : names[atomic_load(&worker->state)];
}
