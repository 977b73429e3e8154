/* SPDX-License-Identifier: MIT */
/*
 * check.h - what the tests of kernels share, on the emulator and on a GPU:
 * arrays that live on both sides, noise, digests, and a run under every
 * schedule.  A failing test leaves by longjmp: its arrays are not freed.
 */
#ifndef CUEMU_CHECK_H
#define CUEMU_CHECK_H

#include "kernels/half.h"
#include "tests/cuemu/mma_model.h"
#include "tests/test.h"

#include <vector>

#ifdef __CUDACC__
#define EMULATED 0
#else
#define EMULATED 1

/* ---- the few calls of the runtime that these tests make */

enum { cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost };

/* Freed memory is kept: what a test frees is its own affair. */
inline int cudaMalloc(void **p, size_t size)
{
	*p = emu::guarded(size);
	return 0;
}

inline int cudaFree(void *)
{
	return 0;
}

inline int cudaMemcpy(void *dst, const void *src, size_t size, int)
{
	memcpy(dst, src, size);
	return 0;
}

inline int cudaDeviceSynchronize()
{
	return emu::report[0] != 0;
}
#endif

/* Element @i of stream @s, in [-1, 1): the same everywhere. */
static inline float noise(uint64_t s, uint64_t i)
{
	uint64_t z = s * 0x9e3779b97f4a7c15u + i * 0xd1342543de82ef95u + 1;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	z ^= z >> 31;
	return (float)((double)(z >> 11) / (double)(1ull << 52) - 1);
}

static inline uint16_t to_bf16(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* The worst of errors; a NaN stays (fmax would lose it). */
static inline void worse(double *worst, double error)
{
	if (!(error <= *worst) && *worst == *worst)
		*worst = error;
}

/* Bytes of NaN to begin with, on both sides. */
template <class T> struct array {
	std::vector<T> host;
	T *device = nullptr;

	explicit array(size_t n) : host(n)
	{
		memset((void *)host.data(), 0xff, n * sizeof(T));
		if (cudaMalloc((void **)&device, n * sizeof(T)))
			printf("# no device memory\n");
		send();
	}

	~array()
	{
		cudaFree(device);
	}

	array(const array &) = delete;

	T &operator[](size_t i)
	{
		return host[i];
	}

	void send()
	{
		cudaMemcpy(device, host.data(), host.size() * sizeof(T),
			   cudaMemcpyHostToDevice);
	}

	void fetch()
	{
		cudaMemcpy(host.data(), device, host.size() * sizeof(T),
			   cudaMemcpyDeviceToHost);
	}
};

static inline void fill_bf16(array<uint16_t> &a, uint64_t stream, float scale)
{
	for (size_t i = 0; i < a.host.size(); i++)
		a[i] = to_bf16(noise(stream, i) * scale);
	a.send();
}

/*
 * FNV-1a of the bytes, printed: the same digest, the same bits, of the emulator
 * with a GPU's model of mma and of that GPU.
 */
template <class T>
static void print_digest(const char *what, const std::vector<T> &v)
{
	const unsigned char *p = (const unsigned char *)v.data();
	uint64_t h = 1469598103934665603u;

	for (size_t i = 0; i < v.size() * sizeof(T); i++)
		h = (h ^ p[i]) * 1099511628211u;
	printf("# %s: digest %016llx", what, (unsigned long long)h);
	if (EMULATED)
		printf(", mma model %d", mma_bits);
	printf("\n");
}

template <class T>
static bool same_bits(const std::vector<T> &a, const std::vector<T> &b)
{
	return a.size() == b.size() &&
	       !memcmp(a.data(), b.data(), a.size() * sizeof(T));
}

/* Whether a launch that returned @ret also ran well. */
static inline bool ran(int ret)
{
	int error = cudaDeviceSynchronize();

#if EMULATED
	if (emu::report[0])
		printf("# %s\n", emu::report);
#endif
	if (ret || error)
		printf("# launch %d, end %d\n", ret, error);
	return !ret && !error;
}

/* Schedule @i from here on; how many bank conflicts there were since then. */
static inline void use_schedule(unsigned i)
{
#if EMULATED
	emu::schedule = i;
	emu::counts.conflicts = 0;
#endif
}

static inline long conflicts()
{
#if EMULATED
	return emu::counts.conflicts;
#else
	return 0;
#endif
}

/*
 * Whether @run (false: it failed) leaves the same bits in @result under four
 * orders of threads and CTAs, without a bank conflict; on a GPU, twice.
 */
template <class T, class Run>
static bool every_schedule(const std::vector<T> &result, Run run)
{
	std::vector<T> first;

	for (unsigned i = 0; i < (EMULATED ? 4 : 2); i++) {
		use_schedule(i);
		if (!run())
			return false;
		if (conflicts()) {
			printf("# %ld bank conflicts\n", conflicts());
			return false;
		}
		if (i == 0)
			first = result;
		if (!same_bits(first, result)) {
			printf("# schedule %u gives other bits\n", i);
			return false;
		}
	}
	use_schedule(0);
	return true;
}

/* Each model of the tensor core in turn; a GPU has its own. */
static const int check_models[] = { -1, 2 };
#define EACH_MODEL                                                             \
	for (int m_ = 0;                                                       \
	     m_ < (EMULATED ? 2 : 1) && (mma_bits = check_models[m_], 1);      \
	     m_++)

#endif
