/* Bidirectional Forwarding Detection (RFC 5880), as far as a tunnel needs it: asynchronous mode, no authentication, no
 * echo, no demand. Pure: packets and times come in, packets and a state go out; vxlan.c carries them. */
#ifndef QUAKE_PORTS_BFD_H
#define QUAKE_PORTS_BFD_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BFD_PACKET 24 /* bytes of a control packet */

enum bfd_state { BFD_ADMIN_DOWN, BFD_DOWN, BFD_INIT, BFD_UP };

struct bfd {
    enum bfd_state state, remote_state;
    uint32_t my_discriminator, your_discriminator;
    uint32_t interval_us; /* how often we send when up, and want to hear */
    uint8_t multiplier;   /* intervals without a packet until the session is down */
    uint32_t remote_min_rx_us, remote_min_tx_us;
    uint8_t remote_multiplier, diagnostic;
    uint64_t heard_ms;
};

/* `discriminator` must not be 0. */
void bfd_init(struct bfd *bfd, uint32_t discriminator, uint32_t interval_ms, uint8_t multiplier);
/* Section 6.8.6. True if the packet was valid. */
bool bfd_receive(struct bfd *bfd, const uint8_t *packet, size_t size, uint64_t now_ms);
/* Section 6.8.4: nothing heard for the detection time. */
void bfd_check(struct bfd *bfd, uint64_t now_ms);
void bfd_write(const struct bfd *bfd, uint8_t packet[BFD_PACKET]);
/* Milliseconds between two packets of ours. */
uint32_t bfd_send_interval_ms(const struct bfd *bfd);
const char *bfd_state_name(enum bfd_state state);

#endif
