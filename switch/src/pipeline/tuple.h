/* A tuple: the rules that are looked up under one mask, in a hash table of cache-line buckets.
 *
 * A bucket is one cache line: six slots of a 16-bit signature and a pointer to a rule, and a count of the keys that
 * found no room in it and went on to the next bucket. Rules whose values agree under the tuple's mask form one chain,
 * by falling priority. In an *exact* tuple the mask of every rule is the tuple's, so rules of a chain match the same
 * packets; in a *merged* one rules have further mask bits of their own, which are checked rule by rule.
 *
 * Readers take no lock and never retry. Inserting fills a slot or links into a chain with one store; nothing is ever
 * moved within a table, so a reader cannot miss a key that was there; growing makes a new table and publishes it. A
 * signature and its pointer are two stores, and may be seen in either order: a reader checks the rule's own values
 * anyway.
 *
 * Neighbours: classifier.h holds the tuples of a table. */
#ifndef QUAKE_PIPELINE_TUPLE_H
#define QUAKE_PIPELINE_TUPLE_H 1

#include <stdalign.h>

#include "rule.h"

#define BUCKET_SLOTS 6

struct bucket {
    alignas(64) uint16_t signature[BUCKET_SLOTS];
    uint16_t overflow; /* keys that passed this bucket by; a reader goes on while it is not zero */
    uint16_t pad;
    struct dp_flow *head[BUCKET_SLOTS];
};

struct buckets {
    uint32_t mask;
    alignas(64) struct bucket bucket[];
};

struct tuple {
    struct shape *shape;
    struct buckets *buckets;
    bool exact;
    /* control thread */
    struct rcu *rcu;
    uint32_t n_keys, n_rules;
    struct priority_count { /* rules of each priority, the highest first */
        uint16_t priority;
        uint32_t n;
    } * priorities;
    uint32_t n_priorities, size_priorities;
};

struct tuple *tuple_create(struct rcu *rcu, struct shape *shape, bool exact); /* takes over the reference to `shape` */
void tuple_destroy(struct tuple *tuple); /* at once; the reference to the shape is the caller's to put */
void tuple_insert(struct tuple *tuple, struct dp_flow *rule);
void tuple_remove(struct tuple *tuple, struct dp_flow *rule);
void tuple_replace(struct tuple *tuple, struct dp_flow *old, struct dp_flow *rule); /* same match, same priority */
static inline uint16_t tuple_top(const struct tuple *tuple) {
    return tuple->n_priorities ? tuple->priorities[0].priority : 0;
}

/* Control thread: the first rule of the chain that `values` (a flow, or a match's value) falls into. */
struct dp_flow *tuple_chain(const struct tuple *tuple, const struct flow *values);
/* Control thread: every chain in turn; NULL ends. `at` starts at 0. */
struct dp_flow *tuple_next_chain(const struct tuple *tuple, size_t *at);

/* Control thread: `chain` is called for the chains of one bucket (false ends it), and `*at` moves on; 0 is the beginning
 * and, after the last, the end. Buckets are counted so that those into which growing splits one follow each other, so a
 * walk may pause while rules come and go: it meets each key that stays once. */
bool tuple_walk(const struct tuple *tuple, uint32_t *at, bool (*chain)(void *aux, struct dp_flow *head), void *aux);

/* Workers: the rule of highest priority for each of `n` flows that exists in `version`, or NULL. `sparse`: many flows
 * will not be found here. */
void tuple_lookup(const struct tuple *tuple, const struct flow *const *flows, unsigned n, uint64_t version,
                  struct dp_flow **found, bool sparse);

#endif
