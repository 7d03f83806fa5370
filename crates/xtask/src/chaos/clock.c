// Preloaded: the process sees CLOCK_REALTIME moved by the seconds in the file that CHAOS_CLOCK names. The
// file is mapped, so writing to it makes the clock jump. Other clocks are left alone.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *offset;

__attribute__((constructor)) static void begin(void) {
    const char *name = getenv("CHAOS_CLOCK");
    int file = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) _exit(99);
    void *map = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (map == MAP_FAILED) _exit(99);
    offset = map;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int outcome = syscall(SYS_clock_gettime, clock, time);
    if (outcome == 0 && clock == CLOCK_REALTIME && offset) time->tv_sec += *offset;
    return outcome;
}
