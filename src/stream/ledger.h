/*
 * ledger.h - where each connection is, written down where it survives the process.
 *
 * The ledger is a file in memory. As long as a descriptor of the file is open, a successor of this
 * process can read there what each connection was doing, whatever has ended this process. What the
 * process had no time to write down, the successor asks the kernel, which counts the bytes of each
 * connection in both directions.
 *
 *     | header | entry 0 | entry 1 | ... | client 0 | ... | buffer B-1 | ... | buffer 0 |
 *
 * There is one entry for each descriptor number, and there are the buffers in which answers stand.
 * For each descriptor number there is also the client that a proxy has named. The header takes
 * whole pages, and so do all entries together, and each buffer, and all clients take whole buffers.
 * Numbers are as this machine stores them. The file is as long as it can ever get, and only what is
 * in use of it takes memory: a process may use every buffer that no entry in force names.
 *
 * For each answer, the steps of a connection store in this order:
 *
 *     ledger_note()      which buffer or pipe the next bytes go to
 *     recv or splice     straight into it; what an answer has between them stands there already
 *     ledger_answer()    the length of the answer, the goal, and last of all what was received
 *     send or splice     until the goal is reached
 *     ledger_note()      that there is no buffer any more
 *
 * So a successor finds one of these cases, with `in` and `out` as the kernel's counts:
 * - in is more than received: the bytes between stand in the buffer, and their answer is missing;
 * - goal is more than out: so many bytes are left of the answer, the last ones of its len;
 * - neither: nothing is under way.
 * After the last send, goal is out until the next answer, so no store of its own says that the
 * answer has been sent.
 *
 * Each store is a release, which keeps the compiler from changing the order and costs nothing on
 * x86-64. No stronger order is needed, because this process is dead when a successor reads. An
 * entry is written by the thread that serves the connection. Between two connections with the same
 * descriptor number, threads may change: close(2) and accept(2) lie between.
 *
 * A descriptor that is no connection has an entry if a successor needs the descriptor all the same:
 * a listening socket, and each end of a pipe, which names the other end. So a successor knows what
 * this process has opened from what it has inherited.
 *
 * Descriptors, not connections, are what the kernel hands on. So a descriptor may be open whose
 * entry does not know it yet, or does not know it any more. ledger_leave() leaves a mark for the
 * second case. The mark of an old connection stays when its number is given to a new one, but a
 * new one has not moved a byte. Neither a connection nor a descriptor that has an entry may be
 * close-on-exec, because a successor may be a program that this process executes.
 */
#ifndef UVECHOD_LEDGER_H
#define UVECHOD_LEDGER_H

#include "os/addr.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/*
 * Must be raised if a daemon of the version before would misread the file or a service's record.
 * Such a daemon stays in the tests for ever (tests/e2e/ledger1.c for version 1): upgrades to it and
 * from it must go on to work, or be refused in words.
 */
enum { LEDGER_VERSION = 1 };

enum {
    LEDGER_ENTRIES_MAX = 1 << 23,
    LEDGER_BUFFERS_MAX = (1 << 24) - 1, /* their numbers and LEDGER_NO_BUFFER fit into a place */
    LEDGER_BUFFER_BYTES_MAX = 1 << 28,  /* of one buffer */
    LEDGER_SERVICES_MAX = 4,
    LEDGER_RECORD_MAX = 512, /* bytes that a service may write down about itself */
    LEDGER_SUSPECTS_MAX = 64 /* at most one for each thread that serves */
};

/*
 * Where a connection is; counts of bytes are those of its whole life, modulo 2^32. The place is 0
 * while the entry is written for another connection, and comes last.
 */
struct ledger_entry {
    _Atomic uint32_t received; /* bytes whose answers have been noted */
    _Atomic uint32_t goal;     /* bytes that will have been sent when the answer has been sent */
    _Atomic uint32_t len;      /* bytes of the answer */
    _Atomic uint32_t place;    /* where the answer stands, and the bits below */
};

/*
 * What the answer stands in. Or, of an entry that serves no connection, what the descriptor is. Of
 * a listener whose file this process or a predecessor has made, goal and received are the two
 * halves of the file's inode, and len the nanoseconds of its time; of other listeners they are 0.
 * A datagram socket is a listener whose len is LEDGER_DATAGRAM, which no nanoseconds are.
 */
enum ledger_kind {
    LEDGER_NOTHING,
    LEDGER_BUFFER,
    LEDGER_PIPE,
    LEDGER_LISTENER,
    /*
     * The same, of an entry that serves a connection: no service has it yet, because the header of
     * a proxy (proxy.h) is not whole. The buffer that the place names holds the header so far,
     * which is as long as received says; LEDGER_NO_BUFFER: nothing has come. goal is not 0 from
     * before a read until it has been noted. A daemon that does not know this kind takes the entry
     * for damaged, and ends the connection.
     */
    LEDGER_HEADER = LEDGER_LISTENER,
};
#define LEDGER_DATAGRAM UINT32_MAX

/* Whether the connection ends, and why. What it receives after our FIN is not noted. */
enum ledger_end {
    LEDGER_OPEN,
    LEDGER_IDLE,    /* it was silent for too long: our FIN has been sent, or is about to be */
    LEDGER_DRAINED, /* the same, because the daemon stops */
    LEDGER_LEFT,    /* its descriptor is about to be closed */
    /*
     * Of a listener: it is no service's. A daemon that does not know this mark leaves the
     * descriptor alone, and so serves nobody there by mistake.
     */
    LEDGER_ASIDE = LEDGER_IDLE,
};

/* The bits of a place. */
enum {
    LEDGER_NUMBER = (1 << 24) - 1, /* of the buffer, or the descriptor of the pipe's reading end */
    LEDGER_NO_BUFFER = LEDGER_NUMBER, /* of a header of which nothing has come */
    LEDGER_KIND_SHIFT = 24,           /* an enum ledger_kind, 2 bits */
    LEDGER_SERVED = 1 << 26,          /* the entry is in force */
    LEDGER_SPOKE = 1 << 27,           /* the peer has sent a byte, and is in the log */
    LEDGER_SERVICE_SHIFT = 28,        /* the number of the service, 2 bits */
    LEDGER_END_SHIFT = 30,            /* an enum ledger_end, 2 bits */
};

/* What a service needs of the ledger, and what a successor must know of it. */
struct ledger_service {
    uint32_t buffer_bytes; /* of a buffer of its answers; 0: it needs no buffers */
    uint32_t spares;       /* buffers that it may keep on each loop although no entry names them */
    uint32_t record_bytes;
    unsigned char record[LEDGER_RECORD_MAX]; /* such as how answers are framed: its own affair */
};

struct ledger_layout {
    uint32_t entries;      /* for the descriptors from 0 on, 1 to LEDGER_ENTRIES_MAX */
    uint32_t buffers;      /* at most LEDGER_BUFFERS_MAX */
    uint32_t buffer_bytes; /* of one, in whole pages; enough for every service */
    uint32_t services;     /* at most LEDGER_SERVICES_MAX */
    struct ledger_service service[LEDGER_SERVICES_MAX]; /* by their numbers, of all versions */
};

/* What a process and its predecessors have counted, for its successor. Says nothing of entries. */
struct ledger_past {
    uint64_t generations; /* processes that had ended when this one began */
    uint64_t started_ms;  /* when the first one began, on the clock of uv_hrtime() */
    uint64_t left_ns;     /* when the last one ended, on the same clock, which is CLOCK_MONOTONIC */
    uint64_t accepted;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t refused;
    uint64_t over_source;
    uint64_t accept_pauses;
    uint64_t rate_pauses;
};

/*
 * What has become of headers of proxies, by the numbers of enum proxy_result. They are counted here
 * and nowhere else, by the threads of all workers, so that a crash loses nothing of it.
 */
enum { LEDGER_PROXIED_MAX = 8 };
struct ledger_proxied {
    _Atomic uint64_t count[LEDGER_PROXIED_MAX];
};

/*
 * More of the same. It stands at the end of the header, so it is zero in the ledger of a daemon
 * that does not know it, and stays as it is under such a daemon.
 */
struct ledger_more {
    uint64_t log_lines_lost;
};

/* The same as of headers, of datagrams and by the numbers of enum datagram_result. */
enum { LEDGER_DATAGRAMS_MAX = 16 };
struct ledger_datagrams {
    _Atomic uint64_t count[LEDGER_DATAGRAMS_MAX];
};

/*
 * The client whose name a proxy has told (proxy.h), for the log of a successor. The name is that of
 * the socket with this cookie alone, so it need not be cleared at the end of the connection,
 * whoever serves the next one. The cookie stands last: a write that fails halfway leaves another
 * one there.
 */
struct ledger_client {
    union net_peer addr; /* AF_INET or AF_INET6 */
    uint32_t unused;     /* so that the length is the same with 32 bits */
    uint64_t cookie;     /* net_cookie(); 0: nobody has been here */
};

/*
 * Where the clients are: in the place of the buffers with the highest numbers, which the layout of
 * the file counts, and that of struct ledger does not. A daemon that does not know of clients frees
 * their memory at its takeover, and lends these buffers when all others are lent: then whoever has
 * them is ended when a daemon follows that does know. Zero in the ledger of such a daemon.
 */
struct ledger_clients {
    uint32_t buffers;     /* how many */
    _Atomic uint32_t end; /* no descriptor as high has a client */
};

/* A connection that was being served when the process crashed. */
struct ledger_suspect {
    uint32_t fd; /* 0: none */
    uint32_t in; /* bytes that it had received by then, modulo 2^32 */
};

/* The beginning of the file. What follows up to the first entry is zero, for later versions. */
struct ledger_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes; /* up to the first entry, in whole pages */
    uint32_t entry_bytes;
    _Atomic uint32_t filled; /* entries whose memory has been provided, before they are written;
                                those behind are zero */
    struct ledger_layout layout;
    struct ledger_past past;
    struct ledger_suspect suspects[LEDGER_SUSPECTS_MAX]; /* of the last crash; the takeover's */
    struct ledger_proxied proxied; /* zero in the ledger of a daemon that knew no proxies */
    struct ledger_more more;
    struct ledger_datagrams datagrams; /* zero in files of versions that knew no datagrams */
    struct ledger_clients clients;
};

struct ledger {
    int file;    /* -1: there is none, the ledger stands in memory that ends with the process */
    int refused; /* why there is no file: a negative errno of memory_file_make(), or 0 */
    struct ledger_layout layout;
    uint32_t clients; /* buffers of the file behind those of the layout, for the clients */
    struct ledger_header *header;
    struct ledger_entry *entries;
    uv_mutex_t lock;      /* of all that is below, and of the growth of header->filled */
    uint64_t *lent;       /* a set of buffers, by their numbers */
    uint32_t lent_before; /* all buffers are lent whose bits stand in the words before this one */
    uint64_t *named;      /* of a ledger of a predecessor: what its entries name; or NULL */
    uint64_t *twice;      /* what more than one of them names */
    uint32_t surveyed;    /* of them: those that the two sets know of */
};

/* A buffer that is lent. */
struct ledger_buffer {
    char *bytes;     /* aligned to a page; NULL: no buffer could be lent */
    uint32_t number; /* for ledger_note() */
};

/* What an entry says. */
struct ledger_state {
    uint32_t received;
    uint32_t goal;
    uint32_t len;
    uint32_t number; /* of the buffer, or the descriptor; of a pipe's end, the other end */
    enum ledger_kind kind;
    enum ledger_end end;
    unsigned service;
    bool served;
    bool spoke;
};

/*
 * Makes an empty ledger. Where the system refuses a file, the ledger stands in memory of the
 * process alone: the daemon works as ever, ledger->refused says why, and no successor can go on.
 * Returns 0, -ENOMEM, or a negative errno of uv_mutex_init(), with nothing open.
 */
int ledger_open(struct ledger *ledger, const struct ledger_layout *layout);

/*
 * Checks whether the file is a ledger that ledger_attach() would accept, and stores its layout,
 * which counts the place of the clients as buffers. Changes nothing, and needs to read the file
 * only. Returns 0, or a negative errno: -EPROTO when this is no ledger of this version and this
 * machine, or that of fstat(2) or pread(2).
 */
int ledger_examine(int file, struct ledger_layout *layout);

/*
 * Opens the ledger of a predecessor, whose descriptor the file is, and takes over the descriptor.
 * Everything in the file is checked before it is used: a broken predecessor may have written it.
 * The buffers that the entries name count as lent, and the memory of the others has gone back to
 * the system. ledger_settle() must follow. Returns 0, or a negative errno with the file
 * still open: that of ledger_examine() or uv_mutex_init(), or -ENOMEM.
 */
int ledger_attach(struct ledger *ledger, int file);

/* Every buffer must have been given back, unless a successor is to find it. */
void ledger_close(struct ledger *ledger);

/*
 * Stores what the entry of a descriptor says. Of a predecessor's ledger it is checked, and every
 * value is read only once. Returns 0, -EBADF if there is no such entry, or -EPROTO if the entry
 * is damaged: its buffer, pipe, kind or service does not exist, its answer is longer than a buffer,
 * or another entry names the same buffer or pipe. state is only set when 0 is returned.
 */
int ledger_read(const struct ledger *ledger, uint32_t fd, struct ledger_state *state);

/*
 * A service (its number) serves the descriptor from now on, which has moved no byte. Returns 0,
 * -EMFILE for a descriptor beyond the entries, or -ENOSPC or -ENOMEM without memory.
 */
int ledger_enter(struct ledger *ledger, int fd, unsigned service);

/*
 * The same for a connection that begins with the header of a proxy: from its first byte on, nobody
 * takes it for one that has none.
 */
int ledger_enter_header(struct ledger *ledger, int fd, unsigned service);

/*
 * Notes of a descriptor that is no connection what it is: state->kind, a pipe or a listener, and
 * all else that state says. Returns 0 or a negative errno as ledger_enter() does.
 */
int ledger_keep(struct ledger *ledger, int fd, const struct ledger_state *state);

/*
 * The descriptor of ledger_keep() is about to be closed. A successor that finds it open closes it,
 * unless the number is that of a socket by then.
 */
void ledger_forget(struct ledger *ledger, int fd);

/*
 * Whether the entry of this descriptor says that it is an end of a pipe, and that of the other end
 * says the same.
 */
bool ledger_is_pipe(const struct ledger *ledger, uint32_t end);

/* Closes both ends of a pipe, of which ledger_is_pipe() must be true. */
void ledger_close_pipe(struct ledger *ledger, int end);

/*
 * No task goes on with the connection of this entry, which a predecessor has served: the buffer
 * that the entry names is free, and the pipe closed, unless the entry is damaged. The descriptor is
 * about to be closed.
 */
void ledger_abandon(struct ledger *ledger, int fd);

/*
 * Whether a predecessor's ledger has room for what this layout asks for. What has been written with
 * a larger layout can be gone on with.
 */
bool ledger_fits(const struct ledger *ledger, const struct ledger_layout *layout);

/* Raises the layout to what this ledger has room for, so that whatever stands there has, too. */
void ledger_widen(const struct ledger *ledger, struct ledger_layout *layout);

/* Copies to an empty ledger what a predecessor has counted of datagrams and headers. */
void ledger_carry_counts(const struct ledger *from, struct ledger *to);

/*
 * Keeps the address of a client that a proxy has named. The entry of the connection must still be
 * a LEDGER_HEADER, so that no successor finds half an address. Where there is no memory for it, no
 * file, or where it is no IPv4 or IPv6 address, nothing is kept, and a successor will name the
 * proxy. At most two system calls. From any thread.
 */
void ledger_keep_client(struct ledger *ledger, int fd, const union net_addr *client);

/*
 * Returns whether the address of this connection's client has been kept, and stores the address
 * then. No system call where no proxy has ever named a client, otherwise at most two.
 */
bool ledger_recall_client(const struct ledger *ledger, int fd, union net_addr *client);

/*
 * Copies the entry of a connection that is served, which ledger_read() finds in order, with its
 * buffer or the ends of its pipe and, if there is memory for it, its client, from a predecessor's
 * ledger to an empty one that has room for it. Returns 0 or a negative errno of ledger_enter() or,
 * where no buffer can be had, -ENOMEM: the other ledger has no entry in force then.
 */
int ledger_transfer(const struct ledger *from, struct ledger *to, int fd);

/*
 * What a predecessor has left unfinished in its ledger has been noted as finished, or abandoned:
 * from now on the services write there as this layout says, which must fit.
 */
void ledger_settle(struct ledger *ledger, const struct ledger_layout *layout);

/*
 * Lends a buffer, whose bytes are zero. bytes is NULL when there is no memory, or too many mappings
 * (memory_map()), and when all are lent. At most three system calls. From any thread.
 */
struct ledger_buffer ledger_lend(struct ledger *ledger);

/*
 * Returns the buffer that an entry of a predecessor names, as if it had been lent for that entry.
 * bytes is NULL as in ledger_lend(). To be called once for each entry.
 */
struct ledger_buffer ledger_inherit(const struct ledger *ledger, uint32_t number);

/*
 * Takes a buffer back, and gives its memory back to the system. No entry may name it any more.
 * Not inline, because its rare work would cost the steps that call it registers.
 */
void ledger_take_back(struct ledger *ledger, struct ledger_buffer buffer) __attribute__((noinline));

/* Where the bytes of a buffer stand in the file. */
uint64_t ledger_buffer_at(const struct ledger *ledger, uint32_t number);

static inline uint32_t ledger_load(const _Atomic uint32_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

static inline void ledger_store(_Atomic uint32_t *field, uint32_t value)
{
    atomic_store_explicit(field, value, memory_order_release);
}

static inline enum ledger_kind ledger_kind(uint32_t place)
{
    return (enum ledger_kind)(place >> LEDGER_KIND_SHIFT & 3);
}

static inline enum ledger_end ledger_end_of(const struct ledger_entry *entry)
{
    return (enum ledger_end)(ledger_load(&entry->place) >> LEDGER_END_SHIFT & 3);
}

/* The number of the buffer, or the descriptor of the pipe, that the entry names. */
static inline uint32_t ledger_number(const struct ledger_entry *entry)
{
    return ledger_load(&entry->place) & LEDGER_NUMBER;
}

/* From now on, the answer stands there. Before the bytes come, and after the answer has gone. */
static inline void ledger_note(struct ledger_entry *entry, enum ledger_kind kind, uint32_t number)
{
    const uint32_t replaced = LEDGER_NUMBER | 3U << LEDGER_KIND_SHIFT;
    uint32_t place = ledger_load(&entry->place) & ~replaced;
    ledger_store(&entry->place, place | (uint32_t)kind << LEDGER_KIND_SHIFT | number);
}

/*
 * So many bytes have been received. Their answer has len bytes, and goal bytes of the connection's
 * life will have been sent when the answer has been sent. The last store is the one that counts.
 */
static inline void ledger_answer(struct ledger_entry *entry, uint32_t received, uint32_t len,
                                 uint32_t goal)
{
    ledger_store(&entry->len, len);
    ledger_store(&entry->goal, goal);
    ledger_store(&entry->received, ledger_load(&entry->received) + received);
}

/* At most so many bytes of a header are about to be received, into the buffer that is noted. */
static inline void ledger_header_begin(struct ledger_entry *entry, uint32_t most)
{
    ledger_store(&entry->goal, most);
}

/* They have come, or none has (0). No byte has been sent yet, so that is the goal again. */
static inline void ledger_header_end(struct ledger_entry *entry, uint32_t received)
{
    ledger_store(&entry->received, ledger_load(&entry->received) + received);
    ledger_store(&entry->goal, 0);
}

/* The peer has been logged. */
static inline void ledger_spoke(struct ledger_entry *entry)
{
    ledger_store(&entry->place, ledger_load(&entry->place) | LEDGER_SPOKE);
}

/* The connection is about to be ended: our FIN follows. */
static inline void ledger_end(struct ledger_entry *entry, enum ledger_end end)
{
    ledger_store(&entry->place, ledger_load(&entry->place) | (uint32_t)end << LEDGER_END_SHIFT);
}

/*
 * The descriptor is about to be closed, and its buffer or pipe to be given back. What the entry
 * names stays to be read there. A successor that finds the descriptor open closes it, unless the
 * kernel says that it has never moved a byte: then it is a new connection.
 */
static inline void ledger_leave(struct ledger_entry *entry)
{
    uint32_t place = ledger_load(&entry->place) & ~(uint32_t)LEDGER_SERVED;
    ledger_store(&entry->place, place | (uint32_t)LEDGER_LEFT << LEDGER_END_SHIFT);
}

#endif
