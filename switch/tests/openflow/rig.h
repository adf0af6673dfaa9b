/* A switch without ports' drivers and its controllers, all in one thread: a datapath, openflow/ listening on a unix
 * socket, and clients on the other end of it. Waiting is running the event loop until what is waited for came; never
 * sleeping. */
#ifndef QUAKE_TESTS_OPENFLOW_RIG_H
#define QUAKE_TESTS_OPENFLOW_RIG_H 1

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/loop.h"
#include "openflow/experimenter.h"
#include "openflow/of.h"
#include "openflow/wire.h"

#define RIG_PORTS 4 /* numbers 1 to 4 */
#define RIG_DATAPATH_ID UINT64_C(0x1122334455667788)

struct rig {
    struct loop *loop;
    struct dp *dp;
    struct of *of;
    char directory[64], path[96], target[112];
    /* What the hooks were told. */
    struct buf accepted; /* messages, one behind the other */
    unsigned accepted_calls, packet_outs;
    uint32_t packet_out_port;
    size_t packet_out_len;
};

struct client {
    struct rig *rig;
    int fd;
    struct loop_fd *watch;
    struct buf in, message; /* bytes that came; the message that was taken from them last */
    bool ended;
};

struct rig *rig_create(void);
void rig_destroy(struct rig *rig);

struct client *client_connect(struct rig *rig);     /* hellos exchanged */
struct client *client_connect_raw(struct rig *rig); /* nothing sent or received */
struct client *client_adopt(struct rig *rig, int fd);
void client_close(struct client *client);
void client_send(struct client *client, const void *data, size_t len);
/* The next message, which lives until the next call; NULL when the switch closed the connection. */
const struct ofp_header *client_receive(struct client *client);
void client_await_end(struct client *client);

/* Requests by hand: request_begin(), then the pieces, then request_send(). */
struct request {
    struct buf bytes;
};
void request_begin(struct request *request, uint8_t type, uint32_t xid);
void request_u8(struct request *request, uint8_t value);
void request_u16(struct request *request, uint16_t value);
void request_u32(struct request *request, uint32_t value);
void request_u64(struct request *request, uint64_t value);
void request_bytes(struct request *request, const void *data, size_t len);
void request_zeros(struct request *request, size_t len);
void request_finish(struct request *request);                      /* sets the length */
void request_send(struct client *client, struct request *request); /* finishes, sends, frees */

/* Common messages. */
struct flow_spec {
    uint8_t table, command;
    uint16_t priority, idle, hard, flags;
    uint64_t cookie;
    uint32_t xid, in_port, out_port; /* in_port 0: match all; out_port 0: no instructions */
    uint32_t udp_dst;                /* not 0: match it as well */
    uint32_t group, meter;
    uint8_t goto_table;
};
void request_flow_mod(struct request *request, const struct flow_spec *spec);
void send_flow_mod(struct client *client, const struct flow_spec *spec);
void send_plain(struct client *client, uint8_t type, uint32_t xid);

/* A barrier, and the check that nothing was said before its reply. */
void expect_silence(struct client *client);
void expect_error(struct client *client, uint32_t xid, uint16_t type, uint16_t code);
void expect_onf_error(struct client *client, uint32_t xid, uint16_t exp_type);
const void *expect_message(struct client *client, uint8_t type, uint32_t xid, size_t min_len);
unsigned count_flows(struct rig *rig);

#endif
