/* The OXM fields of OpenFlow 1.3 (specification 1.3.5, section 7.2.3.7, tables 11 and 12), one row each.
 *
 * A row says where the field lies in `struct flow`, how wide it is, whether it may be masked or set, and what must
 * be matched along with it. openflow/ codes OXM by these rows, packet.c sets fields by them, format.c prints by them;
 * nothing else knows a field's number. */
#ifndef QUAKE_PACKET_FIELD_H
#define QUAKE_PACKET_FIELD_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow.h"

#define OXM_CLASS_BASIC 0x8000
#define FIELD_MAX_BYTES 16

/* In the order of OFPXMT_OFB_*, so that the enumeration is the wire's number. */
enum field_id {
    FIELD_IN_PORT,
    FIELD_IN_PHY_PORT,
    FIELD_METADATA,
    FIELD_ETH_DST,
    FIELD_ETH_SRC,
    FIELD_ETH_TYPE,
    FIELD_VLAN_VID,
    FIELD_VLAN_PCP,
    FIELD_IP_DSCP,
    FIELD_IP_ECN,
    FIELD_IP_PROTO,
    FIELD_IPV4_SRC,
    FIELD_IPV4_DST,
    FIELD_TCP_SRC,
    FIELD_TCP_DST,
    FIELD_UDP_SRC,
    FIELD_UDP_DST,
    FIELD_SCTP_SRC,
    FIELD_SCTP_DST,
    FIELD_ICMPV4_TYPE,
    FIELD_ICMPV4_CODE,
    FIELD_ARP_OP,
    FIELD_ARP_SPA,
    FIELD_ARP_TPA,
    FIELD_ARP_SHA,
    FIELD_ARP_THA,
    FIELD_IPV6_SRC,
    FIELD_IPV6_DST,
    FIELD_IPV6_FLABEL,
    FIELD_ICMPV6_TYPE,
    FIELD_ICMPV6_CODE,
    FIELD_IPV6_ND_TARGET,
    FIELD_IPV6_ND_SLL,
    FIELD_IPV6_ND_TLL,
    FIELD_MPLS_LABEL,
    FIELD_MPLS_TC,
    FIELD_MPLS_BOS,
    FIELD_PBB_ISID,
    FIELD_TUNNEL_ID,
    FIELD_IPV6_EXTHDR,
    FIELD_COUNT
};

struct field_info {
    enum field_id id;
    const char *name; /* as ovs-ofctl writes it where it has a name, else as the specification does in lower case */
    uint8_t n_bits;
    uint8_t n_bytes; /* length of the OXM payload without mask */
    bool maskable;
    bool settable;
};

/* The row of a field; NULL for a number that 1.3 does not define. */
const struct field_info *field_by_id(unsigned id);

/* `value` is the OXM payload: `n_bytes` bytes, network order, right-aligned bits. */
void field_get(enum field_id id, const struct flow *flow, uint8_t value[FIELD_MAX_BYTES]);
void field_set(enum field_id id, struct flow *flow, const uint8_t *value);

/* Whether `match` meets the prerequisites of `id` (section 7.2.3.8). Used for match fields and for set-field. */
bool field_prerequisites_met(enum field_id id, const struct match *match);

#endif
