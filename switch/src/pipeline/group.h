/* Groups (section 5.6): buckets of actions, of which the type says which are run.
 *
 * Neighbours: execute.c runs buckets; chain.c follows groups to groups; flow_mod.c checks that groups exist. */
#ifndef QUAKE_PIPELINE_GROUP_H
#define QUAKE_PIPELINE_GROUP_H 1

#include "../openflow/ofp13.h"
#include "datapath.h"

struct bucket_runtime {
    uint32_t counter;
    uint16_t n_run;
    const struct action *run; /* as an action set, in its order of execution */
};

struct group {
    struct versioned versioned; /* first */
    uint8_t type;
    unsigned n_buckets;
    struct group_bucket *buckets; /* as given; actions are in `actions` */
    struct bucket_runtime *runtime;
    struct action *actions;
    uint32_t counter;
    uint64_t created_ms;
    uint64_t liveness; /* workers: 2 * the number of the state in which it was found out, + 1 if live */
    uint64_t walk;     /* chain.c: the last that came by, */
    unsigned chain;    /* and what it found */
};

/* Workers: the bucket of a select (by `hash`), fast-failover or indirect group; -1 if none is live. */
int group_choose(const struct dp *dp, const struct dp_state *state, const struct group *group, uint32_t hash);

#define GROUP_MAX_DEPTH 16 /* groups of a chain (chain.h) */

/* Whether a bucket's watch_port or watch_group names one: OFPP_ANY and OFPG_ANY are the same number. */
static inline bool group_watches(uint32_t id) {
    return id && id != OFPP_ANY;
}

/* The place of an action in the order of execution of an action set (section 5.10). */
unsigned action_rank(const struct action *action);
/* Put `action` where it belongs in the ordered `set`, in place of one of its kind; the new length. */
unsigned action_set_put(const struct action **set, unsigned n, const struct action *action);
#define ACTION_SET_MAX 64 /* kinds of actions and settable fields together are fewer */

#endif
