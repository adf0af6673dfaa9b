/* Matches, actions and instructions: what is decoded, what is refused and with which code, and that nothing is lost on
 * the way back. No datapath. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "openflow/action_codec.h"
#include "openflow/experimenter.h"
#include "openflow/oxm.h"
#include "openflow/wire.h"

#define BAD_MATCH(code) OFPERR(OFPET_BAD_MATCH, OFPBMC_##code)
#define BAD_ACTION(code) OFPERR(OFPET_BAD_ACTION, OFPBAC_##code)
#define BAD_INSTRUCTION(code) OFPERR(OFPET_BAD_INSTRUCTION, OFPBIC_##code)

struct bytes {
    uint8_t data[512];
    size_t len;
};

/* "8000 0a02 0800" and the like. */
static struct bytes hex(const char *text) {
    struct bytes bytes = {.len = 0};
    for (; *text; text++) {
        char digits[3] = {text[0], text[1], 0};
        if (*text == ' ')
            continue;
        bytes.data[bytes.len++] = (uint8_t) strtoul(digits, NULL, 16);
        text++;
    }
    return bytes;
}

static struct bytes match_of(const char *oxms) {
    struct bytes tlvs = hex(oxms), whole = {.len = 4};
    whole.data[1] = OFPMT_OXM;
    whole.data[2] = (uint8_t) ((4 + tlvs.len) >> 8);
    whole.data[3] = (uint8_t) (4 + tlvs.len);
    memcpy(whole.data + 4, tlvs.data, tlvs.len);
    whole.len = (4 + tlvs.len + 7) / 8 * 8;
    return whole;
}

static ofperr decode_match(const char *oxms, struct match *match) {
    struct bytes bytes = match_of(oxms);
    size_t used = 0;
    ofperr error = oxm_decode_match(bytes.data, bytes.len, match, &used);
    if (!error)
        assert_int_equal(used, bytes.len);
    return error;
}

/* ---- Matches ---- */

#define ETH_IPV4 "80000a02 0800 "
#define ETH_IPV6 "80000a02 86dd "
#define ETH_ARP "80000a02 0806 "
#define ETH_MPLS "80000a02 8847 "
#define ETH_PBB "80000a02 88e7 "
#define VLAN_ANY "80000d04 1000 1000 "

static void every_field_survives_the_round_trip(void **state) {
    static const char *const matches[] = {
        "",
        "80000004 00000001",
        "80000004 00000001 80000204 00000002",
        "80000408 0123456789abcdef",
        "80000510 0123000000000000 ffff000000000000",
        "80000606 020000000001 80000806 020000000002",
        "8000070c 010000000000 010000000000",
        "80000c02 0000",
        "80000c02 1005 80000e01 07",
        VLAN_ANY "80000e01 03",
        ETH_IPV4 "80001001 3f 80001201 03 80001401 06 80001604 0a000001 80001908 0a000000 ff000000 80001a02 0050",
        ETH_IPV4 "80001401 06 80001a02 0050 80001c02 1f90",
        ETH_IPV4 "80001401 11 80001e02 0035 80002002 0035",
        ETH_IPV4 "80001401 84 80002202 0001 80002402 0002",
        ETH_IPV4 "80001401 01 80002601 08 80002801 00",
        ETH_ARP "80002a02 0001 80002c04 0a000001 80002e04 0a000002 80003006 020000000001 80003206 020000000002",
        ETH_IPV6 "80003410 20010db8000000000000000000000001 80003720 20010db8000000000000000000000000 "
                 "ffffffff000000000000000000000000 80003804 000fffff 80004e02 01ff",
        ETH_IPV6 "80001401 3a 80003a01 80 80003c01 00",
        ETH_IPV6 "80001401 3a 80003a01 87 80003e10 20010db8000000000000000000000001 80004006 020000000001",
        ETH_IPV6 "80001401 3a 80003a01 88 80003e10 20010db8000000000000000000000001 80004206 020000000001",
        ETH_MPLS "80004404 000fffff 80004601 07 80004801 01",
        ETH_PBB "80004b06 000001 0000ff",
        "80004c08 00000000000000ff",
        ETH_IPV6 "80004f04 0001 0001",
    };
    (void) state;
    for (size_t i = 0; i < sizeof matches / sizeof *matches; i++) {
        struct match match, again;
        struct buf out = {0};
        size_t used = 0;
        struct bytes sent = match_of(matches[i]);
        ofperr error = decode_match(matches[i], &match);
        assert_int_equal(error, 0);
        oxm_encode_match(&out, &match);
        assert_int_equal(oxm_decode_match(buf_data(&out), buf_len(&out), &again, &used), 0);
        assert_memory_equal(&match, &again, sizeof match);
        assert_int_equal(buf_len(&out), sent.len);
        buf_free(&out);
    }
}

static void bad_matches_get_their_code(void **state) {
    static const struct {
        const char *oxms;
        ofperr error;
    } cases[] = {
        {"8000", BAD_MATCH(BAD_LEN)},                         /* a header cut short */
        {"80000004 0000", BAD_MATCH(BAD_LEN)},                /* a payload cut short */
        {"80000003 000001", BAD_MATCH(BAD_LEN)},              /* a length that is not the field's */
        {"80000108 00000001 ffffffff", BAD_MATCH(BAD_MASK)},  /* in_port cannot be masked */
        {"80005004 00000000", BAD_MATCH(BAD_FIELD)},          /* number 40 */
        {"00010004 00000001", BAD_MATCH(BAD_FIELD)},          /* a class of another switch */
        {"ffff0008 4f4e4600 00000001", BAD_MATCH(BAD_FIELD)}, /* experimenters' */
        {"80000004 00000000", BAD_MATCH(BAD_VALUE)},          /* port 0 */
        {"80000004 ffffffff", BAD_MATCH(BAD_VALUE)},          /* OFPP_ANY is no port */
        {"80000c02 0005", BAD_MATCH(BAD_VALUE)},              /* a VLAN id without OFPVID_PRESENT */
        {"80000c02 2000", BAD_MATCH(BAD_VALUE)},
        {"80000d04 1000 3000", BAD_MATCH(BAD_MASK)}, /* a mask beyond the field */
        {"80000510 0100000000000000 0000000000000000", BAD_MATCH(BAD_WILDCARDS)},
        {ETH_IPV4 "80001001 40", BAD_MATCH(BAD_VALUE)},
        {ETH_MPLS "80004801 02", BAD_MATCH(BAD_VALUE)},
        {"80000e01 03", BAD_MATCH(BAD_PREREQ)}, /* a priority without a tag */
        {"80000c02 0000 80000e01 03", BAD_MATCH(BAD_PREREQ)},
        {"80001604 0a000001", BAD_MATCH(BAD_PREREQ)},
        {"80001604 0a000001 " ETH_IPV4, BAD_MATCH(BAD_PREREQ)}, /* it must come before */
        {ETH_IPV6 "80001604 0a000001", BAD_MATCH(BAD_PREREQ)},
        {ETH_IPV4 "80001401 06 80001e02 0035", BAD_MATCH(BAD_PREREQ)},
        {ETH_IPV6 "80001401 3a 80003a01 87 80004206 020000000001", BAD_MATCH(BAD_PREREQ)},
        {"80000204 00000001", BAD_MATCH(BAD_PREREQ)}, /* in_phy_port without in_port */
        {"80000004 00000001 80000004 00000001", BAD_MATCH(DUP_FIELD)},
    };
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct match match;
        if (decode_match(cases[i].oxms, &match) != cases[i].error)
            fail_msg("%s: %x", cases[i].oxms, decode_match(cases[i].oxms, &match));
    }
}

static void match_structures_are_checked(void **state) {
    struct match match;
    size_t used;
    struct bytes standard = hex("0000 0004 00000000"), tiny = hex("0001 0003 00000000"),
                 cut = hex("0001 0009 00000000");
    (void) state;
    assert_int_equal(oxm_decode_match(standard.data, 8, &match, &used), BAD_MATCH(BAD_TYPE));
    assert_int_equal(oxm_decode_match(tiny.data, 8, &match, &used), BAD_MATCH(BAD_LEN));
    assert_int_equal(oxm_decode_match(cut.data, 8, &match, &used), BAD_MATCH(BAD_LEN));
    assert_int_equal(oxm_decode_match(cut.data, 3, &match, &used), BAD_MATCH(BAD_LEN));
}

static void masks_of_all_or_nothing_are_plain(void **state) {
    struct match exact, masked, all, none;
    (void) state;
    assert_int_equal(decode_match("80000606 020000000001", &exact), 0);
    assert_int_equal(decode_match("8000070c 020000000001 ffffffffffff", &masked), 0);
    assert_int_equal(decode_match("8000070c 000000000000 000000000000", &none), 0);
    assert_int_equal(decode_match("", &all), 0);
    assert_memory_equal(&exact, &masked, sizeof exact);
    assert_memory_equal(&all, &none, sizeof all);
    assert_int_equal(decode_match(ETH_IPV4 "80001401 06 80001b04 0000 0000", &none), 0);
    assert_int_equal(decode_match(ETH_IPV4 "80001401 06", &all), 0);
    assert_memory_equal(&all, &none, sizeof all);
}

/* ---- Actions ---- */

static struct action_pool pool;

static ofperr decode_actions(const char *text, enum action_use use, const char *oxms, unsigned *n) {
    struct bytes bytes = hex(text);
    const struct action *actions;
    struct match match;
    pool.n = 0;
    assert_int_equal(decode_match(oxms ? oxms : "", &match), 0);
    return actions_decode(bytes.data, bytes.len, use, oxms ? &match : NULL, &pool, &actions, n);
}

#define OUTPUT_1 "0000 0010 00000001 ffff 000000000000 "
#define OUTPUT_TABLE "0000 0010 fffffff9 ffff 000000000000 "
#define SET_ETH_DST "0019 0010 80000606 020000000001 0000 "
#define SET_IPV4_DST "0019 0010 80001804 0a000001 00000000 "
#define PUSH_VLAN "0011 0008 8100 0000 "
#define POP_VLAN "0012 0008 00000000 "
#define SET_VLAN_PCP "0019 0010 80000e01 05 00000000000000 "
#define PUSH_MPLS "0013 0008 8847 0000 "
#define POP_MPLS "0014 0008 0800 0000 "
#define SET_MPLS_LABEL "0019 0010 80004404 00000005 00000000 "
#define DEC_TTL "0018 0008 00000000 "
#define ARP_ND_REPLY "ffff 0018 51554b45 0001 020000000009 0000000000000000 "

static void actions_survive_the_round_trip(void **state) {
    static const char list[] =
        OUTPUT_1 SET_ETH_DST PUSH_VLAN POP_VLAN PUSH_MPLS SET_MPLS_LABEL POP_MPLS DEC_TTL ARP_ND_REPLY
        "0016 0008 00000007 000b 0008 00000000 000c 0008 00000000 000f 0008 40000000 0010 0008 00000000 "
        "0017 0008 40000000 001a 0008 88e7 0000 001b 0008 00000000 ";
    struct bytes sent = hex(list);
    struct buf out = {0};
    unsigned n = 0;
    (void) state;
    assert_int_equal(decode_actions(list, ACTIONS_LIST, NULL, &n), 0);
    actions_encode(&out, pool.items, n);
    assert_int_equal(buf_len(&out), sent.len);
    assert_memory_equal(buf_data(&out), sent.data, sent.len);
    buf_free(&out);
}

static void bad_actions_get_their_code(void **state) {
    static const struct {
        const char *actions;
        ofperr error;
    } cases[] = {
        {"0000 0010 00000001 ffff", BAD_ACTION(BAD_LEN)}, /* cut short */
        {"0000 0008 00000001", BAD_ACTION(BAD_LEN)},
        {"0012 0000 00000000", BAD_ACTION(BAD_LEN)},
        {"0012 0004", BAD_ACTION(BAD_LEN)},
        {"0012 0010 00000000 0000000000000000", BAD_ACTION(BAD_LEN)},
        {"0001 0008 00000000", BAD_ACTION(BAD_TYPE)},
        {"001c 0008 00000000", BAD_ACTION(BAD_TYPE)},
        {"0000 0010 00000000 ffff 000000000000", BAD_ACTION(BAD_OUT_PORT)},
        {"0000 0010 fffffffa ffff 000000000000", BAD_ACTION(BAD_OUT_PORT)}, /* NORMAL */
        {"0000 0010 ffffffff ffff 000000000000", BAD_ACTION(BAD_OUT_PORT)}, /* ANY */
        {OUTPUT_TABLE, BAD_ACTION(BAD_OUT_PORT)},
        {"0016 0008 ffffff01", BAD_ACTION(BAD_OUT_GROUP)},
        {"0015 0008 00000001", BAD_ACTION(BAD_QUEUE)},
        {"0011 0008 0800 0000", BAD_ACTION(BAD_ARGUMENT)},
        {"0013 0008 8100 0000", BAD_ACTION(BAD_ARGUMENT)},
        {"001a 0008 8100 0000", BAD_ACTION(BAD_ARGUMENT)},
        {"0019 0010 80000004 00000001 00000000", BAD_ACTION(BAD_SET_TYPE)}, /* in_port */
        {"0019 0010 80005004 00000001 00000000", BAD_ACTION(BAD_SET_TYPE)},
        {"0019 0010 00010004 00000001 00000000", BAD_ACTION(BAD_SET_TYPE)},
        {"0019 0010 80001804 0a00", BAD_ACTION(BAD_LEN)},
        {"0019 0008 80001804", BAD_ACTION(BAD_SET_LEN)},
        {"0019 0010 80001803 0a0000 0000000000", BAD_ACTION(BAD_SET_LEN)},
        {"0019 0018 80001804 0a000001 00000000 0000000000000000", BAD_ACTION(BAD_SET_LEN)},
        {"0019 0010 80001001 40 00000000000000", BAD_ACTION(BAD_SET_ARGUMENT)},
        {"0019 0010 80000c02 2000 000000000000", BAD_ACTION(BAD_SET_ARGUMENT)},
        {"0019 0010 80001908 0a000000 ff000000", ONF_ERROR(ONF_BAC_BAD_SET_MASK)},
        {"ffff 0008 00001234", BAD_ACTION(BAD_EXPERIMENTER)},
        {"ffff 0008 51554b45", BAD_ACTION(BAD_EXP_TYPE)},
        {"ffff 0010 51554b45 0002 000000000000", BAD_ACTION(BAD_EXP_TYPE)},
        {"ffff 0010 51554b45 0001 000000000000", BAD_ACTION(BAD_LEN)},
    };
    unsigned n;
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (decode_actions(cases[i].actions, ACTIONS_LIST, NULL, &n) != cases[i].error)
            fail_msg("%s: %x", cases[i].actions, decode_actions(cases[i].actions, ACTIONS_LIST, NULL, &n));
    assert_int_equal(decode_actions(OUTPUT_TABLE, ACTIONS_PACKET_OUT, NULL, &n), 0);
}

static void actions_must_suit_the_match(void **state) {
    static const struct {
        const char *match, *actions;
        bool suits;
    } cases[] = {
        {"", SET_ETH_DST OUTPUT_1, true},
        {"", SET_IPV4_DST, false},
        {ETH_IPV4, SET_IPV4_DST, true},
        {ETH_IPV6, SET_IPV4_DST, false},
        {"", SET_VLAN_PCP, false},
        {VLAN_ANY, SET_VLAN_PCP, true},
        {"", PUSH_VLAN SET_VLAN_PCP, true}, /* it pushes what it sets */
        {VLAN_ANY, POP_VLAN SET_VLAN_PCP, false},
        {"80000c02 0000", POP_VLAN, false}, /* nothing to pop */
        {"", POP_VLAN, true},               /* of the packets that have one */
        {ETH_IPV4, PUSH_MPLS SET_MPLS_LABEL, true},
        {ETH_IPV4, SET_MPLS_LABEL, false},
        {ETH_IPV4, PUSH_MPLS SET_IPV4_DST, false},
        {ETH_MPLS, POP_MPLS SET_IPV4_DST, true},
        {ETH_IPV4, POP_MPLS, false},
        {ETH_ARP, DEC_TTL, false},
        {ETH_IPV6, DEC_TTL, true},
        {"80000b04 0806 0f06", DEC_TTL, true}, /* a masked type leaves open what the packet is */
        {"80000b04 0806 0f06", SET_IPV4_DST, false},
    };
    unsigned n;
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ofperr error = decode_actions(cases[i].actions, ACTIONS_LIST, cases[i].match, &n);
        if (error != (cases[i].suits ? 0 : BAD_ACTION(MATCH_INCONSISTENT)))
            fail_msg("%s with %s: %x", cases[i].match, cases[i].actions, error);
    }
}

static void action_sets_are_in_order_of_execution(void **state) {
    static const uint8_t order[] = {ACTION_POP_VLAN,  ACTION_PUSH_MPLS, ACTION_PUSH_VLAN, ACTION_DEC_NW_TTL,
                                    ACTION_SET_FIELD, ACTION_SET_FIELD, ACTION_OUTPUT};
    unsigned n;
    (void) state;
    assert_int_equal(decode_actions("0000 0010 00000009 ffff 000000000000 " SET_IPV4_DST PUSH_VLAN SET_ETH_DST PUSH_MPLS
                                        DEC_TTL POP_VLAN OUTPUT_1 SET_IPV4_DST,
                                    ACTIONS_SET, NULL, &n),
                     0);
    assert_int_equal(n, sizeof order);
    for (unsigned i = 0; i < n; i++)
        assert_int_equal(pool.items[i].type, order[i]);
    assert_int_equal(pool.items[n - 1].port, 1); /* the later output took the place of the earlier */
}

/* ---- Instructions ---- */

static ofperr decode_instructions(const char *text, uint8_t table, struct instructions *instructions) {
    struct bytes bytes = hex(text);
    struct match match = {0};
    pool.n = 0;
    return instructions_decode(bytes.data, bytes.len, table, &match, &pool, instructions);
}

static void instructions_survive_the_round_trip(void **state) {
    static const char text[] =
        "0006 0008 00000005 0004 0018 00000000 " OUTPUT_1 "0005 0008 00000000 0003 0018 00000000 " OUTPUT_1
        "0002 0018 00000000 0123456789abcdef ffffffffffffffff 0001 0008 05000000";
    struct bytes sent = hex(text);
    struct instructions instructions;
    struct buf out = {0};
    (void) state;
    assert_int_equal(decode_instructions(text, 4, &instructions), 0);
    instructions_encode(&out, &instructions);
    assert_int_equal(buf_len(&out), sent.len);
    assert_memory_equal(buf_data(&out), sent.data, sent.len);
    buf_free(&out);
}

static void bad_instructions_get_their_code(void **state) {
    static const struct {
        const char *text;
        ofperr error;
    } cases[] = {
        {"0001 0004", BAD_INSTRUCTION(BAD_LEN)},
        {"0001 0010 05000000", BAD_INSTRUCTION(BAD_LEN)},
        {"0001 0010 05000000 0000000000000000", BAD_INSTRUCTION(BAD_LEN)},
        {"0002 0010 00000000 0000000000000000", BAD_INSTRUCTION(BAD_LEN)},
        {"0000 0008 00000000", BAD_INSTRUCTION(UNKNOWN_INST)},
        {"0007 0008 00000000", BAD_INSTRUCTION(UNKNOWN_INST)},
        {"ffff 0008 00001234", BAD_INSTRUCTION(BAD_EXPERIMENTER)},
        {"0001 0008 04000000", BAD_INSTRUCTION(BAD_TABLE_ID)}, /* to itself */
        {"0001 0008 03000000", BAD_INSTRUCTION(BAD_TABLE_ID)}, /* backwards */
        {"0001 0008 fe000000", BAD_INSTRUCTION(BAD_TABLE_ID)}, /* to where there is none */
        {"0005 0008 00000000 0005 0008 00000000", ONF_ERROR(ONF_BIC_DUP_INST)},
        {"0006 0008 00000000", OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_INVALID_METER)},
        {"0004 0010 00000000 0001 0008 00000000", BAD_ACTION(BAD_TYPE)},
    };
    struct instructions instructions;
    (void) state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (decode_instructions(cases[i].text, 4, &instructions) != cases[i].error)
            fail_msg("%s: %x", cases[i].text, decode_instructions(cases[i].text, 4, &instructions));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_field_survives_the_round_trip), cmocka_unit_test(bad_matches_get_their_code),
        cmocka_unit_test(match_structures_are_checked),        cmocka_unit_test(masks_of_all_or_nothing_are_plain),
        cmocka_unit_test(actions_survive_the_round_trip),      cmocka_unit_test(bad_actions_get_their_code),
        cmocka_unit_test(actions_must_suit_the_match),         cmocka_unit_test(action_sets_are_in_order_of_execution),
        cmocka_unit_test(instructions_survive_the_round_trip), cmocka_unit_test(bad_instructions_get_their_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
