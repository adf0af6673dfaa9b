/* Pushing and popping VLAN, MPLS and PBB headers, and TTLs: the parts of packet_edit(). Private to packet/. */
#ifndef QUAKE_PACKET_TAGS_H
#define QUAKE_PACKET_TAGS_H 1

#include <stdbool.h>

#include "packet.h"

enum packet_verdict push_vlan(struct rte_mbuf *packet, struct layers *layers, be16 eth_type);
enum packet_verdict pop_vlan(struct rte_mbuf *packet, struct layers *layers);
enum packet_verdict push_mpls(struct rte_mbuf *packet, struct layers *layers, be16 eth_type);
enum packet_verdict pop_mpls(struct rte_mbuf *packet, struct layers *layers, be16 eth_type);
enum packet_verdict push_pbb(struct rte_mbuf *packet, struct layers *layers, be16 eth_type);
enum packet_verdict pop_pbb(struct rte_mbuf *packet, struct layers *layers);

/* Between the outermost header with a TTL and the next one; nothing happens if there are no two. */
void copy_ttl(struct rte_mbuf *packet, const struct layers *layers, bool outwards);

/* Of the outermost MPLS shim or of the IP header; nothing happens without one. An invalid TTL is left as it is. */
enum packet_verdict decrement_ttl(struct rte_mbuf *packet, const struct layers *layers, bool mpls);
void set_ttl(struct rte_mbuf *packet, const struct layers *layers, bool mpls, uint8_t value);

#endif
