/* SPDX-License-Identifier: MIT */
/*
 * backend.h - who computes a step: one struct of functions.
 *
 * Two exist: `null` (no model; a token is a fixed function of seed and
 * position, for transport tests) and `model` (the transformer over an op
 * table).  The engine thread calls run(); nobody else calls anything after
 * open.  Only daemon/main.c knows which backends there are.
 */
#ifndef MODEL_BACKEND_H
#define MODEL_BACKEND_H

#include <stdbool.h>
#include <stdint.h>

struct batch;
struct err;

#define MODEL_MAX_EOS 16u

/* What the rest of the daemon must know of a model; constant after open. */
struct model_info {
	char name[64];	    /* for people: the directory's last part */
	uint8_t digest[32]; /* of weights and config: same digest, same function
			     */
	uint64_t arith;	    /* arithmetic id: same id and digest, same tokens */
	uint32_t vocab;	    /* rows of the embedding: ids are < vocab */
	uint32_t context;   /* most tokens a sequence may hold */
	uint32_t kv_token_bytes; /* KV of one token, all layers */
	uint32_t nr_blocks;	 /* KV blocks in the pool, block 0 included */
	uint64_t parameters;
	uint32_t nr_eos;
	uint32_t eos[MODEL_MAX_EOS];
	/* generation_config.json; defaults where a request is silent */
	uint32_t max_new_tokens; /* 0 = not given */
	float temperature, top_p, min_p, repetition_penalty;
	uint32_t top_k;
};

struct backend {
	struct model_info info;
	/*
	 * Compute @batch: write KV, fill the results of batch->out.  Must not
	 * allocate.  0, or -EIO when the device failed: the engine process then
	 * ends and is restarted (invariant 4 brings every stream back).
	 */
	int (*run)(struct backend *be, struct batch *batch);
	/*
	 * Optional, both or none: a backend that computes beside its caller.
	 * submit() begins to compute @batch, of one row or more, and keeps
	 * nothing of it but its place; collect() waits for the oldest that was
	 * submitted, which is @batch, and for nothing after it, and fills its
	 * results.  BACKEND_STEPS may be under way, steps run in the order they
	 * are submitted, and a token may be BATCH_LATE.  As run(): no
	 * allocation, 0 or -EIO.  run() only where nothing is under way.
	 */
#define BACKEND_STEPS 2u
	int (*submit)(struct backend *be, struct batch *batch);
	int (*collect)(struct backend *be, struct batch *batch);
	/*
	 * Optional: the bytes of @token where there is no vocabulary (null).
	 * Writes at most 16 bytes to @buf, returns how many.
	 */
	uint32_t (*piece)(const struct backend *be, uint32_t token,
			  uint8_t *buf);
	bool ascii; /* all pieces are ASCII */
	/* Frees all, @be included. */
	void (*close)(struct backend *be);
};

/* How keys and values are kept; each is another arithmetic. */
enum backend_kv {
	/* F16 where weights are packed, else F32; on a device BF16 */
	BACKEND_KV_AUTO,
	BACKEND_KV_F32,
	BACKEND_KV_F16,
	BACKEND_KV_Q8,
};

/*
 * What becomes of plain matrices of layers, in the order of ops.h; but for AS_IS
 * each is another arithmetic, and but for INT8 a device's.
 */
enum backend_weights {
	BACKEND_WEIGHTS_AS_IS,
	BACKEND_WEIGHTS_INT8, /* W8A8 */
	BACKEND_WEIGHTS_FP8,
	BACKEND_WEIGHTS_INT4,
};

/* How to open one; the fields that a backend does not use are ignored. */
struct backend_options {
	const char *model; /* path: a directory or a GGUF file */
	uint64_t kv_bytes; /* memory for KV; 0 = a default that fits */
	enum backend_kv kv;
	enum backend_weights weights;
	bool weights_file;    /* computed on as the file has them, for good */
	uint32_t max_context; /* 0 = the model's own */
	uint32_t max_tokens_per_step; /* rows of the largest batch */
	uint32_t max_seqs;	      /* sequences of the largest batch */
	uint32_t threads;	      /* 0 = the CPUs we may use */
	const char *ops; /* op set ("ref", "avx2", ..); NULL = the fastest */
	/* or the library that has it (libllm-cuda.so), for a device: */
	const char *library;
	bool each_op;	     /* ops are called one by one, by a test */
	uint32_t device;     /* which one */
	uint64_t gpu_memory; /* bytes of it that may be used; 0 = a share */
	uint32_t gpu_share;  /* thousandths; 0 = a default */
	/*
	 * Called while loading, from the opening thread, with bytes of weights:
	 * first 0, at the end @total, also where loading failed.  May be NULL
	 */
	void (*progress)(void *arg, uint64_t done, uint64_t total);
	void *progress_arg;
};

/* Each returns 0 and *ret_be, or a negative errno and @err. */
int null_open(const struct backend_options *opt, struct backend **ret_be,
	      struct err *err);
int model_open(const struct backend_options *opt, struct backend **ret_be,
	       struct err *err);

#endif
