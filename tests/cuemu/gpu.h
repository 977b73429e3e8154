/* SPDX-License-Identifier: MIT */
/*
 * gpu.h - a backend over the CUDA op set, as llmd opens it: the library is
 * loaded, its kernels are emulated, its runtime is fake (runtime.h).  Or the
 * library that LLM_CUDA_LIBRARY names, on a GPU: `make check-gpu`.
 */
#ifndef CUEMU_GPU_H
#define CUEMU_GPU_H

#include "tests/cuemu/runtime.h"
#include "tests/model/drive.h"

#include <dlfcn.h>
#include <stdlib.h>

static inline const char *gpu_library(void)
{
	static char path[256];
	const char *build = getenv("LLM_BUILD");
	const char *real = getenv("LLM_CUDA_LIBRARY");

	if (real)
		return real;
	snprintf(path, sizeof(path), "%s/cuemu/libllm-cuda.so",
		 build ? build : "build");
	return path;
}

/* The library's own runtime. */
static inline void *gpu_symbol(const char *name)
{
	void *handle = dlopen(gpu_library(), RTLD_NOW | RTLD_LOCAL), *p;

	CHECK(handle);
	p = dlsym(handle, name);
	CHECK(p);
	return p;
}

static inline struct fake_cuda *gpu_runtime(void)
{
	return gpu_symbol("fake_cuda");
}

/* As after a start of the process. */
static inline void gpu_reset(void)
{
	void (*reset)(void);

	if (getenv("LLM_CUDA_LIBRARY"))
		return;
	*(void **)(void *)&reset = gpu_symbol("fake_cuda_reset");
	reset();
}

static inline struct backend_options gpu_options(const char *model)
{
	return (struct backend_options){
		.model = model,
		.library = gpu_library(),
		.threads = 2,
		.max_tokens_per_step = DRIVE_ROWS,
		.max_seqs = DRIVE_SEQS,
	};
}

static inline void gpu_open_opt(struct drive *d,
				const struct backend_options *opt)
{
	gpu_reset();
	drive_open_with(d, opt);
}

static inline void gpu_open_kv(struct drive *d, const char *model, bool kv_q8)
{
	struct backend_options opt = gpu_options(model);

	opt.kv = kv_q8 ? BACKEND_KV_Q8 : BACKEND_KV_AUTO;
	gpu_open_opt(d, &opt);
}

static inline void gpu_open(struct drive *d, const char *model)
{
	gpu_open_kv(d, model, false);
}

/* With plain matrices rounded. */
static inline void gpu_open_weights(struct drive *d, const char *model,
				    enum backend_weights weights)
{
	struct backend_options opt = gpu_options(model);

	opt.weights = weights;
	gpu_open_opt(d, &opt);
}

#endif
