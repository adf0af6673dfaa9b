/* What a barrier's reply promises: the very next packet of a worker meets the change. A worker forwards one packet over
 * and over while a controller moves its rule to another port, barrier after barrier. */
#include "rig.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#define MOVES 200
#define REMEMBERED 4096 /* batches whose output is kept */
#define FRAME 60

struct traffic {
    struct rig *rig;
    struct dp_worker *worker;
    pthread_t thread;
    atomic_bool stop;
    atomic_ulong started, done; /* batches */
    unsigned long batch;        /* the one at hand */
    atomic_int out[REMEMBERED]; /* the slot that a batch left by; -1: none */
    struct rte_mbuf packet;
    uint8_t buffer[RTE_PKTMBUF_HEADROOM + 256];
};

static void note_output(void *aux, unsigned slot, struct rte_mbuf **packets, unsigned n) {
    struct traffic *traffic = aux;
    (void) packets, (void) n;
    atomic_store(&traffic->out[traffic->batch % REMEMBERED], (int) slot);
}

static void refill(struct traffic *traffic) {
    traffic->packet = (struct rte_mbuf){.buf_addr = traffic->buffer,
                                        .buf_len = sizeof traffic->buffer,
                                        .data_off = RTE_PKTMBUF_HEADROOM,
                                        .data_len = FRAME,
                                        .pkt_len = FRAME,
                                        .nb_segs = 1,
                                        .refcnt = 2}; /* one is ours: a packet that is dropped goes back to no pool */
}

static void *forward(void *aux) {
    struct traffic *traffic = aux;
    unsigned slot = (unsigned) dp_port_slot(traffic->rig->dp, 1);
    dp_worker_online(traffic->worker);
    while (!atomic_load(&traffic->stop)) {
        struct rte_mbuf *packet = &traffic->packet;
        traffic->batch = atomic_load(&traffic->started) + 1;
        atomic_store(&traffic->started, traffic->batch);
        atomic_store(&traffic->out[traffic->batch % REMEMBERED], -1);
        refill(traffic);
        dp_process(traffic->worker, slot, 0, &packet, 1);
        atomic_store(&traffic->done, traffic->batch);
    }
    dp_worker_offline(traffic->worker);
    return NULL;
}

static struct traffic *traffic_start(struct rig *rig) {
    struct traffic *traffic = xzalloc(sizeof *traffic);
    traffic->rig = rig;
    traffic->worker = dp_worker_create(rig->dp, 0, NULL, note_output, traffic);
    pthread_create(&traffic->thread, NULL, forward, traffic);
    return traffic;
}

static void traffic_stop(struct traffic *traffic) {
    atomic_store(&traffic->stop, true);
    pthread_join(traffic->thread, NULL);
    dp_worker_destroy(traffic->worker);
    free(traffic);
}

/* Where the first batch that begins from now on leaves; anew if that was forgotten before it could be looked up. */
static int next_output(struct traffic *traffic) {
    for (;;) {
        unsigned long next = atomic_load(&traffic->started) + 1;
        while (atomic_load(&traffic->done) < next)
            sched_yield();
        int out = atomic_load(&traffic->out[next % REMEMBERED]);
        if (atomic_load(&traffic->started) < next + REMEMBERED - 1)
            return out;
    }
}

static void the_next_packet_meets_the_change(void **state) {
    (void) state;
    struct rig *rig = rig_create();
    struct client *client = client_connect(rig);
    struct traffic *traffic = traffic_start(rig);
    for (uint32_t i = 0; i < MOVES; i++) {
        uint32_t port = 2 + i % 3;
        send_flow_mod(client, &(struct flow_spec){.in_port = 1, .out_port = port, .priority = (uint16_t) (i % 2)});
        if (i)
            send_flow_mod(client, &(struct flow_spec){.in_port = 1,
                                                      .priority = (uint16_t) ((i + 1) % 2),
                                                      .command = OFPFC_DELETE_STRICT});
        send_plain(client, OFPT_BARRIER_REQUEST, i);
        expect_message(client, OFPT_BARRIER_REPLY, i, 8);
        assert_int_equal(next_output(traffic), dp_port_slot(rig->dp, port));
    }
    traffic_stop(traffic);
    client_close(client);
    rig_destroy(rig);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_next_packet_meets_the_change)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
