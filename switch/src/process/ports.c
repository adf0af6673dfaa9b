#include "ports.h"

#include <stdlib.h>
#include <string.h>

#include "../base/buf.h"
#include "../base/error.h"
#include "../base/log.h"
#include "../base/loop.h"
#include "../openflow/ofp13.h"
#include "restore.h"

struct quake_port *quake_port_find(struct quake *quake, const char *name) {
    for (unsigned i = 0; i < DP_MAX_PORTS; i++)
        if (quake->ports[i].number && !strcmp(quake->ports[i].name, name))
            return &quake->ports[i];
    return NULL;
}

static struct quake_port *find_number(struct quake *quake, uint32_t number) {
    for (unsigned i = 0; i < DP_MAX_PORTS; i++)
        if (quake->ports[i].number == number)
            return &quake->ports[i];
    return NULL;
}

static uint32_t lowest_free_number(struct quake *quake) {
    uint32_t number = 1;
    while (find_number(quake, number))
        number++;
    return number;
}

/* ---- Reading a specification ---- */

/* Name, type and number of a port, checked against the others. */
static char *read_spec(struct quake *quake, const json_t *spec, const char **name, const struct port_type **type,
                       uint32_t *number) {
    const char *type_name;
    json_int_t wanted = 0;
    json_error_t wrong;
    if (json_unpack_ex((json_t *) spec, &wrong, 0, "{s:s, s:s, s?I}", "name", name, "type", &type_name, "number",
                       &wanted))
        return error_make("a port needs name and type, and may have a number: %s", wrong.text);
    size_t length = strlen(*name);
    if (!length || length >= sizeof quake->ports[0].name || strcspn(*name, ",= /") < length)
        return error_make("the port name \"%s\" must have 1 to %zu bytes and no comma, equals sign, space or slash",
                          *name, sizeof quake->ports[0].name - 1);
    if (!(*type = port_type_find(type_name)))
        return error_make("port %s: there is no type \"%s\"; there are %s", *name, type_name, port_type_names());
    if (wanted < 0 || wanted > OFPP_MAX)
        return error_make("port %s: number is %lld; it may be 1 to %u", *name, (long long) wanted, OFPP_MAX);
    if (quake_port_find(quake, *name))
        return error_make("port %s exists already; remove it first", *name);
    *number = wanted ? (uint32_t) wanted : lowest_free_number(quake);
    if (find_number(quake, *number))
        return error_make("port %s: number %u is port %s's", *name, *number, find_number(quake, *number)->name);
    return NULL;
}

/* ---- Opening and closing ---- */

static char *open_device(struct quake *quake, struct quake_port *entry) {
    const char *type_name = json_string_value(json_object_get(entry->spec, "type"));
    const struct port_type *type = port_type_find(type_name);
    json_t *own = json_copy(entry->spec); /* what is the type's to read */
    json_object_del(own, "name");
    json_object_del(own, "type");
    json_object_del(own, "number");
    char *error = type->open(own, entry->name, &quake->host, &entry->port);
    json_decref(own);
    if (!error) {
        entry->port->number = entry->number;
        return NULL;
    }
    char *whole = error_make("port %s: %s", entry->name, error);
    free(error);
    return whole;
}

static void describe(const struct quake_port *entry, struct dp_port *description) {
    *description = (struct dp_port){.port_no = entry->number};
    snprintf(description->name, sizeof description->name, "%s", entry->name);
    entry->port->type->describe(entry->port, description);
}

static void attach(struct quake *quake, struct quake_port *entry) {
    entry->port->slot = entry->slot;
    workers_attach(&quake->workers, entry->port);
}

static void close_device(struct quake *quake, struct quake_port *entry) {
    struct port *port = entry->port;
    entry->port = NULL;
    if (port && port->slot >= 0)
        workers_forget(&quake->workers, port);
    if (port)
        port->type->close(port);
}

static void forget_entry(struct quake_port *entry) {
    json_decref(entry->spec);
    *entry = (struct quake_port){0};
}

static struct quake_port *new_entry(struct quake *quake, const char *name, uint32_t number, const json_t *spec) {
    struct quake_port *entry = find_number(quake, 0);
    if (!entry)
        return NULL;
    entry->number = number;
    entry->slot = -1;
    snprintf(entry->name, sizeof entry->name, "%s", name);
    entry->spec = json_deep_copy(spec);
    json_object_set_new(entry->spec, "number", json_integer(number));
    return entry;
}

static void journal_port(struct quake *quake, const struct quake_port *entry) {
    json_t *record = quake_port_record(quake, entry);
    char *text = json_dumps(record, JSON_COMPACT);
    quake_record(quake, JOURNAL_PORT_ADD, text);
    free(text);
    json_decref(record);
}

char *quake_port_add(struct quake *quake, const json_t *spec, uint32_t *number) {
    const char *name;
    const struct port_type *type;
    char *error = read_spec(quake, spec, &name, &type, number);
    if (error)
        return error;
    struct quake_port *entry = new_entry(quake, name, *number, spec);
    if (!entry)
        return error_make("port %s: the switch has %d ports already", name, DP_MAX_PORTS);
    error = open_device(quake, entry);
    struct dp_port description;
    if (!error) {
        describe(entry, &description);
        entry->slot = dp_port_add(quake->dp, &description);
        if (entry->slot < 0)
            error = error_make("port %s: the datapath refuses it: %s", name, strerror(-entry->slot));
    }
    if (error) {
        close_device(quake, entry);
        forget_entry(entry);
        return error;
    }
    attach(quake, entry);
    journal_port(quake, entry);
    log_info("port %s (%u) added", entry->name, entry->number);
    return NULL;
}

/* A port that others lie on must stay. */
static const char *user_of(struct quake *quake, const char *name) {
    for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
        const char *underlay = json_string_value(json_object_get(quake->ports[i].spec, "underlay"));
        if (quake->ports[i].number && underlay && !strcmp(underlay, name))
            return quake->ports[i].name;
    }
    return NULL;
}

static void take_down(struct quake *quake, struct quake_port *entry) {
    if (entry->port)
        workers_detach(&quake->workers, entry->port);
    dp_port_remove(quake->dp, entry->number);
    close_device(quake, entry);
}

char *quake_port_remove(struct quake *quake, const char *name) {
    struct quake_port *entry = quake_port_find(quake, name);
    if (!entry)
        return error_make("there is no port %s", name);
    const char *user = user_of(quake, name);
    if (user)
        return error_make("port %s carries port %s; remove that one first", name, user);
    take_down(quake, entry);
    log_info("port %s (%u) removed", entry->name, entry->number);
    forget_entry(entry);
    quake_record(quake, JOURNAL_PORT_REMOVE, name);
    return NULL;
}

void quake_ports_close(struct quake *quake) {
    for (unsigned over = 2; over--;) /* tunnels first, then what they lie on */
        for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
            struct quake_port *entry = &quake->ports[i];
            if (!entry->number || (over && !json_object_get(entry->spec, "underlay")))
                continue;
            take_down(quake, entry);
            forget_entry(entry);
        }
}

/* ---- Restoring ---- */

json_t *quake_port_record(struct quake *quake, const struct quake_port *entry) {
    const struct dp_port *port = dp_port_get(quake->dp, entry->number);
    char mac[18];
    snprintf(mac, sizeof mac, "%02x:%02x:%02x:%02x:%02x:%02x", port->hw_addr[0], port->hw_addr[1], port->hw_addr[2],
             port->hw_addr[3], port->hw_addr[4], port->hw_addr[5]);
    return json_pack("{s:O, s:I, s:s, s:I, s:I}", "spec", entry->spec, "number", (json_int_t) entry->number, "mac", mac,
                     "features", (json_int_t) port->curr, "speed", (json_int_t) port->curr_speed);
}

char *quake_port_declare(struct quake *quake, const json_t *record) {
    const json_t *spec;
    const char *name, *mac;
    json_int_t number, features, speed;
    if (json_unpack((json_t *) record, "{s:o, s:I, s:s, s:I, s:I}", "spec", &spec, "number", &number, "mac", &mac,
                    "features", &features, "speed", &speed))
        return error_make("a port's record in the journal is damaged");
    name = json_string_value(json_object_get(spec, "name"));
    struct quake_port *entry = new_entry(quake, name, (uint32_t) number, spec);
    uint32_t bits = (uint32_t) features, kbps = (uint32_t) speed;
    struct dp_port port = {.port_no = entry->number,
                           .state = OFPPS_LINK_DOWN,
                           .curr = bits,
                           .advertised = bits,
                           .supported = bits,
                           .curr_speed = kbps,
                           .max_speed = kbps};
    snprintf(port.name, sizeof port.name, "%s", name);
    port_parse_mac(mac, port.hw_addr);
    entry->slot = dp_port_add(quake->dp, &port);
    if (entry->slot >= 0)
        return NULL;
    int reason = -entry->slot;
    forget_entry(entry);
    return error_make("port %s cannot be restored: %s", name, strerror(reason));
}

static void retry(struct quake *quake, struct quake_port *entry) {
    char *error = open_device(quake, entry);
    if (error) {
        log_warning("%s; trying again every second", error);
        free(error);
        return;
    }
    attach(quake, entry);
    quake_port_changed(quake, entry->port);
}

void quake_ports_retry(struct quake *quake) {
    for (unsigned tunnels = 0; tunnels < 2; tunnels++) /* what they lie on first */
        for (unsigned i = 0; i < DP_MAX_PORTS; i++) {
            struct quake_port *entry = &quake->ports[i];
            if (entry->number && !entry->port && !!json_object_get(entry->spec, "underlay") == tunnels)
                retry(quake, entry);
        }
}

/* ---- Hooks ---- */

void quake_port_changed(void *aux, struct port *port) {
    struct quake *quake = aux;
    struct quake_port *entry = port->slot >= 0 ? quake_port_find(quake, port->name) : NULL;
    if (!entry || entry->port != port)
        return; /* still opening, or closing */
    struct dp_port description;
    describe(entry, &description);
    const struct dp_port *known = dp_port_get(quake->dp, entry->number);
    if (known->state != description.state)
        dp_port_set_state(quake->dp, entry->number, description.state);
    workers_assign(&quake->workers);
    for (unsigned i = 0; i < quake->workers.n; i++)
        worker_wake(&quake->workers.worker[i]); /* one that blocks waits on descriptors that may be gone */
}

void quake_port_statistics(void *aux, uint32_t port_no, struct dp_port_stats *statistics) {
    struct quake *quake = aux;
    const struct quake_port *entry = find_number(quake, port_no);
    if (!entry || !entry->port)
        return;
    for (unsigned i = 0; i < DP_MAX_WORKERS; i++)
        statistics->tx_dropped += entry->port->workers[i].tx_dropped;
    if (entry->port->type->statistics)
        entry->port->type->statistics(entry->port, statistics);
}
