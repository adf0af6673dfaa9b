/* What went wrong, as a sentence for people: allocated text, or NULL for success. The caller frees it.
 *
 * A sentence names the object, the cause and, where there is one, the next step. */
#ifndef QUAKE_BASE_ERROR_H
#define QUAKE_BASE_ERROR_H 1

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

__attribute__((format(printf, 1, 2))) static inline char *error_make(const char *format, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        abort(); /* out of memory while telling of an error */
    va_end(args);
    return text;
}

#endif
