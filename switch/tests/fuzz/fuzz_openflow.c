/* Fuzz target: any bytes on a controller's connection, to a real datapath.
 *
 * Input: bytes of one or more messages as a controller would send them once versions are agreed. Lengths in headers are
 * mended so that most inputs are whole messages (a wrong length is one mutation in eight). Checked, besides what the
 * sanitizers find: the switch answers in whole, well-formed messages of its version; a dump of its state is taken by a
 * second switch, and that one's dump is the same. */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "openflow/conn.h"
#include "openflow/experimenter.h"
#include "openflow/of.h"
#include "openflow/wire.h"

#include "fuzz.h"

#define PORTS 3

struct rig {
    struct loop *loop;
    struct dp *dp;
    struct of *of;
};

static void require(bool truth) {
    if (!truth)
        abort();
}

static void packet_in(void *aux, const struct dp_packet_in *event) {
    of_packet_in(((struct rig *) aux)->of, event);
}

static void flow_removed(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason) {
    of_flow_removed(((struct rig *) aux)->of, flow, reason);
}

static void port_status(void *aux, const struct dp_port *port, enum dp_port_reason reason) {
    if (((struct rig *) aux)->of)
        of_port_status(((struct rig *) aux)->of, port, reason);
}

static void rig_open(struct rig *rig) {
    struct dp_events events = {rig, packet_in, flow_removed, port_status};
    struct of_description description = {"m", "h", "s", "n", "d"};
    struct of_hooks hooks = {0};
    *rig = (struct rig){.loop = loop_create(), .dp = dp_create(1, &events)};
    for (uint32_t i = 1; i <= PORTS; i++)
        dp_port_add(rig->dp, &(struct dp_port){.port_no = i, .name = "p", .state = OFPPS_LIVE});
    rig->of = of_create(rig->loop, rig->dp, &description, &hooks);
}

static void rig_close(struct rig *rig) {
    of_destroy(rig->of);
    dp_destroy(rig->dp);
    loop_destroy(rig->loop);
}

/* ---- One connection ---- */

/* Most mutations would end at a length that does not fit: make it fit, unless the byte before the xid says otherwise.
 */
static void mend_lengths(uint8_t *data, size_t size) {
    for (size_t at = 0; size - at >= sizeof(struct ofp_header);) {
        struct ofp_header *header = (struct ofp_header *) (data + at);
        size_t len = be16toh(header->length);
        if (header->xid % 8 && (len < sizeof *header || len > size - at))
            len = size - at;
        header->length = htobe16((uint16_t) len);
        if (len < sizeof *header)
            break;
        at += len < size - at ? len : size - at;
    }
}

static void check_answers(const struct buf *answers) {
    for (size_t at = 0; at < buf_len(answers);) {
        const struct ofp_header *header = (const struct ofp_header *) (buf_data(answers) + at);
        require(buf_len(answers) - at >= sizeof *header);
        size_t len = be16toh(header->length);
        require(header->version == OFP_VERSION && header->type < OFPT_TYPES);
        require(len >= sizeof *header && len <= buf_len(answers) - at);
        at += len;
    }
}

/* The messages go through dispatch() as conn.c would do it, each from a heap block of just its size. */
static void converse(struct conn *conn, const uint8_t *data, size_t size) {
    for (size_t at = 0; size - at >= sizeof(struct ofp_header) && !conn->close_reason;) {
        size_t len = (size_t) data[at + 2] << 8 | data[at + 3];
        if (len > size - at)
            break;
        uint8_t *message = malloc(len < sizeof(struct ofp_header) ? sizeof(struct ofp_header) : len);
        memcpy(message, data + at, len < sizeof(struct ofp_header) ? sizeof(struct ofp_header) : len);
        dispatch(conn, (const struct ofp_header *) message, len);
        free(message);
        at += len;
    }
    of_txn_end(conn->of);
}

/* ---- The dump makes the same switch ---- */

static void gather(void *aux, const uint8_t *message, size_t len, uint64_t created_ms) {
    (void) created_ms;
    buf_put(aux, message, len);
}

static void dump(struct of *of, struct buf *messages) {
    struct of_dump *dump = of_dump_begin(of, gather, messages);
    while (of_dump_step(dump))
        continue;
    of_dump_end(dump);
}

static void check_restore(struct rig *rig) {
    struct rig other;
    struct buf before = {0}, after = {0};
    dump(rig->of, &before);
    if (!buf_len(&before))
        return;
    rig_open(&other);
    for (size_t at = 0; at < buf_len(&before);) {
        const uint8_t *message = buf_data(&before) + at;
        size_t len = be16toh(((const struct ofp_header *) message)->length);
        require(!of_replay(other.of, &message, &len, 1, loop_now_ms()));
        at += len;
    }
    dump(other.of, &after);
    require(buf_len(&before) == buf_len(&after));
    buf_free(&before);
    buf_free(&after);
    rig_close(&other);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct rig rig;
    struct controller controller = {.text = (char[]){"fuzz"}, .target.passive = true};
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    mend_lengths(copy, size);
    rig_open(&rig);
    controller.of = rig.of;
    struct conn *conn = conn_create(&controller, NULL, 0);
    session_reset(conn);
    conn->state = CONN_UP;
    converse(conn, copy, size);
    check_answers(&conn->out);
    check_restore(&rig);
    buf_free(&conn->out);
    session_reset(conn);
    conn_destroy(conn);
    rig_close(&rig);
    free(copy);
    return 0;
}

/* ---- Seeds: one message of every type, well-formed ---- */

struct seed {
    uint8_t type;
    uint16_t len;
    const char *body; /* hexadecimal; zeroes follow up to `len` */
};

#define OUTPUT_1 "0000001000000001ffff000000000000"
#define EVERY_ACTION                                                                                                   \
    OUTPUT_1 "0019001080000606020000000001"                                                                            \
             "0000"                                                                                                    \
             "0011000881000000"                                                                                        \
             "0019001080000c0210050000"                                                                                \
             "00000000"                                                                                                \
             "0012000800000000"                                                                                        \
             "0013000888470000"                                                                                        \
             "001900108000440400000005"                                                                                \
             "00000000"                                                                                                \
             "0014000808000000"                                                                                        \
             "0018000800000000"                                                                                        \
             "ffff001851554b450001020000000009"                                                                        \
             "0000000000000000"

static const struct seed seeds[] = {
    {OFPT_ECHO_REQUEST, 12, "01020304"},
    {OFPT_FEATURES_REQUEST, 8, ""},
    {OFPT_SET_CONFIG, 12, "00000080"},
    {OFPT_GET_CONFIG_REQUEST, 8, ""},
    {OFPT_BARRIER_REQUEST, 8, ""},
    {OFPT_ROLE_REQUEST, 24, "00000002000000000000000000000001"},
    {OFPT_GET_ASYNC_REQUEST, 8, ""},
    {OFPT_SET_ASYNC, 32, "000000030000000000000007"},
    {OFPT_QUEUE_GET_CONFIG_REQUEST, 16, "ffffffff00000000"},
    {OFPT_TABLE_MOD, 16, "ff00000000000000"},
    {OFPT_PORT_MOD, 40, "000000010000000000000000000000000000002000000020"},
    {OFPT_PACKET_OUT, 24 + 16 + 60,
     "fffffffffffffffd0010000000000000"
     "00000010fffffff9ffff000000000000"},
    {OFPT_METER_MOD, 32,
     "00000001000000010001001000000100"
     "00000000"},
    {OFPT_METER_MOD, 32,
     "00000006000000020002001000000100"
     "0000001001000000"},
    {OFPT_GROUP_MOD, 16 + 32,
     "0000000000000001"
     "00200000ffffffffffffffff00000000" OUTPUT_1},
    {OFPT_GROUP_MOD, 16 + 24,
     "0000000000000002"
     "00180000ffffffffffffffff00000000"
     "0016000800000001"},
    {OFPT_GROUP_MOD, 16 + 32,
     "0000030000000003"
     "0020000000000001ffffffff00000000" OUTPUT_1},
    {OFPT_FLOW_MOD, 56,
     "0000000000000000000000000000000000000000000000058ffffffff"
     "fffffffffffffffff"
     "00000000"},
    {OFPT_FLOW_MOD, 48 + 48 + 32 + 8,
     "0000000000000000"
     "0000000000000000"
     "0000000000000005"
     "ffffffffffffffffffffffff00010000"
     "0001002b80000004000000018000"
     "0a0208008000140106800016040a0000018000"
     "1a020050"
     "0000000000"
     "0004002000000000" OUTPUT_1 "0016000800000001"
     "0001000805000000"},
    {OFPT_FLOW_MOD, 48 + 8 + 8 + 160,
     "0000000000000000"
     "0000000000000000"
     "0000000000000005"
     "ffffffffffffffffffffffff00000000"
     "0001000400000000"
     "000400a800000000" EVERY_ACTION},
    {OFPT_FLOW_MOD, 56,
     "0000000000000000"
     "0000000000000000"
     "ff03000000000000"
     "ffffffffffffffffffffffff00000000"
     "0001000400000000"},
    {OFPT_MULTIPART_REQUEST, 16, "0000000000000000"},
    {OFPT_MULTIPART_REQUEST, 16 + 40,
     "0001000000000000"
     "ff000000ffffffffffffffff00000000"
     "00000000000000000000000000000000"
     "0001000400000000"},
    {OFPT_MULTIPART_REQUEST, 16 + 40,
     "0002000000000000"
     "ff000000ffffffffffffffff00000000"
     "00000000000000000000000000000000"
     "0001000400000000"},
    {OFPT_MULTIPART_REQUEST, 16, "0003000000000000"},
    {OFPT_MULTIPART_REQUEST, 24,
     "0004000000000000"
     "ffffffff"},
    {OFPT_MULTIPART_REQUEST, 24,
     "0005000000000000"
     "ffffffffffffffff"},
    {OFPT_MULTIPART_REQUEST, 24,
     "0006000000000000"
     "fffffffc"},
    {OFPT_MULTIPART_REQUEST, 16, "0007000000000000"},
    {OFPT_MULTIPART_REQUEST, 16, "0008000000000000"},
    {OFPT_MULTIPART_REQUEST, 24,
     "0009000000000000"
     "ffffffff"},
    {OFPT_MULTIPART_REQUEST, 24,
     "000a000000000000"
     "ffffffff"},
    {OFPT_MULTIPART_REQUEST, 16, "000b000000000000"},
    {OFPT_MULTIPART_REQUEST, 16 + 72,
     "000c000100000000"
     "0048000000000000"},
    {OFPT_MULTIPART_REQUEST, 16, "000d000000000000"},
    {OFPT_EXPERIMENTER, 24, "4f4e4600000008fc0000000100000003"},
    {OFPT_EXPERIMENTER, 24 + 56,
     "4f4e4600000008fd0000000100000003"
     "040e003800000101"
     "0000000000000000"
     "0000000000000000"
     "0000000000000005"
     "ffffffffffffffffffffffff00000000"
     "0001000400000000"},
    {OFPT_EXPERIMENTER, 24, "4f4e4600000008fc0000000100040003"},
};
#define N_SEEDS (sizeof seeds / sizeof *seeds)

static size_t put_seed(const struct seed *seed, uint8_t *bytes, size_t room) {
    if (seed->len > room)
        return 0;
    memset(bytes, 0, seed->len);
    *(struct ofp_header *) bytes = (struct ofp_header){OFP_VERSION, seed->type, htobe16(seed->len), htobe32(0x101)};
    for (size_t i = 0; seed->body[2 * i] && 8 + i < seed->len; i++) {
        char digits[3] = {seed->body[2 * i], seed->body[2 * i + 1], 0};
        bytes[8 + i] = (uint8_t) strtoul(digits, NULL, 16);
    }
    return seed->len;
}

/* Each message alone, then all of them one behind the other. */
size_t fuzz_seed(size_t index, uint8_t *bytes, size_t room) {
    if (index < N_SEEDS)
        return put_seed(&seeds[index], bytes, room);
    size_t at = 0;
    if (index == N_SEEDS)
        for (size_t i = 0; i < N_SEEDS; i++)
            at += put_seed(&seeds[i], bytes + at, room - at);
    return at;
}
