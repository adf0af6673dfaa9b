/* The responder: ARP requests and neighbour solicitations turned into their answers. See packet.h.
 *
 * A request from the very address that would answer is dropped: its owner asks whether anybody else has the address
 * (RFC 5227; RFC 4862, section 5.4), and an answer would tell it so. */
#include "packet.h"

#include <string.h>

#include <rte_mbuf.h>

#include "checksum.h"
#include "headers.h"

#define ADVERT_LEN (ND_LEN + ND_OPTION_LEN)
#define ADVERT_SOLICITED 0x40
#define ADVERT_OVERRIDE 0x20

static enum packet_verdict arp_reply(uint8_t *eth, uint8_t *arp, const uint8_t mac[6]) {
    if (load_be16(arp + ARP_OP) != ARP_REQUEST || !memcmp(arp + ARP_SHA, mac, 6)) {
        return PACKET_DROP;
    }
    uint8_t asked[4];
    memcpy(asked, arp + ARP_TPA, 4);
    memcpy(arp + ARP_THA, arp + ARP_SHA, 10); /* hardware and protocol address of the sender */
    memcpy(arp + ARP_SHA, mac, 6);
    memcpy(arp + ARP_SPA, asked, 4);
    store_be16(arp + ARP_OP, ARP_REPLY);
    memcpy(eth, eth + 6, 6);
    memcpy(eth + 6, mac, 6);
    return PACKET_OK;
}

/* Sum over pseudo-header and message of an ICMPv6 packet without extension headers. */
static uint16_t icmpv6_sum(const uint8_t *ip, uint32_t length) {
    uint16_t sum = checksum_add(IP_PROTO_ICMPV6 + length, ip + IPV6_SRC, 32);
    return checksum_add(sum, ip + IPV6_LEN, length);
}

/* Section 7.1.1 of RFC 4861. */
static bool solicitation_is_valid(const struct rte_mbuf *packet, const struct layers *layers, const struct flow *flow) {
    const uint8_t *ip = rte_pktmbuf_mtod_offset(packet, const uint8_t *, layers->l3);
    uint32_t length = load_be16(ip + IPV6_PAYLOAD);
    return flow->tp_src == RTE_BE16(ICMPV6_ND_SOLICIT) && flow->tp_dst == 0 && ip[IPV6_HOPS] == 255 &&
           layers->l4 == layers->l3 + IPV6_LEN && length >= ND_LEN &&
           layers->l4 + length <= rte_pktmbuf_data_len(packet) && flow->nd_target[0] != 0xff &&
           icmpv6_sum(ip, length) == 0xffff;
}

static void advert_write(uint8_t *ip, const uint8_t mac[6], bool to_all) {
    static const uint8_t all_nodes[16] = {0xff, 2, [15] = 1};
    uint8_t *icmp = ip + IPV6_LEN;
    store_be16(ip + IPV6_PAYLOAD, ADVERT_LEN);
    memcpy(ip + IPV6_DST, to_all ? all_nodes : ip + IPV6_SRC, 16);
    memcpy(ip + IPV6_SRC, icmp + ND_TARGET, 16);
    memset(icmp, 0, ND_TARGET);
    icmp[0] = ICMPV6_ND_ADVERT;
    icmp[ND_FLAGS] = ADVERT_OVERRIDE | (to_all ? 0 : ADVERT_SOLICITED);
    icmp[ND_LEN] = ND_OPTION_TLL;
    icmp[ND_LEN + 1] = 1;
    memcpy(icmp + ND_LEN + 2, mac, 6);
    store_be16(icmp + ICMP_CHECKSUM, (uint16_t) ~icmpv6_sum(ip, ADVERT_LEN));
}

/* RFC 4861, section 7.2.4: a solicitation without source address (duplicate detection) is answered to all nodes. */
static enum packet_verdict nd_reply(struct rte_mbuf *packet, const struct layers *layers, const struct flow *flow,
                                    const uint8_t mac[6]) {
    static const uint8_t unspecified[16], all_nodes_mac[6] = {0x33, 0x33, 0, 0, 0, 1};
    if (packet->nb_segs > 1 || !solicitation_is_valid(packet, layers, flow) || !memcmp(flow->eth_src, mac, 6)) {
        return PACKET_DROP;
    }
    uint16_t length = layers->l4 + ADVERT_LEN;
    int excess = rte_pktmbuf_data_len(packet) - length;
    if (excess < 0 ? !rte_pktmbuf_append(packet, -excess) : rte_pktmbuf_trim(packet, excess) != 0) {
        return PACKET_DROP;
    }
    uint8_t *eth = rte_pktmbuf_mtod(packet, uint8_t *);
    bool to_all = !memcmp(flow->ipv6_src, unspecified, 16);
    advert_write(eth + layers->l3, mac, to_all);
    memcpy(eth, to_all ? all_nodes_mac : flow->eth_src, 6);
    memcpy(eth + 6, mac, 6);
    return PACKET_OK;
}

enum packet_verdict packet_arp_nd_reply(struct rte_mbuf *packet, const uint8_t mac[6]) {
    struct flow flow;
    struct layers layers;
    flow_extract(packet, 0, 0, 0, 0, &flow, &layers);
    uint8_t *eth = rte_pktmbuf_mtod(packet, uint8_t *);
    if (layers.l3 && flow.eth_type == RTE_BE16(ETH_TYPE_ARP) && !(flow.eth_src[0] & 1)) {
        return arp_reply(eth, eth + layers.l3, mac);
    }
    if (layers.l4 && flow.eth_type == RTE_BE16(ETH_TYPE_IPV6) && flow.ip_proto == IP_PROTO_ICMPV6 &&
        !(flow.eth_src[0] & 1)) {
        return nd_reply(packet, &layers, &flow, mac);
    }
    return PACKET_DROP;
}
