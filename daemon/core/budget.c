/* SPDX-License-Identifier: MIT */
#include "daemon/core/budget.h"

#include <string.h>

#include "daemon/core/batch.h"

#define FORGET	    0.995 /* half of a step's word is gone after 140 steps */
#define TRUST_AFTER 16u	  /* steps */
/*
 * Variance at the start, and the bound of its growth: while all steps look
 * alike, forgetting would inflate it without end (estimator wind-up).
 */
#define VARIANCE     1e3
#define VARIANCE_MAX 1e6

void budget_init(struct budget *b)
{
	int i;

	memset(b, 0, sizeof(*b));
	for (i = 0; i < 3; i++)
		b->cov[i][i] = VARIANCE;
}

/* A coefficient as used: time is never negative. */
static double coef(const struct budget *b, int i)
{
	return b->coef[i] > 0 ? b->coef[i] : 0;
}

/* ns for @n rows from position @pos: row i reads pos + i + 1 tokens. */
static double cost(const struct budget *b, uint32_t pos, uint32_t n)
{
	double reads = n * (pos + (n + 1.0) / 2);

	return coef(b, 1) * n + coef(b, 2) * reads / 1024;
}

void budget_begin(struct budget *b, uint64_t target_ns)
{
	b->timed = target_ns && b->nr_seen >= TRUST_AFTER;
	b->left_ns = (double)target_ns - coef(b, 0);
	b->rows = b->filled = 0;
	b->reads = 0;
}

void budget_spend(struct budget *b, uint32_t pos, uint32_t n)
{
	b->left_ns -= cost(b, pos, n);
	b->rows += n;
	b->reads += (uint64_t)n * pos + (uint64_t)n * (n + 1) / 2;
}

void budget_spend_rows(struct budget *b, uint32_t nr, uint64_t reads)
{
	b->left_ns -= coef(b, 1) * nr + coef(b, 2) * (double)reads / 1024;
	b->rows += nr;
	b->reads += reads;
}

uint32_t budget_fill(struct budget *b, uint32_t pos, uint32_t want)
{
	uint32_t n = want, least = b->filled ? 0 : KV_BLOCK;

	/* whole blocks from the top; the cost grows with n, so bisect */
	if (b->timed && cost(b, pos, n) > b->left_ns) {
		uint32_t lo = 0, hi = want / KV_BLOCK + 1;

		while (hi - lo > 1) {
			uint32_t mid = lo + (hi - lo) / 2;

			if (cost(b, pos, mid * KV_BLOCK) <= b->left_ns)
				lo = mid;
			else
				hi = mid;
		}
		n = lo * KV_BLOCK;
		n = n < least ? least : n;
		n = n > want ? want : n;
	}
	b->filled += n;
	return n;
}

void budget_observe(struct budget *b, uint64_t elapsed_ns)
{
	double x[3] = { 1, b->rows, (double)b->reads / 1024 };
	double px[3], gain, error = (double)elapsed_ns, trace = 0;
	double forget = FORGET, limit;
	int i, j;

	if (!b->rows)
		return;
	for (i = 0; i < 3; i++)
		error -= b->coef[i] * x[i];
	/*
	 * A step that took many times what was foreseen met something that is
	 * not in the model (another process, a page fault).  It counts as
	 * twice its prediction: a real change is still learnt, in a few steps.
	 */
	limit = (double)elapsed_ns - error;
	limit = limit > (double)elapsed_ns / 4 ? limit : (double)elapsed_ns / 4;
	if (b->nr_seen >= TRUST_AFTER && error > limit)
		error = limit;
	for (i = 0; i < 3; i++)
		trace += b->cov[i][i];
	if (trace > VARIANCE_MAX)
		forget = 1;
	gain = forget;
	for (i = 0; i < 3; i++) {
		px[i] = 0;
		for (j = 0; j < 3; j++)
			px[i] += b->cov[i][j] * x[j];
		gain += x[i] * px[i];
	}
	for (i = 0; i < 3; i++)
		b->coef[i] += px[i] / gain * error;
	for (i = 0; i < 3; i++)
		for (j = 0; j < 3; j++)
			b->cov[i][j] =
				(b->cov[i][j] - px[i] * px[j] / gain) / forget;
	b->nr_seen++;
}
