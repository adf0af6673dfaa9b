/* The memif endpoint with a client that is well-behaved, hostile, or dies.
 *
 * The client is the test's own, so that it can do what a library would not. The endpoint lives in an event loop on a
 * thread of its own, as in the switch; the test's thread is client and worker in turn. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <rte_eal.h>
#include <rte_mbuf.h>

#include "base/loop.h"
#include "ports/memif.h"
#include "ports/types.h"

#define RING_LOG2 4
#define RING (1 << RING_LOG2)
#define REGION (1 << 16)
#define TX_RING 4096 /* offsets in the region */
#define BUFFERS 8192
#define BUFFER 2048
#define DEATHS 300

static struct {
    char path[64];
    struct rte_mempool *pool;
    struct loop *loop;
    struct port_host host;
    struct port *port;
    pthread_t control, worker;
    pthread_mutex_t polling; /* held by the worker while it is inside the port */
    sem_t changed;
    _Atomic bool stop;
    int end; /* readable when the loop is to end */
    struct loop_fd *end_watch;
} bed = {.polling = PTHREAD_MUTEX_INITIALIZER};

/* ---- The switch's side ---- */

static void changed(void *aux, struct port *port) {
    (void) aux, (void) port;
    sem_post(&bed.changed);
}

static void synchronize(void *aux) {
    (void) aux;
    pthread_mutex_lock(&bed.polling);
    pthread_mutex_unlock(&bed.polling);
}

static void end_loop(void *aux, uint32_t events) {
    (void) aux, (void) events;
    loop_stop(bed.loop);
}

static void *control(void *aux) {
    (void) aux;
    loop_run(bed.loop);
    return NULL;
}

static int start_dpdk(void **state) {
    (void) state;
    char *argv[] = {"test",           "--no-huge",         "--no-pci", "--no-shconf", "--iova-mode=va",
                    "--no-telemetry", "--log-level=error", "-m",       "64"};
    if (rte_eal_init(sizeof argv / sizeof *argv, argv) < 0)
        return -1;
    bed.pool = rte_pktmbuf_pool_create("packets", 1023, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
    return bed.pool ? 0 : -1;
}

static int set_up(void **state) {
    (void) state;
    char directory[] = "/tmp/quake-test-XXXXXX";
    assert_non_null(mkdtemp(directory));
    snprintf(bed.path, sizeof bed.path, "%s/memif", directory);
    sem_init(&bed.changed, 0, 0);
    bed.loop = loop_create();
    bed.end = eventfd(0, 0);
    bed.end_watch = loop_fd_add(bed.loop, bed.end, EPOLLIN, end_loop, NULL);
    bed.host = (struct port_host){
        .loop = bed.loop, .pool = bed.pool, .n_workers = 1, .changed = changed, .synchronize = synchronize};
    json_t *spec = json_pack("{s:s, s:s}", "socket", bed.path, "secret", "s3cret");
    assert_null(port_type_memif.open(spec, "m", &bed.host, &bed.port));
    json_decref(spec);
    return pthread_create(&bed.control, NULL, control, NULL);
}

static int tear_down(void **state) {
    (void) state;
    assert_int_equal(write(bed.end, &(uint64_t){1}, sizeof(uint64_t)), sizeof(uint64_t));
    pthread_join(bed.control, NULL);
    loop_fd_remove(bed.end_watch);
    close(bed.end);
    port_type_memif.close(bed.port);
    loop_destroy(bed.loop);
    *strrchr(bed.path, '/') = '\0';
    return rmdir(bed.path);
}

/* ---- The client's side ---- */

struct client {
    int fd, memory, wake[2];
    uint8_t *region;
    struct memif_shared_ring *rx, *tx; /* as the switch sees them: we fill rx, it fills tx */
};

static struct memif_message read_message(const struct client *client) {
    struct memif_message message;
    assert_int_equal(recv(client->fd, &message, sizeof message, 0), sizeof message);
    return message;
}

static void send_message(const struct client *client, const struct memif_message *message, int fd) {
    char control[CMSG_SPACE(sizeof fd)] = {0};
    struct iovec io = {(void *) message, sizeof *message};
    struct msghdr header = {.msg_iov = &io, .msg_iovlen = 1};
    if (fd >= 0) {
        header.msg_control = control;
        header.msg_controllen = sizeof control;
        struct cmsghdr *c = CMSG_FIRSTHDR(&header);
        *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(c), &fd, sizeof fd);
    }
    assert_int_equal(sendmsg(client->fd, &header, MSG_NOSIGNAL), sizeof *message);
}

/* Sends, and returns the type of the answer. */
static int tell(const struct client *client, const struct memif_message *message, int fd) {
    send_message(client, message, fd);
    return read_message(client).type;
}

static struct client *client_connect(void) {
    struct client *client = calloc(1, sizeof *client);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", bed.path);
    client->fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *) &address, sizeof address), 0);
    client->memory = memfd_create("region", MFD_ALLOW_SEALING);
    assert_int_equal(ftruncate(client->memory, REGION), 0);
    client->region = mmap(NULL, REGION, PROT_READ | PROT_WRITE, MAP_SHARED, client->memory, 0);
    client->wake[0] = eventfd(0, EFD_NONBLOCK);
    client->wake[1] = eventfd(0, EFD_NONBLOCK);
    client->rx = (struct memif_shared_ring *) client->region;
    client->tx = (struct memif_shared_ring *) (client->region + TX_RING);
    client->rx->cookie = client->tx->cookie = MEMIF_COOKIE;
    assert_int_equal(read_message(client).type, MEMIF_HELLO);
    return client;
}

static void client_close(struct client *client) {
    close(client->fd);
    close(client->memory);
    close(client->wake[0]);
    close(client->wake[1]);
    munmap(client->region, REGION);
    free(client);
}

static struct memif_message init_message(const char *secret) {
    struct memif_message message = {.type = MEMIF_INIT, .init = {.version = MEMIF_VERSION}};
    memcpy(message.init.secret, secret, strlen(secret));
    return message;
}

static const struct memif_message region_message = {.type = MEMIF_ADD_REGION, .add_region = {0, REGION}};

static struct memif_message ring_message(uint16_t flags, uint32_t offset) {
    return (struct memif_message){.type = MEMIF_ADD_RING, .add_ring = {flags, 0, 0, offset, RING_LOG2, 0}};
}

static void seal(const struct client *client) {
    assert_int_equal(fcntl(client->memory, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

static struct client *client_ready(void) {
    struct client *client = client_connect();
    const struct memif_message init = init_message("s3cret"), rx = ring_message(MEMIF_RING_FROM_CLIENT, 0),
                               tx = ring_message(0, TX_RING), go = {.type = MEMIF_CONNECT};
    seal(client);
    assert_int_equal(tell(client, &init, -1), MEMIF_ACK);
    assert_int_equal(tell(client, &region_message, client->memory), MEMIF_ACK);
    assert_int_equal(tell(client, &rx, client->wake[0]), MEMIF_ACK);
    assert_int_equal(tell(client, &tx, client->wake[1]), MEMIF_ACK);
    assert_int_equal(tell(client, &go, -1), MEMIF_CONNECTED);
    sem_wait(&bed.changed);
    return client;
}

static void client_leave(struct client *client) {
    client_close(client);
    sem_wait(&bed.changed); /* the switch has let go */
}

static void put_descriptor(struct client *client, unsigned i, struct memif_descriptor descriptor) {
    client->rx->descriptors[i & (RING - 1)] = descriptor;
}

static void advance(struct client *client, uint16_t n) {
    atomic_fetch_add(&client->rx->head, n);
}

static unsigned poll_once(struct rte_mbuf **packets) {
    pthread_mutex_lock(&bed.polling);
    unsigned n = port_type_memif.receive(bed.port, 0, packets, DP_BATCH);
    pthread_mutex_unlock(&bed.polling);
    return n;
}

static unsigned poll_and_free(void) {
    struct rte_mbuf *packets[DP_BATCH];
    unsigned n = poll_once(packets);
    rte_pktmbuf_free_bulk(packets, n);
    return n;
}

/* ---- Tests ---- */

static void frames_arrive_whole(void **state) {
    (void) state;
    struct client *client = client_ready();
    struct rte_mbuf *packets[DP_BATCH];
    for (unsigned i = 0; i < BUFFER; i++)
        client->region[BUFFERS + i] = (uint8_t) i;
    put_descriptor(client, 0, (struct memif_descriptor){0, 0, 60, BUFFERS, 0});
    put_descriptor(client, 1, (struct memif_descriptor){MEMIF_DESCRIPTOR_NEXT, 0, BUFFER, BUFFERS, 0});
    put_descriptor(client, 2, (struct memif_descriptor){0, 0, 1000, BUFFERS, 0});
    advance(client, 2); /* the second frame is not complete yet */
    assert_int_equal(poll_once(packets), 1);
    assert_int_equal(packets[0]->pkt_len, 60);
    assert_memory_equal(rte_pktmbuf_mtod(packets[0], void *), client->region + BUFFERS, 60);
    rte_pktmbuf_free(packets[0]);
    advance(client, 1);
    assert_int_equal(poll_once(packets), 1);
    assert_int_equal(packets[0]->pkt_len, BUFFER + 1000);
    uint8_t copy[BUFFER + 1000];
    assert_memory_equal(rte_pktmbuf_read(packets[0], 0, BUFFER, copy), client->region + BUFFERS, BUFFER);
    rte_pktmbuf_free(packets[0]);
    assert_int_equal(atomic_load(&client->rx->tail), 3);
    client_leave(client);
}

static struct rte_mbuf *packet_of(uint16_t size) {
    struct rte_mbuf *packet = rte_pktmbuf_alloc(bed.pool);
    memset(rte_pktmbuf_append(packet, size), 0x5a, size);
    return packet;
}

static void frames_leave_into_offered_buffers_only(void **state) {
    (void) state;
    struct client *client = client_ready();
    struct rte_mbuf *packets[] = {packet_of(60), packet_of(1000), packet_of(60)};
    client->tx->descriptors[0] = (struct memif_descriptor){0, 0, BUFFER, BUFFERS, 0};
    client->tx->descriptors[1] = (struct memif_descriptor){0, 0, 600, BUFFERS + BUFFER, 0};
    client->tx->descriptors[2] = (struct memif_descriptor){0, 0, 600, BUFFERS + 2 * BUFFER, 0};
    atomic_store(&client->tx->head, 3);
    assert_int_equal(port_type_memif.transmit(bed.port, 0, packets, 3), 2); /* the large one took two buffers */
    rte_pktmbuf_free(packets[2]);
    assert_int_equal(atomic_load(&client->tx->tail), 3);
    assert_int_equal(client->tx->descriptors[0].length, 60);
    assert_int_equal(client->tx->descriptors[1].flags, MEMIF_DESCRIPTOR_NEXT);
    assert_int_equal(client->tx->descriptors[2].length, 400);
    assert_int_equal(client->region[BUFFERS + 59], 0x5a);
    uint64_t kicks;
    assert_int_equal(read(client->wake[1], &kicks, sizeof kicks), sizeof kicks); /* it had not masked interrupts */
    client_leave(client);
}

static void an_armed_queue_wakes(void **state) {
    (void) state;
    struct client *client = client_ready();
    assert_int_equal(atomic_load(&client->rx->flags), MEMIF_RING_MASK_INTERRUPT);
    assert_true(port_type_memif.arm(bed.port, 0) >= 0);
    assert_int_equal(atomic_load(&client->rx->flags), 0);
    port_type_memif.disarm(bed.port, 0, false);
    assert_int_equal(atomic_load(&client->rx->flags), MEMIF_RING_MASK_INTERRUPT);
    client_leave(client);
    assert_int_equal(port_type_memif.arm(bed.port, 0), -1); /* nobody there: nothing to wait for */
}

static bool is_readable(int fd) {
    return poll(&(struct pollfd){fd, POLLIN, 0}, 1, 0) == 1;
}

/* What is shared of an eventfd are its counter and its flags: full and blocking when it is to be rung, empty and
 * blocking when it has rung. Whoever writes or reads it hangs here. */
static void an_eventfd_that_blocks_holds_nobody_up(void **state) {
    (void) state;
    struct client *client = client_ready();
    const uint64_t full = UINT64_MAX - 1, one = 1;
    uint64_t count;
    assert_int_equal(fcntl(client->wake[0], F_SETFL, 0) | fcntl(client->wake[1], F_SETFL, 0), 0);
    assert_int_equal(write(client->wake[1], &full, sizeof full), sizeof full);
    for (uint16_t i = 0; i < 300; i++) { /* more than what is done at the kernel's is kept for */
        struct rte_mbuf *packet = packet_of(60);
        client->tx->descriptors[i & (RING - 1)] = (struct memif_descriptor){0, 0, BUFFER, BUFFERS, 0};
        atomic_store(&client->tx->head, i + 1);
        assert_int_equal(port_type_memif.transmit(bed.port, 0, &packet, 1), 1);
    }
    assert_true(is_readable(client->wake[1]));

    for (unsigned i = 0; i < 3; i++) {
        int fd = port_type_memif.arm(bed.port, 0);
        assert_false(is_readable(fd));
        assert_int_equal(write(client->wake[0], &one, sizeof one), sizeof one);
        assert_true(is_readable(fd));
        assert_int_equal(read(client->wake[0], &count, sizeof count), sizeof count);
        port_type_memif.disarm(bed.port, 0, true);
        assert_false(is_readable(fd));
    }
    client_leave(client);
}

static void descriptors_that_point_nowhere_are_counted(void **state) {
    (void) state;
    struct client *client = client_ready();
    const struct memif_descriptor hostile[] = {
        {0, MEMIF_MAX_REGIONS, 60, 0, 0}, {0, 1, 60, 0, 0},      {0, 0, 60, REGION - 59, 0}, {0, 0, UINT32_MAX, 1, 0},
        {0, 0, 60, UINT32_MAX, 0},        {0, 0, 0, BUFFERS, 0}, {0, UINT16_MAX, 60, 0, 0},
    };
    const unsigned n = sizeof hostile / sizeof *hostile;
    for (unsigned i = 0; i < n; i++)
        put_descriptor(client, i, hostile[i]);
    put_descriptor(client, n, (struct memif_descriptor){0, 0, 60, BUFFERS, 0});
    advance(client, n + 1);
    assert_int_equal(poll_and_free(), 1);
    struct dp_port_stats statistics = {0};
    port_type_memif.statistics(bed.port, &statistics);
    assert_int_equal(statistics.rx_errors, n);

    for (unsigned i = 0; i < RING; i++) /* a chain without end, longer than any frame */
        put_descriptor(client, i, (struct memif_descriptor){MEMIF_DESCRIPTOR_NEXT, 0, REGION - BUFFERS, BUFFERS, 0});
    advance(client, RING - 1);
    assert_int_equal(poll_and_free(), 0);
    advance(client, 1000); /* more than the ring holds */
    assert_int_equal(poll_and_free(), 0);
    client->tx->descriptors[0] = (struct memif_descriptor){0, 7, BUFFER, 0, 0};
    atomic_store(&client->tx->head, 1);
    struct rte_mbuf *packet = packet_of(60);
    assert_int_equal(port_type_memif.transmit(bed.port, 0, &packet, 1), 0);
    rte_pktmbuf_free(packet);
    client_leave(client);
    assert_int_equal(rte_mempool_in_use_count(bed.pool), 0);
}

static void expect_refusal(const struct memif_message *message, int fd_of, bool after_init) {
    struct client *client = client_connect();
    const struct memif_message init = init_message("s3cret");
    if (after_init)
        assert_int_equal(tell(client, &init, -1), MEMIF_ACK);
    assert_int_equal(tell(client, message, fd_of ? client->memory : -1), MEMIF_DISCONNECT);
    char byte;
    assert_int_equal(recv(client->fd, &byte, 1, 0), 0);
    client_close(client);
}

static void what_breaks_the_protocol_is_sent_away(void **state) {
    (void) state;
    struct memif_message message = init_message("guess");
    expect_refusal(&message, 0, false);
    message = init_message("s3cret");
    message.init.version = 0x0100;
    expect_refusal(&message, 0, false);
    message = init_message("s3cret");
    message.init.id = 9;
    expect_refusal(&message, 0, false);
    expect_refusal(&region_message, 1, false); /* before INIT */
    expect_refusal(&region_message, 1, true);  /* not sealed */
    expect_refusal(&region_message, 0, true);  /* no memory */
    message = ring_message(MEMIF_RING_FROM_CLIENT, 0);
    expect_refusal(&message, 1, true); /* in no region */
    message = (struct memif_message){.type = MEMIF_CONNECT};
    expect_refusal(&message, 0, true); /* without rings */
    message = (struct memif_message){.type = 99};
    expect_refusal(&message, 0, true);
}

static void a_ring_must_lie_in_its_region(void **state) {
    (void) state;
    struct client *client = client_connect();
    const struct memif_message init = init_message("s3cret"), ring = ring_message(0, REGION - 64);
    seal(client);
    assert_int_equal(tell(client, &init, -1), MEMIF_ACK);
    assert_int_equal(tell(client, &region_message, client->memory), MEMIF_ACK);
    assert_int_equal(tell(client, &ring, client->wake[0]), MEMIF_DISCONNECT);
    client_close(client);
}

static void a_ring_is_rung_by_an_eventfd_only(void **state) {
    (void) state;
    for (unsigned with_file = 0; with_file < 2; with_file++) {
        struct client *client = client_connect();
        const struct memif_message init = init_message("s3cret"), ring = ring_message(0, TX_RING);
        seal(client);
        assert_int_equal(tell(client, &init, -1), MEMIF_ACK);
        assert_int_equal(tell(client, &region_message, client->memory), MEMIF_ACK);
        assert_int_equal(tell(client, &ring, with_file ? client->memory : -1), MEMIF_DISCONNECT);
        client_close(client);
    }
}

static unsigned open_descriptors(void) {
    unsigned n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void no_descriptor_stays_that_nobody_asked_for(void **state) {
    (void) state;
    struct client *client = client_connect();
    const struct memif_message ack = {.type = MEMIF_ACK}, init = init_message("s3cret");
    const int fds[2] = {client->wake[0], client->wake[1]};
    char control[CMSG_SPACE(sizeof fds)] __attribute__((aligned(8))) = {0};
    struct cmsghdr *c = (struct cmsghdr *) control;
    *c = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof fds), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
    memcpy(CMSG_DATA(c), fds, sizeof fds);
    struct iovec io = {(void *) &ack, sizeof ack};
    struct msghdr header = {.msg_iov = &io, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    unsigned before = open_descriptors();
    for (unsigned i = 0; i < 10; i++)
        assert_int_equal(sendmsg(client->fd, &header, MSG_NOSIGNAL), sizeof ack);
    assert_int_equal(tell(client, &init, -1), MEMIF_ACK); /* what came before was dealt with */
    assert_int_equal(open_descriptors(), before);
    client_close(client);
}

static void *poll_on(void *aux) {
    (void) aux;
    while (!atomic_load(&bed.stop))
        poll_and_free();
    return NULL;
}

/* What DPDK's own server does not survive. */
static void clients_die_while_they_are_polled(void **state) {
    (void) state;
    atomic_store(&bed.stop, false);
    pthread_create(&bed.worker, NULL, poll_on, NULL);
    for (unsigned i = 0; i < DEATHS; i++) {
        struct client *client = client_ready();
        for (unsigned j = 0; j < RING; j++)
            put_descriptor(client, j, (struct memif_descriptor){0, 0, 60, BUFFERS, 0});
        advance(client, RING);
        client_leave(client);
    }
    atomic_store(&bed.stop, true);
    pthread_join(bed.worker, NULL);
    assert_int_equal(rte_mempool_in_use_count(bed.pool), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(frames_arrive_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(frames_leave_into_offered_buffers_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_armed_queue_wakes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_eventfd_that_blocks_holds_nobody_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptors_that_point_nowhere_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_breaks_the_protocol_is_sent_away, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ring_must_lie_in_its_region, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_ring_is_rung_by_an_eventfd_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_descriptor_stays_that_nobody_asked_for, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clients_die_while_they_are_polled, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, start_dpdk, NULL);
}
