/* Internet checksums, whole and by difference (RFC 1071, RFC 1624), and SCTP's CRC32c (RFC 9260, appendix A).
 *
 * An update by difference leaves a wrong checksum wrong, so an edit never hides that a packet was damaged before.
 * set_field.c, reply.c and ports/offload.c use it. */
#ifndef QUAKE_PACKET_CHECKSUM_H
#define QUAKE_PACKET_CHECKSUM_H 1

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rte_mbuf;

/* The folded one's complement sum of `sum` and the `n` bytes at `data`, which are taken to start at an even place. */
uint16_t checksum_add(uint32_t sum, const void *data, size_t n);

/* Account in the checksum at `at` for `n` bytes, an even number, at an even place, that turn from `old` to `new`. */
void checksum_update(uint8_t *at, const void *old, const void *new, size_t n);

/* CRC32c of `n` bytes of a packet from `offset`, over all its segments; 0 if the packet is shorter. */
uint32_t checksum_crc32c(const struct rte_mbuf *packet, uint32_t offset, uint32_t n);

#endif
