/* What quake speaks beyond the specification: the ONF's bundles for 1.3, the ONF's error codes, and one action of its
 * own.
 *
 * Bundles (ONF extension 230, experimenter 0x4f4e4600 on OpenFlow 1.3)
 * --------------------------------------------------------------------
 * Messages 2300 (bundle control) and 2301 (bundle add message). A bundle holds flow, group, meter, port and table mods
 * and packet-outs. Both flags are honoured and both are always kept: changes are applied in the order in which they
 * were added, and every packet sees all of them or none. Packet-outs of a bundle are sent once it is in force. If a
 * message fails, the error that it deserves is sent under its own xid, then OFPBFC_MSG_FAILED under the commit's, and
 * nothing has changed. Adding to an id that is not open opens it. Bundles that were not committed end with their
 * connection.
 *
 * Errors: the ONF's experimenter errors are used where 1.3 has no code of its own for a mistake that its text forbids
 * (a second instruction of one type, a masked set-field).
 *
 * ARP_ND_REPLY (experimenter 0x51554b45, "QUKE")
 * ----------------------------------------------
 * An action for apply-actions, write-actions and buckets: answers an ARP request or an IPv6 neighbour solicitation in
 * the switch, from a MAC that the rule itself names; nothing is learnt. The packet becomes its own answer: for ARP, the
 * opcode turns to reply, the sender becomes (mac, the address asked for), the target the one who asked; for ND, a
 * neighbour advertisement (solicited, override) with the target link-layer address option. The Ethernet addresses
 * follow. It is not sent by the action: an output to OFPP_IN_PORT after it does that. Any other packet is dropped. In
 * an action set it runs where set-field does. The match should name arp with arp_op=1, or icmpv6 type 135.
 *
 *      0        2        4                 8        10                16
 *      +--------+--------+-----------------+--------+-----------------+--------------------+
 *      | 0xffff | len 24 | experimenter id | subtype|  MAC (6 bytes)  | zeroes (8 bytes)   |
 *      +--------+--------+-----------------+--------+-----------------+--------------------+ */
#ifndef QUAKE_OPENFLOW_EXPERIMENTER_H
#define QUAKE_OPENFLOW_EXPERIMENTER_H 1

#include "../pipeline/ofperr.h"

#define ONF_EXPERIMENTER_ID UINT32_C(0x4f4e4600)
#define QUAKE_EXPERIMENTER_ID UINT32_C(0x51554b45)

enum { QUAKE_ACTION_ARP_ND_REPLY = 1 };

enum { ONF_BUNDLE_CONTROL = 2300, ONF_BUNDLE_ADD_MESSAGE = 2301 };
enum {
    OFPBCT_OPEN_REQUEST,
    OFPBCT_OPEN_REPLY,
    OFPBCT_CLOSE_REQUEST,
    OFPBCT_CLOSE_REPLY,
    OFPBCT_COMMIT_REQUEST,
    OFPBCT_COMMIT_REPLY,
    OFPBCT_DISCARD_REQUEST,
    OFPBCT_DISCARD_REPLY
};
enum { OFPBF_ATOMIC = 1 << 0, OFPBF_ORDERED = 1 << 1 };

/* Experimenter errors of the ONF: their exp_type rides in the code of an `ofperr`. */
#define ONF_ERROR_TYPE 0x7fff
#define ONF_ERROR(exp_type) OFPERR(ONF_ERROR_TYPE, exp_type)
enum {
    ONF_BFC_UNKNOWN = 2300,
    ONF_BFC_EPERM = 2301,
    ONF_BFC_BAD_ID = 2302,
    ONF_BFC_BUNDLE_EXIST = 2303,
    ONF_BFC_BUNDLE_CLOSED = 2304,
    ONF_BFC_OUT_OF_BUNDLES = 2305,
    ONF_BFC_BAD_TYPE = 2306,
    ONF_BFC_BAD_FLAGS = 2307,
    ONF_BFC_MSG_BAD_LEN = 2308,
    ONF_BFC_MSG_BAD_XID = 2309,
    ONF_BFC_MSG_UNSUP = 2310,
    ONF_BFC_MSG_CONFLICT = 2311,
    ONF_BFC_MSG_TOO_MANY = 2312,
    ONF_BFC_MSG_FAILED = 2313,
    ONF_BIC_DUP_INST = 2600,
    ONF_BAC_BAD_SET_MASK = 4250
};

#endif
