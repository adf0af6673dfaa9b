/* The channel: hellos, echoes, features, configuration, barriers, roles, the choice of asynchronous messages, errors.
 */
#include "rig.h"

#include <string.h>

#include "openflow/ofp13.h"

static int set_up(void **state) {
    *state = rig_create();
    return 0;
}

static int tear_down(void **state) {
    rig_destroy(*state);
    return 0;
}

/* ---- Hello ---- */

static void send_hello_version(struct client *client, uint8_t version, uint32_t bitmap) {
    struct request request;
    request_begin(&request, OFPT_HELLO, 5);
    *buf_data(&request.bytes) = version;
    if (bitmap) {
        request_u16(&request, OFPHET_VERSIONBITMAP);
        request_u16(&request, 8);
        request_u32(&request, bitmap);
    }
    request_send(client, &request);
}

static void switch_says_hello_first(void **state) {
    struct client *client = client_connect_raw(*state);
    const uint8_t *hello = expect_message(client, OFPT_HELLO, 0, 16);
    const uint8_t bitmap[] = {0, 1, 0, 8, 0, 0, 0, 1 << OFP_VERSION};
    assert_memory_equal(hello + 8, bitmap, sizeof bitmap);
    client_close(client);
}

static void expect_agreement(struct rig *rig, uint8_t version, uint32_t bitmap, bool agreed) {
    struct client *client = client_connect_raw(rig);
    expect_message(client, OFPT_HELLO, 0, 16);
    send_hello_version(client, version, bitmap);
    if (agreed) {
        expect_silence(client);
    } else {
        const struct ofp_error_msg *error = expect_message(client, OFPT_ERROR, 5, sizeof *error + 1);
        assert_int_equal(be16toh(error->type), OFPET_HELLO_FAILED);
        assert_int_equal(be16toh(error->code), OFPHFC_INCOMPATIBLE);
        client_await_end(client);
    }
    client_close(client);
}

static void versions_are_agreed(void **state) {
    expect_agreement(*state, 4, 0, true);
    expect_agreement(*state, 6, 0, true); /* the lower of the two: ours */
    expect_agreement(*state, 1, 0, false);
    expect_agreement(*state, 6, 1 << 6 | 1 << 4 | 1 << 1, true);
    expect_agreement(*state, 6, 1 << 6 | 1 << 1, false); /* the bitmap decides */
    expect_agreement(*state, 1, 1 << 4, true);
}

static void first_message_must_be_hello(void **state) {
    struct client *client = client_connect_raw(*state);
    expect_message(client, OFPT_HELLO, 0, 16);
    send_plain(client, OFPT_FEATURES_REQUEST, 3);
    const struct ofp_error_msg *error = expect_message(client, OFPT_ERROR, 3, sizeof *error);
    assert_int_equal(be16toh(error->type), OFPET_HELLO_FAILED);
    client_await_end(client);
    client_close(client);
}

/* ---- Plain requests ---- */

static void echo_comes_back_with_its_data(void **state) {
    struct client *client = client_connect(*state);
    struct request request;
    request_begin(&request, OFPT_ECHO_REQUEST, 9);
    request_bytes(&request, "abcde", 5);
    request_send(client, &request);
    const uint8_t *reply = expect_message(client, OFPT_ECHO_REPLY, 9, 13);
    assert_memory_equal(reply + 8, "abcde", 5);
    client_close(client);
}

static void features_tell_the_switch(void **state) {
    struct client *client = client_connect(*state);
    send_plain(client, OFPT_FEATURES_REQUEST, 11);
    const struct ofp_switch_features *reply = expect_message(client, OFPT_FEATURES_REPLY, 11, sizeof *reply);
    assert_int_equal(be64toh(reply->datapath_id), RIG_DATAPATH_ID);
    assert_int_equal(reply->n_tables, DP_TABLES);
    assert_int_equal(reply->auxiliary_id, 0);
    client_close(client);
}

static void set_config(struct client *client, uint16_t flags, uint16_t miss_send_len) {
    struct request request;
    request_begin(&request, OFPT_SET_CONFIG, 21);
    request_u16(&request, flags);
    request_u16(&request, miss_send_len);
    request_send(client, &request);
}

static void configuration_is_kept(void **state) {
    struct client *client = client_connect(*state);
    set_config(client, 0, 999);
    send_plain(client, OFPT_GET_CONFIG_REQUEST, 22);
    const struct ofp_switch_config *reply = expect_message(client, OFPT_GET_CONFIG_REPLY, 22, sizeof *reply);
    assert_int_equal(be16toh(reply->miss_send_len), 999);
    set_config(client, 1, 10);
    expect_error(client, 21, OFPET_SWITCH_CONFIG_FAILED, OFPSCFC_BAD_FLAGS);
    client_close(client);
}

static void no_port_has_queues(void **state) {
    struct client *client = client_connect(*state);
    struct request request;
    for (uint32_t port = 1; port <= RIG_PORTS + 1; port++) {
        request_begin(&request, OFPT_QUEUE_GET_CONFIG_REQUEST, port);
        request_u32(&request, port);
        request_u32(&request, 0);
        request_send(client, &request);
        if (port <= RIG_PORTS)
            expect_message(client, OFPT_QUEUE_GET_CONFIG_REPLY, port, 16);
        else
            expect_error(client, port, OFPET_QUEUE_OP_FAILED, OFPQOFC_BAD_PORT);
    }
    client_close(client);
}

/* ---- Malformed messages ---- */

static void bad_headers_are_refused(void **state) {
    struct client *client = client_connect(*state);
    struct ofp_header wrong_version = {1, OFPT_ECHO_REQUEST, htobe16(8), htobe32(1)};
    client_send(client, &wrong_version, sizeof wrong_version);
    expect_error(client, 1, OFPET_BAD_REQUEST, OFPBRC_BAD_VERSION);
    for (unsigned type = 0; type < 256; type++) {
        bool known = type <= OFPT_METER_MOD && type != OFPT_FEATURES_REPLY && type != OFPT_GET_CONFIG_REPLY &&
                     (type < OFPT_PACKET_IN || type > OFPT_PORT_STATUS) && type != OFPT_MULTIPART_REPLY &&
                     type != OFPT_BARRIER_REPLY && type != OFPT_QUEUE_GET_CONFIG_REPLY && type != OFPT_ROLE_REPLY &&
                     type != OFPT_GET_ASYNC_REPLY;
        if (known)
            continue;
        send_plain(client, (uint8_t) type, type);
        expect_error(client, type, OFPET_BAD_REQUEST, OFPBRC_BAD_TYPE);
    }
    client_close(client);
}

static void lengths_must_fit_the_type(void **state) {
    static const uint8_t too_short[] = {OFPT_EXPERIMENTER, OFPT_SET_CONFIG,        OFPT_PACKET_OUT,
                                        OFPT_FLOW_MOD,     OFPT_GROUP_MOD,         OFPT_PORT_MOD,
                                        OFPT_TABLE_MOD,    OFPT_MULTIPART_REQUEST, OFPT_QUEUE_GET_CONFIG_REQUEST,
                                        OFPT_ROLE_REQUEST, OFPT_SET_ASYNC,         OFPT_METER_MOD};
    struct client *client = client_connect(*state);
    struct request request;
    for (size_t i = 0; i < sizeof too_short; i++) {
        send_plain(client, too_short[i], 40);
        expect_error(client, 40, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    }
    request_begin(&request, OFPT_BARRIER_REQUEST, 41);
    request_u32(&request, 0);
    request_send(client, &request);
    expect_error(client, 41, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    client_close(client);
}

static void impossible_length_ends_the_connection(void **state) {
    struct client *client = client_connect(*state);
    struct ofp_header header = {OFP_VERSION, OFPT_ECHO_REQUEST, htobe16(7), htobe32(1)};
    client_send(client, &header, sizeof header);
    expect_error(client, 1, OFPET_BAD_REQUEST, OFPBRC_BAD_LEN);
    client_await_end(client);
    client_close(client);
}

static void error_carries_the_start_of_the_request(void **state) {
    struct client *client = client_connect(*state);
    struct request request;
    uint8_t sent[100];
    request_begin(&request, 0x77, 50);
    request_zeros(&request, 50);
    for (unsigned char i = 0; i < 42; i++)
        request_u8(&request, i);
    memcpy(sent, buf_data(&request.bytes), sizeof sent);
    sent[3] = sizeof sent;
    request_send(client, &request);
    const uint8_t *error = expect_message(client, OFPT_ERROR, 50, 12 + 64);
    assert_memory_equal(error + 12, sent, 64);
    client_close(client);
}

static void unknown_experimenter_is_refused(void **state) {
    struct client *client = client_connect(*state);
    struct request request;
    request_begin(&request, OFPT_EXPERIMENTER, 60);
    request_u32(&request, 0x1234);
    request_u32(&request, 1);
    request_send(client, &request);
    expect_error(client, 60, OFPET_BAD_REQUEST, OFPBRC_BAD_EXPERIMENTER);
    request_begin(&request, OFPT_EXPERIMENTER, 61);
    request_u32(&request, ONF_EXPERIMENTER_ID);
    request_u32(&request, 1);
    request_send(client, &request);
    expect_error(client, 61, OFPET_BAD_REQUEST, OFPBRC_BAD_EXP_TYPE);
    client_close(client);
}

/* ---- Roles ---- */

static void ask_role(struct client *client, uint32_t role, uint64_t generation_id) {
    struct request request;
    request_begin(&request, OFPT_ROLE_REQUEST, 70);
    request_u32(&request, role);
    request_u32(&request, 0);
    request_u64(&request, generation_id);
    request_send(client, &request);
}

static void expect_role(struct client *client, uint32_t role, uint64_t generation_id) {
    const struct ofp_role_request *reply = expect_message(client, OFPT_ROLE_REPLY, 70, sizeof *reply);
    assert_int_equal(be32toh(reply->role), role);
    assert_int_equal(be64toh(reply->generation_id), generation_id);
}

static void one_master_at_a_time(void **state) {
    struct client *a = client_connect(*state), *b = client_connect(*state);
    ask_role(a, OFPCR_ROLE_NOCHANGE, 0);
    expect_role(a, OFPCR_ROLE_EQUAL, UINT64_MAX); /* no generation was ever set */
    ask_role(a, OFPCR_ROLE_MASTER, 5);
    expect_role(a, OFPCR_ROLE_MASTER, 5);
    ask_role(b, OFPCR_ROLE_MASTER, 6);
    expect_role(b, OFPCR_ROLE_MASTER, 6);
    ask_role(a, OFPCR_ROLE_NOCHANGE, 0);
    expect_role(a, OFPCR_ROLE_SLAVE, 6);
    client_close(a);
    client_close(b);
}

static void stale_generations_are_refused(void **state) {
    struct client *client = client_connect(*state);
    ask_role(client, OFPCR_ROLE_MASTER, 5);
    expect_role(client, OFPCR_ROLE_MASTER, 5);
    ask_role(client, OFPCR_ROLE_SLAVE, 4);
    expect_error(client, 70, OFPET_ROLE_REQUEST_FAILED, OFPRRFC_STALE);
    ask_role(client, OFPCR_ROLE_MASTER, UINT64_MAX - 2); /* behind, modulo 2^64 */
    expect_error(client, 70, OFPET_ROLE_REQUEST_FAILED, OFPRRFC_STALE);
    ask_role(client, OFPCR_ROLE_EQUAL, 0); /* needs none */
    expect_role(client, OFPCR_ROLE_EQUAL, 5);
    ask_role(client, 4, 9);
    expect_error(client, 70, OFPET_ROLE_REQUEST_FAILED, OFPRRFC_BAD_ROLE);
    client_close(client);
}

static void slaves_only_read(void **state) {
    static const struct {
        uint8_t type;
        uint16_t body;
    } writes[] = {{OFPT_FLOW_MOD, 48}, {OFPT_GROUP_MOD, 8}, {OFPT_METER_MOD, 8},
                  {OFPT_PORT_MOD, 32}, {OFPT_TABLE_MOD, 8}, {OFPT_PACKET_OUT, 40}};
    struct client *client = client_connect(*state);
    struct request request;
    ask_role(client, OFPCR_ROLE_SLAVE, 1);
    expect_role(client, OFPCR_ROLE_SLAVE, 1);
    for (size_t i = 0; i < sizeof writes / sizeof *writes; i++) {
        request_begin(&request, writes[i].type, 71);
        request_zeros(&request, writes[i].body);
        request_send(client, &request);
        expect_error(client, 71, OFPET_BAD_REQUEST, OFPBRC_IS_SLAVE);
    }
    send_plain(client, OFPT_FEATURES_REQUEST, 72);
    expect_message(client, OFPT_FEATURES_REPLY, 72, 32);
    client_close(client);
}

/* ---- Asynchronous configuration ---- */

static void asynchronous_choice_is_kept(void **state) {
    struct client *client = client_connect(*state);
    struct request request;
    send_plain(client, OFPT_GET_ASYNC_REQUEST, 80);
    const struct ofp_async_config *reply = expect_message(client, OFPT_GET_ASYNC_REPLY, 80, sizeof *reply);
    const uint32_t defaults[] = {3, 0, 7, 7, 15, 0};
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(be32toh(((const be32 *) (const void *) reply->packet_in_mask)[i]), defaults[i]);
    request_begin(&request, OFPT_SET_ASYNC, 81);
    for (uint32_t i = 0; i < 6; i++)
        request_u32(&request, i % 3);
    request_send(client, &request);
    send_plain(client, OFPT_GET_ASYNC_REQUEST, 82);
    reply = expect_message(client, OFPT_GET_ASYNC_REPLY, 82, sizeof *reply);
    for (unsigned i = 0; i < 6; i++)
        assert_int_equal(be32toh(((const be32 *) (const void *) reply->packet_in_mask)[i]), i % 3);
    client_close(client);
}

static void port_status_goes_to_who_wants_it(void **state) {
    struct rig *rig = *state;
    struct client *wants = client_connect(rig), *deaf = client_connect(rig);
    struct request request;
    request_begin(&request, OFPT_SET_ASYNC, 83);
    request_zeros(&request, 24);
    request_send(deaf, &request);
    expect_silence(deaf);
    expect_silence(wants);
    dp_port_set_state(rig->dp, 2, OFPPS_LINK_DOWN);
    const struct ofp_port_status *status = expect_message(wants, OFPT_PORT_STATUS, 0, sizeof *status);
    assert_int_equal(status->reason, OFPPR_MODIFY);
    assert_int_equal(be32toh(status->desc.port_no), 2);
    assert_int_equal(be32toh(status->desc.state), OFPPS_LINK_DOWN);
    expect_silence(deaf);
    client_close(wants);
    client_close(deaf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(switch_says_hello_first),
        TEST(versions_are_agreed),
        TEST(first_message_must_be_hello),
        TEST(echo_comes_back_with_its_data),
        TEST(features_tell_the_switch),
        TEST(configuration_is_kept),
        TEST(no_port_has_queues),
        TEST(bad_headers_are_refused),
        TEST(lengths_must_fit_the_type),
        TEST(impossible_length_ends_the_connection),
        TEST(error_carries_the_start_of_the_request),
        TEST(unknown_experimenter_is_refused),
        TEST(one_master_at_a_time),
        TEST(stale_generations_are_refused),
        TEST(slaves_only_read),
        TEST(asynchronous_choice_is_kept),
        TEST(port_status_goes_to_who_wants_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
