/* SPDX-License-Identifier: MIT */
/*
 * ref.h - the ops of kernels/ref beside a kernel of the device: a model of one
 * layer whose weights a test fills, and steps of it.  Weights are F32 here, so
 * ref sees the very numbers that the device was given.
 */
#ifndef CUEMU_REF_H
#define CUEMU_REF_H

extern "C" {
#include "base/err.h"
#include "kernels/ops.h"
}

#include <cstdio>
#include <deque>
#include <vector>

struct ref_model {
	struct ops_shape shape;
	struct ops_ends ends = {};
	struct ops_layer layer = {};
	struct ops_ctx *ctx = nullptr;
	std::deque<std::vector<float>> memory;

	explicit ref_model(const struct ops_shape &s) : shape(s)
	{
		uint32_t wide = s.nr_heads * s.head_dim;
		uint32_t narrow = s.nr_kv_heads * s.head_dim;

		matrix(&ends.embed, s.vocab, s.dim);
		matrix(&ends.head, s.vocab, s.dim);
		matrix(&layer.q, wide, s.dim);
		matrix(&layer.k, narrow, s.dim);
		matrix(&layer.v, narrow, s.dim);
		matrix(&layer.o, s.dim, wide);
		matrix(&layer.gate, s.ffn, s.dim);
		matrix(&layer.up, s.ffn, s.dim);
		matrix(&layer.down, s.dim, s.ffn);
		layer.attn_norm = layer.mlp_norm = ends.norm = vector(s.dim, 1);
		layer.rope = vector((size_t)MAX_CONTEXT * s.rotary_dim, 1);
	}

	~ref_model()
	{
		ops_ref.close(ctx);
	}

	ref_model(const ref_model &) = delete;

	/* [n], until the model goes */
	float *vector(size_t n, float value = 0)
	{
		memory.emplace_back(n, value);
		return memory.back().data();
	}

	void matrix(struct weight *w, uint32_t rows, uint32_t cols)
	{
		*w = {};
		w->type = WEIGHT_F32;
		w->rows = rows;
		w->cols = cols;
		w->row_stride = cols * sizeof(float);
		w->data = vector((size_t)rows * cols);
	}

	static float *of(const struct weight &w)
	{
		return (float *)w.data;
	}

	/* once the weights are there */
	bool open()
	{
		struct ops_limits limits = {};
		struct err err = {};

		limits.max_rows = limits.max_logits = MAX_ROWS;
		limits.max_context = MAX_CONTEXT;
		limits.nr_blocks = NR_BLOCKS;
		limits.threads = 1;
		if (ops_ref.open(&shape, &limits, &ctx, &err) ||
		    ops_ref.load_ends(ctx, &ends, &err) ||
		    ops_ref.load_layer(ctx, 0, &layer, &err)) {
			printf("# ref: %s\n", err.text);
			return false;
		}
		return true;
	}

	std::vector<float> peek(enum ops_buffer which, uint32_t rows,
				uint32_t cols)
	{
		std::vector<float> v((size_t)rows * cols);

		ops_ref.peek(ctx, which, 0, rows, v.data());
		return v;
	}

	static constexpr uint32_t MAX_ROWS = 160, MAX_CONTEXT = 1024,
				  NR_BLOCKS = 256;
};

/* A step of one sequence whose blocks lie at @table. */
struct ref_step {
	struct step step = {};
	std::vector<uint32_t> token, position, slot, table, out_row;
	uint32_t query_start[2], context_len;

	ref_step(const std::vector<uint32_t> &tokens, uint32_t first,
		 const std::vector<uint32_t> &blocks)
		: token(tokens), table(blocks)
	{
		for (uint32_t i = 0; i < token.size(); i++) {
			uint32_t p = first + i;

			position.push_back(p);
			out_row.push_back(i);
			slot.push_back(table[p / OPS_BLOCK] * OPS_BLOCK +
				       p % OPS_BLOCK);
		}
		query_start[0] = 0;
		query_start[1] = step.nr_rows = (uint32_t)token.size();
		context_len = first + step.nr_rows;
		step.nr_seqs = 1;
		step.table_stride = (uint32_t)table.size();
		step.token = token.data();
		step.position = position.data();
		step.slot = slot.data();
		step.query_start = query_start;
		step.context_len = &context_len;
		step.block_table = table.data();
		step.nr_outs = step.nr_rows;
		step.out_row = out_row.data();
	}
};

#endif
