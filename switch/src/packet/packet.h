/* Editing packets: set-field, push and pop, TTLs, with every checksum kept right; and answering ARP and ND.
 *
 * A packet is an rte_mbuf whose headers lie in its first segment (packet_headers_contiguous() sees to it). Functions
 * change the packet in place, push into the headroom, and update `layers`. They touch no other state, so they run on
 * any worker, and in tests without ports. Checksums are updated by RFC 1624 and cover IPv4, TCP, UDP (zero stays zero
 * on IPv4), SCTP (CRC32c, anew), ICMP and ICMPv6. */
#ifndef QUAKE_PACKET_PACKET_H
#define QUAKE_PACKET_PACKET_H 1

#include <stdbool.h>
#include <stdint.h>

#include "action.h"
#include "flow.h"

struct rte_mbuf;

enum packet_verdict {
    PACKET_OK,
    PACKET_DROP, /* the action cannot be done on this packet (no header to pop, no room): the packet is dropped */
    PACKET_INVALID_TTL, /* a TTL reached zero: to the controllers with OFPR_INVALID_TTL, if they asked */
};

/* Make the headers contiguous, so that flow_extract() and edits may use the first segment only. */
bool packet_headers_contiguous(struct rte_mbuf *packet);

/* Do one editing action (every type but OUTPUT, GROUP and SET_QUEUE). SET_FIELD of metadata or tunnel_id is the
 * pipeline's own affair and not for here. */
enum packet_verdict packet_edit(struct rte_mbuf *packet, struct layers *layers, const struct action *action);

/* Set `field` to `value` (OXM payload) where the packet has it; a packet without the header is left as it is. */
enum packet_verdict packet_set_field(struct rte_mbuf *packet, struct layers *layers, enum field_id field,
                                     const uint8_t value[FIELD_MAX_BYTES]);

/* Turn an ARP request or a neighbour solicitation into its answer from `mac`, in place. PACKET_DROP for anything else.
 */
enum packet_verdict packet_arp_nd_reply(struct rte_mbuf *packet, const uint8_t mac[6]);

#endif
