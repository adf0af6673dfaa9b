/* quakectl: asks a running quake by its control socket (src/process/control.h) and prints the answer for people.
 *
 * Every command is one request. `--json` prints the answer as it came; else tables are drawn, and rules are printed as
 * ovs-ofctl prints them. Exit status: 0, or 1 with the reason on standard error. */
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DEFAULT_SOCKET "/run/quake/control.sock"

static const char HELP[] =
    "usage: quakectl [-s SOCKET] [--json] COMMAND\n"
    "  show                              version, datapath id, uptime\n"
    "  ports                             ports with link and counters\n"
    "  port-add NAME TYPE [KEY=VALUE...] such as: port-add p1 memif socket=/run/quake/p1\n"
    "  port-remove NAME\n"
    "  tables                            tables in use and the form each is held in\n"
    "  dump-flows [TABLE]                rules, as ovs-ofctl prints them\n"
    "  groups, meters\n"
    "  top [SECONDS]                     the rules that carried most in the time (default 1)\n"
    "  trace IN_PORT HEX [TUNNEL_ID]     run a packet through the pipeline and tell each decision\n"
    "  workers                           what each worker polls, and how busy it is\n"
    "  worker-park ID, worker-unpark ID\n"
    "  policy KEY=VALUE...               policy=energy|spin, auto=true|false, peak_rate=PACKETS_PER_S\n"
    "  counters                          all counters of ports and workers, one per line\n"
    "  controllers, controller-add TARGET, controller-remove TARGET\n"
    "  call METHOD [JSON]                any request; `call help` lists them\n"
    "  stop                              end the switch\n";

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
static void fail(const char *format, ...) {
    va_list args;
    va_start(args, format);
    fputs("quakectl: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

/* ---- Asking ---- */

/* The two directions of the control socket. */
struct channel {
    FILE *in, *out;
};

static struct channel connect_to(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path)
        fail("the path %s is too long for a socket", path);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, (struct sockaddr *) &address, sizeof address))
        fail("cannot reach a switch at %s: %s; does quake run, and with this control socket?", path, strerror(errno));
    struct channel channel = {fdopen(dup(fd), "r"), fdopen(fd, "w")};
    if (!channel.in || !channel.out)
        fail("cannot talk to the switch at %s: %s", path, strerror(errno));
    return channel;
}

/* The result of `method`; ends the program if the switch refuses. Takes `params`. */
static json_t *ask(const struct channel *channel, const char *method, json_t *params) {
    json_t *request = json_pack("{s:s, s:o*}", "method", method, "params", params);
    char *line = NULL;
    size_t size = 0;
    json_dumpf(request, channel->out, JSON_COMPACT);
    fputc('\n', channel->out);
    json_decref(request);
    if (fflush(channel->out) || getline(&line, &size, channel->in) < 0)
        fail("the switch closed the connection");
    json_error_t wrong;
    json_t *answer = json_loads(line, 0, &wrong);
    free(line);
    if (!answer)
        fail("the switch's answer is not JSON: %s", wrong.text);
    const char *error = json_string_value(json_object_get(answer, "error"));
    if (error)
        fail("%s", error);
    json_t *result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return result;
}

/* ---- Arguments ---- */

/* A value of the command line: JSON where it is JSON (numbers, true, lists), else a string. */
static json_t *value_of(const char *text) {
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? value : json_string(text);
}

static void set_pairs(json_t *object, char **pairs) {
    for (; *pairs; pairs++) {
        const char *equals = strchr(*pairs, '=');
        if (!equals)
            fail("\"%s\" is no KEY=VALUE", *pairs);
        char *key = strndup(*pairs, (size_t) (equals - *pairs));
        json_object_set_new(object, key, value_of(equals + 1));
        free(key);
    }
}

static long long number(const char *text) {
    char *end;
    long long value = strtoll(text, &end, 0);
    if (end == text || *end)
        fail("\"%s\" is no number", text);
    return value;
}

/* ---- Printing ---- */

static const char *string(const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "-";
}

static long long integer(const json_t *object, const char *key) {
    return json_integer_value(json_object_get(object, key));
}

static void print_ports(const json_t *ports) {
    size_t i;
    const json_t *port;
    printf("%-15s %5s %-10s %-8s %-17s %14s %14s %10s %10s\n", "NAME", "NO", "TYPE", "LINK", "MAC", "RX", "TX",
           "RX-DROP", "TX-DROP");
    json_array_foreach(ports, i, port) {
        const json_t *s = json_object_get(port, "statistics");
        printf("%-15s %5lld %-10s %-8s %-17s %14lld %14lld %10lld %10lld\n", string(port, "name"),
               integer(port, "number"), string(json_object_get(port, "spec"), "type"), string(port, "link"),
               string(port, "mac"), integer(s, "rx_packets"), integer(s, "tx_packets"),
               integer(s, "rx_dropped") + integer(s, "rx_errors"), integer(s, "tx_dropped") + integer(s, "tx_errors"));
    }
}

static void print_tables(const json_t *tables) {
    size_t i;
    const json_t *table;
    printf("%5s %9s %-16s %16s %16s\n", "TABLE", "RULES", "FORM", "LOOKUPS", "MATCHED");
    json_array_foreach(tables, i, table)
        printf("%5lld %9lld %-16s %16lld %16lld\n", integer(table, "table"), integer(table, "rules"),
               string(table, "form"), integer(table, "lookups"), integer(table, "matched"));
}

static void print_workers(const json_t *result) {
    size_t i, j;
    const json_t *worker, *queue;
    printf("policy %s, auto %s, load %.2f CPUs\n", string(result, "policy"),
           json_is_true(json_object_get(result, "auto")) ? "on" : "off",
           json_real_value(json_object_get(result, "load")));
    printf("%6s %4s %-8s %16s %12s %12s %8s  %s\n", "WORKER", "CPU", "STATE", "PACKETS", "BUSY-S", "NAPS", "BLOCKS",
           "QUEUES");
    json_array_foreach(json_object_get(result, "workers"), i, worker) {
        printf("%6lld %4lld %-8s %16lld %12.3f %12lld %8lld ", integer(worker, "worker"), integer(worker, "cpu"),
               string(worker, "state"), integer(worker, "packets"),
               json_real_value(json_object_get(worker, "busy_seconds")), integer(worker, "naps"),
               integer(worker, "blocks"));
        json_array_foreach(json_object_get(worker, "queues"), j, queue)
            printf(" %s/%lld", string(queue, "port"), integer(queue, "queue"));
        putchar('\n');
    }
}

static void print_flows(const json_t *result) {
    size_t i;
    const json_t *flow;
    json_array_foreach(json_object_get(result, "flows"), i, flow) printf(" %s\n", string(flow, "rule"));
    if (json_is_true(json_object_get(result, "more")))
        puts(" ... and more");
}

static void print_lines(const json_t *lines) {
    size_t i;
    const json_t *line;
    json_array_foreach(lines, i, line) puts(json_string_value(line));
}

static void print_groups(const json_t *groups) {
    size_t i, j;
    const json_t *group, *bucket;
    json_array_foreach(groups, i, group) {
        printf(" group_id=%lld,type=%s,ref_count=%lld,packet_count=%lld", integer(group, "group"),
               string(group, "type"), integer(group, "references"), integer(group, "packets"));
        json_array_foreach(json_object_get(group, "buckets"), j, bucket) {
            printf(",bucket=weight:%lld", integer(bucket, "weight"));
            if (json_object_get(bucket, "watch_port"))
                printf(",watch_port:%lld", integer(bucket, "watch_port"));
            if (json_object_get(bucket, "watch_group"))
                printf(",watch_group:%lld", integer(bucket, "watch_group"));
            printf(",actions=%s", string(bucket, "actions"));
        }
        putchar('\n');
    }
}

static void print_meters(const json_t *meters) {
    size_t i, j;
    const json_t *meter, *band;
    json_array_foreach(meters, i, meter) {
        printf(" meter=%lld flow_count=%lld packet_in_count=%lld", integer(meter, "meter"), integer(meter, "rules"),
               integer(meter, "packets"));
        json_array_foreach(json_object_get(meter, "bands"), j, band)
            printf(" type=%s rate=%lld burst_size=%lld packet_count=%lld", string(band, "type"), integer(band, "rate"),
                   integer(band, "burst"), integer(band, "packets"));
        putchar('\n');
    }
}

static void print_controllers(const json_t *controllers) {
    size_t i;
    const json_t *view;
    printf("%-32s %-24s %-10s %-12s %12s %12s  %s\n", "TARGET", "PEER", "ROLE", "STATE", "IN", "OUT", "LAST ERROR");
    json_array_foreach(controllers, i, view)
        printf("%-32s %-24s %-10s %-12s %12lld %12lld  %s\n", string(view, "target"), string(view, "peer"),
               string(view, "role"), string(view, "state"), integer(view, "messages_in"), integer(view, "messages_out"),
               string(view, "last_error"));
}

static void print_json(const json_t *result) {
    json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY);
    putchar('\n');
}

/* Every number in the answer, by its path. */
static void print_numbers(const char *path, const json_t *value) {
    char deeper[512];
    if (json_is_integer(value))
        printf("%s %lld\n", path, (long long) json_integer_value(value));
    else if (json_is_real(value))
        printf("%s %.6f\n", path, json_real_value(value));
    size_t i;
    const json_t *item;
    json_array_foreach(value, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name)
            snprintf(deeper, sizeof deeper, "%s.%s", path, name);
        else
            snprintf(deeper, sizeof deeper, "%s.%zu", path, i);
        print_numbers(deeper, item);
    }
    const char *key;
    json_t *member;
    json_object_foreach((json_t *) value, key, member) {
        snprintf(deeper, sizeof deeper, "%s.%s", path, key);
        print_numbers(deeper, member);
    }
}

/* ---- top ---- */

struct rate {
    const char *rule;
    long long packets;
};

static int by_packets(const void *a, const void *b) {
    long long x = ((const struct rate *) a)->packets, y = ((const struct rate *) b)->packets;
    return (x < y) - (x > y);
}

/* What identifies a rule: its text from the table on, without counters. */
static char *rule_key(const char *rule) {
    const char *table = strstr(rule, "table="), *priority = strstr(rule, "priority=");
    char *key = NULL;
    if (!table || !priority || asprintf(&key, "%.*s, %s", (int) strcspn(table, ","), table, priority) < 0)
        fail("the switch sent a rule that cannot be read: %s", rule);
    return key;
}

static json_t *packets_by_rule(const struct channel *channel) {
    json_t *result = ask(channel, "flows", NULL), *totals = json_object();
    size_t i;
    const json_t *flow;
    json_array_foreach(json_object_get(result, "flows"), i, flow) {
        char *key = rule_key(string(flow, "rule"));
        json_object_set_new(totals, key, json_integer(integer(flow, "packets")));
        free(key);
    }
    json_decref(result);
    return totals;
}

static void top(const struct channel *channel, long long seconds) {
    json_t *before = packets_by_rule(channel);
    nanosleep(&(struct timespec){.tv_sec = seconds}, NULL);
    json_t *after = packets_by_rule(channel), *total;
    struct rate *rates = calloc(json_object_size(after) + 1, sizeof *rates);
    size_t n = 0;
    const char *key;
    json_object_foreach(after, key, total) rates[n++] =
        (struct rate){key, json_integer_value(total) - integer(before, key)};
    qsort(rates, n, sizeof *rates, by_packets);
    printf("%14s  RULE\n", "PACKETS/S");
    for (size_t i = 0; i < n && i < 20; i++)
        printf("%14lld  %s\n", rates[i].packets / seconds, rates[i].rule);
    free(rates);
    json_decref(before);
    json_decref(after);
}

/* ---- Commands ---- */

typedef void printer(const json_t *result);

static void print_nothing(const json_t *result) {
    (void) result;
}

static const struct {
    const char *name, *method, *argument; /* argument: the parameter that the only operand is, or NULL */
    printer *print;
} COMMANDS[] = {
    {"show", "show", NULL, print_json},
    {"ports", "ports", NULL, print_ports},
    {"port-remove", "port-remove", "name", print_nothing},
    {"tables", "tables", NULL, print_tables},
    {"dump-flows", "flows", "table", print_flows},
    {"groups", "groups", NULL, print_groups},
    {"meters", "meters", NULL, print_meters},
    {"workers", "workers", NULL, print_workers},
    {"worker-park", "worker-park", "worker", print_nothing},
    {"worker-unpark", "worker-unpark", "worker", print_nothing},
    {"controllers", "controllers", NULL, print_controllers},
    {"controller-add", "controller-add", "target", print_nothing},
    {"controller-remove", "controller-remove", "target", print_nothing},
    {"stop", "stop", NULL, print_nothing},
};

static bool as_json;

static void show(json_t *result, printer *print) {
    (as_json ? print_json : print)(result);
    json_decref(result);
}

/* Commands that are one method with at most one parameter. False if `argv` is none of them. */
static bool run_simple(const struct channel *channel, int argc, char **argv) {
    for (size_t i = 0; i < sizeof COMMANDS / sizeof *COMMANDS; i++) {
        if (strcmp(COMMANDS[i].name, argv[0]) != 0)
            continue;
        if (argc > (COMMANDS[i].argument ? 2 : 1))
            fail("%s takes %s", argv[0], COMMANDS[i].argument ? COMMANDS[i].argument : "no argument");
        json_t *params = argc == 2 ? json_pack("{s:o}", COMMANDS[i].argument, value_of(argv[1])) : NULL;
        show(ask(channel, COMMANDS[i].method, params), COMMANDS[i].print);
        return true;
    }
    return false;
}

static void counters(const struct channel *channel) {
    json_t *ports = ask(channel, "ports", NULL), *workers = ask(channel, "workers", NULL);
    size_t i;
    const json_t *port;
    json_array_foreach(ports, i, port) {
        char path[64];
        snprintf(path, sizeof path, "port.%s", string(port, "name"));
        print_numbers(path, json_object_get(port, "statistics"));
    }
    print_numbers("worker", json_object_get(workers, "workers"));
    json_decref(ports);
    json_decref(workers);
}

static void port_add(const struct channel *channel, char **operands) {
    json_t *params = json_pack("{s:s, s:s}", "name", operands[0], "type", operands[1]);
    set_pairs(params, operands + 2);
    show(ask(channel, "port-add", params), print_json);
}

static void policy(const struct channel *channel, char **pairs) {
    json_t *params = json_object();
    set_pairs(params, pairs);
    show(ask(channel, "policy", params), print_nothing);
}

static void trace(const struct channel *channel, int argc, char **argv) {
    json_t *params = json_pack("{s:I, s:s}", "in_port", (json_int_t) number(argv[0]), "packet", argv[1]);
    if (argc > 2)
        json_object_set_new(params, "tunnel_id", json_integer(number(argv[2])));
    show(ask(channel, "trace", params), print_lines);
}

static void call(const struct channel *channel, const char *method, const char *params) {
    json_error_t wrong;
    json_t *object = params ? json_loads(params, 0, &wrong) : NULL;
    if (params && !object)
        fail("\"%s\" is not JSON: %s", params, wrong.text);
    show(ask(channel, method, object), print_json);
}

static void run(const struct channel *channel, int argc, char **argv) {
    const char *command = argv[0];
    if (run_simple(channel, argc, argv))
        return;
    if (!strcmp(command, "port-add") && argc > 2)
        port_add(channel, argv + 1);
    else if (!strcmp(command, "policy") && argc > 1)
        policy(channel, argv + 1);
    else if (!strcmp(command, "trace") && argc > 2)
        trace(channel, argc - 1, argv + 1);
    else if (!strcmp(command, "top") && argc < 3)
        top(channel, argc > 1 && number(argv[1]) > 0 ? number(argv[1]) : 1);
    else if (!strcmp(command, "counters") && argc == 1)
        counters(channel);
    else if (!strcmp(command, "call") && argc > 1)
        call(channel, argv[1], argv[2]);
    else
        fail("\"%s\" is no command, or lacks arguments; quakectl --help lists them", command);
}

int main(int argc, char **argv) {
    static const struct option options[] = {{"socket", required_argument, NULL, 's'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {NULL, 0, NULL, 0}};
    const char *path = getenv("QUAKE_CONTROL");
    path = path ? path : DEFAULT_SOCKET;
    for (int option; (option = getopt_long(argc, argv, "+s:jh", options, NULL)) != -1;) {
        if (option == 'h') {
            fputs(HELP, stdout);
            return 0;
        }
        if (option == '?')
            return 1;
        if (option == 's')
            path = optarg;
        else
            as_json = true;
    }
    if (optind == argc) {
        fputs(HELP, stderr);
        return 1;
    }
    struct channel channel = connect_to(path);
    run(&channel, argc - optind, argv + optind);
    fclose(channel.in);
    fclose(channel.out);
    return 0;
}
