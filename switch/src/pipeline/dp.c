/* The datapath's life, what it publishes, and its statistics. See dp.h. */
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "../base/buf.h"
#include "../openflow/ofp13.h"
#include "txn.h"
#include "worker.h"

#define WALK_STEP 2000  /* buckets and rules */
#define FIRST_VERSION 1 /* a rule removed by a plain change exists until version 0: in none */

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

uint64_t now_ms(void) {
    return now_ns() / 1000000;
}

void *dp_scratch(struct dp *dp, size_t size) {
    dp->scratch = xrealloc(dp->scratch, size + 1);
    return dp->scratch;
}

/* ---- What workers read once per batch ---- */

static struct dp_state *state_create(uint64_t version, uint64_t number, struct port_map *ports) {
    struct dp_state *state = xmalloc(sizeof *state);
    *state = (struct dp_state){version, number, ports};
    return state;
}

void dp_publish(struct dp *dp, uint64_t version, struct port_map *ports) {
    struct dp_state *old = dp->state;
    rcu_set(&dp->state, state_create(version, old->number + 1, ports));
    if (old->ports != ports) {
        rcu_free(&dp->rcu, old->ports);
    }
    rcu_free(&dp->rcu, old);
}

void dp_publish_version(struct dp *dp, uint64_t version) {
    dp_publish(dp, version, dp->state->ports);
}

void dp_publish_ports(struct dp *dp) {
    dp_publish(dp, dp->state->version, port_map_create(&dp->ports));
}

/* ---- Life ---- */

struct dp *dp_create(uint64_t datapath_id, const struct dp_events *events) {
    struct dp *dp = xzalloc(sizeof *dp);
    dp->id = datapath_id;
    if (events) {
        dp->events = *events;
    }
    dp->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (dp->wake_fd < 0) {
        abort(); /* no descriptor is left: nothing can be begun */
    }
    rcu_init(&dp->rcu);
    programs_init(&dp->programs);
    for (unsigned i = 0; i < DP_TABLES; i++) {
        dp->tables[i].dp = dp;
    }
    dp->last_version = FIRST_VERSION;
    dp->state = state_create(FIRST_VERSION, 1, port_map_create(&dp->ports));
    return dp;
}

static void destroy_objects(struct dp *dp, struct idmap *map, rcu_callback *release) {
    for (unsigned i = 0; i < IDMAP_BUCKETS; i++) {
        while (map->bucket[i]) {
            struct versioned *object = map->bucket[i];
            map->bucket[i] = object->next;
            release(dp, object);
        }
    }
    free(map->ids);
}

void dp_destroy(struct dp *dp) {
    rcu_drain(&dp->rcu);
    for (unsigned i = 0; i < DP_TABLES; i++) {
        classifier_destroy(&dp->tables[i]);
    }
    destroy_objects(dp, &dp->groups, group_release);
    destroy_objects(dp, &dp->meters, meter_release);
    free(dp->state->ports);
    free(dp->state);
    rcu_drain(&dp->rcu);
    rcu_destroy(&dp->rcu);
    programs_destroy(&dp->programs);
    counters_destroy(&dp->counters);
    slab_destroy(&dp->slab);
    free(dp->expiry.heap);
    free(dp->scratch);
    close(dp->wake_fd);
    free(dp);
}

uint64_t dp_id(const struct dp *dp) {
    return dp->id;
}

int dp_wake_fd(const struct dp *dp) {
    return dp->wake_fd;
}

void dp_tidy(struct dp *dp) {
    for (unsigned i = 0; dp->untidy && i < DP_TABLES; i++) {
        classifier_tidy(&dp->tables[i]);
    }
    dp->untidy = false;
}

void dp_poll(struct dp *dp) {
    rcu_poll(&dp->rcu);
    upcalls_drain(dp);
    expiry_run(dp, now_ms());
    dp_tidy(dp);
}

void dp_barrier(struct dp *dp) {
    rcu_synchronize(&dp->rcu);
    dp_tidy(dp);
}

ofperr dp_port_mod(struct dp_txn *txn, uint32_t port_no, const uint8_t hw_addr[6], uint32_t config, uint32_t mask) {
    struct dp *dp = txn->dp;
    int slot = dp_port_slot(dp, port_no);
    if (slot == NO_SLOT) {
        return OFPERR(OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_PORT);
    }
    struct dp_port *port = &dp->ports.port[slot];
    if (memcmp(hw_addr, port->hw_addr, sizeof port->hw_addr) != 0) {
        return OFPERR(OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_HW_ADDR);
    }
    uint32_t before = port->config, after = (before & ~mask) | (config & mask);
    if (after == before) {
        return 0;
    }
    port_configure(port, after);
    if (txn->atomic) {
        txn_log(txn, (struct change){.kind = CHANGE_PORT, .port = port, .port_config = before});
        return 0;
    }
    dp_publish_ports(dp);
    if (dp->events.port_status) {
        dp->events.port_status(dp->events.aux, port, DP_PORT_MODIFY);
    }
    return 0;
}

/* ---- Statistics ---- */

void dp_flow_view(const struct dp_flow *flow, struct dp_flow_view *view) {
    rule_match(flow, &view->storage);
    view->match = &view->storage;
    view->table_id = flow->table_id;
    view->priority = flow->priority;
    view->idle_timeout = flow->idle_timeout;
    view->hard_timeout = flow->hard_timeout;
    view->flags = flow->flags;
    view->cookie = flow->cookie;
    view->created_ms = flow->created_ms;
    view->age_ns = (now_ms() - flow->created_ms) * UINT64_C(1000000);
    view->instructions = &flow->program->instructions;
}

struct dp_counter dp_flow_counter(const struct dp_flow *flow) {
    return counter_sum(&flow->shape->dp->counters, flow->counter);
}

struct filtered {
    const struct dp_flow_filter *filter;
    bool (*each)(void *aux, const struct dp_flow *flow);
    void *aux;
};

static bool filter_one(void *aux, struct dp_flow *rule) {
    const struct filtered *f = aux;
    const struct dp_flow_filter *filter = f->filter;
    bool passes = !((rule->cookie ^ filter->cookie) & filter->cookie_mask) &&
                  (filter->out_port == OFPP_ANY || program_outputs_to(rule->program, filter->out_port)) &&
                  (filter->out_group == OFPG_ANY || program_uses_group(rule->program, filter->out_group));
    return !passes || f->each(f->aux, rule);
}

void dp_flow_each(struct dp *dp, const struct dp_flow_filter *filter,
                  bool (*each)(void *aux, const struct dp_flow *flow), void *aux) {
    struct filtered f = {filter, each, aux};
    bool all = filter->table_id == OFPTT_ALL;
    for (unsigned table = all ? 0 : filter->table_id; table < (all ? DP_TABLES : filter->table_id + 1U); table++) {
        if (table < DP_TABLES && !classifier_each(&dp->tables[table], filter->match, filter_one, &f)) {
            return;
        }
    }
}

struct dp_flow_walk {
    struct dp *dp;
    struct dp_flow_filter filter;
    struct match match;
    unsigned table, end;
    struct classifier_place place;
};

struct dp_flow_walk *dp_flow_walk_begin(struct dp *dp, const struct dp_flow_filter *filter) {
    struct dp_flow_walk *walk = xzalloc(sizeof *walk);
    bool all = filter->table_id == OFPTT_ALL;
    walk->dp = dp;
    walk->filter = *filter;
    walk->table = all ? 0 : filter->table_id;
    walk->end = all ? DP_TABLES : filter->table_id + 1U;
    if (filter->match) {
        walk->match = *filter->match;
        walk->filter.match = &walk->match;
    }
    return walk;
}

bool dp_flow_walk_step(struct dp_flow_walk *walk, bool (*each)(void *aux, const struct dp_flow *flow), void *aux) {
    struct filtered f = {&walk->filter, each, aux};
    while (walk->table < walk->end && !walk->dp->tables[walk->table].search) {
        walk->table++;
        walk->place = (struct classifier_place){0};
    }
    if (walk->table == walk->end) {
        return false;
    }
    if (!classifier_walk(&walk->dp->tables[walk->table], walk->filter.match, &walk->place, WALK_STEP, filter_one, &f)) {
        walk->table++;
        walk->place = (struct classifier_place){0};
    }
    return walk->table < walk->end;
}

void dp_flow_walk_end(struct dp_flow_walk *walk) {
    free(walk);
}

void dp_table_stats(struct dp *dp, uint8_t table_id, struct dp_table_stats *stats) {
    const struct classifier *table = &dp->tables[table_id];
    *stats = (struct dp_table_stats){
        .active = table->n_rules,
        .lookups = dp->retired_tables[table_id].lookups,
        .matched = dp->retired_tables[table_id].matched,
        .form = classifier_form_names[table->search ? table->search->form : FORM_EMPTY],
    };
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        if (dp->workers[i]) {
            stats->lookups += relaxed_get(&dp->workers[i]->tables[table_id].lookups);
            stats->matched += relaxed_get(&dp->workers[i]->tables[table_id].matched);
        }
    }
}
