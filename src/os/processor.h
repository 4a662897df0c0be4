/*
 * processor.h - whether others need the processor that the calling thread runs on.
 *
 * A thread that waits in a loop instead of sleeping must ask, because the kernel takes it for one
 * that works.
 */
#ifndef UVECHOD_PROCESSOR_H
#define UVECHOD_PROCESSOR_H

/*
 * Lets the threads run that wait for this processor (sched_yield(2)). Returns at once if there are
 * none, otherwise when the kernel chooses the calling thread again: after milliseconds, perhaps.
 */
void processor_give_way(void);

/*
 * How often the calling thread has left the processor to another thread although it could have gone
 * on (ru_nivcsw, getrusage(2)): preempted, or in processor_give_way(). The number only grows.
 * Where the kernel does not tell, it is always 0.
 */
long processor_losses(void);

#endif
