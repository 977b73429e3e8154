/* SPDX-License-Identifier: MIT */
#include "checkpoint/names.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct pair {
	const char *gguf, *hf;
};

/* The stem; ".weight" or ".bias" follows in both. */
static const struct pair ends[] = {
	{ "token_embd", "model.embed_tokens" },
	{ "output_norm", "model.norm" },
	{ "output", "lm_head" },
};

static const struct pair in_layer[] = {
	{ "attn_norm", "input_layernorm" },
	{ "attn_q", "self_attn.q_proj" },
	{ "attn_k", "self_attn.k_proj" },
	{ "attn_v", "self_attn.v_proj" },
	{ "attn_output", "self_attn.o_proj" },
	{ "attn_q_norm", "self_attn.q_norm" },
	{ "attn_k_norm", "self_attn.k_norm" },
	{ "ffn_norm", "post_attention_layernorm" },
	{ "ffn_gate", "mlp.gate_proj" },
	{ "ffn_up", "mlp.up_proj" },
	{ "ffn_down", "mlp.down_proj" },
};

#define LENGTH(a) (sizeof(a) / sizeof((a)[0]))

/* The partner of the stem @s[@len] among @pairs, or NULL. */
static const char *partner(const struct pair *pairs, size_t n, bool to_gguf,
			   const char *s, size_t len)
{
	for (size_t i = 0; i < n; i++) {
		const char *from = to_gguf ? pairs[i].hf : pairs[i].gguf;

		if (strlen(from) == len && !memcmp(from, s, len))
			return to_gguf ? pairs[i].gguf : pairs[i].hf;
	}
	return NULL;
}

static void translate(const char *name, bool to_gguf, char *ret)
{
	const char *prefix = to_gguf ? "model.layers." : "blk.";
	const char *layer = to_gguf ? "blk." : "model.layers.";
	const char *suffix = strrchr(name, '.'), *stem, *to;
	size_t n = strlen(prefix), digits;

	if (!suffix) {
		snprintf(ret, NAMES_MAX, "%s", name);
		return;
	}
	to = partner(ends, LENGTH(ends), to_gguf, name,
		     (size_t)(suffix - name));
	if (to) {
		snprintf(ret, NAMES_MAX, "%s%s", to, suffix);
		return;
	}
	digits = strncmp(name, prefix, n) ? 0 : strspn(name + n, "0123456789");
	stem = name + n + digits + 1;
	if (digits && stem[-1] == '.' && stem < suffix)
		to = partner(in_layer, LENGTH(in_layer), to_gguf, stem,
			     (size_t)(suffix - stem));
	if (to)
		snprintf(ret, NAMES_MAX, "%s%.*s.%s%s", layer, (int)digits,
			 name + n, to, suffix);
	else
		snprintf(ret, NAMES_MAX, "%s", name);
}

void names_from_gguf(const char *name, char ret[NAMES_MAX])
{
	translate(name, false, ret);
}

void names_to_gguf(const char *name, char ret[NAMES_MAX])
{
	translate(name, true, ret);
}
