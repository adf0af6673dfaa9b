/* Rules as the classifier holds them, compactly: a shared mask (shape), the values under it, a shared program.
 *
 * A rule takes two cache lines as long as its match has at most four non-zero words: the first is the control
 * thread's, the second is all that a worker reads to check a match and go on.
 *
 * Life: a rule exists in the versions `added` <= v < `removed`; a plain change sets 0 or RULE_ALIVE. It is linked into
 * its tuple, later unlinked, and its memory is used again after a grace period. What never changes once linked: match,
 * priority, counter. What may: `next`, `program`, `added`, `removed`, each with one atomic store.
 *
 * Neighbours: tuple.h links rules; program.h; flow_mod.c makes them. */
#ifndef QUAKE_PIPELINE_RULE_H
#define QUAKE_PIPELINE_RULE_H 1

#include <stdalign.h>

#include "dp.h"
#include "rcu.h"

#define RULE_ALIVE UINT64_MAX

struct program;

/* A mask, without the words that are zero. Interned: equal masks of a datapath are one object. */
struct shape {
    struct dp *dp;
    struct shape *next; /* in its bucket of the table of shapes */
    uint32_t refs, hash;
    uint32_t words; /* bit i: word i of struct flow is in the mask */
    uint32_t n;
    uint32_t bits; /* set in the mask */
    uint8_t word[FLOW_WORDS];
    uint64_t mask[FLOW_WORDS];
};

struct dp_flow {
    /* control thread */
    alignas(64) struct shape *shape;
    struct dp_flow *next; /* of the same slot of the tuple, by falling priority; workers read it when the first fails */
    uint64_t cookie;
    uint64_t created_ms, active_ms; /* `active_ms`: a packet is known to have matched, or the rule to have been new */
    uint32_t expiry;                /* place in the heap of timeouts, from 1; 0: not there */
    uint32_t hash;                  /* of the values under the tuple's mask */
    uint16_t idle_timeout, hard_timeout, flags;
    uint8_t table_id;
    bool shares_counters : 1;   /* its `counter` is another version's to free */
    bool counter_inherited : 1; /* from the version that it replaced */
    uint32_t used;              /* counter index of the time of the last packet; COUNTER_NONE without idle timeout */
    /* workers */
    alignas(64) struct program *program;
    uint64_t added, removed;
    uint32_t counter;
    uint16_t priority;
    uint8_t n; /* words */
    bool idle; /* keep the time of the last packet */
    uint64_t value[];
};

static inline size_t rule_size(unsigned words) {
    return sizeof(struct dp_flow) + words * sizeof(uint64_t);
}
static inline bool rule_visible(const struct dp_flow *rule, uint64_t version) {
    return relaxed_get(&rule->added) <= version && version < relaxed_get(&rule->removed);
}
static inline bool rule_alive(const struct dp_flow *rule) {
    return rule->removed == RULE_ALIVE;
}
static inline bool rule_matches(const struct dp_flow *rule, const struct flow *flow) {
    uint64_t differs = 0;
    for (unsigned i = 0; i < rule->shape->n; i++) {
        differs |= (flow->word[rule->shape->word[i]] & rule->shape->mask[i]) ^ rule->value[i];
    }
    return !differs;
}

#define SHAPE_BUCKETS 256
struct shapes {
    struct shape *bucket[SHAPE_BUCKETS];
    struct shape *last; /* found or made; controllers repeat themselves */
};
struct shape *shape_get(struct dp *dp, struct shapes *shapes, const struct flow *mask); /* a reference more */
struct shape *shape_find(struct shapes *shapes, const struct flow *mask); /* no reference; NULL: no rule has it */
void shape_put(struct shapes *shapes, struct shape *shape);

/* The values of `match` under its own mask, in the order of the shape. */
void rule_set_values(struct dp_flow *rule, const struct match *match);
void rule_match(const struct dp_flow *rule, struct match *match);

#endif
