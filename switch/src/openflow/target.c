/* Targets as text. */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "stream.h"

#define OPENFLOW_PORT "6653" /* assigned by IANA */
#define AUX_MAX 8

static const struct target_kind {
    const char *prefix;
    bool passive, tls, unix_socket;
} kinds[] = {
    {"tcp:", false, false, false}, {"ssl:", false, true, false}, {"unix:", false, false, true},
    {"ptcp:", true, false, false}, {"pssl:", true, true, false}, {"punix:", true, false, true},
};

static const struct target_kind *find_kind(const char *text) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strncmp(text, kinds[i].prefix, strlen(kinds[i].prefix)))
            return &kinds[i];
    return NULL;
}

static const char *parse_unix(const char *path, struct target *target) {
    struct sockaddr_un *address = (struct sockaddr_un *) &target->address;
    if (!*path || strlen(path) >= sizeof address->sun_path)
        return "the path of a unix socket must have 1 to 107 bytes";
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path) + 1);
    target->address_len = sizeof *address;
    return NULL;
}

static bool is_port(const char *text) {
    char *end;
    unsigned long port = strtoul(text, &end, 10);
    return *text && strlen(text) <= 5 && !*end && port >= 1 && port <= 65535;
}

/* An address is kept; a name is left for later, as looking it up takes time. */
static void parse_address(struct target *target) {
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_STREAM}, *found;
    if (getaddrinfo(target->host, target->port, &hints, &found))
        return;
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_len = found->ai_addrlen;
    freeaddrinfo(found);
}

/* HOST:PORT, HOST, [V6]:PORT for active targets; PORT:HOST, PORT for passive ones. */
static const char *split_endpoint(char *text, struct target *target) {
    char *first = text, *second = NULL;
    if (*text == '[' && strchr(text, ']')) {
        first = text + 1;
        text = strchr(text, ']');
        *text++ = '\0';
    }
    char *colon = strchr(text, ':');
    if (colon) {
        *colon = '\0';
        second = colon + 1;
    }
    const char *host = target->passive ? second : first, *port = target->passive ? first : second;
    if (!port || !*port)
        port = OPENFLOW_PORT;
    if (!is_port(port))
        return "the port must be a number from 1 to 65535";
    if (!host)
        host = "0.0.0.0";
    host += *host == '[';
    snprintf(target->host, sizeof target->host, "%.*s", (int) strcspn(host, "]"), host);
    snprintf(target->port, sizeof target->port, "%.5s", port);
    return *target->host ? NULL : "a host is missing: write HOST:PORT, or [ADDRESS]:PORT for IPv6";
}

static const char *parse_inet(const char *endpoint, struct target *target) {
    char text[sizeof target->host + sizeof target->port + 4];
    if (strlen(endpoint) >= sizeof text)
        return "the host is longer than 255 bytes";
    snprintf(text, sizeof text, "%s", endpoint);
    const char *wrong = split_endpoint(text, target);
    if (wrong)
        return wrong;
    parse_address(target);
    return target->passive && !target->address_len ? "a listener needs a numeric address: write PORT:ADDRESS" : NULL;
}

static const char *parse_aux(char *text, struct target *target) {
    char *option = strstr(text, ",aux=");
    if (!option)
        return NULL;
    *option = '\0';
    char *end;
    unsigned long aux = strtoul(option + 5, &end, 10);
    if (!option[5] || *end || aux > AUX_MAX)
        return "aux= must be a number of auxiliary connections from 0 to 8";
    if (target->passive && aux)
        return "auxiliary connections are opened by the switch: aux= needs an active target";
    target->aux = (unsigned) aux;
    return NULL;
}

const char *target_parse(const char *text, struct target *target) {
    char copy[512];
    const struct target_kind *kind = find_kind(text);
    if (!kind)
        return "a target begins with tcp:, ssl:, unix:, ptcp:, pssl: or punix:";
    if (strlen(text) >= sizeof copy)
        return "the target is longer than 511 bytes";
    snprintf(copy, sizeof copy, "%s", text + strlen(kind->prefix));
    *target = (struct target){.passive = kind->passive, .tls = kind->tls};
    const char *wrong = parse_aux(copy, target);
    if (wrong)
        return wrong;
    return kind->unix_socket ? parse_unix(copy, target) : parse_inet(copy, target);
}
