/* SPDX-License-Identifier: MIT */
/* cmd_show.c - llm show: what a model is, by its own files. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "tools/words.h"
#include "base/err.h"
#include "base/gguf.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/figures.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = { "text", "json", NULL };

static const char *rope_name(const struct rope *r)
{
	switch (r->kind) {
	case ROPE_LINEAR:
		return "linear";
	case ROPE_LLAMA3:
		return "llama3";
	case ROPE_YARN:
		return "yarn";
	default:
		/* GGUF has Llama 3's as a tensor, without a name */
		return r->divisor[0] > 0 ? "divisors" : "default";
	}
}

/* The window all layers have; 0 = none. */
static uint32_t window_of(const struct arch *a)
{
	uint32_t most = 0;

	for (uint32_t i = 0; i < a->nr_layers; i++)
		if (a->window[i] > most)
			most = a->window[i];
	return most;
}

/* ---- JSON: every number by a name of its own */

static json_t *types_json(const struct tensors *t)
{
	struct figures_type types[FIGURES_MAX_TYPES];
	uint32_t n = figures_types(t, types);
	json_t *list = json_array();

	for (uint32_t i = 0; i < n; i++)
		json_array_append_new(
			list,
			json_pack("{s:s, s:I, s:I, s:I}", "type", types[i].type,
				  "tensors", (json_int_t)types[i].tensors,
				  "numbers", (json_int_t)types[i].numbers,
				  "bytes", (json_int_t)types[i].bytes));
	return list;
}

static json_t *tensors_json(const struct tensors *t)
{
	json_t *list = json_array();

	for (uint32_t i = 0; i < t->nr; i++) {
		const struct tensor *x = &t->v[i];
		json_t *shape = json_array();

		for (uint32_t d = 0; d < x->nr_dims; d++)
			json_array_append_new(
				shape, json_integer((json_int_t)x->shape[d]));
		json_array_append_new(
			list, json_pack("{s:s, s:s, s:o, s:I}", "name", x->name,
					"type", x->type, "shape", shape,
					"bytes", (json_int_t)x->size));
	}
	return list;
}

static int print_json(const struct checkpoint *c, bool list)
{
	const struct arch *a = &c->arch;
	json_t *eos = json_array(), *o;
	char text[64];

	for (uint32_t i = 0; i < a->nr_eos; i++)
		json_array_append_new(eos, json_integer(a->eos[i]));
	o = json_pack(
		"{s:s, s:s, s:I, s:I, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:i, "
		"s:i, s:b, s:s, s:f, s:i, s:o, s:I}",
		"family", a->family, "form",
		c->tensors.gguf ? "gguf"
		: c->tensors.nr ? "safetensors"
				: "config",
		"parameters", (json_int_t)figures_parameters(a), "bytes",
		(json_int_t)c->tensors.size, "types", types_json(&c->tensors),
		"layers", (int)a->nr_layers, "dim", (int)a->dim, "ffn",
		(int)a->ffn, "heads", (int)a->nr_heads, "kv_heads",
		(int)a->nr_kv_heads, "head_dim", (int)a->head_dim, "context",
		(int)a->context, "vocab", (int)a->vocab, "tied", (int)a->tied,
		"rope", rope_name(&a->rope), "rope_theta", a->rope.theta,
		"window", (int)window_of(a), "eos", eos, "kv_numbers",
		(json_int_t)figures_kv_numbers(a));
	if (!o)
		return args_fail(EXIT_FAILED, "out of memory");
	if (a->quant.form != QUANT_NONE)
		json_object_set_new(o, "quantized",
				    json_string(quant_text(&a->quant, text)));
	if (list)
		json_object_set_new(o, "tensors", tensors_json(&c->tensors));
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
	return EXIT_OK;
}

/* ---- text */

static void print_form(const struct checkpoint *c)
{
	const struct tensors *t = &c->tensors;
	struct figures_type types[FIGURES_MAX_TYPES];
	uint32_t n = figures_types(t, types);
	char a[WORDS_MAX], b[WORDS_MAX];

	if (!t->nr_files) {
		printf("form         config.json alone\n");
		return;
	}
	printf("form         %s", t->gguf ? "GGUF" : "safetensors");
	if (t->gguf)
		printf(" version %u", t->gguf[0].version);
	printf(", %u file%s, %s\n", t->nr_files, t->nr_files > 1 ? "s" : "",
	       words_size(a, t->size));
	for (uint32_t i = 0; i < n; i++)
		printf("%-12s %s: %s numbers in %u tensor%s, %s\n",
		       i ? "" : "types", types[i].type,
		       words_amount(a, types[i].numbers), types[i].tensors,
		       types[i].tensors > 1 ? "s" : "",
		       words_size(b, types[i].bytes));
}

static void print_rope(const struct arch *a)
{
	const struct rope *r = &a->rope;
	char buf[WORDS_MAX];

	printf("rope         %s, theta %.10g", rope_name(r), r->theta);
	if (r->kind != ROPE_DEFAULT)
		printf(", factor %g", r->factor);
	if (r->kind == ROPE_YARN || r->kind == ROPE_LLAMA3)
		printf(" from %s", words_count(buf, (uint64_t)r->original));
	putchar('\n');
}

static void print_tensors(const struct tensors *t)
{
	for (uint32_t i = 0; i < t->nr; i++) {
		const struct tensor *x = &t->v[i];
		char shape[96] = "";
		size_t n = 0;

		for (uint32_t d = 0; d < x->nr_dims && n < sizeof(shape); d++)
			n += (size_t)snprintf(shape + n, sizeof(shape) - n,
					      "%s%" PRIu64, d ? " x " : "",
					      x->shape[d]);
		printf("%-52s %-7s %s\n", x->name, x->type, shape);
	}
}

static void print_text(const struct checkpoint *c, bool list)
{
	const struct arch *a = &c->arch;
	uint64_t kv = figures_kv_numbers(a);
	char b[3][WORDS_MAX], quant[64];

	printf("family       %s\n", a->family);
	words_amount(b[0], figures_parameters(a));
	words_count(b[1], figures_parameters(a));
	printf("parameters   %s", b[0]);
	if (strcmp(b[0], b[1]))
		printf(" (%s)", b[1]);
	putchar('\n');
	print_form(c);
	if (a->quant.form != QUANT_NONE)
		printf("quantized    %s\n", quant_text(&a->quant, quant));
	printf("layers       %u of dim %s, MLP of %s\n", a->nr_layers,
	       words_count(b[0], a->dim), words_count(b[1], a->ffn));
	printf("heads        %u of %u, %u KV heads\n", a->nr_heads, a->head_dim,
	       a->nr_kv_heads);
	printf("context      %s tokens\n", words_count(b[0], a->context));
	printf("vocabulary   %s%s\n", words_count(b[0], a->vocab),
	       a->tied ? ", the head is the embedding" : "");
	print_rope(a);
	if (window_of(a))
		printf("window       %s tokens\n",
		       words_count(b[0], window_of(a)));
	printf("ends        ");
	for (uint32_t i = 0; i < a->nr_eos; i++)
		printf(" %u", a->eos[i]);
	printf("%s\n", a->nr_eos ? "" : " none named");
	printf("KV           %s numbers a token: %s in F32, %s in F16\n",
	       words_count(b[0], kv), words_size(b[1], 4 * kv),
	       words_size(b[2], 2 * kv));
	if (list)
		print_tensors(&c->tensors);
}

int cmd_show(int argc, char **argv)
{
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	const char *model = getenv("LLM_MODEL");
	uint32_t format = FORMAT_TEXT;
	bool list = false;
	const struct arg table[] = {
		{ "--tensors", ARG_FLAG, &list, NULL, "list them all" },
		{ "--format", ARG_CHOICE, &format, "F", "one of", 0, 0,
		  formats },
		{ 0 },
	};
	const struct args a = {
		"llm show [OPTIONS] MODEL",
		"What a model is: a Hugging Face directory, a GGUF file, or a "
		"config.json.",
		table
	};
	struct err err = { 0 };
	struct checkpoint c;
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
	if (format == FORMAT_JSON)
		ret = print_json(&c, list);
	else
		print_text(&c, list);
	checkpoint_close(&c);
	return ret;
}
