/* Statistics and descriptions: what they say, how they split, how requests in parts are taken. */
#include "rig.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "openflow/conn.h"

static int set_up(void **state) {
    *state = rig_create();
    return 0;
}

static int tear_down(void **state) {
    rig_destroy(*state);
    return 0;
}

static void ask(struct client *client, uint16_t type, uint16_t flags, const void *body, size_t len) {
    struct request request;
    request_begin(&request, OFPT_MULTIPART_REQUEST, 200 + type);
    request_u16(&request, type);
    request_u16(&request, flags);
    request_u32(&request, 0);
    request_bytes(&request, body, len);
    request_send(client, &request);
}

/* The bodies of all messages of the reply, in one; `*messages` counts them. */
static struct buf gather(struct client *client, uint16_t type, unsigned *messages) {
    struct buf body = {0};
    const struct ofp_multipart *reply;
    *messages = 0;
    do {
        reply = expect_message(client, OFPT_MULTIPART_REPLY, 200u + type, sizeof *reply);
        assert_int_equal(be16toh(reply->type), type);
        buf_put(&body, reply + 1, be16toh(reply->header.length) - sizeof *reply);
        ++*messages;
    } while (be16toh(reply->flags) & OFPMPF_REPLY_MORE);
    return body;
}

static struct buf query(struct client *client, uint16_t type, const void *body, size_t len) {
    unsigned messages;
    ask(client, type, 0, body, len);
    return gather(client, type, &messages);
}

static const struct {
    struct ofp_flow_stats_request fixed;
    uint8_t match[8];
} all_flows = {.fixed = {.table_id = OFPTT_ALL, .out_port = UINT32_MAX, .out_group = UINT32_MAX},
               .match = {0, 1, 0, 4}};

static void switch_is_described(void **state) {
    struct client *client = client_connect(*state);
    struct buf body = query(client, OFPMP_DESC, NULL, 0);
    const struct ofp_desc *desc = (const struct ofp_desc *) buf_data(&body);
    assert_int_equal(buf_len(&body), sizeof *desc);
    assert_string_equal(desc->mfr_desc, "Tephra");
    assert_string_equal(desc->dp_desc, "rig");
    buf_free(&body);
    client_close(client);
}

/* How often each cookie from 0 to `n` - 1 is among the flows of `body`; those above are left out. */
static uint8_t *count_cookies(const struct buf *body, uint32_t n) {
    uint8_t *times = xzalloc(n);
    for (size_t at = 0; at < buf_len(body);) {
        const struct ofp_flow_stats *flow = (const struct ofp_flow_stats *) (buf_data(body) + at);
        uint64_t cookie = be64toh(flow->cookie);
        times[cookie < n ? cookie : 0] += cookie < n;
        at += be16toh(flow->length);
    }
    return times;
}

static void add_flows(struct client *client, uint32_t first, uint32_t end) {
    for (uint32_t i = first; i < end; i++)
        send_flow_mod(client, &(struct flow_spec){.in_port = 1 + i / 60000, .udp_dst = 1 + i % 60000, .cookie = i});
    expect_silence(client);
}

enum { STAYING = 12000, COMING = 90000 };

/* A controller asks for all flows and is slow to take them: no more than a part of the reply is kept for it, others are
 * served, and flows come (so that the table grows) and go. */
static void a_long_reply_waits_for_its_reader(void **state) {
    struct rig *rig = *state;
    struct client *slow = client_connect(rig), *other = client_connect(rig);
    unsigned messages;
    add_flows(other, 0, STAYING);
    loop_fd_events(slow->watch, 0);
    ask(slow, OFPMP_FLOW, 0, &all_flows, sizeof all_flows);
    expect_silence(other);
    const struct conn *conn;
    size_t kept = 0;
    LIST_FOREACH (conn, &rig->of->conns, link)
        kept += buf_len(&conn->out);
    assert_in_range(kept, 1, STAYING * sizeof(struct ofp_flow_stats) / 2);
    add_flows(other, STAYING, COMING);
    for (uint32_t i = 0; i < STAYING; i += 2)
        send_flow_mod(other, &(struct flow_spec){.command = OFPFC_DELETE_STRICT, .in_port = 1, .udp_dst = 1 + i});
    expect_silence(other);
    loop_fd_events(slow->watch, EPOLLIN);
    struct buf body = gather(slow, OFPMP_FLOW, &messages);
    uint8_t *times = count_cookies(&body, COMING);
    for (uint32_t i = 0; i < COMING; i++)
        assert_in_range(times[i], i < STAYING && i % 2, 1); /* what stayed once, others perhaps */
    send_plain(slow, OFPT_BARRIER_REQUEST, 9);
    expect_message(slow, OFPT_BARRIER_REPLY, 9, 8);
    ask(slow, OFPMP_FLOW, 0, &all_flows, sizeof all_flows);
    expect_silence(other);
    client_close(slow); /* half-way */
    expect_silence(other);
    client_close(other);
    free(times);
    buf_free(&body);
}

static void many_flows_take_many_messages(void **state) {
    struct client *client = client_connect(*state);
    const uint32_t n = 2000;
    unsigned messages;
    for (uint32_t i = 1; i <= n; i++)
        send_flow_mod(client, &(struct flow_spec){.in_port = 1, .udp_dst = i, .out_port = 2, .cookie = i});
    ask(client, OFPMP_FLOW, 0, &all_flows, sizeof all_flows);
    struct buf body = gather(client, OFPMP_FLOW, &messages);
    uint64_t cookies = 0;
    for (size_t at = 0; at < buf_len(&body);) {
        const struct ofp_flow_stats *flow = (const struct ofp_flow_stats *) (buf_data(&body) + at);
        cookies += be64toh(flow->cookie);
        at += be16toh(flow->length);
    }
    assert_true(messages > 3);
    assert_int_equal(cookies, (uint64_t) n * (n + 1) / 2);
    buf_free(&body);
    body = query(client, OFPMP_AGGREGATE, &all_flows, sizeof all_flows);
    assert_int_equal(be32toh(((const struct ofp_aggregate_stats_reply *) buf_data(&body))->flow_count), n);
    buf_free(&body);
    client_close(client);
}

static void flow_statistics_repeat_what_was_sent(void **state) {
    struct client *client = client_connect(*state);
    struct request sent;
    struct flow_spec spec = {.in_port = 1,
                             .udp_dst = 53,
                             .out_port = 2,
                             .idle = 7,
                             .hard = 8,
                             .priority = 9,
                             .cookie = 10,
                             .table = 3,
                             .goto_table = 4,
                             .flags = OFPFF_SEND_FLOW_REM};
    request_flow_mod(&sent, &spec);
    struct buf copy = {0};
    buf_put(&copy, buf_data(&sent.bytes), buf_len(&sent.bytes));
    request_send(client, &sent);
    struct buf body = query(client, OFPMP_FLOW, &all_flows, sizeof all_flows);
    const struct ofp_flow_stats *flow = (const struct ofp_flow_stats *) buf_data(&body);
    assert_int_equal(flow->table_id, 3);
    assert_int_equal(be16toh(flow->idle_timeout) << 16 | be16toh(flow->hard_timeout), 7 << 16 | 8);
    assert_int_equal(be16toh(flow->priority), 9);
    assert_int_equal(be16toh(flow->flags), OFPFF_SEND_FLOW_REM);
    size_t rest = buf_len(&copy) - sizeof(struct ofp_flow_mod);
    assert_int_equal(be16toh(flow->length), sizeof *flow + rest);
    assert_memory_equal(flow + 1, buf_data(&copy) + sizeof(struct ofp_flow_mod), rest);
    buf_free(&body);
    buf_free(&copy);
    client_close(client);
}

static void every_table_tells_its_features(void **state) {
    struct client *client = client_connect(*state);
    unsigned messages, tables = 0;
    ask(client, OFPMP_TABLE_FEATURES, 0, NULL, 0);
    struct buf body = gather(client, OFPMP_TABLE_FEATURES, &messages);
    assert_true(messages > 1);
    for (size_t at = 0; at < buf_len(&body); tables++) {
        const struct ofp_table_features *table = (const struct ofp_table_features *) (buf_data(&body) + at);
        assert_int_equal(table->table_id, tables);
        assert_int_equal(be16toh(table->length) % 8, 0);
        at += be16toh(table->length);
    }
    assert_int_equal(tables, DP_TABLES);
    buf_free(&body);
    body = query(client, OFPMP_TABLE, NULL, 0);
    assert_int_equal(buf_len(&body), DP_TABLES * sizeof(struct ofp_table_stats));
    buf_free(&body);
    client_close(client);
}

static void tables_cannot_be_changed(void **state) {
    struct client *client = client_connect(*state);
    struct ofp_table_features wish = {.length = htobe16(sizeof wish), .table_id = 0};
    ask(client, OFPMP_TABLE_FEATURES, 0, &wish, sizeof wish);
    expect_error(client, 200 + OFPMP_TABLE_FEATURES, OFPET_TABLE_FEATURES_FAILED, OFPTFFC_EPERM);
    wish.table_id = 254;
    ask(client, OFPMP_TABLE_FEATURES, 0, &wish, sizeof wish);
    expect_error(client, 200 + OFPMP_TABLE_FEATURES, OFPET_TABLE_FEATURES_FAILED, OFPTFFC_BAD_TABLE);
    wish.length = htobe16(60);
    ask(client, OFPMP_TABLE_FEATURES, 0, &wish, sizeof wish);
    expect_error(client, 200 + OFPMP_TABLE_FEATURES, OFPET_TABLE_FEATURES_FAILED, OFPTFFC_BAD_LEN);
    client_close(client);
}

static void ports_are_described(void **state) {
    struct client *client = client_connect(*state);
    struct ofp_port_stats_request any = {.port_no = htobe32(OFPP_ANY)}, none = {.port_no = htobe32(RIG_PORTS + 1)};
    struct buf body = query(client, OFPMP_PORT_DESC, NULL, 0);
    const struct ofp_port *port = (const struct ofp_port *) buf_data(&body);
    assert_int_equal(buf_len(&body), RIG_PORTS * sizeof *port);
    assert_string_equal(port->name, "p1");
    assert_int_equal(port->hw_addr[5], 1);
    buf_free(&body);
    body = query(client, OFPMP_PORT_STATS, &any, sizeof any);
    assert_int_equal(buf_len(&body), RIG_PORTS * sizeof(struct ofp_port_stats));
    buf_free(&body);
    ask(client, OFPMP_PORT_STATS, 0, &none, sizeof none);
    expect_error(client, 200 + OFPMP_PORT_STATS, OFPET_BAD_REQUEST, OFPBRC_BAD_PORT);
    client_close(client);
}

static void groups_and_meters_tell_their_features(void **state) {
    struct client *client = client_connect(*state);
    struct buf body = query(client, OFPMP_GROUP_FEATURES, NULL, 0);
    const struct ofp_group_features *groups = (const struct ofp_group_features *) buf_data(&body);
    assert_int_equal(be32toh(groups->types), 15);
    assert_int_equal(be32toh(groups->actions[0]) >> OFPAT_SET_FIELD & 1, 1);
    buf_free(&body);
    body = query(client, OFPMP_METER_FEATURES, NULL, 0);
    const struct ofp_meter_features *meters = (const struct ofp_meter_features *) buf_data(&body);
    assert_int_equal(be32toh(meters->band_types), 1 << OFPMBT_DROP | 1 << OFPMBT_DSCP_REMARK);
    buf_free(&body);
    client_close(client);
}

static void what_is_not_there_is_an_error(void **state) {
    static const struct {
        uint16_t request, type, code;
        be32 body[2];
        size_t len;
    } cases[] = {
        {OFPMP_GROUP, OFPET_GROUP_MOD_FAILED, OFPGMFC_UNKNOWN_GROUP, {0}, 8},
        {OFPMP_METER, OFPET_METER_MOD_FAILED, OFPMMFC_UNKNOWN_METER, {0x01000000}, 8},
        {OFPMP_METER_CONFIG, OFPET_METER_MOD_FAILED, OFPMMFC_INVALID_METER, {0}, 8},
        {OFPMP_QUEUE, OFPET_QUEUE_OP_FAILED, OFPQOFC_BAD_PORT, {0x09000000, UINT32_MAX}, 8},
        {OFPMP_QUEUE, OFPET_QUEUE_OP_FAILED, OFPQOFC_BAD_QUEUE, {0x01000000, 0}, 8},
        {OFPMP_DESC, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, {0}, 8},
        {OFPMP_GROUP, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN, {0}, 4},
        {14, OFPET_BAD_REQUEST, OFPBRC_BAD_MULTIPART, {0}, 0},
        {OFPMP_EXPERIMENTER, OFPET_BAD_REQUEST, OFPBRC_BAD_EXPERIMENTER, {0}, 8},
    };
    struct client *client = client_connect(*state);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ask(client, cases[i].request, 0, cases[i].body, cases[i].len);
        expect_error(client, 200u + cases[i].request, cases[i].type, cases[i].code);
    }
    client_close(client);
}

static void bad_flow_requests_are_refused(void **state) {
    struct client *client = client_connect(*state);
    struct ofp_flow_stats_request table = {.table_id = 254};
    uint8_t longer[48] = {0};
    memcpy(longer, &all_flows, sizeof all_flows);
    ask(client, OFPMP_FLOW, 0, &table, sizeof table);
    expect_error(client, 200 + OFPMP_FLOW, OFPET_BAD_REQUEST, OFPBRC_BAD_TABLE_ID);
    ask(client, OFPMP_FLOW, 0, &all_flows, sizeof all_flows.fixed);
    expect_error(client, 200 + OFPMP_FLOW, OFPET_BAD_MATCH, OFPBMC_BAD_LEN);
    ask(client, OFPMP_FLOW, 0, longer, sizeof longer);
    expect_error(client, 200 + OFPMP_FLOW, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    client_close(client);
}

static void requests_may_come_in_parts(void **state) {
    struct client *client = client_connect(*state);
    unsigned messages;
    ask(client, OFPMP_FLOW, OFPMPF_REQ_MORE, &all_flows, 16);
    send_plain(client, OFPT_ECHO_REQUEST, 1); /* others may come between */
    expect_message(client, OFPT_ECHO_REPLY, 1, 8);
    ask(client, OFPMP_DESC, OFPMPF_REQ_MORE, NULL, 0); /* a second one at a time is too much */
    expect_error(client, 200 + OFPMP_DESC, OFPET_BAD_REQUEST, OFPBRC_MULTIPART_BUFFER_OVERFLOW);
    ask(client, OFPMP_FLOW, 0, (const uint8_t *) &all_flows + 16, sizeof all_flows - 16);
    struct buf body = gather(client, OFPMP_FLOW, &messages);
    assert_int_equal(buf_len(&body), 0);
    buf_free(&body);
    client_close(client);
}

/* The peer asks and asks, and reads nothing: the switch must stop reading rather than pile up answers. */
static void who_does_not_read_is_not_read(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    unsigned messages;
    const unsigned asked = 200; /* tables' features: about 400 kB each */
    for (unsigned i = 0; i < asked; i++)
        ask(client, OFPMP_TABLE_FEATURES, 0, NULL, 0);
    struct conn *conn = LIST_FIRST(&rig->of->conns);
    assert_true(buf_len(&conn->out) < (size_t) 16 * 1024 * 1024);
    for (unsigned i = 0; i < asked; i++) {
        struct buf body = gather(client, OFPMP_TABLE_FEATURES, &messages);
        buf_free(&body);
    }
    expect_silence(client);
    client_close(client);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(switch_is_described),
        TEST(many_flows_take_many_messages),
        TEST(a_long_reply_waits_for_its_reader),
        TEST(flow_statistics_repeat_what_was_sent),
        TEST(every_table_tells_its_features),
        TEST(tables_cannot_be_changed),
        TEST(ports_are_described),
        TEST(groups_and_meters_tell_their_features),
        TEST(what_is_not_there_is_an_error),
        TEST(bad_flow_requests_are_refused),
        TEST(requests_may_come_in_parts),
        TEST(who_does_not_read_is_not_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
