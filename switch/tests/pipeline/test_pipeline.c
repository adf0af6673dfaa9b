/* Instructions, action sets, groups, meters, ports and packet-ins, by packets (specification 1.3.5, sections 5 and 6).
 */
#include "bed.h"

#include <string.h>

#define DST UINT64_C(0x020010000001)
#define SRC_IP 0x0a000001
#define DST_IP 0x14000001

static const uint8_t *frame_to(uint64_t eth_dst) {
    static uint8_t frame[BED_FRAME];
    bed_frame(frame, eth_dst, SRC_IP, DST_IP, 4790);
    return frame;
}

static void send_to(struct bed *bed, unsigned port, uint64_t eth_dst) {
    bed_send(bed, port, frame_to(eth_dst), BED_FRAME);
}

static struct match match_dst(uint64_t eth_dst) {
    struct match match = {0};
    match_u(&match, FIELD_ETH_DST, eth_dst);
    return match;
}

static void assert_sent_to(struct bed *bed, unsigned n, ...) {
    va_list ports;
    va_start(ports, n);
    assert_int_equal(bed->n_sent, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(bed->sent[i].port, va_arg(ports, unsigned));
    }
    va_end(ports);
}

static void test_miss_drops(void **state) {
    struct bed *bed = *state;
    send_to(bed, 1, DST);
    assert_sent_to(bed, 0);
    struct dp_table_stats stats;
    dp_table_stats(bed->dp, 0, &stats);
    assert_int_equal(stats.lookups, 1);
    assert_int_equal(stats.matched, 0);
}

static void test_outputs_and_reserved_ports(void **state) {
    struct bed *bed = *state;
    struct action all = output_to(OFPP_ALL), in_port = output_to(OFPP_IN_PORT), back = output_to(1);
    struct action several[] = {output_to(2), output_to(3), output_to(9)};
    struct match one = match_dst(1), two = match_dst(2), three = match_dst(3), four = match_dst(4);
    bed_add(bed, 0, 1, &one, &all, 1);
    bed_add(bed, 0, 1, &two, &in_port, 1);
    bed_add(bed, 0, 1, &three, &back, 1);
    bed_add(bed, 0, 1, &four, several, 3);
    send_to(bed, 1, 1);
    assert_sent_to(bed, 3, 2, 3, 4);
    send_to(bed, 1, 2);
    assert_sent_to(bed, 1, 1);
    send_to(bed, 1, 3);
    assert_sent_to(bed, 0);
    send_to(bed, 2, 3);
    assert_sent_to(bed, 1, 1);
    send_to(bed, 1, 4);
    assert_sent_to(bed, 2, 2, 3);
}

/* Rewrite on the straight path, with a copy sent before it, and seen by a later table. */
static void test_set_field_order_and_later_match(void **state) {
    struct bed *bed = *state;
    struct action both[] = {output_to(2), set_field_u(FIELD_ETH_DST, 0x0a), output_to(3)};
    struct action rewrite = set_field_u(FIELD_ETH_DST, 0x0b), out = output_to(4);
    struct match one = match_dst(1), two = match_dst(2), b = match_dst(0x0b);
    bed_add(bed, 0, 1, &one, both, 3);
    struct flow_mod mod = add_mod(0, 1, &rewrite, 1);
    mod.match = two;
    mod.instructions.has_goto = true;
    mod.instructions.goto_table = 7;
    assert_int_equal(bed_mod(bed, &mod), 0);
    bed_add(bed, 7, 1, &b, &out, 1);
    send_to(bed, 1, 1);
    assert_sent_to(bed, 2, 2, 3);
    assert_int_equal(bed->sent[0].data[5], 1);
    assert_int_equal(bed->sent[1].data[5], 0x0a);
    send_to(bed, 1, 2);
    assert_sent_to(bed, 1, 4);
    assert_int_equal(bed->sent[0].data[5], 0x0b);
}

static void test_metadata_and_goto(void **state) {
    struct bed *bed = *state;
    struct match classified = {0};
    struct action out = output_to(2);
    struct flow_mod classify = add_mod(0, 1, NULL, 0);
    match_u(&classify.match, FIELD_IN_PORT, 1);
    classify.instructions.has_metadata = classify.instructions.has_goto = true;
    classify.instructions.metadata = 0xff05;
    classify.instructions.metadata_mask = 0xff;
    classify.instructions.goto_table = 200;
    assert_int_equal(bed_mod(bed, &classify), 0);
    match_u(&classified, FIELD_METADATA, 5);
    match_u(&classified, FIELD_IPV4_DST, DST_IP);
    bed_add(bed, 200, 1, &classified, &out, 1);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 1, 2);
    send_to(bed, 3, DST);
    assert_sent_to(bed, 0);
}

static void add_write(struct bed *bed, uint8_t table, int next, bool clear, const struct action *write, unsigned n) {
    struct flow_mod mod = add_mod(table, 1, NULL, 0);
    mod.instructions.has_write = n != 0;
    mod.instructions.has_clear = clear;
    mod.instructions.write = write;
    mod.instructions.n_write = n;
    mod.instructions.has_goto = next >= 0;
    mod.instructions.goto_table = next >= 0 ? next : GOTO_NONE;
    assert_int_equal(bed_mod(bed, &mod), 0);
}

/* The set is executed at the end, set-field before output whatever came first; a later one of a kind replaces. */
static void test_action_set(void **state) {
    struct bed *bed = *state;
    struct action first[] = {output_to(2)}, second[] = {set_field_u(FIELD_ETH_DST, 9), output_to(3)};
    add_write(bed, 0, 1, false, first, 1);
    add_write(bed, 1, 2, false, second, 2);
    add_write(bed, 2, -1, false, NULL, 0);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 1, 3);
    assert_int_equal(bed->sent[0].data[5], 9);
    add_write(bed, 2, -1, true, NULL, 0);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 0);
}

static void test_group_all(void **state) {
    struct bed *bed = *state;
    struct action a[] = {output_to(2), set_field_u(FIELD_ETH_DST, 5)}, b[] = {output_to(3)};
    struct group_bucket buckets[] = {bucket_of(a, 2), bucket_of(b, 1)};
    struct action to_group[] = {group_action(1), output_to(4)};
    bed_group(bed, OFPGC_ADD, OFPGT_ALL, 1, buckets, 2, 0);
    bed_add(bed, 0, 1, NULL, to_group, 2);
    send_to(bed, 1, DST);
    assert_int_equal(bed->n_sent, 3);
    for (unsigned i = 0; i < 3; i++) { /* a bucket is an action set, and edits its own copy */
        assert_int_equal(bed->sent[i].data[5], bed->sent[i].port == 2 ? 5 : 1);
    }
    struct dp_group_view view;
    assert_true(dp_group_view(bed->dp, 1, &view));
    assert_int_equal(view.counter.packets, 1);
    assert_int_equal(view.bucket_counters[1].bytes, BED_FRAME);
    assert_int_equal(view.ref_count, 1);
}

static void test_group_select_spreads_by_l2_and_is_stable(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3);
    struct group_bucket buckets[] = {bucket_of(&a, 1), bucket_of(&b, 1)};
    struct action to_group = group_action(1);
    unsigned to[BED_PORTS + 1] = {0};
    buckets[1].weight = 3;
    bed_group(bed, OFPGC_ADD, OFPGT_SELECT, 1, buckets, 2, 0);
    bed_add(bed, 0, 1, NULL, &to_group, 1);
    for (uint64_t flow = 0; flow < 2000; flow++) {
        send_to(bed, 1, 0x020000000000 + flow);
        unsigned port = bed->sent[0].port;
        to[port]++;
        send_to(bed, 1, 0x020000000000 + flow);
        assert_int_equal(bed->sent[0].port, port);
    }
    assert_in_range(to[2], 400, 600);
    assert_in_range(to[3], 1400, 1600);
}

static void test_group_fast_failover_follows_ports(void **state) {
    struct bed *bed = *state;
    struct action a = output_to(2), b = output_to(3);
    struct group_bucket buckets[] = {bucket_of(&a, 1), bucket_of(&b, 1)};
    struct action to_group = group_action(1);
    buckets[0].watch_port = 2;
    buckets[1].watch_port = 3;
    bed_group(bed, OFPGC_ADD, OFPGT_FF, 1, buckets, 2, 0);
    bed_add(bed, 0, 1, NULL, &to_group, 1);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 1, 2);
    dp_port_set_state(bed->dp, 2, OFPPS_LINK_DOWN);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 1, 3);
    dp_port_set_state(bed->dp, 3, OFPPS_LINK_DOWN);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 0);
    dp_port_set_state(bed->dp, 2, 0);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 1, 2);
    assert_int_equal(bed->n_port_status, 3);
}

static void test_group_errors_and_delete(void **state) {
    struct bed *bed = *state;
    struct action out = output_to(2), to_self = group_action(1), to_second = group_action(2),
                  to_first = group_action(1);
    struct group_bucket plain = bucket_of(&out, 1), self = bucket_of(&to_self, 1), chain = bucket_of(&to_second, 1);
    struct group_bucket back = bucket_of(&to_first, 1);
    bed_group(bed, OFPGC_MODIFY, OFPGT_ALL, 1, &plain, 1, OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_UNKNOWN_GROUP));
    bed_group(bed, OFPGC_ADD, OFPGT_ALL, 1, &self, 1, OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_LOOP));
    bed_group(bed, OFPGC_ADD, OFPGT_ALL, 1, &chain, 1, OFPERR(OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP));
    bed_group(bed, OFPGC_ADD, OFPGT_INDIRECT, 2, &plain, 1, 0);
    bed_group(bed, OFPGC_ADD, OFPGT_ALL, 1, &chain, 1, 0);
    bed_group(bed, OFPGC_ADD, OFPGT_ALL, 1, &chain, 1, OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_GROUP_EXISTS));
    bed_group(bed, OFPGC_MODIFY, OFPGT_ALL, 2, &back, 1, OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_LOOP));
    bed_group(bed, OFPGC_DELETE, 0, 2, NULL, 0, OFPERR(OFPET_GROUP_MOD_FAILED, OFPGMFC_CHAINED_GROUP));
    struct match one = match_dst(1);
    bed_add(bed, 0, 1, &one, &to_first, 1);
    send_to(bed, 3, 1);
    assert_sent_to(bed, 1, 2);
    bed_group(bed, OFPGC_DELETE, 0, 1, NULL, 0, 0);
    assert_int_equal(bed->last_reason, DP_REMOVED_GROUP_DELETE);
    assert_int_equal(bed_count(bed), 0);
    assert_int_equal(dp_group_next(bed->dp, OFPG_ANY), 2);
    bed_group(bed, OFPGC_DELETE, 0, OFPG_ALL, NULL, 0, 0);
    assert_int_equal(dp_group_next(bed->dp, OFPG_ANY), OFPG_ANY);
    struct flow_mod mod = add_mod(0, 1, &to_first, 1);
    assert_int_equal(bed_mod(bed, &mod), OFPERR(OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP));
}

static void meter(struct bed *bed, uint16_t command, uint16_t flags, const struct meter_band *bands, unsigned n,
                  ofperr wanted) {
    struct dp_txn *txn = dp_txn_begin(bed->dp, false);
    struct meter_mod mod = {command, flags, 1, n, bands};
    assert_int_equal(dp_meter_mod(txn, &mod), wanted);
    dp_txn_commit(txn);
}

static void add_metered(struct bed *bed, ofperr wanted) {
    struct action out = output_to(2);
    struct flow_mod mod = add_mod(0, 1, &out, 1);
    mod.instructions.meter_id = 1;
    assert_int_equal(bed_mod(bed, &mod), wanted);
}

/* A rate so low that no token comes back during the test: the burst alone decides. */
static void test_meter_drops_beyond_burst(void **state) {
    struct bed *bed = *state;
    struct meter_band band = {OFPMBT_DROP, 1, 10, 0};
    unsigned passed = 0;
    add_metered(bed, OFPERR(OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER));
    meter(bed, OFPMC_ADD, OFPMF_PKTPS | OFPMF_BURST, &band, 1, 0);
    add_metered(bed, 0);
    for (unsigned i = 0; i < 50; i++) {
        send_to(bed, 1, DST);
        passed += bed->n_sent;
    }
    assert_in_range(passed, 10, 11);
    struct dp_meter_view view;
    assert_true(dp_meter_view(bed->dp, 1, &view));
    assert_int_equal(view.in.packets, 50);
    assert_int_equal(view.bands[0].packets, 50 - passed);
    assert_int_equal(view.flow_count, 1);
    meter(bed, OFPMC_DELETE, 0, NULL, 0, 0);
    assert_int_equal(bed_count(bed), 0);
}

static void first_packet_passes(struct bed *bed, uint16_t flags, uint32_t burst_size) {
    struct meter_band band = {OFPMBT_DROP, 1, burst_size, 0};
    meter(bed, OFPMC_ADD, flags, &band, 1, 0);
    add_metered(bed, 0);
    send_to(bed, 1, DST);
    assert_int_equal(bed->n_sent, 1);
    meter(bed, OFPMC_DELETE, 0, NULL, 0, 0);
}

/* However slow a band is, a frame fits its default burst; and the largest burst there is holds more than nothing. */
static void test_meter_bursts_at_their_ends(void **state) {
    first_packet_passes(*state, OFPMF_KBPS, 0);
    first_packet_passes(*state, OFPMF_KBPS | OFPMF_BURST, UINT32_MAX);
    first_packet_passes(*state, OFPMF_PKTPS, 0);
    first_packet_passes(*state, OFPMF_PKTPS | OFPMF_BURST, UINT32_MAX);
}

static void test_meter_remarks(void **state) {
    struct bed *bed = *state;
    struct meter_band band = {OFPMBT_DSCP_REMARK, 1, 1, 1};
    uint8_t frame[BED_FRAME];
    bed_frame(frame, DST, SRC_IP, DST_IP, 4790);
    frame[15] = 10 << 2; /* AF11 */
    meter(bed, OFPMC_ADD, OFPMF_PKTPS | OFPMF_BURST, &band, 1, 0);
    add_metered(bed, 0);
    for (unsigned i = 0; i < 5; i++) {
        bed_send(bed, 1, frame, sizeof frame);
    }
    assert_int_equal(bed->sent[0].data[15], 12 << 2); /* AF12 */
}

static void test_packet_in(void **state) {
    struct bed *bed = *state;
    struct action to_controller = output_to(OFPP_CONTROLLER), out[] = {output_to(OFPP_CONTROLLER), output_to(2)};
    to_controller.max_len = 64;
    bed_add(bed, 0, 0, NULL, &to_controller, 1);
    struct match one = match_dst(1);
    struct flow_mod mod = add_mod(0, 5, out, 2);
    mod.match = one;
    mod.cookie = 0x77;
    assert_int_equal(bed_mod(bed, &mod), 0);
    send_to(bed, 3, 9);
    dp_poll(bed->dp);
    assert_int_equal(bed->n_packet_ins, 1);
    assert_int_equal(bed->last_packet_in.reason, DP_PACKET_IN_NO_MATCH);
    assert_int_equal(bed->last_packet_in.in_port, 3);
    assert_int_equal(bed->last_packet_in.max_len, 64);
    send_to(bed, 1, 1);
    assert_sent_to(bed, 1, 2);
    dp_poll(bed->dp);
    assert_int_equal(bed->last_packet_in.reason, DP_PACKET_IN_ACTION);
    assert_int_equal(bed->last_packet_in.cookie, 0x77);
    assert_int_equal(bed->last_packet_in_len, BED_FRAME);
}

static void test_packet_out(void **state) {
    struct bed *bed = *state;
    struct action out = output_to(2);
    struct match one = match_dst(1);
    bed_add(bed, 0, 1, &one, &out, 1);
    struct action list[] = {output_to(3), output_to(OFPP_TABLE)};
    bed->n_sent = 0;
    dp_execute(bed->worker, OFPP_CONTROLLER, list, 2, bed_mbuf(frame_to(1), BED_FRAME));
    assert_int_equal(bed->n_sent, 2);
    struct action twice[] = {output_to(OFPP_TABLE), output_to(4)};
    bed->n_sent = 0;
    dp_execute(bed->worker, 1, twice, 2, bed_mbuf(frame_to(1), BED_FRAME));
    assert_int_equal(bed->n_sent, 2);
}

static void test_port_config(void **state) {
    struct bed *bed = *state;
    struct action out = output_to(2);
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 2};
    bed_add(bed, 0, 1, NULL, &out, 1);
    struct dp_txn *txn = dp_txn_begin(bed->dp, false);
    assert_int_equal(dp_port_mod(txn, 2, mac, OFPPC_NO_FWD, OFPPC_NO_FWD), 0);
    assert_int_equal(dp_port_mod(txn, 9, mac, 0, 0), OFPERR(OFPET_PORT_MOD_FAILED, OFPPMFC_BAD_PORT));
    dp_txn_commit(txn);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 0);
    txn = dp_txn_begin(bed->dp, false);
    assert_int_equal(dp_port_mod(txn, 2, mac, 0, OFPPC_NO_FWD), 0);
    dp_txn_commit(txn);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 1, 2);
    struct dp_port_stats stats;
    dp_port_stats(bed->dp, 2, &stats);
    assert_int_equal(stats.tx_packets, 1);
    dp_worker_offline(bed->worker);
    assert_int_equal(dp_port_remove(bed->dp, 2), 0);
    dp_worker_online(bed->worker);
    send_to(bed, 1, DST);
    assert_sent_to(bed, 0);
    assert_int_equal(dp_port_add(bed->dp, &(struct dp_port){.port_no = 70000}), 1);
    dp_port_stats(bed->dp, 70000, &stats);
    assert_int_equal(stats.tx_packets, 0);
}

static unsigned lines;
static bool sent_line;
static void on_line(void *aux, const char *text) {
    lines++;
    sent_line = sent_line || strstr(text, "sent to port 2");
}

static void test_trace_tells_and_leaves_no_mark(void **state) {
    struct bed *bed = *state;
    struct action list[] = {set_field_u(FIELD_ETH_DST, 9), group_action(1)}, out = output_to(2);
    struct group_bucket bucket = bucket_of(&out, 1);
    bed_group(bed, OFPGC_ADD, OFPGT_ALL, 1, &bucket, 1, 0);
    bed_add(bed, 0, 1, NULL, list, 2);
    dp_trace(bed->dp, 1, 0, frame_to(DST), BED_FRAME, on_line, NULL);
    assert_true(lines >= 4 && sent_line);
    assert_int_equal(bed->n_sent, 0);
    struct dp_table_stats stats;
    dp_table_stats(bed->dp, 0, &stats);
    assert_int_equal(stats.lookups, 0);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, bed_setup, bed_teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_miss_drops),
        TEST(test_outputs_and_reserved_ports),
        TEST(test_set_field_order_and_later_match),
        TEST(test_metadata_and_goto),
        TEST(test_action_set),
        TEST(test_group_all),
        TEST(test_group_select_spreads_by_l2_and_is_stable),
        TEST(test_group_fast_failover_follows_ports),
        TEST(test_group_errors_and_delete),
        TEST(test_meter_drops_beyond_burst),
        TEST(test_meter_bursts_at_their_ends),
        TEST(test_meter_remarks),
        TEST(test_packet_in),
        TEST(test_packet_out),
        TEST(test_port_config),
        TEST(test_trace_tells_and_leaves_no_mark),
    };
    return cmocka_run_group_tests(tests, bed_eal, NULL);
}
