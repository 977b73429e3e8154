/* SPDX-License-Identifier: MIT */
/* cmd_quantize.c - llm quantize: a model into a GGUF file of another type. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "tools/quantize.h"
#include "tools/words.h"
#include "base/err.h"
#include "checkpoint/checkpoint.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = { "text", "json", NULL };

/* ---- progress: a line that is written over, on a terminal */

struct bar {
	double began, shown; /* seconds of the steady clock */
};

#define BAR_WIDTH 30

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void show(void *arg, uint64_t done, uint64_t total, const char *name)
{
	static const char full[] = "##############################";
	struct bar *b = arg;
	double part = total ? (double)done / (double)total : 1, t = now();
	int filled = (int)(part * BAR_WIDTH);
	double spent = t - b->began;
	char rate[WORDS_MAX];

	/* nothing of what is over at once; then ten times a second, and last */
	if (spent < 0.5 || (t - b->shown < 0.1 && done < total))
		return;
	b->shown = t;
	words_size(rate, (uint64_t)((double)done / spent));
	fprintf(stderr, "\r[%.*s%*s] %3.0f %%  %s/s  %.0f s left  %-28.28s",
		filled, full, BAR_WIDTH - filled, "", 100 * part, rate,
		part > 0 ? spent / part - spent : 0, name);
	if (done >= total)
		fputc('\n', stderr);
}

/* ---- the report */

static void print_text(const struct quantize_report *r, const char *out)
{
	uint64_t numbers = 0;
	char a[WORDS_MAX], b[WORDS_MAX];

	printf("%-34s %-15s %-16s %9s %10s\n", "tensor", "types", "shape",
	       "error %", "largest");
	for (uint32_t i = 0; i < r->nr; i++) {
		const struct quantize_line *l = &r->line[i];
		char types[32], shape[48] = "";

		snprintf(types, sizeof(types), "%s > %s", l->from, l->to);
		if (l->rows)
			snprintf(shape, sizeof(shape), "%" PRIu64 " x %" PRIu64,
				 l->rows, l->cols);
		else if (l->cols)
			snprintf(shape, sizeof(shape), "%" PRIu64, l->cols);
		printf("%-34s %-15s %-16s %9.4f %10.4g\n", l->name, types,
		       shape, 100 * l->rms, l->worst);
		numbers += l->numbers;
	}
	printf("%s: %s, %s numbers, %.2f bits each\n", out,
	       words_size(a, r->file_bytes), words_amount(b, numbers),
	       numbers ? 8 * (double)r->file_bytes / (double)numbers : 0);
}

static int print_json(const struct quantize_report *r)
{
	json_t *list = json_array(), *o;

	for (uint32_t i = 0; i < r->nr; i++) {
		const struct quantize_line *l = &r->line[i];

		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:f, s:f}",
				  "name", l->name, "from", l->from, "to", l->to,
				  "rows", (json_int_t)l->rows, "cols",
				  (json_int_t)l->cols, "bytes",
				  (json_int_t)l->bytes, "rms_error", l->rms,
				  "largest_error", l->worst));
	}
	o = json_pack("{s:I, s:b, s:o}", "bytes", (json_int_t)r->file_bytes,
		      "text", (int)!*r->no_text, "tensors", list);
	if (!o)
		return args_fail(EXIT_FAILED, "out of memory");
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
	return EXIT_OK;
}

/* ---- the command */

static int find_type(const char *name, enum weight_type *ret)
{
	char allowed[160] = "";

	if (name && !weight_type_of_name(name, ret))
		return 0;
	for (int t = 0; t < NR_WEIGHT_TYPES; t++)
		if (weight_in_gguf((enum weight_type)t))
			snprintf(allowed + strlen(allowed),
				 sizeof(allowed) - strlen(allowed), "%s%s",
				 t ? ", " : "", weight_formats[t].name);
	if (!name)
		return args_fail(EXIT_USAGE, "--type is wanted, one of %s",
				 allowed);
	return args_fail(EXIT_USAGE, "--type: found \"%.60s\", allowed %s",
			 name, allowed);
}

static int run(const char *in, const char *out,
	       const struct quantize_options *opt, uint32_t format)
{
	struct quantize_report r = { 0 };
	struct err err = { 0 };
	struct checkpoint c;
	int ret;

	if (checkpoint_open(&c, in, &err))
		return args_fail(EXIT_FAILED, "%s", err.text);
	ret = quantize(opt, &c, in, out, &r, &err);
	checkpoint_close(&c);
	if (ret)
		return args_fail(EXIT_FAILED, "%s", err.text);
	if (*r.no_text)
		fprintf(stderr, "llm: %s will serve ids only: %s\n", out,
			r.no_text);
	ret = EXIT_OK;
	if (format == FORMAT_JSON)
		ret = print_json(&r);
	else
		print_text(&r, out);
	quantize_free(&r);
	return ret;
}

int cmd_quantize(int argc, char **argv)
{
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	struct bar bar = { .began = now() };
	struct quantize_options opt = { .progress_arg = &bar };
	uint32_t format = FORMAT_TEXT;
	const char *type = NULL;
	const struct arg table[] = {
		{ "--type", ARG_STR, &type, "T",
		  "of matrices, one of: f32, f16, bf16, q8_0, q4_0, q4_1, "
		  "q5_0, q5_1, q2_k, q3_k, q4_k, q5_k, q6_k, iq4_nl, mxfp4" },
		{ "--pure", ARG_FLAG, &opt.pure, NULL,
		  "the head too, which else keeps six bits or more" },
		{ "--threads", ARG_U32, &opt.threads, "N",
		  "absent: as many CPUs as there are", 1, 1024 },
		{ "--format", ARG_CHOICE, &format, "F", "one of", 0, 0,
		  formats },
		{ 0 },
	};
	const struct args a = {
		"llm quantize --type T [OPTIONS] IN OUT",
		"Write the model IN, a Hugging Face directory or a GGUF file, "
		"to the GGUF file OUT\nwith matrices of type T.  At the end: "
		"each tensor, its error (root of the mean\nsquare, in percent "
		"of the numbers' own) and the largest difference.",
		table
	};
	int nr = 0, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	if (isatty(STDERR_FILENO))
		opt.progress = show;
	ret = args_read(&a, argc, argv, operand, &nr);
	if (!ret && nr != 2)
		ret = args_fail(EXIT_USAGE, "IN and OUT are wanted; usage: %s",
				a.usage);
	if (!ret)
		ret = find_type(type, &opt.type);
	if (!ret)
		ret = run(operand[0], operand[1], &opt, format);
	free(operand);
	return ret < 0 ? EXIT_OK : ret;
}
