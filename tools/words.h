/* SPDX-License-Identifier: MIT */
/* words.h - figures as people read them, for tables on a terminal. */
#ifndef TOOLS_WORDS_H
#define TOOLS_WORDS_H

#include <stdint.h>

#define WORDS_MAX 32u

/* "2.5 MiB", "10 GiB", "512 bytes": four digits, no empty ones. */
const char *words_size(char buf[WORDS_MAX], uint64_t bytes);
/* "4,096" */
const char *words_count(char buf[WORDS_MAX], uint64_t n);
/* "65.3 billion", "110 million", "9,216" */
const char *words_amount(char buf[WORDS_MAX], uint64_t n);

#endif
