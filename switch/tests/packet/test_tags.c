/* Push, pop and TTL actions by sections 5.12 and 7.2.5 of the specification, and the ARP/ND responder. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <rte_byteorder.h>
#include <rte_mbuf.h>

#include "frame.h"
#include "packet/packet.h"

static enum packet_verdict edit(struct rte_mbuf *packet, const struct action *action) {
    struct flow flow;
    struct layers layers, after;
    flow_extract(packet, 0, 0, 0, 0, &flow, &layers);
    enum packet_verdict verdict = packet_edit(packet, &layers, action);
    flow_extract(packet, 0, 0, 0, 0, &flow, &after);
    assert_memory_equal(&layers, &after, sizeof layers);
    return verdict;
}

static void turns(const struct frame *from, struct action action, const struct frame *to) {
    struct rte_mbuf *packet = frame_packet(from);
    assert_int_equal(edit(packet, &action), PACKET_OK);
    assert_is_frame(packet, to);
}

static void refuses(const struct frame *from, struct action action, enum packet_verdict verdict) {
    struct rte_mbuf *packet = frame_packet(from);
    assert_int_equal(edit(packet, &action), verdict);
    assert_is_frame(packet, from); /* untouched */
}

static struct action typed(enum action_type type, uint16_t eth_type) {
    return (struct action){.type = type, .eth_type = rte_cpu_to_be_16(eth_type)};
}

static void test_vlan(void **state) {
    struct frame plain = frame_of(0x0800, TCP), one = plain, two;
    one.n_vlan = 1;
    one.vlan[0].tpid = 0x8100;
    turns(&plain, typed(ACTION_PUSH_VLAN, 0x8100), &one); /* fields without a like one to copy are zero */
    turns(&one, typed(ACTION_POP_VLAN, 0), &plain);
    one.vlan[0].tci = 0xa064;
    two = one;
    two.n_vlan = 2;
    two.vlan[1] = one.vlan[0];
    two.vlan[0].tpid = 0x88a8; /* ID and priority are copied from the outer tag (section 5.12.1) */
    turns(&one, typed(ACTION_PUSH_VLAN, 0x88a8), &two);
    turns(&two, typed(ACTION_POP_VLAN, 0), &one);
    refuses(&plain, typed(ACTION_POP_VLAN, 0), PACKET_DROP);
}

static void test_mpls(void **state) {
    struct frame ip = frame_of(0x86dd, TCP), one = ip, two;
    one.n_mpls = 1;
    one.mpls[0] = 0x100 | 64; /* bottom of stack, TTL from IP */
    turns(&ip, typed(ACTION_PUSH_MPLS, 0x8847), &one);
    turns(&one, typed(ACTION_POP_MPLS, 0x86dd), &ip);
    one.mpls[0] = 0x12345b07;
    two = one;
    two.n_mpls = 2;
    two.mpls_type = 0x8848;
    two.mpls[0] = 0x12345a07; /* label, TC and TTL from the shim that was outermost */
    two.mpls[1] = 0x12345b07;
    turns(&one, typed(ACTION_PUSH_MPLS, 0x8848), &two);
    turns(&two, typed(ACTION_POP_MPLS, 0x8847), &one);
    refuses(&ip, typed(ACTION_POP_MPLS, 0x0800), PACKET_DROP);
    ip.eth_type = one.eth_type = 0x1234;
    one.mpls[0] = 0x100; /* no TTL to copy */
    turns(&ip, typed(ACTION_PUSH_MPLS, 0x8847), &one);
}

/* Section 5.12: a pushed MPLS tag is the outermost, immediately behind the Ethernet header and before other tags. */
static void test_mpls_goes_before_vlan(void **state) {
    struct frame tagged = frame_of(0x0800, TCP);
    tagged.n_vlan = 1;
    tagged.vlan[0].tpid = 0x8100;
    tagged.vlan[0].tci = 0x2005;
    uint8_t before[FRAME_MAX];
    size_t n = frame_render(&tagged, before);
    struct rte_mbuf *packet = frame_packet(&tagged);
    struct action push = typed(ACTION_PUSH_MPLS, 0x8847), pop = typed(ACTION_POP_MPLS, 0x8100);
    assert_int_equal(edit(packet, &push), PACKET_OK);
    const uint8_t *after = rte_pktmbuf_mtod(packet, const uint8_t *);
    assert_memory_equal(after, before, 12);
    assert_memory_equal(after + 12, "\x88\x47\x00\x00\x01\x40", 6);
    assert_memory_equal(after + 18, before + 14, n - 14);
    assert_int_equal(edit(packet, &pop), PACKET_OK);
    assert_is_frame(packet, &tagged);
}

static void test_pbb(void **state) {
    struct frame from = frame_of(0x0800, TCP), to;
    from.n_vlan = 1;
    from.vlan[0].tpid = 0x8100;
    from.vlan[0].tci = 0xa064;
    to = from;
    to.pbb = true;
    memcpy(to.backbone_dst, from.eth_dst, 6);
    memcpy(to.backbone_src, from.eth_src, 6);
    to.itag = 0xa0000000; /* I-PCP from the VLAN's priority */
    turns(&from, typed(ACTION_PUSH_PBB, 0x88e7), &to);
    to.backbone_dst[5] = 0x77; /* popping brings the customer's addresses back */
    turns(&to, typed(ACTION_POP_PBB, 0), &from);
    refuses(&from, typed(ACTION_POP_PBB, 0), PACKET_DROP);
    /* The backbone's own VLAN tag is not the action's to remove. */
    to.backbone_vlan = 0x2007;
    to.n_vlan = 0;
    struct frame tagged = to;
    tagged.pbb = false;
    tagged.n_vlan = 1;
    tagged.vlan[0].tpid = 0x88a8;
    tagged.vlan[0].tci = 0x2007;
    turns(&to, typed(ACTION_POP_PBB, 0), &tagged);
}

static void test_no_headroom(void **state) {
    struct frame f = frame_of(0x0800, TCP);
    struct rte_mbuf *packet = frame_packet(&f);
    packet->data_off = 3;
    memmove(packet->buf_addr, (uint8_t *) packet->buf_addr + 64 - 3, packet->data_len + 3);
    static const enum action_type pushes[] = {ACTION_PUSH_VLAN, ACTION_PUSH_MPLS, ACTION_PUSH_PBB};
    for (unsigned i = 0; i < 3; i++) {
        struct action action = typed(pushes[i], 0x8100);
        assert_int_equal(edit(packet, &action), PACKET_DROP);
    }
    assert_is_frame(packet, &f);
}

static void test_ip_ttl(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        struct frame from = frame_of(i ? 0x86dd : 0x0800, UDP), to = from;
        to.ttl = 63;
        turns(&from, typed(ACTION_DEC_NW_TTL, 0), &to);
        to.ttl = 200;
        turns(&from, (struct action){.type = ACTION_SET_NW_TTL, .ttl = 200}, &to);
        from.ttl = 1;
        refuses(&from, typed(ACTION_DEC_NW_TTL, 0), PACKET_INVALID_TTL);
        from.ttl = 0;
        refuses(&from, typed(ACTION_DEC_NW_TTL, 0), PACKET_INVALID_TTL);
    }
    struct frame arp = frame_of(0x0806, 0);
    turns(&arp, typed(ACTION_DEC_NW_TTL, 0), &arp);
}

static void test_mpls_ttl(void **state) {
    struct frame from = frame_of(0x0800, UDP), to;
    turns(&from, typed(ACTION_DEC_MPLS_TTL, 0), &from);
    from.n_mpls = 1;
    from.mpls[0] = 0x00064140;
    to = from;
    to.mpls[0] = 0x0006413f;
    turns(&from, typed(ACTION_DEC_MPLS_TTL, 0), &to);
    to.mpls[0] = 0x00064109;
    turns(&from, (struct action){.type = ACTION_SET_MPLS_TTL, .ttl = 9}, &to);
    turns(&from, typed(ACTION_DEC_NW_TTL, 0), &from); /* IP is behind MPLS */
    from.mpls[0] = 0x00064101;
    refuses(&from, typed(ACTION_DEC_MPLS_TTL, 0), PACKET_INVALID_TTL);
}

static void test_copy_ttl(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        struct frame from = frame_of(i ? 0x86dd : 0x0800, UDP), to;
        turns(&from, typed(ACTION_COPY_TTL_OUT, 0), &from); /* one header only */
        from.n_mpls = 1;
        from.mpls[0] = 0x00064110;
        to = from;
        to.mpls[0] = 0x00064140;
        turns(&from, typed(ACTION_COPY_TTL_OUT, 0), &to);
        to = from;
        to.ttl = 16;
        turns(&from, typed(ACTION_COPY_TTL_IN, 0), &to);
        from.n_mpls = 2;
        from.mpls[0] = 0x00064020;
        from.mpls[1] = 0x00065110;
        to = from;
        to.mpls[1] = 0x00065120;
        turns(&from, typed(ACTION_COPY_TTL_IN, 0), &to);
        to = from;
        to.mpls[0] = 0x00064010;
        turns(&from, typed(ACTION_COPY_TTL_OUT, 0), &to);
    }
}

static void test_copy_ttl_between_ip_headers(void **state) {
    for (unsigned i = 0; i < 2; i++) {
        struct frame from = frame_of(i ? 0x86dd : 0x0800, IPIP), to = from;
        to.ttl = 33;
        turns(&from, typed(ACTION_COPY_TTL_OUT, 0), &to);
        to = from;
        to.inner_ttl = 64;
        turns(&from, typed(ACTION_COPY_TTL_IN, 0), &to);
    }
}

static const uint8_t owner[6] = {2, 0, 0, 0, 0xaa, 0xbb};

static struct action reply_action(void) {
    struct action action = {.type = ACTION_ARP_ND_REPLY};
    memcpy(action.value, owner, 6);
    return action;
}

static void test_arp_reply(void **state) {
    struct frame from = frame_of(0x0806, 0), to;
    from.tp_src = 1;
    memset(from.eth_dst, 0xff, 6);
    to = from;
    to.tp_src = 2;
    memcpy(to.eth_dst, from.eth_src, 6);
    memcpy(to.eth_src, owner, 6);
    memcpy(to.arp_sha, owner, 6);
    memcpy(to.arp_tha, from.arp_sha, 6);
    to.ipv4_src = from.ipv4_dst;
    to.ipv4_dst = from.ipv4_src;
    turns(&from, reply_action(), &to);
    refuses(&to, reply_action(), PACKET_DROP); /* a reply is not answered */
    memcpy(from.arp_sha, owner, 6);            /* the owner's own probe */
    refuses(&from, reply_action(), PACKET_DROP);
    from = frame_of(0x0800, UDP);
    refuses(&from, reply_action(), PACKET_DROP);
}

static struct frame solicitation(void) {
    struct frame f = frame_of(0x86dd, ICMPV6);
    f.tp_src = 135;
    f.nd_option = 1;
    f.ttl = 255;
    return f;
}

static struct frame advertisement(const struct frame *to) {
    struct frame f = *to;
    f.tp_src = 136;
    f.nd_option = 2;
    f.nd_flags = 0x60;
    memcpy(f.eth_dst, to->eth_src, 6);
    memcpy(f.eth_src, owner, 6);
    memcpy(f.ipv6_dst, to->ipv6_src, 16);
    memcpy(f.ipv6_src, to->nd_target, 16);
    memcpy(f.nd_address, owner, 6);
    return f;
}

static void test_nd_reply(void **state) {
    struct frame from = solicitation(), to;
    from.n_vlan = 1;
    from.vlan[0].tpid = 0x8100;
    from.vlan[0].tci = 5;
    to = advertisement(&from);
    turns(&from, reply_action(), &to);
    refuses(&to, reply_action(), PACKET_DROP);
}

/* Duplicate address detection: no source address and no option; the answer is longer, and goes to all nodes. */
static void test_nd_reply_to_unspecified(void **state) {
    struct frame from = solicitation();
    memset(from.ipv6_src, 0, 16);
    from.nd_option = 0;
    struct frame to = advertisement(&from);
    to.nd_flags = 0x20;
    memcpy(to.eth_dst, "\x33\x33\x00\x00\x00\x01", 6);
    memcpy(to.ipv6_dst, "\xff\x02\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", 16);
    uint8_t bytes[FRAME_MAX];
    size_t n = frame_render(&from, bytes);
    struct rte_mbuf *packet = bytes_packet(bytes, n, 8);
    struct action action = reply_action();
    assert_int_equal(edit(packet, &action), PACKET_OK);
    assert_is_frame(packet, &to);
    refuses(&from, reply_action(), PACKET_DROP); /* no room for the option */
}

/* RFC 4861, section 7.1.1. */
static void test_invalid_solicitations(void **state) {
    struct frame f = solicitation();
    f.ttl = 254;
    refuses(&f, reply_action(), PACKET_DROP);
    f = solicitation();
    f.tp_dst = 1;
    refuses(&f, reply_action(), PACKET_DROP);
    f = solicitation();
    f.nd_target[0] = 0xff;
    refuses(&f, reply_action(), PACKET_DROP);
    f = solicitation();
    memcpy(f.eth_src, owner, 6);
    refuses(&f, reply_action(), PACKET_DROP);
    f = solicitation();
    struct rte_mbuf *packet = frame_packet(&f);
    rte_pktmbuf_mtod(packet, uint8_t *)[70] ^= 1; /* a damaged target */
    struct action action = reply_action();
    assert_int_equal(edit(packet, &action), PACKET_DROP);
    packet_free(packet);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vlan),
        cmocka_unit_test(test_mpls),
        cmocka_unit_test(test_mpls_goes_before_vlan),
        cmocka_unit_test(test_pbb),
        cmocka_unit_test(test_no_headroom),
        cmocka_unit_test(test_ip_ttl),
        cmocka_unit_test(test_mpls_ttl),
        cmocka_unit_test(test_copy_ttl),
        cmocka_unit_test(test_copy_ttl_between_ip_headers),
        cmocka_unit_test(test_arp_reply),
        cmocka_unit_test(test_nd_reply),
        cmocka_unit_test(test_nd_reply_to_unspecified),
        cmocka_unit_test(test_invalid_solicitations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
