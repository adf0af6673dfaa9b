/* The editing actions by name. See packet.h. */
#include "packet.h"

#include <string.h>

#include <rte_mbuf.h>

#include "headers.h"
#include "layout.h"
#include "tags.h"

/* Tags, IPv6 with a few extension headers, and neighbour discovery with options: more than real packets have. */
#define HEADERS_MAX 256

/* Move the first `n` bytes of the next segment to the end of the first. */
static void pull(struct rte_mbuf *packet, uint16_t n) {
    struct rte_mbuf *next = packet->next;
    memcpy(rte_pktmbuf_mtod_offset(packet, uint8_t *, packet->data_len), rte_pktmbuf_mtod(next, uint8_t *), n);
    packet->data_len += n;
    next->data_len -= n;
    next->data_off += n;
    if (!next->data_len) {
        packet->next = next->next;
        packet->nb_segs--;
        next->next = NULL;
        next->nb_segs = 1;
        rte_pktmbuf_free_seg(next);
    }
}

bool packet_headers_contiguous(struct rte_mbuf *packet) {
    uint32_t wanted = RTE_MIN(rte_pktmbuf_pkt_len(packet), (uint32_t) HEADERS_MAX);
    while (packet->data_len < wanted) {
        uint32_t n = RTE_MIN(wanted - packet->data_len, (uint32_t) packet->next->data_len);
        if (n > rte_pktmbuf_tailroom(packet)) {
            return false;
        }
        pull(packet, n);
    }
    return true;
}

enum packet_verdict packet_edit(struct rte_mbuf *packet, struct layers *layers, const struct action *action) {
    if (rte_pktmbuf_data_len(packet) < ETH_LEN) {
        return PACKET_DROP;
    }
    enum packet_verdict verdict = PACKET_OK;
    switch ((enum action_type) action->type) {
    case ACTION_SET_FIELD:
        return packet_set_field(packet, layers, action->field, action->value);
    case ACTION_PUSH_VLAN:
        return push_vlan(packet, layers, action->eth_type);
    case ACTION_POP_VLAN:
        return pop_vlan(packet, layers);
    case ACTION_PUSH_MPLS:
        return push_mpls(packet, layers, action->eth_type);
    case ACTION_POP_MPLS:
        return pop_mpls(packet, layers, action->eth_type);
    case ACTION_PUSH_PBB:
        return push_pbb(packet, layers, action->eth_type);
    case ACTION_POP_PBB:
        return pop_pbb(packet, layers);
    case ACTION_COPY_TTL_OUT:
    case ACTION_COPY_TTL_IN:
        copy_ttl(packet, layers, action->type == ACTION_COPY_TTL_OUT);
        break;
    case ACTION_SET_MPLS_TTL:
    case ACTION_SET_NW_TTL:
        set_ttl(packet, layers, action->type == ACTION_SET_MPLS_TTL, action->ttl);
        break;
    case ACTION_DEC_MPLS_TTL:
    case ACTION_DEC_NW_TTL:
        return decrement_ttl(packet, layers, action->type == ACTION_DEC_MPLS_TTL);
    case ACTION_ARP_ND_REPLY:
        verdict = packet_arp_nd_reply(packet, action->value);
        layers_find(packet, layers);
        break;
    case ACTION_OUTPUT:
    case ACTION_GROUP:
    case ACTION_SET_QUEUE:
        break;
    }
    return verdict;
}
