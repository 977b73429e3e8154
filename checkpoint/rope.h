/* SPDX-License-Identifier: MIT */
/*
 * rope.h - rotary position embedding: angles of positions, and the ways to
 * stretch them over a context longer than the one trained.
 *
 * Su et al., RoFormer (arXiv 2104.09864): pair i of a head of D dimensions is
 * turned by position * theta^(-2i/D).  We turn (x[i], x[i + D/2]), as all
 * Hugging Face checkpoints are laid out.  Everything here is done in double
 * and rounded to float once, in the table.
 */
#ifndef CHECKPOINT_ROPE_H
#define CHECKPOINT_ROPE_H

#include <stdbool.h>
#include <stdint.h>

#define ROPE_MAX_DIM 512u

enum rope_kind {
	ROPE_DEFAULT, /* as trained */
	ROPE_LINEAR,  /* every frequency divided by factor */
	ROPE_LLAMA3,  /* Llama 3.1: low ones divided, high ones kept, a ramp */
	ROPE_YARN,    /* arXiv 2309.00071: a ramp over pairs, and a scale */
};

struct rope {
	enum rope_kind kind;
	double theta;		     /* > 1 */
	double factor;		     /* >= 1; all kinds but default */
	double original;	     /* positions trained: llama3 and yarn */
	double low_freq, high_freq;  /* llama3: low < high */
	double beta_fast, beta_slow; /* yarn: fast > slow */
	double attention;	     /* yarn: on cos and sin */
	bool truncate;		     /* yarn: the ramp ends at whole pairs */
	/* what pair i's frequency is divided by, before all else; 0 = 1 */
	double divisor[ROPE_MAX_DIM / 2];
};

/*
 * Angular frequency of each pair into freq[dim / 2] (dim even), in radians a
 * position.  Returns the factor that stands on cos and sin: 1 but for yarn.
 */
double rope_frequencies(const struct rope *rope, uint32_t dim, double *freq);

/*
 * cos and sin of positions [0, nr_positions) into
 * table[nr_positions][dim / 2][2]; dim even, at most ROPE_MAX_DIM.
 */
void rope_fill(const struct rope *rope, uint32_t dim, uint32_t nr_positions,
	       float *table);

#endif
