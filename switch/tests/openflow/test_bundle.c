/* Bundles: all or nothing, in order, with the errors of ONF extension 230. */
#include "rig.h"

#include <string.h>

#define BOTH (OFPBF_ATOMIC | OFPBF_ORDERED)

static int set_up(void **state) {
    *state = rig_create();
    return 0;
}

static int tear_down(void **state) {
    rig_destroy(*state);
    return 0;
}

static void control(struct client *client, uint32_t id, uint16_t type, uint16_t flags) {
    struct request request;
    request_begin(&request, OFPT_EXPERIMENTER, 100 + type);
    request_u32(&request, ONF_EXPERIMENTER_ID);
    request_u32(&request, ONF_BUNDLE_CONTROL);
    request_u32(&request, id);
    request_u16(&request, type);
    request_u16(&request, flags);
    request_send(client, &request);
}

static void expect_reply(struct client *client, uint32_t id, uint16_t type) {
    const struct onf_bundle_control *reply = expect_message(client, OFPT_EXPERIMENTER, 100 + type, sizeof *reply);
    assert_int_equal(be32toh(reply->header.exp_type), ONF_BUNDLE_CONTROL);
    assert_int_equal(be32toh(reply->bundle_id), id);
    assert_int_equal(be16toh(reply->type), type + 1);
}

static void succeed(struct client *client, uint32_t id, uint16_t type) {
    control(client, id, type, BOTH);
    expect_reply(client, id, type);
}

static void add_bytes(struct client *client, uint32_t id, uint32_t xid, uint16_t flags, const void *inner, size_t len) {
    struct request request;
    request_begin(&request, OFPT_EXPERIMENTER, xid);
    request_u32(&request, ONF_EXPERIMENTER_ID);
    request_u32(&request, ONF_BUNDLE_ADD_MESSAGE);
    request_u32(&request, id);
    request_u16(&request, 0);
    request_u16(&request, flags);
    request_bytes(&request, inner, len);
    request_send(client, &request);
}

static void add_flow(struct client *client, uint32_t id, const struct flow_spec *spec) {
    struct request inner;
    request_flow_mod(&inner, spec);
    request_finish(&inner);
    add_bytes(client, id, spec->xid, BOTH, buf_data(&inner.bytes), buf_len(&inner.bytes));
    buf_free(&inner.bytes);
}

static void nothing_before_commit_all_after(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_flow_mod(client, &(struct flow_spec){.in_port = 4, .priority = 1});
    succeed(client, 1, OFPBCT_OPEN_REQUEST);
    add_flow(client, 1, &(struct flow_spec){.xid = 1, .in_port = 1, .out_port = 2});
    add_flow(client, 1, &(struct flow_spec){.xid = 2, .in_port = 4, .priority = 1, .command = OFPFC_DELETE_STRICT});
    add_flow(client, 1, &(struct flow_spec){.xid = 3, .in_port = 2, .out_port = 1});
    expect_silence(client);
    assert_int_equal(count_flows(rig), 1);
    succeed(client, 1, OFPBCT_CLOSE_REQUEST);
    succeed(client, 1, OFPBCT_COMMIT_REQUEST);
    assert_int_equal(count_flows(rig), 2);
    assert_int_equal(rig->accepted_calls, 2); /* the bundle in one call */
    client_close(client);
}

static void one_failure_undoes_all(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    send_flow_mod(client, &(struct flow_spec){.in_port = 4, .priority = 1});
    add_flow(client, 7, &(struct flow_spec){.xid = 1, .in_port = 1, .out_port = 2}); /* opens it */
    add_flow(client, 7, &(struct flow_spec){.xid = 2, .command = OFPFC_DELETE});
    add_flow(client, 7, &(struct flow_spec){.xid = 3, .group = 55}); /* no such group */
    control(client, 7, OFPBCT_COMMIT_REQUEST, BOTH);
    expect_error(client, 3, OFPET_BAD_ACTION, OFPBAC_BAD_OUT_GROUP);
    expect_onf_error(client, 100 + OFPBCT_COMMIT_REQUEST, ONF_BFC_MSG_FAILED);
    assert_int_equal(count_flows(rig), 1);
    assert_int_equal(rig->accepted_calls, 1);
    control(client, 7, OFPBCT_COMMIT_REQUEST, BOTH); /* it is gone */
    expect_onf_error(client, 100 + OFPBCT_COMMIT_REQUEST, ONF_BFC_BAD_ID);
    client_close(client);
}

static void discarded_bundles_leave_no_trace(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    add_flow(client, 7, &(struct flow_spec){.xid = 1, .in_port = 1, .out_port = 2});
    succeed(client, 7, OFPBCT_DISCARD_REQUEST);
    assert_int_equal(count_flows(rig), 0);
    client_close(client);
}

static void misuse_gets_its_code(void **state) {
    struct client *client = client_connect(*state);
    control(client, 1, OFPBCT_OPEN_REQUEST, 1 << 2);
    expect_onf_error(client, 100 + OFPBCT_OPEN_REQUEST, ONF_BFC_BAD_FLAGS);
    control(client, 1, OFPBCT_CLOSE_REQUEST, BOTH);
    expect_onf_error(client, 100 + OFPBCT_CLOSE_REQUEST, ONF_BFC_BAD_ID);
    control(client, 1, OFPBCT_OPEN_REPLY, BOTH);
    expect_onf_error(client, 100 + OFPBCT_OPEN_REPLY, ONF_BFC_BAD_TYPE);
    succeed(client, 1, OFPBCT_OPEN_REQUEST);
    control(client, 1, OFPBCT_OPEN_REQUEST, BOTH);
    expect_onf_error(client, 100 + OFPBCT_OPEN_REQUEST, ONF_BFC_BUNDLE_EXIST);
    control(client, 1, OFPBCT_COMMIT_REQUEST, OFPBF_ATOMIC);
    expect_onf_error(client, 100 + OFPBCT_COMMIT_REQUEST, ONF_BFC_BAD_FLAGS);
    succeed(client, 1, OFPBCT_CLOSE_REQUEST);
    control(client, 1, OFPBCT_CLOSE_REQUEST, BOTH);
    expect_onf_error(client, 100 + OFPBCT_CLOSE_REQUEST, ONF_BFC_BUNDLE_CLOSED);
    add_flow(client, 1, &(struct flow_spec){.xid = 1, .in_port = 1});
    expect_onf_error(client, 1, ONF_BFC_BUNDLE_CLOSED);
    client_close(client);
}

static void added_messages_are_checked(void **state) {
    struct client *client = client_connect(*state);
    struct ofp_header echo = {OFP_VERSION, OFPT_ECHO_REQUEST, htobe16(8), htobe32(5)};
    add_bytes(client, 1, 5, BOTH, &echo, sizeof echo);
    expect_onf_error(client, 5, ONF_BFC_MSG_UNSUP);
    add_bytes(client, 1, 6, BOTH, &echo, sizeof echo);
    expect_onf_error(client, 6, ONF_BFC_MSG_BAD_XID);
    add_bytes(client, 1, 5, BOTH, &echo, 7);
    expect_onf_error(client, 5, ONF_BFC_MSG_BAD_LEN);
    add_bytes(client, 1, 5, OFPBF_ATOMIC, &echo, sizeof echo);
    expect_onf_error(client, 5, ONF_BFC_BAD_FLAGS);
    add_flow(client, 1, &(struct flow_spec){.xid = 9, .table = 254});
    expect_error(client, 9, OFPET_FLOW_MOD_FAILED, OFPFMFC_BAD_TABLE_ID); /* seen to be wrong before commit */
    succeed(client, 1, OFPBCT_COMMIT_REQUEST);                            /* empty */
    client_close(client);
}

static void bundles_are_their_connections(void **state) {
    struct rig *rig = *state;
    struct client *a = client_connect(rig), *b = client_connect(rig);
    add_flow(a, 1, &(struct flow_spec){.xid = 1, .in_port = 1});
    expect_silence(a);
    control(b, 1, OFPBCT_COMMIT_REQUEST, BOTH);
    expect_onf_error(b, 100 + OFPBCT_COMMIT_REQUEST, ONF_BFC_BAD_ID);
    client_close(a);
    expect_silence(b);
    assert_int_equal(count_flows(rig), 0);
    client_close(b);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(nothing_before_commit_all_after),  TEST(one_failure_undoes_all),
        TEST(discarded_bundles_leave_no_trace), TEST(misuse_gets_its_code),
        TEST(added_messages_are_checked),       TEST(bundles_are_their_connections),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
