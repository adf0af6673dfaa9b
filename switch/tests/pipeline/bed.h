/* A test bed: a datapath with four ports and one worker whose output is kept for the test to look at.
 *
 * Packets are real mbufs from a real pool; nothing is stood in for. EAL is initialised once per program, without
 * hugepages, ports or privileges. */
#ifndef QUAKE_TESTS_PIPELINE_BED_H
#define QUAKE_TESTS_PIPELINE_BED_H 1

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>

#include <cmocka.h>
#include <rte_mbuf.h>

#include "openflow/ofp13.h"
#include "packet/action.h"
#include "pipeline/dp.h"

#define BED_PORTS 4
#define BED_KEPT 256

struct bed_packet {
    unsigned port;
    uint32_t len;
    uint8_t data[256];
};

struct bed {
    struct dp *dp;
    struct dp_worker *worker;
    unsigned n_sent;
    struct bed_packet sent[BED_KEPT]; /* the first of them */
    unsigned n_packet_ins;
    struct dp_packet_in last_packet_in;
    uint32_t last_packet_in_len;
    unsigned n_removed;
    enum dp_removed_reason last_reason;
    uint64_t last_removed_cookie;
    unsigned n_port_status;
};

int bed_eal(void **state); /* a group setup */
int bed_setup(void **state);
int bed_teardown(void **state);

struct rte_mempool *bed_pool(void);
unsigned bed_mbufs_in_use(void);
struct rte_mbuf *bed_mbuf(const uint8_t *data, size_t len);

/* A 60-byte Ethernet, IPv4, UDP frame. */
#define BED_FRAME 60
void bed_frame(uint8_t frame[BED_FRAME], uint64_t eth_dst, uint32_t ipv4_src, uint32_t ipv4_dst, uint16_t udp_dst);
/* Run a frame in on `port`; then `sent` holds what came out because of it. */
void bed_send(struct bed *bed, unsigned port, const uint8_t *frame, size_t len);

/* Matches, put together field by field. */
void match_u(struct match *match, enum field_id field, uint64_t value);
void match_masked(struct match *match, enum field_id field, uint64_t value, uint64_t mask);

struct action output_to(uint32_t port);
struct action set_field_u(enum field_id field, uint64_t value);
struct action group_action(uint32_t group_id);
struct flow_mod add_mod(uint8_t table_id, uint16_t priority, const struct action *apply, unsigned n);
ofperr bed_mod(struct bed *bed, const struct flow_mod *mod); /* in a plain transaction of its own */
void bed_add(struct bed *bed, uint8_t table_id, uint16_t priority, const struct match *match,
             const struct action *apply, unsigned n);
unsigned bed_count(struct bed *bed); /* rules of all tables */
struct group_bucket bucket_of(const struct action *actions, unsigned n);
/* A group mod in a plain transaction of its own, which must end like this. */
void bed_group(struct bed *bed, uint16_t command, uint8_t type, uint32_t id, const struct group_bucket *buckets,
               unsigned n, ofperr wanted);

#endif
