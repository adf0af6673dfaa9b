/* What ports have in common: a worker's burst reaches the device whole, in pieces that every type can take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <rte_mbuf.h>

#include "ports/port.h"

#define BURST (2 * DP_BATCH) /* what a worker sends at once when each packet of a batch goes to a port twice */

static struct rte_mbuf *seen[BURST];
static unsigned n_seen;

static unsigned take(struct port *port, unsigned queue, struct rte_mbuf **packets, unsigned n) {
    (void) port, (void) queue;
    assert_in_range(n, 1, DP_BATCH);
    for (unsigned i = 0; i < n; i++)
        seen[n_seen++] = packets[i];
    return n;
}

static void a_long_burst_is_sent_whole(void **state) {
    (void) state;
    static struct rte_mbuf mbufs[BURST];
    static struct port port;
    const struct port_type type = {.name = "test", .transmit = take};
    const struct port_host host = {.n_workers = 1};
    struct rte_mbuf *packets[BURST];
    for (unsigned i = 0; i < BURST; i++)
        packets[i] = &mbufs[i];
    port_init(&port, &type, &host, "p", 1);
    port_send(&port, 0, packets, BURST);
    assert_int_equal(port.workers[0].tx_dropped, 0);
    assert_int_equal(n_seen, BURST);
    assert_memory_equal(seen, packets, sizeof seen);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_long_burst_is_sent_whole)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
