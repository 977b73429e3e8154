/* SPDX-License-Identifier: MIT */
/*
 * merge.h against the definition, written down as it is said: find the pair
 * of least rank, of equals the leftmost, join it, begin again.
 */
#include "tests/test.h"
#include "text/merge.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { SYMBOLS = 24, MERGES = 60, PIECE = 300 };

static uint64_t seed = 88172645463325252u;

static uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (uint32_t)(seed >> 11) % n;
}

static size_t by_definition(const struct bpe_merge *m, size_t nr_merges,
			    uint32_t *id, size_t nr)
{
	size_t i, k, at, best;

	for (;;) {
		best = nr_merges;
		at = 0;
		for (i = 0; i + 1 < nr; i++)
			for (k = 0; k < nr_merges; k++)
				if (m[k].left == id[i] &&
				    m[k].right == id[i + 1] &&
				    (best == nr_merges ||
				     m[k].rank < m[best].rank)) {
					best = k;
					at = i;
				}
		if (best == nr_merges)
			return nr;
		id[at] = m[best].made;
		memmove(id + at + 1, id + at + 2, (nr - at - 2) * sizeof(*id));
		nr--;
	}
}

TEST(merging_is_what_the_definition_says_short_and_long)
{
	struct bpe_merge m[MERGES];
	bool used[2 * SYMBOLS][2 * SYMBOLS];
	uint32_t got[PIECE], want[PIECE];
	struct merge_work w = { 0 };
	struct merges table;
	uint32_t round, i, nr, n, kinds;
	long r;

	for (round = 0; round < 3000; round++) {
		memset(used, 0, sizeof(used));
		for (n = 0; n < MERGES; n++) {
			m[n] = (struct bpe_merge){ rnd(2 * SYMBOLS),
						   rnd(2 * SYMBOLS),
						   SYMBOLS + rnd(SYMBOLS), n };
			/* ranks may be shared, pairs not */
			if (n && !rnd(4))
				m[n].rank = m[n - 1].rank;
			if (used[m[n].left][m[n].right])
				break;
			used[m[n].left][m[n].right] = true;
		}
		CHECK(!merges_init(&table, m, n));
		kinds = 1 + rnd(SYMBOLS);
		nr = rnd(round & 1 ? 40 : PIECE);
		for (i = 0; i < nr; i++)
			got[i] = want[i] = rnd(kinds);
		r = merge_run(&table, &w, got, nr);
		CHECK_EQ(r, by_definition(m, n, want, nr));
		CHECK(!memcmp(got, want, (size_t)r * sizeof(*got)));
		merges_deinit(&table);
	}
	merge_work_free(&w);
}
