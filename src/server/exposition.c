#include "server/exposition.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- the header Accept ---- */

static const char exposition_openmetrics[] = "application/openmetrics-text";

static bool exposition_is_blank(char c)
{
    return c == ' ' || c == '\t';
}

/* Whether the text of len bytes, without the blanks around it, is the word, in any case. */
static bool exposition_is(const char *text, size_t len, const char *word)
{
    for (; len > 0 && exposition_is_blank(*text); len--)
        text++;
    while (len > 0 && exposition_is_blank(text[len - 1]))
        len--;
    return len == strlen(word) && strncasecmp(text, word, len) == 0;
}

/* The value of a parameter of a media range, such as q in "text/plain; q=0.5"; or NULL. */
static const char *exposition_parameter(const char *range, size_t len, const char *name)
{
    const char *const end = range + len;
    while ((range = memchr(range, ';', (size_t)(end - range))) != NULL) {
        range++;
        const char *value = memchr(range, '=', (size_t)(end - range));
        if (value != NULL && exposition_is(range, (size_t)(value - range), name))
            return value + 1;
    }
    return NULL;
}

/* How much a media range is wanted: 0 to 1000. */
static int exposition_weight(const char *range, size_t len)
{
    const char *q = exposition_parameter(range, len, "q");
    if (q == NULL || *q == '1')
        return 1000;
    int weight = 0;
    int place = 100;
    if (q[0] != '0' || q[1] != '.')
        return 0;
    for (q += 2; *q >= '0' && *q <= '9' && place > 0; q++, place /= 10)
        weight += (*q - '0') * place;
    return weight;
}

/* Whether a media range means the OpenMetrics that we write. */
static bool exposition_is_openmetrics(const char *range, size_t len)
{
    const char *semicolon = memchr(range, ';', len);
    const size_t type = semicolon != NULL ? (size_t)(semicolon - range) : len;
    const char *version = exposition_parameter(range, len, "version");
    return exposition_is(range, type, exposition_openmetrics) &&
           (version == NULL || strncmp(version, "1.0.0", 5) == 0);
}

/* Text for people, or anything at all, is what the older format is. */
static bool exposition_is_text(const char *range, size_t len)
{
    const char *semicolon = memchr(range, ';', len);
    const size_t type = semicolon != NULL ? (size_t)(semicolon - range) : len;
    return exposition_is(range, type, "text/plain") || exposition_is(range, type, "text/*");
}

enum exposition_format exposition_choose(const char *accept)
{
    int openmetrics = 0;
    int text = 0;
    while (accept != NULL) {
        const size_t len = strcspn(accept, ",");
        const int weight = exposition_weight(accept, len);
        if (exposition_is_openmetrics(accept, len) && weight > openmetrics)
            openmetrics = weight;
        if (exposition_is_text(accept, len) && weight > text)
            text = weight;
        accept = accept[len] == ',' ? accept + len + 1 : NULL;
    }
    return openmetrics > 0 && openmetrics >= text ? EXPOSITION_OPENMETRICS : EXPOSITION_TEXT;
}

const char *exposition_type(enum exposition_format format)
{
    switch (format) {
    case EXPOSITION_OPENMETRICS:
        return "application/openmetrics-text; version=1.0.0; charset=utf-8";
    case EXPOSITION_JSON:
        return "application/json";
    case EXPOSITION_TEXT:
        break;
    }
    return "text/plain; version=0.0.4; charset=utf-8";
}

/* ---- what all formats have in common ---- */

/* What the name of a sample has behind that of its family. */
static const char *exposition_suffix(enum stats_kind kind)
{
    static const char *const suffixes[] = {
        [STATS_GAUGE] = "", [STATS_COUNTER] = "_total", [STATS_INFO] = "_info"};
    return suffixes[kind];
}

static void exposition_number(FILE *out, const struct stats_row *row, uint64_t number)
{
    if (row->micro)
        (void)fprintf(out, "%" PRIu64 ".%06u", number / 1000000, (unsigned)(number % 1000000));
    else
        (void)fprintf(out, "%" PRIu64, number);
}

static bool exposition_is_known(const struct stats *stats, const struct stats_row *row)
{
    return row->kind == STATS_INFO || stats_is_of_workers(row) ||
           stats_get(stats, row, 0) != STATS_UNKNOWN;
}

/* Whether the row belongs to the same name as the one before. */
static bool exposition_goes_on(size_t row)
{
    return row > 0 && row < stats_row_count &&
           strcmp(stats_rows[row].name, stats_rows[row - 1].name) == 0;
}

/* ---- for Prometheus ---- */

/* The older format has the suffix in the name of the family, and knows neither units nor infos. */
static void exposition_family(FILE *out, const struct stats_row *row, bool openmetrics)
{
    static const char *const types[] = {
        [STATS_GAUGE] = "gauge", [STATS_COUNTER] = "counter", [STATS_INFO] = "info"};
    const char *suffix = openmetrics ? "" : exposition_suffix(row->kind);
    const char *type = !openmetrics && row->kind == STATS_INFO ? "gauge" : types[row->kind];
    (void)fprintf(out, "# HELP %s%s %s.\n", row->name, suffix, row->help);
    (void)fprintf(out, "# TYPE %s%s %s\n", row->name, suffix, type);
    if (openmetrics && row->unit != NULL)
        (void)fprintf(out, "# UNIT %s %s\n", row->name, row->unit);
}

static void exposition_worker_samples(FILE *out, const struct stats_row *row,
                                      const struct stats *stats)
{
    for (unsigned i = 0; i < stats->workers; i++)
        (void)fprintf(out, "%s%s{%s=\"%u\"} %" PRIu64 "\n", row->name, exposition_suffix(row->kind),
                      row->label, i, stats_get(stats, row, i));
}

static void exposition_samples(FILE *out, const struct stats_row *row, const struct stats *stats)
{
    const char *value = row->kind == STATS_INFO ? stats->version : row->value;
    if (stats_is_of_workers(row)) {
        exposition_worker_samples(out, row, stats);
        return;
    }
    (void)fprintf(out, "%s%s", row->name, exposition_suffix(row->kind));
    if (row->label != NULL)
        (void)fprintf(out, "{%s=\"%s\"}", row->label, value);
    (void)fputc(' ', out);
    if (row->kind == STATS_INFO)
        (void)fputc('1', out);
    else
        exposition_number(out, row, stats_get(stats, row, 0));
    (void)fputc('\n', out);
}

static void exposition_text(FILE *out, const struct stats *stats, bool openmetrics)
{
    for (size_t i = 0; i < stats_row_count; i++) {
        if (!exposition_is_known(stats, &stats_rows[i]))
            continue;
        if (!exposition_goes_on(i))
            exposition_family(out, &stats_rows[i], openmetrics);
        exposition_samples(out, &stats_rows[i], stats);
    }
    if (openmetrics)
        (void)fputs("# EOF\n", out);
}

/* ---- JSON ---- */

static void exposition_list(FILE *out, const struct stats_row *row, const struct stats *stats)
{
    for (unsigned i = 0; i < stats->workers; i++)
        (void)fprintf(out, "%s%" PRIu64, i == 0 ? "[" : ",", stats_get(stats, row, i));
    (void)fputc(']', out);
}

/* A number; a list of the workers' numbers; or an object with one member for each label's value. */
static void exposition_member(FILE *out, size_t i, const struct stats *stats)
{
    const struct stats_row *row = &stats_rows[i];
    const bool first = !exposition_goes_on(i);
    const bool last = !exposition_goes_on(i + 1);
    if (first)
        (void)fprintf(out, "%s\"%s%s\":", i == 0 ? "{" : ",", row->name,
                      exposition_suffix(row->kind));
    if (stats_is_of_workers(row)) {
        exposition_list(out, row, stats);
        return;
    }
    if (row->label != NULL)
        (void)fprintf(out, "%s\"%s\":", first ? "{" : ",",
                      row->kind == STATS_INFO ? row->label : row->value);
    if (row->kind == STATS_INFO)
        (void)fprintf(out, "\"%s\"", stats->version);
    else
        exposition_number(out, row, stats_get(stats, row, 0));
    if (row->label != NULL && last)
        (void)fputc('}', out);
}

static void exposition_json(FILE *out, const struct stats *stats)
{
    for (size_t i = 0; i < stats_row_count; i++)
        if (exposition_is_known(stats, &stats_rows[i]))
            exposition_member(out, i, stats);
    (void)fputs("}\n", out);
}

void exposition_write(FILE *out, enum exposition_format format, const struct stats *stats)
{
    if (format == EXPOSITION_JSON)
        exposition_json(out, stats);
    else
        exposition_text(out, stats, format == EXPOSITION_OPENMETRICS);
}
