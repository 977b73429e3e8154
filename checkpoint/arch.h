/* SPDX-License-Identifier: MIT */
/*
 * arch.h - what config.json says a model is: one struct of checked numbers
 * (arch_gguf.h fills the same from a GGUF file).
 *
 * Model families differ little; arch.c holds the differences as rows of a
 * table, so a new family is a new row.  Understood are the forms that
 * transformers 4 writes (rope_theta, rope_scaling, torch_dtype) and those of
 * transformers 5 (rope_parameters, dtype).  The file is hostile: every number
 * has bounds such that no product of two of them overflows 64 bits, and each
 * refusal is one line that names file, field, what was found and what is
 * allowed.  What would change the function and is not understood (a
 * quantization or a rope that we do not have) is refused, never ignored.
 */
#ifndef CHECKPOINT_ARCH_H
#define CHECKPOINT_ARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "checkpoint/quant.h"
#include "checkpoint/rope.h"

struct err;

#define ARCH_MAX_LAYERS	  512u
#define ARCH_MAX_HEADS	  1024u
#define ARCH_MAX_HEAD_DIM 512u
#define ARCH_MAX_DIM	  (1u << 16)
#define ARCH_MAX_FFN	  (1u << 18)
#define ARCH_MAX_VOCAB	  (1u << 22)
#define ARCH_MAX_CONTEXT  ((1u << 24) - 1) /* what a commit word can count */
#define ARCH_MAX_EOS	  16u

struct arch {
	const char *family; /* static: "LlamaForCausalLM" */
	uint32_t vocab;	    /* rows of the embedding */
	uint32_t dim;	    /* hidden_size */
	uint32_t ffn;	    /* intermediate_size */
	uint32_t nr_layers;
	uint32_t nr_heads, nr_kv_heads; /* heads are a multiple of kv heads */
	uint32_t head_dim; /* even; heads * head_dim need not be dim */
	uint32_t context;  /* max_position_embeddings */
	float norm_eps;
	struct rope rope;
	bool tied;			   /* the head is the embedding */
	bool qkv_bias, out_bias, mlp_bias; /* tensors NAME.bias are there */
	bool qk_norm; /* RMSNorm on each head of q and k, before rope */
	/* rows of q and k: pair by pair, not half by half (arch_gguf.h) */
	bool qk_pairs;
	/* a token sees itself and window-1 before it; 0 = all */
	uint32_t window[ARCH_MAX_LAYERS]; /* [nr_layers] */
	struct quant quant;		  /* how matrices are kept */
	uint32_t nr_eos;		  /* 0: none named */
	uint32_t eos[ARCH_MAX_EOS];	  /* < vocab */
};

/* generation_config.json: what a request that is silent gets. */
struct arch_generation {
	uint32_t max_new_tokens; /* 0 = not given */
	float temperature; /* 0 = greedy: also where do_sample is not true */
	float top_p, min_p, repetition_penalty; /* 1, 0, 1 = off */
	uint32_t top_k;				/* 0 = off */
};

/*
 * Read @path (a config.json) into @arch, whole or not at all.  0, -EINVAL for
 * what the file says, or the errno of reading it.
 */
int arch_read(struct arch *arch, const char *path, struct err *err);

/*
 * Read @path (a generation_config.json) into @gen; a file that is not there
 * gives the defaults.  Its end ids, where it has any, replace arch->eos, as
 * transformers' generate() does.
 */
int arch_read_generation(struct arch_generation *gen, struct arch *arch,
			 const char *path, struct err *err);

#endif
