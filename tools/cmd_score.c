/* SPDX-License-Identifier: MIT */
/* cmd_score.c - llm score: teacher-forced likelihood of a text or of ids. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "tools/offline.h"
#include "include/llmclient.h"
#include "text/encode.h"
#include "text/vocab.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK	  16 /* tokens of a KV block */
#define ARENA_MAX (64u << 20)

struct total {
	uint64_t count; /* predictions */
	double nll;	/* nats */
};

/* Score one piece that fits the context; its predictions are added. */
static int score(struct llmc *s, struct llmc_request *req, struct total *sum)
{
	struct llmc_token tok[64];
	struct llmc_result res;
	struct llmc_stream *st;
	ssize_t n, i;
	int ret = llmc_submit(s, req, &st);

	if (ret)
		return args_llmc(ret);
	ret = llmc_wait(st, UINT32_MAX, -1);
	if (ret < 0)
		return args_llmc(ret);
	while ((n = llmc_read(st, tok, 64)) > 0)
		for (i = 0; i < n; i++) {
			sum->nll -= (double)tok[i].logprob;
			sum->count++;
		}
	if (n < 0 || (ret = llmc_result(st, &res)) < 0)
		return args_llmc(n < 0 ? (int)n : ret);
	llmc_release(st);
	if (res.end != LLM_END_LENGTH)
		return args_fail(EXIT_FAILED, "%s: %s", llmc_end_name(res.end),
				 *res.why ? res.why : "no answer");
	return EXIT_OK;
}

/* Ids that one request may hold: the context's, and the KV pool's. */
static size_t window_of(const struct llmc *s, const char *socket)
{
	size_t window = llmc_model(s)->context;
	struct llm_info info;

	if (!llmc_info(socket, &info) && info.kv_blocks > 1 &&
	    (info.kv_blocks - 1) * (size_t)BLOCK < window)
		window = (info.kv_blocks - 1) * (size_t)BLOCK;
	return window > 2 ? window : 2;
}

/*
 * Ids over the context go in windows that share one token, so that every id
 * but the first is predicted once; a window's first sees nothing before it.
 */
static int score_ids(struct llmc *s, size_t window, const struct arg_ids *ids,
		     struct total *sum)
{
	size_t at = 0, n;
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .op = LLM_OP_SCORE,
				    .flags = LLM_SQE_F_LOGPROBS };
	int ret = EXIT_OK;

	while (!ret && at + 1 < ids->nr) {
		n = ids->nr - at < window ? ids->nr - at : window;
		req.ids = ids->id + at;
		req.nr_ids = n;
		ret = score(s, &req, sum);
		at += n - 1;
	}
	return ret;
}

/* A whole text, turned into ids by the service. */
static int score_text(struct llmc *s, const char *text, size_t size,
		      struct total *sum)
{
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .op = LLM_OP_SCORE,
				    .flags = LLM_SQE_F_LOGPROBS,
				    .text = text,
				    .text_len = size };

	return score(s, &req, sum);
}

/* A text of any length, turned into ids by the model's files. */
static int score_file(struct llmc *s, const char *model, size_t window,
		      const char *text, size_t size, struct total *sum)
{
	struct arg_ids ids = { 0 };
	struct vocab *v;
	int ret = offline_open(model, &v);

	if (ret)
		return ret;
	ret = offline_encode(v, text, size, ENCODE_BOS, &ids);
	vocab_close(v);
	if (!ret)
		ret = score_ids(s, window, &ids, sum);
	free(ids.id);
	return ret;
}

struct what {
	const char *socket, *model;
	struct arg_ids ids;
	bool ids_given;
};

static int read_args(struct what *w, int argc, char **argv,
		     const char **operand, int *nr)
{
	const struct arg table[] = {
		{ "--socket", ARG_STR, &w->socket, "PATH", "of the service" },
		{ "--ids", ARG_IDS, &w->ids, "\"1 2 3\"",
		  "ids in place of a file; - reads them",
		  .given = &w->ids_given },
		{ "--model", ARG_STR, &w->model, "PATH",
		  "its tokenizer.json: for a text over the context" },
		{ 0 },
	};
	const struct args a = {
		"llm score [OPTIONS] FILE|-",
		"Feed a text and print `tokens N nll X ppl Y`: N predictions, X "
		"their negative\nlog-likelihood in nats, Y = exp(X/N).  Ids over "
		"the context go in windows that\noverlap by one, so that all but "
		"the first are predicted; so does a text with\n--model, else it "
		"has to fit.",
		table,
	};
	int ret = args_read(&a, argc, argv, operand, nr);

	if (!ret && (w->ids_given ? *nr : *nr != 1))
		ret = args_fail(EXIT_USAGE, "give one FILE, - or --ids");
	if (!ret && w->ids_given && w->ids.nr < 2)
		ret = args_fail(EXIT_USAGE,
				"--ids: found %zu, allowed 2 or more",
				w->ids.nr);
	return ret;
}

int cmd_score(int argc, char **argv)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = 1 };
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	struct total sum = { 0 };
	struct llmc *s = NULL;
	struct what w = { 0 };
	char *text = NULL;
	size_t size = 0;
	int nr, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = read_args(&w, argc, argv, operand, &nr);
	if (ret)
		goto out;
	if (!w.ids_given) {
		text = args_file(operand[0], &size);
		ret = !text  ? EXIT_FAILED
		      : size ? EXIT_OK
			     : args_fail(EXIT_USAGE, "%s: the text is empty",
					 operand[0]);
	}
	if (ret)
		goto out;
	opt.socket = w.socket;
	/* room for a window of it, whatever the default: an id a byte at most */
	opt.arena_size = (size * 4 + w.ids.nr * 4 + 131071) & ~65535ull;
	if (opt.arena_size > ARENA_MAX)
		opt.arena_size = ARENA_MAX;
	ret = llmc_open(&s, &opt);
	if (ret) {
		ret = args_llmc(ret);
		goto out;
	}
	if (w.ids_given)
		ret = score_ids(s, window_of(s, w.socket), &w.ids, &sum);
	else if (w.model)
		ret = score_file(s, w.model, window_of(s, w.socket), text, size,
				 &sum);
	else
		ret = score_text(s, text, size, &sum);
	if (!ret && !sum.count)
		ret = args_fail(EXIT_USAGE, "one token: nothing to predict");
	if (!ret)
		printf("tokens %llu nll %.6f ppl %.6f\n",
		       (unsigned long long)sum.count, sum.nll,
		       exp(sum.nll / (double)sum.count));
out:
	llmc_close(s);
	free(text);
	free(w.ids.id);
	free(operand);
	return ret < 0 ? EXIT_OK : ret;
}
