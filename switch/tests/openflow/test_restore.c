/* The journal's two halves: what was accepted makes the same switch anew, and so does a dump of it. */
#include "rig.h"

#include <string.h>

static int set_up(void **state) {
    *state = rig_create();
    return 0;
}

static int tear_down(void **state) {
    rig_destroy(*state);
    return 0;
}

static void put_group(struct client *client, uint32_t id, uint32_t to_group) {
    struct request request;
    request_begin(&request, OFPT_GROUP_MOD, id);
    request_u32(&request, OFPGC_ADD << 16 | OFPGT_ALL << 8);
    request_u32(&request, id);
    if (to_group) {
        request_u32(&request, 24 << 16);
        request_u64(&request, UINT64_MAX); /* watches nothing */
        request_u32(&request, 0);
        request_u16(&request, OFPAT_GROUP);
        request_u16(&request, 8);
        request_u32(&request, to_group);
    }
    request_send(client, &request);
}

static void put_meter(struct client *client, uint32_t id) {
    struct request request;
    request_begin(&request, OFPT_METER_MOD, id);
    request_u16(&request, OFPMC_ADD);
    request_u16(&request, OFPMF_KBPS);
    request_u32(&request, id);
    request_u32(&request, OFPMBT_DROP << 16 | 16);
    request_u32(&request, 1000);
    request_u64(&request, 0);
    request_send(client, &request);
}

/* Groups that forward to later ones, meters, rules that use both. */
static void furnish(struct rig *rig) {
    struct client *client = client_connect(rig);
    put_meter(client, 5);
    put_group(client, 9, 0);
    put_group(client, 4, 9);
    put_group(client, 2, 4);
    send_flow_mod(client, &(struct flow_spec){.in_port = 1, .group = 2, .meter = 5, .priority = 3, .idle = 60});
    for (uint32_t i = 1; i < 50; i++)
        send_flow_mod(client, &(struct flow_spec){.in_port = 2, .udp_dst = i, .out_port = 3, .table = (uint8_t) i});
    expect_silence(client);
    client_close(client);
}

static void gather(void *aux, const uint8_t *message, size_t len, uint64_t created_ms) {
    assert_true(created_ms && created_ms <= loop_now_ms());
    buf_put(aux, message, len);
}

static struct buf dump(struct rig *rig) {
    struct buf messages = {0};
    struct of_dump *dump = of_dump_begin(rig->of, gather, &messages);
    while (of_dump_step(dump))
        continue;
    of_dump_end(dump);
    return messages;
}

static void replay(struct rig *rig, const struct buf *messages) {
    for (size_t at = 0; at < buf_len(messages);) {
        const uint8_t *message = buf_data(messages) + at;
        size_t len = be16toh(((const struct ofp_header *) message)->length);
        assert_int_equal(of_replay(rig->of, &message, &len, 1, loop_now_ms()), 0);
        at += len;
    }
}

static void expect_same(struct rig *rig, const struct buf *expected) {
    struct buf found = dump(rig);
    assert_int_equal(buf_len(&found), buf_len(expected));
    assert_memory_equal(buf_data(&found), buf_data(expected), buf_len(expected));
    buf_free(&found);
}

static void what_was_accepted_makes_it_anew(void **state) {
    struct rig *rig = *state, *other = rig_create();
    furnish(rig);
    struct buf before = dump(rig);
    assert_true(buf_len(&before) > 50 * sizeof(struct ofp_flow_mod));
    replay(other, &rig->accepted);
    assert_int_equal(count_flows(other), count_flows(rig));
    assert_int_equal(other->accepted_calls, 0); /* a replay is not news */
    buf_free(&before);
    rig_destroy(other);
}

static void a_dump_makes_it_anew(void **state) {
    struct rig *rig = *state, *other = rig_create();
    furnish(rig);
    struct buf before = dump(rig);
    replay(other, &before);
    expect_same(other, &before);
    buf_free(&before);
    rig_destroy(other);
}

/* The flow-mods of a dump in whatever order, as a number. */
static uint64_t sum_of(struct rig *rig) {
    struct buf messages = dump(rig);
    uint64_t sum = 0;
    for (size_t at = 0; at < buf_len(&messages);) {
        const uint8_t *message = buf_data(&messages) + at;
        size_t len = be16toh(((const struct ofp_header *) message)->length);
        uint64_t hash = 14695981039346656037U;
        for (size_t i = 0; i < len; i++)
            hash = (hash ^ message[i]) * 1099511628211U;
        sum += hash;
        at += len;
    }
    buf_free(&messages);
    return sum;
}

enum { RULES = 20000 };

/* Adds a rule, and changes, replaces or removes others, of which some have been listed already and some not. */
static void change_something(struct client *client, uint32_t step) {
    for (uint32_t i = step; i < RULES; i += 97) {
        uint8_t command = i % 3 ? OFPFC_MODIFY_STRICT : OFPFC_DELETE_STRICT;
        send_flow_mod(client, &(struct flow_spec){.command = command, .in_port = 1, .udp_dst = 1 + i, .out_port = 4});
        send_flow_mod(client, &(struct flow_spec){.in_port = 1, .udp_dst = 1 + i + 13, .out_port = 2, .cookie = step});
        send_flow_mod(client, &(struct flow_spec){.in_port = 3, .udp_dst = 1 + i, .out_port = 3});
    }
    if (step == 2) { /* takes its rule along */
        struct request request;
        request_begin(&request, OFPT_GROUP_MOD, 1);
        request_u32(&request, OFPGC_DELETE << 16);
        request_u32(&request, 2);
        request_send(client, &request);
    }
    expect_silence(client);
}

static void changes_during_a_dump_are_not_lost(void **state) {
    struct rig *rig = *state, *other = rig_create();
    furnish(rig);
    struct client *client = client_connect(rig);
    for (uint32_t i = 0; i < RULES; i++)
        send_flow_mod(client, &(struct flow_spec){.in_port = 1, .udp_dst = 1 + i, .out_port = 1});
    expect_silence(client);
    struct buf messages = {0};
    size_t noted = buf_len(&rig->accepted);
    uint32_t steps = 0;
    struct of_dump *dump = of_dump_begin(rig->of, gather, &messages);
    while (of_dump_step(dump)) {
        change_something(client, steps++);
        buf_put(&messages, buf_data(&rig->accepted) + noted, buf_len(&rig->accepted) - noted);
        noted = buf_len(&rig->accepted);
    }
    of_dump_end(dump);
    assert_true(steps > 5);
    replay(other, &messages);
    assert_int_equal(count_flows(other), count_flows(rig));
    assert_true(sum_of(other) == sum_of(rig));
    buf_free(&messages);
    client_close(client);
    rig_destroy(other);
}

static void a_batch_is_all_or_nothing(void **state) {
    struct rig *rig = *state;
    struct request good, bad;
    request_flow_mod(&good, &(struct flow_spec){.in_port = 1});
    request_flow_mod(&bad, &(struct flow_spec){.group = 3});
    request_finish(&good);
    request_finish(&bad);
    const uint8_t *messages[] = {buf_data(&good.bytes), buf_data(&bad.bytes)};
    size_t lengths[] = {buf_len(&good.bytes), buf_len(&bad.bytes)};
    assert_int_equal(of_replay(rig->of, messages, lengths, 2, 1), OFPERR(OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP));
    assert_int_equal(count_flows(rig), 0);
    lengths[1]--;
    assert_int_equal(of_replay(rig->of, messages, lengths, 2, 1), OFPERR(OFPET_BAD_REQUEST, OFPBRC_BAD_LEN));
    buf_free(&good.bytes);
    buf_free(&bad.bytes);
}

/* A rule that ran out is told to the journal as the message that would have removed it. */
static void timeouts_are_journalled(void **state) {
    struct rig *rig = *state;
    struct request request;
    request_flow_mod(&request, &(struct flow_spec){.in_port = 1, .hard = 1});
    const uint8_t *message = buf_data(&request.bytes);
    size_t len = buf_len(&request.bytes);
    request_finish(&request);
    assert_int_equal(of_replay(rig->of, &message, &len, 1, loop_now_ms() - 1001), 0); /* its second is over */
    while (count_flows(rig))
        dp_poll(rig->dp);
    const struct ofp_flow_mod *told = (const struct ofp_flow_mod *) buf_data(&rig->accepted);
    assert_int_equal(rig->accepted_calls, 1);
    assert_int_equal(told->command, OFPFC_DELETE_STRICT);
    assert_int_equal(be16toh(told->header.length), buf_len(&rig->accepted));
    buf_free(&request.bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_accepted_makes_it_anew),
        TEST(a_dump_makes_it_anew),
        TEST(changes_during_a_dump_are_not_lost),
        TEST(a_batch_is_all_or_nothing),
        TEST(timeouts_are_journalled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
