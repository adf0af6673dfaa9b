/* See bed.h. */
#include "bed.h"

#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>
#include <rte_lcore.h>

#define POOL_SIZE 4095

static struct rte_mempool *pool;

int bed_eal(void **state) {
    static char *arguments[] = {"test", "--no-huge", "--no-pci",       "--no-shconf",     "--iova-mode=va",
                                "-m",   "64",        "--no-telemetry", "--log-level=*:4", "-l",
                                "0"};
    if (rte_eal_init(RTE_DIM(arguments), arguments) < 0) {
        return -1;
    }
    pool = rte_pktmbuf_pool_create("bed", POOL_SIZE, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    return pool ? 0 : -1;
}

struct rte_mempool *bed_pool(void) {
    return pool;
}

unsigned bed_mbufs_in_use(void) {
    return rte_mempool_in_use_count(pool);
}

static void keep(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    struct bed *bed = aux;
    for (unsigned i = 0; i < n && bed->n_sent + i < BED_KEPT; i++) {
        struct bed_packet *kept = &bed->sent[bed->n_sent + i];
        kept->port = slot + 1;
        kept->len = rte_pktmbuf_pkt_len(packets[i]);
        memcpy(kept->data, rte_pktmbuf_mtod(packets[i], void *), RTE_MIN(kept->len, sizeof kept->data));
    }
    bed->n_sent += n;
    rte_pktmbuf_free_bulk(packets, n);
}

static void on_packet_in(void *aux, const struct dp_packet_in *event) {
    struct bed *bed = aux;
    bed->n_packet_ins++;
    bed->last_packet_in = *event;
    bed->last_packet_in_len = event->len;
}

static void on_removed(void *aux, const struct dp_flow *flow, enum dp_removed_reason reason) {
    struct bed *bed = aux;
    struct dp_flow_view view;
    dp_flow_view(flow, &view);
    bed->n_removed++;
    bed->last_reason = reason;
    bed->last_removed_cookie = view.cookie;
}

static void on_port_status(void *aux, const struct dp_port *port, enum dp_port_reason reason) {
    struct bed *bed = aux;
    bed->n_port_status++;
}

int bed_setup(void **state) {
    struct bed *bed = calloc(1, sizeof *bed);
    struct dp_events events = {bed, on_packet_in, on_removed, on_port_status};
    bed->dp = dp_create(1, &events);
    for (uint32_t port_no = 1; port_no <= BED_PORTS; port_no++) {
        struct dp_port port = {.port_no = port_no, .hw_addr = {2, 0, 0, 0, 0, port_no}};
        assert_int_equal(dp_port_add(bed->dp, &port), port_no - 1);
    }
    bed->worker = dp_worker_create(bed->dp, 0, pool, keep, bed);
    bed->n_port_status = 0;
    *state = bed;
    return 0;
}

int bed_teardown(void **state) {
    struct bed *bed = *state;
    dp_worker_destroy(bed->worker);
    dp_destroy(bed->dp);
    free(bed);
    return bed_mbufs_in_use() ? -1 : 0;
}

struct rte_mbuf *bed_mbuf(const uint8_t *data, size_t len) {
    struct rte_mbuf *mbuf = rte_pktmbuf_alloc(pool);
    assert_non_null(mbuf);
    memcpy(rte_pktmbuf_append(mbuf, len), data, len);
    return mbuf;
}

static void put_be(uint8_t *at, uint64_t value, unsigned bytes) {
    for (unsigned i = 0; i < bytes; i++) {
        at[i] = value >> (8 * (bytes - 1 - i));
    }
}

void bed_frame(uint8_t frame[BED_FRAME], uint64_t eth_dst, uint32_t ipv4_src, uint32_t ipv4_dst, uint16_t udp_dst) {
    memset(frame, 0, BED_FRAME);
    put_be(frame, eth_dst, 6);
    put_be(frame + 6, 0x020000000099, 6);
    put_be(frame + 12, 0x0800, 2);
    put_be(frame + 14, 0x45000000 | (BED_FRAME - 14), 4);
    put_be(frame + 22, 64 << 8 | 17, 2);
    put_be(frame + 26, ipv4_src, 4);
    put_be(frame + 30, ipv4_dst, 4);
    put_be(frame + 34, 1024, 2);
    put_be(frame + 36, udp_dst, 2);
    put_be(frame + 38, BED_FRAME - 34, 2);
}

void bed_send(struct bed *bed, unsigned port, const uint8_t *frame, size_t len) {
    struct rte_mbuf *mbuf = bed_mbuf(frame, len);
    bed->n_sent = 0;
    dp_process(bed->worker, port - 1, 0, &mbuf, 1);
}

static void field_bytes(enum field_id field, uint64_t value, uint8_t bytes[FIELD_MAX_BYTES]) {
    memset(bytes, 0, FIELD_MAX_BYTES);
    unsigned n = field_by_id(field)->n_bytes;
    put_be(bytes + (n > 8 ? n - 8 : 0), value, n > 8 ? 8 : n);
}

void match_masked(struct match *match, enum field_id field, uint64_t value, uint64_t mask) {
    uint8_t bytes[FIELD_MAX_BYTES];
    field_bytes(field, mask, bytes);
    field_set(field, &match->mask, bytes);
    field_bytes(field, value & mask, bytes);
    field_set(field, &match->value, bytes);
}

void match_u(struct match *match, enum field_id field, uint64_t value) {
    const struct field_info *info = field_by_id(field);
    match_masked(match, field, value, info->n_bits < 64 ? (UINT64_C(1) << info->n_bits) - 1 : UINT64_MAX);
}

struct action output_to(uint32_t port) {
    return (struct action){.type = ACTION_OUTPUT, .max_len = UINT16_MAX, .port = port};
}

struct action group_action(uint32_t group_id) {
    return (struct action){.type = ACTION_GROUP, .group_id = group_id};
}

struct action set_field_u(enum field_id field, uint64_t value) {
    struct action action = {.type = ACTION_SET_FIELD, .field = field};
    field_bytes(field, value, action.value);
    return action;
}

struct flow_mod add_mod(uint8_t table_id, uint16_t priority, const struct action *apply, unsigned n) {
    return (struct flow_mod){
        .table_id = table_id,
        .command = OFPFC_ADD,
        .priority = priority,
        .out_port = OFPP_ANY,
        .out_group = OFPG_ANY,
        .instructions = {.has_apply = n != 0, .n_apply = n, .apply = apply, .goto_table = GOTO_NONE},
    };
}

ofperr bed_mod(struct bed *bed, const struct flow_mod *mod) {
    struct dp_txn *txn = dp_txn_begin(bed->dp, false);
    ofperr error = dp_flow_mod(txn, mod);
    dp_txn_commit(txn);
    return error;
}

void bed_add(struct bed *bed, uint8_t table_id, uint16_t priority, const struct match *match,
             const struct action *apply, unsigned n) {
    struct flow_mod mod = add_mod(table_id, priority, apply, n);
    if (match) {
        mod.match = *match;
    }
    assert_int_equal(bed_mod(bed, &mod), 0);
}

static bool count_one(void *aux, const struct dp_flow *flow) {
    ++*(unsigned *) aux;
    return true;
}

unsigned bed_count(struct bed *bed) {
    unsigned n = 0;
    struct dp_flow_filter all = {.table_id = OFPTT_ALL, .out_port = OFPP_ANY, .out_group = OFPG_ANY};
    dp_flow_each(bed->dp, &all, count_one, &n);
    return n;
}

struct group_bucket bucket_of(const struct action *actions, unsigned n) {
    return (struct group_bucket){1, OFPP_ANY, OFPG_ANY, n, actions};
}

void bed_group(struct bed *bed, uint16_t command, uint8_t type, uint32_t id, const struct group_bucket *buckets,
               unsigned n, ofperr wanted) {
    struct dp_txn *txn = dp_txn_begin(bed->dp, false);
    struct group_mod mod = {command, type, id, n, buckets};
    assert_int_equal(dp_group_mod(txn, &mod), wanted);
    dp_txn_commit(txn);
}
