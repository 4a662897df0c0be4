/*
 * kernel.h - the simulated kernel, as the simulated libuv and the clients see it. The daemon sees
 * it through os/: kernel.c and os.c implement the functions of src/os/ once more.
 */
#ifndef UVECHOD_SIM_KERNEL_H
#define UVECHOD_SIM_KERNEL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* The events of a descriptor, beside UV_READABLE and UV_WRITABLE. */
enum { KERNEL_ERR = 64, KERNEL_HUP = 128 };

/* What epoll would report of fd: UV_READABLE, UV_WRITABLE, KERNEL_ERR, KERNEL_HUP. */
unsigned kernel_ready(int fd);

/* Whether fd is open; whether watches_add() has registered it with that epoll descriptor since it
 * was opened. libuv would register it itself, and abort when that fails. */
bool kernel_is_open(int fd);
bool kernel_is_watched(int epoll, int fd);

/* uv_poll_init tries the descriptor: 0 or a negative errno. */
int kernel_try_watch(int fd);

/* libuv removes the watch: uv_poll_stop, uv_close, uv_poll_start. */
void kernel_unwatch(int epoll, int fd);

/* The descriptors of a new loop: its epoll descriptor, or -EMFILE. And their end. */
int kernel_open_loop(void *loop);
void kernel_close_loop(const void *loop);

/* A pending signal that is not blocked, which is taken; or 0. Only the first loop asks. */
int kernel_take_signal(void);

/* ---- invariants, called by the loop (invariants.c) ---- */

/* The event of fd is about to be told to its callback; the callback took its interest back. */
void invariants_told(int fd);
void invariants_took_back(int fd);

/* fd is ready and armed, and a pass begins. */
void invariants_ready(int fd);

/* All loops are about to sleep: nobody may wait for what is there. */
void invariants_before_sleep(void);

/* A loop has run its idle handles: the queue of its scheduler must match its idle handle. */
void invariants_after_turn(const void *idle, bool active);

/* The timer of a loop is active, and the idle handles of the loop have run. */
void invariants_timer(const uv_timer_t *timer);

#endif
