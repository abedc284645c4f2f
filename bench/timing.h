// A monotonic clock, and a timer that wakes epoll at a moment of it. Shared by the provider and the load generator.
#ifndef LUMNI_BENCH_TIMING_H
#define LUMNI_BENCH_TIMING_H

#include <stdint.h>
#include <sys/timerfd.h>
#include <time.h>

#define NANOSECONDS_PER_SECOND 1000000000LL
#define NEVER INT64_MAX

static inline int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * NANOSECONDS_PER_SECOND + now.tv_nsec;
}

// NEVER disarms. epoll_wait's own time-out counts whole milliseconds, too coarse for 5 ms between chunks.
static inline void wake_at(int timer, int64_t moment_ns) {
    struct itimerspec when = {0};
    if (moment_ns != NEVER) {
        when.it_value.tv_sec = moment_ns / NANOSECONDS_PER_SECOND;
        when.it_value.tv_nsec = moment_ns % NANOSECONDS_PER_SECOND;
    }
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, 0);
}

#endif
