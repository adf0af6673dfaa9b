/* See offload.h. */
#include "offload.h"

#include <netinet/in.h>
#include <string.h>

#include <linux/virtio_net.h>
#include <rte_byteorder.h>
#include <rte_ip.h>
#include <rte_mbuf.h>
#include <rte_tcp.h>
#include <rte_udp.h>

#include "../packet/checksum.h"
#include "../packet/headers.h"

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5 /* since Linux 6.2 */
#endif
#define HEADERS_MAX 160 /* Ethernet, two tags, IPv4 and TCP with all of their options */

/* ---- Checksums ---- */

/* As it goes into a packet; zero would say to UDP that there is none, and its complement is as good. */
static uint16_t complement(uint32_t sum) {
    sum = (sum & 0xffff) + (sum >> 16);
    sum = (sum & 0xffff) + (sum >> 16);
    return sum == 0xffff ? 0xffff : (uint16_t) ~sum;
}

bool offload_checksum(struct rte_mbuf *packet, const struct virtio_net_hdr *header) {
    uint32_t start = header->csum_start, at = start + header->csum_offset;
    bool crc32c = header->csum_offset == SCTP_CHECKSUM; /* the header has no other word for it; nobody else is there */
    if (at + (crc32c ? sizeof(uint32_t) : sizeof(uint16_t)) > packet->data_len)
        return false;
    uint8_t *field = rte_pktmbuf_mtod_offset(packet, uint8_t *, at);
    if (crc32c) {
        memset(field, 0, sizeof(uint32_t));
        uint32_t crc = rte_cpu_to_le_32(checksum_crc32c(packet, start, packet->pkt_len - start));
        memcpy(field, &crc, sizeof crc);
        return true;
    }
    uint16_t sum; /* the field holds that of the pseudo header */
    if (rte_raw_cksum_mbuf(packet, start, packet->pkt_len - start, &sum))
        return false;
    sum = complement(sum);
    memcpy(field, &sum, sizeof sum);
    return true;
}

/* ---- Cutting ---- */

/* Where the IP header begins, behind any VLAN tags; 0 for what is not IP. */
static uint32_t find_ip(const uint8_t *frame, uint32_t length) {
    uint32_t at = ETH_TYPE_AT;
    while (at + 2 + VLAN_LEN <= length &&
           (load_be16(frame + at) == ETH_TYPE_VLAN || load_be16(frame + at) == ETH_TYPE_QINQ))
        at += VLAN_LEN;
    bool ip = at + 2 + IPV6_LEN <= length &&
              (load_be16(frame + at) == ETH_TYPE_IPV4 || load_be16(frame + at) == ETH_TYPE_IPV6);
    return ip ? at + 2 : 0;
}

/* The protocol above the IP header, if its header is where the sender says that it is: not so in tunnels. */
static uint8_t proto_at(const uint8_t *ip, uint32_t l4) {
    bool v4 = *ip >> 4 == 4;
    uint32_t length = v4 ? (*ip & 0xfu) * 4 : IPV6_LEN;
    return l4 != length ? 0 : ip[v4 ? IPV4_PROTO : IPV6_NEXT];
}

static uint8_t proto_of(const struct virtio_net_hdr *header) {
    switch (header->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
    case VIRTIO_NET_HDR_GSO_TCPV6:
        return IP_PROTO_TCP;
    case VIRTIO_NET_HDR_GSO_UDP_L4:
        return IP_PROTO_UDP;
    default:
        return 0;
    }
}

bool cut_begin(struct cut *cut, const uint8_t *frame, uint32_t length, const struct virtio_net_hdr *header) {
    *cut = (struct cut){.frame = frame, .length = length, .size = length};
    if (header->gso_type == VIRTIO_NET_HDR_GSO_NONE)
        return true;
    cut->proto = proto_of(header);
    cut->l3 = find_ip(frame, length);
    cut->l4 = header->csum_start;
    cut->size = header->gso_size;
    if (!cut->proto || !cut->l3 || !cut->size || cut->l4 + TCP_LEN > length ||
        proto_at(frame + cut->l3, cut->l4 - cut->l3) != cut->proto)
        return false;
    cut->headers = cut->l4 + (cut->proto == IP_PROTO_TCP ? (frame[cut->l4 + 12] >> 4) * 4u : UDP_LEN);
    cut->at = cut->headers;
    return cut->headers >= cut->l4 + UDP_LEN && cut->headers < length && cut->headers <= HEADERS_MAX;
}

static void adapt_ip(const struct cut *cut, uint8_t *ip, uint32_t l4_length) {
    if (*ip >> 4 == 6) {
        store_be16(ip + IPV6_PAYLOAD, (uint16_t) l4_length);
        return;
    }
    struct rte_ipv4_hdr *v4 = (struct rte_ipv4_hdr *) ip;
    v4->total_length = rte_cpu_to_be_16((uint16_t) (cut->l4 - cut->l3 + l4_length));
    v4->packet_id = rte_cpu_to_be_16((uint16_t) (rte_be_to_cpu_16(v4->packet_id) + cut->identifier));
    v4->hdr_checksum = 0;
    v4->hdr_checksum = (uint16_t) ~rte_raw_cksum(v4, cut->l4 - cut->l3);
}

/* The sequence number goes on; only the first packet tells that the window shrank, only the last pushes and ends. */
static void adapt_tcp(const struct cut *cut, struct rte_tcp_hdr *tcp, bool last) {
    tcp->sent_seq = rte_cpu_to_be_32(rte_be_to_cpu_32(tcp->sent_seq) + cut->at - cut->headers);
    if (cut->at != cut->headers)
        tcp->tcp_flags &= (uint8_t) ~RTE_TCP_CWR_FLAG;
    if (!last)
        tcp->tcp_flags &= (uint8_t) ~(RTE_TCP_PSH_FLAG | RTE_TCP_FIN_FLAG);
}

static uint32_t sum_of_pseudo_header(const struct cut *cut, const uint8_t *ip, uint32_t l4_length) {
    bool v4 = *ip >> 4 == 4;
    return rte_raw_cksum(ip + (v4 ? IPV4_SRC : IPV6_SRC), v4 ? 8 : 32) + htons(cut->proto) +
           htons((uint16_t) l4_length);
}

/* Turn `head`, the frame's headers, into those of the packet with the next `size` bytes. */
static void adapt(const struct cut *cut, uint8_t *head, uint32_t size) {
    uint8_t *ip = head + cut->l3, *l4 = head + cut->l4;
    uint32_t l4_length = cut->headers - cut->l4 + size;
    bool tcp = cut->proto == IP_PROTO_TCP;
    adapt_ip(cut, ip, l4_length);
    if (tcp)
        adapt_tcp(cut, (struct rte_tcp_hdr *) l4, cut->at + size == cut->length);
    else
        store_be16(l4 + offsetof(struct rte_udp_hdr, dgram_len), (uint16_t) l4_length);
    uint8_t *field = l4 + (tcp ? TCP_CHECKSUM : UDP_CHECKSUM);
    memset(field, 0, sizeof(uint16_t));
    uint16_t sum = complement(sum_of_pseudo_header(cut, ip, l4_length) + rte_raw_cksum(l4, cut->headers - cut->l4) +
                              rte_raw_cksum(cut->frame + cut->at, size));
    memcpy(field, &sum, sizeof sum);
}

/* Put `n` bytes behind those of `packet`, with more buffers as they are needed. */
static bool append(struct rte_mbuf *packet, struct rte_mempool *pool, const uint8_t *data, uint32_t n) {
    while (n) {
        struct rte_mbuf *last = rte_pktmbuf_lastseg(packet), *more = NULL;
        uint32_t piece = RTE_MIN(n, (uint32_t) rte_pktmbuf_tailroom(last));
        memcpy(rte_pktmbuf_append(packet, (uint16_t) piece), data, piece);
        data += piece;
        n -= piece;
        if (n && (!(more = rte_pktmbuf_alloc(pool)) || rte_pktmbuf_chain(packet, more))) {
            rte_pktmbuf_free(more);
            return false;
        }
    }
    return true;
}

struct rte_mbuf *cut_next(struct cut *cut, struct rte_mempool *pool) {
    uint8_t head[HEADERS_MAX] __attribute__((aligned(2)));
    uint32_t size = RTE_MIN(cut->size, cut->length - cut->at);
    struct rte_mbuf *packet = rte_pktmbuf_alloc(pool);
    memcpy(head, cut->frame, cut->headers);
    if (cut->l4)
        adapt(cut, head, size);
    bool whole = packet && append(packet, pool, head, cut->headers) && append(packet, pool, cut->frame + cut->at, size);
    cut->at = whole ? cut->at + size : cut->length;
    cut->identifier++;
    if (whole)
        return packet;
    rte_pktmbuf_free(packet);
    return NULL;
}
