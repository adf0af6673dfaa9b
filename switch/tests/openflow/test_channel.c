/* Connections of every kind: the switch calls and calls again, TLS on both sides, auxiliary connections, bad targets.
 */
#include "rig.h"

#include <netdb.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "openflow/conn.h"

static int set_up(void **state) {
    *state = rig_create();
    return 0;
}

static int tear_down(void **state) {
    rig_destroy(*state);
    return 0;
}

static void no_wait(void *aux) {
    loop_stop(aux);
}

/* A round of the switch's loop: both ends are in this thread. */
static void let_it_run(struct rig *rig) {
    struct loop_timer *now = loop_timer_add(rig->loop, 0, no_wait, rig->loop);
    loop_run(rig->loop);
    loop_timer_remove(now);
}

/* ---- Targets ---- */

static void bad_targets_are_explained(void **state) {
    static const char *const bad[] = {
        "",          "udp:1.2.3.4:6653", "tcp:",        "tcp:h:0",         "tcp:h:65536", "tcp:h:x",
        "unix:",     "ptcp:h",           "ptcp:1:name", "ptcp:6653,aux=1", "tcp:h,aux=",  "tcp:h,aux=9",
        "pssl:6653", "ssl:1.2.3.4"};
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (!of_controller_add(rig->of, bad[i]))
            fail_msg("\"%s\" was taken", bad[i]);
    assert_non_null(of_controller_add(rig->of, rig->target)); /* twice */
    assert_non_null(of_controller_remove(rig->of, "tcp:9.9.9.9:1"));
}

static void good_targets_are_understood(void **state) {
    struct target target;
    (void) state;
    assert_null(target_parse("tcp:[::1]:7000,aux=2", &target));
    assert_int_equal(target.address.ss_family, AF_INET6);
    assert_int_equal(target.aux, 2);
    assert_null(target_parse("ssl:controller.example:6653", &target));
    assert_true(target.tls && !target.address_len);
    assert_string_equal(target.host, "controller.example");
    assert_null(target_parse("tcp:10.0.0.1", &target));
    assert_string_equal(target.port, "6653");
    assert_null(target_parse("ptcp:6653:127.0.0.1", &target));
    assert_true(target.passive);
}

/* ---- A controller that listens ---- */

struct listener {
    struct rig *rig;
    int fd;
    char target[128];
    struct loop_fd *watch;
};

static void someone_calls(void *aux, uint32_t events) {
    struct listener *listener = aux;
    (void) events;
    loop_stop(listener->rig->loop);
}

static struct listener *listen_here(struct rig *rig, const char *options) {
    struct listener *listener = xzalloc(sizeof *listener);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    listener->rig = rig;
    listener->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof address.sun_path, "%s/controller", rig->directory);
    snprintf(listener->target, sizeof listener->target, "unix:%.90s%s", address.sun_path, options);
    assert_int_equal(bind(listener->fd, (struct sockaddr *) &address, sizeof address), 0);
    assert_int_equal(listen(listener->fd, 8), 0);
    listener->watch = loop_fd_add(rig->loop, listener->fd, EPOLLIN, someone_calls, listener);
    return listener;
}

static struct client *take_call(struct listener *listener) {
    loop_run(listener->rig->loop);
    int fd = accept(listener->fd, NULL, NULL);
    assert_true(fd >= 0);
    struct client *client = client_adopt(listener->rig, fd);
    send_plain(client, OFPT_HELLO, 7);
    expect_message(client, OFPT_HELLO, 0, 16);
    return client;
}

static void listener_close(struct listener *listener) {
    struct sockaddr_un address;
    socklen_t len = sizeof address;
    getsockname(listener->fd, (struct sockaddr *) &address, &len);
    unlink(address.sun_path);
    loop_fd_remove(listener->watch);
    close(listener->fd);
    free(listener);
}

static void the_switch_calls_again(void **state) {
    struct rig *rig = *state;
    struct listener *listener = listen_here(rig, "");
    assert_null(of_controller_add(rig->of, listener->target));
    for (int i = 0; i < 3; i++) {
        struct client *client = take_call(listener);
        send_flow_mod(client, &(struct flow_spec){.in_port = (uint32_t) i + 1});
        expect_silence(client);
        client_close(client);
        assert_int_equal(count_flows(rig), (unsigned) i + 1); /* fail-secure: what is there stays */
    }
    listener_close(listener);
}

static void note_state(void *aux, const struct of_connection_view *view) {
    char *text = aux;
    snprintf(text + strlen(text), 200 - strlen(text), "%s/%s ", view->role, view->state);
}

static void packet_ins_ride_auxiliary_connections(void **state) {
    struct rig *rig = *state;
    struct listener *listener = listen_here(rig, ",aux=1");
    char view[200] = "";
    assert_null(of_controller_add(rig->of, listener->target));
    struct client *main = take_call(listener), *aux = take_call(listener);
    send_plain(aux, OFPT_FEATURES_REQUEST, 1);
    const struct ofp_switch_features *features = expect_message(aux, OFPT_FEATURES_REPLY, 1, sizeof *features);
    assert_int_equal(features->auxiliary_id, 1);
    uint8_t frame[60] = {0};
    struct dp_packet_in event = {
        .reason = DP_PACKET_IN_ACTION, .in_port = 3, .cookie = 5, .metadata = 6, .data = frame, .len = sizeof frame};
    of_packet_in(rig->of, &event);
    const struct ofp_packet_in *told = expect_message(aux, OFPT_PACKET_IN, 0, sizeof *told + 24 + 2 + sizeof frame);
    assert_int_equal(be16toh(told->total_len), sizeof frame);
    assert_int_equal(be64toh(told->cookie), 5);
    expect_silence(main);
    of_connection_each(rig->of, note_state, view);
    assert_non_null(strstr(view, "auxiliary/connected"));
    client_close(main);
    client_await_end(aux); /* none without its main connection */
    client_close(aux);
    listener_close(listener);
}

static void packet_ins_tell_their_context(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    uint8_t frame[60] = {1, 2, 3};
    struct dp_packet_in event = {.reason = DP_PACKET_IN_NO_MATCH,
                                 .table_id = 2,
                                 .in_port = 3,
                                 .in_phy_port = 3,
                                 .cookie = UINT64_MAX,
                                 .tunnel_id = 9,
                                 .data = frame,
                                 .len = sizeof frame};
    static const uint8_t match[] = {0,    1, 0,       24, 0x80, 0, 0, 4, 0, 0, 0, 3,
                                    0x80, 0, 38 << 1, 8,  0,    0, 0, 0, 0, 0, 0, 9};
    expect_silence(client);
    of_packet_in(rig->of, &event);
    event.reason = DP_PACKET_IN_INVALID_TTL; /* nobody asked for these */
    of_packet_in(rig->of, &event);
    const uint8_t *told = expect_message(client, OFPT_PACKET_IN, 0, 24 + sizeof match + 2 + sizeof frame);
    assert_memory_equal(told + 24, match, sizeof match);
    assert_memory_equal(told + 24 + sizeof match + 2, frame, sizeof frame);
    expect_silence(client);
    client_close(client);
}

static void messages_may_come_byte_by_byte(void **state) {
    struct rig *rig = *state;
    struct client *client = client_connect(rig);
    struct request request;
    request_flow_mod(&request, &(struct flow_spec){.in_port = 1, .out_port = 2});
    request_finish(&request);
    for (size_t i = 0; i < buf_len(&request.bytes); i++) {
        assert_int_equal(count_flows(rig), 0);
        client_send(client, buf_data(&request.bytes) + i, 1);
        let_it_run(rig);
    }
    assert_int_equal(count_flows(rig), 1);
    buf_free(&request.bytes);
    client_close(client);
}

static void the_longest_message_fits(void **state) {
    struct client *client = client_connect(*state);
    for (uint32_t i = 0; i < 20; i++) {
        struct request request;
        request_begin(&request, OFPT_ECHO_REQUEST, i);
        request_zeros(&request, OFP_MAX_MESSAGE - 8);
        request_send(client, &request);
    }
    for (uint32_t i = 0; i < 20; i++)
        expect_message(client, OFPT_ECHO_REPLY, i, OFP_MAX_MESSAGE);
    client_close(client);
}

static void silence_is_asked_about_and_then_ended(void **state) {
    struct rig *rig = *state;
    rig->of->idle_ms = 20;
    struct client *client = client_connect(rig);
    expect_message(client, OFPT_ECHO_REQUEST, 0, 8);
    assert_null(client_receive(client)); /* it was not answered */
    client_close(client);
}

/* It asks and asks, but reads nothing: what is kept for it must not grow for ever. */
static void who_takes_no_answers_is_left(void **state) {
    struct rig *rig = *state;
    static uint8_t echo[OFP_MAX_MESSAGE] = {OFP_VERSION, OFPT_ECHO_REQUEST, 0xff, 0xff};
    rig->of->idle_ms = 20;
    struct client *client = client_connect(rig);
    loop_fd_events(client->watch, 0);
    size_t sent = 0;
    while (!LIST_EMPTY(&rig->of->conns)) {
        ssize_t n =
            send(client->fd, echo + sent % sizeof echo, sizeof echo - sent % sizeof echo, MSG_DONTWAIT | MSG_NOSIGNAL);
        sent += n > 0 ? (size_t) n : 0;
        let_it_run(rig);
    }
    client_close(client);
}

static void too_many_are_turned_away(void **state) {
    struct rig *rig = *state;
    struct client *clients[64];
    for (size_t i = 0; i < 64; i++)
        clients[i] = client_connect(rig);
    struct client *late = client_connect_raw(rig);
    assert_null(client_receive(late));
    client_close(late);
    client_close(clients[0]);
    expect_silence(clients[1]); /* by now the switch knows that there is room */
    clients[0] = client_connect(rig);
    for (size_t i = 0; i < 64; i++)
        client_close(clients[i]);
}

static struct listener listen_at_loopback(struct rig *rig) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    struct listener listener = {.rig = rig, .fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)};
    assert_int_equal(bind(listener.fd, (struct sockaddr *) &address, sizeof address), 0);
    assert_int_equal(listen(listener.fd, 8), 0);
    getsockname(listener.fd, (struct sockaddr *) &address, &len);
    snprintf(listener.target, sizeof listener.target, "tcp:localhost:%u", ntohs(address.sin_port));
    return listener;
}

/* A host by its name: looked up beside the loop, then called. */
static void names_are_looked_up(void **state) {
    struct rig *rig = *state;
    struct listener listener = listen_at_loopback(rig);
    listener.watch = loop_fd_add(rig->loop, listener.fd, EPOLLIN, someone_calls, &listener);
    assert_null(of_controller_add(rig->of, listener.target));
    struct client *client = take_call(&listener);
    expect_silence(client);
    client_close(client);
    assert_null(of_controller_add(rig->of, "tcp:no.such.host.invalid:6653"));    /* it goes on trying */
    assert_null(of_controller_remove(rig->of, "tcp:no.such.host.invalid:6653")); /* while the look-up runs */
    assert_null(of_controller_remove(rig->of, listener.target));
    loop_fd_remove(listener.watch);
    close(listener.fd);
}

static const char *answers; /* NULL: the resolver is asked */

/* The linker sends calls of getaddrinfo() here (meson.build): hardly a machine has a name of several addresses of which
 * one is certain not to answer. */
int __real_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found);
int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found);

int __wrap_getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    if (!answers || (hints->ai_flags & AI_NUMERICHOST))
        return __real_getaddrinfo(node, service, hints, found);
    __real_getaddrinfo(answers, service, hints, found); /* first, and then what the name has */
    return __real_getaddrinfo(node, service, hints, &(*found)->ai_next);
}

static void every_address_of_a_name_is_tried(void **state) {
    struct rig *rig = *state;
    struct listener listener = listen_at_loopback(rig);
    listener.watch = loop_fd_add(rig->loop, listener.fd, EPOLLIN, someone_calls, &listener);
    answers = "127.0.0.2"; /* nobody listens there */
    assert_null(of_controller_add(rig->of, listener.target));
    for (int i = 0; i < 2; i++) {
        struct client *client = take_call(&listener);
        expect_silence(client);
        client_close(client);
    }
    answers = NULL;
    assert_null(of_controller_remove(rig->of, listener.target));
    loop_fd_remove(listener.watch);
    close(listener.fd);
}

/* ---- TLS: both sides are switches of ours, one of which listens ---- */

struct identity {
    EVP_PKEY *key;
    X509 *certificate;
};

static struct identity make_identity(const char *name, const struct identity *issuer) {
    struct identity id = {EVP_EC_gen("P-256"), X509_new()};
    X509_NAME *subject = X509_get_subject_name(id.certificate);
    X509_set_version(id.certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(id.certificate), issuer ? 2 : 1);
    X509_gmtime_adj(X509_getm_notBefore(id.certificate), -3600);
    X509_gmtime_adj(X509_getm_notAfter(id.certificate), 3600);
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *) name, -1, -1, 0);
    X509_set_issuer_name(id.certificate, issuer ? X509_get_subject_name(issuer->certificate) : subject);
    X509_set_pubkey(id.certificate, id.key);
    X509_EXTENSION *ca =
        X509V3_EXT_conf_nid(NULL, NULL, NID_basic_constraints, issuer ? "CA:FALSE" : "critical,CA:TRUE");
    X509_add_ext(id.certificate, ca, -1);
    X509_EXTENSION_free(ca);
    X509_sign(id.certificate, issuer ? issuer->key : id.key, EVP_sha256());
    return id;
}

static void save_identity(const struct rig *rig, const char *name, const struct identity *id) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s.key", rig->directory, name);
    FILE *file = fopen(path, "w");
    PEM_write_PrivateKey(file, id->key, NULL, NULL, 0, NULL, NULL);
    fclose(file);
    snprintf(path, sizeof path, "%s/%s.crt", rig->directory, name);
    file = fopen(path, "w");
    PEM_write_X509(file, id->certificate);
    fclose(file);
}

static void forget_identity(const struct rig *rig, const char *name, struct identity *id) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s.key", rig->directory, name);
    unlink(path);
    snprintf(path, sizeof path, "%s/%s.crt", rig->directory, name);
    unlink(path);
    EVP_PKEY_free(id->key);
    X509_free(id->certificate);
}

static const char *use_tls(struct rig *rig, const char *name, const char *ca) {
    char key[128], certificate[128], authority[128];
    snprintf(key, sizeof key, "%s/%s.key", rig->directory, name);
    snprintf(certificate, sizeof certificate, "%s/%s.crt", rig->directory, name);
    snprintf(authority, sizeof authority, "%s/%s.crt", rig->directory, ca);
    return of_set_tls(rig->of, &(struct of_tls){key, certificate, authority});
}

static uint16_t free_port(void) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *) &address, sizeof address), 0);
    getsockname(fd, (struct sockaddr *) &address, &len);
    close(fd);
    return ntohs(address.sin_port);
}

static bool tls_exchange_hello(struct rig *rig, SSL *ssl) {
    const struct ofp_header hello = {OFP_VERSION, OFPT_HELLO, htobe16(8), 0};
    uint8_t answer[16];
    for (int n; (n = SSL_write(ssl, &hello, sizeof hello)) <= 0; let_it_run(rig))
        if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
            return false;
    for (int n; (n = SSL_read(ssl, answer, sizeof answer)) <= 0; let_it_run(rig))
        if (SSL_get_error(ssl, n) != SSL_ERROR_WANT_READ)
            return false;
    return answer[1] == OFPT_HELLO;
}

static bool tls_session(struct rig *rig, uint16_t port, const char *name, const char *ca) {
    char key[128], certificate[128], authority[128], endpoint[64];
    const char *why;
    struct target target;
    struct stream stream;
    snprintf(key, sizeof key, "%s/%s.key", rig->directory, name);
    snprintf(certificate, sizeof certificate, "%s/%s.crt", rig->directory, name);
    snprintf(authority, sizeof authority, "%s/%s.crt", rig->directory, ca);
    snprintf(endpoint, sizeof endpoint, "ssl:127.0.0.1:%u", port);
    SSL_CTX *context = stream_tls_context(key, certificate, authority, &why);
    assert_non_null(context);
    assert_null(target_parse(endpoint, &target));
    assert_int_equal(stream_connect(&stream, &target, context), 0);
    bool fine = tls_exchange_hello(rig, stream.ssl);
    stream_close(&stream);
    SSL_CTX_free(context);
    return fine;
}

static void tls_asks_for_the_right_certificate(void **state) {
    struct rig *rig = *state;
    struct identity ca = make_identity("ca", NULL), good = make_identity("good", &ca),
                    other = make_identity("other", NULL);
    char target[64];
    uint16_t port = free_port();
    save_identity(rig, "ca", &ca);
    save_identity(rig, "good", &good);
    save_identity(rig, "other", &other);
    assert_non_null(use_tls(rig, "missing", "ca"));
    assert_null(use_tls(rig, "good", "ca"));
    snprintf(target, sizeof target, "pssl:%u:127.0.0.1", port);
    assert_null(of_controller_add(rig->of, target));
    assert_true(tls_session(rig, port, "good", "ca"));
    assert_false(tls_session(rig, port, "other", "ca"));   /* signed by itself: not let in */
    assert_false(tls_session(rig, port, "good", "other")); /* does not trust the switch */
    forget_identity(rig, "ca", &ca);
    forget_identity(rig, "good", &good);
    forget_identity(rig, "other", &other);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(bad_targets_are_explained),
        TEST(good_targets_are_understood),
        TEST(the_switch_calls_again),
        TEST(packet_ins_ride_auxiliary_connections),
        TEST(packet_ins_tell_their_context),
        TEST(names_are_looked_up),
        TEST(every_address_of_a_name_is_tried),
        TEST(silence_is_asked_about_and_then_ended),
        TEST(who_takes_no_answers_is_left),
        TEST(too_many_are_turned_away),
        TEST(messages_may_come_byte_by_byte),
        TEST(the_longest_message_fits),
        TEST(tls_asks_for_the_right_certificate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
