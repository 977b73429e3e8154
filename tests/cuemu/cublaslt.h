/* SPDX-License-Identifier: MIT */
/*
 * cublaslt.h - products by cuBLASLt, opened while running: to compare with, and
 * never linked.  cublaslt_open() is false where there is no such library, or no
 * header when this was built.
 */
#ifndef CUEMU_CUBLASLT_H
#define CUEMU_CUBLASLT_H

#include <dlfcn.h>
#include <stddef.h>

#if defined(__has_include) && __has_include(<cublasLt.h>)
#include <cublasLt.h>

static void *cublaslt_library;
static cublasLtHandle_t cublaslt;
#define LT(name)	   ((decltype(&name))dlsym(cublaslt_library, #name))
#define CUBLASLT_WORKSPACE ((size_t)32 << 20)
#define CUBLASLT_ALGOS	   32

static bool cublaslt_open(void)
{
	static const char *const names[] = { "libcublasLt.so.13",
					     "libcublasLt.so.12" };

	for (const char *name : names)
		if (!cublaslt_library)
			cublaslt_library = dlopen(name, RTLD_NOW);
	return cublaslt_library && (cublaslt || !LT(cublasLtCreate)(&cublaslt));
}

/*
 * y[t][n] = sum over k of x[t][k] w[n][k], w and x bf16, summed as F32 without
 * splitting k over CTAs; as cuBLASLt sees it, column by column, y = w^T x.
 */
struct product {
	cublasLtMatmulDesc_t what;
	cublasLtMatrixLayout_t w, x, y;
	cublasLtMatmulPreference_t wish;
	cublasLtMatmulHeuristicResult_t found[CUBLASLT_ALGOS];
	int nr_found; /* algorithms that it would take, best first */
	void *workspace;
};

/* @y: CUDA_R_32F or CUDA_R_16BF.  Never undone: a program asks a few. */
static bool product_make(struct product *p, int n, int k, int tokens,
			 cudaDataType_t y)
{
	cublasOperation_t transposed = CUBLAS_OP_T;
	uint32_t no_split = CUBLASLT_REDUCTION_SCHEME_NONE;
	size_t bytes = CUBLASLT_WORKSPACE;

	return cudaMalloc(&p->workspace, CUBLASLT_WORKSPACE) == cudaSuccess &&
	       !LT(cublasLtMatmulDescCreate)(&p->what, CUBLAS_COMPUTE_32F,
					     CUDA_R_32F) &&
	       !LT(cublasLtMatmulDescSetAttribute)(p->what,
						   CUBLASLT_MATMUL_DESC_TRANSA,
						   &transposed,
						   sizeof transposed) &&
	       !LT(cublasLtMatrixLayoutCreate)(&p->w, CUDA_R_16BF, k, n, k) &&
	       !LT(cublasLtMatrixLayoutCreate)(&p->x, CUDA_R_16BF, k, tokens,
					       k) &&
	       !LT(cublasLtMatrixLayoutCreate)(&p->y, y, n, tokens, n) &&
	       !LT(cublasLtMatmulPreferenceCreate)(&p->wish) &&
	       !LT(cublasLtMatmulPreferenceSetAttribute)(
		       p->wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
		       &no_split, sizeof no_split) &&
	       !LT(cublasLtMatmulPreferenceSetAttribute)(
		       p->wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
		       &bytes, sizeof bytes) &&
	       !LT(cublasLtMatmulAlgoGetHeuristic)(cublaslt, p->what, p->w,
						   p->x, p->y, p->y, p->wish,
						   CUBLASLT_ALGOS, p->found,
						   &p->nr_found);
}

/* By the algorithm @algo of those found; 0 or -1. */
static int product_run(const struct product *p, int algo, const void *w,
		       const void *x, void *y, cudaStream_t stream)
{
	float one = 1, zero = 0;

	return LT(cublasLtMatmul)(cublaslt, p->what, &one, w, p->w, x, p->x,
				  &zero, y, p->y, y, p->y, &p->found[algo].algo,
				  p->workspace, CUBLASLT_WORKSPACE, stream)
		       ? -1
		       : 0;
}

#else

typedef int cudaDataType_t;
#define CUDA_R_16BF 0
#define CUDA_R_32F  0

struct product {
	int nr_found;
};

static bool cublaslt_open(void)
{
	return false;
}

static inline bool product_make(struct product *p, int n, int k, int tokens,
				cudaDataType_t y)
{
	return false;
}

static inline int product_run(const struct product *p, int algo, const void *w,
			      const void *x, void *y, cudaStream_t stream)
{
	return -1;
}
#endif

#endif
