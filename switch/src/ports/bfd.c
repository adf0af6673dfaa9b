#include "bfd.h"

#include <arpa/inet.h>
#include <string.h>

#define VERSION 1
#define SLOW_US 1000000u /* section 6.8.3: not faster than this while not up */
#define DIAG_EXPIRED 1
#define DIAG_NEIGHBOUR_DOWN 3

static uint32_t larger(uint32_t a, uint32_t b) {
    return a > b ? a : b;
}

static uint32_t read32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return ntohl(value);
}

static void write32(uint8_t *at, uint32_t value) {
    value = htonl(value);
    memcpy(at, &value, sizeof value);
}

void bfd_init(struct bfd *bfd, uint32_t discriminator, uint32_t interval_ms, uint8_t multiplier) {
    *bfd = (struct bfd){.state = BFD_DOWN,
                        .remote_state = BFD_DOWN,
                        .my_discriminator = discriminator,
                        .interval_us = interval_ms * 1000,
                        .multiplier = multiplier,
                        .remote_min_rx_us = 1};
}

static void go_down(struct bfd *bfd, uint8_t diagnostic) {
    bfd->state = BFD_DOWN;
    bfd->diagnostic = diagnostic;
}

/* The state machine of section 6.2. */
static void step(struct bfd *bfd, enum bfd_state theirs) {
    bfd->remote_state = theirs;
    if (theirs == BFD_ADMIN_DOWN || (theirs == BFD_DOWN && bfd->state == BFD_UP)) {
        if (bfd->state != BFD_DOWN)
            go_down(bfd, DIAG_NEIGHBOUR_DOWN);
    } else if (bfd->state == BFD_DOWN) {
        bfd->state = theirs == BFD_DOWN ? BFD_INIT : theirs == BFD_INIT ? BFD_UP : BFD_DOWN;
    } else if (bfd->state == BFD_INIT && theirs != BFD_DOWN) {
        bfd->state = BFD_UP;
    }
    if (bfd->state == BFD_UP)
        bfd->diagnostic = 0;
}

bool bfd_receive(struct bfd *bfd, const uint8_t *packet, size_t size, uint64_t now_ms) {
    if (size < BFD_PACKET || packet[0] >> 5 != VERSION || packet[3] < BFD_PACKET || packet[3] > size)
        return false;
    bool authenticated = packet[1] & 0x04, multipoint = packet[1] & 0x01;
    uint8_t multiplier = packet[2];
    uint32_t theirs = read32(packet + 4), ours = read32(packet + 8);
    enum bfd_state state = packet[1] >> 6;
    if (authenticated || multipoint || !multiplier || !theirs || (ours && ours != bfd->my_discriminator) ||
        (!ours && state != BFD_DOWN && state != BFD_ADMIN_DOWN))
        return false;
    bfd->your_discriminator = theirs;
    bfd->remote_multiplier = multiplier;
    bfd->remote_min_tx_us = read32(packet + 12);
    bfd->remote_min_rx_us = read32(packet + 16);
    bfd->heard_ms = now_ms;
    step(bfd, state);
    return true;
}

void bfd_check(struct bfd *bfd, uint64_t now_ms) {
    uint64_t patience_us = (uint64_t) bfd->remote_multiplier * larger(bfd->interval_us, bfd->remote_min_tx_us);
    if (bfd->state < BFD_INIT || (now_ms - bfd->heard_ms) * 1000 < patience_us)
        return;
    go_down(bfd, DIAG_EXPIRED);
    bfd->your_discriminator = 0;
}

void bfd_write(const struct bfd *bfd, uint8_t packet[BFD_PACKET]) {
    uint32_t interval = bfd->state == BFD_UP ? bfd->interval_us : larger(bfd->interval_us, SLOW_US);
    memset(packet, 0, BFD_PACKET);
    packet[0] = (uint8_t) (VERSION << 5 | bfd->diagnostic);
    packet[1] = (uint8_t) (bfd->state << 6);
    packet[2] = bfd->multiplier;
    packet[3] = BFD_PACKET;
    write32(packet + 4, bfd->my_discriminator);
    write32(packet + 8, bfd->your_discriminator);
    write32(packet + 12, interval);
    write32(packet + 16, bfd->interval_us);
}

uint32_t bfd_send_interval_ms(const struct bfd *bfd) {
    uint32_t ours = bfd->state == BFD_UP ? bfd->interval_us : larger(bfd->interval_us, SLOW_US);
    return larger(ours, bfd->remote_min_rx_us) / 1000;
}

const char *bfd_state_name(enum bfd_state state) {
    static const char *const names[] = {"admin-down", "down", "init", "up"};
    return names[state];
}
