/* See checksum.h. */
#include "checksum.h"

#include <string.h>

#include <rte_hash_crc.h>
#include <rte_mbuf.h>

#include "headers.h"

static uint16_t fold(uint64_t sum) {
    while (sum >> 16) {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    return (uint16_t) sum;
}

uint16_t checksum_add(uint32_t sum, const void *data, size_t n) {
    const uint8_t *byte = data;
    uint64_t wide = sum;
    for (; n >= 2; n -= 2, byte += 2) {
        wide += load_be16(byte);
    }
    return fold(n ? wide + ((uint32_t) *byte << 8) : wide);
}

void checksum_update(uint8_t *at, const void *old, const void *new, size_t n) {
    /* HC' = ~(~HC + ~m + m'), RFC 1624 equation 3. */
    uint64_t sum = (uint16_t) ~load_be16(at);
    for (size_t i = 0; i < n; i += 2) {
        sum += (uint16_t) ~load_be16((const uint8_t *) old + i);
        sum += load_be16((const uint8_t *) new + i);
    }
    store_be16(at, (uint16_t) ~fold(sum));
}

static uint32_t crc32c_more(uint32_t crc, const uint8_t *data, uint32_t n) {
    for (; n >= 8; n -= 8, data += 8) {
        uint64_t eight; /* rte_hash_crc() itself would load from odd addresses */
        memcpy(&eight, data, sizeof eight);
        crc = rte_hash_crc_8byte(eight, crc);
    }
    for (; n; n--, data++) {
        crc = rte_hash_crc_1byte(*data, crc);
    }
    return crc;
}

uint32_t checksum_crc32c(const struct rte_mbuf *packet, uint32_t offset, uint32_t n) {
    uint32_t crc = UINT32_MAX;
    if (offset + n > rte_pktmbuf_pkt_len(packet)) {
        return 0;
    }
    for (const struct rte_mbuf *segment = packet; n; segment = segment->next) {
        uint32_t length = rte_pktmbuf_data_len(segment);
        if (offset < length) {
            uint32_t piece = RTE_MIN(length - offset, n);
            crc = crc32c_more(crc, rte_pktmbuf_mtod_offset(segment, const uint8_t *, offset), piece);
            n -= piece;
            offset = 0;
        } else {
            offset -= length;
        }
    }
    return ~crc;
}
