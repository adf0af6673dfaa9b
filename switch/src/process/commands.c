#include "commands.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include <rte_cycles.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/loop.h"
#include "../openflow/ofp13.h"
#include "../packet/format.h"
#include "quake.h"

#define MAX_FLOWS 1000000 /* of one answer */
#define TEXT 8192         /* of one rule */

typedef char *command(struct quake *quake, const json_t *params, json_t **result);

static char *unpack_error(const json_error_t *wrong) {
    return error_make("params: %s", wrong->text);
}

/* ---- Ports ---- */

static const char *link_name(uint32_t state) {
    return state & OFPPS_LINK_DOWN ? "down" : state & OFPPS_LIVE ? "live" : "blocked";
}

static json_t *port_object(struct quake *quake, const struct quake_port *entry) {
    const struct dp_port *port = dp_port_get(quake->dp, entry->number);
    struct dp_port_stats stats;
    dp_port_stats(quake->dp, entry->number, &stats);
    json_t *details = entry->port && entry->port->type->details ? entry->port->type->details(entry->port) : NULL;
    char mac[18];
    snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", port->hw_addr[0], port->hw_addr[1], port->hw_addr[2],
             port->hw_addr[3], port->hw_addr[4], port->hw_addr[5]);
    return json_pack("{s:s, s:I, s:s, s:s, s:i, s:O, s:o?, s:{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}}", "name", entry->name,
                     "number", (json_int_t) entry->number, "link", entry->port ? link_name(port->state) : "missing",
                     "mac", mac, "mtu", entry->port ? entry->port->mtu : 0, "spec", entry->spec, "details", details,
                     "statistics", "rx_packets", (json_int_t) stats.rx_packets, "rx_bytes", (json_int_t) stats.rx_bytes,
                     "rx_dropped", (json_int_t) stats.rx_dropped, "rx_errors", (json_int_t) stats.rx_errors,
                     "tx_packets", (json_int_t) stats.tx_packets, "tx_bytes", (json_int_t) stats.tx_bytes, "tx_dropped",
                     (json_int_t) stats.tx_dropped, "tx_errors", (json_int_t) stats.tx_errors);
}

static char *ports(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    *result = json_array();
    for (unsigned i = 0; i < DP_MAX_PORTS; i++)
        if (quake->ports[i].number)
            json_array_append_new(*result, port_object(quake, &quake->ports[i]));
    return NULL;
}

static char *port_add(struct quake *quake, const json_t *params, json_t **result) {
    uint32_t number = 0;
    char *error = quake_port_add(quake, params, &number);
    if (!error)
        *result = json_pack("{s:I}", "number", (json_int_t) number);
    return error;
}

static char *port_remove(struct quake *quake, const json_t *params, json_t **result) {
    json_error_t wrong;
    const char *name;
    if (json_unpack_ex((json_t *) params, &wrong, JSON_STRICT, "{s:s}", "name", &name))
        return unpack_error(&wrong);
    *result = json_object();
    return quake_port_remove(quake, name);
}

/* ---- Tables ---- */

static char *tables(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    *result = json_array();
    for (unsigned id = 0; id < DP_TABLES; id++) {
        struct dp_table_stats stats;
        dp_table_stats(quake->dp, (uint8_t) id, &stats);
        if (stats.active || stats.lookups)
            json_array_append_new(*result,
                                  json_pack("{s:i, s:I, s:s, s:I, s:I}", "table", id, "rules",
                                            (json_int_t) stats.active, "form", stats.form, "lookups",
                                            (json_int_t) stats.lookups, "matched", (json_int_t) stats.matched));
    }
    return NULL;
}

struct listing {
    json_t *list;
    size_t limit;
    bool more;
};

static void append(char *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(char *text, const char *format, ...) {
    size_t used = strlen(text);
    va_list args;
    va_start(args, format);
    vsnprintf(text + used, TEXT - used, format, args);
    va_end(args);
}

/* A rule as `ovs-ofctl dump-flows` prints it. */
static void format_rule(char *text, const struct dp_flow_view *view, struct dp_counter counter) {
    *text = '\0';
    append(text, "cookie=0x%llx, duration=%.3fs, table=%u, n_packets=%llu, n_bytes=%llu, ",
           (unsigned long long) view->cookie, (double) view->age_ns / 1e9, view->table_id,
           (unsigned long long) counter.packets, (unsigned long long) counter.bytes);
    if (view->idle_timeout)
        append(text, "idle_timeout=%u, ", view->idle_timeout);
    if (view->hard_timeout)
        append(text, "hard_timeout=%u, ", view->hard_timeout);
    if (view->flags & OFPFF_SEND_FLOW_REM)
        append(text, "send_flow_rem ");
    append(text, "priority=%u", view->priority);
    char match[TEXT / 2] = "";
    format_match(match, sizeof match, view->match);
    append(text, "%s%s actions=", *match ? "," : "", match);
    format_instructions(text + strlen(text), TEXT - strlen(text), view->instructions);
}

static bool list_flow(void *aux, const struct dp_flow *flow) {
    struct listing *listing = aux;
    struct dp_flow_view view;
    char text[TEXT];
    if (json_array_size(listing->list) == listing->limit) {
        listing->more = true;
        return false;
    }
    dp_flow_view(flow, &view);
    struct dp_counter counter = dp_flow_counter(flow);
    format_rule(text, &view, counter);
    json_array_append_new(listing->list,
                          json_pack("{s:s, s:I, s:I}", "rule", text, "packets", (json_int_t) counter.packets,
                                    "bytes", (json_int_t) counter.bytes));
    return true;
}

static char *flows(struct quake *quake, const json_t *params, json_t **result) {
    json_error_t wrong;
    int table = OFPTT_ALL;
    json_int_t limit = MAX_FLOWS;
    if (params &&
        json_unpack_ex((json_t *) params, &wrong, JSON_STRICT, "{s?i, s?I}", "table", &table, "limit", &limit))
        return unpack_error(&wrong);
    if (table < 0 || table > OFPTT_ALL || limit < 1)
        return error_make("table may be 0 to %d, limit 1 or more", OFPTT_ALL);
    struct listing listing = {json_array(), (size_t) limit, false};
    const struct dp_flow_filter filter = {(uint8_t) table, OFPP_ANY, OFPG_ANY, 0, 0, NULL};
    dp_flow_each(quake->dp, &filter, list_flow, &listing);
    *result = json_pack("{s:o, s:b}", "flows", listing.list, "more", listing.more);
    return NULL;
}

static const char *const GROUP_TYPES[] = {"all", "select", "indirect", "fast failover"};

static json_t *bucket_object(const struct dp_group_view *view, unsigned i) {
    const struct group_bucket *bucket = &view->buckets[i];
    char text[TEXT] = "";
    format_actions(text, sizeof text, bucket->actions, bucket->n_actions);
    json_t *object =
        json_pack("{s:i, s:s, s:I, s:I}", "weight", bucket->weight, "actions", text, "packets",
                  (json_int_t) view->bucket_counters[i].packets, "bytes", (json_int_t) view->bucket_counters[i].bytes);
    if (bucket->watch_port != OFPP_ANY)
        json_object_set_new(object, "watch_port", json_integer(bucket->watch_port));
    if (bucket->watch_group != OFPG_ANY)
        json_object_set_new(object, "watch_group", json_integer(bucket->watch_group));
    return object;
}

static char *groups(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    *result = json_array();
    struct dp_group_view view;
    /* Ids ascend from "after"; the id 0 itself is no less a group than others. */
    for (uint32_t id = dp_group_view(quake->dp, 0, &view) ? 0 : dp_group_next(quake->dp, 0); id != OFPG_ANY;
         id = dp_group_next(quake->dp, id)) {
        if (!dp_group_view(quake->dp, id, &view))
            break;
        json_t *buckets = json_array();
        for (unsigned i = 0; i < view.n_buckets; i++)
            json_array_append_new(buckets, bucket_object(&view, i));
        json_array_append_new(*result,
                              json_pack("{s:I, s:s, s:o, s:I, s:I, s:I}", "group", (json_int_t) id, "type",
                                        GROUP_TYPES[view.type & 3], "buckets", buckets, "references",
                                        (json_int_t) view.ref_count, "packets", (json_int_t) view.counter.packets,
                                        "bytes", (json_int_t) view.counter.bytes));
    }
    return NULL;
}

static char *meters(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    *result = json_array();
    struct dp_meter_view view;
    for (uint32_t id = dp_meter_next(quake->dp, 0); id && dp_meter_view(quake->dp, id, &view);
         id = dp_meter_next(quake->dp, id)) {
        json_t *bands = json_array();
        for (unsigned i = 0; i < view.config.n_bands; i++) {
            const struct meter_band *band = &view.config.bands[i];
            json_array_append_new(bands, json_pack("{s:s, s:I, s:I, s:I}", "type",
                                                   band->type == OFPMBT_DROP ? "drop" : "dscp_remark", "rate",
                                                   (json_int_t) band->rate, "burst", (json_int_t) band->burst_size,
                                                   "packets", (json_int_t) view.bands[i].packets));
        }
        json_array_append_new(*result, json_pack("{s:I, s:o, s:I, s:I, s:I}", "meter", (json_int_t) id, "bands", bands,
                                                 "rules", (json_int_t) view.flow_count, "packets",
                                                 (json_int_t) view.in.packets, "bytes", (json_int_t) view.in.bytes));
    }
    return NULL;
}

/* ---- Trace ---- */

/* Hexadecimal digits, spaces and colons between bytes allowed. Returns how many bytes, or -1. */
static int parse_hex(const char *text, uint8_t *data, int room) {
    int n = 0;
    for (; *text; text++) {
        if (*text == ' ' || *text == ':')
            continue;
        if (n == room || !isxdigit((unsigned char) text[0]) || !isxdigit((unsigned char) text[1]))
            return -1;
        const char digits[3] = {text[0], text[1], '\0'};
        data[n++] = (uint8_t) strtoul(digits, NULL, 16);
        text++;
    }
    return n;
}

static void trace_line(void *aux, const char *text) {
    json_array_append_new(aux, json_string(text));
}

static char *trace(struct quake *quake, const json_t *params, json_t **result) {
    json_error_t wrong;
    json_int_t in_port, tunnel_id = 0;
    const char *hex;
    uint8_t data[2048];
    if (json_unpack_ex((json_t *) params, &wrong, JSON_STRICT, "{s:I, s:s, s?I}", "in_port", &in_port, "packet", &hex,
                       "tunnel_id", &tunnel_id))
        return unpack_error(&wrong);
    int n = parse_hex(hex, data, sizeof data);
    if (n < 14)
        return error_make("packet must be 14 to %zu bytes in hexadecimal", sizeof data);
    *result = json_array();
    dp_trace(quake->dp, (uint32_t) in_port, (uint64_t) tunnel_id, data, (size_t) n, trace_line, *result);
    return NULL;
}

/* ---- Workers ---- */

static json_t *worker_object(const struct worker *worker) {
    const struct queue_set *set = atomic_load(&worker->queues);
    json_t *queues = json_array();
    for (unsigned i = 0; i < set->n; i++)
        json_array_append_new(
            queues, json_pack("{s:s, s:i}", "port", set->queues[i].port->name, "queue", set->queues[i].queue));
    const struct worker_counters *c = &worker->counters;
    return json_pack("{s:i, s:i, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:f, s:I}", "worker", worker->id, "cpu",
                     worker->cpu, "state", worker_state_name(worker), "queues", queues, "rounds",
                     (json_int_t) c->rounds, "batches", (json_int_t) c->batches, "packets", (json_int_t) c->packets,
                     "naps", (json_int_t) c->naps, "blocks", (json_int_t) c->blocks, "busy_seconds",
                     (double) c->busy_cycles / (double) rte_get_tsc_hz(), "max_sleep_ns",
                     (json_int_t) set->limits.nap_ns);
}

static char *workers(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    json_t *list = json_array();
    for (unsigned i = 0; i < quake->workers.n; i++)
        json_array_append_new(list, worker_object(&quake->workers.worker[i]));
    *result = json_pack("{s:s, s:b, s:f, s:o}", "policy", quake->workers.policy.spin ? "spin" : "energy", "auto",
                        quake->workers.policy.automatic, "load", quake->workers.load, "workers", list);
    return NULL;
}

static char *with_worker(struct quake *quake, const json_t *params, json_t **result,
                         char *(*change)(struct workers *workers, unsigned id)) {
    json_error_t wrong;
    int id;
    if (json_unpack_ex((json_t *) params, &wrong, JSON_STRICT, "{s:i}", "worker", &id))
        return unpack_error(&wrong);
    *result = json_object();
    return change(&quake->workers, (unsigned) id);
}

static char *worker_park(struct quake *quake, const json_t *params, json_t **result) {
    return with_worker(quake, params, result, workers_park);
}

static char *worker_unpark(struct quake *quake, const json_t *params, json_t **result) {
    return with_worker(quake, params, result, workers_unpark);
}

static char *policy(struct quake *quake, const json_t *params, json_t **result) {
    char *error = config_policy(params, &quake->workers.policy);
    if (!error)
        workers_assign(&quake->workers);
    *result = json_object();
    return error;
}

/* ---- Controllers ---- */

static void list_connection(void *aux, const struct of_connection_view *view) {
    json_array_append_new(aux, json_pack("{s:s, s:s?, s:s?, s:s, s:s?, s:I, s:I}", "target", view->target, "peer",
                                         view->peer, "role", view->role, "state", view->state, "last_error",
                                         view->last_error, "messages_in", (json_int_t) view->messages_in,
                                         "messages_out", (json_int_t) view->messages_out));
}

static char *controllers(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    *result = json_array();
    of_connection_each(quake->of, list_connection, *result);
    return NULL;
}

static char *with_target(struct quake *quake, const json_t *params, json_t **result,
                         char *(*change)(struct quake *quake, const char *target)) {
    json_error_t wrong;
    const char *target;
    if (json_unpack_ex((json_t *) params, &wrong, JSON_STRICT, "{s:s}", "target", &target))
        return unpack_error(&wrong);
    *result = json_object();
    return change(quake, target);
}

static char *controller_add(struct quake *quake, const json_t *params, json_t **result) {
    return with_target(quake, params, result, quake_controller_add);
}

static char *controller_remove(struct quake *quake, const json_t *params, json_t **result) {
    return with_target(quake, params, result, quake_controller_remove);
}

/* ---- The switch ---- */

static char *show(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    char id[17];
    snprintf(id, sizeof id, "%016llx", (unsigned long long) dp_id(quake->dp));
    *result = json_pack("{s:s, s:s, s:f, s:b, s:I}", "version", QUAKE_VERSION, "datapath_id", id, "uptime",
                        (double) (loop_now_ms() - quake->started_ms) / 1e3, "restored", quake->restored,
                        "journal_bytes", (json_int_t) journal_size(quake->journal));
    return NULL;
}

static char *stop(struct quake *quake, const json_t *params, json_t **result) {
    (void) params;
    loop_stop(quake->loop);
    *result = json_object();
    return NULL;
}

static char *help(struct quake *quake, const json_t *params, json_t **result);

static const struct {
    const char *method;
    command *run;
    const char *parameters;
} COMMANDS[] = {
    {"controller-add", controller_add, "target"},
    {"controller-remove", controller_remove, "target"},
    {"controllers", controllers, ""},
    {"flows", flows, "table, limit"},
    {"groups", groups, ""},
    {"help", help, ""},
    {"meters", meters, ""},
    {"policy", policy, "policy, auto, peak_rate"},
    {"port-add", port_add, "name, type, number, and what the type takes"},
    {"port-remove", port_remove, "name"},
    {"ports", ports, ""},
    {"show", show, ""},
    {"stop", stop, ""},
    {"tables", tables, ""},
    {"trace", trace, "in_port, packet (hexadecimal), tunnel_id"},
    {"worker-park", worker_park, "worker"},
    {"worker-unpark", worker_unpark, "worker"},
    {"workers", workers, ""},
};

static char *help(struct quake *quake, const json_t *params, json_t **result) {
    (void) quake, (void) params;
    *result = json_object();
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++)
        json_object_set_new(*result, COMMANDS[i].method, json_string(COMMANDS[i].parameters));
    return NULL;
}

char *command_run(struct quake *quake, const char *method, const json_t *params, json_t **result) {
    *result = NULL;
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        if (strcmp(COMMANDS[i].method, method) != 0)
            continue;
        char *error = COMMANDS[i].run(quake, params, result);
        if (error) {
            json_decref(*result);
            *result = NULL;
        }
        return error;
    }
    return error_make("there is no method \"%s\"; \"help\" lists them", method);
}
