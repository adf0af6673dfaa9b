/* The control thread's event loop: file descriptors and timers on epoll. One thread, no locks. */
#ifndef QUAKE_BASE_LOOP_H
#define QUAKE_BASE_LOOP_H 1

#include <stdbool.h>
#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;

struct loop *loop_create(void);
void loop_destroy(struct loop *loop);
void loop_run(struct loop *loop); /* until loop_stop() */
void loop_stop(struct loop *loop);
uint64_t loop_now_ms(void); /* CLOCK_MONOTONIC */

/* `events` is a set of EPOLLIN and EPOLLOUT. The callback may remove its own or any other descriptor. */
struct loop_fd *loop_fd_add(struct loop *loop, int fd, uint32_t events, void (*ready)(void *aux, uint32_t events),
                            void *aux);
void loop_fd_events(struct loop_fd *fd, uint32_t events);
void loop_fd_remove(struct loop_fd *fd);

struct loop_timer *loop_timer_add(struct loop *loop, uint64_t at_ms, void (*expired)(void *aux), void *aux);
void loop_timer_set(struct loop_timer *timer, uint64_t at_ms); /* UINT64_MAX: idle */
void loop_timer_remove(struct loop_timer *timer);

#endif
