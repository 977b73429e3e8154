/* SPDX-License-Identifier: MIT */
/*
 * T25, end to end and by hand: what no library would send.  Each is refused
 * with one line (or dropped, where there is no stream to refuse it in) while
 * a good stream beside it gets every token of its own; and a request that
 * kills its engine again and again is given up, not the service.
 */
#include "tests/test.h"
#include "tests/system/raw.h"
#include "tests/system/serve.h"
#include "daemon/model/null.h"
#include "include/llmclient.h"

#include <stdbool.h>

#define GOOD  0u /* the slot of the good stream */
#define BAD   1u
#define NAN_F 0x7fc00000u
#define INF_F 0x7f800000u

static struct serve llmd;

/* A request that would be granted, and one thing wrong in it. */
struct wrong {
	const char *name;
	int error; /* positive errno; 0: any */
	struct llm_sqe e;
	struct llm_params p;
	uint32_t id;	  /* in place of the prompt's second id */
	uint32_t tail[4]; /* behind the parameters: stop ids, then biases */
};

#define KEEP 0xfeedu /* "as it was" where 0 is a value to try */

static const struct wrong rows[] = {
	{ "an id of the vocabulary's size", EINVAL, .id = NULL_VOCAB },
	{ "an id of 2^31 - 1", EINVAL, .id = 0x7fffffff },
	{ "an id of -1", EINVAL, .id = 0xffffffff },
	{ "an empty prompt", EINVAL, .e.len = KEEP },
	{ "half an id", EINVAL, .e.len = 7 },
	{ "a prompt outside the arena", 0, .e.off = 0x7ffffffc },
	{ "a prompt that ends outside", 0, .e.off = RAW_STREAMS * RAW_ROOM - 4,
	  .e.len = 8 },
	{ "a prompt of 4 GiB", 0, .e.len = 0xfffffffc },
	{ "a prompt at an odd place", EINVAL, .e.off = 129 },
	{ "max_tokens 0", EINVAL, .e.max_tokens = KEEP },
	{ "max_tokens 2^31", 0, .e.max_tokens = 1u << 31 },
	{ "max_tokens over the context", 0, .e.max_tokens = 32768 },
	{ "an unknown op", 0, .e.op = 77 },
	{ "a reserved op", EOPNOTSUPP, .e.op = LLM_OP_EMBED },
	{ "an unknown flag", EINVAL, .e.flags = 1u << 31 },
	{ "a chat of ids", EINVAL, .e.flags = LLM_SQE_F_CHAT },
	{ "an unknown class", EINVAL, .e.class_ = LLM_CLASS_NR },
	{ "another model", 0, .e.model = 3 },
	{ "an adapter", 0, .e.adapter = 3 },
	{ "a reserved word", EINVAL, .e.resv = 1 },
	{ "parameters outside the arena", 0, .e.params_off = 0x7ffffff8 },
	{ "parameters at an odd place", EINVAL, .e.params_off = 12 },
	{ "parameters of 4 GiB", 0, .e.params_len = 0xfffffffc },
	{ "parameters of 3 bytes", 0, .e.params_len = 3 },
	{ "parameters of another size", 0, .p.size = 7 },
	{ "parameters said to be longer", 0, .p.size = 1u << 30 },
	{ "temperature NaN", EINVAL, .p.set = LLM_SET_TEMPERATURE,
	  .p.temperature_bits = NAN_F },
	{ "temperature infinite", EINVAL, .p.set = LLM_SET_TEMPERATURE,
	  .p.temperature_bits = INF_F },
	{ "temperature below 0", EINVAL, .p.set = LLM_SET_TEMPERATURE,
	  .p.temperature_bits = 0xbf800000 },
	{ "top_p 0", EINVAL, .p.set = LLM_SET_TOP_P, .p.top_p_bits = 0 },
	{ "top_p NaN", EINVAL, .p.set = LLM_SET_TOP_P, .p.top_p_bits = NAN_F },
	{ "min_p 2", EINVAL, .p.set = LLM_SET_MIN_P,
	  .p.min_p_bits = 0x40000000 },
	{ "top_k over the vocabulary", EINVAL, .p.set = LLM_SET_TOP_K,
	  .p.top_k = NULL_VOCAB + 1 },
	{ "presence penalty NaN", EINVAL, .p.presence_bits = NAN_F },
	{ "an unknown bit of set", EINVAL, .p.set = 1u << 30 },
	{ "an unknown parameter flag", EINVAL, .p.flags = 1u << 30 },
	{ "21 alternatives", EINVAL, .p.nr_alt = LLM_MAX_ALT + 1 },
	{ "min_tokens over max_tokens", EINVAL, .p.min_tokens = 1u << 20 },
	{ "a million stop strings", EINVAL, .p.nr_stop = 1000000 },
	{ "a million stop ids", EINVAL, .p.nr_stop_ids = 1000000 },
	{ "2^32 - 1 biases", EINVAL, .p.nr_bias = 0xffffffff },
	{ "stop ids that are not there", EINVAL, .p.nr_stop_ids = 60 },
	{ "a stop id out of range", EINVAL, .p.nr_stop_ids = 1,
	  .tail = { NULL_VOCAB } },
	{ "a bias out of range", EINVAL, .p.nr_bias = 1,
	  .tail = { 0xffffffff } },
	{ "a bias of NaN", EINVAL, .p.nr_bias = 1, .tail = { 5, NAN_F } },
	{ "an empty stop string", EINVAL, .p.nr_stop = 1 },
	{ "a stop string longer than what is there", EINVAL, .p.nr_stop = 1,
	  .tail = { 200 } },
	{ "a stop string that is not UTF-8", EINVAL, .p.nr_stop = 1,
	  .tail = { 4, 0xffffffff } },
	{ "a reserved parameter", EINVAL, .p.resv[2] = 1 },
};

static void set(uint32_t *field, uint32_t wish)
{
	if (wish)
		*field = wish == KEEP ? 0 : wish;
}

/* Row @w as an entry of the slot BAD, its bytes in the arena. */
static bool push(struct raw *r, const struct wrong *w)
{
	uint32_t at = BAD * RAW_ROOM, ids[4] = { 5, 6, 7, 8 };
	struct llm_params p = w->p;
	struct llm_sqe e = { .op = w->e.op ? w->e.op : LLM_OP_GENERATE,
			     .class_ = w->e.class_,
			     .stream = BAD,
			     .gen = ++r->gen[BAD],
			     .flags = w->e.flags,
			     .max_tokens = 4,
			     .off = at + 512,
			     .len = sizeof(ids),
			     .params_off = at,
			     .params_len = sizeof(p) + sizeof(w->tail),
			     .model = w->e.model,
			     .adapter = w->e.adapter,
			     .resv = w->e.resv };

	if (!w->tail[0] && !w->p.nr_stop)
		e.params_len = sizeof(p);
	if (w->p.nr_stop_ids == 1)
		e.params_len = sizeof(p) + 4;
	if (w->p.nr_bias == 1 || (w->p.nr_stop == 1 && w->tail[0]))
		e.params_len = sizeof(p) + 8;
	if (w->p.nr_stop == 1 && !w->tail[0])
		e.params_len = sizeof(p) + 4;
	if (!p.size)
		p.size = sizeof(p);
	set(&ids[1], w->id);
	set(&e.off, w->e.off);
	set(&e.len, w->e.len);
	set(&e.max_tokens, w->e.max_tokens);
	set(&e.params_off, w->e.params_off);
	set(&e.params_len, w->e.params_len);
	memset(r->arena + at, 0, RAW_ROOM);
	memcpy(r->arena + at, &p, sizeof(p));
	memcpy(r->arena + at + sizeof(p), w->tail, sizeof(w->tail));
	memcpy(r->arena + at + 512, ids, sizeof(ids));
	if (!raw_push(r, &e))
		return false;
	r->pos[BAD] = r->tail;
	raw_bell(r);
	return true;
}

/* How the last submission to @slot ended; -1: not within 5 s. */
static int outcome(struct raw *r, uint32_t slot)
{
	uint64_t t0 = raw_now();
	int ret;

	while ((ret = raw_result(r, slot)) == -EAGAIN) {
		if (raw_now() - t0 > 5000000000ull)
			return -1;
		usleep(50);
	}
	return ret;
}

/* The good stream, asked once more: every token as null.h has it. */
static bool good_again(struct raw *r)
{
	struct raw_ask a = { .seed = 99,
			     .prompt_len = 3,
			     .max_tokens = 60,
			     .prompt = { 11, 12, 13 } };
	uint64_t key = null_key(a.seed, a.prompt, a.prompt_len), w;
	uint64_t t0 = raw_now();
	uint32_t t;

	if (!raw_submit(r, GOOD, &a))
		return false;
	raw_bell(r);
	while (w = raw_peek(r, GOOD), !raw_done(r, GOOD, w, UINT32_MAX)) {
		if (raw_now() - t0 > 5000000000ull)
			return false;
		usleep(50);
	}
	for (t = 0; t < LLM_COMMIT_TAIL(w); t++)
		if (raw_log(r, GOOD)[t].token != null_token(key, t))
			return false;
	return t > 4;
}

TEST(T25_each_wrong_entry_is_refused_and_nobody_else_feels_it)
{
	static const char *const args[] = { "--backend", "null", NULL };
	struct llm_info info = { 0 };
	struct raw r;
	uint32_t i, lines = 0, kernel = 0;
	char why[160];
	int ret;

	CHECK(!serve_start(&llmd, "llmd", args));
	CHECK(!raw_open(&r, llmd.sock));
	ROW("before");
	CHECK(good_again(&r));
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].name);
		CHECK(push(&r, &rows[i]));
		if (r.refused) { /* the kernel saw it already, and dropped it */
			CHECK_EQ(r.refused, EINVAL);
			kernel++;
			CHECK(good_again(&r));
			continue;
		}
		ret = outcome(&r, BAD);
		CHECK(ret > 0);
		if (rows[i].error)
			CHECK_EQ(ret, rows[i].error);
		CHECK_EQ(LLM_COMMIT_END(raw_peek(&r, BAD)), LLM_END_REFUSED);
		CHECK_EQ(LLM_COMMIT_TAIL(raw_peek(&r, BAD)), 0);
		memcpy(why, raw_record(&r, BAD)->why, sizeof(why));
		CHECK(*why && memchr(why, 0, sizeof(why)));
		lines += !strchr(why, '\n');
		CHECK(good_again(&r));
	}
	CHECK_EQ(lines + kernel, sizeof(rows) / sizeof(*rows));
	CHECK(serve_device() || !kernel);
	ROW("a stream that does not exist");
	CHECK(raw_push(&r, &(struct llm_sqe){ .op = LLM_OP_GENERATE,
					      .stream = RAW_STREAMS,
					      .gen = 1,
					      .max_tokens = 1 }));
	raw_bell(&r);
	CHECK(good_again(&r));
	CHECK(shm_load(&raw_eng(&r)->sq_dropped) > 0 ||
	      shm_load(&raw_host(&r)->sq_dropped) == kernel + 1);
	ROW("after");
	raw_close(&r);
	llmc_info(llmd.sock, &info);
	CHECK_EQ(serve_stop(&llmd), 0);
	CHECK_EQ(info.restarts, 0);
	if (!serve_device()) /* where the module counts */
		CHECK_EQ(info.refused, sizeof(rows) / sizeof(*rows));
}

/* Segfault the engine in the step of a long prompt, until it is given up. */
static const char *poison(struct llmc *s, uint32_t *kills)
{
	static uint32_t ids[1000];
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
				  .ids = ids,
				  .nr_ids = 1000,
				  .max_tokens = 1 };
	static struct llmc_result res;
	struct llm_info info = { 0 };
	struct llmc_stream *st;
	pid_t killed = 0;
	uint32_t i;

	for (i = 0; i < 1000; i++)
		ids[i] = 6 + (i * 37 + *kills) % 4000;
	if (llmc_submit(s, &q, &st))
		return NULL;
	/* each life once, when it serves and is some way into the step */
	for (i = 0; i < 2000 && llmc_result(st, &res) == -EAGAIN; i++) {
		pid_t engine = serve_engine(llmd.pid);

		serve_msleep(5);
		if (!engine || engine == killed ||
		    llmc_info(llmd.sock, &info) ||
		    info.daemon != LLM_DAEMON_READY)
			continue;
		serve_msleep(10);
		*kills += !kill(engine, SIGSEGV);
		killed = engine;
	}
	llmc_wait(st, UINT32_MAX, 10000);
	if (llmc_result(st, &res))
		return NULL;
	llmc_release(st);
	return res.end == LLM_END_ERROR ? res.why : "";
}

TEST(T29_a_request_that_kills_three_engines_is_given_up)
{
	static const char *const args[] = { "--model",
					    "models/manpages-2m",
					    "--threads",
					    "1",
					    "--max-tokens-per-step",
					    "1024",
					    "--max-crashes",
					    "1000",
					    NULL };
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE };
	uint32_t kills = 0, tries;
	const char *why = "";
	struct llmc *s;
	uint64_t ns;

	if (SANITIZED)
		SKIP("a sanitizer makes a fault of its own report");
	if (access("models/manpages-2m/model.safetensors", R_OK))
		SKIP("no models/manpages-2m");
	CHECK(!serve_start(&llmd, "llmd", args));
	opt.socket = llmd.sock;
	CHECK(!llmc_open(&s, &opt));
	/* chance: a kill between two steps blames nobody, and it may finish */
	for (tries = 0; tries < 10 && why && !*why; tries++)
		why = poison(s, &kills);
	CHECK(why);
	CHECK(strstr(why, "quarantined"));
	/* and the service serves */
	CHECK_EQ(llmc_ping(s, 10000, &ns), 0);
	llmc_close(s);
	CHECK_EQ(serve_stop(&llmd), 0);
	printf("# %u kills, %u requests: %s\n", kills, tries, why);
}
