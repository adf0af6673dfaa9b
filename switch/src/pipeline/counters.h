/* Counters by index: one array per worker, so that no two workers write a cache line, summed when asked for.
 *
 * An index is handed out by the control thread to a rule, group, bucket, meter or band, and handed back only after a
 * grace period, so its memory can be cleared without a worker in the way. A counter may also hold the time of the last
 * packet (CLOCK_MONOTONIC, ms) of a rule with an idle timeout: then the greatest is what counts, not the sum.
 *
 * Neighbours: worker.c and execute.c add; stats.c and expiry.c read. */
#ifndef QUAKE_PIPELINE_COUNTERS_H
#define QUAKE_PIPELINE_COUNTERS_H 1

#include "dp.h"
#include "rcu.h"

#define COUNTERS_BITS 17 /* 2 MiB of counters at a time */
#define COUNTERS_CHUNK (1U << COUNTERS_BITS)
#define COUNTERS_CHUNKS 512 /* 67 million */
#define COUNTERS_MAX ((uint32_t) COUNTERS_CHUNK * COUNTERS_CHUNKS)
#define COUNTER_NONE UINT32_MAX

struct counters {
    struct dp_counter *chunk[COUNTERS_CHUNKS];
};

struct counter_space {
    uint32_t next;  /* the first index never handed out */
    uint32_t *free; /* a stack */
    size_t n_free, size_free;
    struct counters *sets[DP_MAX_WORKERS]; /* of each worker, or NULL */
    struct counters retired;               /* what destroyed workers had counted */
};

uint32_t counter_alloc(struct counter_space *space); /* COUNTER_NONE when there are no more */
void counter_free(struct counter_space *space, uint32_t index);
struct dp_counter counter_sum(const struct counter_space *space, uint32_t index);
uint64_t counter_last_used(const struct counter_space *space, uint32_t index);
void counter_reset(struct counter_space *space, uint32_t index); /* a worker's count of the same moment may survive */

void counters_attach(struct counter_space *space, unsigned worker, struct counters *set);
void counters_detach(struct counter_space *space, unsigned worker); /* keeps the sums */
void counters_destroy(struct counter_space *space);

static inline struct dp_counter *counter_of(const struct counters *set, uint32_t index) {
    return &set->chunk[index >> COUNTERS_BITS][index & (COUNTERS_CHUNK - 1)];
}

/* One writer, any reader: plain additions, but never torn. */
static inline void counter_add(struct dp_counter *counter, uint64_t packets, uint64_t bytes) {
    relaxed_set(&counter->packets, counter->packets + packets);
    relaxed_set(&counter->bytes, counter->bytes + bytes);
}

#endif
