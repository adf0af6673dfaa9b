/* Configuration: what is taken, and that what is wrong is named. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "process/config.h"

static struct config config;

static char *parse(const char *text) {
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    return config_parse(root, &config);
}

static void an_empty_file_has_defaults(void **state) {
    (void) state;
    assert_null(parse("{}"));
    assert_int_equal(config.datapath_id, 1);
    assert_string_equal(config.control, "/run/quake/control.sock");
    assert_int_equal(config.n_cpus, 1);
    assert_int_equal(config.cpus[0], -1);
    assert_false(config.policy.spin);
    config_free(&config);
}

static void every_key_is_taken(void **state) {
    (void) state;
    assert_null(parse("{\"datapath_id\": \"00000000deadbeef\", \"control\": \"/c\", \"metrics\": \"127.0.0.1:1\","
                      " \"controllers\": [\"tcp:127.0.0.1:6653\"], \"ports\": [{}], \"eal\": [\"-v\"], \"pci\": true,"
                      " \"tls\": {\"private_key\": \"k\", \"certificate\": \"c\", \"ca\": \"a\"},"
                      " \"memory\": {\"hugepages\": true, \"mib\": 512, \"mbufs\": 8192},"
                      " \"workers\": {\"cpus\": [1, 2], \"policy\": \"spin\", \"auto\": true, \"peak_rate\": 1000}}"));
    assert_int_equal(config.datapath_id, 0xdeadbeef);
    assert_int_equal(config.n_cpus, 2);
    assert_true(config.policy.spin && config.policy.automatic && config.hugepages && config.pci);
    assert_int_equal(config.policy.peak_rate, 1000);
    assert_int_equal(config.mbufs, 8192);
    config_free(&config);
}

static void refused(const char *text, const char *because) {
    char *error = parse(text);
    assert_non_null(error);
    if (!strstr(error, because))
        fail_msg("\"%s\" does not name \"%s\"", error, because);
    free(error);
    config_free(&config);
}

static void what_is_wrong_is_named(void **state) {
    (void) state;
    refused("{\"colour\": 1}", "colour");
    refused("{\"datapath_id\": \"xyz\"}", "xyz");
    refused("{\"datapath_id\": \"00000000000000001\"}", "16 hexadecimal digits");
    refused("{\"workers\": {\"policy\": \"lazy\"}}", "lazy");
    refused("{\"workers\": {\"cpus\": []}}", "workers.cpus");
    refused("{\"workers\": {\"cpus\": [\"one\"]}}", "workers.cpus");
    refused("{\"workers\": {\"speed\": 1}}", "workers");
    refused("{\"memory\": {\"mbufs\": 1}}", "mbufs");
    refused("{\"ports\": {}}", "ports");
    refused("{\"ports\": [1]}", "objects");
    refused("{\"controllers\": [1]}", "strings");
    refused("{\"tls\": {\"ca\": \"a\"}}", "tls");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_file_has_defaults),
        cmocka_unit_test(every_key_is_taken),
        cmocka_unit_test(what_is_wrong_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
