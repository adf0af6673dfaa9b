/* BFD sessions, two of them talking to each other, with time as the test tells it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ports/bfd.h"

static struct bfd left, right;
static uint64_t now_ms;

static int set_up(void **state) {
    (void) state;
    bfd_init(&left, 1, 100, 3);
    bfd_init(&right, 2, 100, 3);
    now_ms = 1000;
    return 0;
}

static void tell(const struct bfd *from, struct bfd *to) {
    uint8_t packet[BFD_PACKET];
    bfd_write(from, packet);
    assert_true(bfd_receive(to, packet, sizeof packet, now_ms));
}

static void come_up(void) {
    tell(&left, &right);
    tell(&right, &left);
    tell(&left, &right);
}

static void three_packets_bring_a_session_up(void **state) {
    (void) state;
    tell(&left, &right);
    assert_int_equal(right.state, BFD_INIT);
    tell(&right, &left);
    assert_int_equal(left.state, BFD_UP);
    tell(&left, &right);
    assert_int_equal(right.state, BFD_UP);
}

static void silence_for_three_intervals_takes_it_down(void **state) {
    (void) state;
    come_up();
    tell(&right, &left); /* now in its quick interval, as a session that is up */
    now_ms += 299;
    bfd_check(&left, now_ms);
    assert_int_equal(left.state, BFD_UP);
    now_ms += 1;
    bfd_check(&left, now_ms);
    assert_int_equal(left.state, BFD_DOWN);
    assert_int_equal(left.your_discriminator, 0);
}

static void a_neighbour_that_went_down_takes_us_along(void **state) {
    (void) state;
    come_up();
    now_ms += 10000;
    bfd_check(&right, now_ms);
    tell(&right, &left);
    assert_int_equal(left.state, BFD_DOWN);
    tell(&left, &right);
    tell(&right, &left);
    assert_int_equal(left.state, BFD_UP); /* and it comes back */
}

static void a_session_that_is_not_up_sends_slowly(void **state) {
    (void) state;
    assert_int_equal(bfd_send_interval_ms(&left), 1000);
    come_up();
    tell(&right, &left);
    assert_int_equal(bfd_send_interval_ms(&left), 100);
}

static void refuse(size_t at, uint8_t value) {
    uint8_t packet[BFD_PACKET];
    bfd_write(&left, packet);
    packet[at] = value;
    assert_false(bfd_receive(&right, packet, sizeof packet, now_ms));
    assert_int_equal(right.state, BFD_DOWN);
}

static void malformed_packets_are_refused(void **state) {
    (void) state;
    uint8_t packet[BFD_PACKET];
    bfd_write(&left, packet);
    assert_false(bfd_receive(&right, packet, BFD_PACKET - 1, now_ms));
    refuse(0, 2 << 5);            /* version */
    refuse(1, BFD_DOWN << 6 | 4); /* authentication */
    refuse(1, BFD_DOWN << 6 | 1); /* multipoint */
    refuse(2, 0);                 /* multiplier */
    refuse(3, BFD_PACKET + 1);    /* longer than it is */
    refuse(7, 0);                 /* no discriminator */
    refuse(11, 9);                /* somebody else's session */
    refuse(1, BFD_UP << 6);       /* up without knowing us */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(three_packets_bring_a_session_up, set_up),
        cmocka_unit_test_setup(silence_for_three_intervals_takes_it_down, set_up),
        cmocka_unit_test_setup(a_neighbour_that_went_down_takes_us_along, set_up),
        cmocka_unit_test_setup(a_session_that_is_not_up_sends_slowly, set_up),
        cmocka_unit_test_setup(malformed_packets_are_refused, set_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
