/* SPDX-License-Identifier: MIT */
/*
 * probe.cu - two questions that only a GPU answers, for `make check-gpu`:
 * does wgmma give the bits of mma.sync, and which algorithms of cuBLASLt give
 * the bits of one chain of mma over k?  The answers are lines of JSON; a test
 * fails only where an answer is far from float64, so that it means nothing.
 * cuBLASLt is opened while running: without it its part is skipped.
 */
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "tests/cuemu/check.h"
#include "tests/cuemu/cublaslt.h"

#define N 4096
#define K 4096
#define T 1024

struct chain_args {
	const uint16_t *w; /* [N, K] bf16 */
	const uint16_t *x; /* [T, K] bf16 */
	float *y;	   /* [T, N] */
};

/* The A fragment of rows g and g + 8 from @k on; w: of row g, column 2 t. */
DEV void fragment(uint32_t a[4], const uint16_t *w, int k)
{
	a[0] = *(const uint32_t *)(w + k);
	a[1] = *(const uint32_t *)(w + 8 * K + k);
	a[2] = *(const uint32_t *)(w + k + 8);
	a[3] = *(const uint32_t *)(w + 8 * K + k + 8);
}

DEV void put(float *y, const float d[4], int row, int token)
{
	for (int i = 0; i < 4; i++)
		y[(size_t)(token + i % 2) * N + row + i / 2 * 8] = d[i];
}

/* One chain of mma, straight from memory: a warp has 16 rows, 8 tokens. */
static __global__ void chain_mma(const chain_args p)
{
	int g = threadIdx.x / 4, t = threadIdx.x % 4 * 2;
	int row = blockIdx.x * 16 + g, token = blockIdx.y * 8;
	const uint16_t *w = p.w + (size_t)row * K + t;
	const uint16_t *x = p.x + (size_t)(token + g) * K + t;
	float d[4] = {};

	pdl_wait();
	for (int k = 0; k < K; k += 16) {
		uint32_t a[4];

		fragment(a, w, k);
		mma(d, a, *(const uint32_t *)(x + k),
		    *(const uint32_t *)(x + k + 8));
	}
	put(p.y, d, row, token + t);
}

/*
 * The same by wgmma m64n8k16: A from registers, laid out as mma's in each of
 * four warps; B from shared memory, two 8 x 8 squares 128 bytes apart.
 */
static __global__ void __launch_bounds__(128) chain_wgmma(const chain_args p)
{
#if __CUDA_ARCH_FEAT_SM90_ALL
	uint16_t *b = (uint16_t *)smem_base();
	int g = threadIdx.x % 32 / 4, t = threadIdx.x % 4 * 2;
	int row = blockIdx.x * 64 + threadIdx.x / 32 * 16 + g;
	int token = blockIdx.y * 8, n = threadIdx.x / 16;
	const uint16_t *w = p.w + (size_t)row * K + t;
	const uint16_t *x = p.x + (size_t)(token + n) * K + threadIdx.x % 16;
	uint64_t square = (smem_address(b) & 0x3ffff) >> 4 |
			  (uint64_t)(128 >> 4) << 16 |
			  (uint64_t)(256 >> 4) << 32;
	float d[4] = {};

	pdl_wait();
	for (int k = 0; k < K; k += 16) {
		uint32_t a[4];

		__syncthreads();
		b[threadIdx.x % 16 / 8 * 64 + n * 8 + threadIdx.x % 8] = x[k];
		asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
		__syncthreads();
		fragment(a, w, k);
		asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
		asm volatile("wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16."
			     "bf16 {%0,%1,%2,%3},{%4,%5,%6,%7},%8,1,1,1,0;"
			     : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
			     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]),
			       "l"(square));
		asm volatile("wgmma.commit_group.sync.aligned;"
			     "wgmma.wait_group.sync.aligned 0;" ::
				     : "memory");
	}
	put(p.y, d, row, token + t);
#endif
}

struct fixture {
	array<uint16_t> w, x;
	array<float> chain, other;

	fixture()
		: w((size_t)N * K), x((size_t)T * K), chain((size_t)T * N),
		  other((size_t)T * N)
	{
		fill_bf16(w, 1, 1);
		fill_bf16(x, 2, 1);
	}

	bool run(void (*kernel)(const chain_args), int rows, int threads,
		 array<float> &y)
	{
		bool ok = ran(launch(
			kernel, dim3(N / rows, T / 8), threads, 256,
			chain_args{ w.device, x.device, y.device }, NULL));

		y.fetch();
		return ok;
	}

	bool run_chain()
	{
		return run(chain_mma, 16, 32, chain);
	}

	/* the worst of 200 elements of the first @tokens against float64 */
	double error(const array<float> &y, int tokens)
	{
		double worst = 0;

		for (int i = 0; i < 200; i++) {
			size_t t = i * 37 % tokens, n = i * 131 % N;
			double sum = 0;

			for (int k = 0; k < K; k++)
				sum += (double)mma_widen(w[n * K + k]) *
				       mma_widen(x[t * K + k]);
			worse(&worst, fabs(y.host[t * N + n] - sum));
		}
		return worst;
	}

	/* elements of the first @tokens with the chain's bits */
	size_t same(int tokens)
	{
		size_t hits = 0;

		for (size_t i = 0; i < (size_t)tokens * N; i++)
			hits += !memcmp(&chain[i], &other[i], 4);
		return hits;
	}
};

TEST(wgmma_beside_a_chain_of_mma)
{
	fixture f;
	int major = 0;

	cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, 0);
	CHECK(f.run_chain());
	printf("# {\"probe\":\"chain\",\"err\":%.3g}\n", f.error(f.chain, T));
	CHECK(f.error(f.chain, T) < 0.01);
	if (major != 9)
		SKIP("wgmma is of sm_90a only");
	CHECK(f.run(chain_wgmma, 64, 128, f.other));
	printf("# {\"probe\":\"wgmma\",\"same\":%zu,\"of\":%zu,\"err\":%.3g}\n",
	       f.same(T), f.other.host.size(), f.error(f.other, T));
	CHECK(f.error(f.other, T) < 0.01);
}

#if defined(CUBLASLT_ALGOS)
/* Mean microseconds of five runs after one, or -1. */
static float product_time(const struct product *p, fixture &f, int algo)
{
	cudaEvent_t begin, end;
	float ms = 0;

	cudaEventCreate(&begin);
	cudaEventCreate(&end);
	for (int i = 0; i < 6; i++) {
		if (i == 1)
			cudaEventRecord(begin);
		if (product_run(p, algo, f.w.device, f.x.device, f.other.device,
				0))
			return -1;
	}
	cudaEventRecord(end);
	if (cudaDeviceSynchronize() != cudaSuccess)
		return -1;
	cudaEventElapsedTime(&ms, begin, end);
	return ms * 200;
}

static int property(const cublasLtMatmulAlgo_t *algo,
		    cublasLtMatmulAlgoConfigAttributes_t which)
{
	int value = 0;
	size_t size;

	LT(cublasLtMatmulAlgoConfigGetAttribute)
	(algo, which, &value, sizeof value, &size);
	return value;
}

static void ask_algorithm(const struct product *p, fixture &f, int algo,
			  int tokens)
{
	const cublasLtMatmulAlgo_t *a = &p->found[algo].algo;
	float us = product_time(p, f, algo);

	f.other.fetch();
	printf("# {\"probe\":\"cublaslt\",\"t\":%d,\"algo\":%d,\"tile\":%d,"
	       "\"stages\":%d,\"splitk\":%d,\"custom\":%d,\"us\":%.1f,"
	       "\"same\":%zu,\"of\":%zu,\"err\":%.3g}\n",
	       tokens, property(a, CUBLASLT_ALGO_CONFIG_ID),
	       property(a, CUBLASLT_ALGO_CONFIG_TILE_ID),
	       property(a, CUBLASLT_ALGO_CONFIG_STAGES_ID),
	       property(a, CUBLASLT_ALGO_CONFIG_SPLITK_NUM),
	       property(a, CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION), us,
	       f.same(tokens), (size_t)tokens * N, f.error(f.other, tokens));
}
#endif

TEST(algorithms_of_cublaslt_beside_a_chain_of_mma)
{
	if (!cublaslt_open())
		SKIP("no libcublasLt.so here, or no cublasLt.h when this was "
		     "built");
#if defined(CUBLASLT_ALGOS)
	fixture f;

	CHECK(f.run_chain());
	for (int tokens : { 65, 128, 777, 1024 }) {
		static struct product p;

		CHECK(product_make(&p, N, K, tokens, CUDA_R_32F));
		for (int i = 0; i < p.nr_found; i++)
			ask_algorithm(&p, f, i, tokens);
	}
#endif
}
