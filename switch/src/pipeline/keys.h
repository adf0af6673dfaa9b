/* The words of a packet's key, fetched when a table first asks for them: a load where one will do, the few of a plain
 * packet, or all by the parser. For the two loops of worker.c over a batch, where the words asked for are the same.
 *
 * Neighbours: extract.h; worker.h has the packet. */
#ifndef QUAKE_PIPELINE_KEYS_H
#define QUAKE_PIPELINE_KEYS_H 1

#include <rte_branch_prediction.h>
#include <rte_ether.h>
#include <rte_mbuf.h>

#include "extract.h"
#include "worker.h"

static __rte_noinline void extract_any(struct packet *p) {
    struct flow flow;
    if (p->mbuf->nb_segs > 1) {
        packet_headers_contiguous(p->mbuf);
    }
    flow_extract(p->mbuf, p->flow.in_port, p->flow.in_phy_port, p->flow.metadata, p->flow.tunnel_id, &flow, &p->layers);
    p->flow = flow;
    p->have = ALL_WORDS;
}

static __rte_always_inline void extract(struct packet *p, uint32_t words) {
    if (unlikely(!extract_plain(p->mbuf, &p->flow, &p->layers))) {
        extract_any(p);
    } else if (words & ~(PIPELINE_WORDS | PLAIN_WORDS)) {
        extract_absent(&p->flow);
        p->have = ALL_WORDS;
    } else {
        p->have = PIPELINE_WORDS | PLAIN_WORDS;
    }
    p->layers_known = true;
}

static __rte_always_inline void need(struct packet *p, uint32_t words) {
    uint32_t missing = words & ~p->have;
    if (missing == 1U << FW_ETH0 && likely(rte_pktmbuf_data_len(p->mbuf) >= RTE_ETHER_HDR_LEN)) {
        p->flow.word[FW_ETH0] = plain_load64(rte_pktmbuf_mtod(p->mbuf, const uint8_t *));
        p->have |= missing;
    } else if (missing) {
        extract(p, words);
    }
}

#endif
