#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define PATIENCE_MS 20000

static void note_accepted(void *aux, const uint8_t *const *messages, const size_t *lengths, unsigned n) {
    struct rig *rig = aux;
    rig->accepted_calls++;
    for (unsigned i = 0; i < n; i++)
        buf_put(&rig->accepted, messages[i], lengths[i]);
}

static void note_packet_out(void *aux, uint32_t in_port, const struct action *actions, unsigned n_actions,
                            const uint8_t *data, size_t len) {
    struct rig *rig = aux;
    (void) actions, (void) n_actions, (void) data;
    rig->packet_outs++;
    rig->packet_out_port = in_port;
    rig->packet_out_len = len;
}

static void forward_packet_in(void *aux, const struct dp_packet_in *event) {
    of_packet_in(((struct rig *) aux)->of, event);
}

static void forward_flow_removed(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason) {
    of_flow_removed(((struct rig *) aux)->of, flow, reason);
}

static void forward_port_status(void *aux, const struct dp_port *port, enum dp_port_reason reason) {
    struct rig *rig = aux;
    if (rig->of)
        of_port_status(rig->of, port, reason);
}

static void add_ports(struct rig *rig) {
    for (uint32_t n = 1; n <= RIG_PORTS; n++) {
        struct dp_port port = {.port_no = n, .hw_addr = {2, 0, 0, 0, 0, (uint8_t) n}, .state = OFPPS_LIVE};
        snprintf(port.name, sizeof port.name, "p%u", n);
        assert_true(dp_port_add(rig->dp, &port) >= 0);
    }
}

struct rig *rig_create(void) {
    struct rig *rig = xzalloc(sizeof *rig);
    struct dp_events events = {rig, forward_packet_in, forward_flow_removed, forward_port_status};
    struct of_description description = {"Tephra", "test", "quake", "1", "rig"};
    struct of_hooks hooks = {rig, note_accepted, note_packet_out};
    snprintf(rig->directory, sizeof rig->directory, "/tmp/quake-of-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    snprintf(rig->path, sizeof rig->path, "%s/of", rig->directory);
    snprintf(rig->target, sizeof rig->target, "punix:%s", rig->path);
    rig->loop = loop_create();
    rig->dp = dp_create(RIG_DATAPATH_ID, &events);
    add_ports(rig);
    rig->of = of_create(rig->loop, rig->dp, &description, &hooks);
    assert_null(of_controller_add(rig->of, rig->target));
    return rig;
}

void rig_destroy(struct rig *rig) {
    of_destroy(rig->of);
    dp_destroy(rig->dp);
    loop_destroy(rig->loop);
    buf_free(&rig->accepted);
    rmdir(rig->directory);
    free(rig);
}

/* ---- Clients ---- */

static void client_ready(void *aux, uint32_t events) {
    struct client *client = aux;
    uint8_t bytes[65536];
    ssize_t n = read(client->fd, bytes, sizeof bytes);
    (void) events;
    if (n > 0)
        buf_put(&client->in, bytes, (size_t) n);
    else if (n == 0 || errno != EAGAIN)
        client->ended = true;
    loop_stop(client->rig->loop);
}

struct client *client_adopt(struct rig *rig, int fd) {
    struct client *client = xzalloc(sizeof *client);
    client->rig = rig;
    client->fd = fd;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    client->watch = loop_fd_add(rig->loop, fd, EPOLLIN, client_ready, client);
    return client;
}

struct client *client_connect_raw(struct rig *rig) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", rig->path);
    assert_int_equal(connect(fd, (struct sockaddr *) &address, sizeof address), 0);
    return client_adopt(rig, fd);
}

struct client *client_connect(struct rig *rig) {
    struct client *client = client_connect_raw(rig);
    send_plain(client, OFPT_HELLO, 7);
    expect_message(client, OFPT_HELLO, 0, 16);
    return client;
}

void client_close(struct client *client) {
    loop_fd_remove(client->watch);
    close(client->fd);
    buf_free(&client->in);
    buf_free(&client->message);
    free(client);
}

static void out_of_patience(void *aux) {
    (void) aux;
    fail_msg("nothing came in %d ms", PATIENCE_MS);
}

/* One round of the loop or more, until some client's descriptor was ready. */
static void rig_wait(struct rig *rig) {
    struct loop_timer *timer = loop_timer_add(rig->loop, loop_now_ms() + PATIENCE_MS, out_of_patience, NULL);
    loop_run(rig->loop);
    loop_timer_remove(timer);
}

void client_send(struct client *client, const void *data, size_t len) {
    for (size_t at = 0; at < len;) {
        ssize_t n = send(client->fd, (const uint8_t *) data + at, len - at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) { /* the switch has to read first */
            loop_fd_events(client->watch, EPOLLIN | EPOLLOUT);
            rig_wait(client->rig);
            loop_fd_events(client->watch, EPOLLIN);
            continue;
        }
        assert_true(n > 0);
        at += (size_t) n;
    }
}

const struct ofp_header *client_receive(struct client *client) {
    for (;;) {
        const struct ofp_header *header = (const struct ofp_header *) buf_data(&client->in);
        size_t have = buf_len(&client->in);
        if (have >= sizeof *header && have >= be16toh(header->length)) {
            size_t len = be16toh(header->length);
            buf_clear(&client->message);
            buf_put(&client->message, header, len);
            buf_pull(&client->in, len);
            return (const struct ofp_header *) buf_data(&client->message);
        }
        if (client->ended)
            return NULL;
        rig_wait(client->rig);
    }
}

void client_await_end(struct client *client) {
    while (client_receive(client))
        ;
}

/* ---- Requests ---- */

void request_bytes(struct request *request, const void *data, size_t len) {
    buf_put(&request->bytes, data, len);
}

void request_zeros(struct request *request, size_t len) {
    buf_put_zeros(&request->bytes, len);
}

void request_u8(struct request *request, uint8_t value) {
    request_bytes(request, &value, 1);
}

void request_u16(struct request *request, uint16_t value) {
    value = htobe16(value);
    request_bytes(request, &value, 2);
}

void request_u32(struct request *request, uint32_t value) {
    value = htobe32(value);
    request_bytes(request, &value, 4);
}

void request_u64(struct request *request, uint64_t value) {
    value = htobe64(value);
    request_bytes(request, &value, 8);
}

void request_begin(struct request *request, uint8_t type, uint32_t xid) {
    *request = (struct request){0};
    request_u8(request, OFP_VERSION);
    request_u8(request, type);
    request_u16(request, 0);
    request_u32(request, xid);
}

void request_finish(struct request *request) {
    ((struct ofp_header *) buf_data(&request->bytes))->length = htobe16((uint16_t) buf_len(&request->bytes));
}

void request_send(struct client *client, struct request *request) {
    request_finish(request);
    client_send(client, buf_data(&request->bytes), buf_len(&request->bytes));
    buf_free(&request->bytes);
}

static void put_oxm(struct request *request, unsigned field, unsigned bytes, uint32_t value) {
    request_u16(request, OFPXMC_OPENFLOW_BASIC);
    request_u8(request, (uint8_t) (field << 1));
    request_u8(request, (uint8_t) bytes);
    value = htobe32(value);
    request_bytes(request, (const uint8_t *) &value + 4 - bytes, bytes);
}

static void put_match(struct request *request, const struct flow_spec *spec) {
    unsigned len = 4 + (spec->in_port ? 8 : 0) + (spec->udp_dst ? 6 + 5 + 6 : 0);
    request_u16(request, OFPMT_OXM);
    request_u16(request, (uint16_t) len);
    if (spec->in_port)
        put_oxm(request, FIELD_IN_PORT, 4, spec->in_port);
    if (spec->udp_dst) {
        put_oxm(request, FIELD_ETH_TYPE, 2, 0x0800);
        put_oxm(request, FIELD_IP_PROTO, 1, 17);
        put_oxm(request, FIELD_UDP_DST, 2, spec->udp_dst);
    }
    request_zeros(request, (8 - len % 8) % 8);
}

static void put_short_instruction(struct request *request, uint16_t type, uint32_t value) {
    request_u16(request, type);
    request_u16(request, 8);
    request_u32(request, value);
}

static void put_actions(struct request *request, const struct flow_spec *spec) {
    request_u16(request, OFPIT_APPLY_ACTIONS);
    request_u16(request, (uint16_t) (8 + (spec->out_port ? 16 : 0) + (spec->group ? 8 : 0)));
    request_u32(request, 0);
    if (spec->group) {
        request_u16(request, OFPAT_GROUP);
        request_u16(request, 8);
        request_u32(request, spec->group);
    }
    if (spec->out_port) {
        request_u16(request, OFPAT_OUTPUT);
        request_u16(request, 16);
        request_u32(request, spec->out_port);
        request_u16(request, 0xffff);
        request_zeros(request, 6);
    }
}

void request_flow_mod(struct request *request, const struct flow_spec *spec) {
    request_begin(request, OFPT_FLOW_MOD, spec->xid);
    request_u64(request, spec->cookie);
    request_u64(request, 0);
    request_u8(request, spec->table);
    request_u8(request, spec->command);
    request_u16(request, spec->idle);
    request_u16(request, spec->hard);
    request_u16(request, spec->priority);
    request_u32(request, OFP_NO_BUFFER);
    request_u32(request, OFPP_ANY);
    request_u32(request, OFPG_ANY);
    request_u16(request, spec->flags);
    request_u16(request, 0);
    put_match(request, spec);
    if (spec->meter)
        put_short_instruction(request, OFPIT_METER, spec->meter);
    if (spec->out_port || spec->group)
        put_actions(request, spec);
    if (spec->goto_table)
        put_short_instruction(request, OFPIT_GOTO_TABLE, (uint32_t) spec->goto_table << 24);
}

void send_flow_mod(struct client *client, const struct flow_spec *spec) {
    struct request request;
    request_flow_mod(&request, spec);
    request_send(client, &request);
}

void send_plain(struct client *client, uint8_t type, uint32_t xid) {
    struct request request;
    request_begin(&request, type, xid);
    request_send(client, &request);
}

/* ---- Expectations ---- */

const void *expect_message(struct client *client, uint8_t type, uint32_t xid, size_t min_len) {
    const struct ofp_header *header = client_receive(client);
    assert_non_null(header);
    assert_int_equal(header->version, OFP_VERSION);
    if (header->type == OFPT_ERROR && type != OFPT_ERROR) {
        const struct ofp_error_msg *error = (const struct ofp_error_msg *) header;
        fail_msg("error %u/%u instead of type %u", be16toh(error->type), be16toh(error->code), type);
    }
    assert_int_equal(header->type, type);
    assert_int_equal(be32toh(header->xid), xid);
    assert_true(be16toh(header->length) >= min_len);
    return header;
}

void expect_silence(struct client *client) {
    send_plain(client, OFPT_BARRIER_REQUEST, 0xba221e2);
    expect_message(client, OFPT_BARRIER_REPLY, 0xba221e2, 8);
}

void expect_error(struct client *client, uint32_t xid, uint16_t type, uint16_t code) {
    const struct ofp_error_msg *error = expect_message(client, OFPT_ERROR, xid, sizeof *error + 8);
    assert_int_equal(be16toh(error->type) << 16 | be16toh(error->code), type << 16 | code);
}

void expect_onf_error(struct client *client, uint32_t xid, uint16_t exp_type) {
    const struct ofp_error_msg *error = expect_message(client, OFPT_ERROR, xid, sizeof *error + 12);
    be32 experimenter;
    memcpy(&experimenter, error + 1, sizeof experimenter);
    assert_int_equal(be16toh(error->type), OFPET_EXPERIMENTER);
    assert_int_equal(be16toh(error->code), exp_type);
    assert_int_equal(be32toh(experimenter), ONF_EXPERIMENTER_ID);
}

static bool count_one(void *aux, const struct dp_flow *flow) {
    (void) flow;
    ++*(unsigned *) aux;
    return true;
}

unsigned count_flows(struct rig *rig) {
    struct dp_flow_filter all = {.table_id = OFPTT_ALL, .out_port = OFPP_ANY, .out_group = OFPG_ANY};
    unsigned n = 0;
    dp_flow_each(rig->dp, &all, count_one, &n);
    return n;
}
