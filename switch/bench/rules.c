/* See rules.h. */
#include "rules.h"

#include <string.h>

#include "openflow/ofp13.h"
#include "pipeline/dp.h"

#define PRIORITY 32768
#define SINK 2

static void put_be(uint8_t *at, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = value >> (8 * (bytes - 1 - i));
    }
}

static void match_masked(struct match *match, enum field_id field, uint64_t value, uint64_t mask) {
    uint8_t bytes[FIELD_MAX_BYTES] = {0};
    unsigned n = field_by_id(field)->n_bytes;
    put_be(bytes, mask, n);
    field_set(field, &match->mask, bytes);
    put_be(bytes, value & mask, n);
    field_set(field, &match->value, bytes);
}

static void match_exact(struct match *match, enum field_id field, uint64_t value) {
    match_masked(match, field, value, UINT64_MAX >> (64 - field_by_id(field)->n_bits));
}

static uint64_t mac(unsigned flow) {
    return UINT64_C(0x020010000000) + flow;
}

static struct action set_mac(unsigned flow) {
    struct action action = {.type = ACTION_SET_FIELD, .field = FIELD_ETH_DST};
    put_be(action.value, UINT64_C(0x0a0000000001) + ((uint64_t) flow << 8), 6);
    return action;
}

static const struct action to_sink = {.type = ACTION_OUTPUT, .port = SINK};

static void add(struct dp_txn *txn, uint8_t table, const struct match *match, const struct action *apply, unsigned n) {
    struct flow_mod mod = {.table_id = table,
                           .command = OFPFC_ADD,
                           .priority = PRIORITY,
                           .out_port = OFPP_ANY,
                           .out_group = OFPG_ANY,
                           .match = *match,
                           .instructions = {.has_apply = true, .n_apply = n, .apply = apply, .goto_table = GOTO_NONE}};
    dp_flow_mod(txn, &mod);
}

static void l2(struct dp_txn *txn, unsigned flow, unsigned count) {
    (void) count;
    struct match match = {0};
    match_exact(&match, FIELD_IN_PORT, 1);
    match_exact(&match, FIELD_ETH_DST, mac(flow));
    add(txn, 0, &match, &to_sink, 1);
}

static void l2_rewrite(struct dp_txn *txn, unsigned flow, unsigned count) {
    (void) count;
    struct match match = {0};
    struct action actions[] = {set_mac(flow), to_sink};
    match_exact(&match, FIELD_IN_PORT, 1);
    match_exact(&match, FIELD_ETH_DST, mac(flow));
    add(txn, 0, &match, actions, 2);
}

static void five_tuple(struct dp_txn *txn, unsigned flow, unsigned count) {
    (void) count;
    struct match match = {0};
    match_exact(&match, FIELD_ETH_TYPE, 0x0800);
    match_exact(&match, FIELD_IP_PROTO, 17);
    match_exact(&match, FIELD_IPV4_SRC, UINT32_C(10) << 24 | flow);
    match_exact(&match, FIELD_IPV4_DST, UINT32_C(20) << 24 | flow);
    match_exact(&match, FIELD_UDP_SRC, 1024 + flow % 60000);
    match_exact(&match, FIELD_UDP_DST, 4790);
    add(txn, 0, &match, &to_sink, 1);
}

static void masks(struct dp_txn *txn, unsigned flow, unsigned count) {
    struct match match = {0};
    match_exact(&match, FIELD_ETH_TYPE, 0x0800);
    match_masked(&match, FIELD_IPV4_SRC, UINT32_C(10) << 24 | flow, UINT32_MAX << (flow % count % 8));
    match_masked(&match, FIELD_IPV4_DST, UINT32_C(20) << 24 | flow, UINT32_MAX << (flow % count / 8));
    add(txn, 0, &match, &to_sink, 1);
}

static void wildcard(struct dp_txn *txn, unsigned flow, unsigned count) {
    (void) count;
    struct match match = {0};
    match_exact(&match, FIELD_ETH_TYPE, 0x0800);
    match_masked(&match, FIELD_IPV4_DST, UINT32_C(20) << 24, UINT32_MAX << 24);
    if (!flow) {
        add(txn, 0, &match, &to_sink, 1);
    }
}

static void port(struct dp_txn *txn, unsigned flow, unsigned count) {
    (void) count;
    struct match match = {0};
    match_exact(&match, FIELD_IN_PORT, 1);
    if (!flow) {
        add(txn, 0, &match, &to_sink, 1);
    }
}

static void locator(struct dp_txn *txn, unsigned flow, unsigned count) {
    (void) count;
    struct match classify = {0}, locate = {0};
    struct action actions[] = {set_mac(flow), to_sink};
    match_exact(&classify, FIELD_IN_PORT, 1);
    struct flow_mod mod = {
        .command = OFPFC_ADD,
        .priority = PRIORITY,
        .out_port = OFPP_ANY,
        .out_group = OFPG_ANY,
        .match = classify,
        .instructions = {
            .has_goto = true, .goto_table = 1, .has_metadata = true, .metadata = 7, .metadata_mask = UINT64_MAX}};
    if (!flow) {
        dp_flow_mod(txn, &mod);
    }
    match_exact(&locate, FIELD_METADATA, 7);
    match_exact(&locate, FIELD_ETH_DST, mac(flow));
    add(txn, 1, &locate, actions, 2);
}

static const struct kind {
    const char *name;
    void (*add)(struct dp_txn *txn, unsigned flow, unsigned count);
    unsigned count;
} kinds[] = {
    {"l2", l2, 0},         {"l2-rewrite", l2_rewrite, 0}, {"five-tuple", five_tuple, 0}, {"masks-1", masks, 1},
    {"masks-4", masks, 4}, {"masks-16", masks, 16},       {"masks-64", masks, 64},       {"wildcard", wildcard, 0},
    {"port", port, 0},     {"locator", locator, 0},
};

const char *rules_kinds(void) {
    return "l2, l2-rewrite, five-tuple, masks-1, masks-4, masks-16, masks-64, wildcard, port, locator";
}

bool rules_load(struct dp *dp, const char *kind, unsigned flows) {
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, kind) != 0) {
            continue;
        }
        struct dp_txn *txn = dp_txn_begin(dp, false);
        for (unsigned flow = 0; flow < flows; flow++) {
            kinds[i].add(txn, flow, kinds[i].count);
        }
        dp_txn_commit(txn);
        return true;
    }
    return false;
}
