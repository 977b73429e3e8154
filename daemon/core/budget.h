/* SPDX-License-Identifier: MIT */
/*
 * budget.h - how much a step may compute so that the gap between two tokens
 * stays under its target.
 *
 * The time of a step is modelled as a + b * rows + c * reads, where a row at
 * position p reads the KV of p + 1 tokens.  The three numbers are fitted to
 * the steps seen, by recursive least squares with forgetting (Ljung, System
 * Identification, 11.2), so no machine needs a profile.  What is left of the
 * target when the decoding rows are paid is for prefill.
 *
 * The budget decides how much is computed in a step and never what comes
 * out.  With target 0, and until enough steps were seen, it says yes to all:
 * the step is then limited by its number of tokens alone.
 */
#ifndef CORE_BUDGET_H
#define CORE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
	double coef[3]; /* ns: a step, a row, 1024 reads */
	double cov[3][3];
	uint32_t nr_seen;
	/* the step being planned, then the one under way */
	bool timed;
	double left_ns;
	uint32_t rows;
	uint64_t reads;
	uint32_t filled; /* prefill rows given */
};

void budget_init(struct budget *b);
/* Begin to plan a step that should take @target_ns; 0 = no limit of time. */
void budget_begin(struct budget *b, uint64_t target_ns);
/* @n rows from position @pos are planned. */
void budget_spend(struct budget *b, uint32_t pos, uint32_t n);
/* @nr rows are planned that attend to @reads tokens in all. */
void budget_spend_rows(struct budget *b, uint32_t nr, uint64_t reads);
/*
 * How many of @want prefill rows from position @pos fit.  The first call of a
 * step gives 16 at least: prompts go on, however slow the machine.
 */
uint32_t budget_fill(struct budget *b, uint32_t pos, uint32_t want);
/* The step that was planned has taken @elapsed_ns. */
void budget_observe(struct budget *b, uint64_t elapsed_ns);

#endif
