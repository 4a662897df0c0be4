/*
 * fuzz_text.c - what the daemon writes about others: addresses as text, and the log. The first byte
 * of the input says which, the lowest bit of it being 0 for an address. For the log, the further
 * bits are the style of its lines; then come texts, each ended by a NUL, and before each a byte
 * that says how many bytes of each write the disk takes.
 *
 * No input may ask the network, so getaddrinfo() is told that names are numeric.
 */
#include "base/log.h"
#include "os/net.h"

#include "fuzz/fuzz.h"

#include <errno.h>
#include <netdb.h>
#include <unistd.h>

/* ---- addresses ---- */

int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct addrinfo numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    return __real_getaddrinfo(name, service, &numeric, found);
}

static void format(const union net_addr *addr, char text[static NET_ADDR_STRLEN])
{
    memset(text, 0x7e, NET_ADDR_STRLEN);
    CHECK(net_format(addr, text) == text && strnlen(text, NET_ADDR_STRLEN) < NET_ADDR_STRLEN);
}

/* The kernel gives back the abstract name that it was given. */
static void check_abstract(const union net_addr *addr)
{
    union net_addr bound;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    if (bind(fd, &addr->sa, net_addr_len(addr)) == 0) /* the name may be in use */
        CHECK(net_local(fd, &bound) == 0 && memcmp(&bound, addr, sizeof addr->un) == 0);
    net_close(fd);
}

static void check_path(const char *path)
{
    union net_addr addr;
    char text[NET_ADDR_STRLEN];
    size_t len = strlen(path);
    bool empty = len == 0 || strcmp(path, "@") == 0;
    int rc = net_unix(path, &addr);
    CHECK(rc == (empty ? -EINVAL : len >= sizeof addr.un.sun_path ? -ENAMETOOLONG : 0));
    if (rc < 0)
        return;
    format(&addr, text);
    CHECK(strncmp(text, "unix:", 5) == 0 && strcmp(text + 5, path) == 0);
    CHECK(net_port(&addr) == 0 && (net_unix_path(&addr) == NULL) == (path[0] == '@'));
    CHECK(path[0] == '@' || strcmp(net_unix_path(&addr), path) == 0);
    if (path[0] == '@')
        check_abstract(&addr);
}

/* A number that is an address is the same address once it has been written and read again. */
static void check_number(const char *number)
{
    union net_addr addr;
    union net_addr again;
    char text[NET_ADDR_STRLEN];
    int count = net_resolve(number, &addr, 1);
    CHECK(count <= 1);
    if (count <= 0)
        return;
    net_set_port(&addr, 65535);
    CHECK(net_port(&addr) == 65535);
    format(&addr, text);
    char *port = strrchr(text, ':');
    CHECK(port != NULL && strcmp(port, ":65535") == 0);
    bool in6 = addr.sa.sa_family == AF_INET6;
    CHECK(in6 == (text[0] == '[') && in6 == (port[-1] == ']'));
    port[in6 ? -1 : 0] = '\0';
    CHECK(net_resolve(text + (in6 ? 1 : 0), &again, 1) == 1);
    net_set_port(&again, 65535);
    CHECK(memcmp(&addr, &again, in6 ? sizeof addr.in6 : sizeof addr.in) == 0);
}

/*
 * Behind this address stands one byte, which must not be read, and AddressSanitizer sees reads
 * behind that. It does not look at what "%.*s" reads, so it is not enough alone.
 */
static void check_unix_bytes(const union net_addr *addr)
{
    const size_t size = sizeof addr->un;
    char text[NET_ADDR_STRLEN];
    char *block = malloc(size + 1);
    const void *copy = block;
    CHECK(block != NULL);
    memcpy(block, &addr->un, size);
    block[size] = 'z';
    format(copy, text);
    CHECK(strlen(text) <= strlen("unix:") + sizeof addr->un.sun_path);
    CHECK(net_addr_len(copy) <= size);
    free(block);
}

/* What other programs have bound or connect from: any bytes. */
static void check_bytes(struct fuzz *fuzz)
{
    static const sa_family_t families[] = {AF_INET, AF_INET6, AF_UNIX, AF_UNSPEC};
    union net_addr addr;
    union net_peer peer;
    char text[NET_ADDR_STRLEN];
    sa_family_t family = families[fuzz_byte(fuzz) % 4];
    memset(&addr, 0, sizeof addr);
    memset(&peer, 0, sizeof peer);
    memcpy(&addr, fuzz->at, fuzz->left < sizeof addr ? fuzz->left : sizeof addr);
    memcpy(&peer, fuzz->at, fuzz->left < sizeof peer ? fuzz->left : sizeof peer);
    addr.sa.sa_family = peer.sa.sa_family = family;
    if (family == AF_UNIX)
        check_unix_bytes(&addr);
    else
        format(&addr, text);
    memset(text, 0x7e, sizeof text);
    CHECK(strnlen(net_format_peer(&peer, text), sizeof text) < sizeof text);
}

static void check_address(struct fuzz *fuzz)
{
    struct fuzz bytes = *fuzz;
    char *text = fuzz_string(fuzz);
    check_bytes(&bytes);
    check_path(text);
    check_number(text);
    free(text);
}

/* ---- the log ---- */

enum { LOG_FD = 1000000 }; /* no descriptor has this number */

static struct {
    struct log log;
    bool utf8;    /* all texts are */
    size_t takes; /* bytes of the next write; SIZE_MAX: all */
    bool refuses; /* the next write fails */
    bool cut;     /* the last write has taken only the beginning of a line */
    size_t lines; /* that were written whole, without reports of lost lines */
    size_t lost;  /* that the reports have told */
} disk;

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);

/* How many bytes stand before the message in a line. */
static size_t head_len(const char *line)
{
    switch (disk.log.style) {
    case LOG_STYLE_JOURNAL:
        CHECK(line[0] == '<' && line[1] >= '3' && line[1] <= '7' && line[2] == '>');
        return 3;
    case LOG_STYLE_TIME:
        CHECK(line[10] == 'T' && line[23] == 'Z' && line[24] == ' ');
        return 25;
    default:
        return 0;
    }
}

/* Messages begin with a letter, reports of lost lines with a number. */
static void disk_count(const char *line)
{
    const char *message = line + head_len(line);
    if (*message == 'T')
        disk.lines++;
    else
        disk.lost += strtoul(message, NULL, 10);
}

ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
    char line[513] = "";
    if (fd != LOG_FD)
        return __real_write(fd, bytes, len);
    CHECK(len < sizeof line); /* the least that POSIX guarantees for PIPE_BUF, and one more */
    memcpy(line, bytes, len);
    const char *start = line + disk.cut;
    CHECK(!disk.cut || line[0] == '\n');
    CHECK(fuzz_is_line(start, len - disk.cut) && strlen(line) == len);
    CHECK(!disk.utf8 || fuzz_is_utf8(line));
    if (disk.refuses) {
        errno = ENOSPC;
        return -1;
    }
    size_t taken = disk.takes < len ? disk.takes : len;
    if (taken == len)
        disk_count(start);
    if (taken > 0)
        disk.cut = taken < len;
    return (ssize_t)taken;
}

static void check_log(unsigned style, struct fuzz *fuzz)
{
    size_t texts = 0;
    memset(&disk, 0, sizeof disk);
    disk.log = (struct log){.level = LOG_LEVEL_INFO, .fd = LOG_FD, .regular = true};
    disk.log.style = (enum log_style)(style % 3);
    disk.utf8 = true;
    for (; fuzz->left > 0; texts++) {
        uint8_t code = fuzz_byte(fuzz);
        disk.refuses = code == 1;
        disk.takes = code < 2 ? SIZE_MAX : 2 * (size_t)code - 4;
        char *text = fuzz_string(fuzz);
        disk.utf8 = disk.utf8 && fuzz_is_utf8(text);
        log_write(&disk.log, LOG_LEVEL_INFO, "T%s", text);
        log_write(&disk.log, LOG_LEVEL_DEBUG, "too detailed: %s", text);
        free(text);
    }
    disk.refuses = false;
    disk.takes = SIZE_MAX;
    log_close(&disk.log);
    CHECK(disk.lines + disk.lost == texts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    unsigned code = fuzz_byte(&fuzz);
    if ((code & 1) == 0)
        check_address(&fuzz);
    else
        check_log(code >> 1, &fuzz);
    return 0;
}
