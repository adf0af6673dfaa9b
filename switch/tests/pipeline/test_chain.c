/* Chains of groups: how long they may be, that they do not close, and what they cost. With WIDE ways from each group to
 * the next, whoever goes all ways of a longest chain does not come back. */
#include "bed.h"

#include "pipeline/group.h"
#include "pipeline/worker.h"

#define WIDE 8
#define DST UINT64_C(0x020010000001)
#define FAILED(code) OFPERR(OFPET_GROUP_MOD_FAILED, code)

/* Group `id` with WIDE buckets that watch, or lead to, another one. */
static void watcher(struct bed *bed, uint16_t command, uint32_t id, uint32_t watched, ofperr wanted) {
    struct action out = output_to(2);
    struct group_bucket buckets[WIDE];
    for (unsigned i = 0; i < WIDE; i++) {
        buckets[i] = (struct group_bucket){0, OFPP_ANY, watched, 1, &out};
    }
    bed_group(bed, command, OFPGT_FF, id, buckets, WIDE, wanted);
}

static void leader(struct bed *bed, uint16_t command, uint32_t id, unsigned wide, uint32_t to, ofperr wanted) {
    struct action action = to ? group_action(to) : output_to(2);
    struct group_bucket buckets[WIDE];
    for (unsigned i = 0; i < wide; i++) {
        buckets[i] = bucket_of(&action, 1);
    }
    bed_group(bed, command, OFPGT_ALL, id, buckets, wide, wanted);
}

static unsigned sent(struct bed *bed) {
    uint8_t frame[BED_FRAME];
    bed_frame(frame, DST, 0x0a000001, 0x14000001, 4790);
    bed_send(bed, 1, frame, BED_FRAME);
    return bed->n_sent;
}

static void rule_to(struct bed *bed, uint32_t id) {
    struct action to_group = group_action(id);
    bed_add(bed, 0, 1, NULL, &to_group, 1);
}

static void test_liveness_comes_along_a_chain(void **state) {
    struct bed *bed = *state;
    struct action out = output_to(2);
    struct group_bucket last = {0, 3, OFPG_ANY, 1, &out};
    bed_group(bed, OFPGC_ADD, OFPGT_FF, 1, &last, 1, 0);
    for (uint32_t id = 2; id <= GROUP_MAX_DEPTH; id++) {
        watcher(bed, OFPGC_ADD, id, id - 1, 0);
    }
    rule_to(bed, GROUP_MAX_DEPTH);
    assert_int_equal(sent(bed), 1);
    dp_port_set_state(bed->dp, 3, OFPPS_LINK_DOWN);
    assert_int_equal(sent(bed), 0); /* every way ends at the port that is down */
    last.watch_port = 4;
    bed_group(bed, OFPGC_MODIFY, OFPGT_FF, 1, &last, 1, 0);
    assert_int_equal(sent(bed), 1);
    bed_group(bed, OFPGC_DELETE, 0, 1, NULL, 0, 0);
    assert_int_equal(sent(bed), 0); /* what is not there is not live */
}

static void test_watching_does_not_close(void **state) {
    struct bed *bed = *state;
    watcher(bed, OFPGC_ADD, 1, 1, FAILED(OFPGMFC_LOOP));
    watcher(bed, OFPGC_ADD, 1, 2, 0); /* which is not there yet */
    watcher(bed, OFPGC_ADD, 2, 1, FAILED(OFPGMFC_LOOP));
    watcher(bed, OFPGC_ADD, 2, 3, 0);
    watcher(bed, OFPGC_ADD, 3, 1, FAILED(OFPGMFC_LOOP));
    struct action back = group_action(1);
    struct group_bucket mixed = {0, 4, OFPG_ANY, 1, &back};
    bed_group(bed, OFPGC_ADD, OFPGT_FF, 3, &mixed, 1, 0); /* a way for packets, none for liveness */
}

static void test_chains_are_bounded_at_either_end(void **state) {
    struct bed *bed = *state;
    for (uint32_t id = 1; id <= GROUP_MAX_DEPTH; id++) {
        leader(bed, OFPGC_ADD, id, WIDE, id - 1, 0);
    }
    leader(bed, OFPGC_ADD, 99, WIDE, GROUP_MAX_DEPTH, FAILED(OFPGMFC_CHAINING_UNSUPPORTED));
    leader(bed, OFPGC_ADD, 99, WIDE, 0, 0);
    leader(bed, OFPGC_MODIFY, 1, WIDE, 99, FAILED(OFPGMFC_CHAINING_UNSUPPORTED));
    leader(bed, OFPGC_MODIFY, 1, WIDE, GROUP_MAX_DEPTH, FAILED(OFPGMFC_LOOP));
    leader(bed, OFPGC_MODIFY, 2, WIDE, 99, 0); /* as long as it was */
}

static void test_copies_of_a_packet_have_an_end(void **state) {
    struct bed *bed = *state;
    struct dp_port_stats stats;
    for (uint32_t id = 1; id <= GROUP_MAX_DEPTH; id++) {
        leader(bed, OFPGC_ADD, id, 2, id - 1, 0);
    }
    rule_to(bed, 12);
    assert_int_equal(sent(bed), 4096); /* 2^12: all */
    struct action to_group[] = {group_action(GROUP_MAX_DEPTH)};
    bed_add(bed, 0, 1, NULL, to_group, 1);
    dp_port_stats(bed->dp, 1, &stats);
    assert_int_equal(stats.rx_dropped, 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(sent(bed), COPIES_MAX + 1); /* the packet itself, too */
    }
    dp_port_stats(bed->dp, 1, &stats);
    assert_true(stats.rx_dropped > 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_liveness_comes_along_a_chain),
        TEST(test_watching_does_not_close),
        TEST(test_chains_are_bounded_at_either_end),
        TEST(test_copies_of_a_packet_have_an_end),
    };
    return cmocka_run_group_tests(tests, bed_eal, NULL);
}
