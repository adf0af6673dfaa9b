/* vhost-user ports: the net_vhost device, with wake-ups by the guest's kick and stale sockets cleared away.
 *
 * The switch is the server (it makes the socket) or the client (it connects, and keeps trying). rte_vhost takes a
 * connection away only after the device's queues were drained of users, so a guest may die at any moment. Our own calls
 * into rte_vhost from workers are kept off a dying connection by `vhost_lock`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eth_vhost.h>
#include <rte_ethdev.h>
#include <rte_vhost.h>

#include "../base/error.h"
#include "ethdev.h"
#include "types.h"

/* Vrings of a queue pair: the guest's transmit ring is what we receive from. */
static uint16_t receive_vring(unsigned queue) {
    return (uint16_t) (queue * 2 + 1);
}

/* On rte_vhost's thread, from its new_device and destroy_device, so the connection lives during the call. */
static void on_link(struct ethdev *device) {
    struct rte_eth_link link = {0};
    (void) rte_eth_link_get_nowait(device->id, &link);
    rte_spinlock_lock(&device->vhost_lock);
    device->vhost_id = link.link_status ? rte_eth_vhost_get_vid_from_port_id(device->id) : -1;
    struct rte_vhost_vring vring;
    if (device->vhost_id >= 0 && !rte_vhost_get_vhost_vring(device->vhost_id, receive_vring(0), &vring))
        device->up.ring = vring.size;
    rte_spinlock_unlock(&device->vhost_lock);
}

/* A server that was killed leaves its socket behind: away with it, if nobody listens there any more. */
static void clear_stale_socket(const char *path) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (connect(fd, (struct sockaddr *) &address, sizeof address) && errno == ECONNREFUSED)
        unlink(path);
    close(fd);
}

static char *check(const char *path, const char *role, int queues) {
    if (strlen(path) >= sizeof((struct sockaddr_un *) 0)->sun_path || strchr(path, ','))
        return error_make("the socket's path \"%s\" is too long or has a comma in it", path);
    if (strcmp(role, "server") != 0 && strcmp(role, "client") != 0)
        return error_make("role is \"%s\"; it may be server (the switch makes the socket) or client", role);
    if (queues < 1 || queues > PORT_MAX_QUEUES)
        return error_make("queues is %d; it may be 1 to %d", queues, PORT_MAX_QUEUES);
    return NULL;
}

static char *vhost_open(const json_t *spec, const char *name, const struct port_host *host, struct port **port) {
    json_error_t wrong;
    const char *path, *role = "server";
    int queues = 1;
    if (json_unpack_ex((json_t *) spec, &wrong, JSON_STRICT, "{s:s, s?s, s?i}", "socket", &path, "role", &role,
                       "queues", &queues))
        return error_make("%s; a vhost-user port takes socket, role and queues", wrong.text);
    char *error = check(path, role, queues);
    if (error)
        return error;
    bool client = !strcmp(role, "client");
    if (!client)
        clear_stale_socket(path);
    char devargs[256];
    snprintf(devargs, sizeof devargs, "net_vhost_%s,iface=%s,queues=%d,client=%d", name, path, queues, client);
    return ethdev_open(&port_type_vhost_user, devargs, name, (unsigned) queues, host, on_link, port);
}

static int set_notification(struct ethdev *device, unsigned queue, bool enable) {
    struct rte_vhost_vring vring;
    int fd = -1;
    rte_spinlock_lock(&device->vhost_lock);
    if (device->vhost_id >= 0 && !rte_vhost_get_vhost_vring(device->vhost_id, receive_vring(queue), &vring) &&
        !rte_vhost_enable_guest_notification(device->vhost_id, receive_vring(queue), enable))
        fd = vring.kickfd;
    rte_spinlock_unlock(&device->vhost_lock);
    return fd;
}

static int vhost_arm(struct port *port, unsigned queue) {
    int fd = set_notification((struct ethdev *) port, queue, true);
    return fd >= 0 ? fd : -1;
}

static void vhost_disarm(struct port *port, unsigned queue, bool readable) {
    int fd = set_notification((struct ethdev *) port, queue, false);
    uint64_t count;
    if (readable && fd >= 0)
        (void) !read(fd, &count, sizeof count);
}

const struct port_type port_type_vhost_user = {
    .name = "vhost-user",
    .open = vhost_open,
    .close = ethdev_close,
    .receive = ethdev_receive,
    .transmit = ethdev_transmit,
    .arm = vhost_arm,
    .disarm = vhost_disarm,
    .describe = ethdev_describe,
    .statistics = ethdev_statistics,
    .details = ethdev_details,
};
