/* Indices and sums. See counters.h. */
#include "counters.h"

#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "slab.h"

#define CHUNK_BYTES (COUNTERS_CHUNK * sizeof(struct dp_counter))

static void grow(struct counter_space *space) {
    unsigned chunk = space->next >> COUNTERS_BITS;
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        if (space->sets[i]) {
            space->sets[i]->chunk[chunk] = huge_alloc(CHUNK_BYTES);
        }
    }
}

uint32_t counter_alloc(struct counter_space *space) {
    if (space->n_free) {
        return space->free[--space->n_free];
    }
    if (space->next == COUNTERS_MAX) {
        return COUNTER_NONE;
    }
    if (!(space->next & (COUNTERS_CHUNK - 1))) {
        grow(space);
    }
    return space->next++;
}

static struct dp_counter *counter_in(const struct counters *set, uint32_t index) {
    return set && set->chunk[index >> COUNTERS_BITS] ? counter_of(set, index) : NULL;
}

static void clear(const struct counters *set, uint32_t index) {
    struct dp_counter *counter = counter_in(set, index);
    if (counter) {
        relaxed_set(&counter->packets, 0);
        relaxed_set(&counter->bytes, 0);
    }
}

void counter_reset(struct counter_space *space, uint32_t index) {
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        clear(space->sets[i], index);
    }
    clear(&space->retired, index);
}

void counter_free(struct counter_space *space, uint32_t index) {
    counter_reset(space, index);
    if (space->n_free == space->size_free) {
        space->size_free = space->size_free ? space->size_free * 2 : 1024;
        space->free = xrealloc(space->free, space->size_free * sizeof *space->free);
    }
    space->free[space->n_free++] = index;
}

static void sum_into(struct dp_counter *sum, const struct counters *set, uint32_t index) {
    struct dp_counter *counter = counter_in(set, index);
    if (counter) {
        sum->packets += relaxed_get(&counter->packets);
        sum->bytes += relaxed_get(&counter->bytes);
    }
}

struct dp_counter counter_sum(const struct counter_space *space, uint32_t index) {
    struct dp_counter sum = {0, 0};
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        sum_into(&sum, space->sets[i], index);
    }
    sum_into(&sum, &space->retired, index);
    return sum;
}

uint64_t counter_last_used(const struct counter_space *space, uint32_t index) {
    uint64_t last = 0;
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        struct dp_counter *counter = counter_in(space->sets[i], index);
        uint64_t used = counter ? relaxed_get(&counter->packets) : 0;
        last = used > last ? used : last;
    }
    return last;
}

void counters_attach(struct counter_space *space, unsigned worker, struct counters *set) {
    for (uint32_t index = 0; index < space->next; index += COUNTERS_CHUNK) {
        set->chunk[index >> COUNTERS_BITS] = huge_alloc(CHUNK_BYTES);
    }
    space->sets[worker] = set;
}

static void retire_chunk(struct counters *retired, struct counters *set, unsigned chunk) {
    if (!retired->chunk[chunk]) {
        retired->chunk[chunk] = set->chunk[chunk];
        return;
    }
    for (unsigned i = 0; i < COUNTERS_CHUNK; i++) {
        counter_add(&retired->chunk[chunk][i], set->chunk[chunk][i].packets, set->chunk[chunk][i].bytes);
    }
    huge_free(set->chunk[chunk], CHUNK_BYTES);
}

void counters_detach(struct counter_space *space, unsigned worker) {
    struct counters *set = space->sets[worker];
    for (unsigned chunk = 0; chunk < COUNTERS_CHUNKS && set->chunk[chunk]; chunk++) {
        retire_chunk(&space->retired, set, chunk);
    }
    space->sets[worker] = NULL;
}

void counters_destroy(struct counter_space *space) {
    for (unsigned chunk = 0; chunk < COUNTERS_CHUNKS; chunk++) {
        huge_free(space->retired.chunk[chunk], CHUNK_BYTES);
    }
    free(space->free);
}
