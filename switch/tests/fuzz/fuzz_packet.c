/* Fuzz target: any bytes as a packet, any actions on it.
 *
 * Input: tailroom (1 byte), the number of actions (1 byte, modulo 8), each action as type, field and 16 bytes of value,
 * then the packet. Checked, besides what the sanitizers find: after every edit, parsing anew gives the layers that the
 * edit left behind; lengths agree; texts end. The packet's buffer is a heap block of just its size. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "packet/field.h"
#include "packet/format.h"
#include "packet/packet.h"

#include "../packet/frame.h"
#include "fuzz.h"

#define HEADROOM 64
#define ACTION_BYTES 18

static void require(bool truth) {
    if (!truth) {
        abort();
    }
}

static struct rte_mbuf packet_over(uint8_t *buffer, size_t n, size_t tailroom) {
    return (struct rte_mbuf){.buf_addr = buffer,
                             .buf_len = HEADROOM + n + tailroom,
                             .data_off = HEADROOM,
                             .data_len = n,
                             .pkt_len = n,
                             .nb_segs = 1,
                             .refcnt = 1};
}

/* The Ethernet types of pushed tags are checked where messages are decoded. */
static void make_valid(struct action *action) {
    bool other = action->value[0] & 1;
    if (action->type == ACTION_PUSH_VLAN) {
        action->eth_type = other ? RTE_BE16(0x88a8) : RTE_BE16(0x8100);
    } else if (action->type == ACTION_PUSH_MPLS) {
        action->eth_type = other ? RTE_BE16(0x8848) : RTE_BE16(0x8847);
    } else if (action->type == ACTION_PUSH_PBB) {
        action->eth_type = RTE_BE16(0x88e7);
    }
}

static struct action decode_action(const uint8_t *bytes) {
    struct action action = {.type = bytes[0] % (ACTION_ARP_ND_REPLY + 1), .field = bytes[1] % FIELD_COUNT};
    memcpy(action.value, bytes + 2, FIELD_MAX_BYTES);
    make_valid(&action);
    return action;
}

static void show(const struct flow *flow, const struct action *action) {
    char text[300];
    text[0] = 0;
    format_flow(text, 1 + flow->eth_dst[5] % sizeof text, flow);
    require(strnlen(text, sizeof text) < sizeof text);
    format_actions(text, sizeof text, action, 1);
    require(strnlen(text, sizeof text) < sizeof text);
}

static void edit(struct rte_mbuf *packet, struct layers *layers, const struct action *action) {
    struct flow flow;
    struct layers anew;
    packet_edit(packet, layers, action);
    flow_extract(packet, 1, 1, 0, 0, &flow, &anew);
    require(!memcmp(layers, &anew, sizeof anew));
    require(packet->data_len == packet->pkt_len && packet->data_off + packet->data_len <= packet->buf_len);
    show(&flow, action);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    size_t n_actions = size >= 2 ? data[1] % 8 : 0;
    size_t head = 2 + n_actions * ACTION_BYTES;
    if (size < head || size - head > 2000) {
        return 0;
    }
    size_t n = size - head, tailroom = data[0] % 16;
    uint8_t *buffer = malloc(HEADROOM + n + tailroom);
    struct rte_mbuf packet = packet_over(buffer, n, tailroom);
    memcpy(buffer + HEADROOM, data + head, n);
    struct flow flow;
    struct layers layers;
    flow_extract(&packet, 1, 1, 0, 0, &flow, &layers);
    for (size_t i = 0; i < n_actions; i++) {
        struct action action = decode_action(data + 2 + i * ACTION_BYTES);
        edit(&packet, &layers, &action);
    }
    free(buffer);
    return 0;
}

/* Frames of every kind, each with a few of the actions that suit it. */
static struct frame seed_frame(size_t index) {
    static const struct {
        uint16_t eth_type;
        uint8_t proto;
    } kinds[] = {{0x0800, TCP},  {0x0800, UDP},    {0x0800, SCTP}, {0x0800, ICMP}, {0x0800, IPIP}, {0x86dd, TCP},
                 {0x86dd, SCTP}, {0x86dd, ICMPV6}, {0x86dd, IPIP}, {0x86dd, ESP},  {0x0806, 0}};
    size_t n_kinds = sizeof kinds / sizeof *kinds, variant = index / n_kinds;
    struct frame f = frame_of(kinds[index % n_kinds].eth_type, kinds[index % n_kinds].proto);
    if (f.ip_proto == ICMPV6) {
        f.tp_src = 135;
        f.nd_option = 1;
        f.ttl = 255;
    } else if (f.eth_type == 0x0806) {
        f.tp_src = 1;
    } else if (variant & 1) {
        f.n_extensions = 5;
        memcpy(f.extensions, (uint8_t[]){HOP, DST, ROUTING, FRAGMENT, AH}, 5);
    }
    f.n_vlan = variant & 2 ? 2 : 0;
    f.vlan[0].tpid = f.vlan[1].tpid = 0x8100;
    f.n_mpls = variant & 4 ? 2 : 0;
    f.mpls[0] = 0x12345a40;
    f.mpls[1] = 0x12345b40;
    f.pbb = variant == 7;
    return f;
}

size_t fuzz_seed(size_t index, uint8_t *bytes, size_t room) {
    size_t n_actions = index % 8, at = 2;
    if (index >= 88 || room < FRAME_MAX + 2 + 8 * ACTION_BYTES) {
        return 0;
    }
    bytes[0] = 8;
    bytes[1] = n_actions;
    for (size_t i = 0; i < n_actions; i++, at += ACTION_BYTES) {
        memset(bytes + at, (int) (index + i), ACTION_BYTES);
        bytes[at] = i % 2 ? ACTION_SET_FIELD : (index + i) % (ACTION_ARP_ND_REPLY + 1);
    }
    struct frame f = seed_frame(index);
    return at + frame_render(&f, bytes + at);
}
