/*
 * replay.c - feeds a target the inputs that are kept: main() where libFuzzer is not linked. Each
 * argument is a file or a directory of files. The last name that is printed is the input that was
 * being tried when the process ended.
 */
#include "fuzz/fuzz.h"

#include <dirent.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* A run of all inputs takes a second or two; AddressSanitizer and emulation make it slower. */
enum { REPLAY_SECONDS_MAX = 120 };

static void replay_file(const char *path)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (file == NULL || fstat(fileno(file), &status) < 0) {
        perror(path);
        exit(1);
    }
    size_t size = (size_t)status.st_size;
    uint8_t *data = malloc(size > 0 ? size : 1);
    CHECK(data != NULL);
    CHECK(fread(data, 1, size, file) == size);
    (void)fclose(file);
    (void)printf("%s\n", path);
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
}

/* Returns how many inputs there were. */
static int replay_directory(const char *path)
{
    struct dirent **entries;
    int tried = 0;
    int count = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < count; i++) {
        char name[PATH_MAX];
        int len = snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        CHECK(len > 0 && (size_t)len < sizeof name);
        if (entries[i]->d_name[0] != '.') {
            replay_file(name);
            tried++;
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return tried;
}

int main(int argc, char **argv)
{
    int tried = 0;
    (void)alarm(REPLAY_SECONDS_MAX);
    for (int i = 1; i < argc; i++) {
        struct stat status;
        if (stat(argv[i], &status) == 0 && S_ISDIR(status.st_mode)) {
            tried += replay_directory(argv[i]);
        } else {
            replay_file(argv[i]);
            tried++;
        }
    }
    (void)printf("%d inputs tried\n", tried);
    return tried > 0 ? EXIT_SUCCESS : EXIT_FAILURE; /* no input: a wrong path */
}
