/* SPDX-License-Identifier: MIT */
#include "checkpoint/arch.h"
#include "base/err.h"
#include "base/json.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* How a family says which layers have a window. */
enum window_rule {
	WINDOW_NEVER,
	WINDOW_ALWAYS, /* sliding_window on every layer, null = none */
	WINDOW_UPPER, /* use_sliding_window: layers from max_window_layers on */
};

/*
 * The differences.  Defaults are those of the family's config class in
 * transformers, which count where config.json is silent.
 */
static const struct family {
	const char *name;	/* architectures[0] */
	const char *model_type; /* where there is no architectures */
	uint32_t kv_heads;	/* default; 0 = as many as heads */
	uint32_t head_dim;	/* default; 0 = hidden_size / heads */
	uint32_t context;	/* default */
	enum window_rule window;
	bool qkv_bias;	     /* always there */
	bool attention_bias; /* the field decides: q, k, v and o */
	bool mlp_bias;	     /* the field decides */
	bool qk_norm;
} families[] = {
	/* clang-format off */
	{ "LlamaForCausalLM", "llama", 0, 0, 2048, WINDOW_NEVER,
	  .attention_bias = true, .mlp_bias = true },
	{ "MistralForCausalLM", "mistral", 8, 0, 131072, WINDOW_ALWAYS,
	  .qkv_bias = false },
	{ "Qwen2ForCausalLM", "qwen2", 32, 0, 32768, WINDOW_UPPER,
	  .qkv_bias = true },
	{ "Qwen3ForCausalLM", "qwen3", 32, 128, 32768, WINDOW_UPPER,
	  .attention_bias = true, .qk_norm = true },
	/* clang-format on */
};

#define NR_FAMILIES (sizeof(families) / sizeof(families[0]))

static const struct family *find_family(const char *where, const json_t *cfg,
					struct err *err)
{
	const json_t *list = json_object_get(cfg, "architectures");
	const char *name = json_string_value(json_array_get(list, 0));
	const char *type = NULL;

	if (!name && json_get_str(where, cfg, "model_type", &type, err))
		return NULL;
	for (size_t i = 0; i < NR_FAMILIES; i++) {
		const struct family *f = &families[i];

		if (name ? !strcmp(name, f->name)
			 : type && !strcmp(type, f->model_type))
			return f;
	}
	err_set(err, -EINVAL,
		"%s: %s is %s, supported are LlamaForCausalLM, "
		"MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM",
		where, name ? "architectures" : "model_type",
		name   ? name
		: type ? type
		       : "absent");
	return NULL;
}

/* json_get_u32() of a field that must be there. */
static int need_u32(const char *where, const json_t *cfg, const char *key,
		    uint32_t max, uint32_t *ret, struct err *err)
{
	if (!json_has(cfg, key))
		return err_set(err, -EINVAL,
			       "%s: %s is absent, needed: 1 to %u", where, key,
			       max);
	return json_get_u32(where, cfg, key, 1, max, ret, err);
}

static int read_sizes(struct arch *a, const struct family *f, const char *where,
		      const json_t *cfg, struct err *err)
{
	double eps = 1e-6;
	int ret;

	a->context = f->context;
	if ((ret = need_u32(where, cfg, "vocab_size", ARCH_MAX_VOCAB, &a->vocab,
			    err)) ||
	    (ret = need_u32(where, cfg, "hidden_size", ARCH_MAX_DIM, &a->dim,
			    err)) ||
	    (ret = need_u32(where, cfg, "intermediate_size", ARCH_MAX_FFN,
			    &a->ffn, err)) ||
	    (ret = need_u32(where, cfg, "num_hidden_layers", ARCH_MAX_LAYERS,
			    &a->nr_layers, err)) ||
	    (ret = need_u32(where, cfg, "num_attention_heads", ARCH_MAX_HEADS,
			    &a->nr_heads, err)))
		return ret;
	a->nr_kv_heads = f->kv_heads ? f->kv_heads : a->nr_heads;
	if ((ret = json_get_u32(where, cfg, "num_key_value_heads", 1,
				ARCH_MAX_HEADS, &a->nr_kv_heads, err)) ||
	    (ret = json_get_u32(where, cfg, "max_position_embeddings", 1,
				ARCH_MAX_CONTEXT, &a->context, err)) ||
	    (ret = json_get_f64(where, cfg, "rms_norm_eps", 1e-20, 0.1, &eps,
				err)))
		return ret;
	a->norm_eps = (float)eps;
	return 0;
}

static int read_heads(struct arch *a, const struct family *f, const char *where,
		      const json_t *cfg, struct err *err)
{
	int ret;

	a->head_dim = f->head_dim;
	ret = json_get_u32(where, cfg, "head_dim", 2, ARCH_MAX_HEAD_DIM,
			   &a->head_dim, err);
	if (ret)
		return ret;
	if (!a->head_dim && a->dim % a->nr_heads)
		return err_set(err, -EINVAL,
			       "%s: num_attention_heads is %u, allowed without "
			       "head_dim are divisors of hidden_size, %u",
			       where, a->nr_heads, a->dim);
	if (!a->head_dim)
		a->head_dim = a->dim / a->nr_heads;
	/* rope turns pairs */
	if (a->head_dim % 2 || a->head_dim > ARCH_MAX_HEAD_DIM)
		return err_set(
			err, -EINVAL,
			"%s: head_dim is %u, allowed are even numbers to "
			"%u",
			where, a->head_dim, ARCH_MAX_HEAD_DIM);
	if (a->nr_heads % a->nr_kv_heads)
		return err_set(err, -EINVAL,
			       "%s: num_key_value_heads is %u, allowed are "
			       "divisors of num_attention_heads, %u",
			       where, a->nr_kv_heads, a->nr_heads);
	return 0;
}

/* A field we understand in one value only: anything else is refused. */
static int only_str(const char *where, const json_t *cfg, const char *key,
		    const char *want, struct err *err)
{
	const char *s = want;
	int ret = json_get_str(where, cfg, key, &s, err);

	if (!ret && strcmp(s, want))
		ret = err_set(err, -EINVAL, "%s: %s is %s, supported is %s",
			      where, key, s, want);
	return ret;
}

static int read_switches(struct arch *a, const struct family *f,
			 const char *where, const json_t *cfg, struct err *err)
{
	bool attention_bias = false, mlp_bias = false;
	int ret;

	a->tied = false;
	if ((ret = json_get_bool(where, cfg, "tie_word_embeddings", &a->tied,
				 err)) ||
	    (ret = json_get_bool(where, cfg, "attention_bias", &attention_bias,
				 err)) ||
	    (ret = json_get_bool(where, cfg, "mlp_bias", &mlp_bias, err)) ||
	    (ret = only_str(where, cfg, "hidden_act", "silu", err)))
		return ret;
	attention_bias = attention_bias && f->attention_bias;
	a->qkv_bias = f->qkv_bias || attention_bias;
	a->out_bias = attention_bias;
	a->mlp_bias = f->mlp_bias && mlp_bias;
	a->qk_norm = f->qk_norm;
	return quant_read(&a->quant, where, cfg, err);
}

static const struct {
	const char *name;
	enum rope_kind kind;
} rope_kinds[] = {
	{ "default", ROPE_DEFAULT },
	{ "linear", ROPE_LINEAR },
	{ "llama3", ROPE_LLAMA3 },
	{ "yarn", ROPE_YARN },
};

static int read_rope_kind(struct rope *r, const char *where,
			  const json_t *scaling, struct err *err)
{
	const char *name = NULL;
	int ret;

	/* "type" is the older key, "rope_type" the newer and stronger */
	if ((ret = json_get_str(where, scaling, "type", &name, err)) ||
	    (ret = json_get_str(where, scaling, "rope_type", &name, err)))
		return ret;
	r->kind = ROPE_DEFAULT;
	if (!name)
		return 0;
	for (size_t i = 0; i < sizeof(rope_kinds) / sizeof(*rope_kinds); i++) {
		if (!strcmp(name, rope_kinds[i].name)) {
			r->kind = rope_kinds[i].kind;
			return 0;
		}
	}
	return err_set(err, -EINVAL,
		       "%s: rope_type is %s, supported are default, linear, "
		       "llama3, yarn",
		       where, name);
}

static int need_f64(const char *where, const json_t *obj, const char *key,
		    double min, double max, double *ret, struct err *err)
{
	if (!json_has(obj, key))
		return err_set(err, -EINVAL,
			       "%s: %s is absent, needed: %g to %g", where, key,
			       min, max);
	return json_get_f64(where, obj, key, min, max, ret, err);
}

static int read_llama3(struct rope *r, const char *where, const json_t *s,
		       struct err *err)
{
	int ret;

	if ((ret = need_f64(where, s, "factor", 1, 1e6, &r->factor, err)) ||
	    (ret = need_f64(where, s, "low_freq_factor", 1e-3, 1e6,
			    &r->low_freq, err)) ||
	    (ret = need_f64(where, s, "high_freq_factor", 1e-3, 1e6,
			    &r->high_freq, err)) ||
	    (ret = need_f64(where, s, "original_max_position_embeddings", 1,
			    ARCH_MAX_CONTEXT, &r->original, err)))
		return ret;
	if (r->high_freq <= r->low_freq)
		return err_set(err, -EINVAL,
			       "%s: high_freq_factor is %g, allowed is more "
			       "than low_freq_factor, %g",
			       where, r->high_freq, r->low_freq);
	return 0;
}

/* Section 3.4 of the paper; mscale as DeepSeek's checkpoints write it. */
static double yarn_scale(double factor, double mscale)
{
	return factor <= 1 ? 1 : 0.1 * mscale * log(factor) + 1;
}

static int read_yarn(struct rope *r, double context, const char *where,
		     const json_t *s, struct err *err)
{
	double mscale = 0, mscale_all = 0;
	int ret;

	r->original = context;
	r->beta_fast = 32;
	r->beta_slow = 1;
	r->truncate = true;
	if ((ret = json_get_f64(where, s, "original_max_position_embeddings", 1,
				ARCH_MAX_CONTEXT, &r->original, err)))
		return ret;
	r->factor = fmax(context / r->original, 1);
	if ((ret = json_get_f64(where, s, "factor", 1, 1e6, &r->factor, err)) ||
	    (ret = json_get_f64(where, s, "beta_fast", 1e-3, 1e6, &r->beta_fast,
				err)) ||
	    (ret = json_get_f64(where, s, "beta_slow", 1e-3, 1e6, &r->beta_slow,
				err)) ||
	    (ret = json_get_f64(where, s, "mscale", 0, 1e3, &mscale, err)) ||
	    (ret = json_get_f64(where, s, "mscale_all_dim", 0, 1e3, &mscale_all,
				err)) ||
	    (ret = json_get_bool(where, s, "truncate", &r->truncate, err)))
		return ret;
	if (r->beta_fast <= r->beta_slow)
		return err_set(err, -EINVAL,
			       "%s: beta_fast is %g, allowed is more than "
			       "beta_slow, %g",
			       where, r->beta_fast, r->beta_slow);
	r->attention = yarn_scale(r->factor, 1);
	if (mscale > 0 && mscale_all > 0)
		r->attention = yarn_scale(r->factor, mscale) /
			       yarn_scale(r->factor, mscale_all);
	return json_get_f64(where, s, "attention_factor", 1e-3, 1e3,
			    &r->attention, err);
}

/*
 * The object that describes the rope, or NULL: rope_parameters (transformers
 * 5) before rope_scaling (4).  A rope a kind of layer, objects in the object,
 * is another model.
 */
static int find_rope(const char *where, const json_t *cfg, const json_t **ret,
		     struct err *err)
{
	const char *field = json_has(cfg, "rope_parameters") ? "rope_parameters"
							     : "rope_scaling";
	json_t *obj = json_object_get(cfg, field), *v;
	const char *key;

	*ret = json_is_null(obj) ? NULL : obj;
	if (!*ret)
		return 0;
	if (!json_is_object(obj))
		return err_set(err, -EINVAL, "%s: %s is not an object", where,
			       field);
	json_object_foreach(obj, key, v)
	{
		if (json_is_object(v))
			return err_set(err, -EINVAL,
				       "%s: %s has its own %s, supported is "
				       "one rope for all layers",
				       where, key, field);
	}
	return 0;
}

static int read_rope(struct arch *a, const char *where, const json_t *cfg,
		     struct err *err)
{
	const json_t *scaling;
	struct rope *r = &a->rope;
	double partial = 1;
	int ret = find_rope(where, cfg, &scaling, err);

	if (ret)
		return ret;
	r->theta = 10000;
	if ((ret = json_get_f64(where, cfg, "rope_theta", 1.001, 1e15,
				&r->theta, err)) ||
	    (ret = json_get_f64(where, scaling, "rope_theta", 1.001, 1e15,
				&r->theta, err)) ||
	    (ret = json_get_f64(where, cfg, "partial_rotary_factor", 0, 1,
				&partial, err)) ||
	    (ret = json_get_f64(where, scaling, "partial_rotary_factor", 0, 1,
				&partial, err)) ||
	    (ret = read_rope_kind(r, where, scaling, err)))
		return ret;
	if (partial != 1)
		return err_set(
			err, -EINVAL,
			"%s: partial_rotary_factor is %g, supported is 1",
			where, partial);
	if (r->kind == ROPE_LINEAR)
		return need_f64(where, scaling, "factor", 1, 1e6, &r->factor,
				err);
	if (r->kind == ROPE_LLAMA3)
		return read_llama3(r, where, scaling, err);
	if (r->kind == ROPE_YARN)
		return read_yarn(r, a->context, where, scaling, err);
	return 0;
}

/* layer_types of transformers 5 says for each layer what else is a rule. */
static int read_layer_types(struct arch *a, uint32_t window, const char *where,
			    const json_t *types, struct err *err)
{
	if (json_array_size(types) != a->nr_layers)
		return err_set(err, -EINVAL,
			       "%s: layer_types has %zu entries, needed: "
			       "num_hidden_layers, %u",
			       where, json_array_size(types), a->nr_layers);
	for (uint32_t i = 0; i < a->nr_layers; i++) {
		const char *s = json_string_value(json_array_get(types, i));

		if (s && !strcmp(s, "full_attention")) {
			a->window[i] = 0;
		} else if (s && !strcmp(s, "sliding_attention") && window) {
			a->window[i] = window;
		} else {
			return err_set(err, -EINVAL,
				       "%s: layer_types[%u] is %s, allowed are "
				       "full_attention and, with a "
				       "sliding_window, sliding_attention",
				       where, i, s ? s : "not a string");
		}
	}
	return 0;
}

static int read_windows(struct arch *a, const struct family *f,
			const char *where, const json_t *cfg, struct err *err)
{
	const json_t *given = json_object_get(cfg, "sliding_window");
	const json_t *types = json_object_get(cfg, "layer_types");
	uint32_t window = given ? 0 : 4096, from = 28;
	bool use = false;
	int ret;

	memset(a->window, 0, sizeof(a->window));
	if (f->window == WINDOW_NEVER)
		return 0;
	if ((ret = json_get_u32(where, cfg, "sliding_window", 1, UINT32_MAX,
				&window, err)) ||
	    (ret = json_get_bool(where, cfg, "use_sliding_window", &use,
				 err)) ||
	    (ret = json_get_u32(where, cfg, "max_window_layers", 0, UINT32_MAX,
				&from, err)))
		return ret;
	if (f->window == WINDOW_ALWAYS)
		from = 0;
	else if (!use)
		window = 0;
	if (types && !json_is_null(types))
		return read_layer_types(a, window, where, types, err);
	for (uint32_t i = from; i < a->nr_layers; i++)
		a->window[i] = window;
	return 0;
}

/* eos_token_id: a number, a list of them, null or absent. */
static int read_eos(struct arch *a, const char *where, const json_t *cfg,
		    struct err *err)
{
	const json_t *v = json_object_get(cfg, "eos_token_id");
	size_t n = json_is_array(v) ? json_array_size(v) : 1;

	if (!v || json_is_null(v))
		return 0;
	if (n > ARCH_MAX_EOS)
		return err_set(err, -EINVAL,
			       "%s: eos_token_id has %zu entries, allowed %u",
			       where, n, ARCH_MAX_EOS);
	for (size_t i = 0; i < n; i++) {
		const json_t *e = json_is_array(v) ? json_array_get(v, i) : v;
		json_int_t id = json_integer_value(e);

		if (!json_is_integer(e))
			return err_set(err, -EINVAL,
				       "%s: eos_token_id is neither an integer "
				       "nor a list of them",
				       where);
		if (id < 0 || id >= a->vocab)
			return err_set(err, -EINVAL,
				       "%s: eos_token_id is "
				       "%" JSON_INTEGER_FORMAT
				       ", allowed 0 to %u",
				       where, id, a->vocab - 1);
		a->eos[i] = (uint32_t)id;
	}
	a->nr_eos = (uint32_t)n;
	return 0;
}

static json_t *read_object(const char *path, struct err *err)
{
	json_t *j = json_read_file(path, err);

	if (j && !json_is_object(j)) {
		err_set(err, -EINVAL, "%s: not a JSON object", path);
		json_decref(j);
		return NULL;
	}
	return j;
}

int arch_read(struct arch *arch, const char *path, struct err *err)
{
	const struct family *f;
	struct err local = { 0 };
	struct arch a = { 0 };
	json_t *cfg;
	int ret = -EINVAL;

	if (!err)
		err = &local;
	cfg = read_object(path, err);
	if (!cfg)
		return err->code;
	f = find_family(path, cfg, err);
	if (!f)
		goto out;
	a.family = f->name;
	if ((ret = read_sizes(&a, f, path, cfg, err)) ||
	    (ret = read_heads(&a, f, path, cfg, err)) ||
	    (ret = read_switches(&a, f, path, cfg, err)) ||
	    (ret = read_rope(&a, path, cfg, err)) ||
	    (ret = read_windows(&a, f, path, cfg, err)) ||
	    (ret = read_eos(&a, path, cfg, err)))
		goto out;
	*arch = a;
out:
	json_decref(cfg);
	return ret;
}

static int read_generation(struct arch_generation *gen, struct arch *arch,
			   const char *path, const json_t *cfg, struct err *err)
{
	double temperature = 1, top_p = 1, min_p = 0, repetition = 1;
	bool sample = false;
	int ret;

	if ((ret = json_get_bool(path, cfg, "do_sample", &sample, err)) ||
	    (ret = json_get_u32(path, cfg, "max_new_tokens", 1,
				ARCH_MAX_CONTEXT, &gen->max_new_tokens, err)) ||
	    (ret = json_get_f64(path, cfg, "temperature", 0, 100, &temperature,
				err)) ||
	    (ret = json_get_f64(path, cfg, "top_p", 1e-6, 1, &top_p, err)) ||
	    (ret = json_get_f64(path, cfg, "min_p", 0, 1, &min_p, err)) ||
	    (ret = json_get_f64(path, cfg, "repetition_penalty", 1e-3, 1e3,
				&repetition, err)) ||
	    (ret = json_get_u32(path, cfg, "top_k", 0, UINT32_MAX, &gen->top_k,
				err)) ||
	    (ret = read_eos(arch, path, cfg, err)))
		return ret;
	gen->temperature = sample ? (float)temperature : 0;
	gen->top_p = (float)top_p;
	gen->min_p = (float)min_p;
	gen->repetition_penalty = (float)repetition;
	return 0;
}

int arch_read_generation(struct arch_generation *gen, struct arch *arch,
			 const char *path, struct err *err)
{
	struct err local = { 0 };
	json_t *cfg;
	int ret;

	if (!err)
		err = &local;
	memset(gen, 0, sizeof(*gen));
	gen->top_p = 1;
	gen->repetition_penalty = 1;
	if (access(path, F_OK))
		return 0;
	cfg = read_object(path, err);
	if (!cfg)
		return err->code;
	ret = read_generation(gen, arch, path, cfg, err);
	json_decref(cfg);
	return ret;
}
