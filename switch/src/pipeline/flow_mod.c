/* Flow mods: rules made, modified and removed (sections 6.4 and 7.3.4.2). See dp.h and txn.h. */
#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "group.h"
#include "txn.h"

/* ---- Checks ---- */

static ofperr check_actions(const struct dp *dp, const struct action *actions, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (actions[i].type == ACTION_GROUP && !idmap_alive(&dp->groups, actions[i].group_id)) {
            return OFPERR(OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP);
        }
    }
    return 0;
}

static ofperr check_instructions(const struct dp *dp, uint8_t table_id, const struct instructions *i) {
    if (i->has_goto && (i->goto_table <= table_id || i->goto_table >= DP_TABLES)) {
        return OFPERR(OFPET_BAD_INSTRUCTION, OFPBIC_BAD_TABLE_ID);
    }
    if (i->meter_id && !idmap_alive(&dp->meters, i->meter_id)) {
        return OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER);
    }
    ofperr error = check_actions(dp, i->apply, i->n_apply);
    return error ? error : check_actions(dp, i->write, i->n_write);
}

/* ---- A rule's life ---- */

static struct dp_flow *rule_alloc(struct dp *dp, struct shape *shape) {
    struct dp_flow *rule = slab_alloc(&dp->slab, rule_size(shape->n));
    memset(rule, 0, sizeof *rule);
    rule->shape = shape;
    rule->removed = RULE_ALIVE;
    rule->used = COUNTER_NONE;
    rule->counter = COUNTER_NONE;
    return rule;
}

void rule_destroy(struct dp *dp, struct dp_flow *rule) {
    if (!rule->shares_counters && rule->counter != COUNTER_NONE) {
        counter_free(&dp->counters, rule->counter);
    }
    if (rule->used != COUNTER_NONE) {
        counter_free(&dp->counters, rule->used);
    }
    struct shape *shape = rule->shape;
    program_put(&dp->programs, &dp->rcu, rule->program);
    slab_free(&dp->slab, rule, rule_size(rule->n));
    shape_put(&dp->shapes, shape);
}

static void destroy_later(void *aux, void *object) {
    rule_destroy(aux, object);
}

static void unlink_now(struct dp *dp, struct dp_flow *rule) {
    classifier_remove(&dp->tables[rule->table_id], rule);
    rcu_defer(&dp->rcu, destroy_later, dp, rule);
}

static void unlink_callback(void *aux, void *object) {
    unlink_now(aux, object);
}

void rule_unlink_later(struct dp *dp, struct dp_flow *rule) {
    rcu_defer(&dp->rcu, unlink_callback, dp, rule);
}

void rule_tell_removed(struct dp *dp, struct dp_flow *rule, enum dp_removed_reason reason) {
    if (dp->events.flow_removed) {
        dp->events.flow_removed(dp->events.aux, rule, reason);
    }
}

/* What counts a rule among the living, but for its link. */
static void enlist(struct dp *dp, struct dp_flow *rule) {
    dp->tables[rule->table_id].n_rules++;
    rule->program->flows++;
    expiry_add(&dp->expiry, rule);
}

static void delist(struct dp *dp, struct dp_flow *rule) {
    dp->tables[rule->table_id].n_rules--;
    rule->program->flows--;
    expiry_remove(&dp->expiry, rule);
}

static void retire(struct dp_txn *txn, struct dp_flow *rule, bool replaced, enum dp_removed_reason reason) {
    struct dp *dp = txn->dp;
    delist(dp, rule);
    if (txn->atomic) {
        relaxed_set(&rule->removed, txn->version);
        txn_log(txn,
                (struct change){.kind = CHANGE_RULE_REMOVED, .rule = rule, .replaced = replaced, .reason = reason});
        return;
    }
    relaxed_set(&rule->removed, 0);
    rule_tell_removed(dp, rule, reason);
    unlink_now(dp, rule);
}

void rule_retire(struct dp_txn *txn, struct dp_flow *rule, enum dp_removed_reason reason) {
    retire(txn, rule, false, reason);
}

static void add(struct dp_txn *txn, struct dp_flow *rule) {
    rule->added = txn_added(txn);
    classifier_insert(&txn->dp->tables[rule->table_id], rule);
    enlist(txn->dp, rule);
    if (txn->atomic) {
        txn_log(txn, (struct change){.kind = CHANGE_RULE_ADDED, .rule = rule});
    }
}

/* `rule` takes the place of `old` without a packet meeting both or neither. A worker that has just read the link to
 * `old` may still use it, so in a plain change `old` stays visible. */
static void replace(struct dp_txn *txn, struct dp_flow *old, struct dp_flow *rule) {
    struct dp *dp = txn->dp;
    if (txn->atomic) {
        retire(txn, old, true, DP_REMOVED_DELETE);
        add(txn, rule);
        return;
    }
    delist(dp, old);
    classifier_replace(&dp->tables[rule->table_id], old, rule);
    enlist(dp, rule);
    rcu_defer(&dp->rcu, destroy_later, dp, old);
}

void rule_undo_add(struct dp *dp, struct dp_flow *rule) {
    delist(dp, rule);
    rule->shares_counters = rule->shares_counters || rule->counter_inherited;
    unlink_now(dp, rule);
}

void rule_undo_remove(struct dp *dp, struct dp_flow *rule) {
    relaxed_set(&rule->removed, RULE_ALIVE);
    rule->shares_counters = false;
    enlist(dp, rule);
}

/* ---- Adding ---- */

static bool get_counters(struct dp *dp, struct dp_flow *rule, struct dp_flow *inherit_from) {
    if (rule->idle && (rule->used = counter_alloc(&dp->counters)) == COUNTER_NONE) {
        return false;
    }
    if (inherit_from) {
        rule->counter = inherit_from->counter;
        inherit_from->shares_counters = true;
        rule->counter_inherited = true;
        return true;
    }
    return (rule->counter = counter_alloc(&dp->counters)) != COUNTER_NONE;
}

static struct dp_flow *rule_create(struct dp *dp, const struct flow_mod *mod) {
    struct dp_flow *rule = rule_alloc(dp, shape_get(dp, &dp->shapes, &mod->match.mask));
    rule_set_values(rule, &mod->match);
    rule->table_id = mod->table_id;
    rule->priority = mod->priority;
    rule->cookie = mod->cookie;
    rule->flags = mod->flags;
    rule->idle_timeout = mod->idle_timeout;
    rule->hard_timeout = mod->hard_timeout;
    rule->idle = mod->idle_timeout != 0;
    rule->created_ms = mod->created_ms ? mod->created_ms : now_ms();
    rule->active_ms = rule->idle ? now_ms() : 0;
    rule->program = program_get(&dp->programs, &mod->instructions);
    return rule;
}

static ofperr flow_add(struct dp_txn *txn, const struct flow_mod *mod) {
    struct dp *dp = txn->dp;
    struct classifier *table = &dp->tables[mod->table_id];
    ofperr error = check_instructions(dp, mod->table_id, &mod->instructions);
    if (error) {
        return error;
    }
    if ((mod->flags & OFPFF_CHECK_OVERLAP) && classifier_overlaps(table, &mod->match, mod->priority)) {
        return OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_OVERLAP);
    }
    struct dp_flow *old = classifier_find(table, &mod->match, mod->priority);
    struct dp_flow *rule = rule_create(dp, mod);
    if (!get_counters(dp, rule, mod->flags & OFPFF_RESET_COUNTS ? NULL : old)) {
        rule_destroy(dp, rule);
        return OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_TABLE_FULL);
    }
    if (old) {
        replace(txn, old, rule);
    } else {
        add(txn, rule);
    }
    return 0;
}

/* ---- Modifying and deleting ---- */

struct selection {
    struct dp_txn *txn;
    const struct flow_mod *mod;
    ofperr error;
};

static bool selected(const struct flow_mod *mod, const struct dp_flow *rule) {
    return !((rule->cookie ^ mod->cookie) & mod->cookie_mask);
}

/* An atomic transaction may not touch a rule that others see: it puts a newer version in its place. */
static ofperr modify_by_copy(struct dp_txn *txn, struct dp_flow *old, const struct flow_mod *mod) {
    struct dp *dp = txn->dp;
    struct dp_flow *rule = rule_alloc(dp, old->shape);
    old->shape->refs++;
    expiry_note_activity(dp, old); /* its successor counts from there */
    memcpy(rule, old, rule_size(old->n));
    rule->expiry = 0;
    rule->shares_counters = rule->counter_inherited = false;
    rule->used = rule->counter = COUNTER_NONE;
    rule->program = program_get(&dp->programs, &mod->instructions);
    if (!get_counters(dp, rule, mod->flags & OFPFF_RESET_COUNTS ? NULL : old)) {
        rule_destroy(dp, rule);
        return OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_TABLE_FULL);
    }
    replace(txn, old, rule);
    return 0;
}

static void modify_in_place(struct dp *dp, struct dp_flow *rule, const struct flow_mod *mod) {
    struct program *old = rule->program;
    struct program *new = program_get(&dp->programs, &mod->instructions);
    old->flows--;
    new->flows++;
    rcu_set(&rule->program, new);
    program_put(&dp->programs, &dp->rcu, old);
    if (mod->flags & OFPFF_RESET_COUNTS) {
        counter_reset(&dp->counters, rule->counter);
    }
}

static bool modify_one(void *aux, struct dp_flow *rule) {
    struct selection *s = aux;
    if (!selected(s->mod, rule)) {
        return true;
    }
    if (s->txn->atomic) {
        s->error = modify_by_copy(s->txn, rule, s->mod);
    } else {
        modify_in_place(s->txn->dp, rule, s->mod);
    }
    return !s->error;
}

static bool delete_one(void *aux, struct dp_flow *rule) {
    struct selection *s = aux;
    const struct flow_mod *mod = s->mod;
    if (selected(mod, rule) && (mod->out_port == OFPP_ANY || program_outputs_to(rule->program, mod->out_port)) &&
        (mod->out_group == OFPG_ANY || program_uses_group(rule->program, mod->out_group))) {
        rule_retire(s->txn, rule, DP_REMOVED_DELETE);
    }
    return true;
}

static ofperr strict(struct selection *s, unsigned table, bool (*each)(void *, struct dp_flow *)) {
    struct dp_flow *rule = classifier_find(&s->txn->dp->tables[table], &s->mod->match, s->mod->priority);
    if (rule) {
        each(s, rule);
    }
    return s->error;
}

static ofperr loose(struct selection *s, unsigned first, unsigned last, bool (*each)(void *, struct dp_flow *)) {
    for (unsigned table = first; table <= last && !s->error; table++) {
        classifier_each(&s->txn->dp->tables[table], &s->mod->match, each, s);
    }
    return s->error;
}

/* A strict delete of all tables names no one table's rule, so it is taken in each. */
static ofperr flow_delete(struct selection *s, bool is_strict) {
    bool all = s->mod->table_id == OFPTT_ALL;
    unsigned first = all ? 0 : s->mod->table_id, last = all ? DP_TABLES - 1 : s->mod->table_id;
    if (!is_strict) {
        return loose(s, first, last, delete_one);
    }
    for (unsigned table = first; table <= last; table++) {
        strict(s, table, delete_one);
    }
    return 0;
}

static ofperr flow_modify(struct selection *s, bool is_strict) {
    const struct flow_mod *mod = s->mod;
    ofperr error = check_instructions(s->txn->dp, mod->table_id, &mod->instructions);
    if (error) {
        return error;
    }
    return is_strict ? strict(s, mod->table_id, modify_one) : loose(s, mod->table_id, mod->table_id, modify_one);
}

ofperr dp_flow_mod(struct dp_txn *txn, const struct flow_mod *mod) {
    struct selection s = {txn, mod, 0};
    bool is_delete = mod->command == OFPFC_DELETE || mod->command == OFPFC_DELETE_STRICT;
    if (mod->table_id >= DP_TABLES && !(is_delete && mod->table_id == OFPTT_ALL)) {
        return OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_TABLE_ID);
    }
    switch (mod->command) {
    case OFPFC_ADD:
        return flow_add(txn, mod);
    case OFPFC_MODIFY:
    case OFPFC_MODIFY_STRICT:
        return flow_modify(&s, mod->command == OFPFC_MODIFY_STRICT);
    case OFPFC_DELETE:
    case OFPFC_DELETE_STRICT:
        return flow_delete(&s, mod->command == OFPFC_DELETE_STRICT);
    default:
        return OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_COMMAND);
    }
}

struct users {
    struct dp_txn *txn;
    bool (*uses)(const struct program *, uint32_t);
    uint32_t id;
    enum dp_removed_reason reason;
};

static bool retire_user(void *aux, struct dp_flow *rule) {
    struct users *users = aux;
    if (users->uses(rule->program, users->id)) {
        rule_retire(users->txn, rule, users->reason);
    }
    return true;
}

void rules_retire_users(struct dp_txn *txn, bool (*uses)(const struct program *, uint32_t), uint32_t id,
                        enum dp_removed_reason reason) {
    struct users users = {txn, uses, id, reason};
    if (!programs_count(&txn->dp->programs, uses, id)) {
        return;
    }
    for (unsigned table = 0; table < DP_TABLES; table++) {
        classifier_each(&txn->dp->tables[table], NULL, retire_user, &users);
    }
}
