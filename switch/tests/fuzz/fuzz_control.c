/* Fuzz target: any line on the control socket of a live switch without ports.
 *
 * Checked, besides what the sanitizers find: every line gets one JSON object with either a result or an error. Seeds
 * that would add a port name no type that there is, so that nothing outside of the process is touched. */
#include <stdlib.h>
#include <string.h>

#include <rte_eal.h>

#include "process/control.h"
#include "process/quake.h"

#include "fuzz.h"

static struct quake *start(void) {
    static struct quake quake;
    static struct config config;
    char *argv[] = {"fuzz",           "--no-huge",         "--no-pci", "--no-shconf", "--iova-mode=va",
                    "--no-telemetry", "--log-level=error", "-m",       "128"};
    json_t *root = json_pack("{s:{s:i}}", "memory", "mbufs", 1024);
    if (rte_eal_init(sizeof argv / sizeof *argv, argv) < 0 || config_parse(root, &config) ||
        quake_prepare(&quake, &config) || quake_start(&quake, &config, journal_create()))
        abort();
    return &quake;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct quake *quake;
    if (!quake)
        quake = start();
    json_t *answer = control_answer(quake, (const char *) data, size);
    if (!json_is_object(answer) || !json_object_get(answer, "result") == !json_object_get(answer, "error"))
        abort();
    json_decref(answer);
    return 0;
}

size_t fuzz_seed(size_t index, uint8_t *bytes, size_t room) {
    static const char *const seeds[] = {
        "{\"id\": 1, \"method\": \"help\"}",
        "{\"id\": \"x\", \"method\": \"ports\", \"params\": {}}",
        "{\"method\": \"port-add\", \"params\": {\"name\": \"p\", \"type\": \"none\", \"number\": 7, \"socket\": "
        "\"s\"}}",
        "{\"method\": \"port-remove\", \"params\": {\"name\": \"p\"}}",
        "{\"method\": \"flows\", \"params\": {\"table\": 255, \"limit\": 10}}",
        "{\"method\": \"groups\"}",
        "{\"method\": \"meters\"}",
        "{\"method\": \"tables\"}",
        "{\"method\": \"show\"}",
        "{\"method\": \"trace\", \"params\": {\"in_port\": 1, \"packet\": "
        "\"02000000000102000000000208004500001c0000000040"
        "11000001020304050607080035003500080000\", \"tunnel_id\": 9}}",
        "{\"method\": \"workers\"}",
        "{\"method\": \"worker-park\", \"params\": {\"worker\": 0}}",
        "{\"method\": \"policy\", \"params\": {\"policy\": \"spin\", \"auto\": true, \"peak_rate\": 1000000}}",
        "{\"method\": \"controllers\"}",
        "{\"method\": \"controller-remove\", \"params\": {\"target\": \"tcp:127.0.0.1:1\"}}",
    };
    size_t n = index < sizeof seeds / sizeof *seeds ? strlen(seeds[index]) : 0;
    if (n > room)
        return 0;
    memcpy(bytes, seeds[index < sizeof seeds / sizeof *seeds ? index : 0], n);
    return n;
}
