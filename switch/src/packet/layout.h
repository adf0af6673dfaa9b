/* Where things lie in a packet that flow_extract() has parsed: what edits need beyond `struct layers`.
 * Private to packet/. All pointers are into the first segment and within it. */
#ifndef QUAKE_PACKET_LAYOUT_H
#define QUAKE_PACKET_LAYOUT_H 1

#include <stdbool.h>
#include <stdint.h>

#include "flow.h"

struct ip {
    uint8_t *header;
    uint8_t *proto_at;  /* the byte that names the transport */
    uint8_t *payload;   /* behind the last header of IP; NULL in later fragments */
    uint8_t *l4;        /* NULL: none that OpenFlow knows, or a later fragment */
    uint32_t l4_length; /* by the length fields of the headers, which may be wrong; 0: a jumbogram */
    uint32_t l4_room;   /* bytes of it in the first segment */
    uint8_t proto;
    bool v6;
    bool fragment; /* first or later */
    bool routed;   /* an IPv6 routing header still has segments left */
};

/* The outermost IP header; false if the packet is of another kind. */
bool ip_find(struct rte_mbuf *packet, const struct layers *layers, struct ip *ip);

bool ip_is_nd(const struct ip *ip); /* a whole neighbour solicitation or advertisement */

/* Offset of the Ethernet type of the payload, behind VLAN tags. */
uint32_t payload_type_at(const struct rte_mbuf *packet);

/* Parse anew, after an edit that changed what the headers are. */
void layers_find(const struct rte_mbuf *packet, struct layers *layers);

#endif
