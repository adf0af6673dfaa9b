/* Packets of several segments, from a real mempool (the EAL without hugepages, devices or privileges). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_mbuf.h>

#include "frame.h"
#include "packet/packet.h"

static struct rte_mempool *pool;

/* The frame in segments of `piece` bytes. */
static struct rte_mbuf *in_pieces(const struct frame *frame, uint16_t piece) {
    uint8_t bytes[FRAME_MAX];
    size_t n = frame_render(frame, bytes);
    struct rte_mbuf *head = NULL;
    for (size_t at = 0; at < n; at += piece) {
        uint16_t length = n - at < piece ? n - at : piece;
        struct rte_mbuf *segment = rte_pktmbuf_alloc(pool);
        memcpy(rte_pktmbuf_append(segment, length), bytes + at, length);
        if (!head) {
            head = segment;
        } else {
            assert_int_equal(rte_pktmbuf_chain(head, segment), 0);
        }
    }
    return head;
}

static void holds(struct rte_mbuf *packet, const struct frame *frame) {
    uint8_t bytes[FRAME_MAX], got[FRAME_MAX];
    size_t n = frame_render(frame, bytes);
    assert_int_equal(rte_pktmbuf_pkt_len(packet), n);
    assert_memory_equal(rte_pktmbuf_read(packet, 0, n, got), bytes, n);
}

static void test_headers_become_contiguous(void **state) {
    struct frame f = frame_of(0x86dd, TCP);
    f.payload = 300;
    struct rte_mbuf *packet = in_pieces(&f, 7);
    assert_true(packet_headers_contiguous(packet));
    assert_true(rte_pktmbuf_data_len(packet) >= 256);
    holds(packet, &f);
    assert_int_equal(rte_mbuf_check(packet, 1, &(const char *){NULL}), 0);
    rte_pktmbuf_free(packet);
    assert_int_equal(rte_mempool_in_use_count(pool), 0);
}

static void test_short_packet_becomes_one_segment(void **state) {
    struct frame f = frame_of(0x0800, UDP);
    struct rte_mbuf *packet = in_pieces(&f, 20);
    assert_true(packet_headers_contiguous(packet));
    assert_int_equal(packet->nb_segs, 1);
    holds(packet, &f);
    rte_pktmbuf_free(packet);
}

/* SCTP's checksum is over bytes of every segment. */
static void test_sctp_checksum_over_segments(void **state) {
    struct frame f = frame_of(0x0800, SCTP);
    f.payload = 400;
    struct rte_mbuf *packet = in_pieces(&f, 300);
    struct flow flow;
    struct layers layers;
    assert_true(packet_headers_contiguous(packet));
    flow_extract(packet, 0, 0, 0, 0, &flow, &layers);
    const uint8_t port[FIELD_MAX_BYTES] = {0x12, 0x34};
    assert_int_equal(packet_set_field(packet, &layers, FIELD_SCTP_DST, port), PACKET_OK);
    f.tp_dst = 0x1234;
    holds(packet, &f);
    rte_pktmbuf_free(packet);
}

int main(void) {
    char *args[] = {"test", "--no-huge",      "--no-shconf", "--no-pci", "--iova-mode=va",   "-m",
                    "64",   "--no-telemetry", "-l",          "0",        "--log-level=error"};
    if (rte_eal_init(sizeof args / sizeof *args, args) < 0) {
        print_error("no EAL: %s\n", rte_strerror(rte_errno));
        return 1;
    }
    pool = rte_pktmbuf_pool_create("packets", 255, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers_become_contiguous),
        cmocka_unit_test(test_short_packet_becomes_one_segment),
        cmocka_unit_test(test_sctp_checksum_over_segments),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rte_eal_cleanup();
    return failed;
}
