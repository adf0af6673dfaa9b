/* The messages of OpenFlow 1.3.5 as they lie on the wire: packed, in network byte order, at any alignment.
 *
 * Structures and members are named as in the specification; each is followed by its size there. Constants: ofp13.h.
 * Read a member with be16toh() and kin; the codecs (oxm.h, action_codec.h, mods.h) and handlers are the users. */
#ifndef QUAKE_OPENFLOW_WIRE_H
#define QUAKE_OPENFLOW_WIRE_H 1

#include <assert.h>
#include <endian.h>
#include <stddef.h>
#include <stdint.h>

#include "../packet/flow.h"
#include "ofp13.h"

typedef uint64_t be64;

#define WIRE __attribute__((packed))
#define WIRE_SIZE(type, size) static_assert(sizeof(struct type) == (size), #type)

struct ofp_header {
    uint8_t version, type;
    be16 length;
    be32 xid;
} WIRE;
WIRE_SIZE(ofp_header, 8);

struct ofp_hello_elem {
    be16 type, length;
} WIRE;
WIRE_SIZE(ofp_hello_elem, 4);

struct ofp_error_msg {
    struct ofp_header header;
    be16 type, code;
} WIRE;
WIRE_SIZE(ofp_error_msg, 12);

struct ofp_experimenter_header {
    struct ofp_header header;
    be32 experimenter, exp_type;
} WIRE;
WIRE_SIZE(ofp_experimenter_header, 16);

struct ofp_switch_features {
    struct ofp_header header;
    be64 datapath_id;
    be32 n_buffers;
    uint8_t n_tables, auxiliary_id, pad[2];
    be32 capabilities, reserved;
} WIRE;
WIRE_SIZE(ofp_switch_features, 32);

struct ofp_switch_config {
    struct ofp_header header;
    be16 flags, miss_send_len;
} WIRE;
WIRE_SIZE(ofp_switch_config, 12);

struct ofp_table_mod {
    struct ofp_header header;
    uint8_t table_id, pad[3];
    be32 config;
} WIRE;
WIRE_SIZE(ofp_table_mod, 16);

struct ofp_port {
    be32 port_no;
    uint8_t pad[4];
    uint8_t hw_addr[OFP_ETH_ALEN];
    uint8_t pad2[2];
    char name[OFP_MAX_PORT_NAME_LEN];
    be32 config, state, curr, advertised, supported, peer, curr_speed, max_speed;
} WIRE;
WIRE_SIZE(ofp_port, 64);

struct ofp_match {
    be16 type, length;
} WIRE;
WIRE_SIZE(ofp_match, 4);

struct ofp_instruction {
    be16 type, len;
    union {
        uint8_t table_id;
        be32 meter_id;
        uint8_t pad[4];
    } WIRE;
} WIRE;
WIRE_SIZE(ofp_instruction, 8);

struct ofp_instruction_write_metadata {
    struct ofp_instruction header;
    be64 metadata, metadata_mask;
} WIRE;
WIRE_SIZE(ofp_instruction_write_metadata, 24);

/* The eight bytes that every action has. */
struct ofp_action {
    be16 type, len;
    union {
        be32 port, group_id, queue_id, experimenter;
        be16 ethertype;
        uint8_t ttl;
        uint8_t field[4];
    } WIRE;
} WIRE;
WIRE_SIZE(ofp_action, 8);

struct ofp_action_output {
    struct ofp_action header;
    be16 max_len;
    uint8_t pad[6];
} WIRE;
WIRE_SIZE(ofp_action_output, 16);

struct quake_action_arp_nd_reply {
    struct ofp_action header;
    be16 subtype;
    uint8_t mac[OFP_ETH_ALEN];
    uint8_t pad[8];
} WIRE;
WIRE_SIZE(quake_action_arp_nd_reply, 24);

struct ofp_flow_mod {
    struct ofp_header header;
    be64 cookie, cookie_mask;
    uint8_t table_id, command;
    be16 idle_timeout, hard_timeout, priority;
    be32 buffer_id, out_port, out_group;
    be16 flags;
    uint8_t pad[2]; /* match and instructions follow */
} WIRE;
WIRE_SIZE(ofp_flow_mod, 48);

struct ofp_group_mod {
    struct ofp_header header;
    be16 command;
    uint8_t type, pad;
    be32 group_id;
} WIRE;
WIRE_SIZE(ofp_group_mod, 16);

struct ofp_bucket {
    be16 len, weight;
    be32 watch_port, watch_group;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_bucket, 16);

struct ofp_port_mod {
    struct ofp_header header;
    be32 port_no;
    uint8_t pad[4];
    uint8_t hw_addr[OFP_ETH_ALEN];
    uint8_t pad2[2];
    be32 config, mask, advertise;
    uint8_t pad3[4];
} WIRE;
WIRE_SIZE(ofp_port_mod, 40);

struct ofp_meter_mod {
    struct ofp_header header;
    be16 command, flags;
    be32 meter_id;
} WIRE;
WIRE_SIZE(ofp_meter_mod, 16);

struct ofp_meter_band {
    be16 type, len;
    be32 rate, burst_size;
    uint8_t prec_level, pad[3];
} WIRE;
WIRE_SIZE(ofp_meter_band, 16);

/* Requests and replies of one shape. */
struct ofp_multipart {
    struct ofp_header header;
    be16 type, flags;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_multipart, 16);

struct ofp_desc {
    char mfr_desc[DESC_STR_LEN], hw_desc[DESC_STR_LEN], sw_desc[DESC_STR_LEN];
    char serial_num[SERIAL_NUM_LEN];
    char dp_desc[DESC_STR_LEN];
} WIRE;
WIRE_SIZE(ofp_desc, 1056);

struct ofp_flow_stats_request { /* of aggregates too */
    uint8_t table_id, pad[3];
    be32 out_port, out_group;
    uint8_t pad2[4];
    be64 cookie, cookie_mask; /* a match follows */
} WIRE;
WIRE_SIZE(ofp_flow_stats_request, 32);

struct ofp_flow_stats {
    be16 length;
    uint8_t table_id, pad;
    be32 duration_sec, duration_nsec;
    be16 priority, idle_timeout, hard_timeout, flags;
    uint8_t pad2[4];
    be64 cookie, packet_count, byte_count; /* match and instructions follow */
} WIRE;
WIRE_SIZE(ofp_flow_stats, 48);

struct ofp_aggregate_stats_reply {
    be64 packet_count, byte_count;
    be32 flow_count;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_aggregate_stats_reply, 24);

struct ofp_table_stats {
    uint8_t table_id, pad[3];
    be32 active_count;
    be64 lookup_count, matched_count;
} WIRE;
WIRE_SIZE(ofp_table_stats, 24);

struct ofp_table_features {
    be16 length;
    uint8_t table_id, pad[5];
    char name[OFP_MAX_TABLE_NAME_LEN];
    be64 metadata_match, metadata_write;
    be32 config, max_entries;
} WIRE;
WIRE_SIZE(ofp_table_features, 64);

struct ofp_table_feature_prop_header {
    be16 type, length;
} WIRE;
WIRE_SIZE(ofp_table_feature_prop_header, 4);

struct ofp_port_stats_request {
    be32 port_no;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_port_stats_request, 8);

struct ofp_port_stats {
    be32 port_no;
    uint8_t pad[4];
    be64 rx_packets, tx_packets, rx_bytes, tx_bytes, rx_dropped, tx_dropped, rx_errors, tx_errors;
    be64 rx_frame_err, rx_over_err, rx_crc_err, collisions;
    be32 duration_sec, duration_nsec;
} WIRE;
WIRE_SIZE(ofp_port_stats, 112);

struct ofp_queue_stats_request {
    be32 port_no, queue_id;
} WIRE;
WIRE_SIZE(ofp_queue_stats_request, 8);

struct ofp_group_stats_request {
    be32 group_id;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_group_stats_request, 8);

struct ofp_counter { /* ofp_bucket_counter and ofp_meter_band_stats */
    be64 packet_count, byte_count;
} WIRE;
WIRE_SIZE(ofp_counter, 16);

struct ofp_group_stats {
    be16 length;
    uint8_t pad[2];
    be32 group_id, ref_count;
    uint8_t pad2[4];
    be64 packet_count, byte_count;
    be32 duration_sec, duration_nsec;
} WIRE;
WIRE_SIZE(ofp_group_stats, 40);

struct ofp_group_desc {
    be16 length;
    uint8_t type, pad;
    be32 group_id;
} WIRE;
WIRE_SIZE(ofp_group_desc, 8);

struct ofp_group_features {
    be32 types, capabilities, max_groups[OFPGT_TYPES], actions[OFPGT_TYPES];
} WIRE;
WIRE_SIZE(ofp_group_features, 40);

struct ofp_meter_multipart_request {
    be32 meter_id;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_meter_multipart_request, 8);

struct ofp_meter_stats {
    be32 meter_id;
    be16 len;
    uint8_t pad[6];
    be32 flow_count;
    be64 packet_in_count, byte_in_count;
    be32 duration_sec, duration_nsec;
} WIRE;
WIRE_SIZE(ofp_meter_stats, 40);

struct ofp_meter_config {
    be16 length, flags;
    be32 meter_id;
} WIRE;
WIRE_SIZE(ofp_meter_config, 8);

struct ofp_meter_features {
    be32 max_meter, band_types, capabilities;
    uint8_t max_bands, max_color, pad[2];
} WIRE;
WIRE_SIZE(ofp_meter_features, 16);

struct ofp_queue_get_config { /* request and reply */
    struct ofp_header header;
    be32 port;
    uint8_t pad[4];
} WIRE;
WIRE_SIZE(ofp_queue_get_config, 16);

struct ofp_packet_out {
    struct ofp_header header;
    be32 buffer_id, in_port;
    be16 actions_len;
    uint8_t pad[6];
} WIRE;
WIRE_SIZE(ofp_packet_out, 24);

struct ofp_role_request { /* and reply */
    struct ofp_header header;
    be32 role;
    uint8_t pad[4];
    be64 generation_id;
} WIRE;
WIRE_SIZE(ofp_role_request, 24);

struct ofp_async_config {
    struct ofp_header header;
    be32 packet_in_mask[2], port_status_mask[2], flow_removed_mask[2];
} WIRE;
WIRE_SIZE(ofp_async_config, 32);

struct ofp_packet_in {
    struct ofp_header header;
    be32 buffer_id;
    be16 total_len;
    uint8_t reason, table_id;
    be64 cookie; /* a match, two bytes of padding and the frame follow */
} WIRE;
WIRE_SIZE(ofp_packet_in, 24);

struct ofp_flow_removed {
    struct ofp_header header;
    be64 cookie;
    be16 priority;
    uint8_t reason, table_id;
    be32 duration_sec, duration_nsec;
    be16 idle_timeout, hard_timeout;
    be64 packet_count, byte_count; /* a match follows */
} WIRE;
WIRE_SIZE(ofp_flow_removed, 48);

struct ofp_port_status {
    struct ofp_header header;
    uint8_t reason, pad[7];
    struct ofp_port desc;
} WIRE;
WIRE_SIZE(ofp_port_status, 80);

/* ONF extension 230 */
struct onf_bundle_control {
    struct ofp_experimenter_header header;
    be32 bundle_id;
    be16 type, flags;
} WIRE;
WIRE_SIZE(onf_bundle_control, 24);

struct onf_bundle_add_message {
    struct ofp_experimenter_header header;
    be32 bundle_id;
    uint8_t pad[2];
    be16 flags; /* a message follows */
} WIRE;
WIRE_SIZE(onf_bundle_add_message, 24);

#endif
