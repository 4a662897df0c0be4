#include "stream/sources.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* 16 bytes. */
struct source_node {
    union {
        uint64_t key;      /* of a source */
        uint32_t child[2]; /* of a fork: where the bit is 0, and where it is 1 */
        uint32_t next;     /* of a free node: the next free node, or 0 */
    };
    unsigned count; /* connections of a source; 0: the node is a fork, or free */
    unsigned bit;   /* of a fork: which bit of the keys differs; those above are the same */
};

struct source {
    enum source_kind kind;
    uint64_t key;
};

int sources_open(struct sources *sources, size_t room, unsigned max)
{
    size_t end = 2 * room; /* room sources, a fork less than that, and node 0 */
    *sources = (struct sources){.fresh = 1, .end = (uint32_t)end, .max = max};
    sources->nodes =
        calloc(end, sizeof *sources->nodes); /* pages are taken up when they are used */
    if (sources->nodes == NULL)
        return -ENOMEM;
    int rc = uv_mutex_init(&sources->lock);
    if (rc < 0)
        free(sources->nodes);
    return rc;
}

void sources_close(struct sources *sources)
{
    uv_mutex_destroy(&sources->lock);
    free(sources->nodes);
}

static uint64_t source_bytes(const unsigned char *bytes, int count)
{
    uint64_t key = 0;
    for (int i = 0; i < count; i++)
        key = key << 8 | bytes[i];
    return key;
}

static struct source source_of(const union net_peer *peer)
{
    const unsigned char *in6 = peer->in6.sin6_addr.s6_addr;
    switch (peer->sa.sa_family) {
    case AF_INET:
        return (struct source){SOURCE_IPV4, ntohl(peer->in.sin_addr.s_addr)};
    case AF_INET6:
        if (IN6_IS_ADDR_V4MAPPED(&peer->in6.sin6_addr))
            return (struct source){SOURCE_IPV4, source_bytes(in6 + 12, 4)};
        return (struct source){SOURCE_IPV6, source_bytes(in6, 8)};
    default:
        return (struct source){SOURCE_USER, peer->un.uid};
    }
}

static struct source_node *sources_node(const struct sources *sources, uint32_t number)
{
    return &sources->nodes[number];
}

/* There is a free node: the room is for as many sources as there are connections. */
static uint32_t sources_alloc(struct sources *sources)
{
    uint32_t number = sources->released;
    if (number != 0) {
        sources->released = sources_node(sources, number)->next;
        return number;
    }
    assert(sources->fresh < sources->end);
    return sources->fresh++;
}

static void sources_free(struct sources *sources, uint32_t number)
{
    *sources_node(sources, number) = (struct source_node){.next = sources->released};
    sources->released = number;
}

static uint32_t *fork_side(struct source_node *fork, uint64_t key)
{
    return &fork->child[key >> fork->bit & 1];
}

/*
 * Goes down from *link on the side of key as long as there are forks about a bit of at least
 * lowest. Returns the link to the node where that ends, and in *above the link to the fork over the
 * node.
 */
static uint32_t *sources_descend(const struct sources *sources, uint32_t *link, uint64_t key,
                                 unsigned lowest, uint32_t **above)
{
    struct source_node *node = sources_node(sources, *link);
    *above = NULL;
    while (node->count == 0 && node->bit >= lowest) {
        *above = link;
        link = fork_side(node, key);
        node = sources_node(sources, *link);
    }
    return link;
}

/* Returns the source with the key or, without any, the one that has the most first bits of it. */
static struct source_node *sources_nearest(struct sources *sources, const struct source *source)
{
    uint32_t *root = &sources->roots[source->kind];
    uint32_t *above;
    if (*root == 0)
        return NULL;
    return sources_node(sources, *sources_descend(sources, root, source->key, 0, &above));
}

/* Puts a fork with a new source into the tree of the source, whose nearest source is nearest. */
static void sources_add(struct sources *sources, const struct source *source,
                        const struct source_node *nearest)
{
    uint32_t *link = &sources->roots[source->kind];
    uint32_t leaf = sources_alloc(sources);
    *sources_node(sources, leaf) = (struct source_node){.key = source->key, .count = 1};
    if (nearest == NULL) {
        *link = leaf;
        return;
    }
    uint32_t *above;
    unsigned bit = 63 - (unsigned)__builtin_clzll(nearest->key ^ source->key);
    uint32_t number = sources_alloc(sources);
    struct source_node *fork = sources_node(sources, number);
    link = sources_descend(sources, link, source->key, bit, &above);
    *fork = (struct source_node){.child = {*link, *link}, .bit = bit};
    *fork_side(fork, source->key) = leaf;
    *link = number;
}

/* Takes the source that link leads to out of its tree, with the fork that above leads to. */
static void sources_remove(struct sources *sources, uint32_t *link, uint32_t *above)
{
    uint32_t leaf = *link;
    *link = 0; /* the fork's other child is left, or there is no fork */
    if (above != NULL) {
        uint32_t number = *above;
        struct source_node *fork = sources_node(sources, number);
        *above = fork->child[0] != 0 ? fork->child[0] : fork->child[1];
        sources_free(sources, number);
    }
    sources_free(sources, leaf);
}

static bool sources_admit(struct sources *sources, const struct source *source)
{
    struct source_node *nearest = sources_nearest(sources, source);
    if (nearest == NULL || nearest->key != source->key) {
        sources_add(sources, source, nearest);
        return true;
    }
    if (nearest->count >= sources->max)
        return false;
    nearest->count++;
    return true;
}

bool sources_enter(struct sources *sources, const union net_peer *peer)
{
    struct source source = source_of(peer);
    uv_mutex_lock(&sources->lock);
    bool admitted = sources_admit(sources, &source);
    uv_mutex_unlock(&sources->lock);
    if (!admitted) {
        sources->refused++;
        sources->refused_peer = *peer;
    }
    return admitted;
}

void sources_leave(struct sources *sources, const union net_peer *peer)
{
    struct source source = source_of(peer);
    uint32_t *above;
    uv_mutex_lock(&sources->lock);
    uint32_t *link = &sources->roots[source.kind];
    assert(*link != 0);
    link = sources_descend(sources, link, source.key, 0, &above);
    struct source_node *node = sources_node(sources, *link);
    assert(node->key == source.key); /* it has been entered */
    if (--node->count == 0)
        sources_remove(sources, link, above);
    uv_mutex_unlock(&sources->lock);
}
