/* main() of a fuzz target where the compiler has no libFuzzer: mutates the target's seeds at random.
 *
 *   TARGET [-runs=N] [-seconds=N] [-seed=N]
 *
 * The same seed gives the same inputs. An input that kills the process is in the file NAME.crash of the working
 * directory (NAME is the target's): it is written before each run, to memory that outlives the process (a mapped file).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"

#define INPUT_MAX 4096
#define SEEDS_MAX 256

struct input {
    size_t size;
    uint8_t bytes[INPUT_MAX];
};

struct options {
    uint64_t runs, seed;
    double seconds;
};

static uint64_t next_random(uint64_t *state) { /* xorshift64* */
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(2685821657736338717);
}

static size_t below(uint64_t *state, size_t n) {
    return n ? next_random(state) % n : 0;
}

static size_t collect_seeds(struct input *seeds) {
    size_t n = 0;
    while (n < SEEDS_MAX && (seeds[n].size = fuzz_seed(n, seeds[n].bytes, INPUT_MAX)) > 0) {
        n++;
    }
    return n;
}

static void insert_bytes(struct input *input, uint64_t *random) {
    size_t n = 1 + below(random, 8), at = below(random, input->size + 1);
    if (input->size + n <= INPUT_MAX) {
        memmove(input->bytes + at + n, input->bytes + at, input->size - at);
        memset(input->bytes + at, (int) next_random(random), n);
        input->size += n;
    }
}

static void remove_bytes(struct input *input, uint64_t *random) {
    size_t at = below(random, input->size), n = below(random, input->size - at + 1);
    memmove(input->bytes + at, input->bytes + at + n, input->size - at - n);
    input->size -= n;
}

static void cross_over(struct input *input, const struct input *other, uint64_t *random) {
    size_t at = below(random, input->size), from = below(random, other->size);
    size_t n = below(random, other->size - from + 1);
    n = at + n > INPUT_MAX ? INPUT_MAX - at : n;
    memcpy(input->bytes + at, other->bytes + from, n);
    input->size = at + n > input->size ? at + n : input->size;
}

static void mutate(struct input *input, const struct input *other, uint64_t *random) {
    static const uint8_t odd[] = {0, 1, 0x7f, 0x80, 0xff, 4, 6, 8, 0x81, 0x88};
    for (size_t changes = 1 + below(random, 6); changes && input->size; changes--) {
        size_t at = below(random, input->size);
        switch (below(random, 8)) {
        case 0:
            insert_bytes(input, random);
            break;
        case 1:
            remove_bytes(input, random);
            break;
        case 2:
            cross_over(input, other, random);
            break;
        case 3:
        case 4:
            input->bytes[at] = odd[below(random, sizeof odd)];
            break;
        case 5:
            input->bytes[at] ^= 1U << below(random, 8);
            break;
        default:
            input->bytes[at] = next_random(random);
            break;
        }
    }
}

static bool parse(int argc, char **argv, struct options *o) {
    *o = (struct options){.runs = UINT64_MAX, .seed = 1, .seconds = 1e9};
    bool known = true;
    for (int i = 1; i < argc; i++) {
        const char *value = strchr(argv[i], '=');
        char *end = argv[i];
        if (value && !strncmp(argv[i], "-runs=", 6)) {
            o->runs = strtoull(value + 1, &end, 10);
        } else if (value && !strncmp(argv[i], "-seed=", 6)) {
            o->seed = strtoull(value + 1, &end, 10);
        } else if (value && !strncmp(argv[i], "-seconds=", 9)) {
            o->seconds = strtod(value + 1, &end);
        }
        known &= end != argv[i] && !*end;
    }
    return known;
}

static struct input *map_current(const char *path) {
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(struct input))) {
        return NULL;
    }
    struct input *current = mmap(NULL, sizeof *current, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    return current == MAP_FAILED ? NULL : current;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void run_once(const struct input *input) {
    uint8_t *exact = malloc(input->size + !input->size); /* so that a read past the end is seen */
    memcpy(exact, input->bytes, input->size);
    LLVMFuzzerTestOneInput(exact, input->size);
    free(exact);
}

static uint64_t fuzz(const struct options *o, const struct input *seeds, size_t n, struct input *current) {
    uint64_t random = o->seed * 2 + 1, run = 0;
    for (double end = now() + o->seconds; run < o->runs && (run % 1024 || now() < end); run++) {
        if (run < n) { /* each as it is first */
            *current = seeds[run];
        } else {
            *current = seeds[below(&random, n)];
            mutate(current, &seeds[below(&random, n)], &random);
        }
        run_once(current);
    }
    return run;
}

int main(int argc, char **argv) {
    struct options o;
    if (!parse(argc, argv, &o)) {
        fprintf(stderr, "usage: %s [-runs=N] [-seconds=N] [-seed=N]\n", argv[0]);
        return 2;
    }
    char path[256];
    snprintf(path, sizeof path, "%s.crash", program_invocation_short_name);
    struct input *seeds = calloc(SEEDS_MAX, sizeof *seeds), *current = map_current(path);
    if (!seeds || !current) {
        fprintf(stderr, "%s: cannot write the file %s in this directory\n", argv[0], path);
        free(seeds);
        return 2;
    }
    size_t n = collect_seeds(seeds);
    printf("%" PRIu64 " inputs, 0 findings\n", fuzz(&o, seeds, n, current));
    free(seeds);
    munmap(current, sizeof *current);
    unlink(path);
    return 0;
}
