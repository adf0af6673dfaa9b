/* The rows of the match fields, their place in the key, and their prerequisites (section 7.2.3.7 and 7.2.3.8). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <rte_byteorder.h>

#include "packet/field.h"

static void test_rows(void **state) {
    static const uint8_t bits[FIELD_COUNT] = {32, 32, 64, 48,  48, 16, 13, 3,  6,  2,  8,  32, 32,  16,
                                              16, 16, 16, 16,  16, 8,  8,  16, 32, 32, 48, 48, 128, 128,
                                              20, 8,  8,  128, 48, 48, 20, 3,  1,  24, 64, 9};
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        const struct field_info *info = field_by_id(i);
        assert_int_equal(info->id, i);
        assert_int_equal(info->n_bits, bits[i]);
        assert_true(info->n_bytes * 8 >= info->n_bits && info->n_bytes <= FIELD_MAX_BYTES);
    }
    assert_null(field_by_id(FIELD_COUNT));
    assert_int_equal(field_by_id(FIELD_IPV6_FLABEL)->n_bytes, 4);
    assert_int_equal(field_by_id(FIELD_PBB_ISID)->n_bytes, 3);
    assert_false(field_by_id(FIELD_METADATA)->settable); /* section 7.2.5: no header fields */
    assert_false(field_by_id(FIELD_IN_PORT)->settable);
    assert_false(field_by_id(FIELD_IN_PHY_PORT)->settable);
}

static void all_ones(const struct field_info *info, uint8_t value[FIELD_MAX_BYTES]) {
    memset(value, 0xff, FIELD_MAX_BYTES);
    if (info->n_bits % 8) {
        value[info->n_bytes - info->n_bits / 8 - 1] = (uint8_t) ((1U << info->n_bits % 8) - 1);
        memset(value, 0, info->n_bytes - info->n_bits / 8 - 1);
    }
}

/* Whatever else is in the key, a field comes back as it went in, and takes exactly its bits. */
static void test_every_field_round_trips(void **state) {
    for (unsigned id = 0; id < FIELD_COUNT; id++) {
        const struct field_info *info = field_by_id(id);
        uint8_t ones[FIELD_MAX_BYTES], zeros[FIELD_MAX_BYTES] = {0}, got[FIELD_MAX_BYTES];
        struct flow flow = {0}, before;
        all_ones(info, ones);
        field_set(id, &flow, ones);
        field_get(id, &flow, got);
        assert_memory_equal(got, ones, info->n_bytes);
        unsigned bits_set = 0;
        for (unsigned w = 0; w < FLOW_WORDS; w++) {
            bits_set += (unsigned) __builtin_popcountll(flow.word[w]);
        }
        unsigned flags = flow.tp_present == 1 || flow.nd_sll_present == 1 || flow.nd_tll_present == 1;
        assert_int_equal(bits_set, info->n_bits + flags);
        memset(&flow, 0xff, sizeof flow);
        before = flow;
        field_set(id, &flow, ones);
        flow.tp_present = flow.nd_sll_present = flow.nd_tll_present = UINT16_MAX;
        assert_memory_equal(&flow, &before, sizeof flow);
        field_set(id, &flow, zeros);
        field_get(id, &flow, got);
        assert_memory_equal(got, zeros, info->n_bytes);
    }
}

static void require(struct match *match, enum field_id id, const void *value) {
    uint8_t ones[FIELD_MAX_BYTES];
    all_ones(field_by_id(id), ones);
    field_set(id, &match->value, value);
    field_set(id, &match->mask, ones);
}

static struct match of_type(const char *eth_type, const char *ip_proto) {
    struct match match = {0};
    require(&match, FIELD_ETH_TYPE, eth_type);
    if (ip_proto) {
        require(&match, FIELD_IP_PROTO, ip_proto);
    }
    return match;
}

static void allows(const struct match *match, const enum field_id *fields, unsigned n) {
    for (unsigned id = 0; id < FIELD_COUNT; id++) {
        bool listed = false;
        for (unsigned i = 0; i < n; i++) {
            listed |= fields[i] == id;
        }
        if (field_prerequisites_met(id, match) != listed) {
            fail_msg("%s is %s", field_by_id(id)->name, listed ? "refused" : "allowed");
        }
    }
}

#define FREE                                                                                                           \
    FIELD_IN_PORT, FIELD_METADATA, FIELD_ETH_DST, FIELD_ETH_SRC, FIELD_ETH_TYPE, FIELD_VLAN_VID, FIELD_TUNNEL_ID
#define IP FIELD_IP_DSCP, FIELD_IP_ECN, FIELD_IP_PROTO
#define IPV4 IP, FIELD_IPV4_SRC, FIELD_IPV4_DST
#define IPV6 IP, FIELD_IPV6_SRC, FIELD_IPV6_DST, FIELD_IPV6_FLABEL, FIELD_IPV6_EXTHDR
#define ICMP6 IPV6, FIELD_ICMPV6_TYPE, FIELD_ICMPV6_CODE
#define ALLOWS(MATCH, ...)                                                                                             \
    allows(MATCH, (const enum field_id[]){FREE, ##__VA_ARGS__},                                                        \
           sizeof((enum field_id[]){FREE, ##__VA_ARGS__}) / sizeof(enum field_id))

static void test_prerequisites(void **state) {
    struct match m = {0};
    ALLOWS(&m);
    require(&m, FIELD_IN_PORT, "\0\0\0\1");
    ALLOWS(&m, FIELD_IN_PHY_PORT);
    m = of_type("\x08\x00", NULL);
    ALLOWS(&m, IPV4);
    m = of_type("\x86\xdd", NULL);
    ALLOWS(&m, IPV6);
    m = of_type("\x08\x06", NULL);
    ALLOWS(&m, FIELD_ARP_OP, FIELD_ARP_SPA, FIELD_ARP_TPA, FIELD_ARP_SHA, FIELD_ARP_THA);
    m = of_type("\x88\x48", NULL);
    ALLOWS(&m, FIELD_MPLS_LABEL, FIELD_MPLS_TC, FIELD_MPLS_BOS);
    m = of_type("\x88\xe7", NULL);
    ALLOWS(&m, FIELD_PBB_ISID);
    m = of_type("\x08\x00", "\x06");
    ALLOWS(&m, IPV4, FIELD_TCP_SRC, FIELD_TCP_DST);
    m = of_type("\x86\xdd", "\x11");
    ALLOWS(&m, IPV6, FIELD_UDP_SRC, FIELD_UDP_DST);
    m = of_type("\x08\x00", "\x84");
    ALLOWS(&m, IPV4, FIELD_SCTP_SRC, FIELD_SCTP_DST);
    m = of_type("\x08\x00", "\x01");
    ALLOWS(&m, IPV4, FIELD_ICMPV4_TYPE, FIELD_ICMPV4_CODE);
    m = of_type("\x86\xdd", "\x3a");
    ALLOWS(&m, ICMP6);
    require(&m, FIELD_ICMPV6_TYPE, "\x87");
    ALLOWS(&m, ICMP6, FIELD_IPV6_ND_TARGET, FIELD_IPV6_ND_SLL);
    require(&m, FIELD_ICMPV6_TYPE, "\x88");
    ALLOWS(&m, ICMP6, FIELD_IPV6_ND_TARGET, FIELD_IPV6_ND_TLL);
}

static void test_vlan_prerequisite(void **state) {
    struct match m = {0};
    require(&m, FIELD_VLAN_VID, "\x00\x00"); /* OFPVID_NONE */
    ALLOWS(&m);
    require(&m, FIELD_VLAN_VID, "\x10\x05");
    ALLOWS(&m, FIELD_VLAN_PCP);
    m = (struct match){0};
    field_set(FIELD_VLAN_VID, &m.value, (const uint8_t *) "\x10\x00"); /* any tag */
    field_set(FIELD_VLAN_VID, &m.mask, (const uint8_t *) "\x10\x00");
    ALLOWS(&m, FIELD_VLAN_PCP);
}

/* A masked prerequisite is none. */
static void test_masked_prerequisite(void **state) {
    struct match m = of_type("\x08\x00", NULL);
    m.mask.eth_type = RTE_BE16(0xff00);
    ALLOWS(&m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_every_field_round_trips),
        cmocka_unit_test(test_prerequisites),
        cmocka_unit_test(test_vlan_prerequisite),
        cmocka_unit_test(test_masked_prerequisite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
