/* Loops and lengths of chains of groups. See chain.h. */
#include "chain.h"

#include <rte_common.h>

#include "../openflow/ofp13.h"
#include "group.h"

/* Longer than any chain, and still so with all groups before it. */
#define ENDLESS 0x10000U

struct walk {
    const struct dp *dp;
    const struct group_mod *mod; /* in place of the group of its number */
    unsigned mod_length;         /* of the longest chain from there on */
    bool watched;                /* chains of watched groups, not of actions */
    uint64_t number;             /* what an earlier walk has left in a group does not count */
};

static unsigned chain_from_buckets(const struct walk *walk, const struct group_bucket *buckets, unsigned n);

/* How many groups the longest chain has that begins with group `id`. Each group is looked at once in a walk. */
static unsigned chain_from(const struct walk *walk, uint32_t id) {
    if (id == walk->mod->group_id) {
        return walk->mod_length;
    }
    struct group *group = (struct group *) idmap_alive(&walk->dp->groups, id);
    if (!group) { /* may be watched nevertheless */
        return 0;
    }
    if (group->walk != walk->number) {
        group->chain = 1 + chain_from_buckets(walk, group->buckets, group->n_buckets);
        group->walk = walk->number;
    }
    return group->chain;
}

static unsigned chain_from_bucket(const struct walk *walk, const struct group_bucket *bucket) {
    if (walk->watched) {
        return group_watches(bucket->watch_group) ? chain_from(walk, bucket->watch_group) : 0;
    }
    unsigned longest = 0;
    for (unsigned i = 0; i < bucket->n_actions; i++) {
        if (bucket->actions[i].type == ACTION_GROUP) {
            longest = RTE_MAX(longest, chain_from(walk, bucket->actions[i].group_id));
        }
    }
    return longest;
}

static unsigned chain_from_buckets(const struct walk *walk, const struct group_bucket *buckets, unsigned n) {
    unsigned longest = 0;
    for (unsigned i = 0; i < n; i++) {
        longest = RTE_MAX(longest, chain_from_bucket(walk, &buckets[i]));
    }
    return longest;
}

/* All that lead to the group have its chain at their end. */
static unsigned longest_of_all(const struct walk *walk) {
    unsigned longest = walk->mod_length;
    for (uint32_t i = 0; i < walk->dp->groups.n; i++) {
        longest = RTE_MAX(longest, chain_from(walk, walk->dp->groups.ids[i]));
    }
    return longest;
}

static ofperr check(struct dp *dp, const struct group_mod *mod, bool watched) {
    struct walk walk = {dp, mod, ENDLESS, watched, ++dp->last_walk};
    unsigned length = 1 + chain_from_buckets(&walk, mod->buckets, mod->n_buckets);
    if (length > ENDLESS) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_LOOP);
    }
    walk.mod_length = length;
    bool can_be_led_to = watched || mod->command == OFPGC_MODIFY; /* no action leads to a group that is not there */
    unsigned longest = length > 1 && can_be_led_to ? longest_of_all(&walk) : length;
    return longest > GROUP_MAX_DEPTH ? OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_CHAINING_UNSUPPORTED) : 0;
}

ofperr chains_check(struct dp *dp, const struct group_mod *mod) {
    ofperr error = check(dp, mod, false);
    return error ? error : check(dp, mod, true);
}
