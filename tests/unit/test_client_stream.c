/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/*
 * Streams of the client library against an engine of the test's own.
 * A seam test: both share the words by address, so TSan judges their orders.
 */
#include "tests/test.h"
#include "tests/unit/fake_service.h"
#include "base/err.h"
#include "daemon/model/backend.h"
#include "daemon/params.h"

struct rig {
	struct fake *f;
	struct llmc *c;
	struct fake_engine e;
};

/* On the heap: a failing CHECK leaves the engine's thread running. */
static struct rig *rig_new(struct rig knobs)
{
	struct rig *r = malloc(sizeof(*r));

	if (!r)
		abort();
	*r = knobs;
	return r;
}

static void rig_open(struct rig *r, struct llmc_options o)
{
	r->f = fake_start();
	o.size = LLMC_OPTIONS_SIZE;
	o.socket = r->f->path;
	if (llmc_open(&r->c, &o))
		abort();
	fake_serve(r->f, r->c, &r->e);
}

static void rig_close(struct rig *r)
{
	fake_quit(&r->e);
	llmc_close(r->c);
	fake_end(r->f);
	free(r);
}

static struct llmc_request ids_request(const uint32_t *ids, size_t nr,
				       uint32_t max_tokens)
{
	return (struct llmc_request){ .size = LLMC_REQUEST_SIZE,
				      .ids = ids,
				      .nr_ids = nr,
				      .max_tokens = max_tokens };
}

/* Submit one id that stands for itself; aborts where that fails. */
static struct llmc_stream *begin(struct rig *r, uint32_t first, uint32_t n)
{
	struct llmc_request q = ids_request(&first, 1, n);
	struct llmc_stream *st;

	if (llmc_submit(r->c, &q, &st))
		abort();
	return st;
}

TEST(tokens_come_with_their_text_in_order)
{
	struct rig *r = rig_new((struct rig){ .e.per_step = 3 });
	struct llmc_token t[4];
	struct llmc_result res;
	struct llmc_stream *st;
	uint32_t seen = 0;
	char want[16];
	ssize_t n, i;

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 100, 20);
	while (seen < 20) {
		CHECK_EQ(llmc_wait(st, 1, 5000), 1);
		n = llmc_read(st, t, 4);
		CHECK(n > 0);
		for (i = 0; i < n; i++, seen++) {
			CHECK_EQ(t[i].token, 100 + seen);
			CHECK_EQ(t[i].text_len, fake_text(seen, want));
			CHECK(!memcmp(t[i].text, want, t[i].text_len));
			CHECK(t[i].logprob != t[i].logprob);
			CHECK_EQ(t[i].nr_alt, 0);
		}
	}
	CHECK_EQ(llmc_wait(st, 1, 5000), 1);
	CHECK_EQ(llmc_read(st, t, 4), 0);
	CHECK_EQ(llmc_result(st, &res), 0);
	CHECK_EQ(res.end, LLM_END_LENGTH);
	CHECK_EQ(res.detail, LLM_DETAIL_MAX_TOKENS);
	CHECK_EQ(res.prompt_tokens, 1);
	CHECK_EQ(res.cached_tokens, 1);
	CHECK_EQ(res.completion_tokens, 20);
	CHECK_EQ(res.seed, 42);
	CHECK_EQ(res.error, 0);
	CHECK_STR(res.why, "");
	rig_close(r);
}

TEST(text_is_cut_between_characters_whatever_the_buffer)
{
	const size_t sizes[] = { 4, 5, 7, 4096 };
	char all[1024], want[1024], one[16];
	size_t k, size, wanted = 0;
	uint32_t i;

	for (i = 0; i < 30; i++) {
		int n = fake_text(i, one);

		memcpy(want + wanted, one, (size_t)n);
		wanted += (size_t)n;
	}
	for (k = 0; k < 4; k++) {
		struct rig *r = rig_new((struct rig){ .e.per_step = 7 });
		struct llmc_stream *st;
		ssize_t n;

		rig_open(r, (struct llmc_options){ 0 });
		st = begin(r, 1, 30);
		size = 0;
		while ((n = llmc_read_text(st, all + size, sizes[k], 5000)) >
		       0) {
			size += (size_t)n;
			/* a euro sign is never in two pieces */
			CHECK((all[size - 1] & 0xc0) != 0x80 ||
			      (size >= 3 &&
			       !memcmp(all + size - 3, "\u20ac", 3)));
		}
		CHECK_EQ(n, 0);
		CHECK_EQ(size, wanted);
		CHECK(!memcmp(all, want, size));
		CHECK_EQ(llmc_read_text(st, all, 0, 0), -EINVAL);
		rig_close(r);
	}
}

TEST(a_wait_that_is_over_says_so)
{
	struct rig *r = rig_new((struct rig){ .e.hold = 1 });
	struct llmc_stream *st;
	struct llmc_token t;
	struct llmc_result res;
	char b[8];

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 1, 4);
	CHECK_EQ(llmc_wait(st, 1, 0), 0);
	CHECK_EQ(llmc_wait(st, 1, 30), 0);
	CHECK_EQ(llmc_read(st, &t, 1), -EAGAIN);
	CHECK_EQ(llmc_read_text(st, b, sizeof(b), 10), -EAGAIN);
	CHECK_EQ(llmc_result(st, &res), -EAGAIN);
	shm_store(&r->e.hold, 0u);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_result(st, &res), 0);
	rig_close(r);
}

TEST(a_large_wish_costs_one_wake)
{
	struct rig *r = rig_new((struct rig){ .e.per_step = 1 });
	struct llmc_stream *st;

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 1, 200);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 10000), 1);
	/* one for the end; one for an arming before it was admitted */
	CHECK(shm_load(&r->e.nr_wakes) <= 2);
	CHECK_EQ(shm_load(&r->e.nr_bells), 1);
	rig_close(r);
}

TEST(a_cancelled_stream_keeps_what_came)
{
	struct rig *r = rig_new((struct rig){ .e.per_step = 1 });
	struct llmc_result res;
	struct llmc_stream *st;
	struct llmc_token t[8];

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 1, 4000);
	CHECK_EQ(llmc_wait(st, 3, 5000), 1);
	llmc_cancel(st);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_result(st, &res), 0);
	CHECK_EQ(res.end, LLM_END_CANCELLED);
	CHECK(res.completion_tokens >= 3 && res.completion_tokens < 4000);
	CHECK(llmc_read(st, t, 8) >= 3);
	CHECK_EQ(t[2].token, 3);
	rig_close(r);
}

TEST(a_refusal_has_its_reason)
{
	struct rig *r = rig_new((struct rig){ 0 });
	struct llmc_result res;
	struct llmc_stream *st;
	struct llmc_token t;

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, FAKE_REFUSE, 4);
	CHECK_EQ(llmc_wait(st, 1, 5000), 1);
	CHECK_EQ(llmc_read(st, &t, 1), 0);
	CHECK_EQ(llmc_result(st, &res), 0);
	CHECK_EQ(res.end, LLM_END_REFUSED);
	CHECK_EQ(res.error, EINVAL);
	CHECK_STR(res.why, "7777 is not liked here");
	rig_close(r);
}

TEST(a_dropped_submission_is_told_and_its_stream_usable_again)
{
	struct rig *r = rig_new((struct rig){ .e.drop = 1 });
	struct llmc_options o = { .nr_streams = 1 };
	struct llmc_stream *st;
	struct llmc_token t;

	rig_open(r, o);
	st = begin(r, 1, 4);
	CHECK_EQ(llmc_wait(st, 1, 5000), -EINVAL);
	CHECK_EQ(llmc_read(st, &t, 1), -EINVAL);
	llmc_release(st);
	shm_store(&r->e.drop, 0u);
	st = begin(r, 1, 4);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_read(st, &t, 1), 1);
	rig_close(r);
}

TEST(what_was_delivered_is_readable_after_the_service_is_gone)
{
	struct rig *r = rig_new((struct rig){ .e.per_step = 1 });
	struct llmc_request q = ids_request(&(uint32_t){ 1 }, 1, 4000);
	struct llmc_stream *st, *other;
	struct llmc_token t[4001];
	struct llmc_result res;
	ssize_t n;

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 1, 4000);
	CHECK_EQ(llmc_wait(st, 5, 5000), 1);
	fake_quit(&r->e);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), -EPIPE);
	n = llmc_read(st, t, 4001);
	CHECK(n >= 5);
	CHECK_EQ(t[4].token, 5);
	CHECK_EQ(llmc_read(st, t, 1), -EPIPE);
	CHECK_EQ(llmc_result(st, &res), -EPIPE);
	CHECK_EQ(llmc_submit(r->c, &q, &other), -EPIPE);
	CHECK_EQ(llmc_ack(r->c), -EPIPE);
	llmc_release(st);
	llmc_close(r->c);
	fake_end(r->f);
	free(r);
}

TEST(a_service_that_gave_up_is_an_error_not_a_wait)
{
	struct rig *r = rig_new((struct rig){ .e.hold = 1 });
	struct llmc_request q = ids_request(&(uint32_t){ 1 }, 1, 4);
	struct llmc_stream *st;
	struct llmc_token t;

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 1, 4);
	CHECK_EQ(llmc_epoch(r->c), 1);
	shm_store(&r->e.host->daemon, (uint32_t)LLM_DAEMON_FAILED);
	CHECK_EQ(llmc_wait(st, 1, 5000), -EPIPE);
	CHECK_EQ(llmc_read(st, &t, 1), -EPIPE);
	CHECK_EQ(llmc_submit(r->c, &q, &st), -EPIPE);
	rig_close(r);
}

/* ---- room: slots, ring, arena ------------------------------------------ */

TEST(all_streams_in_use_is_not_now)
{
	struct rig *r = rig_new((struct rig){ 0 });
	struct llmc_options o = { .nr_streams = 2 };
	struct llmc_request q = ids_request(&(uint32_t){ 9 }, 1, 4000);
	struct llmc_stream *a, *b, *c;
	int i;

	rig_open(r, o);
	CHECK_EQ(llmc_submit(r->c, &q, &a), 0);
	CHECK_EQ(llmc_submit(r->c, &q, &b), 0);
	CHECK_EQ(llmc_submit(r->c, &q, &c), -EAGAIN);
	CHECK(strstr(llmc_error(), "streams"));
	/* given back while it runs: cancelled, usable once it has ended */
	llmc_release(a);
	for (i = 0; i < 5000 && llmc_submit(r->c, &q, &c); i++)
		usleep(1000);
	CHECK(i < 5000);
	CHECK(c == a);
	rig_close(r);
}

TEST(a_full_ring_is_not_now)
{
	struct rig *r = rig_new((struct rig){ .e.hold = 1 });
	struct llmc_options o = { .nr_streams = 8, .sq_entries = 4 };
	struct llmc_request q = ids_request(&(uint32_t){ 9 }, 1, 3);
	struct llmc_stream *st[8];
	int i;

	rig_open(r, o);
	for (i = 0; i < 4; i++)
		CHECK_EQ(llmc_submit(r->c, &q, &st[i]), 0);
	CHECK_EQ(llmc_submit(r->c, &q, &st[4]), -EAGAIN);
	shm_store(&r->e.hold, 0u);
	for (i = 0; i < 4; i++)
		CHECK_EQ(llmc_wait(st[i], UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_submit(r->c, &q, &st[4]), 0);
	rig_close(r);
}

TEST(a_prompt_over_the_arena_never_fits)
{
	struct rig *r = rig_new((struct rig){ 0 });
	struct llmc_options o = { .arena_size = 4096 };
	static uint32_t ids[2000];
	struct llmc_request q = ids_request(ids, 2000, 3);
	struct llmc_stream *st;

	rig_open(r, o);
	CHECK_EQ(llmc_submit(r->c, &q, &st), -EMSGSIZE);
	CHECK(strstr(llmc_error(), "8000") && strstr(llmc_error(), "4096"));
	q.nr_ids = 900;
	CHECK_EQ(llmc_submit(r->c, &q, &st), 0);
	rig_close(r);
}

TEST(a_waiting_ping_leaves_the_arena_to_others)
{
	struct rig *r = rig_new((struct rig){ .e.hold = 1 });
	struct llmc_options o = { .arena_size = 4096 };
	struct llmc_request ping = { .size = LLMC_REQUEST_SIZE,
				     .op = LLM_OP_PING };
	static uint32_t ids[900];
	struct llmc_request q = ids_request(ids, 900, 3);
	struct llmc_stream *a, *b, *c;

	rig_open(r, o);
	CHECK_EQ(llmc_submit(r->c, &ping, &a), 0);
	CHECK_EQ(llmc_submit(r->c, &q, &b), 0);
	CHECK_EQ(llmc_submit(r->c, &q, &c), -EAGAIN);
	CHECK(strstr(llmc_error(), "arena"));
	shm_store(&r->e.hold, 0u);
	CHECK_EQ(llmc_wait(a, 1, 5000), 1);
	CHECK_EQ(llmc_wait(b, UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_submit(r->c, &q, &c), 0);
	rig_close(r);
}

/*
 * Prompts of many lengths round and round a small arena, more submitted than
 * fit: each must reach the engine whole.  The model's first token is the
 * prompt's first id, its prompt_len the prompt's; the fake keeps the ids.
 */
TEST(prompts_of_all_lengths_pass_through_a_small_arena)
{
	struct rig *r = rig_new((struct rig){ .e.per_step = 2 });
	struct llmc_options o = { .arena_size = 8192, .nr_streams = 16 };
	struct llmc_stream *st[16] = { 0 };
	uint32_t ids[1500], len[16], rnd = 1, sent = 0, done = 0, k;
	struct llmc_result res;
	struct llmc_token t;
	size_t i;

	rig_open(r, o);
	while (done < 400) {
		uint32_t n = (rnd = rnd * 1664525u + 1013904223u) >> 8;
		struct llmc_request q;
		struct llmc_stream *new;
		int ret;

		n = n % 3 ? 1 + n % 40 : 1 + n % 1500;
		for (k = 0; k < n; k++)
			ids[k] = sent + k;
		q = ids_request(ids, n, 2);
		ret = sent < 400 ? llmc_submit(r->c, &q, &new) : -EAGAIN;
		if (!ret) {
			i = new->slot;
			st[i] = new;
			len[i] = n;
			llmc_arm(new, UINT32_MAX, 0);
			CHECK_EQ(llmc_user_data(new), 0);
			sent++;
			continue;
		}
		CHECK_EQ(ret, -EAGAIN);
		for (i = 0; i < 16; i++) {
			const uint32_t *got;
			struct llm_record *rec;

			if (!st[i] || llmc_result(st[i], &res) == -EAGAIN)
				continue;
			CHECK_EQ(res.prompt_tokens, len[i]);
			CHECK_EQ(llmc_read(st[i], &t, 1), 1);
			rec = fake_record(&r->e, (uint32_t)i);
			got = (uint32_t *)(r->e.base + rec->prompt_off);
			for (k = 0; k < len[i]; k++)
				CHECK_EQ(got[k], t.token + k);
			llmc_release(st[i]);
			st[i] = NULL;
			done++;
		}
	}
	rig_close(r);
}

/* ---- what reaches the engine ------------------------------------------- */

TEST(a_request_is_packed_as_the_engine_reads_it)
{
	static struct fake_seen seen;
	static const struct model_info model = { .vocab = 1000,
						 .context = 100 };
	static const char *const stops[] = { "END", "\u20ac" };
	static const uint32_t stop_ids[] = { 3, 999 };
	static const struct llm_bias bias[] = { { 5, 0xc2c80000 } };
	struct llmc_request q = {
		.size = LLMC_REQUEST_SIZE,
		.flags = LLM_SQE_F_CHAT | LLM_SQE_F_SPECIAL,
		.class_ = LLM_CLASS_BATCH,
		.text = "hello, engine",
		.max_tokens = 17,
		.deadline_ms = 60000,
		.user_data = 0x1122334455667788,
		.set = LLM_SET_SEED | LLM_SET_TEMPERATURE | LLM_SET_TOP_P |
		       LLM_SET_MIN_P | LLM_SET_TOP_K | LLM_SET_REPETITION,
		.params_flags = LLM_PARAMS_F_IGNORE_EOS,
		.seed = 77,
		.temperature = 0.5f,
		.top_p = 0.25f,
		.min_p = 0.125f,
		.repetition_penalty = 1.5f,
		.frequency_penalty = -1,
		.presence_penalty = 2,
		.top_k = 40,
		.min_tokens = 2,
		.nr_alt = 5,
		.nr_stop = 2,
		.nr_stop_ids = 2,
		.nr_bias = 1,
		.stop = stops,
		.stop_ids = stop_ids,
		.bias = bias,
	};
	struct rig *r = rig_new((struct rig){ .e.seen = &seen });
	struct llmc_stream *st;
	struct params p;
	struct err err;

	rig_open(r, (struct llmc_options){ 0 });
	CHECK_EQ(llmc_submit(r->c, &q, &st), 0);
	CHECK_EQ(llmc_user_data(st), 0x1122334455667788);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	CHECK_EQ(seen.sqe.flags,
		 LLM_SQE_F_TEXT | LLM_SQE_F_CHAT | LLM_SQE_F_SPECIAL);
	CHECK_EQ(seen.sqe.op, LLM_OP_GENERATE);
	CHECK_EQ(seen.sqe.class_, LLM_CLASS_BATCH);
	CHECK_EQ(seen.sqe.max_tokens, 17);
	CHECK(seen.sqe.deadline_ns > 0);
	CHECK_EQ(seen.sqe.len, 13);
	CHECK_EQ(seen.sqe.off % 4, 0);
	CHECK_EQ(seen.sqe.params_off % 8, 0);
	CHECK(!memcmp(seen.prompt, "hello, engine", 13));
	/* the daemon's own reader, written apart from the packer */
	CHECK_EQ(params_read(&p, seen.params, seen.sqe.params_len, &model, true,
			     &err),
		 0);
	CHECK_EQ(p.head.set, LLM_SET_ALL);
	CHECK_EQ(p.head.flags, LLM_PARAMS_F_IGNORE_EOS);
	CHECK_EQ(p.head.seed, 77);
	CHECK_EQ(p.head.temperature_bits, 0x3f000000);
	CHECK_EQ(p.head.top_p_bits, 0x3e800000);
	CHECK_EQ(p.head.min_p_bits, 0x3e000000);
	CHECK_EQ(p.head.repetition_bits, 0x3fc00000);
	CHECK_EQ(p.head.frequency_bits, 0xbf800000);
	CHECK_EQ(p.head.presence_bits, 0x40000000);
	CHECK_EQ(p.head.top_k, 40);
	CHECK_EQ(p.head.min_tokens, 2);
	CHECK_EQ(p.head.nr_alt, 5);
	CHECK_EQ(p.stop_ids[1], 999);
	CHECK_EQ(p.bias[0].token, 5);
	CHECK_EQ(p.stop_len[0], 3);
	CHECK(!memcmp(p.stop_bytes, "END\u20ac", 6));
	rig_close(r);
}

TEST(a_request_that_cannot_be_packed_is_refused_here)
{
	static const char *const empty[] = { "" };
	static const char *const nowhere[] = { NULL };
	const struct {
		const char *name;
		struct llmc_request q;
		int want;
	} rows[] = {
		{ "size 0", { .text = "x" }, -EINVAL },
		{ "no prompt", { .size = LLMC_REQUEST_SIZE }, -EINVAL },
		{ "TEXT is ours",
		  { .size = LLMC_REQUEST_SIZE,
		    .text = "x",
		    .flags = LLM_SQE_F_TEXT },
		  -EINVAL },
		{ "an empty stop",
		  { .size = LLMC_REQUEST_SIZE,
		    .text = "x",
		    .nr_stop = 1,
		    .stop = empty },
		  -EINVAL },
		{ "a stop that is NULL",
		  { .size = LLMC_REQUEST_SIZE,
		    .text = "x",
		    .nr_stop = 1,
		    .stop = nowhere },
		  -EINVAL },
		{ "a count without a list",
		  { .size = LLMC_REQUEST_SIZE, .text = "x", .nr_bias = 3 },
		  -EINVAL },
		{ "17 stops",
		  { .size = LLMC_REQUEST_SIZE,
		    .text = "x",
		    .nr_stop = 17,
		    .stop = empty },
		  -EINVAL },
		{ "21 alternatives",
		  { .size = LLMC_REQUEST_SIZE, .text = "x", .nr_alt = 21 },
		  -EINVAL },
		{ "ids that overflow",
		  { .size = LLMC_REQUEST_SIZE,
		    .ids = &(uint32_t){ 1 },
		    .nr_ids = SIZE_MAX / 4 + 2 },
		  -EMSGSIZE },
	};
	struct llmc_stream *st = NULL;
	struct rig *r = rig_new((struct rig){ 0 });
	size_t i;

	rig_open(r, (struct llmc_options){ 0 });
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].name);
		CHECK_EQ(llmc_submit(r->c, &rows[i].q, &st), rows[i].want);
		CHECK(!st && *llmc_error());
	}
	rig_close(r);
}

/* ---- a record that lies ------------------------------------------------ */

static void spoil_log(struct llm_record *r)
{
	r->log_off = ~0ull - 16;
}
static void spoil_odd(struct llm_record *r)
{
	r->log_off += 2;
}
static void spoil_text(struct llm_record *r)
{
	r->text_size = 0xfffffff0;
}
static void spoil_alt(struct llm_record *r)
{
	r->alt_k = 20;
	r->alt_off = 1ull << 40;
}

TEST(a_record_that_points_outside_crashes_nobody)
{
	const struct {
		const char *name;
		void (*spoil)(struct llm_record *r);
	} rows[] = {
		{ "log_off", spoil_log },
		{ "log_off odd", spoil_odd },
		{ "text_size", spoil_text },
		{ "alt", spoil_alt },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		/* PING: admitted and ended, and the fake writes no log */
		struct rig *r =
			rig_new((struct rig){ .e.spoil = rows[i].spoil });
		struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
					  .op = LLM_OP_PING };
		struct llmc_result res;
		struct llmc_stream *st;
		struct llmc_token t;

		ROW(rows[i].name);
		rig_open(r, (struct llmc_options){ 0 });
		CHECK_EQ(llmc_submit(r->c, &q, &st), 0);
		CHECK_EQ(llmc_wait(st, 1, 5000), -EPROTO);
		CHECK_EQ(llmc_read(st, &t, 1), -EPROTO);
		CHECK_EQ(llmc_result(st, &res), -EPROTO);
		rig_close(r);
	}
}

TEST(text_ends_that_go_back_give_no_text)
{
	struct rig *r = rig_new((struct rig){ 0 });
	struct llmc_token t[4];
	struct llm_record *rec;
	struct llm_tok *log;
	struct llmc_stream *st;
	char b[64];

	rig_open(r, (struct llmc_options){ 0 });
	st = begin(r, 5, 3);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	rec = fake_record(&r->e, st->slot);
	log = (struct llm_tok *)(r->e.base + rec->log_off);
	log[0].text_end = 9;
	log[1].text_end = 4;
	log[2].text_end = 0xffffffff;
	CHECK_EQ(llmc_read(st, t, 4), 3);
	CHECK_EQ(t[1].text_len, 0);
	CHECK_EQ(t[2].text_len, FAKE_TEXT_SIZE - 4);
	CHECK_EQ(llmc_read_text(st, b, sizeof(b), 0), sizeof(b));
	rig_close(r);
}

/* ---- loops, threads ---------------------------------------------------- */

/* 32 streams in one loop; @all: armed together, else one by one. */
static void own_loop(bool all)
{
	struct rig *r = rig_new((struct rig){ .e.per_step = 3 });
	struct llmc_options o = { .nr_streams = 32, .sq_entries = 32 };
	uint32_t read[32] = { 0 }, live = 32, i;
	struct llmc_request q;
	struct llmc_stream *st;
	struct llmc_token t[8];
	struct llmc_result res;
	bool again = false;
	ssize_t n;

	rig_open(r, o);
	for (i = 0; i < 32; i++) {
		q = ids_request(&(uint32_t){ 1000 * i }, 1, 10 + i);
		q.user_data = i;
		CHECK_EQ(llmc_submit(r->c, &q, &st), 0);
		again |= !all && llmc_arm(st, 4, 0);
	}
	while (live) {
		struct pollfd p = { llmc_fd(r->c), POLLIN, 0 };

		again |= all && llmc_arm_all(r->c, 4, 0);
		CHECK(poll(&p, 1, again ? 0 : 5000) == 1 || again);
		again = false;
		CHECK_EQ(llmc_ack(r->c), 0);
		for (st = NULL; (st = llmc_next(r->c, st));) {
			i = (uint32_t)llmc_user_data(st);
			while ((n = llmc_read(st, t, 8)) > 0) {
				CHECK_EQ(t[0].token, 1000 * i + read[i]);
				read[i] += (uint32_t)n;
			}
			if (n == 0) {
				CHECK_EQ(llmc_result(st, &res), 0);
				CHECK_EQ(read[i], 10 + i);
				llmc_release(st);
				live--;
				continue;
			}
			CHECK_EQ(n, -EAGAIN);
			again |= !all && llmc_arm(st, 4, 0);
		}
	}
	rig_close(r);
}

TEST(one_poll_loop_carries_many_streams)
{
	own_loop(false);
}

TEST(streams_are_armed_together_at_the_price_of_one_fence)
{
	own_loop(true);
}

TEST(a_ping_comes_back)
{
	struct rig *r = rig_new((struct rig){ 0 });
	uint64_t ns = 0;
	int i;

	rig_open(r, (struct llmc_options){ .nr_streams = 1 });
	for (i = 0; i < 5; i++)
		CHECK_EQ(llmc_ping(r->c, 5000, &ns), 0);
	CHECK(ns > 0);
	shm_store(&r->e.hold, 1u);
	CHECK_EQ(llmc_ping(r->c, 20, &ns), -ETIMEDOUT);
	rig_close(r);
}

TEST(a_prompt_can_be_read_back_as_ids)
{
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE, .text = "abc" };
	struct rig *r = rig_new((struct rig){ .e.hold = 1 });
	const uint32_t *ids = NULL;
	struct llmc_stream *st;

	rig_open(r, (struct llmc_options){ 0 });
	CHECK_EQ(llmc_submit(r->c, &q, &st), 0);
	CHECK_EQ(llmc_prompt(st, &ids), -EAGAIN);
	CHECK(!ids);
	shm_store(&r->e.hold, 0u);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_prompt(st, &ids), 3);
	CHECK_EQ(ids[0], 'a');
	CHECK_EQ(ids[2], 'c');
	fake_record(&r->e, 0)->prompt_len = 0x40000000;
	CHECK_EQ(llmc_prompt(st, &ids), -EPROTO);
	rig_close(r);
}

TEST(score_gives_each_id_its_logprob)
{
	static const uint32_t ids[] = { 10, 11, 12, 13 };
	struct llmc_request q = ids_request(ids, 4, 0);
	struct llmc_stream *st;
	struct rig *r = rig_new((struct rig){ 0 });
	struct llmc_token t[4];

	rig_open(r, (struct llmc_options){ 0 });
	q.op = LLM_OP_SCORE;
	CHECK_EQ(llmc_submit(r->c, &q, &st), 0);
	CHECK_EQ(llmc_wait(st, UINT32_MAX, 5000), 1);
	CHECK_EQ(llmc_read(st, t, 4), 3);
	CHECK(t[2].logprob == -0.5f);
	rig_close(r);
}

static const char *use(struct rig *r)
{
	uint32_t turn, got;

	for (turn = 1; turn <= 20; turn++) {
		struct llmc_stream *a = begin(r, turn, 20 + turn);
		struct llmc_stream *b = begin(r, 5000 + turn, 5);
		struct llmc_token t[64];
		ssize_t n;

		for (got = 0; got < 20 + turn; got += (uint32_t)n) {
			if (llmc_wait(a, turn % 7 + 1, 5000) != 1)
				return "a wait failed";
			n = llmc_read(a, t, 64);
			if (n <= 0 || t[0].token != turn + got)
				return "a token is wrong";
		}
		if (llmc_wait(b, UINT32_MAX, 5000) != 1 ||
		    llmc_read(b, t, 64) != 5 || t[4].token != 5004 + turn)
			return "the other stream is wrong";
		llmc_release(a);
		llmc_release(b);
	}
	return NULL;
}

static void *user(void *rig)
{
	return (void *)use(rig); /* NULL, or what went wrong */
}

TEST(many_threads_each_with_a_session_do_not_meet)
{
	enum { NR = 6 };
	struct rig *r[NR];
	pthread_t id[NR];
	const char *why;
	int i;

	for (i = 0; i < NR; i++) {
		r[i] = rig_new((struct rig){ .e.per_step = 4 });
		rig_open(r[i], (struct llmc_options){ .nr_streams = 4 });
		CHECK(!pthread_create(&id[i], NULL, user, r[i]));
	}
	for (i = 0; i < NR; i++) {
		pthread_join(id[i], (void **)&why);
		CHECK_STR(why ? why : "", "");
		rig_close(r[i]);
	}
}
