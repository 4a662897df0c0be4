#include "files.h"

#include "world.h"

#include <errno.h>
#include <string.h>

struct file {
    enum file_kind kind;
    void *object;
    unsigned watches;
    bool survives;
};

static struct {
    struct file list[FILES_MAX];
    unsigned limit;
    int lowest; /* no lower number is free */
    int epolls[FILES_EPOLLS];
    unsigned epoll_count;
} files;

void files_begin(unsigned limit)
{
    memset(&files, 0, sizeof files);
    files.limit = limit;
    for (int fd = 0; fd <= 2; fd++)
        files_inherit(fd);
}

void files_end(void)
{
    for (int fd = 0; fd < FILES_MAX; fd++)
        if (files.list[fd].kind != FILE_NONE && files.list[fd].kind != FILE_INHERITED)
            world_fail("descriptor %d is left open (kind %d)", fd, (int)files.list[fd].kind);
}

unsigned files_limit(void)
{
    return files.limit;
}

int files_open(enum file_kind kind, void *object, int lowest)
{
    int fd = lowest > files.lowest ? lowest : files.lowest;
    while (fd < (int)files.limit && files.list[fd].kind != FILE_NONE)
        fd++;
    if (fd >= (int)files.limit)
        return -EMFILE;
    files.list[fd] = (struct file){.kind = kind, .object = object};
    if (lowest <= files.lowest)
        files.lowest = fd + 1;
    return fd;
}

void files_inherit(int fd)
{
    if (files_kind(fd) == FILE_NONE)
        files.list[fd].kind = FILE_INHERITED;
}

enum file_kind files_kind(int fd)
{
    return fd >= 0 && fd < FILES_MAX ? files.list[fd].kind : FILE_NONE;
}

void *files_object(int fd, enum file_kind kind)
{
    if (files_kind(fd) != kind)
        world_fail("descriptor %d is of kind %d where %d is needed", fd, (int)files_kind(fd),
                   (int)kind);
    return files.list[fd].object;
}

void files_close(int fd)
{
    enum file_kind kind = files_kind(fd);
    if (kind == FILE_NONE || kind == FILE_INHERITED)
        world_fail("descriptor %d is closed, and is not the daemon's", fd);
    files.list[fd] = (struct file){.kind = FILE_NONE};
    if (fd < files.lowest)
        files.lowest = fd;
}

void files_survive(int fd)
{
    files.list[fd].survives = true;
}

bool files_survives(int fd)
{
    return files.list[fd].survives;
}

int files_end_number(void)
{
    int end = FILES_MAX;
    while (files.list[end - 1].kind == FILE_NONE)
        end--;
    return end;
}

void files_forget_epolls(void)
{
    files.epoll_count = 0;
    for (int fd = 0; fd < FILES_MAX; fd++)
        files.list[fd].watches = 0;
}

unsigned files_epoll(int epoll)
{
    for (unsigned i = 0; i < files.epoll_count; i++)
        if (files.epolls[i] == epoll)
            return i;
    if (files.epoll_count == FILES_EPOLLS)
        world_fail("there are more epoll descriptors than workers");
    files.epolls[files.epoll_count] = epoll;
    return files.epoll_count++;
}

unsigned *files_watches(int fd)
{
    if (files_kind(fd) == FILE_NONE)
        world_fail("the watch of descriptor %d, which is not open, is asked for", fd);
    return &files.list[fd].watches;
}
