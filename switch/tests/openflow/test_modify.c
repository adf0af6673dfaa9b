/* Changes one by one: flow, group, meter, port and table mods, packet-outs, what controllers and the journal hear of
 * them. */
#include "rig.h"

#include <string.h>

static int set_up(void **state) {
    *state = rig_create();
    return 0;
}

static int tear_down(void **state) {
    rig_destroy(*state);
    return 0;
}

/* ---- Flows ---- */

static void flows_come_and_go(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    for (uint32_t port = 1; port <= 3; port++)
        send_flow_mod(client, &(struct flow_spec){.in_port = port, .out_port = 4, .priority = 5});
    expect_silence(client);
    assert_int_equal(count_flows(rig), 3);
    assert_int_equal(rig->accepted_calls, 3);
    send_flow_mod(client, &(struct flow_spec){.in_port = 2, .priority = 5, .command = OFPFC_DELETE_STRICT});
    expect_silence(client);
    assert_int_equal(count_flows(rig), 2);
    send_flow_mod(client, &(struct flow_spec){.table = OFPTT_ALL, .command = OFPFC_DELETE});
    expect_silence(client);
    assert_int_equal(count_flows(rig), 0);
    client_close(client);
}

static void bad_flow_mods_change_nothing(void **state) {
    static const struct {
        struct flow_spec spec;
        uint16_t type, code;
    } cases[] = {
        {{.command = 5}, OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_COMMAND},
        {{.table = 254}, OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_TABLE_ID},
        {{.table = OFPTT_ALL}, OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_TABLE_ID},
        {{.flags = 1 << 5}, OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_FLAGS},
        {{.in_port = OFPP_ANY}, OFPET_BAD_MATCH, OFPBMC_BAD_VALUE},
        {{.out_port = OFPP_TABLE}, OFPET_BAD_ACTION, OFPBAC_BAD_OUT_PORT},
        {{.group = 77}, OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP},
        {{.meter = 77}, OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER},
        {{.table = 3, .goto_table = 3}, OFPET_BAD_INSTRUCTION, OFPBIC_BAD_TABLE_ID},
    };
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    for (uint32_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct flow_spec spec = cases[i].spec;
        spec.xid = 100 + i;
        send_flow_mod(client, &spec);
        expect_error(client, 100 + i, cases[i].type, cases[i].code);
    }
    assert_int_equal(count_flows(rig), 0);
    assert_int_equal(rig->accepted_calls, 0);
    client_close(client);
}

static void overlap_is_refused_when_asked(void **state) {
    struct client *client = client_connect(*state);
    send_flow_mod(client, &(struct flow_spec){.in_port = 1, .priority = 5});
    send_flow_mod(client, &(struct flow_spec){.priority = 5, .flags = OFPFF_CHECK_OVERLAP, .xid = 9});
    expect_error(client, 9, OFPET_FLOW_MOD_FAILED, OFPFMFC_OVERLAP);
    client_close(client);
}

static void buffers_are_unknown(void **state) {
    struct client *client = client_connect(*state);
    struct request request;
    request_flow_mod(&request, &(struct flow_spec){.xid = 10});
    ((struct ofp_flow_mod *) buf_data(&request.bytes))->buffer_id = htobe32(1);
    request_send(client, &request);
    expect_error(client, 10, OFPET_BAD_REQUEST, OFPBRC_BUFFER_UNKNOWN);
    client_close(client);
}

static void removed_flows_are_told(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_flow_mod(client, &(struct flow_spec){
                              .in_port = 1, .priority = 5, .cookie = 0xabc, .idle = 9, .flags = OFPFF_SEND_FLOW_REM});
    send_flow_mod(client, &(struct flow_spec){.in_port = 2, .priority = 5});
    send_flow_mod(client, &(struct flow_spec){.command = OFPFC_DELETE});
    const struct ofp_flow_removed *told = expect_message(client, OFPT_FLOW_REMOVED, 0, sizeof *told + 16);
    assert_int_equal(told->reason, OFPRR_DELETE);
    assert_int_equal(be64toh(told->cookie), 0xabc);
    assert_int_equal(be16toh(told->priority), 5);
    assert_int_equal(be16toh(told->idle_timeout), 9);
    const uint8_t match[] = {0, 1, 0, 12, 0x80, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0};
    assert_memory_equal(told + 1, match, sizeof match);
    expect_silence(client); /* the other did not ask to be told of */
    client_close(client);
}

/* ---- Groups ---- */

struct bucket_spec {
    uint32_t out_port, group, watch_port;
};

static void send_group(struct client *client, uint16_t command, uint8_t type, uint32_t id, unsigned n,
                       const struct bucket_spec *buckets) {
    struct request request;
    request_begin(&request, OFPT_GROUP_MOD, id);
    request_u16(&request, command);
    request_u8(&request, type);
    request_u8(&request, 0);
    request_u32(&request, id);
    for (unsigned i = 0; i < n; i++) {
        request_u16(&request, buckets[i].group ? 24 : 32);
        request_u16(&request, type == OFPGT_SELECT);
        request_u32(&request, buckets[i].watch_port ? buckets[i].watch_port : OFPP_ANY);
        request_u32(&request, OFPG_ANY);
        request_u32(&request, 0);
        request_u16(&request, buckets[i].group ? OFPAT_GROUP : OFPAT_OUTPUT);
        request_u16(&request, buckets[i].group ? 8 : 16);
        request_u32(&request, buckets[i].group ? buckets[i].group : buckets[i].out_port);
        if (!buckets[i].group)
            request_u64(&request, UINT64_C(0xffff) << 48);
    }
    request_send(client, &request);
}

static const struct bucket_spec to_port_1 = {.out_port = 1};

static void groups_come_and_go(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_group(client, OFPGC_ADD, OFPGT_INDIRECT, 1, 1, &to_port_1);
    send_group(client, OFPGC_ADD, OFPGT_ALL, 2, 2, (struct bucket_spec[]){{.group = 1}, {.out_port = 2}});
    send_flow_mod(client, &(struct flow_spec){.in_port = 3, .group = 2});
    expect_silence(client);
    assert_int_equal(count_flows(rig), 1);
    send_group(client, OFPGC_DELETE, 0, 1, 0, NULL);
    expect_error(client, 1, OFPET_GROUP_MOD_FAILED, OFPGMFC_CHAINED_GROUP);
    send_group(client, OFPGC_DELETE, 0, OFPG_ALL, 0, NULL);
    expect_silence(client);
    assert_int_equal(count_flows(rig), 0); /* they went with the group */
    assert_int_equal(dp_group_next(rig->dp, OFPG_ANY), OFPG_ANY);
    client_close(client);
}

static void bad_group_mods_get_their_code(void **state) {
    static const struct {
        uint16_t command;
        uint8_t type;
        uint32_t id;
        unsigned n;
        struct bucket_spec bucket;
        uint16_t error, code;
    } cases[] = {
        {3, OFPGT_ALL, 9, 0, {0}, OFPET_GROUP_MOD_FAILED, OFPGMFC_BAD_COMMAND},
        {OFPGC_ADD, 4, 9, 0, {0}, OFPET_GROUP_MOD_FAILED, OFPGMFC_BAD_TYPE},
        {OFPGC_ADD, OFPGT_ALL, OFPG_ALL, 0, {0}, OFPET_GROUP_MOD_FAILED, OFPGMFC_INVALID_GROUP},
        {OFPGC_ADD, OFPGT_INDIRECT, 9, 0, {0}, OFPET_GROUP_MOD_FAILED, OFPGMFC_INVALID_GROUP},
        {OFPGC_ADD, OFPGT_FF, 9, 1, {.out_port = 1}, OFPET_GROUP_MOD_FAILED, OFPGMFC_BAD_WATCH},
        {OFPGC_ADD, OFPGT_ALL, 1, 1, {.out_port = 1}, OFPET_GROUP_MOD_FAILED, OFPGMFC_GROUP_EXISTS},
        {OFPGC_MODIFY, OFPGT_ALL, 9, 1, {.out_port = 1}, OFPET_GROUP_MOD_FAILED, OFPGMFC_UNKNOWN_GROUP},
        {OFPGC_MODIFY, OFPGT_ALL, 1, 1, {.group = 1}, OFPET_GROUP_MOD_FAILED, OFPGMFC_LOOP},
        {OFPGC_ADD, OFPGT_ALL, 9, 1, {.out_port = OFPP_ANY}, OFPET_BAD_ACTION, OFPBAC_BAD_OUT_PORT},
        {OFPGC_ADD, OFPGT_ALL, 9, 1, {.group = 8}, OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP},
    };
    struct client *client = client_connect(*state);
    send_group(client, OFPGC_ADD, OFPGT_ALL, 1, 1, &to_port_1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        send_group(client, cases[i].command, cases[i].type, cases[i].id, cases[i].n, &cases[i].bucket);
        expect_error(client, cases[i].id, cases[i].error, cases[i].code);
    }
    client_close(client);
}

static void bad_buckets_are_refused(void **state) {
    struct client *client = client_connect(*state);
    static const uint16_t lengths[] = {8, 12, 20, 40};
    struct request request;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        request_begin(&request, OFPT_GROUP_MOD, 5);
        request_u32(&request, OFPGC_ADD << 16);
        request_u32(&request, 5);
        request_u16(&request, lengths[i]);
        request_zeros(&request, 14);
        request_send(client, &request);
        expect_error(client, 5, OFPET_GROUP_MOD_FAILED, OFPGMFC_BAD_BUCKET);
    }
    client_close(client);
}

/* ---- Meters ---- */

static void send_meter(struct client *client, uint16_t command, uint16_t flags, uint32_t id, uint16_t band) {
    struct request request;
    request_begin(&request, OFPT_METER_MOD, 30);
    request_u16(&request, command);
    request_u16(&request, flags);
    request_u32(&request, id);
    if (band) {
        request_u16(&request, band);
        request_u16(&request, 16);
        request_u32(&request, 1000);
        request_u32(&request, 100);
        request_u8(&request, band == OFPMBT_DSCP_REMARK);
        request_zeros(&request, 3);
    }
    request_send(client, &request);
}

static void meters_come_and_go(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_meter(client, OFPMC_ADD, OFPMF_KBPS | OFPMF_BURST, 1, OFPMBT_DROP);
    send_meter(client, OFPMC_MODIFY, OFPMF_PKTPS, 1, OFPMBT_DSCP_REMARK);
    send_flow_mod(client, &(struct flow_spec){.in_port = 3, .meter = 1});
    expect_silence(client);
    assert_int_equal(count_flows(rig), 1);
    send_meter(client, OFPMC_DELETE, 0, OFPM_ALL, 0);
    expect_silence(client);
    assert_int_equal(count_flows(rig), 0);
    assert_int_equal(dp_meter_next(rig->dp, 0), 0);
    client_close(client);
}

static void bad_meter_mods_get_their_code(void **state) {
    static const struct {
        uint16_t command, flags;
        uint32_t id;
        uint16_t band, code;
    } cases[] = {
        {3, OFPMF_KBPS, 2, OFPMBT_DROP, OFPMMFC_BAD_COMMAND},
        {OFPMC_ADD, OFPMF_KBPS, 0, OFPMBT_DROP, OFPMMFC_INVALID_METER},
        {OFPMC_ADD, OFPMF_KBPS, OFPM_ALL, OFPMBT_DROP, OFPMMFC_INVALID_METER},
        {OFPMC_ADD, OFPMF_KBPS | OFPMF_PKTPS, 2, OFPMBT_DROP, OFPMMFC_BAD_FLAGS},
        {OFPMC_ADD, 1 << 4, 2, OFPMBT_DROP, OFPMMFC_BAD_FLAGS},
        {OFPMC_ADD, OFPMF_KBPS, 2, 3, OFPMMFC_BAD_BAND},
        {OFPMC_ADD, OFPMF_KBPS, 1, OFPMBT_DROP, OFPMMFC_METER_EXISTS},
        {OFPMC_MODIFY, OFPMF_KBPS, 2, OFPMBT_DROP, OFPMMFC_UNKNOWN_METER},
    };
    struct client *client = client_connect(*state);
    send_meter(client, OFPMC_ADD, OFPMF_KBPS, 1, OFPMBT_DROP);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        send_meter(client, cases[i].command, cases[i].flags, cases[i].id, cases[i].band);
        expect_error(client, 30, OFPET_METER_MOD_FAILED, cases[i].code);
    }
    client_close(client);
}

/* ---- Ports and tables ---- */

static void send_port_mod(struct client *client, uint32_t port, uint8_t mac, uint32_t config, uint32_t advertise) {
    struct request request;
    request_begin(&request, OFPT_PORT_MOD, 40);
    request_u32(&request, port);
    request_u32(&request, 0);
    request_bytes(&request, (const uint8_t[]){2, 0, 0, 0, 0, mac, 0, 0}, 8);
    request_u32(&request, config);
    request_u32(&request, config);
    request_u32(&request, advertise);
    request_u32(&request, 0);
    request_send(client, &request);
}

static void ports_are_configured(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_port_mod(client, 1, 1, OFPPC_NO_FWD, 0);
    expect_message(client, OFPT_PORT_STATUS, 0, sizeof(struct ofp_port_status));
    assert_int_equal(dp_port_get(rig->dp, 1)->config, OFPPC_NO_FWD);
    send_port_mod(client, RIG_PORTS + 1, 1, 0, 0);
    expect_error(client, 40, OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_PORT);
    send_port_mod(client, 1, 9, 0, 0);
    expect_error(client, 40, OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_HW_ADDR);
    send_port_mod(client, 1, 1, 1 << 1, 0);
    expect_error(client, 40, OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_CONFIG);
    send_port_mod(client, 1, 1, 0, 1);
    expect_error(client, 40, OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_ADVERTISE);
    client_close(client);
}

static void table_mods_are_checked(void **state) {
    static const struct {
        uint8_t table;
        uint32_t config;
        int code;
    } cases[] = {{0, 3, -1}, {OFPTT_ALL, 0, -1}, {254, 0, OFPTMFC_BAD_TABLE}, {0, 4, OFPTMFC_BAD_CONFIG}};
    struct client *client = client_connect(*state);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct request request;
        request_begin(&request, OFPT_TABLE_MOD, 50);
        request_u32(&request, (uint32_t) cases[i].table << 24);
        request_u32(&request, cases[i].config);
        request_send(client, &request);
        if (cases[i].code < 0)
            expect_silence(client);
        else
            expect_error(client, 50, OFPET_TABLE_MOD_FAILED, (uint16_t) cases[i].code);
    }
    client_close(client);
}

/* ---- Packet-outs ---- */

static void send_packet_out(struct client *client, uint32_t buffer_id, uint32_t in_port, uint16_t actions_len,
                            size_t data_len) {
    struct request request;
    request_begin(&request, OFPT_PACKET_OUT, 60);
    request_u32(&request, buffer_id);
    request_u32(&request, in_port);
    request_u16(&request, actions_len);
    request_zeros(&request, 6);
    request_u32(&request, 16);
    request_u32(&request, OFPP_TABLE);
    request_u64(&request, 0);
    request_zeros(&request, data_len);
    request_send(client, &request);
}

static void packets_are_handed_on(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_packet_out(client, OFP_NO_BUFFER, 2, 16, 60);
    expect_silence(client);
    assert_int_equal(rig->packet_outs, 1);
    assert_int_equal(rig->packet_out_port, 2);
    assert_int_equal(rig->packet_out_len, 60);
    send_packet_out(client, OFP_NO_BUFFER, OFPP_CONTROLLER, 16, 60);
    expect_silence(client);
    assert_int_equal(rig->packet_outs, 2);
    send_packet_out(client, 5, 2, 16, 60);
    expect_error(client, 60, OFPET_BAD_REQUEST, OFPBRC_BUFFER_UNKNOWN);
    send_packet_out(client, OFP_NO_BUFFER, RIG_PORTS + 1, 16, 60);
    expect_error(client, 60, OFPET_BAD_REQUEST, OFPBRC_BAD_PORT);
    send_packet_out(client, OFP_NO_BUFFER, OFPP_ANY, 16, 60);
    expect_error(client, 60, OFPET_BAD_REQUEST, OFPBRC_BAD_PORT);
    send_packet_out(client, OFP_NO_BUFFER, 2, 96, 60);
    expect_error(client, 60, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    send_packet_out(client, OFP_NO_BUFFER, 2, 16, 13);
    expect_error(client, 60, OFPET_BAD_REQUEST, OFPBRC_BAD_PACKET);
    assert_int_equal(rig->packet_outs, 2);
    client_close(client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(flows_come_and_go),
        TEST(bad_flow_mods_change_nothing),
        TEST(overlap_is_refused_when_asked),
        TEST(buffers_are_unknown),
        TEST(removed_flows_are_told),
        TEST(groups_come_and_go),
        TEST(bad_group_mods_get_their_code),
        TEST(bad_buckets_are_refused),
        TEST(meters_come_and_go),
        TEST(bad_meter_mods_get_their_code),
        TEST(ports_are_configured),
        TEST(table_mods_are_checked),
        TEST(packets_are_handed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
