/* Flow mods and transactions: what each command does, timeouts, counters, and that a packet sees all of a bundle or
 * nothing. */
#include "bed.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "pipeline/datapath.h"

#define SWAPS 20000
#define SWAPS_VARIABLE "QUAKE_SWAPS" /* more of them: the benchmark's row 7 */
#define DST UINT64_C(0x020010000001)

static struct flow_mod mod_of(uint8_t command, uint64_t eth_dst, const struct action *apply) {
    struct flow_mod mod = add_mod(0, 1, apply, apply != NULL);
    mod.command = command;
    if (eth_dst) {
        match_u(&mod.match, FIELD_ETH_DST, eth_dst);
    }
    return mod;
}

static void send_frame(struct bed *bed, uint64_t eth_dst) {
    uint8_t frame[BED_FRAME];
    bed_frame(frame, eth_dst, 1, 2, 3);
    bed_send(bed, 1, frame, sizeof frame);
}

struct found {
    unsigned n;
    struct dp_flow_view view;
    struct dp_counter counter;
};

static bool note(void *aux, const struct dp_flow *flow) {
    struct found *found = aux;
    found->n++;
    dp_flow_view(flow, &found->view);
    found->counter = dp_flow_counter(flow);
    return true;
}

static struct found look(struct bed *bed) {
    struct found found = {0};
    struct dp_flow_filter all = {.table_id = OFPTT_ALL, .out_port = OFPP_ANY, .out_group = OFPG_ANY};
    dp_flow_each(bed->dp, &all, note, &found);
    return found;
}

static void test_add_replaces_and_keeps_counts_unless_told(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3);
    struct flow_mod mod = mod_of(OFPFC_ADD, DST, &a);
    mod.cookie = 1;
    assert_int_equal(bed_mod(bed, &mod), 0);
    send_frame(bed, DST);
    mod = mod_of(OFPFC_ADD, DST, &b);
    mod.cookie = 2;
    assert_int_equal(bed_mod(bed, &mod), 0);
    send_frame(bed, DST);
    assert_int_equal(bed->sent[0].port, 3);
    struct found found = look(bed);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.counter.packets, 2);
    assert_int_equal(found.view.cookie, 2);
    assert_int_equal(bed->n_removed, 0);
    mod.flags = OFPFF_RESET_COUNTS;
    assert_int_equal(bed_mod(bed, &mod), 0);
    assert_int_equal(look(bed).counter.packets, 0);
}

static void test_modify_and_delete(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3);
    for (uint64_t dst = 1; dst <= 4; dst++) {
        struct flow_mod mod = mod_of(OFPFC_ADD, dst, &a);
        mod.cookie = dst;
        assert_int_equal(bed_mod(bed, &mod), 0);
    }
    struct flow_mod some = mod_of(OFPFC_MODIFY, 0, &b);
    some.cookie = 2;
    some.cookie_mask = 2;
    assert_int_equal(bed_mod(bed, &some), 0);
    for (uint64_t dst = 1; dst <= 4; dst++) {
        send_frame(bed, dst);
        assert_int_equal(bed->sent[0].port, dst & 2 ? 3 : 2);
    }
    struct flow_mod strict = mod_of(OFPFC_DELETE_STRICT, 0, NULL);
    assert_int_equal(bed_mod(bed, &strict), 0);
    assert_int_equal(bed_count(bed), 4);
    struct flow_mod by_port = mod_of(OFPFC_DELETE, 0, NULL);
    by_port.table_id = OFPTT_ALL;
    by_port.out_port = 3;
    assert_int_equal(bed_mod(bed, &by_port), 0);
    assert_int_equal(bed_count(bed), 2);
    assert_int_equal(bed->n_removed, 2);
    struct flow_mod covered = mod_of(OFPFC_DELETE, 1, NULL);
    assert_int_equal(bed_mod(bed, &covered), 0);
    assert_int_equal(bed_count(bed), 1);
    assert_int_equal(bed->last_removed_cookie, 1);
}

static void test_refusals(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2);
    struct flow_mod mod = mod_of(OFPFC_ADD, DST, &a);
    mod.table_id = 254;
    assert_int_equal(bed_mod(bed, &mod), OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_TABLE_ID));
    mod.table_id = 3;
    mod.instructions.has_goto = true;
    mod.instructions.goto_table = 3;
    assert_int_equal(bed_mod(bed, &mod), OFPERR(OFPET_BAD_INSTRUCTION, OFPBIC_BAD_TABLE_ID));
    mod = mod_of(OFPFC_ADD, DST, &a);
    assert_int_equal(bed_mod(bed, &mod), 0);
    mod = mod_of(OFPFC_ADD, 0, &a);
    match_u(&mod.match, FIELD_IN_PORT, 1);
    mod.flags = OFPFF_CHECK_OVERLAP;
    assert_int_equal(bed_mod(bed, &mod), OFPERR(OFPET_FLOW_MOD_FAILED, OFPFMFC_OVERLAP));
    mod.priority = 2;
    assert_int_equal(bed_mod(bed, &mod), 0);
    assert_int_equal(bed_count(bed), 2);
}

/* Time is data: a rule that says it was made long ago is due. */
static void test_timeouts(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2);
    struct flow_mod mod = mod_of(OFPFC_ADD, 1, &a);
    mod.hard_timeout = 10;
    mod.created_ms = now_ms() - 11000;
    assert_int_equal(bed_mod(bed, &mod), 0);
    mod = mod_of(OFPFC_ADD, 2, &a);
    mod.idle_timeout = 10;
    assert_int_equal(bed_mod(bed, &mod), 0);
    dp_poll(bed->dp);
    assert_int_equal(bed->n_removed, 1);
    assert_int_equal(bed->last_reason, DP_REMOVED_HARD);
    send_frame(bed, 2);
    expiry_run(bed->dp, now_ms() + 9000);
    assert_int_equal(bed->n_removed, 1);
    expiry_run(bed->dp, now_ms() + 10001);
    assert_int_equal(bed->n_removed, 2);
    assert_int_equal(bed->last_reason, DP_REMOVED_IDLE);
    assert_int_equal(bed_count(bed), 0);
}

/* The idle time runs from the last packet, not from the rule's making. */
static void test_idle_timeout_counts_from_last_packet(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2);
    struct flow_mod mod = mod_of(OFPFC_ADD, 1, &a);
    mod.idle_timeout = 5;
    assert_int_equal(bed_mod(bed, &mod), 0);
    struct dp_flow *rule = classifier_find(&bed->dp->tables[0], &mod.match, 1);
    rule->active_ms -= 60000;
    expiry_remove(&bed->dp->expiry, rule);
    expiry_add(&bed->dp->expiry, rule);
    send_frame(bed, 1);
    dp_poll(bed->dp);
    assert_int_equal(bed->n_removed, 0);
}

static void test_modified_rule_is_as_idle_as_it_was(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3);
    struct flow_mod mod = mod_of(OFPFC_ADD, 1, &a);
    mod.idle_timeout = 5;
    assert_int_equal(bed_mod(bed, &mod), 0);
    classifier_find(&bed->dp->tables[0], &mod.match, 1)->active_ms -= 60000;
    send_frame(bed, 1);
    struct flow_mod modify = mod_of(OFPFC_MODIFY, 1, &b);
    struct dp_txn *txn = dp_txn_begin(bed->dp, true);
    assert_int_equal(dp_flow_mod(txn, &modify), 0);
    assert_int_equal(dp_txn_commit(txn), 0);
    dp_poll(bed->dp);
    assert_int_equal(bed->n_removed, 0);
}

static void test_atomic_abort_leaves_everything(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3), to_group = group_action(1);
    struct group_bucket bucket = {1, OFPP_ANY, OFPG_ANY, 1, &b};
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
    struct flow_mod mods[] = {mod_of(OFPFC_ADD, 1, &b), mod_of(OFPFC_MODIFY, 2, &b), mod_of(OFPFC_DELETE, 3, NULL),
                              mod_of(OFPFC_ADD, 4, &to_group), mod_of(OFPFC_DELETE, 4, NULL)};
    for (uint64_t dst = 1; dst <= 3; dst++) {
        struct flow_mod mod = mod_of(OFPFC_ADD, dst, &a);
        assert_int_equal(bed_mod(bed, &mod), 0);
        send_frame(bed, dst);
    }
    struct dp_txn *txn = dp_txn_begin(bed->dp, true);
    struct group_mod group = {OFPGC_ADD, OFPGT_INDIRECT, 1, 1, &bucket};
    assert_int_equal(dp_group_mod(txn, &group), 0);
    assert_int_equal(dp_port_mod(txn, 2, mac, OFPPC_NO_FWD, OFPPC_NO_FWD), 0);
    for (unsigned i = 0; i < RTE_DIM(mods); i++) {
        assert_int_equal(dp_flow_mod(txn, &mods[i]), 0);
    }
    for (uint64_t dst = 1; dst <= 3; dst++) { /* nothing shows before the commit */
        send_frame(bed, dst);
        assert_int_equal(bed->sent[0].port, 2);
    }
    dp_txn_abort(txn);
    assert_int_equal(bed_count(bed), 3);
    assert_int_equal(dp_group_next(bed->dp, OFPG_ANY), OFPG_ANY);
    for (uint64_t dst = 1; dst <= 4; dst++) {
        send_frame(bed, dst);
        assert_int_equal(bed->n_sent, dst <= 3);
    }
    assert_int_equal(look(bed).counter.packets, 3);
    assert_int_equal(bed->n_removed, 0);
}

static void test_atomic_commit_and_counts(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3);
    struct flow_mod add = mod_of(OFPFC_ADD, 1, &a), modify = mod_of(OFPFC_MODIFY, 1, &b);
    struct flow_mod delete = mod_of(OFPFC_DELETE, 2, NULL), second = mod_of(OFPFC_ADD, 2, &a);
    assert_int_equal(bed_mod(bed, &add), 0);
    assert_int_equal(bed_mod(bed, &second), 0);
    send_frame(bed, 1);
    struct dp_txn *txn = dp_txn_begin(bed->dp, true);
    assert_int_equal(dp_flow_mod(txn, &modify), 0);
    assert_int_equal(dp_flow_mod(txn, &delete), 0);
    assert_int_equal(dp_txn_commit(txn), 0);
    assert_int_equal(bed->n_removed, 1);
    send_frame(bed, 1);
    assert_int_equal(bed->sent[0].port, 3);
    send_frame(bed, 2);
    assert_int_equal(bed->n_sent, 0);
    for (unsigned i = 0; i < 4; i++) { /* grace periods pass; the old versions go */
        dp_worker_quiescent(bed->worker);
        dp_poll(bed->dp);
    }
    struct found found = look(bed);
    assert_int_equal(found.n, 1);
    assert_int_equal(found.counter.packets, 2);
}

/* ---- Two workers forward while the control thread swaps a pair of rules in two tables by atomic transactions. ----
 * Table 0 marks the packet with the generation, table 1 sends it out by the generation that it has: a packet that saw
 * the new rule of one table and the old of the other would leave by the wrong port or with the wrong mark. */

struct racer {
    struct dp_worker *worker;
    pthread_t thread;
    bool *stop;
    uint64_t packets, mixtures;
};

static void judge(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    struct racer *racer = aux;
    for (unsigned i = 0; i < n; i++) {
        unsigned mark = rte_pktmbuf_mtod(packets[i], uint8_t *)[5];
        racer->packets++;
        racer->mixtures += slot + 1 != mark;
        rte_pktmbuf_free(packets[i]);
    }
}

static void *race(void *aux) {
    struct racer *racer = aux;
    uint8_t frame[BED_FRAME];
    bed_frame(frame, DST, 1, 2, 3);
    while (!__atomic_load_n(racer->stop, __ATOMIC_RELAXED)) {
        struct rte_mbuf *batch[4];
        for (unsigned i = 0; i < RTE_DIM(batch); i++) {
            batch[i] = bed_mbuf(frame, sizeof frame);
        }
        uint64_t before = racer->packets;
        dp_process(racer->worker, 0, 0, batch, RTE_DIM(batch));
        racer->mixtures += RTE_DIM(batch) - (racer->packets - before); /* lost: neither version matched */
    }
    dp_worker_offline(racer->worker);
    return NULL;
}

static void swap(struct bed *bed, unsigned generation, uint8_t command) {
    struct action mark = set_field_u(FIELD_ETH_DST, generation), out = output_to(generation);
    struct flow_mod first = add_mod(0, 1, &mark, 1), second = add_mod(1, 1, &out, 1);
    first.command = second.command = command;
    match_u(&first.match, FIELD_IN_PORT, 1);
    first.instructions.has_goto = true;
    first.instructions.goto_table = 1;
    struct dp_txn *txn = dp_txn_begin(bed->dp, true);
    assert_int_equal(dp_flow_mod(txn, &first), 0);
    assert_int_equal(dp_flow_mod(txn, &second), 0);
    assert_int_equal(dp_txn_commit(txn), 0);
}

static unsigned bundle_swaps(void) {
    const char *wanted = getenv(SWAPS_VARIABLE);
    return wanted ? (unsigned) strtoul(wanted, NULL, 10) : SWAPS;
}

static void test_no_packet_sees_a_mixture(void **state) {
    struct bed *bed = *state;
    struct racer racers[2] = {0};
    bool stop = false;
    dp_worker_offline(bed->worker);
    swap(bed, 2, OFPFC_ADD);
    for (unsigned i = 0; i < 2; i++) {
        racers[i].stop = &stop;
        racers[i].worker = dp_worker_create(bed->dp, 1 + i, bed_pool(), judge, &racers[i]);
        assert_int_equal(pthread_create(&racers[i].thread, NULL, race, &racers[i]), 0);
    }
    unsigned swaps = bundle_swaps();
    for (unsigned i = 0; i < swaps; i++) {
        swap(bed, 2 + i % 3, i % 2 ? OFPFC_ADD : OFPFC_MODIFY);
        if (i % 2048 == 0) { /* each waits until both workers have been scheduled */
            dp_barrier(bed->dp);
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < 2; i++) {
        pthread_join(racers[i].thread, NULL);
        assert_true(racers[i].packets > 0);
        print_message("swaps %u packets %" PRIu64 " mixtures %" PRIu64 "\n", swaps, racers[i].packets,
                      racers[i].mixtures);
        assert_int_equal(racers[i].mixtures, 0);
        dp_worker_destroy(racers[i].worker);
    }
    dp_barrier(bed->dp);
    dp_barrier(bed->dp);
    dp_worker_online(bed->worker);
    assert_int_equal(bed_count(bed), 2);
}

/* After a barrier the very next packet of a running worker meets the change. */
static void test_plain_changes_under_load(void **state) {
    struct bed *bed = *state;
    struct racer racer = {0};
    bool stop = false;
    struct action mark[] = {set_field_u(FIELD_ETH_DST, 2), output_to(2)};
    dp_worker_offline(bed->worker);
    bed_add(bed, 0, 1, NULL, mark, 2);
    racer.stop = &stop;
    racer.worker = dp_worker_create(bed->dp, 1, bed_pool(), judge, &racer);
    assert_int_equal(pthread_create(&racer.thread, NULL, race, &racer), 0);
    for (uint64_t i = 0; i < SWAPS; i++) { /* tables grow and shrink, tuples come and go, beside the rule in use */
        struct flow_mod mod = add_mod(0, i % 3, mark, 2);
        mod.command = i % 5 == 4 ? OFPFC_DELETE : OFPFC_ADD;
        match_masked(&mod.match, FIELD_ETH_DST, DST + i % 7, UINT64_MAX >> (16 + i % 11) << (i % 11));
        if (mod.command == OFPFC_ADD || mod.match.mask.word[FW_ETH0]) {
            assert_int_equal(bed_mod(bed, &mod), 0);
        }
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELAXED);
    pthread_join(racer.thread, NULL);
    assert_int_equal(racer.mixtures, 0);
    dp_worker_destroy(racer.worker);
    dp_worker_online(bed->worker);
}

struct unlinking {
    struct rcu *rcu;
    bool unlinked, freed;
};

static void free_it(void *aux, void *object) {
    ((struct unlinking *) aux)->freed = true;
}

static void unlink_it(void *aux, void *object) {
    struct unlinking *unlinking = aux;
    unlinking->unlinked = true;
    rcu_defer(unlinking->rcu, free_it, unlinking, NULL);
}

/* What a callback takes out of reach may still be read by a worker that passed its quiescent state before. */
static void test_a_barrier_frees_nothing_that_it_has_just_unlinked(void **state) {
    struct bed *bed = *state;
    struct unlinking unlinking = {.rcu = &bed->dp->rcu};
    dp_worker_offline(bed->worker);
    rcu_drain(&bed->dp->rcu);
    rcu_defer(&bed->dp->rcu, unlink_it, &unlinking, NULL);
    rcu_poll(&bed->dp->rcu); /* a grace period begins, whose end the barrier will see */
    dp_barrier(bed->dp);
    assert_true(unlinking.unlinked);
    assert_false(unlinking.freed);
    dp_barrier(bed->dp);
    assert_true(unlinking.freed);
    dp_worker_online(bed->worker);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_add_replaces_and_keeps_counts_unless_told),
        TEST(test_modify_and_delete),
        TEST(test_refusals),
        TEST(test_timeouts),
        TEST(test_idle_timeout_counts_from_last_packet),
        TEST(test_modified_rule_is_as_idle_as_it_was),
        TEST(test_atomic_abort_leaves_everything),
        TEST(test_atomic_commit_and_counts),
        TEST(test_no_packet_sees_a_mixture),
        TEST(test_plain_changes_under_load),
        TEST(test_a_barrier_frees_nothing_that_it_has_just_unlinked),
    };
    return cmocka_run_group_tests(tests, bed_eal, NULL);
}
