/* Group mods, liveness and choice of buckets. See group.h. */
#include "group.h"

#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "chain.h"
#include "txn.h"

/* ---- Action sets ---- */

unsigned action_rank(const struct action *action) {
    static const uint8_t rank[] = {
        [ACTION_COPY_TTL_IN] = 0,  [ACTION_POP_VLAN] = 1,      [ACTION_POP_MPLS] = 2,      [ACTION_POP_PBB] = 3,
        [ACTION_PUSH_MPLS] = 4,    [ACTION_PUSH_PBB] = 5,      [ACTION_PUSH_VLAN] = 6,     [ACTION_COPY_TTL_OUT] = 7,
        [ACTION_DEC_MPLS_TTL] = 8, [ACTION_DEC_NW_TTL] = 9,    [ACTION_SET_MPLS_TTL] = 10, [ACTION_SET_NW_TTL] = 11,
        [ACTION_SET_FIELD] = 12,   [ACTION_ARP_ND_REPLY] = 13, [ACTION_SET_QUEUE] = 14,    [ACTION_GROUP] = 15,
        [ACTION_OUTPUT] = 16,
    };
    unsigned field = action->type == ACTION_SET_FIELD ? action->field : 0;
    return rank[action->type] * 64U + field;
}

unsigned action_set_put(const struct action **set, unsigned n, const struct action *action) {
    unsigned rank = action_rank(action), at = n;
    while (at && action_rank(set[at - 1]) >= rank) {
        at--;
    }
    if (at < n && action_rank(set[at]) == rank) {
        set[at] = action;
        return n;
    }
    for (unsigned i = n; i > at; i--) {
        set[i] = set[i - 1];
    }
    set[at] = action;
    return n + 1;
}

/* ---- Liveness ---- */

/* Whether the bucket's watched port or group is live; a bucket that watches nothing is. */
static bool bucket_live(const struct dp *dp, const struct dp_state *state, const struct group_bucket *bucket,
                        unsigned depth);

/* Live as long as one bucket is. What came out is kept in the group while ports and groups stay as they are. */
static bool group_live(const struct dp *dp, const struct dp_state *state, uint32_t group_id, unsigned depth) {
    struct group *group = (struct group *) idmap_find(&dp->groups, group_id, state->version);
    if (!group || depth == GROUP_MAX_DEPTH) { /* a chain is too long only while it is being changed */
        return false;
    }
    uint64_t known = relaxed_get(&group->liveness);
    if (known >> 1 == state->number) {
        return known & 1;
    }
    bool live = false;
    for (unsigned i = 0; i < group->n_buckets && !live; i++) {
        live = bucket_live(dp, state, &group->buckets[i], depth + 1);
    }
    relaxed_set(&group->liveness, state->number << 1 | live);
    return live;
}

static bool bucket_live(const struct dp *dp, const struct dp_state *state, const struct group_bucket *bucket,
                        unsigned depth) {
    bool port = group_watches(bucket->watch_port), group = group_watches(bucket->watch_group);
    if (!port && !group) {
        return true;
    }
    return (port && port_map_live(state->ports, bucket->watch_port)) ||
           (group && group_live(dp, state, bucket->watch_group, depth));
}

/* The bucket in which `hash` falls when the weights of the live ones are laid end to end. */
static int select_bucket(const struct dp *dp, const struct dp_state *state, const struct group *group, uint32_t hash) {
    uint64_t total = 0;
    for (unsigned i = 0; i < group->n_buckets; i++) {
        total += bucket_live(dp, state, &group->buckets[i], 0) ? group->buckets[i].weight : 0;
    }
    uint64_t at = (hash * total) >> 32;
    for (unsigned i = 0; i < group->n_buckets && total; i++) {
        uint64_t weight = bucket_live(dp, state, &group->buckets[i], 0) ? group->buckets[i].weight : 0;
        if (at < weight) {
            return (int) i;
        }
        at -= weight;
    }
    return -1;
}

int group_choose(const struct dp *dp, const struct dp_state *state, const struct group *group, uint32_t hash) {
    if (group->type == OFPGT_SELECT) {
        return select_bucket(dp, state, group, hash);
    }
    for (unsigned i = 0; i < group->n_buckets; i++) {
        if (group->type != OFPGT_FF || bucket_live(dp, state, &group->buckets[i], 0)) {
            return (int) i;
        }
    }
    return -1;
}

/* ---- Checks ---- */

static struct group *alive(const struct dp *dp, uint32_t id) {
    return (struct group *) idmap_alive(&dp->groups, id);
}

static ofperr check_bucket(const struct dp *dp, const struct group_mod *mod, const struct group_bucket *bucket) {
    for (unsigned i = 0; i < bucket->n_actions; i++) {
        const struct action *action = &bucket->actions[i];
        if (action->type == ACTION_GROUP && action->group_id != mod->group_id && !alive(dp, action->group_id)) {
            return OFPERR(OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP);
        }
    }
    if (mod->type == OFPGT_FF && !group_watches(bucket->watch_port) && !group_watches(bucket->watch_group)) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_INVALID_GROUP);
    }
    return 0;
}

static ofperr check(struct dp *dp, const struct group_mod *mod) {
    if (mod->group_id > OFPG_MAX || (mod->type == OFPGT_INDIRECT && mod->n_buckets != 1)) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_INVALID_GROUP);
    }
    if (mod->type >= OFPGT_TYPES) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_BAD_TYPE);
    }
    for (unsigned i = 0; i < mod->n_buckets; i++) {
        ofperr error = check_bucket(dp, mod, &mod->buckets[i]);
        if (error) {
            return error;
        }
    }
    return chains_check(dp, mod);
}

/* ---- Making ---- */

static unsigned count_actions(const struct group_mod *mod) {
    unsigned n = 0;
    for (unsigned i = 0; i < mod->n_buckets; i++) {
        n += mod->buckets[i].n_actions;
    }
    return n;
}

/* A bucket's list as an action set: where two are of a kind the later counts; a group outdoes an output. */
static unsigned order_actions(const struct action *actions, unsigned n, struct action *run) {
    const struct action *set[ACTION_SET_MAX];
    unsigned n_set = 0;
    for (unsigned i = 0; i < n; i++) {
        n_set = action_set_put(set, n_set, &actions[i]);
    }
    if (n_set > 1 && set[n_set - 1]->type == ACTION_OUTPUT && set[n_set - 2]->type == ACTION_GROUP) {
        n_set--;
    }
    for (unsigned i = 0; i < n_set; i++) {
        run[i] = *set[i];
    }
    return n_set;
}

static void fill_buckets(struct group *group, const struct group_mod *mod) {
    struct action *next = group->actions;
    for (unsigned i = 0; i < mod->n_buckets; i++) {
        const struct group_bucket *given = &mod->buckets[i];
        memcpy(next, given->actions, given->n_actions * sizeof *next);
        group->buckets[i] = *given;
        group->buckets[i].actions = next;
        next += given->n_actions;
        group->runtime[i].run = next;
        group->runtime[i].n_run = order_actions(given->actions, given->n_actions, next);
        next += group->runtime[i].n_run;
    }
}

static struct group *group_create(struct dp *dp, const struct group_mod *mod) {
    struct group *group = xzalloc(sizeof *group);
    group->versioned.id = mod->group_id;
    group->type = mod->type;
    group->n_buckets = mod->n_buckets;
    group->buckets = xzalloc((mod->n_buckets + 1) * sizeof *group->buckets);
    group->runtime = xzalloc((mod->n_buckets + 1) * sizeof *group->runtime);
    group->actions = xzalloc((2 * (size_t) count_actions(mod) + 1) * sizeof *group->actions);
    group->created_ms = now_ms();
    group->counter = counter_alloc(&dp->counters);
    bool room = group->counter != COUNTER_NONE;
    for (unsigned i = 0; i < mod->n_buckets; i++) {
        group->runtime[i].counter = counter_alloc(&dp->counters);
        room = room && group->runtime[i].counter != COUNTER_NONE;
    }
    fill_buckets(group, mod);
    if (!room) {
        group_release(dp, group);
        return NULL;
    }
    return group;
}

void group_release(void *aux, void *object) {
    struct dp *dp = aux;
    struct group *group = object;
    for (unsigned i = 0; i < group->n_buckets; i++) {
        if (group->runtime[i].counter != COUNTER_NONE) {
            counter_free(&dp->counters, group->runtime[i].counter);
        }
    }
    if (group->counter != COUNTER_NONE) {
        counter_free(&dp->counters, group->counter);
    }
    free(group->actions);
    free(group->runtime);
    free(group->buckets);
    free(group);
}

/* ---- Mods ---- */

static ofperr group_put(struct dp_txn *txn, const struct group_mod *mod) {
    struct dp *dp = txn->dp;
    struct group *old = alive(dp, mod->group_id);
    bool is_add = mod->command == OFPGC_ADD;
    if (is_add && old) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_GROUP_EXISTS);
    }
    if (!is_add && !old) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_UNKNOWN_GROUP);
    }
    ofperr error = check(dp, mod);
    if (error) {
        return error;
    }
    struct group *group = group_create(dp, mod);
    if (!group) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_OUT_OF_GROUPS);
    }
    txn_add_object(txn, &dp->groups, &group->versioned, CHANGE_GROUP_ADDED);
    if (old) {
        txn_remove_object(txn, &dp->groups, &old->versioned, CHANGE_GROUP_REMOVED, true);
    }
    return 0;
}

/* Whether a bucket's own list names group `id`. */
static bool names(const struct group *group, uint32_t id) {
    for (unsigned i = 0; i < group->n_buckets; i++) {
        for (unsigned k = 0; k < group->buckets[i].n_actions; k++) {
            const struct action *action = &group->buckets[i].actions[k];
            if (action->type == ACTION_GROUP && action->group_id == id) {
                return true;
            }
        }
    }
    return false;
}

static uint32_t groups_naming(const struct dp *dp, uint32_t id) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < dp->groups.n; i++) {
        n += names(alive(dp, dp->groups.ids[i]), id);
    }
    return n;
}

static void group_remove(struct dp_txn *txn, uint32_t id) {
    struct dp *dp = txn->dp;
    rules_retire_users(txn, program_uses_group, id, DP_REMOVED_GROUP_DELETE);
    txn_remove_object(txn, &dp->groups, &alive(dp, id)->versioned, CHANGE_GROUP_REMOVED, false);
}

static ofperr group_delete(struct dp_txn *txn, uint32_t id) {
    struct dp *dp = txn->dp;
    while (id == OFPG_ALL && dp->groups.n) {
        group_remove(txn, dp->groups.ids[dp->groups.n - 1]);
    }
    if (id == OFPG_ALL || !alive(dp, id)) {
        return 0;
    }
    if (groups_naming(dp, id)) {
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_CHAINED_GROUP);
    }
    group_remove(txn, id);
    return 0;
}

static ofperr run_mod(struct dp_txn *txn, const struct group_mod *mod) {
    switch (mod->command) {
    case OFPGC_ADD:
    case OFPGC_MODIFY:
        return group_put(txn, mod);
    case OFPGC_DELETE:
        return group_delete(txn, mod->group_id);
    default:
        return OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_BAD_COMMAND);
    }
}

ofperr dp_group_mod(struct dp_txn *txn, const struct group_mod *mod) {
    ofperr error = run_mod(txn, mod);
    if (!error && !txn->atomic) { /* the liveness that workers know of may have changed */
        dp_publish_version(txn->dp, txn->dp->state->version);
    }
    return error;
}

/* ---- Statistics ---- */

bool dp_group_view(struct dp *dp, uint32_t group_id, struct dp_group_view *view) {
    const struct group *group = alive(dp, group_id);
    if (!group) {
        return false;
    }
    struct dp_counter *counters = dp_scratch(dp, group->n_buckets * sizeof *counters);
    for (unsigned i = 0; i < group->n_buckets; i++) {
        counters[i] = counter_sum(&dp->counters, group->runtime[i].counter);
    }
    *view = (struct dp_group_view){
        .group_id = group_id,
        .type = group->type,
        .n_buckets = group->n_buckets,
        .buckets = group->buckets,
        .bucket_counters = counters,
        .counter = counter_sum(&dp->counters, group->counter),
        .ref_count = programs_count(&dp->programs, program_uses_group, group_id) + groups_naming(dp, group_id),
        .age_ns = (now_ms() - group->created_ms) * UINT64_C(1000000),
    };
    return true;
}

uint32_t dp_group_next(const struct dp *dp, uint32_t after) {
    return idmap_next_id(&dp->groups, after, OFPG_ANY);
}
