/* SPDX-License-Identifier: MIT */
#include "checkpoint/arch_out.h"
#include "base/err.h"
#include "base/gguf_out.h"
#include "checkpoint/arch.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *family, *name;
	bool window; /* attention.sliding_window is read back */
} names[] = {
	{ "LlamaForCausalLM", "llama", true },
	{ "MistralForCausalLM", "llama", true },
	{ "Qwen2ForCausalLM", "qwen2", false },
	{ "Qwen3ForCausalLM", "qwen3", false },
};

struct words {
	struct gguf_out *out;
	const char *name;
	char key[96];
};

static const char *key(struct words *w, const char *rest)
{
	snprintf(w->key, sizeof(w->key), "%s.%s", w->name, rest);
	return w->key;
}

static void u32(struct words *w, const char *rest, uint32_t v)
{
	gguf_out_u32(w->out, key(w, rest), v);
}

static void f32(struct words *w, const char *rest, double v)
{
	gguf_out_f32(w->out, key(w, rest), (float)v);
}

static int put_rope(struct words *w, const struct rope *r, struct err *err)
{
	double plain = 0.1 * log(r->factor) + 1;

	f32(w, "rope.freq_base", r->theta);
	if (r->kind != ROPE_LINEAR && r->kind != ROPE_YARN)
		return 0;
	gguf_out_str(w->out, key(w, "rope.scaling.type"),
		     r->kind == ROPE_YARN ? "yarn" : "linear");
	f32(w, "rope.scaling.factor", r->factor);
	if (r->kind == ROPE_LINEAR)
		return 0;
	if (!r->truncate)
		return err_set(err, -ENOTSUP,
			       "a yarn with truncate false has no words in a "
			       "GGUF file");
	u32(w, "rope.scaling.original_context_length", (uint32_t)r->original);
	if (r->beta_fast != 32)
		f32(w, "rope.scaling.yarn_beta_fast", r->beta_fast);
	if (r->beta_slow != 1)
		f32(w, "rope.scaling.yarn_beta_slow", r->beta_slow);
	if (fabs(r->attention / plain - 1) > 1e-9)
		f32(w, "rope.scaling.yarn_attn_factor", r->attention / plain);
	return 0;
}

static int put_window(struct words *w, const struct arch *a, bool can,
		      struct err *err)
{
	for (uint32_t i = 0; i < a->nr_layers; i++)
		if (a->window[i] != a->window[0] || (a->window[i] && !can))
			return err_set(err, -ENOTSUP,
				       "layer %u has a window of %u: a GGUF "
				       "file of %s cannot say it",
				       i, a->window[i], w->name);
	if (a->window[0])
		u32(w, "attention.sliding_window", a->window[0]);
	return 0;
}

static void put_ends(struct gguf_out *out, const struct arch *a)
{
	static const char *const keys[] = { "tokenizer.ggml.eos_token_id",
					    "tokenizer.ggml.eot_token_id",
					    "tokenizer.ggml.eom_token_id" };

	for (uint32_t i = 0; i < a->nr_eos && i < 3; i++)
		gguf_out_u32(out, keys[i], a->eos[i]);
}

static void put_generation(struct gguf_out *out,
			   const struct arch_generation *gen)
{
	if (gen->temperature > 0)
		gguf_out_f32(out, "general.sampling.temp", gen->temperature);
	if (gen->top_k)
		gguf_out_u32(out, "general.sampling.top_k", gen->top_k);
	if (gen->top_p > 0 && gen->top_p < 1)
		gguf_out_f32(out, "general.sampling.top_p", gen->top_p);
	if (gen->min_p > 0)
		gguf_out_f32(out, "general.sampling.min_p", gen->min_p);
	if (gen->repetition_penalty > 0 && gen->repetition_penalty != 1)
		gguf_out_f32(out, "general.sampling.penalty_repeat",
			     gen->repetition_penalty);
}

int arch_out(struct gguf_out *out, const struct arch *a,
	     const struct arch_generation *gen, struct err *err)
{
	struct words w = { .out = out };
	size_t i = 0;
	int ret;

	while (strcmp(names[i].family, a->family))
		i++;
	w.name = names[i].name;
	gguf_out_str(out, "general.architecture", w.name);
	u32(&w, "context_length", a->context);
	u32(&w, "embedding_length", a->dim);
	u32(&w, "block_count", a->nr_layers);
	u32(&w, "feed_forward_length", a->ffn);
	u32(&w, "attention.head_count", a->nr_heads);
	u32(&w, "attention.head_count_kv", a->nr_kv_heads);
	f32(&w, "attention.layer_norm_rms_epsilon", (double)a->norm_eps);
	u32(&w, "vocab_size", a->vocab);
	u32(&w, "attention.key_length", a->head_dim);
	u32(&w, "attention.value_length", a->head_dim);
	u32(&w, "rope.dimension_count", a->head_dim);
	ret = put_rope(&w, &a->rope, err);
	if (!ret)
		ret = put_window(&w, a, names[i].window, err);
	put_ends(out, a);
	put_generation(out, gen);
	return ret;
}

unsigned arch_out_divisors(const struct arch *a, float *ret)
{
	double stretched[ROPE_MAX_DIM / 2], plain[ROPE_MAX_DIM / 2];
	struct rope r = { .kind = ROPE_DEFAULT, .theta = a->rope.theta };

	if (a->rope.kind != ROPE_LLAMA3)
		return 0;
	rope_frequencies(&a->rope, a->head_dim, stretched);
	rope_frequencies(&r, a->head_dim, plain);
	for (uint32_t i = 0; i < a->head_dim / 2; i++)
		ret[i] = (float)(plain[i] / stretched[i]);
	return a->head_dim / 2;
}
