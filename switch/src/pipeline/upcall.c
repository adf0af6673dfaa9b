/* See upcall.h. */
#include "upcall.h"

#include <unistd.h>

#include <rte_mbuf.h>

#include "worker.h"

static void wake(struct dp *dp) {
    if (!__atomic_exchange_n(&dp->wake_pending, 1, __ATOMIC_SEQ_CST)) {
        uint64_t one = 1;
        ssize_t done = write(dp->wake_fd, &one, sizeof one);
        (void) done; /* fails only when the counter is at its end, and then the descriptor is readable */
    }
}

bool upcall_push(struct dp_worker *w, const struct dp_packet_in *event, struct rte_mbuf *mbuf) {
    struct upcall_ring *ring = &w->upcalls;
    uint32_t head = ring->head;
    if (head - rcu_get(&ring->tail) == UPCALL_RING) {
        ring->dropped++;
        return false;
    }
    ring->entry[head % UPCALL_RING] = (struct upcall){*event, mbuf};
    rcu_set(&ring->head, head + 1);
    wake(w->dp);
    return true;
}

static void deliver(struct dp *dp, struct upcall *upcall) {
    struct rte_mbuf *mbuf = upcall->mbuf;
    struct dp_packet_in event = upcall->event;
    uint8_t flat[UINT16_MAX];
    event.len = rte_pktmbuf_pkt_len(mbuf);
    event.len = event.len > sizeof flat ? sizeof flat : event.len;
    event.data = rte_pktmbuf_read(mbuf, 0, event.len, flat);
    if (dp->events.packet_in) {
        dp->events.packet_in(dp->events.aux, &event);
    }
    rte_pktmbuf_free(mbuf);
}

static void drain(struct dp *dp, struct upcall_ring *ring) {
    uint32_t head = rcu_get(&ring->head);
    for (uint32_t tail = ring->tail; tail != head; tail++) {
        deliver(dp, &ring->entry[tail % UPCALL_RING]);
        rcu_set(&ring->tail, tail + 1);
    }
}

void upcalls_drain(struct dp *dp) {
    uint64_t count;
    ssize_t done = read(dp->wake_fd, &count, sizeof count);
    (void) done;                                              /* it may be empty */
    __atomic_store_n(&dp->wake_pending, 0, __ATOMIC_SEQ_CST); /* before looking: what comes later wakes us again */
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++) {
        if (dp->workers[i]) {
            drain(dp, &dp->workers[i]->upcalls);
        }
    }
}

void upcall_ring_empty(struct upcall_ring *ring) {
    for (; ring->tail != ring->head; ring->tail++) {
        rte_pktmbuf_free(ring->entry[ring->tail % UPCALL_RING].mbuf);
    }
}
