// Shuts the file system of the argument down as a power cut does: nothing is flushed, not even the log.
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

#define FS_IOC_SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_LOG_FLUSH 2

int main(int count, char **words) {
    uint32_t how = NO_LOG_FLUSH;
    int folder = count == 2 ? open(words[1], O_RDONLY) : -1;
    if (folder < 0 || ioctl(folder, FS_IOC_SHUTDOWN, &how)) {
        perror("FS_IOC_SHUTDOWN");
        return 1;
    }
    return 0;
}
