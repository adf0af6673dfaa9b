/* Set-field of every field: each packet must come out as if it had been made with the new value, checksums included. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "frame.h"
#include "packet/field.h"
#include "packet/packet.h"

static enum packet_verdict set(struct rte_mbuf *packet, enum field_id field, const void *value) {
    struct flow flow;
    struct layers layers, after;
    struct action action = {.type = ACTION_SET_FIELD, .field = field};
    memcpy(action.value, value, field_by_id(field)->n_bytes);
    flow_extract(packet, 0, 0, 0, 0, &flow, &layers);
    enum packet_verdict verdict = packet_edit(packet, &layers, &action);
    flow_extract(packet, 0, 0, 0, 0, &flow, &after);
    assert_memory_equal(&layers, &after, sizeof layers);
    return verdict;
}

/* Setting `field` to `value` turns the frame `from` into `to`. */
static void turns(const struct frame *from, enum field_id field, const void *value, const struct frame *to) {
    struct rte_mbuf *packet = frame_packet(from);
    assert_int_equal(set(packet, field, value), PACKET_OK);
    assert_is_frame(packet, to);
}

static void test_ethernet(void **state) {
    struct frame from = frame_of(0x0800, TCP), to = from;
    const uint8_t mac[6] = {2, 9, 8, 7, 6, 5};
    memcpy(to.eth_dst, mac, 6);
    turns(&from, FIELD_ETH_DST, mac, &to);
    to = from;
    memcpy(to.eth_src, mac, 6);
    turns(&from, FIELD_ETH_SRC, mac, &to);
    from.eth_type = 0x1111;
    from.n_vlan = 1;
    from.vlan[0].tpid = 0x8100;
    to = from;
    to.eth_type = 0x2222;
    turns(&from, FIELD_ETH_TYPE, "\x22\x22", &to);
}

static void test_vlan(void **state) {
    struct frame from = frame_of(0x0800, TCP), to;
    turns(&from, FIELD_VLAN_VID, "\x10\x05", &from); /* no tag to set it in */
    from.n_vlan = 2;
    from.vlan[0].tpid = 0x88a8;
    from.vlan[0].tci = 0x7064;
    from.vlan[1].tpid = 0x8100;
    from.vlan[1].tci = 0x2003;
    to = from;
    to.vlan[0].tci = 0x7005;
    turns(&from, FIELD_VLAN_VID, "\x10\x05", &to);
    to.vlan[0].tci = 0xd064;
    turns(&from, FIELD_VLAN_PCP, "\x06", &to);
}

static void test_ip_header(void **state) {
    static const uint16_t types[] = {0x0800, 0x86dd};
    for (unsigned i = 0; i < 2; i++) {
        struct frame from = frame_of(types[i], UDP), to = from;
        to.tos = 0xba;
        turns(&from, FIELD_IP_DSCP, "\x2e", &to);
        to.tos = 0x29;
        turns(&from, FIELD_IP_ECN, "\x01", &to);
    }
    struct frame from = frame_of(0x86dd, UDP), to = from;
    to.flow_label = 0xfedcb;
    turns(&from, FIELD_IPV6_FLABEL, "\x00\x0f\xed\xcb", &to);
}

/* The transport stays as it is: only who reads it changes. */
static void test_ip_proto(void **state) {
    struct frame from = frame_of(0x0800, 200), to = from;
    to.ip_proto = 201;
    turns(&from, FIELD_IP_PROTO, "\xc9", &to);
    from.eth_type = to.eth_type = 0x86dd;
    from.n_extensions = to.n_extensions = 2;
    from.extensions[0] = to.extensions[0] = HOP;
    from.extensions[1] = to.extensions[1] = DST;
    turns(&from, FIELD_IP_PROTO, "\xc9", &to);
}

static void test_addresses_carry_transport_checksums(void **state) {
    static const uint8_t v4_protocols[] = {TCP, UDP, SCTP, ICMP, 200}, v6_protocols[] = {TCP, UDP, SCTP, ICMPV6, 200};
    static const uint8_t v6[16] = {0xfd, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (unsigned i = 0; i < sizeof v4_protocols; i++) {
        struct frame from = frame_of(0x0800, v4_protocols[i]), to = from;
        to.ipv4_src = 0xfffefdfc;
        turns(&from, FIELD_IPV4_SRC, "\xff\xfe\xfd\xfc", &to);
        to = from;
        to.ipv4_dst = 0;
        turns(&from, FIELD_IPV4_DST, "\x00\x00\x00\x00", &to);
        from = to = frame_of(0x86dd, v6_protocols[i]);
        memcpy(to.ipv6_src, v6, 16);
        turns(&from, FIELD_IPV6_SRC, v6, &to);
        to = from;
        memcpy(to.ipv6_dst, v6, 16);
        turns(&from, FIELD_IPV6_DST, v6, &to);
    }
}

/* RFC 8200, section 8.1: the pseudo-header has the last destination, which a routing header still holds. */
static void test_destination_under_routing_header(void **state) {
    struct frame f = frame_of(0x86dd, TCP);
    f.n_extensions = 1;
    f.extensions[0] = ROUTING;
    f.segments_left = 1;
    uint8_t bytes[FRAME_MAX];
    size_t n = frame_render(&f, bytes);
    struct rte_mbuf *packet = frame_packet(&f);
    f.ipv6_dst[15] = 99;
    assert_int_equal(set(packet, FIELD_IPV6_DST, f.ipv6_dst), PACKET_OK);
    assert_memory_equal(rte_pktmbuf_mtod_offset(packet, uint8_t *, 62), bytes + 62, n - 62);
    packet_free(packet);
    f.segments_left = 0;
    struct frame to = f;
    to.ipv6_dst[15] = 1;
    turns(&f, FIELD_IPV6_DST, to.ipv6_dst, &to);
}

static void test_ports(void **state) {
    static const struct {
        uint8_t proto;
        enum field_id src, dst;
    } kinds[] = {{TCP, FIELD_TCP_SRC, FIELD_TCP_DST},
                 {UDP, FIELD_UDP_SRC, FIELD_UDP_DST},
                 {SCTP, FIELD_SCTP_SRC, FIELD_SCTP_DST}};
    for (unsigned i = 0; i < 6; i++) {
        struct frame from = frame_of(i % 2 ? 0x86dd : 0x0800, kinds[i / 2].proto), to = from;
        to.tp_src = 0xabcd;
        turns(&from, kinds[i / 2].src, "\xab\xcd", &to);
        to = from;
        to.tp_dst = 0xffff;
        turns(&from, kinds[i / 2].dst, "\xff\xff", &to);
        turns(&from, kinds[(i / 2 + 1) % 3].dst, "\xff\xff", &from); /* another protocol's field */
    }
}

/* Every port in turn on one packet: among the sums is the one that comes out as zero, which UDP sends as 0xffff. */
static void test_udp_checksum_never_becomes_zero(void **state) {
    struct frame to = frame_of(0x0800, UDP);
    struct rte_mbuf *packet = frame_packet(&to);
    uint8_t bytes[FRAME_MAX];
    bool met_zero = false;
    for (unsigned port = 0; port < 0x10000; port++) {
        const uint8_t value[2] = {port >> 8, port & 0xff};
        assert_int_equal(set(packet, FIELD_UDP_DST, value), PACKET_OK);
        to.tp_dst = port;
        frame_render(&to, bytes);
        assert_memory_equal(rte_pktmbuf_mtod_offset(packet, uint8_t *, 34), bytes + 34, 8);
        met_zero |= bytes[40] == 0xff && bytes[41] == 0xff;
    }
    assert_true(met_zero);
    packet_free(packet);
}

static void test_udp_without_checksum_stays_so(void **state) {
    struct frame from = frame_of(0x0800, UDP), to;
    from.no_udp_checksum = true;
    to = from;
    to.tp_dst = 5;
    turns(&from, FIELD_UDP_DST, "\x00\x05", &to);
    to = from;
    to.ipv4_src = 1;
    turns(&from, FIELD_IPV4_SRC, "\x00\x00\x00\x01", &to);
}

static void test_icmp(void **state) {
    struct frame from = frame_of(0x0800, ICMP), to = from;
    to.tp_src = 13;
    turns(&from, FIELD_ICMPV4_TYPE, "\x0d", &to);
    to = from;
    to.tp_dst = 3;
    turns(&from, FIELD_ICMPV4_CODE, "\x03", &to);
    from = to = frame_of(0x86dd, ICMPV6);
    to.tp_src = 129;
    turns(&from, FIELD_ICMPV6_TYPE, "\x81", &to);
    to = from;
    to.tp_dst = 7;
    turns(&from, FIELD_ICMPV6_CODE, "\x07", &to);
    turns(&from, FIELD_ICMPV4_CODE, "\x07", &from);
}

static void test_neighbour_discovery(void **state) {
    static const uint8_t mac[6] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc},
                         target[16] = {0xfe, 0x80, [14] = 0xaa, [15] = 0xbb};
    struct frame from = frame_of(0x86dd, ICMPV6), to;
    from.tp_src = 135;
    from.nd_option = 1;
    to = from;
    memcpy(to.nd_target, target, 16);
    turns(&from, FIELD_IPV6_ND_TARGET, target, &to);
    to = from;
    memcpy(to.nd_address, mac, 6);
    turns(&from, FIELD_IPV6_ND_SLL, mac, &to);
    turns(&from, FIELD_IPV6_ND_TLL, mac, &from); /* a solicitation has none */
    from.tp_src = to.tp_src = 136;
    from.nd_option = to.nd_option = 2;
    turns(&from, FIELD_IPV6_ND_TLL, mac, &to);
    from.nd_option = 0;
    turns(&from, FIELD_IPV6_ND_TLL, mac, &from);
}

static void test_arp(void **state) {
    static const uint8_t mac[6] = {0x12, 0x34, 0x56, 0x78, 0x9a, 0xbc};
    struct frame from = frame_of(0x0806, 0), to;
    from.tp_src = 1;
    to = from;
    to.tp_src = 2;
    turns(&from, FIELD_ARP_OP, "\x00\x02", &to);
    to = from;
    to.ipv4_src = 0x01020304;
    turns(&from, FIELD_ARP_SPA, "\x01\x02\x03\x04", &to);
    to = from;
    to.ipv4_dst = 0x01020304;
    turns(&from, FIELD_ARP_TPA, "\x01\x02\x03\x04", &to);
    to = from;
    memcpy(to.arp_sha, mac, 6);
    turns(&from, FIELD_ARP_SHA, mac, &to);
    to = from;
    memcpy(to.arp_tha, mac, 6);
    turns(&from, FIELD_ARP_THA, mac, &to);
    turns(&from, FIELD_IPV4_SRC, "\x01\x02\x03\x04", &from);
}

static void test_mpls_and_pbb(void **state) {
    struct frame from = frame_of(0x0800, TCP), to;
    from.n_vlan = 1;
    from.vlan[0].tpid = 0x8100;
    from.n_mpls = 2;
    from.mpls[0] = 0x12345a40;
    from.mpls[1] = 0x00010140;
    to = from;
    to.mpls[0] = 0xfffffa40;
    turns(&from, FIELD_MPLS_LABEL, "\x00\x0f\xff\xff", &to);
    to.mpls[0] = 0x12345640;
    turns(&from, FIELD_MPLS_TC, "\x03", &to);
    to.mpls[0] = 0x12345b40;
    turns(&from, FIELD_MPLS_BOS, "\x01", &to);
    turns(&from, FIELD_PBB_ISID, "\x01\x02\x03", &from);
    from = frame_of(0x0800, TCP);
    from.pbb = true;
    from.itag = 0xa0111111;
    to = from;
    to.itag = 0xa0010203;
    turns(&from, FIELD_PBB_ISID, "\x01\x02\x03", &to);
    turns(&from, FIELD_MPLS_TC, "\x03", &from);
}

/* The first fragment has the header with the checksum, which counts the whole datagram by difference; SCTP's cannot. */
static void test_fragments(void **state) {
    struct frame from = frame_of(0x0800, UDP), to;
    from.ipv4_fragment = 0x2000;
    to = from;
    to.ipv4_dst = 7;
    turns(&from, FIELD_IPV4_DST, "\x00\x00\x00\x07", &to);
    from.ipv4_fragment = 0x0010;
    turns(&from, FIELD_UDP_DST, "\x00\x07", &from);
    from = frame_of(0x0800, SCTP);
    from.ipv4_fragment = 0x2000;
    struct rte_mbuf *packet = frame_packet(&from);
    assert_int_equal(set(packet, FIELD_SCTP_DST, "\x00\x07"), PACKET_DROP);
    packet_free(packet);
}

/* What was damaged on the way stays damaged, for its receiver to see. */
static void test_wrong_checksums_stay_wrong(void **state) {
    static const struct {
        uint8_t proto;
        uint16_t at;
        enum field_id field;
    } kinds[] = {{TCP, 50, FIELD_TCP_DST}, {UDP, 40, FIELD_UDP_DST}, {SCTP, 42, FIELD_SCTP_DST}};
    for (unsigned i = 0; i < 3; i++) {
        struct frame f = frame_of(0x0800, kinds[i].proto);
        uint8_t right[FRAME_MAX];
        struct rte_mbuf *packet = frame_packet(&f);
        rte_pktmbuf_mtod(packet, uint8_t *)[kinds[i].at] ^= 0x40;
        assert_int_equal(set(packet, kinds[i].field, "\x12\x34"), PACKET_OK);
        f.tp_dst = 0x1234;
        frame_render(&f, right);
        assert_memory_not_equal(rte_pktmbuf_mtod(packet, uint8_t *) + kinds[i].at, right + kinds[i].at, 2);
        packet_free(packet);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ethernet),
        cmocka_unit_test(test_vlan),
        cmocka_unit_test(test_ip_header),
        cmocka_unit_test(test_ip_proto),
        cmocka_unit_test(test_addresses_carry_transport_checksums),
        cmocka_unit_test(test_destination_under_routing_header),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_udp_checksum_never_becomes_zero),
        cmocka_unit_test(test_udp_without_checksum_stays_so),
        cmocka_unit_test(test_icmp),
        cmocka_unit_test(test_neighbour_discovery),
        cmocka_unit_test(test_arp),
        cmocka_unit_test(test_mpls_and_pbb),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_wrong_checksums_stay_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
