/* The short way to a plain packet's key against flow_extract(), on frames that are plain and frames that are nearly so.
 */
#include "bed.h"

#include <stdlib.h>
#include <string.h>

#include "pipeline/extract.h"

#define FRAMES 200000

/* A UDP or TCP frame in which a few bytes that decide its kind have been spoilt. */
static size_t spoilt_frame(uint8_t frame[BED_FRAME]) {
    static const uint8_t where[] = {12, 13, 14, 16, 17, 20, 21, 23, 15, 34, 37};
    static const uint8_t values[] = {0x08, 0x00, 0x45, 0x46, 0x06, 0x11, 0x20, 0x40, 0x81, 0xff, 0x01, 0x2e};
    bed_frame(frame, random(), random(), random(), random());
    for (long n = random() % 4; n > 0; n--) {
        frame[where[random() % RTE_DIM(where)]] = values[random() % RTE_DIM(values)];
    }
    return random() % 4 ? BED_FRAME : 14 + random() % (BED_FRAME - 14);
}

static void test_plain_is_what_the_parser_says(void **state) {
    unsigned plain = 0;
    for (unsigned i = 0; i < FRAMES; i++) {
        uint8_t frame[BED_FRAME];
        struct flow quick = {.in_port = 1, .in_phy_port = 2, .metadata = 3, .tunnel_id = 4}, slow;
        struct layers quick_layers, slow_layers;
        size_t len = spoilt_frame(frame);
        struct rte_mbuf *mbuf = bed_mbuf(frame, len);
        memset(&quick.word[FW_ETH0], 0xa5, (FLOW_WORDS - FW_ETH0) * sizeof(uint64_t)); /* of the batch before */
        if (extract_plain(mbuf, &quick, &quick_layers)) {
            extract_absent(&quick);
            flow_extract(mbuf, 1, 2, 3, 4, &slow, &slow_layers);
            assert_memory_equal(&quick, &slow, sizeof slow);
            assert_memory_equal(&quick_layers, &slow_layers, sizeof slow_layers);
            plain++;
        }
        rte_pktmbuf_free(mbuf);
    }
    assert_in_range(plain, FRAMES / 5, FRAMES - FRAMES / 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plain_is_what_the_parser_says)};
    srandom(20261121);
    return cmocka_run_group_tests(tests, bed_eal, NULL);
}
