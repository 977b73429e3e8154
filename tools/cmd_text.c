/* SPDX-License-Identifier: MIT */
/* cmd_text.c - llm tokenize and detokenize: by the model's own files, mostly. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "tools/offline.h"
#include "include/llmclient.h"
#include "text/decode.h"
#include "text/encode.h"
#include "text/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tokenize(const struct vocab *v, const char *text, size_t size,
		    unsigned flags)
{
	struct arg_ids ids = { 0 };
	int ret = offline_encode(v, text, size, flags, &ids);
	size_t i;

	for (i = 0; !ret && i < ids.nr; i++)
		printf("%s%u", i ? " " : "", ids.id[i]);
	if (!ret)
		putchar('\n');
	free(ids.id);
	return ret;
}

/*
 * The same by the service: the ids are in the record of a stream, whose one
 * token nobody reads.
 */
static int tokenize_there(const char *socket, const char *text, size_t size,
			  uint32_t flags)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .socket = socket,
				    .nr_streams = 1,
				    .arena_size = (size + 131071) & ~65535ull };
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .flags = flags,
				    .text = text,
				    .text_len = size,
				    .max_tokens = 1 };
	struct llmc_stream *st;
	struct llmc_result res;
	const uint32_t *ids;
	struct llmc *s = NULL;
	ssize_t n, i;
	int ret = llmc_open(&s, &opt);

	if (!ret)
		ret = llmc_submit(s, &req, &st);
	if (!ret)
		ret = llmc_wait(st, UINT32_MAX, -1);
	if (ret >= 0)
		ret = llmc_result(st, &res);
	if (ret) {
		ret = args_llmc(ret);
	} else if (res.end == LLM_END_REFUSED) {
		ret = args_fail(EXIT_FAILED, "refused: %s", res.why);
	} else if ((n = llmc_prompt(st, &ids)) < 0) {
		ret = args_llmc((int)n);
	} else {
		for (i = 0; i < n; i++)
			printf("%s%u", i ? " " : "", ids[i]);
		putchar('\n');
	}
	llmc_close(s);
	return ret;
}

int cmd_tokenize(int argc, char **argv)
{
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	const char *model = getenv("LLM_MODEL"), *socket = NULL, *text;
	bool no_bos = false, no_special = false;
	const struct arg table[] = {
		{ "--model", ARG_STR, &model, "PATH",
		  "a tokenizer.json, tokenizer.model, their folder, or a GGUF" },
		{ "--no-bos", ARG_FLAG, &no_bos, NULL, "do not add BOS" },
		{ "--no-special", ARG_FLAG, &no_special, NULL,
		  "special tokens in the text are text" },
		{ "--socket", ARG_STR, &socket, "PATH", "of the service" },
		{ 0 },
	};
	const struct args a = {
		"llm tokenize [OPTIONS] TEXT|-",
		"Print the ids of TEXT (- reads standard input), separated by "
		"spaces.  Without a\nmodel the service makes them; the text has "
		"to fit its context.",
		table,
	};
	struct vocab *v = NULL;
	char *owned = NULL;
	size_t size;
	int nr, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = args_read(&a, argc, argv, operand, &nr);
	if (!ret && nr != 1)
		ret = args_fail(EXIT_USAGE, "found %d texts, allowed one", nr);
	if (!ret && model)
		ret = offline_open(model, &v);
	if (ret)
		goto out;
	text = operand[0];
	size = strlen(text);
	if (!strcmp(text, "-")) {
		text = owned = args_stdin(&size);
		if (!owned) {
			ret = args_fail(EXIT_FAILED, "out of memory");
			goto out;
		}
	}
	if (!model)
		ret = tokenize_there(socket, text, size,
				     (no_bos ? LLM_SQE_F_NO_BOS : 0u) |
					     (no_special ? 0u
							 : LLM_SQE_F_SPECIAL));
	else
		ret = tokenize(v, text, size,
			       (no_bos ? 0u : ENCODE_BOS) |
				       (no_special ? 0u : ENCODE_SPECIAL));
out:
	free(owned);
	vocab_close(v);
	free(operand);
	return ret < 0 ? EXIT_OK : ret;
}

static int detokenize(const struct vocab *v, const struct arg_ids *ids,
		      bool special)
{
	size_t cap = DECODE_CAP(v->token_max), i;
	uint8_t *buf = malloc(cap);
	struct decode d;
	long n;

	if (!buf)
		return args_fail(EXIT_FAILED, "out of memory");
	decode_init(&d, special ? DECODE_SPECIAL : 0);
	for (i = 0; i < ids->nr; i++) {
		if (ids->id[i] >= v->nr) {
			free(buf);
			return args_fail(EXIT_FAILED, "id %u, allowed 0 to %u",
					 ids->id[i], v->nr - 1);
		}
		n = decode_feed(&d, v, ids->id[i], buf, cap);
		if (n > 0)
			fwrite(buf, 1, (size_t)n, stdout);
	}
	fwrite(buf, 1, decode_end(&d, buf), stdout);
	putchar('\n');
	free(buf);
	return EXIT_OK;
}

int cmd_detokenize(int argc, char **argv)
{
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	const char *model = NULL;
	bool hide = false;
	const struct arg table[] = {
		{ "--model", ARG_STR, &model, "PATH",
		  "a tokenizer.json, tokenizer.model, their folder, or a GGUF" },
		{ "--no-special", ARG_FLAG, &hide, NULL,
		  "special tokens show nothing" },
		{ "--socket", ARG_STR, &(const char *){ NULL }, "PATH",
		  "accepted, not used" },
		{ 0 },
	};
	const struct args a = {
		"llm detokenize --model PATH [OPTIONS] IDS...",
		"Print the text of IDS (- reads them from standard input).",
		table,
	};
	struct arg_ids ids = { 0 };
	struct vocab *v = NULL;
	char *in = NULL;
	size_t size;
	int nr, ret, i;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = args_read(&a, argc, argv, operand, &nr);
	for (i = 0; !ret && i < nr; i++) {
		if (!strcmp(operand[i], "-") && !in) {
			in = args_stdin(&size);
			operand[i] = in ? in : "";
		}
		ret = args_ids("IDS", operand[i], &ids);
	}
	if (!ret && !ids.nr)
		ret = args_fail(EXIT_USAGE, "no ids");
	if (!ret)
		ret = offline_open(model, &v);
	if (!ret)
		ret = detokenize(v, &ids, !hide);
	free(in);
	free(ids.id);
	vocab_close(v);
	free(operand);
	return ret < 0 ? EXIT_OK : ret;
}
