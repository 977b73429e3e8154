/* SPDX-License-Identifier: MIT */
/*
 * cmd_plan.c - llm plan: what fits in how much memory.
 *
 * While it serves, llmd holds the weights (the mapped file or its copy), the
 * KV cache, and ENGINE_BYTES at most for all the rest.  KV is handed out in
 * blocks of 16 tokens; a request takes the blocks of its prompt and of what
 * it generates.  The KV types are those of llmd's --kv-type, which keeps f16
 * where weights are packed and f32 where not, unless it is told; q8 is one byte
 * a number and a scale of 4 bytes a token, layer and head, for keys and for
 * values.
 */
#include "tools/args.h"
#include "tools/cmd.h"
#include "tools/words.h"
#include "base/err.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/figures.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENGINE_BYTES (60ull << 20)
#define BLOCK	     16u /* tokens of a KV block */
#define MAX_LENGTHS  20u

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = { "text", "json", NULL };

enum kv_type { KV_F32, KV_F16, KV_Q8, NR_KV_TYPES };
static const char *const kv_names[NR_KV_TYPES] = { "f32", "f16", "q8" };

struct plan {
	const struct checkpoint *c;
	uint64_t parameters, weight_bytes;
	bool guessed;	 /* weight_bytes is 2 a parameter: no file says it */
	uint64_t memory; /* bytes, given or what is available here */
	bool given;
	uint64_t kv_bytes; /* of memory: what is left for KV */
	uint32_t context;  /* tokens a sequence, asked for or the model's */
	uint64_t token_bytes[NR_KV_TYPES];
	uint32_t lengths[MAX_LENGTHS],
		nr_lengths; /* ascending; last: context */
};

/* What the machine would give now; 0: it does not say. */
static uint64_t available(void)
{
	FILE *f = fopen("/proc/meminfo", "re");
	uint64_t kib = 0;
	char line[128];

	while (f && !kib && fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %" SCNu64, &kib);
	if (f)
		fclose(f);
	return kib * 1024;
}

static void make_plan(struct plan *p, const struct checkpoint *c,
		      uint64_t memory, uint32_t context)
{
	const struct arch *a = &c->arch;
	uint64_t kv = figures_kv_numbers(a), used;

	*p = (struct plan){ .c = c, .given = memory != 0 };
	p->parameters = figures_parameters(a);
	p->guessed = !c->tensors.nr;
	p->weight_bytes = p->guessed ? 2 * p->parameters
				     : figures_served(a, &c->tensors);
	p->memory = memory ? memory : available();
	p->context = context ? context : a->context;
	p->token_bytes[KV_F32] = 4 * kv;
	p->token_bytes[KV_F16] = 2 * kv;
	p->token_bytes[KV_Q8] = kv + 4 * (kv / a->head_dim);
	used = p->weight_bytes + ENGINE_BYTES;
	p->kv_bytes = p->memory > used ? p->memory - used : 0;
	for (uint32_t n = 512;
	     n < p->context && p->nr_lengths < MAX_LENGTHS - 1; n *= 2)
		p->lengths[p->nr_lengths++] = n;
	p->lengths[p->nr_lengths++] = p->context;
}

/* How many requests of @tokens run at once; KV blocks are whole. */
static uint64_t requests(const struct plan *p, enum kv_type kv, uint32_t tokens)
{
	uint64_t blocks = (tokens + BLOCK - 1) / BLOCK;

	return p->kv_bytes / (blocks * BLOCK * p->token_bytes[kv]);
}

static int print_json(const struct plan *p)
{
	const struct arch *a = &p->c->arch;
	json_t *bytes = json_object(), *list = json_array(), *o;

	for (int k = 0; k < NR_KV_TYPES; k++)
		json_object_set_new(
			bytes, kv_names[k],
			json_integer((json_int_t)p->token_bytes[k]));
	for (uint32_t i = 0; i < p->nr_lengths; i++) {
		o = json_pack("{s:I}", "tokens", (json_int_t)p->lengths[i]);
		for (int k = 0; k < NR_KV_TYPES; k++)
			json_object_set_new(
				o, kv_names[k],
				json_integer((json_int_t)requests(
					p, (enum kv_type)k, p->lengths[i])));
		json_array_append_new(list, o);
	}
	o = json_pack("{s:s, s:I, s:I, s:b, s:i, s:i, s:i, s:I, s:I, s:o, s:I, "
		      "s:I, s:I, s:o}",
		      "family", a->family, "parameters",
		      (json_int_t)p->parameters, "weight_bytes",
		      (json_int_t)p->weight_bytes, "weights_guessed",
		      (int)p->guessed, "layers", (int)a->nr_layers, "kv_heads",
		      (int)a->nr_kv_heads, "head_dim", (int)a->head_dim,
		      "vocab", (json_int_t)a->vocab, "context",
		      (json_int_t)p->context, "kv_token_bytes", bytes, "memory",
		      (json_int_t)p->memory, "engine_bytes",
		      (json_int_t)ENGINE_BYTES, "kv_bytes",
		      (json_int_t)p->kv_bytes, "requests", list);
	if (!o)
		return args_fail(EXIT_FAILED, "out of memory");
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
	return EXIT_OK;
}

static void print_model(const struct plan *p)
{
	const struct arch *a = &p->c->arch;
	char b[2][WORDS_MAX];

	printf("model      %s, %s parameters, vocabulary %s\n", a->family,
	       words_amount(b[0], p->parameters), words_count(b[1], a->vocab));
	printf("weights    %s%s\n", words_size(b[0], p->weight_bytes),
	       p->guessed ? ", were they of 16 bits: none are here" : "");
	if (p->weight_bytes > p->parameters * 3 / 2)
		printf("           quantized about %s as q8_0, %s as q4_k\n",
		       words_size(b[0], p->parameters / 32 * 34),
		       words_size(b[1], p->parameters / 256 * 144));
	printf("context    %s tokens", words_count(b[0], p->context));
	if (p->context > a->context)
		printf(", past the model's %s: llmd will refuse that",
		       words_count(b[1], a->context));
	printf("\nKV         2 x %u layers x %u KV heads x %u = %s numbers a "
	       "token\n\n",
	       a->nr_layers, a->nr_kv_heads, a->head_dim,
	       words_count(b[0], figures_kv_numbers(a)));
	printf("KV type    a token        %s tokens\n",
	       words_count(b[0], p->context));
	for (int k = 0; k < NR_KV_TYPES; k++)
		printf("%-10s %-14s %s\n", kv_names[k],
		       words_size(b[0], p->token_bytes[k]),
		       words_size(b[1], p->token_bytes[k] * p->context));
}

static void print_fit(const struct plan *p)
{
	uint64_t used = p->weight_bytes + ENGINE_BYTES;
	char b[4][WORDS_MAX];

	printf("\nmemory     %s%s\n", words_size(b[0], p->memory),
	       p->given ? ""
			: " (available here; --memory SIZE plans for "
			  "another machine)");
	if (!p->kv_bytes) {
		printf("           weights and engine need %s: %s are "
		       "missing\n",
		       words_size(b[0], used),
		       words_size(b[1], used - p->memory));
		return;
	}
	printf("           %s for weights, %s for the engine, %s for KV\n\n",
	       words_size(b[0], p->weight_bytes),
	       words_size(b[1], ENGINE_BYTES), words_size(b[2], p->kv_bytes));
	printf("requests at once, each of so many tokens (prompt and answer):\n"
	       "tokens     f32            f16            q8\n");
	for (uint32_t i = 0; i < p->nr_lengths; i++)
		printf("%-10s %-14s %-14s %s\n",
		       words_count(b[0], p->lengths[i]),
		       words_count(b[1], requests(p, KV_F32, p->lengths[i])),
		       words_count(b[2], requests(p, KV_F16, p->lengths[i])),
		       words_count(b[3], requests(p, KV_Q8, p->lengths[i])));
}

int cmd_plan(int argc, char **argv)
{
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	const char *model = getenv("LLM_MODEL");
	uint32_t format = FORMAT_TEXT, context = 0;
	uint64_t memory = 0;
	const struct arg table[] = {
		{ "--memory", ARG_SIZE, &memory, "SIZE",
		  "to plan for, as 16G (absent: what is available here)" },
		{ "--context", ARG_U32, &context, "N",
		  "tokens a sequence (absent: the model's)", 1,
		  ARCH_MAX_CONTEXT },
		{ "--format", ARG_CHOICE, &format, "F", "one of", 0, 0,
		  formats },
		{ 0 },
	};
	const struct args a = {
		"llm plan [OPTIONS] MODEL",
		"What fits in how much memory: weights, KV a token, how many "
		"requests of which\nlength.  MODEL is a Hugging Face "
		"directory, a GGUF file, or a config.json.",
		table
	};
	struct err err = { 0 };
	struct checkpoint c;
	struct plan p;
	int nr = 0, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = args_read(&a, argc, argv, operand, &nr);
	if (!ret && nr)
		model = operand[0];
	if (!ret && (nr > 1 || !model))
		ret = args_fail(EXIT_USAGE, "one model is wanted; usage: %s",
				a.usage);
	free(operand);
	if (ret)
		return ret < 0 ? EXIT_OK : ret;
	if (checkpoint_open_config(&c, model, &err))
		return args_fail(EXIT_FAILED, "%s", err.text);
	make_plan(&p, &c, memory, context);
	if (format == FORMAT_JSON) {
		ret = print_json(&p);
	} else {
		print_model(&p);
		print_fit(&p);
	}
	checkpoint_close(&c);
	return ret;
}
