/* How long a worker rests: by peak rate, by the rate of late, and by how late naps end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "process/rest.h"

#define US UINT64_C(1000)
#define WINDOW (50 * US)

static const struct rest_limits limits = {.nap_ns = 34 * US, .ring = 1024};

/* Naps that end `late` after they should, while packets come at `per_us`. Returns the last one's length. */
static uint64_t live(struct rest *rest, uint64_t *now, unsigned naps, double per_us, uint64_t late) {
    uint64_t length = 0;
    double packets = 0;
    while (naps--) {
        length = rest_nap(rest, &limits, (uint64_t) packets, *now);
        uint64_t passed = length ? length + late : WINDOW;
        if (length)
            rest_napped(rest, passed);
        *now += passed;
        packets = per_us * (double) passed / (double) US;
    }
    return length;
}

static void test_naps_grow_to_what_the_peak_rate_allows(void **state) {
    (void) state;
    struct rest rest;
    uint64_t now = 0;
    rest_init(&rest, now);
    for (uint64_t step = 1; step <= 40; step++)
        assert_int_equal(live(&rest, &now, 1, 0.1, 0), (step < 34 ? step : 34) * US);
}

static void test_the_rate_leaves_less(void **state) {
    (void) state;
    struct rest rest;
    uint64_t now = 0;
    rest_init(&rest, now);
    assert_int_equal(live(&rest, &now, 100, 4.0, 40 * US), 34 * US);
    /* 768 packets take 76.8 us to come, of which naps may be 50 late. */
    assert_in_range(live(&rest, &now, 100, 10.0, 40 * US), 26 * US, 28 * US);
    /* Of the rest nothing is worth a nap. */
    assert_int_equal(live(&rest, &now, 100, 14.0, 40 * US), 0);
    assert_in_range(live(&rest, &now, 100, 4.0, 40 * US), 33 * US, 34 * US);
}

static void test_lateness_is_what_naps_show(void **state) {
    (void) state;
    struct rest rest;
    uint64_t now = 0;
    rest_init(&rest, now);
    live(&rest, &now, 100, 0.1, 150 * US);
    assert_int_equal(rest.late_ns / US, 149);
    assert_int_equal(live(&rest, &now, 1000, 8.0, 150 * US), 0);
    live(&rest, &now, 100000, 8.0, 10 * US);
    assert_in_range(rest.late_ns, 40 * US, 90 * US);
    assert_in_range(live(&rest, &now, 1, 8.0, 10 * US), 10 * US, 34 * US);
}

static void test_a_ring_nearly_full_begins_anew(void **state) {
    (void) state;
    struct rest rest;
    uint64_t now = 0;
    rest_init(&rest, now);
    live(&rest, &now, 100, 0.1, 0);
    assert_int_equal(rest_nap(&rest, &limits, 897, now + 1000 * US), 1 * US);
}

static void test_patience_follows_what_blocking_brings(void **state) {
    (void) state;
    struct rest rest;
    rest_init(&rest, 0);
    uint64_t before = rest.patience_ns;
    rest_blocked(&rest, 1000 * US);
    assert_int_equal(rest.patience_ns, before / 2);
    for (unsigned i = 0; i < 100; i++)
        rest_blocked(&rest, 1000 * US);
    assert_int_equal(rest.patience_ns, 0);
    rest_blocked(&rest, 10 * US);
    assert_int_equal(rest.patience_ns, 20 * US);
    for (unsigned i = 0; i < 100; i++)
        rest_blocked(&rest, 10 * US);
    assert_int_equal(rest.patience_ns, 10000 * US);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_naps_grow_to_what_the_peak_rate_allows),
        cmocka_unit_test(test_the_rate_leaves_less),
        cmocka_unit_test(test_lateness_is_what_naps_show),
        cmocka_unit_test(test_a_ring_nearly_full_begins_anew),
        cmocka_unit_test(test_patience_follows_what_blocking_brings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
