/* Grace periods and what waits for them. See rcu.h. */
#include "rcu.h"

#include <sched.h>
#include <stdlib.h>

#include <rte_pause.h>
#include <rte_rcu_qsbr.h>

#include "../base/buf.h"
#include "dp.h"

#define SPINS_BEFORE_YIELD 1000 /* then the worker may be waiting for this very core */

void rcu_init(struct rcu *rcu) {
    size_t size = rte_rcu_qsbr_get_memsize(DP_MAX_WORKERS);
    *rcu = (struct rcu){.qsbr = aligned_alloc(RTE_CACHE_LINE_SIZE, RTE_CACHE_LINE_ROUNDUP(size))};
    if (!rcu->qsbr || rte_rcu_qsbr_init(rcu->qsbr, DP_MAX_WORKERS)) {
        abort();
    }
}

void rcu_defer(struct rcu *rcu, rcu_callback *call, void *aux, void *object) {
    struct rcu_list *list = &rcu->fresh;
    if (list->n == list->size) {
        list->size = list->size ? list->size * 2 : 64;
        list->items = xrealloc(list->items, list->size * sizeof *list->items);
    }
    list->items[list->n++] = (struct rcu_deferred){call, aux, object};
}

static void call_free(void *aux, void *object) {
    (void) aux;
    free(object);
}

void rcu_free(struct rcu *rcu, void *object) {
    if (object) {
        rcu_defer(rcu, call_free, NULL, object);
    }
}

/* Callbacks may defer: into `fresh`, never into the list that is being walked. */
static void run_waiting(struct rcu *rcu) {
    struct rcu_list list = rcu->waiting;
    rcu->waiting = (struct rcu_list){0};
    for (size_t i = 0; i < list.n; i++) {
        list.items[i].call(list.items[i].aux, list.items[i].object);
    }
    free(list.items);
}

static void begin_grace_period(struct rcu *rcu) {
    rcu->waiting = rcu->fresh;
    rcu->fresh = (struct rcu_list){0};
    rcu->token = rte_rcu_qsbr_start(rcu->qsbr);
}

void rcu_poll(struct rcu *rcu) {
    if (rcu->waiting.n && rte_rcu_qsbr_check(rcu->qsbr, rcu->token, false) == 1) {
        run_waiting(rcu);
    }
    if (!rcu->waiting.n && rcu->fresh.n) {
        begin_grace_period(rcu);
    }
}

static void wait_for(struct rcu *rcu, uint64_t token) {
    for (unsigned spins = 0; rte_rcu_qsbr_check(rcu->qsbr, token, false) != 1; spins++) {
        if (spins < SPINS_BEFORE_YIELD) {
            rte_pause();
        } else {
            sched_yield();
        }
    }
}

/* What is due is taken before the callbacks run: what those defer is out of reach only from now on, and has to wait for
 * a grace period of its own. */
void rcu_synchronize(struct rcu *rcu) {
    struct rcu_list due = rcu->fresh;
    rcu->fresh = (struct rcu_list){0};
    wait_for(rcu, rte_rcu_qsbr_start(rcu->qsbr));
    run_waiting(rcu); /* of an earlier grace period */
    rcu->waiting = due;
    run_waiting(rcu);
}

void rcu_drain(struct rcu *rcu) {
    while (rcu->waiting.n || rcu->fresh.n) {
        rcu_synchronize(rcu);
    }
}

void rcu_destroy(struct rcu *rcu) {
    rcu_drain(rcu);
    free(rcu->qsbr);
}
