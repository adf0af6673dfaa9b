#include "action_codec.h"

#include <string.h>

#include "experimenter.h"
#include "oxm.h"
#include "wire.h"

#define BAD_ACTION(code) OFPERR(OFPET_BAD_ACTION, OFPBAC_##code)

#define ETH_IPV4 0x0800
#define ETH_IPV6 0x86dd
#define ETH_VLAN 0x8100
#define ETH_QINQ 0x88a8
#define ETH_MPLS 0x8847
#define ETH_MPLS_MULTICAST 0x8848
#define ETH_PBB 0x88e7

/* One row per kind of action: its number and length on the wire (0: its own check), and its place in an action set. */
static const struct action_row {
    uint16_t type, len;
    uint8_t set_order;
} rows[] = {
    [ACTION_OUTPUT] = {OFPAT_OUTPUT, 16, 17},
    [ACTION_GROUP] = {OFPAT_GROUP, 8, 16},
    [ACTION_SET_QUEUE] = {OFPAT_SET_QUEUE, 8, 15},
    [ACTION_COPY_TTL_OUT] = {OFPAT_COPY_TTL_OUT, 8, 7},
    [ACTION_COPY_TTL_IN] = {OFPAT_COPY_TTL_IN, 8, 0},
    [ACTION_SET_MPLS_TTL] = {OFPAT_SET_MPLS_TTL, 8, 10},
    [ACTION_DEC_MPLS_TTL] = {OFPAT_DEC_MPLS_TTL, 8, 8},
    [ACTION_PUSH_VLAN] = {OFPAT_PUSH_VLAN, 8, 6},
    [ACTION_POP_VLAN] = {OFPAT_POP_VLAN, 8, 1},
    [ACTION_PUSH_MPLS] = {OFPAT_PUSH_MPLS, 8, 4},
    [ACTION_POP_MPLS] = {OFPAT_POP_MPLS, 8, 2},
    [ACTION_PUSH_PBB] = {OFPAT_PUSH_PBB, 8, 5},
    [ACTION_POP_PBB] = {OFPAT_POP_PBB, 8, 3},
    [ACTION_SET_NW_TTL] = {OFPAT_SET_NW_TTL, 8, 11},
    [ACTION_DEC_NW_TTL] = {OFPAT_DEC_NW_TTL, 8, 9},
    [ACTION_SET_FIELD] = {OFPAT_SET_FIELD, 0, 12},
    [ACTION_ARP_ND_REPLY] = {OFPAT_EXPERIMENTER, 0, 13},
};
#define N_ROWS (sizeof rows / sizeof *rows)

uint16_t action_wire_type(enum action_type type) {
    return rows[type].type;
}

static bool action_type_from_wire(uint16_t wire, uint8_t *type) {
    for (unsigned i = 0; i < N_ROWS; i++) {
        if (rows[i].type == wire) {
            *type = (uint8_t) i;
            return true;
        }
    }
    return false;
}

static ofperr decode_output(const struct ofp_action *wire, enum action_use use, struct action *action) {
    action->port = be32toh(wire->port);
    action->max_len = be16toh(((const struct ofp_action_output *) wire)->max_len);
    if (action->port && action->port <= OFPP_MAX)
        return 0;
    switch (action->port) {
    case OFPP_IN_PORT:
    case OFPP_ALL:
    case OFPP_CONTROLLER:
        return 0;
    case OFPP_TABLE:
        return use == ACTIONS_PACKET_OUT ? 0 : BAD_ACTION(BAD_OUT_PORT);
    default: /* NORMAL and FLOOD are for hybrid switches; there is no local port */
        return BAD_ACTION(BAD_OUT_PORT);
    }
}

static ofperr decode_set_field(const struct ofp_action *wire, size_t len, struct action *action) {
    const uint8_t *oxm = wire->field;
    size_t payload = oxm[3];
    const struct field_info *info = oxm[0] << 8 == OFPXMC_OPENFLOW_BASIC && !oxm[1] ? field_by_id(oxm[2] >> 1) : NULL;
    if (!info || !info->settable)
        return BAD_ACTION(BAD_SET_TYPE);
    if (oxm[2] & 1)
        return ONF_ERROR(ONF_BAC_BAD_SET_MASK);
    if (payload != info->n_bytes || len != (8 + payload + 7) / 8 * 8)
        return BAD_ACTION(BAD_SET_LEN);
    if (!oxm_value_fits(info, oxm + 4))
        return BAD_ACTION(BAD_SET_ARGUMENT);
    action->field = (uint8_t) info->id;
    memcpy(action->value, oxm + 4, payload);
    return 0;
}

static ofperr decode_experimenter(const struct ofp_action *wire, size_t len, struct action *action) {
    const struct quake_action_arp_nd_reply *ours = (const struct quake_action_arp_nd_reply *) wire;
    if (be32toh(wire->experimenter) != QUAKE_EXPERIMENTER_ID)
        return BAD_ACTION(BAD_EXPERIMENTER);
    if (len < 16 || be16toh(ours->subtype) != QUAKE_ACTION_ARP_ND_REPLY)
        return BAD_ACTION(BAD_EXP_TYPE);
    if (len != sizeof *ours)
        return BAD_ACTION(BAD_LEN);
    memcpy(action->value, ours->mac, sizeof ours->mac);
    return 0;
}

static ofperr check_push(enum action_type type, uint16_t ethertype) {
    bool fits = type == ACTION_PUSH_VLAN   ? ethertype == ETH_VLAN || ethertype == ETH_QINQ
                : type == ACTION_PUSH_MPLS ? ethertype == ETH_MPLS || ethertype == ETH_MPLS_MULTICAST
                                           : ethertype == ETH_PBB;
    return fits ? 0 : BAD_ACTION(BAD_ARGUMENT);
}

static ofperr decode_argument(const struct ofp_action *wire, size_t len, enum action_use use, struct action *action) {
    switch (action->type) {
    case ACTION_OUTPUT:
        return decode_output(wire, use, action);
    case ACTION_GROUP:
        action->group_id = be32toh(wire->group_id);
        return action->group_id <= OFPG_MAX ? 0 : BAD_ACTION(BAD_OUT_GROUP);
    case ACTION_SET_QUEUE: /* no port has a queue to name */
        return BAD_ACTION(BAD_QUEUE);
    case ACTION_SET_MPLS_TTL:
    case ACTION_SET_NW_TTL:
        action->ttl = wire->ttl;
        return 0;
    case ACTION_PUSH_VLAN:
    case ACTION_PUSH_MPLS:
    case ACTION_PUSH_PBB:
        action->eth_type = wire->ethertype;
        return check_push(action->type, be16toh(wire->ethertype));
    case ACTION_POP_MPLS:
        action->eth_type = wire->ethertype;
        return 0;
    case ACTION_SET_FIELD:
        return decode_set_field(wire, len, action);
    case ACTION_ARP_ND_REPLY:
        return decode_experimenter(wire, len, action);
    default:
        return 0;
    }
}

static ofperr action_decode(const uint8_t *data, size_t len, enum action_use use, struct action *action, size_t *used) {
    const struct ofp_action *wire = (const struct ofp_action *) data;
    if (len < sizeof *wire)
        return BAD_ACTION(BAD_LEN);
    size_t action_len = be16toh(wire->len);
    if (action_len < sizeof *wire || action_len > len || action_len % 8)
        return BAD_ACTION(BAD_LEN);
    memset(action, 0, sizeof *action);
    if (!action_type_from_wire(be16toh(wire->type), &action->type))
        return BAD_ACTION(BAD_TYPE);
    if (rows[action->type].len && rows[action->type].len != action_len)
        return BAD_ACTION(BAD_LEN);
    *used = action_len;
    return decode_argument(wire, action_len, use, action);
}

/* ---- Action sets ---- */

static bool same_slot(const struct action *a, const struct action *b) {
    return a->type == b->type && (a->type != ACTION_SET_FIELD || a->field == b->field);
}

/* A later action takes the place of an earlier one of its kind. */
static unsigned remove_overridden(struct action *actions, unsigned n) {
    unsigned kept = 0;
    for (unsigned i = 0; i < n; i++) {
        unsigned at = 0;
        while (at < kept && !same_slot(&actions[at], &actions[i]))
            at++;
        actions[at] = actions[i];
        kept += at == kept;
    }
    return kept;
}

static unsigned make_set(struct action *actions, unsigned n) {
    n = remove_overridden(actions, n);
    for (unsigned i = 1; i < n; i++) {
        struct action action = actions[i];
        unsigned at = i;
        for (; at && rows[actions[at - 1].type].set_order > rows[action.type].set_order; at--)
            actions[at] = actions[at - 1];
        actions[at] = action;
    }
    return n;
}

/* ---- Consistency with the match (OFPBAC_MATCH_INCONSISTENT) ---- */

/* The Ethernet type, if the match says which; else 0. */
static uint16_t known_eth_type(const struct match *match) {
    return match->mask.eth_type == UINT16_MAX ? be16toh(match->value.eth_type) : 0;
}

static void know_eth_type(struct match *match, be16 eth_type) {
    match->value.eth_type = eth_type;
    match->mask.eth_type = 0xffff;
}

static bool known_untagged(const struct match *match) {
    return be16toh(match->mask.vlan_tci) & FLOW_VLAN_PRESENT && !(be16toh(match->value.vlan_tci) & FLOW_VLAN_PRESENT);
}

/* Whether some packet of `match` has the header that the action works on. */
static bool action_can_apply(const struct action *action, const struct match *match) {
    uint16_t eth_type = known_eth_type(match);
    switch (action->type) {
    case ACTION_SET_FIELD:
        return field_prerequisites_met(action->field, match);
    case ACTION_POP_VLAN:
        return !known_untagged(match);
    case ACTION_POP_MPLS:
    case ACTION_SET_MPLS_TTL:
    case ACTION_DEC_MPLS_TTL:
    case ACTION_COPY_TTL_IN:
    case ACTION_COPY_TTL_OUT:
        return !eth_type || eth_type == ETH_MPLS || eth_type == ETH_MPLS_MULTICAST;
    case ACTION_POP_PBB:
        return !eth_type || eth_type == ETH_PBB;
    case ACTION_SET_NW_TTL:
    case ACTION_DEC_NW_TTL:
        return !eth_type || eth_type == ETH_IPV4 || eth_type == ETH_IPV6;
    default:
        return true;
    }
}

/* What the match says of the packet once the action is done. */
static void action_follow(const struct action *action, struct match *match) {
    switch (action->type) {
    case ACTION_PUSH_VLAN:
        match->value.vlan_tci |= htobe16(FLOW_VLAN_PRESENT);
        match->mask.vlan_tci |= htobe16(FLOW_VLAN_PRESENT);
        break;
    case ACTION_POP_VLAN:
        match->value.vlan_tci = match->mask.vlan_tci = 0;
        break;
    case ACTION_PUSH_MPLS:
    case ACTION_PUSH_PBB:
    case ACTION_POP_MPLS:
        know_eth_type(match, action->eth_type);
        break;
    case ACTION_POP_PBB:
        match->value.eth_type = match->mask.eth_type = 0;
        break;
    default:
        break;
    }
}

static bool needs_no_match(const struct action *action) {
    return action->type == ACTION_OUTPUT || action->type == ACTION_GROUP;
}

static ofperr check_consistency(const struct action *actions, unsigned n, const struct match *match) {
    while (n && needs_no_match(actions)) {
        actions++;
        n--;
    }
    if (!n)
        return 0;
    struct match so_far = *match;
    for (unsigned i = 0; i < n; i++) {
        if (!action_can_apply(&actions[i], &so_far))
            return BAD_ACTION(MATCH_INCONSISTENT);
        action_follow(&actions[i], &so_far);
    }
    return 0;
}

ofperr actions_decode(const uint8_t *data, size_t len, enum action_use use, const struct match *match,
                      struct action_pool *pool, const struct action **actions, unsigned *n) {
    struct action *first = &pool->items[pool->n];
    unsigned count = 0;
    while (len) {
        size_t used = 0;
        ofperr error = action_decode(data, len, use, &first[count], &used);
        if (error)
            return error;
        count++;
        data += used;
        len -= used;
    }
    if (use == ACTIONS_SET)
        count = make_set(first, count);
    pool->n += count;
    *actions = first;
    *n = count;
    return match ? check_consistency(first, count, match) : 0;
}

/* ---- To the wire ---- */

static void encode_set_field(struct buf *out, const struct action *action) {
    const struct field_info *info = field_by_id(action->field);
    size_t len = ((size_t) info->n_bytes + 15) / 8 * 8, start = buf_len(out);
    struct ofp_action header = {.type = htobe16(OFPAT_SET_FIELD), .len = htobe16((uint16_t) len)};
    buf_put(out, &header, 4);
    oxm_encode_field(out, info, action->value);
    buf_put_zeros(out, len - (buf_len(out) - start));
}

static void encode_arp_nd_reply(struct buf *out, const struct action *action) {
    struct quake_action_arp_nd_reply *wire = buf_put_zeros(out, sizeof *wire);
    wire->header.type = htobe16(OFPAT_EXPERIMENTER);
    wire->header.len = htobe16(sizeof *wire);
    wire->header.experimenter = htobe32(QUAKE_EXPERIMENTER_ID);
    wire->subtype = htobe16(QUAKE_ACTION_ARP_ND_REPLY);
    memcpy(wire->mac, action->value, sizeof wire->mac);
}

static void encode_output(struct buf *out, const struct action *action) {
    struct ofp_action_output *wire = buf_put_zeros(out, sizeof *wire);
    wire->header.type = htobe16(OFPAT_OUTPUT);
    wire->header.len = htobe16(sizeof *wire);
    wire->header.port = htobe32(action->port);
    wire->max_len = htobe16(action->max_len);
}

static void encode_plain(struct buf *out, const struct action *action) {
    struct ofp_action *wire = buf_put_zeros(out, sizeof *wire);
    wire->type = htobe16(rows[action->type].type);
    wire->len = htobe16(sizeof *wire);
    if (action->type == ACTION_GROUP)
        wire->group_id = htobe32(action->group_id);
    else if (action->type == ACTION_SET_QUEUE)
        wire->queue_id = htobe32(action->queue_id);
    else if (action->type == ACTION_SET_MPLS_TTL || action->type == ACTION_SET_NW_TTL)
        wire->ttl = action->ttl;
    else
        wire->ethertype = action->eth_type;
}

void actions_encode(struct buf *out, const struct action *actions, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        if (actions[i].type == ACTION_OUTPUT)
            encode_output(out, &actions[i]);
        else if (actions[i].type == ACTION_SET_FIELD)
            encode_set_field(out, &actions[i]);
        else if (actions[i].type == ACTION_ARP_ND_REPLY)
            encode_arp_nd_reply(out, &actions[i]);
        else
            encode_plain(out, &actions[i]);
    }
}
