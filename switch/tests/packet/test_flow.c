/* flow_extract() against frames of every kind (specification 1.3.5, section 7.2.3), and the algebra of matches. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "frame.h"
#include "packet/flow.h"

static struct flow extract(const struct frame *frame, struct layers *layers) {
    struct flow flow;
    struct layers unused;
    struct rte_mbuf *packet = frame_packet(frame);
    flow_extract(packet, 3, 4, 5, 6, &flow, layers ? layers : &unused);
    packet_free(packet);
    return flow;
}

static void test_pipeline_and_ethernet(void **state) {
    struct frame f = frame_of(0x1234, 0);
    struct layers layers;
    struct flow flow = extract(&f, &layers);
    assert_int_equal(flow.in_port, 3);
    assert_int_equal(flow.in_phy_port, 4);
    assert_int_equal(flow.metadata, 5);
    assert_int_equal(flow.tunnel_id, 6);
    assert_memory_equal(flow.eth_dst, f.eth_dst, 6);
    assert_memory_equal(flow.eth_src, f.eth_src, 6);
    assert_int_equal(flow.eth_type, RTE_BE16(0x1234));
    assert_int_equal(flow.vlan_tci, 0);
    assert_int_equal(layers.l2_5 + layers.l3 + layers.l4, 0);
}

/* The words that the classifier loads straight from a packet are the bytes of the packet. */
static void test_words_are_packet_bytes(void **state) {
    struct frame f = frame_of(0x0800, UDP);
    uint8_t bytes[FRAME_MAX];
    frame_render(&f, bytes);
    struct flow flow = extract(&f, NULL);
    assert_memory_equal(&flow.word[FW_ETH0], bytes, 8);
    assert_memory_equal(&flow.word[FW_ETH1], bytes + 8, 6);
    assert_memory_equal(&flow.word[FW_IPV4], bytes + 26, 8);
    assert_memory_equal(&flow.word[FW_TP], bytes + 34, 4);
    assert_int_equal(flow.tp_present, 1);
}

static void test_outermost_vlan_and_type_behind_all(void **state) {
    struct frame f = frame_of(0x0800, TCP);
    f.n_vlan = 2;
    f.vlan[0].tpid = 0x88a8;
    f.vlan[0].tci = 0xa064;
    f.vlan[1].tpid = 0x8100;
    f.vlan[1].tci = 0x0007;
    struct layers layers;
    struct flow flow = extract(&f, &layers);
    assert_int_equal(flow.vlan_tci, RTE_BE16(0xb064));
    assert_int_equal(flow.eth_type, RTE_BE16(0x0800));
    assert_int_equal(layers.l3, 22);
    assert_int_equal(layers.l4, 42);
}

/* A priority tag (VLAN 0) is a tag: OFPVID_PRESENT tells it from no tag at all. */
static void test_priority_tag_is_present(void **state) {
    struct frame f = frame_of(0x0800, TCP);
    f.n_vlan = 1;
    f.vlan[0].tpid = 0x8100;
    assert_int_equal(extract(&f, NULL).vlan_tci, RTE_BE16(0x1000));
}

static void test_ipv4(void **state) {
    struct frame f = frame_of(0x0800, SCTP);
    struct layers layers;
    struct flow flow = extract(&f, &layers);
    assert_int_equal(flow.ip_proto, SCTP);
    assert_int_equal(flow.ip_tos, 0x2a);
    assert_int_equal(flow.ipv4_src, rte_cpu_to_be_32(f.ipv4_src));
    assert_int_equal(flow.ipv4_dst, rte_cpu_to_be_32(f.ipv4_dst));
    assert_int_equal(flow.tp_src, RTE_BE16(1000));
    assert_int_equal(flow.tp_dst, RTE_BE16(2000));
    assert_int_equal(layers.l3, 14);
    assert_int_equal(layers.l4, 34);
}

/* Section 7.3.2: a fragment matches no entry that has a field that the fragment lacks. */
static void test_later_fragment_has_no_ports(void **state) {
    struct frame f = frame_of(0x0800, UDP);
    f.ipv4_fragment = 0x2001;
    struct layers layers;
    struct flow flow = extract(&f, &layers);
    assert_int_equal(flow.ip_proto, UDP);
    assert_int_equal(flow.word[FW_TP], 0);
    assert_int_equal(layers.l4, 0);
    f.ipv4_fragment = 0x2000;
    assert_int_equal(extract(&f, NULL).tp_src, RTE_BE16(1000));
}

static void test_ipv6_and_icmpv6(void **state) {
    struct frame f = frame_of(0x86dd, ICMPV6);
    struct flow flow = extract(&f, NULL);
    assert_int_equal(flow.ip_tos, 0x2a);
    assert_int_equal(flow.ipv6_flabel, RTE_BE32(0x12345));
    assert_memory_equal(flow.ipv6_src, f.ipv6_src, 16);
    assert_memory_equal(flow.ipv6_dst, f.ipv6_dst, 16);
    assert_int_equal(flow.tp_src, RTE_BE16(128));
    assert_int_equal(flow.ipv6_exthdr, 0);
}

struct extension_case {
    unsigned n;
    uint8_t kinds[6];
    uint16_t flags; /* OFPIEH_*: NONEXT 1, ESP 2, AUTH 4, DEST 8, FRAG 0x10, ROUTER 0x20, HOP 0x40, UNREP 0x80, UNSEQ
                       0x100 */
};

static void test_extension_headers(void **state) {
    static const struct extension_case cases[] = {
        {6, {HOP, DST, ROUTING, FRAGMENT, AH, DST}, 0x7c},
        {1, {ROUTING}, 0x20},
        {2, {DST, DST}, 0x08},
        {3, {DST, DST, DST}, 0x88},
        {2, {ROUTING, ROUTING}, 0xa0},
        {2, {AH, ROUTING}, 0x124},
        {2, {ROUTING, HOP}, 0x120},
        {2, {HOP, HOP}, 0xc0},
        {3, {FRAGMENT, DST, AH}, 0x11c},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct frame f = frame_of(0x86dd, UDP);
        f.n_extensions = cases[i].n;
        memcpy(f.extensions, cases[i].kinds, 6);
        struct flow flow = extract(&f, NULL);
        assert_int_equal(rte_be_to_cpu_16(flow.ipv6_exthdr), cases[i].flags);
        assert_int_equal(flow.ip_proto, UDP);
        assert_int_equal(flow.tp_dst, RTE_BE16(2000));
    }
}

static void test_no_next_header_and_esp(void **state) {
    struct frame f = frame_of(0x86dd, NONE);
    assert_int_equal(extract(&f, NULL).ipv6_exthdr, RTE_BE16(1));
    f.ip_proto = ESP;
    struct flow flow = extract(&f, NULL);
    assert_int_equal(flow.ipv6_exthdr, RTE_BE16(2));
    assert_int_equal(flow.ip_proto, ESP);
}

static void test_later_ipv6_fragment(void **state) {
    struct frame f = frame_of(0x86dd, UDP);
    f.n_extensions = 1;
    f.extensions[0] = FRAGMENT;
    f.fragment = 0x0008;
    struct flow flow = extract(&f, NULL);
    assert_int_equal(flow.ip_proto, UDP);
    assert_int_equal(flow.ipv6_exthdr, RTE_BE16(0x10));
    assert_int_equal(flow.tp_present, 0);
}

static void test_neighbour_discovery(void **state) {
    struct frame f = frame_of(0x86dd, ICMPV6);
    f.tp_src = 135;
    f.nd_option = 1;
    struct flow flow = extract(&f, NULL);
    assert_memory_equal(flow.nd_target, f.nd_target, 16);
    assert_memory_equal(flow.nd_sll, f.nd_address, 6);
    assert_int_equal(flow.nd_sll_present, 1);
    assert_int_equal(flow.nd_tll_present, 0);
    f.tp_src = 136; /* a source address in an advertisement is not a field */
    assert_int_equal(extract(&f, NULL).nd_sll_present, 0);
    f.nd_option = 2;
    assert_memory_equal(extract(&f, NULL).nd_tll, f.nd_address, 6);
}

static void test_arp(void **state) {
    struct frame f = frame_of(0x0806, 0);
    f.tp_src = 2;
    f.arp_tha[5] = 9;
    struct flow flow = extract(&f, NULL);
    assert_int_equal(flow.arp_op, RTE_BE16(2));
    assert_int_equal(flow.ipv4_src, RTE_BE32(0x0a000001));
    assert_int_equal(flow.ipv4_dst, RTE_BE32(0xc0a80102));
    assert_memory_equal(flow.nd_sll, f.arp_sha, 6);
    assert_memory_equal(flow.nd_tll, f.arp_tha, 6);
    assert_int_equal(flow.ip_proto, 0);
}

static void test_mpls_hides_what_is_behind(void **state) {
    struct frame f = frame_of(0x0800, TCP);
    f.n_mpls = 2;
    f.mpls[0] = 0x12345a40;
    f.mpls[1] = 0x00010140;
    struct layers layers;
    struct flow flow = extract(&f, &layers);
    assert_int_equal(flow.eth_type, RTE_BE16(0x8847));
    assert_int_equal(flow.mpls_lse, RTE_BE32(0x12345a00));
    assert_int_equal(layers.l2_5, 14);
    assert_int_equal(layers.l3, 0);
    assert_int_equal(flow.ip_proto, 0);
}

static void test_pbb(void **state) {
    struct frame f = frame_of(0x0800, TCP);
    f.pbb = true;
    f.backbone_dst[0] = 2;
    f.backbone_vlan = 0x6005;
    f.itag = 0xa0abcdef;
    struct layers layers;
    struct flow flow = extract(&f, &layers);
    assert_int_equal(flow.eth_type, RTE_BE16(0x88e7));
    assert_int_equal(flow.pbb_isid, RTE_BE32(0xabcdef));
    assert_int_equal(flow.vlan_tci, RTE_BE16(0x7005));
    assert_memory_equal(flow.eth_dst, f.backbone_dst, 6);
    assert_int_equal(layers.l2_5, 18);
}

/* Every prefix of every kind of frame parses without a read out of bounds (the sanitizer's verdict), and what is cut
 * off is absent. */
static void test_truncated_everywhere(void **state) {
    struct frame kinds[] = {frame_of(0x0800, TCP), frame_of(0x86dd, ICMPV6), frame_of(0x0806, 0),
                            frame_of(0x86dd, UDP)};
    kinds[1].tp_src = 135;
    kinds[1].nd_option = 1;
    kinds[3].n_extensions = 3;
    memcpy(kinds[3].extensions, (uint8_t[]){HOP, ROUTING, AH}, 3);
    kinds[0].n_vlan = kinds[0].n_mpls = 1;
    for (unsigned kind = 0; kind < 4; kind++) {
        uint8_t bytes[FRAME_MAX];
        size_t n = frame_render(&kinds[kind], bytes);
        for (size_t cut = 0; cut < n; cut++) {
            struct flow flow;
            struct layers layers;
            struct rte_mbuf *packet = bytes_packet(bytes, cut, 0);
            flow_extract(packet, 1, 1, 0, 0, &flow, &layers);
            assert_true(layers.l4 < cut || layers.l4 == 0);
            assert_true(flow.tp_present == 0 || layers.l3);
            packet_free(packet);
        }
    }
}

static void test_malformed_ipv4(void **state) {
    struct frame f = frame_of(0x0800, TCP);
    uint8_t bytes[FRAME_MAX];
    size_t n = frame_render(&f, bytes);
    static const struct { uint8_t at, value; } damage[] = {{14, 0x44}, {14, 0x65}, {17, 10}};
    for (unsigned i = 0; i < 3; i++) {
        uint8_t copy[FRAME_MAX];
        memcpy(copy, bytes, n);
        copy[damage[i].at] = damage[i].value;
        struct rte_mbuf *packet = bytes_packet(copy, n, 0);
        struct flow flow;
        struct layers layers;
        flow_extract(packet, 1, 1, 0, 0, &flow, &layers);
        assert_int_equal(layers.l3, 0);
        assert_int_equal(flow.ipv4_src, 0);
        packet_free(packet);
    }
}

static void test_match_algebra(void **state) {
    struct match any = {0}, ten = {0}, host = {0}, other = {0};
    ten.mask.ipv4_dst = RTE_BE32(0xff000000);
    ten.value.ipv4_dst = RTE_BE32(0x0a000000);
    host.mask.ipv4_dst = RTE_BE32(0xffffffff);
    host.value.ipv4_dst = RTE_BE32(0x0a010203);
    other.mask.in_port = UINT32_MAX;
    other.value.in_port = 1;
    assert_true(match_covers(&any, &ten) && match_covers(&ten, &host) && !match_covers(&host, &ten));
    assert_true(match_overlaps(&ten, &host) && match_overlaps(&host, &other) && !match_covers(&ten, &other));
    host.value.ipv4_dst = RTE_BE32(0x0b010203);
    assert_false(match_overlaps(&ten, &host));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pipeline_and_ethernet),
        cmocka_unit_test(test_words_are_packet_bytes),
        cmocka_unit_test(test_outermost_vlan_and_type_behind_all),
        cmocka_unit_test(test_priority_tag_is_present),
        cmocka_unit_test(test_ipv4),
        cmocka_unit_test(test_later_fragment_has_no_ports),
        cmocka_unit_test(test_ipv6_and_icmpv6),
        cmocka_unit_test(test_extension_headers),
        cmocka_unit_test(test_no_next_header_and_esp),
        cmocka_unit_test(test_later_ipv6_fragment),
        cmocka_unit_test(test_neighbour_discovery),
        cmocka_unit_test(test_arp),
        cmocka_unit_test(test_mpls_hides_what_is_behind),
        cmocka_unit_test(test_pbb),
        cmocka_unit_test(test_truncated_everywhere),
        cmocka_unit_test(test_malformed_ipv4),
        cmocka_unit_test(test_match_algebra),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
