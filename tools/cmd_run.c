/* SPDX-License-Identifier: MIT */
/* cmd_run.c - llm run: a prompt in, its tokens out as they come. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "include/llmclient.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FORMAT_TEXT, FORMAT_IDS, FORMAT_JSON, FORMAT_AUTO };
static const char *const formats[] = { "text", "ids", "json", NULL };
static const char *const classes[] = { "interactive", "batch", "idle", NULL };

struct run {
	struct llmc_request req;
	const char *socket;
	struct arg_ids ids;
	struct arg_list stop;
	uint32_t format, logprobs;
	char last; /* byte of text printed */
	bool chat, special, ignore_eos, ids_given, logprobs_given;
	bool t, k, p, m, r, seed, n_given;
};

/*
 * Ctrl-C ends the stream, and the program once what came is printed; a second
 * one ends the program at once.
 */
static struct llmc_stream *volatile running;
static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
	if (running)
		llmc_cancel(running); /* one store, one send: signal-safe */
}

/* Die of the signal, as a shell expects of what was interrupted. */
static void die_if_interrupted(void)
{
	if (!interrupted)
		return;
	fflush(stdout);
	signal(SIGINT, SIG_DFL);
	raise(SIGINT);
}

static int read_args(struct run *o, int argc, char **argv, const char **operand,
		     int *nr)
{
	const struct arg table[] = {
		{ "--socket", ARG_STR, &o->socket, "PATH", "of the service" },
		{ "-n", ARG_U32, &o->req.max_tokens, "N",
		  "tokens at most (default: the model's)", 1,
		  LLM_MAX_LOG_TOKENS, .given = &o->n_given },
		{ "--temperature", ARG_FLOAT, &o->req.temperature, "T",
		  "0 = the likeliest token", 0, 100, .given = &o->t },
		{ "--top-k", ARG_U32, &o->req.top_k, "K", "0 = off", 0,
		  UINT32_MAX, .given = &o->k },
		{ "--top-p", ARG_FLOAT, &o->req.top_p, "P", "1 = off", 1e-9, 1,
		  .given = &o->p },
		{ "--min-p", ARG_FLOAT, &o->req.min_p, "P", "0 = off", 0, 1,
		  .given = &o->m },
		{ "--repetition-penalty", ARG_FLOAT, &o->req.repetition_penalty,
		  "R", "1 = off", 1e-3, 10, .given = &o->r },
		{ "--frequency-penalty", ARG_FLOAT, &o->req.frequency_penalty,
		  "F", "0 = off", -2, 2 },
		{ "--presence-penalty", ARG_FLOAT, &o->req.presence_penalty,
		  "F", "0 = off", -2, 2 },
		{ "--min-tokens", ARG_U32, &o->req.min_tokens, "N",
		  "no end before these", 0, LLM_MAX_LOG_TOKENS },
		{ "--seed", ARG_U64, &o->req.seed, "S",
		  "the same seed, the same tokens", .given = &o->seed },
		{ "--stop", ARG_LIST, &o->stop, "TEXT",
		  "end before this text; may be given again" },
		{ "--ignore-eos", ARG_FLAG, &o->ignore_eos, NULL,
		  "go on past the model's own end" },
		{ "--logprobs", ARG_U32, &o->logprobs, "K",
		  "log probabilities, and the K likeliest", 0, LLM_MAX_ALT,
		  .given = &o->logprobs_given },
		{ "--class", ARG_CHOICE, &o->req.class_, "C", "one of", 0, 0,
		  classes },
		{ "--deadline", ARG_U32, &o->req.deadline_ms, "MS",
		  "end after this time", 1, UINT32_MAX },
		{ "--chat", ARG_FLAG, &o->chat, NULL,
		  "the prompt is one user turn" },
		{ "--special", ARG_FLAG, &o->special, NULL,
		  "special tokens written in the prompt count" },
		{ "--ids", ARG_IDS, &o->ids, "\"1 2 3\"",
		  "ids in place of a prompt; - reads them",
		  .given = &o->ids_given },
		{ "--format", ARG_CHOICE, &o->format, "F", "one of", 0, 0,
		  formats },
		{ 0 },
	};
	const struct args a = {
		"llm run [OPTIONS] PROMPT|-",
		"Generate from PROMPT (- reads standard input) and print what "
		"comes, as it\ncomes.  --format json prints one object on one "
		"line: ids, text, finish, usage.",
		table,
	};

	return args_read(&a, argc, argv, operand, nr);
}

static void fill_request(struct run *o)
{
	struct llmc_request *q = &o->req;

	q->size = LLMC_REQUEST_SIZE;
	q->flags |= (o->chat ? LLM_SQE_F_CHAT : 0) |
		    (o->special ? LLM_SQE_F_SPECIAL : 0) |
		    (o->logprobs_given ? LLM_SQE_F_LOGPROBS : 0);
	q->set |= (o->t ? LLM_SET_TEMPERATURE : 0) |
		  (o->k ? LLM_SET_TOP_K : 0) | (o->p ? LLM_SET_TOP_P : 0) |
		  (o->m ? LLM_SET_MIN_P : 0) | (o->r ? LLM_SET_REPETITION : 0) |
		  (o->seed ? LLM_SET_SEED : 0);
	q->params_flags |= o->ignore_eos ? LLM_PARAMS_F_IGNORE_EOS : 0;
	q->nr_alt = o->logprobs;
	q->stop = o->stop.item;
	q->nr_stop = o->stop.nr;
}

/* The prompt, from the operand, standard input or --ids. */
static int fill_prompt(struct run *o, const char **operand, int nr,
		       char **ret_owned)
{
	size_t size = 0;

	if (o->logprobs_given && o->format != FORMAT_JSON)
		return args_fail(EXIT_USAGE,
				 "--logprobs goes with --format json");
	if (o->ids_given) {
		if (nr)
			return args_fail(EXIT_USAGE,
					 "--ids and a prompt: give one");
		if (!o->ids.nr)
			return args_fail(
				EXIT_USAGE,
				"--ids: found none, allowed 1 or more");
		if (o->chat || o->special)
			return args_fail(EXIT_USAGE,
					 "--chat and --special go with text");
		o->req.ids = o->ids.id;
		o->req.nr_ids = o->ids.nr;
		return 0;
	}
	if (nr != 1)
		return args_fail(EXIT_USAGE,
				 "found %d prompts, allowed one (or - for "
				 "standard input, or --ids)",
				 nr);
	o->req.text = operand[0];
	size = strlen(operand[0]);
	if (!strcmp(operand[0], "-")) {
		*ret_owned = args_stdin(&size);
		if (!*ret_owned)
			return args_fail(EXIT_FAILED, "out of memory");
		o->req.text = *ret_owned;
	}
	if (!size)
		return args_fail(EXIT_USAGE, "the prompt is empty");
	o->req.text_len = size;
	return 0;
}

static int print_text(struct llmc_stream *st, struct run *o)
{
	char buf[4096];
	ssize_t n;

	while ((n = llmc_read_text(st, buf, sizeof(buf), -1)) > 0) {
		if (fwrite(buf, 1, (size_t)n, stdout) != (size_t)n ||
		    fflush(stdout))
			return args_fail(EXIT_FAILED, "standard output: %s",
					 strerror(errno));
		o->last = buf[n - 1];
	}
	return n < 0 ? args_llmc((int)n) : EXIT_OK;
}

static int print_ids(struct llmc_stream *st)
{
	struct llmc_token tok[64];
	const char *sep = "";
	ssize_t n, i;
	int ret;

	for (;;) {
		n = llmc_read(st, tok, 64);
		if (n == -EAGAIN) {
			ret = llmc_wait(st, 1, -1);
			if (ret < 0)
				return args_llmc(ret);
			continue;
		}
		if (n < 0)
			return args_llmc((int)n);
		if (!n)
			return EXIT_OK;
		for (i = 0; i < n; i++, sep = " ")
			printf("%s%u", sep, tok[i].token);
		fflush(stdout);
	}
}

static json_t *number(float f)
{
	return isfinite(f) ? json_real((double)f) : json_null();
}

static json_t *logprob_of(const struct llmc_token *t)
{
	json_t *top = json_array();
	uint32_t i;
	float f;

	for (i = 0; i < t->nr_alt; i++) {
		memcpy(&f, &t->alt[i].logprob_bits, 4);
		json_array_append_new(top,
				      json_pack("{s:I, s:o}", "id",
						(json_int_t)t->alt[i].token,
						"logprob", number(f)));
	}
	return json_pack("{s:I, s:o, s:o}", "id", (json_int_t)t->token,
			 "logprob", number(t->logprob), "top", top);
}

/* What a stream said, as it is gathered for --format json. */
struct answer {
	json_t *ids, *logprobs;
	char *text; /* owned */
	size_t text_size;
};

static int gather(struct llmc_stream *st, bool logprobs, struct answer *a)
{
	struct llmc_token tok[64];
	ssize_t n, i;
	char *more;

	while ((n = llmc_read(st, tok, 64)) > 0)
		for (i = 0; i < n; i++) {
			json_array_append_new(
				a->ids, json_integer((json_int_t)tok[i].token));
			if (logprobs)
				json_array_append_new(a->logprobs,
						      logprob_of(&tok[i]));
			more = realloc(a->text,
				       a->text_size + tok[i].text_len + 1);
			if (!more)
				return args_fail(EXIT_FAILED, "out of memory");
			a->text = more;
			memcpy(more + a->text_size, tok[i].text,
			       tok[i].text_len);
			a->text_size += tok[i].text_len;
		}
	return n < 0 ? args_llmc((int)n) : EXIT_OK;
}

static int print_answer(const struct answer *a, const struct llmc_result *res,
			bool logprobs)
{
	/* a seed has 64 bits, more than JSON's readers give a number */
	json_t *all = json_pack(
		"{s:O, s:s%, s:s, s:{s:I, s:I, s:I}, s:o}", "ids", a->ids,
		"text", a->text ? a->text : "", a->text_size, "finish",
		llmc_end_name(res->end), "usage", "prompt_tokens",
		(json_int_t)res->prompt_tokens, "cached_tokens",
		(json_int_t)res->cached_tokens, "completion_tokens",
		(json_int_t)res->completion_tokens, "seed",
		json_sprintf("%llu", (unsigned long long)res->seed));

	if (!all)
		return args_fail(EXIT_FAILED, "text that is not UTF-8");
	if (logprobs)
		json_object_set(all, "logprobs", a->logprobs);
	if (*res->why)
		json_object_set_new(all, "why", json_string(res->why));
	json_dumpf(all, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(all);
	return EXIT_OK;
}

static int print_json(struct llmc_stream *st, const struct run *o)
{
	struct answer a = { json_array(), json_array(), NULL, 0 };
	struct llmc_result res = { 0 };
	int ret = llmc_wait(st, UINT32_MAX, -1);

	ret = ret < 0 ? args_llmc(ret) : gather(st, o->logprobs_given, &a);
	if (!ret) {
		ret = llmc_result(st, &res);
		ret = ret ? args_llmc(ret)
			  : print_answer(&a, &res, o->logprobs_given);
	}
	json_decref(a.ids);
	json_decref(a.logprobs);
	free(a.text);
	return ret;
}

/* How it ended decides the exit code. */
static int finish(struct llmc_stream *st, const struct run *o)
{
	struct llmc_result res;
	int ret = llmc_result(st, &res);

	if (ret)
		return args_llmc(ret);
	if (o->format != FORMAT_JSON && res.completion_tokens &&
	    o->last != '\n')
		putchar('\n');
	if (res.end == LLM_END_REFUSED || res.end == LLM_END_ERROR)
		return args_fail(res.error == EPERM || res.error == EACCES
					 ? EXIT_DENIED
					 : EXIT_FAILED,
				 "%s: %s", llmc_end_name(res.end),
				 *res.why ? res.why : strerror((int)res.error));
	return EXIT_OK;
}

static int stream_out(struct llmc *s, struct run *o)
{
	struct sigaction sa = { .sa_handler = on_interrupt,
				.sa_flags = (int)SA_RESETHAND };
	struct sigaction old;
	struct llmc_stream *st;
	int ret = llmc_submit(s, &o->req, &st);

	if (ret)
		return args_llmc(ret);
	running = st;
	/* a script's background job ignores it, and shall */
	if (!sigaction(SIGINT, NULL, &old) && old.sa_handler != SIG_IGN)
		sigaction(SIGINT, &sa, NULL);
	if (o->format == FORMAT_JSON)
		ret = print_json(st, o);
	else if (o->format == FORMAT_IDS)
		ret = print_ids(st);
	else
		ret = print_text(st, o);
	if (!ret)
		ret = finish(st, o);
	running = NULL;
	die_if_interrupted();
	if (fflush(stdout) || ferror(stdout))
		return args_fail(EXIT_FAILED, "standard output: %s",
				 strerror(errno));
	return ret;
}

int cmd_run(int argc, char **argv)
{
	struct run o = { .format = FORMAT_AUTO };
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = 1 };
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	struct llmc *s = NULL;
	char *owned = NULL;
	int nr, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = read_args(&o, argc, argv, operand, &nr);
	if (!ret)
		ret = fill_prompt(&o, operand, nr, &owned);
	if (ret)
		goto out;
	fill_request(&o);
	opt.socket = o.socket;
	/* room for the prompt that is there, whatever the default */
	opt.arena_size = (o.req.text_len + o.req.nr_ids * 4 + 131071) &
			 ~65535ull;
	ret = llmc_open(&s, &opt);
	if (ret) {
		ret = args_llmc(ret);
		goto out;
	}
	if (o.format == FORMAT_AUTO)
		o.format = llmc_model(s)->flags & LLM_MODEL_F_TEXT ? FORMAT_TEXT
								   : FORMAT_IDS;
	ret = stream_out(s, &o);
out:
	llmc_close(s);
	free(owned);
	free(operand);
	free(o.ids.id);
	free(o.stop.item);
	return ret < 0 ? EXIT_OK : ret;
}
