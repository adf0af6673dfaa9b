/* The switch's state as messages: taking accepted ones again after a restart, and listing those that make it anew. */
#include <stdlib.h>

#include "conn.h"

#define MS_PER_NS 1000000

/* ---- Replay ---- */

static ofperr replay_one(struct of *of, struct dp_txn *txn, const uint8_t *data, size_t len, uint64_t created_ms) {
    const struct ofp_header *message = (const struct ofp_header *) data;
    if (len < sizeof *message || be16toh(message->length) != len)
        return OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    ofperr error = mod_decode(message, len, of->space, &of->mod);
    if (error)
        return error;
    if (of->mod.type == OFPT_FLOW_MOD)
        of->mod.flow.created_ms = created_ms;
    return mod_apply(&of->mod, txn);
}

ofperr of_replay(struct of *of, const uint8_t *const *messages, const size_t *lengths, unsigned n,
                 uint64_t created_ms) {
    of_txn_end(of);
    struct dp_txn *txn = dp_txn_begin(of->dp, n > 1);
    for (unsigned i = 0; i < n; i++) {
        ofperr error = replay_one(of, txn, messages[i], lengths[i], created_ms);
        if (error) {
            dp_txn_abort(txn);
            return error;
        }
    }
    return dp_txn_commit(txn);
}

/* ---- Dump ---- */

struct of_dump {
    struct dp *dp;
    struct dp_flow_walk *walk;
    uint64_t now_ms;
    struct buf message;
    struct buf early; /* ids of the groups that were listed before their turn, as others forward to them */
    void (*each)(void *aux, const uint8_t *message, size_t len, uint64_t created_ms);
    void *aux;
};

static void dump_message(struct of_dump *dump, uint64_t created_ms) {
    dump->each(dump->aux, buf_data(&dump->message), buf_len(&dump->message), created_ms);
    buf_clear(&dump->message);
}

static bool dump_flow(void *aux, const struct dp_flow *flow) {
    struct of_dump *dump = aux;
    struct dp_flow_view view;
    dp_flow_view(flow, &view);
    mod_encode_flow(&dump->message, &view, MOD_FLOW_ADD);
    dump_message(dump, view.created_ms);
    return true;
}

static bool listed_early(const struct of_dump *dump, uint32_t id) {
    const uint32_t *ids = (const uint32_t *) buf_data(&dump->early);
    for (size_t i = 0; i < buf_len(&dump->early) / sizeof *ids; i++)
        if (ids[i] == id)
            return true;
    return false;
}

static void dump_group(struct of_dump *dump, uint32_t id, uint32_t turn);

/* A group can be made only when those that it forwards to are there; of these, the ones before `turn` are. */
static void dump_targets(struct of_dump *dump, const struct dp_group_view *view, uint32_t turn) {
    for (unsigned i = 0; i < view->n_buckets; i++)
        for (unsigned k = 0; k < view->buckets[i].n_actions; k++) {
            const struct action *action = &view->buckets[i].actions[k];
            if (action->type == ACTION_GROUP && action->group_id > turn && !listed_early(dump, action->group_id)) {
                dump_group(dump, action->group_id, turn);
                buf_put(&dump->early, &action->group_id, sizeof action->group_id);
            }
        }
}

static void dump_group(struct of_dump *dump, uint32_t id, uint32_t turn) {
    struct dp_group_view view;
    if (!dp_group_view(dump->dp, id, &view))
        return;
    dump_targets(dump, &view, turn);
    mod_encode_group(&dump->message, &view);
    dump_message(dump, dump->now_ms - view.age_ns / MS_PER_NS);
}

static void dump_groups(struct of_dump *dump) {
    for (uint32_t id = OFPG_ANY; (id = dp_group_next(dump->dp, id)) != OFPG_ANY;)
        if (!listed_early(dump, id))
            dump_group(dump, id, id);
}

static void dump_meters(struct of_dump *dump) {
    struct dp_meter_view view;
    for (uint32_t id = 0; (id = dp_meter_next(dump->dp, id));) {
        if (!dp_meter_view(dump->dp, id, &view))
            continue;
        mod_encode_meter(&dump->message, &view);
        dump_message(dump, dump->now_ms - view.age_ns / MS_PER_NS);
    }
}

static void dump_ports(struct of_dump *dump) {
    for (const struct dp_port *port = dp_port_next(dump->dp, NULL); port; port = dp_port_next(dump->dp, port)) {
        if (!port->config)
            continue;
        mod_encode_port(&dump->message, port);
        dump_message(dump, dump->now_ms);
    }
}

struct of_dump *of_dump_begin(struct of *of,
                              void (*each)(void *aux, const uint8_t *message, size_t len, uint64_t created_ms),
                              void *aux) {
    const struct dp_flow_filter all = {.table_id = OFPTT_ALL, .out_port = OFPP_ANY, .out_group = OFPG_ANY};
    struct of_dump *dump = xzalloc(sizeof *dump);
    *dump = (struct of_dump){.dp = of->dp, .now_ms = loop_now_ms(), .each = each, .aux = aux};
    dump_ports(dump);
    dump_meters(dump);
    dump_groups(dump);
    dump->walk = dp_flow_walk_begin(of->dp, &all);
    return dump;
}

bool of_dump_step(struct of_dump *dump) {
    return dp_flow_walk_step(dump->walk, dump_flow, dump);
}

void of_dump_end(struct of_dump *dump) {
    dp_flow_walk_end(dump->walk);
    buf_free(&dump->message);
    buf_free(&dump->early);
    free(dump);
}
