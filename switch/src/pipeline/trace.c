/* Tracing: a packet's way through the pipeline, told line by line, on the control thread and without effect.
 *
 * The packet is run by a worker of its own, through the very functions that real packets take; it counts nothing and
 * sends nothing, and its buffers come from malloc(). See dp_trace() in dp.h. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <rte_mbuf.h>

#include "../base/buf.h"
#include "../packet/format.h"
#include "worker.h"

#define TRACE_LINE 2048

struct trace {
    void (*line)(void *aux, const char *text);
    void *aux;
};

static struct rte_mbuf *heap_mbuf(const uint8_t *data, size_t len) {
    size_t room = RTE_PKTMBUF_HEADROOM + len + RTE_PKTMBUF_HEADROOM;
    struct rte_mbuf *mbuf = xzalloc(sizeof *mbuf + room);
    mbuf->buf_addr = mbuf + 1;
    mbuf->buf_len = room > UINT16_MAX ? UINT16_MAX : room;
    mbuf->data_off = RTE_PKTMBUF_HEADROOM;
    mbuf->data_len = len;
    mbuf->pkt_len = len;
    mbuf->nb_segs = 1;
    rte_mbuf_refcnt_set(mbuf, 1);
    memcpy(rte_pktmbuf_mtod(mbuf, void *), data, len);
    return mbuf;
}

struct rte_mbuf *trace_copy(const struct rte_mbuf *mbuf) {
    return heap_mbuf(rte_pktmbuf_mtod(mbuf, const uint8_t *), rte_pktmbuf_data_len(mbuf));
}

void trace_line(struct dp_worker *w, const char *format, ...) {
    char text[TRACE_LINE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    w->trace->line(w->trace->aux, text);
}

void trace_visit(struct dp_worker *w, const struct packet *p, uint8_t table_id) {
    char text[TRACE_LINE];
    packet_need((struct packet *) p, ALL_WORDS);
    format_flow(text, sizeof text, &p->flow);
    trace_line(w, "table %u: %s", table_id, text);
}

void trace_match(struct dp_worker *w, const struct packet *p) {
    char match_text[TRACE_LINE], does[TRACE_LINE];
    struct match match;
    rule_match(p->rule, &match);
    format_match(match_text, sizeof match_text, &match);
    format_instructions(does, sizeof does, &p->rule->program->instructions);
    trace_line(w, "  priority=%u,%s cookie=0x%llx actions=%s", p->rule->priority, match_text,
               (unsigned long long) p->rule->cookie, does);
}

void trace_action(struct dp_worker *w, const struct action *action) {
    char text[TRACE_LINE];
    format_actions(text, sizeof text, action, 1);
    trace_line(w, "  %s", text);
}

void dp_trace(struct dp *dp, uint32_t in_port, uint64_t tunnel_id, const uint8_t *data, size_t len,
              void (*line)(void *aux, const char *text), void *aux) {
    struct trace trace = {line, aux};
    if (len > UINT16_MAX - 2 * RTE_PKTMBUF_HEADROOM) {
        line(aux, "the packet is longer than 65,279 bytes: give a shorter one");
        return;
    }
    struct dp_worker *w = huge_alloc(sizeof *w);
    w->dp = dp;
    w->trace = &trace;
    worker_trace(w, in_port, tunnel_id, heap_mbuf(data, len));
    huge_free(w, sizeof *w);
}
