#include "echoload/report.h"

static const struct {
    const char *name;
    double percent;
} percentiles[] = {{"p50", 50}, {"p90", 90}, {"p99", 99}, {"p99.9", 99.9}, {"max", 100}};

enum { PERCENTILES = sizeof percentiles / sizeof *percentiles };

static double report_us(const struct load_result *result, int i)
{
    return (double)histogram_percentile(&result->latencies, percentiles[i].percent) / 1000;
}

static double per_second(double count, double seconds)
{
    return seconds > 0 ? count / seconds : 0;
}

static void report_rates(const struct args *args, const struct load_result *result, FILE *out)
{
    double messages = (double)result->messages;
    const char *what = args->mode == MODE_CHURN ? "connections" : "messages";
    if (args->mode != MODE_BULK)
        (void)fprintf(out, "%-11s %llu in %.3f s: %.0f/s\n", what,
                      (unsigned long long)result->messages, result->seconds,
                      per_second(messages, result->seconds));
    (void)fprintf(out, "bytes       %llu each way: %.3f GB/s\n", (unsigned long long)result->bytes,
                  per_second((double)result->bytes / 1e9, result->seconds));
}

static void report_cpu(const struct args *args, const struct load_result *result, FILE *out)
{
    (void)fprintf(out, "CPU         echoload %.0f %%",
                  per_second(100 * result->cpu, result->seconds));
    if (args->pid > 0)
        (void)fprintf(out, ", server %.0f %% (%.2f s user, %.2f s system)",
                      per_second(100 * result->server_cpu, result->seconds), result->server_user,
                      result->server_system);
    (void)fputc('\n', out);
}

/* In percent. */
static double report_loss(const struct tally *tally)
{
    return per_second(100 * (double)(tally->lost + tally->late), (double)tally->sent);
}

static void report_tally(const struct tally *tally, FILE *out)
{
    (void)fprintf(out,
                  "datagrams   %llu sent, %llu answered, %llu lost, %llu late (%.3f %%), "
                  "%llu duplicate, %llu out of order, %llu wrong\n",
                  (unsigned long long)tally->sent, (unsigned long long)tally->answered,
                  (unsigned long long)tally->lost, (unsigned long long)tally->late,
                  report_loss(tally), (unsigned long long)tally->duplicates,
                  (unsigned long long)tally->reordered, (unsigned long long)tally->wrong);
}

static void report_tally_json(const struct tally *tally, FILE *out)
{
    (void)fprintf(out,
                  "\"datagrams\": {\"sent\": %llu, \"answered\": %llu, \"lost\": %llu, "
                  "\"late\": %llu, \"loss_percent\": %.6f, \"duplicates\": %llu, "
                  "\"reordered\": %llu, \"wrong\": %llu}, ",
                  (unsigned long long)tally->sent, (unsigned long long)tally->answered,
                  (unsigned long long)tally->lost, (unsigned long long)tally->late,
                  report_loss(tally), (unsigned long long)tally->duplicates,
                  (unsigned long long)tally->reordered, (unsigned long long)tally->wrong);
}

void report_text(const struct args *args, const struct load_result *result, FILE *out)
{
    (void)fprintf(out, "%s: %zu connections, %zu bytes, depth %zu, %s\n",
                  args_mode_name(args->mode), args->connections, args->size, args->depth,
                  args->rate > 0 ? "open loop" : "closed loop");
    if (result->connects > 0)
        (void)fprintf(out, "connected   %llu in %.3f s: %.0f/s\n",
                      (unsigned long long)result->connects, result->connect_seconds,
                      per_second((double)result->connects, result->connect_seconds));
    if (args->mode != MODE_IDLE)
        report_rates(args, result, out);
    if (args->udp)
        report_tally(&result->tally, out);
    if (result->latencies.total > 0) {
        (void)fputs("latency     ", out);
        for (int i = 0; i < PERCENTILES; i++)
            (void)fprintf(out, "%s %.1f ", percentiles[i].name, report_us(result, i));
        (void)fputs("us\n", out);
    }
    report_cpu(args, result, out);
}

void report_json(const struct args *args, const struct load_result *result, FILE *out)
{
    (void)fprintf(out,
                  "{\"mode\": \"%s\", \"connections\": %zu, \"size\": %zu, \"depth\": %zu, "
                  "\"rate\": %g, \"seconds\": %.6f, \"messages\": %llu, \"messages_per_s\": %.1f, "
                  "\"bytes\": %llu, \"gb_per_s\": %.6f, ",
                  args_mode_name(args->mode), args->connections, args->size, args->depth,
                  args->rate, result->seconds, (unsigned long long)result->messages,
                  per_second((double)result->messages, result->seconds),
                  (unsigned long long)result->bytes,
                  per_second((double)result->bytes / 1e9, result->seconds));
    if (args->udp)
        report_tally_json(&result->tally, out);
    (void)fprintf(out, "\"connects\": %llu, \"connect_seconds\": %.6f, \"latency_us\": {",
                  (unsigned long long)result->connects, result->connect_seconds);
    for (int i = 0; i < PERCENTILES; i++)
        (void)fprintf(out, "\"%s\": %.3f, ", percentiles[i].name, report_us(result, i));
    (void)fprintf(out,
                  "\"mean\": %.3f}, \"cpu_s\": %.6f, \"server_cpu_s\": %.6f, "
                  "\"server_user_s\": %.3f, \"server_system_s\": %.3f}\n",
                  histogram_mean(&result->latencies) / 1000, result->cpu, result->server_cpu,
                  result->server_user, result->server_system);
}
