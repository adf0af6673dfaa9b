/* What a fuzz target defines. driver.c is its main(), or libFuzzer is (-fsanitize=fuzzer; it does not ask for seeds).
 */
#ifndef QUAKE_TESTS_FUZZ_H
#define QUAKE_TESTS_FUZZ_H 1

#include <stddef.h>
#include <stdint.h>

/* Run one input; abort() on a broken promise. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Write the `index`th valid input, at most `room` bytes; returns its length, 0 when there are no more. */
size_t fuzz_seed(size_t index, uint8_t *bytes, size_t room);

#endif
