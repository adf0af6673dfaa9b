#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = {"error", "warning", "info"};

static size_t log_prefix(char *line, size_t size, enum log_level level) {
    struct timespec now;
    struct tm utc;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &utc);
    size_t n = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    return n + (size_t) snprintf(line + n, size - n, ".%03ldZ %s ", now.tv_nsec / 1000000, level_names[level]);
}

void log_line(enum log_level level, const char *format, ...) {
    char line[1024];
    size_t n = log_prefix(line, sizeof line - 1, level);
    va_list args;
    va_start(args, format);
    int text = vsnprintf(line + n, sizeof line - 1 - n, format, args);
    va_end(args);
    n += text < 0 ? 0 : (size_t) text;
    if (n > sizeof line - 2)
        n = sizeof line - 2;
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, n) < 0)
        return; /* nobody is left to tell */
}
