/* Every form of table against a linear search over the same rules, under random insertion, replacement and deletion. */
#include "bed.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/datapath.h"
#include "pipeline/hash.h"
#include "pipeline/tuple.h"

#define RULES 400
#define STEPS 3000
#define SPACE 24 /* values a field takes: few, so that rules meet packets and each other */

struct reference {
    struct match match;
    uint16_t priority;
};

struct trial {
    const char *form;
    void (*make)(struct match *match); /* a random match of the kind that leads to the form */
    bool by_mask;                      /* priority follows from the mask, as with routes */
};

static uint64_t pick(uint64_t below) {
    return ((uint64_t) random() << 31 | random()) % below;
}

static void make_all(struct match *match) {
    memset(match, 0, sizeof *match);
}

static void make_port(struct match *match) {
    memset(match, 0, sizeof *match);
    match_u(match, FIELD_IN_PORT, 1 + pick(SPACE));
}

static void make_l2(struct match *match) {
    memset(match, 0, sizeof *match);
    match_u(match, FIELD_ETH_DST, 0x020010000000 + pick(SPACE * SPACE));
}

static void make_five_tuple(struct match *match) {
    memset(match, 0, sizeof *match);
    match_u(match, FIELD_ETH_TYPE, 0x0800);
    match_u(match, FIELD_IP_PROTO, 17);
    match_u(match, FIELD_IPV4_SRC, 0x0a000000 + pick(SPACE));
    match_u(match, FIELD_IPV4_DST, 0x14000000 + pick(SPACE));
    match_u(match, FIELD_UDP_SRC, 1024);
    match_u(match, FIELD_UDP_DST, pick(SPACE));
}

static void make_route(struct match *match) {
    static const unsigned lengths[] = {0, 7, 8, 15, 16, 17, 23, 24, 25, 30, 31, 32};
    unsigned length = lengths[pick(RTE_DIM(lengths))];
    memset(match, 0, sizeof *match);
    match_u(match, FIELD_ETH_TYPE, 0x0800);
    if (length) {
        match_masked(match, FIELD_IPV4_DST, 0x14000000 + pick(SPACE) + (pick(3) << 16), UINT32_MAX << (32 - length));
    }
}

static void make_prefixes(struct match *match) {
    memset(match, 0, sizeof *match);
    match_u(match, FIELD_ETH_TYPE, 0x0800);
    match_masked(match, FIELD_IPV4_SRC, 0x0a000000 + pick(SPACE), UINT32_MAX << pick(8));
    match_masked(match, FIELD_IPV4_DST, 0x14000000 + pick(SPACE), UINT32_MAX << pick(8));
}

static void make_any(struct match *match) {
    memset(match, 0, sizeof *match);
    if (pick(2)) {
        match_u(match, FIELD_IN_PORT, 1 + pick(3));
    }
    if (pick(2)) {
        match_masked(match, FIELD_ETH_DST, 0x020010000000 + pick(SPACE), pick(2) ? 0xffffffffffff : 0xfffffffffff0);
    }
    if (pick(2)) {
        match_masked(match, FIELD_METADATA, pick(4), 3);
    }
    if (pick(2)) {
        match_u(match, FIELD_ETH_TYPE, 0x0800);
        match_masked(match, FIELD_IPV4_SRC, 0x0a000000 + pick(SPACE), UINT32_MAX << pick(5));
        if (pick(2)) {
            match_u(match, FIELD_IP_PROTO, 17);
            match_u(match, FIELD_UDP_DST, pick(4));
        }
    }
}

static struct flow random_flow(void) {
    struct match match = {0};
    make_five_tuple(&match);
    match_u(&match, FIELD_IN_PORT, 1 + pick(SPACE));
    match_u(&match, FIELD_ETH_DST, 0x020010000000 + pick(SPACE * SPACE));
    match_u(&match, FIELD_METADATA, pick(4));
    match_u(&match, FIELD_IPV4_DST, 0x14000000 + pick(SPACE) + (pick(3) << 16));
    return match.value;
}

static bool flow_in(const struct flow *flow, const struct match *match) {
    uint64_t differs = 0;
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        differs |= (flow->word[i] & match->mask.word[i]) ^ match->value.word[i];
    }
    return !differs;
}

static int linear_search(const struct reference *rules, unsigned n, const struct flow *flow) {
    int best = -1;
    for (unsigned i = 0; i < n; i++) {
        if (flow_in(flow, &rules[i].match) && (best < 0 || rules[i].priority > rules[best].priority)) {
            best = (int) i;
        }
    }
    return best;
}

static void compare(struct bed *bed, const struct reference *rules, unsigned n) {
    struct flow flow[DP_BATCH];
    const struct flow *flows[DP_BATCH];
    struct dp_flow *found[DP_BATCH] = {0};
    for (unsigned i = 0; i < DP_BATCH; i++) {
        flow[i] = random_flow();
        flows[i] = &flow[i];
    }
    const struct search *search = bed->dp->tables[0].search;
    if (search) {
        classifier_lookup(search, flows, DP_BATCH, bed->dp->state->version, found);
    }
    for (unsigned i = 0; i < DP_BATCH; i++) {
        int wanted = linear_search(rules, n, &flow[i]);
        assert_int_equal(found[i] == NULL, wanted < 0);
        if (found[i]) { /* of equal priority any will do (section 6.4), so long as it matches */
            assert_int_equal(found[i]->priority, rules[wanted].priority);
            assert_true(rule_matches(found[i], &flow[i]));
        }
    }
}

static unsigned mask_bits(const struct match *match) {
    unsigned n = 0;
    for (unsigned i = 0; i < FLOW_WORDS; i++) {
        n += __builtin_popcountll(match->mask.word[i]);
    }
    return n;
}

static unsigned add_random(struct bed *bed, const struct trial *trial, struct reference *rules, unsigned n) {
    struct match match;
    trial->make(&match);
    uint16_t priority = trial->by_mask ? mask_bits(&match) : pick(8);
    struct action action = output_to(1 + pick(BED_PORTS));
    bed_add(bed, 0, priority, &match, &action, 1);
    for (unsigned i = 0; i < n; i++) {
        if (rules[i].priority == priority && !memcmp(&rules[i].match, &match, sizeof match)) {
            return n;
        }
    }
    rules[n] = (struct reference){match, priority};
    return n + 1;
}

static unsigned delete_random(struct bed *bed, struct reference *rules, unsigned n) {
    unsigned victim = pick(n);
    struct flow_mod mod = add_mod(0, rules[victim].priority, NULL, 0);
    mod.command = OFPFC_DELETE_STRICT;
    mod.match = rules[victim].match;
    assert_int_equal(bed_mod(bed, &mod), 0);
    rules[victim] = rules[n - 1];
    return n - 1;
}

static void run_trial(struct bed *bed, const struct trial *trial) {
    static struct reference rules[RULES];
    unsigned n = 0;
    bool seen = false;
    for (unsigned step = 0; step < STEPS; step++) {
        bool grows = n < 2 || (n < RULES && pick(100) < (step < STEPS / 2 ? 60 : 45));
        n = grows ? add_random(bed, trial, rules, n) : delete_random(bed, rules, n);
        compare(bed, rules, n);
        struct dp_table_stats stats;
        dp_table_stats(bed->dp, 0, &stats);
        assert_int_equal(stats.active, n);
        seen = seen || !strcmp(stats.form, trial->form);
        dp_worker_quiescent(bed->worker);
    }
    assert_int_equal(bed_count(bed), n);
    assert_true(seen);
}

#define TRIAL(name, form, make, by_mask)                                                                               \
    static void name(void **state) {                                                                                   \
        run_trial(*state, &(struct trial){form, make, by_mask});                                                       \
    }
TRIAL(test_all_match, "all-match", make_all, false)
TRIAL(test_port_indexed, "port-indexed", make_port, false)
TRIAL(test_exact_l2, "exact", make_l2, false)
TRIAL(test_exact_five_tuple, "exact", make_five_tuple, false)
TRIAL(test_routes, "longest-prefix", make_route, true)
TRIAL(test_routes_of_any_priority, "tuple-space", make_route, false)
TRIAL(test_prefixes, "tuple-space", make_prefixes, false)
TRIAL(test_any, "tuple-space", make_any, false)

enum { SMALL_BUCKETS = 4 }; /* of a table that has not grown yet */

static struct match match_of_bucket(unsigned bucket, uint64_t *after) {
    struct match match;
    do {
        memset(&match, 0, sizeof match);
        match_u(&match, FIELD_ETH_DST, ++*after);
    } while (hash_word(0, match.value.word[FW_ETH0]) % SMALL_BUCKETS != bucket);
    return match;
}

/* Fill the bucket, of whose slots `taken` are taken, let one more key pass it by, and empty it but for those. */
static void pass_by(struct bed *bed, unsigned bucket, unsigned taken, uint64_t *after) {
    struct action action = output_to(2);
    struct match match[BUCKET_SLOTS];
    for (unsigned i = taken; i < BUCKET_SLOTS; i++) {
        match[i] = match_of_bucket(bucket, after);
        bed_add(bed, 0, 1, &match[i], &action, 1);
    }
    struct match passer = match_of_bucket(bucket, after);
    bed_add(bed, 0, 1, &passer, &action, 1);
    for (unsigned i = taken; i < BUCKET_SLOTS; i++) {
        struct flow_mod mod = add_mod(0, 1, NULL, 0);
        mod.command = OFPFC_DELETE_STRICT;
        mod.match = match[i];
        assert_int_equal(bed_mod(bed, &mod), 0);
    }
}

/* A search that finds nothing ends, even where every bucket was passed by. */
static void test_every_bucket_passed_by(void **state) {
    struct bed *bed = *state;
    uint64_t after = 0;
    uint8_t frame[BED_FRAME];
    for (unsigned bucket = 0; bucket < SMALL_BUCKETS; bucket++) {
        pass_by(bed, bucket, bucket > 0, &after);
    }
    assert_int_equal(bed_count(bed), SMALL_BUCKETS);
    bed_frame(frame, after + 1, 1, 2, 3);
    bed_send(bed, 1, frame, sizeof frame);
    assert_int_equal(bed->n_sent, 0);
    struct match match = match_of_bucket(0, &after); /* nor does the control thread search for ever */
    struct action action = output_to(2);
    bed_add(bed, 0, 1, &match, &action, 1);
    bed_frame(frame, after, 1, 2, 3);
    bed_send(bed, 1, frame, sizeof frame);
    assert_int_equal(bed->n_sent, 1);
}

static struct match prefix(unsigned length) {
    struct match match = {0};
    match_u(&match, FIELD_ETH_TYPE, 0x0800);
    match_masked(&match, FIELD_IPV4_DST, 0x14000001, UINT32_MAX << (32 - length));
    return match;
}

/* Between the removal of a shape's last rule and the end of the transaction its tuple is still there, but no rule that
 * comes back is taken for one of the priority that it had. */
static void test_a_shape_comes_back_with_another_priority(void **state) {
    struct bed *bed = *state;
    uint8_t frame[BED_FRAME];
    for (unsigned length = 8; length <= 32; length += 8) {
        struct match match = prefix(length);
        struct action action = output_to(length == 24 ? 2 : 3);
        bed_add(bed, 0, (uint16_t) length, &match, &action, 1);
    }
    assert_int_equal(bed->dp->tables[0].search->form, FORM_ROUTES);
    struct action action = output_to(4);
    struct flow_mod delete = add_mod(0, 32, NULL, 0), add = add_mod(0, 1, &action, 1);
    delete.command = OFPFC_DELETE_STRICT;
    delete.match = add.match = prefix(32);
    struct dp_txn *txn = dp_txn_begin(bed->dp, false);
    assert_int_equal(dp_flow_mod(txn, &delete), 0);
    assert_int_equal(dp_flow_mod(txn, &add), 0);
    for (int committed = 0; committed < 2; committed++) {
        bed_frame(frame, 1, 2, 0x14000001, 3);
        bed_send(bed, 1, frame, sizeof frame);
        assert_int_equal(bed->sent[0].port, 2);
        if (!committed) {
            dp_txn_commit(txn);
        }
    }
}

/* What waits for a grace period: rules, their tuples, and one list of tuples for all of them. */
static void test_many_masks_go_at_once(void **state) {
    struct bed *bed = *state;
    struct action action = output_to(2);
    const unsigned n = 24;
    for (unsigned length = 1; length <= n; length++) {
        struct match match = prefix(length);
        bed_add(bed, 0, (uint16_t) (n - length), &match, &action, 1);
    }
    struct flow_mod delete = add_mod(0, 0, NULL, 0);
    delete.command = OFPFC_DELETE;
    struct dp_txn *txn = dp_txn_begin(bed->dp, false);
    size_t before = bed->dp->rcu.fresh.n;
    assert_int_equal(dp_flow_mod(txn, &delete), 0);
    dp_txn_commit(txn);
    assert_int_equal(bed->dp->rcu.fresh.n - before, n + n + 1);
    assert_null(bed->dp->tables[0].search);
}

/* Keys that hold one number in several words still spread: few find their bucket full. */
static void test_related_words_spread(void **state) {
    struct bed *bed = *state;
    struct action action = output_to(2);
    const uint32_t n = 100000;
    for (uint32_t i = 0; i < n; i++) {
        struct match match;
        make_all(&match);
        match_u(&match, FIELD_ETH_TYPE, 0x0800);
        match_u(&match, FIELD_IP_PROTO, 17);
        match_u(&match, FIELD_IPV4_SRC, 0x0a000000 + i);
        match_u(&match, FIELD_IPV4_DST, 0x14000000 + i);
        match_u(&match, FIELD_UDP_SRC, 1024 + i % 60000);
        bed_add(bed, 0, 1, &match, &action, 1);
    }
    const struct buckets *buckets = bed->dp->tables[0].search->step[0].tuple->buckets;
    unsigned passed_by = 0;
    for (uint32_t i = 0; i <= buckets->mask; i++) {
        passed_by += buckets->bucket[i].overflow;
    }
    assert_in_range(passed_by, 0, n / 20);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_all_match),        TEST(test_port_indexed), TEST(test_exact_l2),
        TEST(test_exact_five_tuple), TEST(test_routes),       TEST(test_routes_of_any_priority),
        TEST(test_prefixes),         TEST(test_any),          TEST(test_every_bucket_passed_by),
        TEST(test_a_shape_comes_back_with_another_priority), TEST(test_many_masks_go_at_once),
        TEST(test_related_words_spread),
    };
    srandom(20261121);
    return cmocka_run_group_tests(tests, bed_eal, NULL);
}
