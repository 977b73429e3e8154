/* SPDX-License-Identifier: MIT */
#include "tools/words.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const char *words_size(char buf[WORDS_MAX], uint64_t bytes)
{
	static const char *const units[] = { "KiB", "MiB", "GiB",
					     "TiB", "PiB", "EiB" };
	double d = (double)bytes / 1024;
	int u = 0;

	if (bytes < 1024) {
		snprintf(buf, WORDS_MAX, "%" PRIu64 " bytes", bytes);
		return buf;
	}
	/* not 1,024 MiB: what rounds up to a unit is one */
	while (d >= 1023.95 && u < 5) {
		d /= 1024;
		u++;
	}
	snprintf(buf, WORDS_MAX, "%.4g %s", d, units[u]);
	return buf;
}

const char *words_count(char buf[WORDS_MAX], uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%" PRIu64, n);
	char *p = buf;

	for (int i = 0; i < len; i++) {
		*p++ = digits[i];
		if (i + 1 < len && (len - 1 - i) % 3 == 0)
			*p++ = ',';
	}
	*p = 0;
	return buf;
}

const char *words_amount(char buf[WORDS_MAX], uint64_t n)
{
	if (n >= 1000000000)
		snprintf(buf, WORDS_MAX, "%.3g billion", (double)n / 1e9);
	else if (n >= 1000000)
		snprintf(buf, WORDS_MAX, "%.3g million", (double)n / 1e6);
	else
		words_count(buf, n);
	return buf;
}
