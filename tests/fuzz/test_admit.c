/* SPDX-License-Identifier: MIT */
/*
 * Random entries, parameters and prompts, most of them nearly right, into the
 * engine as clients would send them.  Whatever comes: a slot ends in one of
 * the ways of the contract, what was admitted keeps every bound that the rest
 * of the engine relies on, and nothing is left behind.  LLM_FUZZ_ROUNDS makes
 * it longer.
 */
#include "tests/unit/rig.h"

static struct rig R;
static uint64_t rng;

static uint32_t rnd(uint32_t n)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return n ? (uint32_t)(rng >> 33) % n : 0;
}

static uint32_t odd_value(void)
{
	static const uint32_t v[] = {
		0,	    1,		2,	    3,		 4,
		5,	    7,		8,	    15,		 16,
		17,	    63,		64,	    65,		 255,
		256,	    257,	511,	    512,	 513,
		1023,	    1024,	1025,	    4095,	 65532,
		65535,	    65536,	0x7fffffff, 0x80000000u, 0xfffffffcu,
		~0u,	    0x7fc00000, 0x7f800000, 0xff800000,	 0x3f800000,
		0xbf800000,
	};

	return rnd(3) ? v[rnd(sizeof(v) / sizeof(*v))] : (uint32_t)rng;
}

/* A request that would be good; its bytes are then spoilt in a few places. */
static void random_request(struct rig_session *x)
{
	static uint8_t buf[8192];
	struct llm_params p = { .size = sizeof(p) };
	uint32_t base = x->tail % 4 * 16384, at = base + 8 * rnd(100),
		 n = 1 + rnd(rnd(3) ? 12 : 600);
	uint32_t size = sizeof(p), i, len, total = 0;
	bool good = rnd(2);
	struct llm_sqe q = {
		.op = (uint8_t)(rnd(8) ? LLM_OP_GENERATE : rnd(9)),
		.class_ = (uint8_t)rnd(rnd(9) ? 3 : 255),
		.stream = (uint16_t)rnd(RIG_STREAMS + !rnd(20)),
		.flags = rnd(3) ? rnd(2) * LLM_SQE_F_TEXT : rnd(0x80),
		.max_tokens = 1 + rnd(20),
		.off = base + 8192 + 4 * rnd(100),
		.len = 4 * n,
		.params_off = at,
	};

	if (good) { /* so that much also comes through */
		q.op = rnd(5) ? LLM_OP_GENERATE : LLM_OP_SCORE;
		q.class_ %= 3;
		q.flags &= LLM_SQE_F_TEXT;
		q.stream %= RIG_STREAMS;
		n %= 40;
		q.len = 4 * ++n;
	}
	p.set = good || rnd(4) ? LLM_SET_SEED : rnd(0x80);
	p.seed = rng;
	p.nr_alt = rnd(4) ? 0 : rnd(20 + 2 * !good);
	p.nr_stop_ids = rnd(4) ? 0 : rnd(64 + 2 * !good);
	p.nr_bias = rnd(4) ? 0 : rnd(20);
	p.nr_stop = rnd(2) ? 0 : rnd(16 + 2 * !good);
	for (i = 0; i < p.nr_stop_ids; i++, size += 4)
		memcpy(buf + size, &(uint32_t){ rnd(TOY_VOCAB) }, 4);
	for (i = 0; i < p.nr_bias; i++, size += 8)
		memcpy(buf + size, &(struct llm_bias){ rnd(TOY_VOCAB), 0 }, 8);
	for (i = 0; i < p.nr_stop; i++, size += 4) {
		len = 1 + rnd(rnd(8) ? 4 : 250 + 10 * !good);
		total += len;
		memcpy(buf + size, &len, 4);
	}
	for (i = 0; i < total + 4; i++)
		buf[size + i] = (uint8_t) "abcde "[rnd(6)];
	memset(buf + size + total, 0, 4);
	size = (size + total + 3) & ~3u;
	memcpy(buf, &p, sizeof(p));
	for (i = good ? 0 : rnd(4); i > 0; i--)
		memcpy(buf + 4 * rnd(size / 4), &(uint32_t){ odd_value() }, 4);
	memcpy(x->arena + at, buf, size);
	for (i = 0; i < n; i++)
		memcpy(x->arena + q.off + 4 * i,
		       &(uint32_t){ good || rnd(200) ? rnd(TOY_VOCAB)
						     : odd_value() },
		       4);
	q.params_len = rnd(6) ? size : 0;
	for (i = good ? 0 : rnd(3); i > 0; i--) {
		/* any word but gen, which rig_submit() gives */
		uint32_t w = rnd(16), v = odd_value();

		if (w != 1 && w != 0)
			memcpy((uint32_t *)&q + w, &v, 4);
	}
	rig_submit(x, q);
}

static const char *judge(const struct rig_session *x, uint32_t i)
{
	const struct llm_record *r = rig_record(x, i);
	uint64_t w = rig_word(x, i);
	const uint32_t *ids = (const uint32_t *)(x->s.base + r->prompt_off);
	uint64_t end = x->s.off_extent + x->s.log_size;
	uint32_t k, tail = LLM_COMMIT_TAIL(w);

	if (!LLM_COMMIT_GEN(w))
		return NULL;
	if (LLM_COMMIT_STATE(w) != LLM_ST_END)
		return "has not ended";
	if (r->gen != LLM_COMMIT_GEN(w))
		return "record of another gen";
	if (memchr(r->why, 0, sizeof(r->why)) == NULL)
		return "why is not terminated";
	if (LLM_COMMIT_END(w) == LLM_END_REFUSED) {
		if (getenv("LLM_FUZZ_WHY"))
			printf("# %s\n", r->why);
		if (!r->error || !r->why[0] || tail || r->extent_size)
			return "a refusal that is none";
		return NULL;
	}
	if (r->error)
		return "error beside a good end";
	if (!r->extent_size)
		return tail ? "tokens without a log" : NULL;
	if (r->extent_off < x->s.off_extent || r->extent_off > end ||
	    r->extent_size > end - r->extent_off)
		return "extent outside the arena";
	if (r->prompt_len + (r->op == LLM_OP_SCORE ? 0 : tail) > toy_context ||
	    tail > r->log_len)
		return "more than the context";
	for (k = 0; k < r->prompt_len; k++)
		if (ids[k] >= TOY_VOCAB)
			return "an id out of the vocabulary was admitted";
	for (k = 0; k < tail; k++)
		if (rig_log(x, i)[k].text_end > r->text_size ||
		    (k &&
		     rig_log(x, i)[k].text_end < rig_log(x, i)[k - 1].text_end))
			return "text_end runs away";
	return NULL;
}

TEST(random_entries_end_in_a_way_of_the_contract_and_leave_nothing)
{
	const char *n = getenv("LLM_FUZZ_ROUNDS"), *what;
	long rounds = n ? atol(n) : 1500, k;
	uint64_t served = 0, refused = 0;
	uint32_t i, s;
	static char row[64];

	for (k = 0; k < rounds; k++) {
		rng = (uint64_t)k * 2654435761u + 1;
		snprintf(row, sizeof(row), "round %ld", k);
		ROW(row);
		rig_init(&R);
		R.max_seqs = 1 + rnd(32);
		R.max_tokens = 16 + rnd(100);
		if (R.max_seqs > R.max_tokens)
			R.max_seqs = R.max_tokens;
		for (s = 0; s < 2; s++)
			rig_session(&R, s, 1 + rnd(2));
		for (i = rnd(9); i > 0; i--)
			if (R.ses[i % 2].tail < 4)
				random_request(&R.ses[i % 2]);
		CHECK_EQ(rig_run(&R), 0);
		for (s = 0; s < 2; s++)
			for (i = 0; i < RIG_STREAMS; i++) {
				what = judge(&R.ses[s], i);
				if (what)
					printf("# %s\n", what);
				CHECK(!what);
			}
		CHECK_EQ(R.board.info.kv_used, 0);
		CHECK_EQ(R.board.info.running, 0);
		served += R.board.info.requests;
		refused += R.board.info.refused;
		rig_deinit(&R);
	}
	ROW("");
	printf("# %llu served, %llu refused\n", (unsigned long long)served,
	       (unsigned long long)refused);
	/* it is no fuzzing if all fall at the first gate */
	CHECK(served > (uint64_t)rounds && refused > (uint64_t)rounds);
}
