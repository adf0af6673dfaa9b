/* Reclaiming what workers may still be reading: read-copy-update on DPDK's quiescent states (rte_rcu_qsbr).
 *
 * The control thread is the only writer. It publishes pointers with rcu_set(), workers follow them with rcu_get(), and
 * what has been taken out of reach is handed to rcu_defer(), which calls back once every online worker has passed a
 * quiescent state. A callback may defer again: that is how something is first unlinked, then freed, two grace periods
 * after a transaction.
 *
 * Neighbours: everything in pipeline/ that workers read; worker.c reports the quiescent states. */
#ifndef QUAKE_PIPELINE_RCU_H
#define QUAKE_PIPELINE_RCU_H 1

#include <stddef.h>
#include <stdint.h>

struct rte_rcu_qsbr;

/* Release and acquire: who sees the pointer sees what it points to, on weakly ordered machines too. */
#define rcu_get(address) __atomic_load_n(address, __ATOMIC_ACQUIRE)
#define rcu_set(address, value) __atomic_store_n(address, value, __ATOMIC_RELEASE)
/* For values that order nothing else: counters, flags. */
#define relaxed_get(address) __atomic_load_n(address, __ATOMIC_RELAXED)
#define relaxed_set(address, value) __atomic_store_n(address, value, __ATOMIC_RELAXED)

typedef void rcu_callback(void *aux, void *object);

struct rcu_deferred {
    rcu_callback *call;
    void *aux, *object;
};
struct rcu_list {
    struct rcu_deferred *items;
    size_t n, size;
};

struct rcu {
    struct rte_rcu_qsbr *qsbr;
    struct rcu_list fresh;   /* deferred since the current grace period began */
    struct rcu_list waiting; /* due when the grace period of `token` is over */
    uint64_t token;
};

void rcu_init(struct rcu *rcu);
void rcu_drain(struct rcu *rcu); /* calls back everything, and what that defers */
void rcu_destroy(struct rcu *rcu);
void rcu_defer(struct rcu *rcu, rcu_callback *call, void *aux, void *object);
void rcu_free(struct rcu *rcu, void *object); /* defers free() */
void rcu_poll(struct rcu *rcu);               /* calls back what is due; never waits */
void rcu_synchronize(struct rcu *rcu); /* waits a grace period, then calls back all that was deferred before it */

#endif
