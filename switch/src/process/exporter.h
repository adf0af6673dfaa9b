/* Figures for Prometheus (text format 0.0.4) and answers for probes, over HTTP/1.1:
 *   /metrics  counters of ports, tables, workers and controllers
 *   /healthz  200 while every worker is alive (made a round within a second, or rests)
 *   /readyz   200 when also a controller is connected, if there is one to connect to */
#ifndef QUAKE_PROCESS_EXPORTER_H
#define QUAKE_PROCESS_EXPORTER_H 1

struct exporter;
struct quake;

/* `address` is HOST:PORT. NULL or what is wrong. */
char *exporter_open(struct quake *quake, const char *address, struct exporter **exporter);
void exporter_close(struct exporter *exporter);

#endif
