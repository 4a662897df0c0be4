/*
 * fuzz_proxy.c - what comes from a proxy, instead of a header. The input is the connection's bytes.
 * They are read as the daemon reads them, in whole pieces and byte by byte: both find the same. A
 * header that is good ends where its first byte says, to the byte.
 */
#include "fuzz/fuzz.h"

#include "stream/proxy_header.h"

static bool is_good(const struct proxy_header *header)
{
    return header->kind == PROXY_HEADER_CLIENT || header->kind == PROXY_HEADER_ANONYMOUS;
}

/* A copy of exactly these bytes, so that AddressSanitizer sees each byte read beyond them. */
static struct proxy_header parse(const uint8_t *data, size_t len)
{
    unsigned char *copy = malloc(len > 0 ? len : 1);
    CHECK(copy != NULL);
    if (len > 0)
        memcpy(copy, data, len);
    struct proxy_header header = proxy_header_parse(copy, len);
    free(copy);
    return header;
}

/* Reads at most step bytes at a time. *have is how many in the end. */
static struct proxy_header read_by(const uint8_t *data, size_t size, size_t step, size_t *have)
{
    *have = 0;
    for (;;) {
        struct proxy_header header = parse(data, *have);
        if (header.kind != PROXY_HEADER_PARTIAL || *have == size)
            return header;
        CHECK(header.missing > 0);
        CHECK(*have + header.missing <= PROXY_HEADER_MAX);
        size_t most = header.missing < step ? header.missing : step;
        *have += most < size - *have ? most : size - *have;
    }
}

/* Where the header ends, found in another way than by its parser. */
static size_t find_end(const uint8_t *data, size_t size)
{
    if (data[0] == '\r')
        return 16 + ((size_t)data[14] << 8 | data[15]);
    for (size_t i = 1; i < size; i++)
        if (data[i - 1] == '\r' && data[i] == '\n')
            return i + 1;
    return 0;
}

static void check_client(const struct proxy_header *header)
{
    char text[NET_ADDR_STRLEN];
    memset(text, 0x7e, sizeof text);
    if (header->kind == PROXY_HEADER_CLIENT)
        CHECK(strnlen(net_format(&header->client, text), sizeof text) < sizeof text);
    else
        CHECK(header->client.sa.sa_family == AF_UNSPEC);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t have;
    size_t have_slowly;
    struct proxy_header header = read_by(data, size, SIZE_MAX, &have);
    struct proxy_header slowly = read_by(data, size, 1, &have_slowly);
    CHECK(is_good(&header) == is_good(&slowly));
    check_client(&header);
    if (!is_good(&header))
        return 0;
    CHECK(header.kind == slowly.kind && have == have_slowly);
    CHECK(have == find_end(data, size));
    CHECK(data[0] == '\r' || have <= PROXY_HEADER_V1_MAX);
    return 0;
}
