/* Text as ovs-ofctl writes it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "frame.h"
#include "packet/field.h"
#include "packet/format.h"

static void with(struct match *match, enum field_id id, const void *value, const void *mask) {
    field_set(id, &match->value, value);
    field_set(id, &match->mask, mask);
}

#define ONES "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"

static void test_match(void **state) {
    char text[256] = "";
    struct match m = {0};
    assert_int_equal(format_match(text, sizeof text, &m), 0);
    with(&m, FIELD_IN_PORT, "\0\0\0\3", ONES);
    with(&m, FIELD_ETH_TYPE, "\x08\x00", ONES);
    with(&m, FIELD_IP_PROTO, "\x06", ONES);
    with(&m, FIELD_VLAN_VID, "\x10\x64", "\x1f\xff");
    with(&m, FIELD_ETH_DST, "\1\0\0\0\0\0", "\1\0\0\0\0\0");
    with(&m, FIELD_IPV4_DST, "\x0a\0\0\0", "\xff\0\0\0");
    with(&m, FIELD_TCP_DST, "\0\x50", ONES);
    format_match(text, sizeof text, &m);
    assert_string_equal(text, "tcp,in_port=3,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00,dl_vlan=100,nw_dst=10.0.0.0/8,"
                              "tcp_dst=80");
}

static void test_match_of_vlan_and_odd_masks(void **state) {
    char text[256] = "";
    struct match m = {0};
    with(&m, FIELD_VLAN_VID, "\x00\x00", "\x1f\xff");
    with(&m, FIELD_METADATA, "\0\0\0\0\0\0\0\x12", "\0\0\0\0\0\0\0\xff");
    format_match(text, sizeof text, &m);
    assert_string_equal(text, "metadata=0x12/0xff,vlan_tci=0x0000/0x1fff");
    m = (struct match){0};
    text[0] = 0;
    with(&m, FIELD_VLAN_VID, "\x10\x00", "\x10\x00");
    with(&m, FIELD_ETH_TYPE, "\x88\xe7", ONES);
    with(&m, FIELD_PBB_ISID, "\0\1\2", ONES);
    format_match(text, sizeof text, &m);
    assert_string_equal(text, "dl_type=0x88e7,vlan_vid=0x1000/0x1000,pbb_isid=258");
}

static void test_appends_and_never_overflows(void **state) {
    char text[12] = "x ";
    struct match m = {0};
    with(&m, FIELD_IPV6_SRC, ONES, ONES);
    with(&m, FIELD_ETH_TYPE, "\x86\xdd", ONES);
    size_t whole = format_match(text, sizeof text, &m);
    assert_int_equal(whole, strlen("x ipv6,ipv6_src=ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"));
    assert_string_equal(text, "x ipv6,ipv6");
}

static void test_actions(void **state) {
    char text[512] = "";
    const struct action actions[] = {
        {.type = ACTION_PUSH_VLAN, .eth_type = RTE_BE16(0x88a8)},
        {.type = ACTION_SET_FIELD, .field = FIELD_VLAN_VID, .value = {0x10, 5}},
        {.type = ACTION_SET_FIELD, .field = FIELD_IPV4_DST, .value = {10, 0, 0, 1}},
        {.type = ACTION_DEC_NW_TTL},
        {.type = ACTION_ARP_ND_REPLY, .value = {2, 0, 0, 0, 0, 1}},
        {.type = ACTION_GROUP, .group_id = 7},
        {.type = ACTION_OUTPUT, .port = 4},
        {.type = ACTION_OUTPUT, .port = 0xfffffff8},
        {.type = ACTION_OUTPUT, .port = 0xfffffffd, .max_len = 128},
    };
    format_actions(text, sizeof text, actions, 9);
    assert_string_equal(text, "push_vlan:0x88a8,set_field:4101->vlan_vid,set_field:10.0.0.1->nw_dst,dec_ttl,"
                              "arp_nd_reply(02:00:00:00:00:01),group:7,output:4,IN_PORT,CONTROLLER:128");
    text[0] = 0;
    format_actions(text, sizeof text, NULL, 0);
    assert_string_equal(text, "drop");
}

static void test_instructions(void **state) {
    char text[256] = "";
    const struct action output = {.type = ACTION_OUTPUT, .port = 2};
    struct instructions in = {.meter_id = 9,
                              .has_apply = true,
                              .has_clear = true,
                              .has_write = true,
                              .has_metadata = true,
                              .has_goto = true,
                              .goto_table = 3,
                              .n_apply = 1,
                              .n_write = 1,
                              .apply = &output,
                              .write = &output,
                              .metadata = 0x10,
                              .metadata_mask = 0xf0};
    format_instructions(text, sizeof text, &in);
    assert_string_equal(text,
                        "meter:9,output:2,clear_actions,write_actions(output:2),write_metadata:0x10/0xf0,goto_table:3");
    text[0] = 0;
    format_instructions(text, sizeof text, &(struct instructions){.goto_table = GOTO_NONE});
    assert_string_equal(text, "drop");
}

static void test_flow(void **state) {
    char text[256] = "";
    struct frame f = frame_of(0x0800, UDP);
    struct rte_mbuf *packet = frame_packet(&f);
    struct flow flow;
    struct layers layers;
    flow_extract(packet, 1, 1, 0, 0, &flow, &layers);
    packet_free(packet);
    format_flow(text, sizeof text, &flow);
    assert_string_equal(text, "udp,in_port=1,dl_dst=02:00:00:00:00:0d,dl_src=02:00:00:00:00:05,vlan_tci=0x0000/0x1fff,"
                              "ip_dscp=10,nw_ecn=2,nw_src=10.0.0.1,nw_dst=192.168.1.2,udp_src=1000,udp_dst=2000");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_match),
        cmocka_unit_test(test_match_of_vlan_and_odd_masks),
        cmocka_unit_test(test_appends_and_never_overflows),
        cmocka_unit_test(test_actions),
        cmocka_unit_test(test_instructions),
        cmocka_unit_test(test_flow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
