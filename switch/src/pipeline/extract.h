/* The key of a plain packet, in a few loads: untagged IPv4 with no options, no fragment, carrying TCP or UDP.
 *
 * It is what nearly all packets are. For those extract_plain() gives just what flow_extract() gives, and extract_absent() the
 * rest (a test holds them against each other); of any other packet it says so and leaves it to flow_extract(). */
#ifndef QUAKE_PIPELINE_EXTRACT_H
#define QUAKE_PIPELINE_EXTRACT_H 1

#include <string.h>

#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "../packet/flow.h"

enum {
    PLAIN_L3 = 14,
    PLAIN_L4 = PLAIN_L3 + 20,
    PLAIN_TCP_TOTAL = 40, /* least total length that holds the header */
    PLAIN_UDP_TOTAL = 28,
    PLAIN_BYTES = 42 /* all that is read */
};

static inline uint64_t plain_load64(const uint8_t *at) {
    uint64_t word;
    memcpy(&word, at, sizeof word);
    return word;
}

static inline bool is_plain(const uint8_t *data, uint32_t length) {
    uint32_t type_ihl;
    uint16_t fragment, total_be;
    memcpy(&type_ihl, data + 12, sizeof type_ihl);
    memcpy(&fragment, data + 20, sizeof fragment);
    memcpy(&total_be, data + 16, sizeof total_be);
    uint32_t total = rte_be_to_cpu_16(total_be);
    uint32_t least = data[23] == 17 ? PLAIN_UDP_TOTAL : data[23] == 6 ? PLAIN_TCP_TOTAL : UINT32_MAX;
    return (type_ihl & RTE_BE32(0xffffff00)) == RTE_BE32(0x08004500) && !(fragment & RTE_BE16(0x3fff)) &&
           total >= least && length - PLAIN_L3 >= least;
}

/* The words that extract_plain() sets. */
#define PLAIN_WORDS (1U << FW_ETH0 | 1U << FW_ETH1 | 1U << FW_MPLS_PBB | 1U << FW_IP | 1U << FW_IPV4 | 1U << FW_TP)

static inline bool extract_plain(const struct rte_mbuf *mbuf, struct flow *flow, struct layers *layers) {
    const uint8_t *data = rte_pktmbuf_mtod(mbuf, const uint8_t *);
    if (rte_pktmbuf_data_len(mbuf) < PLAIN_BYTES || !is_plain(data, rte_pktmbuf_data_len(mbuf))) {
        return false;
    }
    flow->word[FW_ETH0] = plain_load64(data);
    flow->word[FW_ETH1] = plain_load64(data + 8) & RTE_BE64(0xffffffffffff0000);
    flow->word[FW_MPLS_PBB] = 0;
    flow->word[FW_IP] = rte_cpu_to_be_64((uint64_t) data[23] << 56 | (uint64_t) data[15] << 48);
    flow->word[FW_IPV4] = plain_load64(data + 26);
    struct flow present = {.tp_present = 1};
    flow->word[FW_TP] = (plain_load64(data + PLAIN_L4) & RTE_BE64(0xffffffff00000000)) | present.word[FW_TP];
    *layers = (struct layers){.l3 = PLAIN_L3, .l4 = PLAIN_L4};
    return true;
}

/* What extract_plain() leaves out: the words of headers that a plain packet does not have. */
static inline void extract_absent(struct flow *flow) {
    memset(&flow->word[FW_IPV6_SRC0], 0, 4 * sizeof(uint64_t));
    memset(&flow->word[FW_ND_TARGET0], 0, 4 * sizeof(uint64_t));
}

#endif
