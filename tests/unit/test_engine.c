/* SPDX-License-Identifier: MIT */
/* seam test: threads share memory here, so it runs under TSan too */
/* The engine as a whole, over plain memory and a toy model (rig.h). */
#include "daemon/ledger.h"
#include "tests/unit/rig.h"

static struct rig R;

static uint32_t rng = 12345;
static uint32_t rnd(uint32_t n)
{
	rng = rng * 1664525u + 1013904223u;
	return (rng >> 8) % n;
}

static void fill(uint32_t *ids, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++)
		ids[i] = rnd(TOY_SINGLE);
}

/* Does stream @i hold exactly what the toy model says to this request? */
static void check_ids(const struct rig_session *x, uint32_t i,
		      const uint32_t *prompt, uint32_t n, uint32_t max,
		      uint64_t seed)
{
	static uint32_t want[1024];
	uint32_t nr = toy_want(prompt, n, seed, max, want), k;

	CHECK(rig_ended(x, i));
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, i)), nr);
	for (k = 0; k < nr; k++)
		CHECK_EQ(rig_log(x, i)[k].token, want[k]);
	CHECK_EQ(rig_end(x, i),
		 want[nr - 1] == TOY_EOS ? LLM_END_STOP : LLM_END_LENGTH);
}

TEST(a_request_by_ids_gets_its_tokens_text_and_end)
{
	uint32_t prompt[] = { 'h', 'i', ' ' }, i, n;
	struct rig_session *x;
	const struct llm_tok *t;
	const struct llm_record *r;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 3, prompt, 3, 40, 9);
	CHECK_EQ(rig_run(&R), 0);
	check_ids(x, 3, prompt, 3, 40, 9);
	r = rig_record(x, 3);
	CHECK_EQ(r->prompt_len, 3);
	CHECK_EQ(r->seed, 9);
	CHECK_EQ(r->max_tokens, 40);
	CHECK_EQ(r->gen, 1);
	t = rig_log(x, 3);
	n = LLM_COMMIT_TAIL(rig_word(x, 3));
	for (i = 0; i < n && t[i].token != TOY_EOS; i++) {
		CHECK_EQ(t[i].text_end, i + 1);
		CHECK_EQ(rig_text(x, 3)[i], t[i].token);
		CHECK(t[i].flags & LLM_TOK_F_UTF8);
		CHECK_EQ(t[i].logprob_bits, 0x7fc00000u);
	}
	CHECK_EQ(x->s.engine->sq_head, 1);
	CHECK_EQ(x->s.model->vocab, TOY_VOCAB);
	CHECK_STR((const char *)x->s.model->name, "toy");
	CHECK_EQ(R.board.ready, 1);
	CHECK_EQ(R.board.info.kv_blocks, 255);
	rig_deinit(&R);
}

static uint32_t blocks_told;

/* Called first in the first round: what does the keeper read by now? */
static int spy(struct carrier *c, struct carrier_work *ret)
{
	if (!blocks_told && R.board.ready)
		blocks_told = R.board.info.kv_blocks;
	return rig_take(c, ret);
}

TEST(what_is_served_is_told_with_ready)
{
	rig_init(&R);
	R.c.take = spy;
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(blocks_told, 255);
	CHECK_EQ(R.board.info.model.context, 512);
	rig_deinit(&R);
}

static struct ledger *ledger;

/* Just before an entry is seen, its tenant's ceiling is lowered. */
static int lower_then_take(struct carrier *c, struct carrier_work *ret)
{
	const struct terms t = { .class_ceiling = LLM_CLASS_BATCH };
	struct err err = { 0 };
	int n = rig_take(c, ret);

	if (n > 0 && ret->kind == CARRIER_SQE)
		CHECK_EQ(ledger_set(ledger, ret->session->tenant,
				    LLM_TENANT_CLASS, &t, &err),
			 0);
	return n;
}

TEST(a_limit_told_before_an_entry_holds_for_it_whatever_the_engine_does)
{
	const uint32_t prompt[] = { 'h', 'i' };
	const struct terms defaults = { .weight = 100,
					.max_inflight = LLM_NO_LIMIT };
	struct rig_session *x;
	struct err err = { 0 };

	CHECK_EQ(ledger_create(&ledger, &defaults, &err), 0);
	rig_init(&R);
	R.board.ledger = ledger;
	R.c.take = lower_then_take;
	x = rig_session(&R, 0, 1);
	rig_ids(x, 3, prompt, 2, 5, 9);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_record(x, 3)->class_, LLM_CLASS_BATCH);
	rig_deinit(&R);
	ledger_destroy(ledger);
}

TEST(T1_many_requests_together_get_the_ids_they_get_alone)
{
	static uint32_t prompt[48][200];
	uint32_t len[48], max[48], i;
	static const uint32_t budgets[] = { 16, 64, 512 };
	unsigned b;

	for (i = 0; i < 48; i++) {
		len[i] = 1 + rnd(i % 3 ? 20 : 190);
		max[i] = 1 + rnd(60);
		fill(prompt[i], len[i]);
		if (i % 4 == 1) /* some share their beginning */
			memcpy(prompt[i], prompt[0],
			       (len[i] < len[0] ? len[i] : len[0]) * 4);
	}
	for (b = 0; b < 3; b++) {
		rig_init(&R);
		R.max_tokens = budgets[b];
		R.max_seqs = 16;
		for (i = 0; i < 3; i++)
			rig_session(&R, i, 1 + i % 2);
		for (i = 0; i < 48; i++)
			rig_ids(&R.ses[i / 16], i % 16, prompt[i], len[i],
				max[i], 1000 + i);
		CHECK_EQ(rig_run(&R), 0);
		for (i = 0; i < 48; i++)
			check_ids(&R.ses[i / 16], i % 16, prompt[i], len[i],
				  max[i], 1000 + i);
		CHECK_EQ(R.board.info.kv_used, 0);
		CHECK_EQ(R.board.info.running, 0);
		rig_deinit(&R);
	}
}

static int cancel_at(struct rig *r, uint64_t deadline_ns)
{
	struct rig_session *x = &r->ses[0];

	if (r->turn == 6) {
		shm_store(&x->wish[0].cancel_gen, (uint64_t)x->gen[0]);
		rig_submit(x, (struct llm_sqe){ .op = LLM_OP_CANCEL,
						.stream = 1,
						.gen = x->gen[1] });
		/* of another gen: cancels nothing */
		shm_store(&x->wish[2].cancel_gen, 99ull);
		rig_submit(x, (struct llm_sqe){ .op = LLM_OP_CANCEL,
						.stream = 2,
						.gen = 99 });
	}
	return deadline_ns == UINT64_MAX;
}

TEST(a_cancel_by_wish_or_by_op_ends_with_the_tokens_so_far)
{
	uint32_t prompt[] = { 'x' }, i;
	struct rig_session *x;

	toy_say = (const uint32_t[]){ [0 ... 199] = 'a' };
	toy_say_nr = 200;
	rig_init(&R);
	R.script = cancel_at;
	x = rig_session(&R, 0, 1);
	for (i = 0; i < 3; i++)
		rig_ids(x, (uint16_t)i, prompt, 1, 200, 5);
	CHECK_EQ(rig_run(&R), 0);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(rig_end(x, i), LLM_END_CANCELLED);
		CHECK(LLM_COMMIT_TAIL(rig_word(x, i)) >= 4);
		CHECK(LLM_COMMIT_TAIL(rig_word(x, i)) < 10);
	}
	CHECK_EQ(rig_end(x, 2), LLM_END_LENGTH);
	CHECK_EQ(R.board.info.kv_used, 0);
	rig_deinit(&R);
	toy_say = NULL;
}

static int close_at(struct rig *r, uint64_t deadline_ns)
{
	if (r->turn == 5)
		r->ses[0].closing = true;
	if (r->turn == 7) {
		CHECK(r->board.info.running <= 1);
		/* its memory is gone: whoever touches it dies under ASan */
		free(r->ses[0].mem[0]);
		free(r->ses[0].mem[3]);
		r->ses[0].mem[0] = r->ses[0].mem[3] = NULL;
	}
	return deadline_ns == UINT64_MAX;
}

/* Once the first stream of slot 3 has ended: the next, and no new wish. */
static int next_turn(struct rig *r, uint64_t deadline_ns)
{
	const uint32_t prompt[] = { 'h', 'o' };
	struct rig_session *x = &r->ses[0];

	if (!rig_ended(x, 3))
		return 0;
	if (x->gen[3] == 2)
		return LLM_COMMIT_GEN(rig_word(x, 3)) == 2;
	CHECK_EQ(x->wakes, 1);
	rig_ids(x, 3, prompt, 2, 5, 2);
	return 0;
}

TEST(a_wish_that_was_answered_stands_again_for_the_slots_next_stream)
{
	const uint32_t prompt[] = { 'h', 'i' };
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	R.script = next_turn;
	shm_publish(&x->wish[3].arm_want, (__u64)1 << 32 | 1);
	rig_ids(x, 3, prompt, 2, 5, 1);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(x->wakes, 2);
	rig_deinit(&R);
}

TEST(a_closed_session_leaves_no_block_and_no_pointer_behind)
{
	uint32_t prompt[40], i;

	fill(prompt, 40);
	toy_say = (const uint32_t[]){ [0 ... 199] = 'a' };
	toy_say_nr = 200;
	rig_init(&R);
	R.script = close_at;
	rig_session(&R, 0, 1);
	rig_session(&R, 1, 1);
	for (i = 0; i < 16; i++)
		rig_ids(&R.ses[0], (uint16_t)i, prompt, 40, 150, i);
	rig_ids(&R.ses[1], 0, prompt, 40, 150, 5);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(&R.ses[1], 0)), 150);
	CHECK_EQ(R.board.info.kv_used, 0);
	rig_deinit(&R);
	toy_say = NULL;
}

TEST(a_score_gives_each_prompt_token_its_logprob)
{
	uint32_t prompt[100], i;
	struct rig_session *x;
	const struct llm_tok *t;
	struct llm_params p = { .size = sizeof(p), .nr_alt = 3 };

	fill(prompt, 100);
	rig_init(&R);
	R.max_tokens = 16; /* in chunks */
	x = rig_session(&R, 0, 1);
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_SCORE,
					.stream = 0,
					.off = rig_put(x, prompt, 400),
					.len = 400,
					.params_off = rig_put(x, &p, sizeof(p)),
					.params_len = sizeof(p) });
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_SCORE,
					.stream = 1,
					.off = rig_put(x, prompt, 4),
					.len = 4 });
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_word(x, 0), LLM_COMMIT(1, LLM_ST_END, LLM_END_LENGTH, 99));
	CHECK_EQ(rig_word(x, 1), LLM_COMMIT(1, LLM_ST_END, LLM_END_LENGTH, 0));
	t = rig_log(x, 0);
	for (i = 0; i < 99; i++) {
		const struct llm_alt *a =
			(const struct llm_alt *)(x->s.base +
						 rig_record(x, 0)->alt_off) +
			i * 3;
		float lp;

		CHECK_EQ(t[i].token, prompt[i + 1]);
		memcpy(&lp, &t[i].logprob_bits, 4);
		CHECK(lp == toy_logprob(prompt[i + 1]));
		CHECK_EQ(t[i].text_end, 0);
		CHECK_EQ(LLM_TOK_NR_ALT(t[i].flags), 3);
		CHECK_EQ(a[1].token, (prompt[i + 1] + 1) % TOY_VOCAB);
	}
	rig_deinit(&R);
}

TEST(a_ping_ends_at_once_and_a_nop_is_nothing)
{
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_submit(x,
		   (struct llm_sqe){ .op = LLM_OP_NOP, .stream = 4, .gen = 5 });
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_PING,
					.stream = 4,
					.user_data = 77 });
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_word(x, 4), LLM_COMMIT(1, LLM_ST_END, LLM_END_STOP, 0));
	CHECK_EQ(rig_record(x, 4)->user_data, 77);
	CHECK_EQ(x->s.engine->sq_dropped, 0);
	rig_deinit(&R);
}

TEST(an_entry_is_taken_once_and_one_for_a_running_slot_is_dropped)
{
	static const uint32_t gens[] = { 0x80000000u, 0xfffffff0u, 6 };
	uint32_t prompt[] = { 'x' }, i;
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 0, prompt, 1, 5, 1); /* gen 1 */
	x->gen[0] = 1;
	rig_ids(x, 0, prompt, 1, 9, 1); /* gen 2, while 1 runs: dropped */
	x->gen[0] = 0;
	rig_ids(x, 0, prompt, 1, 7, 1); /* gen 1 again: void */
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_PING,
					.stream = RIG_STREAMS,
					.gen = 1 });
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(LLM_COMMIT_GEN(rig_word(x, 0)), 1);
	CHECK_EQ(rig_record(x, 0)->max_tokens, 5);
	CHECK_EQ(x->s.engine->sq_dropped, 2);
	/* a slot's gen may jump and wrap, but never goes back */
	for (i = 0; i < 3; i++) {
		x->gen[0] = gens[i] - 1;
		rig_ids(x, 0, prompt, 1, 7 + i, 1);
		CHECK_EQ(rig_run(&R), 0);
		CHECK_EQ(LLM_COMMIT_GEN(rig_word(x, 0)), gens[i]);
		CHECK_EQ(rig_record(x, 0)->max_tokens, 7 + i);
	}
	rig_deinit(&R);
}

TEST(a_lie_about_the_tail_ends_the_session_and_nobody_else)
{
	uint32_t prompt[] = { 'x', 'y' };
	struct rig_session *x, *y;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	y = rig_session(&R, 1, 2);
	rig_ids(x, 0, prompt, 2, 50, 1);
	rig_ids(y, 0, prompt, 2, 50, 2);
	x->client->sq_tail += 1000;
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(x->s.engine->broken, 1);
	CHECK_EQ(LLM_COMMIT_STATE(rig_word(x, 0)), LLM_ST_FREE);
	check_ids(y, 0, prompt, 2, 50, 2);
	rig_deinit(&R);
}

TEST(a_text_prompt_to_a_backend_with_pieces_is_bytes)
{
	struct rig_session *x;
	uint32_t ids[] = { 'a', 'b', 0xc3 };

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_GENERATE,
					.flags = LLM_SQE_F_TEXT,
					.max_tokens = 9,
					.off = rig_put(x, "ab\xc3", 3),
					.len = 3 });
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_record(x, 0)->prompt_len, 3);
	check_ids(x, 0, ids, 3, 9, rig_record(x, 0)->seed);
	rig_deinit(&R);
}

TEST(a_full_queue_says_busy_and_a_drain_ends_when_nothing_runs)
{
	uint32_t prompt[] = { 'x' }, i, busy = 0;
	struct rig_session *x;

	rig_init(&R);
	R.max_seqs = 2;
	R.max_tenant = 5;
	x = rig_session(&R, 0, 1);
	for (i = 0; i < 12; i++)
		rig_ids(x, (uint16_t)i, prompt, 1, 20, i);
	CHECK_EQ(rig_run(&R), 0);
	for (i = 0; i < 12; i++) {
		if (rig_end(x, i) != LLM_END_REFUSED) {
			check_ids(x, i, prompt, 1, 20, i);
			continue;
		}
		busy++;
		CHECK_EQ(rig_record(x, i)->error, EBUSY);
		CHECK_STR((const char *)rig_record(x, i)->why,
			  "5 requests of yours wait, allowed 5: try again "
			  "later");
	}
	CHECK_EQ(busy, 7);
	R.board.draining = 1;
	rig_ids(x, 0, prompt, 1, 20, 1);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_end(x, 0), LLM_END_REFUSED);
	CHECK_EQ(rig_record(x, 0)->error, ESHUTDOWN);
	rig_deinit(&R);
}

TEST(a_deadline_ends_with_the_tokens_so_far)
{
	uint32_t prompt[] = { 'x' };
	struct rig_session *x;
	struct timespec t;
	uint64_t now;
	struct llm_sqe q = { .op = LLM_OP_GENERATE, .max_tokens = 500 };

	toy_say = (const uint32_t[]){ [0 ... 499] = 'a' };
	toy_say_nr = 500;
	clock_gettime(CLOCK_MONOTONIC, &t);
	now = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	q.off = rig_put(x, prompt, 4);
	q.len = 4;
	q.deadline_ns = 1;
	rig_submit(x, q);
	q.stream = 1;
	q.deadline_ns = now + 1; /* passes before or in the queue */
	rig_submit(x, q);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_word(x, 0),
		 LLM_COMMIT(1, LLM_ST_END, LLM_END_DEADLINE, 0));
	CHECK_EQ(rig_record(x, 0)->error, 0);
	CHECK_EQ(rig_end(x, 1), LLM_END_DEADLINE);
	CHECK_EQ(R.board.info.kv_used, 0);
	rig_deinit(&R);
	toy_say = NULL;
}

TEST(T29_a_step_that_fails_costs_nobody_a_token)
{
	uint32_t prompt[30], i;
	struct rig_session *x;

	fill(prompt, 30);
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	for (i = 0; i < 16; i++)
		rig_ids(x, (uint16_t)i, prompt, 30, 60, i);
	toy_fail_at = 7;
	for (i = 0; i < 80 && rig_run(&R) == -EIO; i++)
		;
	toy_fail_at = 0;
	CHECK(i > 5);
	for (i = 0; i < 16; i++)
		check_ids(x, i, prompt, 30, 60, i);
	rig_deinit(&R);
}

TEST(a_start_that_fails_leaves_its_line_on_the_board)
{
	rig_init(&R);
	toy_blocks = 1;
	CHECK(rig_run(&R) < 0);
	toy_blocks = 256;
	CHECK(strlen(R.board.failed) > 10);
	CHECK_EQ(R.board.ready, 0);
	rig_deinit(&R);
}
