/* SPDX-License-Identifier: MIT */
/* cmd_score.c - llm score: teacher-forced likelihood of a text or of ids. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "include/llmclient.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/*
 * Ids over the context go in windows that share one token, so that every id
 * but the first is predicted once; a window's first sees nothing before it.
 */
static int score_ids(struct llmc *s, const struct arg_ids *ids,
		     struct total *sum)
{
	size_t window = llmc_model(s)->context, at = 0, n;
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .op = LLM_OP_SCORE,
				    .flags = LLM_SQE_F_LOGPROBS };
	int ret = EXIT_OK;

	if (ids->nr < 2)
		return args_fail(EXIT_USAGE, "found %zu ids, allowed 2 or more",
				 ids->nr);
	while (!ret && at + 1 < ids->nr) {
		n = ids->nr - at < window ? ids->nr - at : window;
		req.ids = ids->id + at;
		req.nr_ids = n;
		ret = score(s, &req, sum);
		at += n - 1;
	}
	return ret;
}

static int score_text(struct llmc *s, const char *path, struct total *sum)
{
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .op = LLM_OP_SCORE,
				    .flags = LLM_SQE_F_LOGPROBS };
	size_t size;
	char *text = args_file(path, &size);
	int ret;

	if (!text)
		return EXIT_FAILED;
	req.text = text;
	req.text_len = size;
	ret = size ? score(s, &req, sum)
		   : args_fail(EXIT_USAGE, "%s: the text is empty", path);
	free(text);
	return ret;
}

int cmd_score(int argc, char **argv)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = 1,
				    .arena_size = 16u << 20 };
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	struct arg_ids ids = { 0 };
	bool given = false;
	const struct arg table[] = {
		{ "--socket", ARG_STR, &opt.socket, "PATH", "the service" },
		{ "--ids", ARG_IDS, &ids, "\"1 2 3\"", "ids in place of a file",
		  .given = &given },
		{ 0 },
	};
	const struct args a = {
		"llm score [OPTIONS] FILE|-",
		"Feed a text and print `tokens N nll X ppl Y`: N predictions, X "
		"their negative\nlog-likelihood in nats, Y = exp(X/N).  Ids over "
		"the context go in windows that\noverlap by one; a text has to "
		"fit.",
		table,
	};
	struct total sum = { 0 };
	struct llmc *s = NULL;
	int nr, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = args_read(&a, argc, argv, operand, &nr);
	if (!ret && (given ? nr : nr != 1))
		ret = args_fail(EXIT_USAGE, "give one FILE, - or --ids");
	if (ret)
		goto out;
	ret = llmc_open(&s, &opt);
	if (ret) {
		ret = args_llmc(ret);
		goto out;
	}
	ret = given ? score_ids(s, &ids, &sum)
		    : score_text(s, operand[0], &sum);
	if (!ret)
		printf("tokens %llu nll %.6f ppl %.6f\n",
		       (unsigned long long)sum.count, sum.nll,
		       exp(sum.nll / (double)sum.count));
out:
	llmc_close(s);
	free(ids.id);
	free(operand);
	return ret < 0 ? EXIT_OK : ret;
}
