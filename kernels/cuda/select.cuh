/* SPDX-License-Identifier: MIT */
/*
 * select.cuh - a CTA looks at a row of logits: sums, the largest, and where a
 * cut goes (the k likeliest; the likeliest that have so much mass) without a
 * sort.
 *
 * Whatever is summed is an integer (counts; masses in units of 2^-40), and
 * whatever is compared a key of kernels/logits.h, so threads may come in any
 * order and the answer is the one that kernels/ref gets by sorting.
 *
 * A cut is a radix select on keys, 11 bits a pass: a histogram of weights by
 * atomics in shared memory, a prefix sum, the digit in which the sum reaches
 * what is wanted; three passes name the logit, and where only some of the ids
 * with that very logit are kept three more name the id.
 *
 * A pass reads a row once, from L2.  Not yet fast where most keys share a
 * digit: their atomics stand in line.  No GPU has measured it yet.
 */
#ifndef KERNELS_CUDA_SELECT_CUH
#define KERNELS_CUDA_SELECT_CUH

#include "kernels/cuda/ptx.cuh"
#include "kernels/expf.h"
#include "kernels/logits.h"

#define SELECT_THREADS 512
#define SELECT_WARPS   (SELECT_THREADS / 32)
#define SELECT_BITS    11
#define SELECT_BINS    (1 << SELECT_BITS)
#define SELECT_SHARE   (SELECT_BINS / SELECT_THREADS) /* bins of a thread */

/* All shared memory of a CTA that selects. */
struct select_smem {
	unsigned long long weight[SELECT_BINS]; /* of a digit */
	uint64_t sum[SELECT_THREADS];
	uint64_t part[SELECT_WARPS];
	uint64_t left;	/* of what is wanted, in the digit */
	uint32_t digit; /* that was found */
	uint32_t nr_list;
	uint64_t list[32]; /* the kernel's own */
};

DEV struct select_smem *select_shared()
{
	return (struct select_smem *)smem_base();
}

/* op() over the values of all threads, in every thread; T has 8 bytes. */
template <class T, class Op> DEV T select_reduce(T v, Op op)
{
	T *part = (T *)select_shared()->part;

	static_assert(sizeof(T) == sizeof(uint64_t), "a part");
	for (int s = 16; s; s >>= 1)
		v = op(v, __shfl_xor_sync(WHOLE_WARP, v, s));
	if (threadIdx.x % 32 == 0)
		part[threadIdx.x / 32] = v;
	__syncthreads();
	v = part[0];
	for (int i = 1; i < SELECT_WARPS; i++)
		v = op(v, part[i]);
	__syncthreads(); /* before part is written again */
	return v;
}

DEV uint64_t select_sum(uint64_t v)
{
	return select_reduce(v, [](uint64_t a, uint64_t b) { return a + b; });
}

DEV uint64_t select_min(uint64_t v)
{
	return select_reduce(v, [](uint64_t a, uint64_t b) {
		return a < b ? a : b;
	});
}

/* A row and which of its ids are still in the running. */
struct select_row {
	const float *l; /* [vocab] */
	int vocab;
	float max, temperature, min_p;
	bool all;      /* min_p and -inf do not count */
	uint64_t last; /* the largest key that is kept */

	DEV_MEMBER float logit(int id) const
	{
		return logits_clean(l[id]);
	}

	/* e of step 6 */
	DEV_MEMBER float exp_of(float logit) const
	{
		return exp_neg((logit - max) / temperature);
	}

	DEV_MEMBER bool keeps(float logit, uint64_t key) const
	{
		if (key > last)
			return false;
		return all || (logit > -INFINITY && exp_of(logit) >= min_p);
	}

	/* what a logit adds to a sum of masses, or of ids */
	DEV_MEMBER uint64_t weight(float logit, bool mass) const
	{
		return mass ? exp_mass(exp_of(logit)) : 1;
	}

	DEV_MEMBER uint64_t total(bool mass) const
	{
		uint64_t sum = 0;

		for (int id = threadIdx.x; id < vocab; id += SELECT_THREADS) {
			float x = logit(id);

			if (keeps(x, logits_key(x, id)))
				sum += weight(x, mass);
		}
		return select_sum(sum);
	}

	/* the key of the likeliest id */
	DEV_MEMBER uint64_t first() const
	{
		uint64_t key = UINT64_MAX;

		for (int id = threadIdx.x; id < vocab; id += SELECT_THREADS) {
			uint64_t k = logits_key(logit(id), id);

			key = k < key ? k : key;
		}
		return select_min(key);
	}
};

/* The logit of a key. */
DEV float select_logit(uint64_t key)
{
	uint32_t u = (uint32_t)(key >> 32);

	return as_float(u >> 31 ? u : ~u & 0x7fffffff);
}

/*
 * One pass: of the kept keys that begin with @prefix (what is above the digit
 * at @shift), the digit in which the weights, taken ascending, reach @need.
 * Returns prefix and digit; *need becomes what is left of it in that digit.
 */
DEV uint64_t select_digit(const struct select_row &r, uint64_t prefix,
			  int shift, bool mass, uint64_t *need)
{
	struct select_smem *m = select_shared();
	int first = threadIdx.x * SELECT_SHARE;
	uint64_t sum = 0, before;

	for (int i = 0; i < SELECT_SHARE; i++)
		m->weight[first + i] = 0;
	__syncthreads();
	for (int id = threadIdx.x; id < r.vocab; id += SELECT_THREADS) {
		float x = r.logit(id);
		uint64_t key = logits_key(x, id), w;

		/* prefix: no bits of it are left in the first pass */
		if ((shift + SELECT_BITS < 64 &&
		     key >> (shift + SELECT_BITS) != prefix) ||
		    !r.keeps(x, key))
			continue;
		w = r.weight(x, mass);
		if (w)
			atomicAdd(&m->weight[key >> shift & (SELECT_BINS - 1)],
				  (unsigned long long)w);
	}
	__syncthreads();
	for (int i = 0; i < SELECT_SHARE; i++)
		sum += m->weight[first + i];
	m->sum[threadIdx.x] = sum;
	__syncthreads();
	/* sums of all bins up to this thread's last */
	for (int s = 1; s < SELECT_THREADS; s *= 2) {
		uint64_t add = (int)threadIdx.x >= s ? m->sum[threadIdx.x - s]
						     : 0;

		__syncthreads();
		m->sum[threadIdx.x] += add;
		__syncthreads();
	}
	before = m->sum[threadIdx.x] - sum;
	if (before < *need && *need <= before + sum) {
		int d = first;

		while (before + m->weight[d] < *need)
			before += m->weight[d++];
		m->digit = (uint32_t)d;
		m->left = *need - before;
	}
	__syncthreads();
	*need = m->left;
	prefix = prefix << SELECT_BITS | m->digit;
	__syncthreads(); /* before they are written again */
	return prefix;
}

/*
 * The last key that is kept when the kept keys are taken ascending until their
 * weights reach @need, of which there is enough; @need >= 1.
 */
DEV uint64_t select_cut(const struct select_row &r, bool mass, uint64_t need)
{
	uint64_t key = 0, weight, nr;
	bool whole; /* are all ids of the last logit kept? */

	for (int shift = 53; shift >= 31; shift -= SELECT_BITS)
		key = select_digit(r, key, shift, mass, &need);
	/* all ids of this logit weigh the same */
	weight = r.weight(select_logit(key << 31), mass);
	nr = (need + weight - 1) / weight;
	whole = weight * nr == select_shared()->weight[key & (SELECT_BINS - 1)];
	__syncthreads(); /* before the weights are written again */
	if (whole)
		return key << 31 | 0x7fffffff;
	key = select_digit(r, key, 20, false, &nr);
	key = select_digit(r, key, 9, false, &nr);
	/* nine bits are left: the digit has two of those above */
	for (uint32_t low = 0; low < 512; low++) {
		uint64_t k = key << 9 | low;
		int id = (int)(k & 0x7fffffff);

		if (id < r.vocab && logits_key(r.logit(id), id) == k &&
		    r.keeps(r.logit(id), k) && --nr == 0)
			return k;
	}
	return key << 9 | 511;
}

#endif
