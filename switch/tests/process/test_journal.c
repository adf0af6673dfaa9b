/* The journal: what is appended is read back, by another mapping of the same memory file too, and dumps replace logs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "process/journal.h"

struct bed {
    int fd;
    struct journal *journal;
};

static int set_up(void **state) {
    static struct bed bed;
    bed.fd = journal_create();
    bed.journal = journal_open(bed.fd);
    assert_non_null(bed.journal);
    *state = &bed;
    return 0;
}

static int tear_down(void **state) {
    struct bed *bed = *state;
    journal_close(bed->journal);
    close(bed->fd);
    return 0;
}

static bool concatenate(void *aux, const struct journal_record *record) {
    strncat(aux, (const char *) record->data, record->size);
    return true;
}

static const char *content(const struct bed *bed) {
    static char text[256];
    *text = '\0';
    journal_each(bed->journal, concatenate, text);
    return text;
}

static void put(struct bed *bed, const char *text) {
    assert_true(journal_append(bed->journal, JOURNAL_PORT_REMOVE, 5, text, strlen(text)));
}

static void records_come_back_in_order(void **state) {
    struct bed *bed = *state;
    assert_string_equal(content(bed), "");
    put(bed, "one,");
    put(bed, "");
    put(bed, "two,");
    assert_string_equal(content(bed), "one,two,");
}

static void a_successor_reads_what_was_written(void **state) {
    struct bed *bed = *state;
    put(bed, "kept");
    journal_close(bed->journal);
    bed->journal = journal_open(bed->fd);
    assert_string_equal(content(bed), "kept");
    put(bed, "+more");
    assert_string_equal(content(bed), "kept+more");
}

static bool check_messages(void *aux, const struct journal_record *record) {
    const uint8_t *messages[4];
    size_t lengths[4];
    unsigned n;
    assert_int_equal(record->created_ms, 77);
    assert_false(journal_messages(record, messages, lengths, 1, &n)); /* more than there is room for */
    assert_true(journal_messages(record, messages, lengths, 4, &n));
    assert_int_equal(n, 2);
    assert_int_equal(lengths[0], 3);
    assert_memory_equal(messages[0], "abc", 3);
    assert_int_equal(lengths[1], 5);
    assert_memory_equal(messages[1], "defgh", 5);
    struct journal_record damaged = *record;
    damaged.size--;
    assert_false(journal_messages(&damaged, messages, lengths, 4, &n));
    *(bool *) aux = true;
    return true;
}

static void messages_of_a_bundle_stay_together(void **state) {
    struct bed *bed = *state;
    const uint8_t *messages[] = {(const uint8_t *) "abc", (const uint8_t *) "defgh"};
    const size_t lengths[] = {3, 5};
    bool seen = false;
    assert_true(journal_append_messages(bed->journal, 77, messages, lengths, 2));
    journal_each(bed->journal, check_messages, &seen);
    assert_true(seen);
}

static void put_dump(struct bed *bed, const char *text) {
    journal_dump(bed->journal, JOURNAL_PORT_REMOVE, 5, text, strlen(text));
}

static void a_dump_replaces_the_log_at_once(void **state) {
    struct bed *bed = *state;
    put(bed, "log");
    journal_begin(bed->journal);
    put_dump(bed, "dump");
    assert_string_equal(content(bed), "log"); /* a process killed now leaves the log */
    put(bed, "+meanwhile");
    assert_string_equal(content(bed), "log+meanwhile");
    put_dump(bed, "+dump");
    assert_true(journal_commit(bed->journal));
    assert_string_equal(content(bed), "dump+meanwhile+dump");
    put(bed, "+log");
    assert_string_equal(content(bed), "dump+meanwhile+dump+log");
}

static void a_dump_that_does_not_fit_leaves_the_log(void **state) {
    struct bed *bed = *state;
    put(bed, "log");
    journal_begin(bed->journal);
    put_dump(bed, "dump");
    journal_dump(bed->journal, JOURNAL_MESSAGES, 0, "", (size_t) 2 << 30); /* as long as the half: nothing is read of it */
    put(bed, "+log");
    assert_false(journal_commit(bed->journal));
    assert_string_equal(content(bed), "log+log");
    journal_begin(bed->journal);
    put_dump(bed, "dump");
    assert_true(journal_commit(bed->journal));
    assert_string_equal(content(bed), "dump");
}

static void a_log_is_long_when_twice_its_last_dump(void **state) {
    struct bed *bed = *state;
    static const uint8_t mebibyte[1 << 20];
    assert_false(journal_is_long(bed->journal));
    for (unsigned i = 0; i < 9; i++)
        assert_true(journal_append(bed->journal, JOURNAL_MESSAGES, 0, mebibyte, sizeof mebibyte));
    assert_true(journal_is_long(bed->journal));
    journal_begin(bed->journal);
    for (unsigned i = 0; i < 9; i++)
        journal_dump(bed->journal, JOURNAL_MESSAGES, 0, mebibyte, sizeof mebibyte);
    assert_true(journal_commit(bed->journal));
    assert_false(journal_is_long(bed->journal));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(records_come_back_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_successor_reads_what_was_written, set_up, tear_down),
        cmocka_unit_test_setup_teardown(messages_of_a_bundle_stay_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dump_replaces_the_log_at_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_dump_that_does_not_fit_leaves_the_log, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_log_is_long_when_twice_its_last_dump, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
