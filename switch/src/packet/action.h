/* Actions and instructions of OpenFlow 1.3 (sections 5.9 to 5.12, 7.2.4, 7.2.5), decoded.
 *
 * openflow/ makes these from the wire and checks them; pipeline/ runs them; packet.h does the ones that edit a packet;
 * format.h prints them. They are plain values: an array of actions can be copied with memcpy. */
#ifndef QUAKE_PACKET_ACTION_H
#define QUAKE_PACKET_ACTION_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "field.h"

enum action_type {
    ACTION_OUTPUT,
    ACTION_GROUP,
    ACTION_SET_QUEUE,
    ACTION_COPY_TTL_OUT,
    ACTION_COPY_TTL_IN,
    ACTION_SET_MPLS_TTL,
    ACTION_DEC_MPLS_TTL,
    ACTION_PUSH_VLAN,
    ACTION_POP_VLAN,
    ACTION_PUSH_MPLS,
    ACTION_POP_MPLS,
    ACTION_PUSH_PBB,
    ACTION_POP_PBB,
    ACTION_SET_NW_TTL,
    ACTION_DEC_NW_TTL,
    ACTION_SET_FIELD,
    ACTION_ARP_ND_REPLY, /* ours: see openflow/experimenter.h */
};

struct action {
    uint8_t type;     /* enum action_type */
    uint8_t field;    /* SET_FIELD: enum field_id */
    uint16_t max_len; /* OUTPUT to the controller: bytes to send, 0xffff for all */
    union {
        uint32_t port;                  /* OUTPUT */
        uint32_t group_id;              /* GROUP */
        uint32_t queue_id;              /* SET_QUEUE */
        be16 eth_type;                  /* PUSH_*, POP_MPLS */
        uint8_t ttl;                    /* SET_*_TTL */
        uint8_t value[FIELD_MAX_BYTES]; /* SET_FIELD: OXM payload; ARP_ND_REPLY: the MAC in the first six bytes */
    };
};

#define GOTO_NONE 0xff

struct instructions {
    uint32_t meter_id;                                            /* 0: none */
    bool has_apply, has_clear, has_write, has_metadata, has_goto; /* as sent, for faithful statistics */
    uint8_t goto_table;                                           /* GOTO_NONE: none */
    uint16_t n_apply, n_write;
    const struct action *apply; /* in order of the list */
    const struct action *write; /* at most one of a kind and field, in the order of execution of section 5.10 */
    uint64_t metadata, metadata_mask;
};

#endif
