/* See format.h. The names and their order are those of ovs-ofctl's dump-flows, so that its parser takes the text back.
 */
#include "format.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <rte_byteorder.h>

#include "field.h"
#include "headers.h"

#define FIRST_RESERVED_PORT 0xfffffff8U
#define CONTROLLER_PORT 0xfffffffdU

struct out {
    char *text;
    size_t size, length; /* of the room, and of the whole text, cut or not */
};

static struct out append_to(char *text, size_t size) {
    size_t length = size ? strnlen(text, size) : 0;
    return (struct out){text, size, length};
}

__attribute__((format(printf, 2, 3))) static void put(struct out *out, const char *format, ...) {
    size_t room = out->length < out->size ? out->size - out->length : 0;
    va_list args;
    va_start(args, format);
    int n = vsnprintf(room ? out->text + out->length : NULL, room, format, args);
    va_end(args);
    out->length += n > 0 ? (size_t) n : 0;
}

static bool is_zero(const uint8_t *bytes, unsigned n) {
    static const uint8_t zero[FIELD_MAX_BYTES];
    return !memcmp(bytes, zero, n);
}

static uint64_t number(const uint8_t *bytes, unsigned n) {
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The bits of a whole field, right-aligned, as an OXM mask. */
static bool is_exact(const struct field_info *info, const uint8_t *mask) {
    for (unsigned i = 0; i < info->n_bytes; i++) {
        unsigned bits_here =
            info->n_bits > 8 * (info->n_bytes - 1 - i) ? info->n_bits - 8 * (info->n_bytes - 1 - i) : 0;
        uint8_t all = bits_here >= 8 ? 0xff : (uint8_t) ((1U << bits_here) - 1);
        if (mask[i] != all) {
            return false;
        }
    }
    return true;
}

/* The length of a mask that is a prefix, else -1. */
static int prefix_length(const uint8_t *mask, unsigned n) {
    int length = 0;
    while (length < (int) n * 8 && mask[length / 8] & 0x80 >> length % 8) {
        length++;
    }
    for (int i = length; i < (int) n * 8; i++) {
        if (mask[i / 8] & 0x80 >> i % 8) {
            return -1;
        }
    }
    return length;
}

static void put_port(struct out *out, uint32_t port) {
    static const char *const reserved[] = {"IN_PORT", "TABLE", "NORMAL", "FLOOD", "ALL", "CONTROLLER", "LOCAL", "ANY"};
    if (port >= FIRST_RESERVED_PORT) {
        put(out, "%s", reserved[port - FIRST_RESERVED_PORT]);
    } else {
        put(out, "%" PRIu32, port);
    }
}

static void put_mac(struct out *out, const uint8_t *mac) {
    put(out, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4], mac[5]);
}

static void put_ip(struct out *out, int family, const uint8_t *address) {
    char text[INET6_ADDRSTRLEN];
    put(out, "%s", inet_ntop(family, address, text, sizeof text));
}

static bool in_hexadecimal(enum field_id id) {
    switch (id) {
    case FIELD_METADATA:
    case FIELD_TUNNEL_ID:
    case FIELD_ETH_TYPE:
    case FIELD_IPV6_FLABEL:
    case FIELD_IPV6_EXTHDR:
    case FIELD_VLAN_VID:
        return true;
    default:
        return false;
    }
}

static void put_value(struct out *out, enum field_id id, const uint8_t *value, bool mask) {
    const struct field_info *info = field_by_id(id);
    if (info->n_bytes == 6) {
        put_mac(out, value);
    } else if (info->n_bytes == 16) {
        put_ip(out, AF_INET6, value);
    } else if (id == FIELD_IPV4_SRC || id == FIELD_IPV4_DST || id == FIELD_ARP_SPA || id == FIELD_ARP_TPA) {
        put_ip(out, AF_INET, value);
    } else if (id == FIELD_IN_PORT || id == FIELD_IN_PHY_PORT) {
        put_port(out, number(value, 4));
    } else if (mask || in_hexadecimal(id)) {
        put(out, "0x%" PRIx64, number(value, info->n_bytes));
    } else {
        put(out, "%" PRIu64, number(value, info->n_bytes));
    }
}

static void put_mask(struct out *out, enum field_id id, const uint8_t *mask) {
    const struct field_info *info = field_by_id(id);
    bool address = info->n_bytes == 16 || id == FIELD_IPV4_SRC || id == FIELD_IPV4_DST || id == FIELD_ARP_SPA ||
                   id == FIELD_ARP_TPA;
    int prefix = address ? prefix_length(mask, info->n_bytes) : -1;
    if (prefix >= 0) {
        put(out, "/%d", prefix);
    } else {
        put(out, "/");
        put_value(out, id, mask, true);
    }
}

/* The keyword that stands for an Ethernet type and an IP protocol, as "tcp6" does; NULL if there is none. */
static const char *keyword(uint16_t eth_type, int ip_proto) {
    static const struct {
        uint16_t eth_type;
        int ip_proto;
        const char *name;
    } keywords[] = {
        {ETH_TYPE_IPV4, -1, "ip"},
        {ETH_TYPE_IPV4, IP_PROTO_TCP, "tcp"},
        {ETH_TYPE_IPV4, IP_PROTO_UDP, "udp"},
        {ETH_TYPE_IPV4, IP_PROTO_SCTP, "sctp"},
        {ETH_TYPE_IPV4, IP_PROTO_ICMP, "icmp"},
        {ETH_TYPE_IPV6, -1, "ipv6"},
        {ETH_TYPE_IPV6, IP_PROTO_TCP, "tcp6"},
        {ETH_TYPE_IPV6, IP_PROTO_UDP, "udp6"},
        {ETH_TYPE_IPV6, IP_PROTO_SCTP, "sctp6"},
        {ETH_TYPE_IPV6, IP_PROTO_ICMPV6, "icmp6"},
        {ETH_TYPE_ARP, -1, "arp"},
        {ETH_TYPE_MPLS, -1, "mpls"},
        {ETH_TYPE_MPLS_MULTICAST, -1, "mplsm"},
    };
    for (unsigned i = 0; i < RTE_DIM(keywords); i++) {
        if (keywords[i].eth_type == eth_type && keywords[i].ip_proto == ip_proto) {
            return keywords[i].name;
        }
    }
    return NULL;
}

/* A field as it stands in a match: NULL if the match does not use it. The transports share storage, so a field counts
 * only along with its prerequisites. */
static bool uses(const struct match *match, enum field_id id, uint8_t *value, uint8_t *mask) {
    field_get(id, &match->value, value);
    field_get(id, &match->mask, mask);
    return !is_zero(mask, field_by_id(id)->n_bytes) && field_prerequisites_met(id, match);
}

static void separate(struct out *out, size_t start) {
    if (out->length > start) {
        put(out, ",");
    }
}

static void put_field(struct out *out, size_t start, const struct match *match, enum field_id id) {
    uint8_t value[FIELD_MAX_BYTES], mask[FIELD_MAX_BYTES];
    if (!uses(match, id, value, mask)) {
        return;
    }
    separate(out, start);
    bool exact = is_exact(field_by_id(id), mask);
    if (id == FIELD_VLAN_VID && exact && number(value, 2) & FLOW_VLAN_PRESENT) {
        put(out, "dl_vlan=%u", (unsigned) number(value, 2) & 0xfff);
    } else if (id == FIELD_VLAN_VID && exact) {
        put(out, "vlan_tci=0x0000/0x1fff");
    } else {
        put(out, "%s=", field_by_id(id)->name);
        put_value(out, id, value, false);
        if (!exact) {
            put_mask(out, id, mask);
        }
    }
}

/* The keyword for what eth_type and ip_proto say, if they say it exactly; marks in `told` what need not be told again.
 */
static void put_keyword(struct out *out, size_t start, const struct match *match, bool told[FIELD_COUNT]) {
    if (match->mask.eth_type != UINT16_MAX) {
        return;
    }
    uint16_t eth_type = rte_be_to_cpu_16(match->value.eth_type);
    const char *name = match->mask.ip_proto == UINT8_MAX ? keyword(eth_type, match->value.ip_proto) : NULL;
    told[FIELD_IP_PROTO] = name != NULL;
    name = name ? name : keyword(eth_type, -1);
    told[FIELD_ETH_TYPE] = name != NULL;
    if (name) {
        separate(out, start);
        put(out, "%s", name);
    }
}

size_t format_match(char *text, size_t size, const struct match *match) {
    struct out out = append_to(text, size);
    size_t start = out.length;
    bool told[FIELD_COUNT] = {false};
    put_keyword(&out, start, match, told);
    for (enum field_id id = 0; id < FIELD_COUNT; id++) {
        if (!told[id]) {
            put_field(&out, start, match, id);
        }
    }
    return out.length;
}

static void put_output(struct out *out, const struct action *action) {
    if (action->port == CONTROLLER_PORT) {
        put(out, "CONTROLLER:%u", action->max_len);
    } else if (action->port >= FIRST_RESERVED_PORT) {
        put_port(out, action->port);
    } else {
        put(out, "output:%" PRIu32, action->port);
    }
}

static void put_set_field(struct out *out, const struct action *action) {
    put(out, "set_field:");
    if (action->field == FIELD_VLAN_VID) {
        put(out, "%u", (unsigned) number(action->value, 2));
    } else {
        put_value(out, action->field, action->value, false);
    }
    put(out, "->%s", field_by_id(action->field)->name);
}

static void put_action(struct out *out, const struct action *action) {
    uint16_t eth_type = rte_be_to_cpu_16(action->eth_type);
    switch ((enum action_type) action->type) {
    case ACTION_OUTPUT:
        put_output(out, action);
        break;
    case ACTION_GROUP:
        put(out, "group:%" PRIu32, action->group_id);
        break;
    case ACTION_SET_QUEUE:
        put(out, "set_queue:%" PRIu32, action->queue_id);
        break;
    case ACTION_COPY_TTL_OUT:
        put(out, "copy_ttl_out");
        break;
    case ACTION_COPY_TTL_IN:
        put(out, "copy_ttl_in");
        break;
    case ACTION_SET_MPLS_TTL:
        put(out, "set_mpls_ttl(%u)", action->ttl);
        break;
    case ACTION_DEC_MPLS_TTL:
        put(out, "dec_mpls_ttl");
        break;
    case ACTION_PUSH_VLAN:
        put(out, "push_vlan:0x%04x", eth_type);
        break;
    case ACTION_POP_VLAN:
        put(out, "pop_vlan");
        break;
    case ACTION_PUSH_MPLS:
        put(out, "push_mpls:0x%04x", eth_type);
        break;
    case ACTION_POP_MPLS:
        put(out, "pop_mpls:0x%04x", eth_type);
        break;
    case ACTION_PUSH_PBB:
        put(out, "push_pbb:0x%04x", eth_type);
        break;
    case ACTION_POP_PBB:
        put(out, "pop_pbb");
        break;
    case ACTION_SET_NW_TTL:
        put(out, "mod_nw_ttl:%u", action->ttl);
        break;
    case ACTION_DEC_NW_TTL:
        put(out, "dec_ttl");
        break;
    case ACTION_SET_FIELD:
        put_set_field(out, action);
        break;
    case ACTION_ARP_ND_REPLY:
        put(out, "arp_nd_reply(");
        put_mac(out, action->value);
        put(out, ")");
        break;
    }
}

static void put_actions(struct out *out, const struct action *actions, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        put(out, i ? "," : "");
        put_action(out, &actions[i]);
    }
}

size_t format_actions(char *text, size_t size, const struct action *actions, unsigned n) {
    struct out out = append_to(text, size);
    put_actions(&out, actions, n);
    if (!n) {
        put(&out, "drop");
    }
    return out.length;
}

size_t format_instructions(char *text, size_t size, const struct instructions *in) {
    struct out out = append_to(text, size);
    size_t start = out.length;
    if (in->meter_id) {
        put(&out, "meter:%" PRIu32, in->meter_id);
    }
    if (in->n_apply) {
        separate(&out, start);
        put_actions(&out, in->apply, in->n_apply);
    }
    if (in->has_clear) {
        separate(&out, start);
        put(&out, "clear_actions");
    }
    if (in->n_write) {
        separate(&out, start);
        put(&out, "write_actions(");
        put_actions(&out, in->write, in->n_write);
        put(&out, ")");
    }
    if (in->has_metadata) {
        separate(&out, start);
        put(&out, "write_metadata:0x%" PRIx64, in->metadata);
        if (in->metadata_mask != UINT64_MAX) {
            put(&out, "/0x%" PRIx64, in->metadata_mask);
        }
    }
    if (in->has_goto) {
        separate(&out, start);
        put(&out, "goto_table:%u", in->goto_table);
    }
    if (out.length == start) {
        put(&out, "drop");
    }
    return out.length;
}

/* Every field that the packet has, which are those whose prerequisites it meets. */
size_t format_flow(char *text, size_t size, const struct flow *flow) {
    struct match match = {.value = *flow};
    memset(&match.mask, 0xff, sizeof match.mask);
    struct out out = append_to(text, size);
    size_t start = out.length;
    bool told[FIELD_COUNT] = {[FIELD_IN_PHY_PORT] = flow->in_phy_port == flow->in_port,
                              [FIELD_METADATA] = !flow->metadata,
                              [FIELD_TUNNEL_ID] = !flow->tunnel_id,
                              [FIELD_IPV6_EXTHDR] = !flow->ipv6_exthdr};
    put_keyword(&out, start, &match, told);
    bool no_transport = !flow->tp_present;
    for (enum field_id id = 0; id < FIELD_COUNT; id++) {
        bool transport = id >= FIELD_TCP_SRC && id <= FIELD_ARP_OP;
        bool icmpv6 = id == FIELD_ICMPV6_TYPE || id == FIELD_ICMPV6_CODE;
        if (!told[id] && !(no_transport && (transport || icmpv6))) {
            put_field(&out, start, &match, id);
        }
    }
    return out.length;
}
