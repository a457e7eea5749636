/* A clock that is wrong: preloaded into a process, it moves the wall clock by QUORATE_SKEW_S seconds. The monotonic clock stays. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    long result = syscall(SYS_clock_gettime, clock, now);
    const char *skew = getenv("QUORATE_SKEW_S");
    if (result == 0 && clock == CLOCK_REALTIME && skew != NULL) {
        now->tv_sec += strtol(skew, NULL, 10);
    }
    return (int)result;
}
