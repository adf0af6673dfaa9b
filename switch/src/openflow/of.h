/* OpenFlow 1.3.5 for one datapath: connections to controllers, and everything they may ask.
 *
 * `struct of` belongs to the control thread and lives in its event loop (base/loop.h). It decodes messages, checks them
 * by the specification, calls the datapath (pipeline/dp.h), and answers. It knows nothing of DPDK, ports' kinds, or
 * files.
 *
 * Neighbours: pipeline/dp.h below; process/main.c owns it, lends it a way to send packets out, and journals what it
 * accepted, so that a restarted process can have its state back. */
#ifndef QUAKE_OPENFLOW_OF_H
#define QUAKE_OPENFLOW_OF_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../packet/action.h"
#include "../pipeline/dp.h"

struct loop;
struct of;

struct of_hooks {
    void *aux;
    /* Every state-changing message that was accepted, in order, once it is in force: flow, group, meter, port and table
     * mods as they came over the wire, all of a bundle in one call. What timed out comes as a strict delete. */
    void (*accepted)(void *aux, const uint8_t *const *messages, const size_t *lengths, unsigned n);
    /* A packet-out: hand packet and actions to the worker of its flow. The arrays live only during the call. */
    void (*packet_out)(void *aux, uint32_t in_port, const struct action *actions, unsigned n_actions,
                       const uint8_t *data, size_t len);
};

struct of_description {
    const char *manufacturer, *hardware, *software, *serial, *datapath;
};

struct of *of_create(struct loop *loop, struct dp *dp, const struct of_description *description,
                     const struct of_hooks *hooks);
void of_destroy(struct of *of);

struct of_tls {
    const char *private_key, *certificate, *ca; /* PEM files */
};
/* `target`: tcp:HOST:PORT, ssl:HOST:PORT, unix:PATH (the switch connects, and connects again with backoff and jitter);
 * ptcp:PORT[:HOST], pssl:PORT[:HOST], punix:PATH (it listens). An active target may end in `,aux=N`: N auxiliary
 * connections, which carry the packet-ins. Returns NULL, or what is wrong, as a sentence that lives until the next
 * call. */
const char *of_controller_add(struct of *of, const char *target);
const char *of_controller_remove(struct of *of, const char *target);
const char *of_set_tls(struct of *of, const struct of_tls *tls);

struct of_connection_view {
    const char *target;
    const char *peer;
    const char *role;  /* "equal", "master", "slave", "auxiliary" */
    const char *state; /* "connected", "connecting", "backoff", "listening" */
    const char *last_error;
    uint64_t messages_in, messages_out;
};
void of_connection_each(struct of *of, void (*each)(void *aux, const struct of_connection_view *view), void *aux);

/* The datapath's events; process/main.c passes these to dp_create(). */
void of_packet_in(void *of, const struct dp_packet_in *event);
void of_flow_removed(void *of, const struct dp_flow *flow, enum dp_removed_reason reason);
void of_port_status(void *of, const struct dp_port *port, enum dp_port_reason reason);

/* Restoring: apply a message that was accepted at `created_ms` (CLOCK_MONOTONIC) before, all of `n` atomically. */
ofperr of_replay(struct of *of, const uint8_t *const *messages, const size_t *lengths, unsigned n, uint64_t created_ms);
/* The present state as the shortest list of messages that makes it anew (for a compact journal), in steps: begin lists
 * all but the rules, and each step some rules, until it is false. Changes may be made in between. If these are put into
 * the list where they happened, it makes the state at its end: a rule is listed as it was at that time, and what a
 * change does to one that is yet to be listed does not matter. */
struct of_dump;
struct of_dump *of_dump_begin(struct of *of,
                              void (*each)(void *aux, const uint8_t *message, size_t len, uint64_t created_ms),
                              void *aux);
bool of_dump_step(struct of_dump *dump);
void of_dump_end(struct of_dump *dump);

#endif
