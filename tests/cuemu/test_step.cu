/* SPDX-License-Identifier: MIT */
/*
 * slow test: steps of the whole op set, on the emulator and on a GPU: a small
 * model of noise, random batches.  What a graph computes, in the room of its
 * size, has the bits of kernels that are started one by one for the step's own
 * rows; what kernels do before they have waited for each other is done to weights
 * alone; and two steps that are under way at once, tokens of one chosen by the
 * other, have the bits of one at a time.
 */
#include "tests/cuemu/check.h"
#include "tests/cuemu/runtime.h"

#include <algorithm>

extern "C" {
#include "base/err.h"
#include "kernels/cuda/ops_cuda.h"
#include "kernels/ops.h"
}

#define LAYERS	 2
#define DIM	 64
#define HEADS	 4
#define KV_HEADS 2
#define HEAD_DIM 16
#define FFN	 96
#define VOCAB	 150
#define CONTEXT	 300 /* three tiles of attention */
#define SEQS	 12
#define BLOCKS	 (SEQS * 19 + 1)
#define MAX_ROWS 40 /* with room in graphs of up to 32 */
#define MAX_OUTS MAX_ROWS

struct model {
	struct ops_shape shape = {};
	struct ops_ends ends = {};
	struct ops_layer layer[LAYERS] = {};
	std::vector<std::vector<float>> numbers;

	model(enum kv_type kv, enum weight_use use)
	{
		shape.dim = DIM;
		shape.nr_heads = HEADS;
		shape.nr_kv_heads = KV_HEADS;
		shape.head_dim = shape.rotary_dim = HEAD_DIM;
		shape.ffn = FFN;
		shape.vocab = VOCAB;
		shape.nr_layers = LAYERS;
		shape.norm_eps = 1e-5f;
		shape.attn_scale = 0.25f;
		shape.kv = kv;
		shape.weights = use;
		ends.embed = matrix(VOCAB, DIM);
		ends.head = matrix(VOCAB, DIM);
		ends.norm = vector(DIM);
		for (struct ops_layer &l : layer)
			fill(l);
		layer[1].window = 90;
	}

	void fill(struct ops_layer &l)
	{
		l.attn_norm = vector(DIM);
		l.mlp_norm = vector(DIM);
		l.q = matrix(HEADS * HEAD_DIM, DIM);
		l.k = matrix(KV_HEADS * HEAD_DIM, DIM);
		l.v = matrix(KV_HEADS * HEAD_DIM, DIM);
		l.q_bias = vector(HEADS * HEAD_DIM);
		l.q_norm = vector(HEAD_DIM);
		l.o = matrix(DIM, HEADS * HEAD_DIM);
		l.gate = matrix(FFN, DIM);
		l.up = matrix(FFN, DIM);
		l.down = matrix(DIM, FFN);
		l.rope = layer[0].rope ? layer[0].rope
				       : vector(CONTEXT * HEAD_DIM);
	}

	const float *vector(size_t n)
	{
		numbers.emplace_back(n);
		for (size_t i = 0; i < n; i++)
			numbers.back()[i] = noise(numbers.size(), i);
		return numbers.back().data();
	}

	struct weight matrix(uint32_t rows, uint32_t cols)
	{
		struct weight w = {};

		w.type = WEIGHT_F32;
		w.rows = rows;
		w.cols = cols;
		w.row_stride = cols * sizeof(float);
		w.data = vector((size_t)rows * cols);
		return w;
	}

	struct ops_ctx *open(bool whole_steps, uint32_t max_logits = SEQS)
	{
		struct ops_limits limits = {};
		struct ops_ctx *ctx = NULL;
		struct err err = {};
		int ret;

		limits.max_rows = MAX_ROWS;
		limits.max_seqs = SEQS;
		limits.max_logits = max_logits;
		limits.max_context = CONTEXT;
		limits.nr_blocks = BLOCKS;
		limits.threads = 1;
		limits.whole_steps = whole_steps;
		ret = ops_cuda.open(&shape, &limits, &ctx, &err);
		if (!ret)
			ret = ops_cuda.load_ends(ctx, &ends, &err);
		for (uint32_t l = 0; l < LAYERS && !ret; l++)
			ret = ops_cuda.load_layer(ctx, l, &layer[l], &err);
		if (ret)
			printf("# %s\n", err.text);
		return ret ? NULL : ctx;
	}
};

/* Sequences that grow, and a step of some of them. */
struct batch {
	uint32_t computed[SEQS] = {};
	std::vector<uint32_t> token, position, slot, start, len, table, out_row;
	struct step step;
	uint64_t luck;

	explicit batch(uint64_t seed) : luck(seed)
	{
	}

	uint32_t random(uint32_t n)
	{
		luck = luck * 6364136223846793005u + 1442695040888963407u;
		return (uint32_t)(luck >> 33) % n;
	}

	/* the next @n tokens of @seq, whose blocks lie here and there */
	void add(uint32_t seq, uint32_t n)
	{
		for (uint32_t i = 0; i < CONTEXT / OPS_BLOCK + 1; i++)
			table.push_back((seq * 19 + i) * 7 % (BLOCKS - 1) + 1);
		for (uint32_t p = computed[seq]; p < computed[seq] + n; p++) {
			uint32_t block =
				(seq * 19 + p / OPS_BLOCK) * 7 % (BLOCKS - 1) +
				1;

			token.push_back(random(VOCAB));
			position.push_back(p);
			slot.push_back(block * OPS_BLOCK + p % OPS_BLOCK);
		}
		computed[seq] += n;
		len.push_back(computed[seq]);
		start.push_back((uint32_t)token.size());
		if (random(4))
			out_row.push_back((uint32_t)token.size() - 1);
	}

	/* @rows at most, of sequences that begin anew where they are full */
	void make(uint32_t rows)
	{
		token.clear(), position.clear(), slot.clear(), len.clear();
		table.clear(), out_row.clear();
		start.assign(1, 0);
		for (uint32_t seq = 0; seq < SEQS && token.size() < rows;
		     seq++) {
			uint32_t n = random(2) ? 1 : 1 + random(rows);

			if (!random(3) && seq + 1 < SEQS)
				continue;
			n = std::min(n, rows - (uint32_t)token.size());
			if (computed[seq] + n > CONTEXT)
				computed[seq] = 0;
			add(seq, n);
		}
		describe();
	}

	void describe()
	{
		step = {};
		step.nr_rows = (uint32_t)token.size();
		step.nr_seqs = (uint32_t)len.size();
		step.nr_outs = (uint32_t)out_row.size();
		step.table_stride = CONTEXT / OPS_BLOCK + 1;
		step.token = token.data();
		step.position = position.data();
		step.slot = slot.data();
		step.query_start = start.data();
		step.context_len = len.data();
		step.block_table = table.data();
		step.out_row = out_row.data();
	}
};

/* What a step has come to: logits, tokens and what is said of them. */
struct answer {
	std::vector<float> logits;
	std::vector<uint32_t> chosen;
};

/* One that asks for all that a step sends. */
static struct sampler sampler_of()
{
	static const uint32_t end_ids[] = { 3, 9 };
	struct sampler s = {};

	s.seed = 77;
	s.temperature = 0.8f;
	s.top_p = 0.9f;
	s.repetition = 1.1f;
	s.min_tokens = 1;
	s.nr_end_ids = 2;
	s.end_ids = end_ids;
	return s;
}

static uint32_t as_bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

/* What is asked of the outputs of a step: a token, or to judge one. */
static void ask(struct step_out *outs, uint32_t n, const struct sampler *how)
{
	static const uint32_t history[] = { 5, 7, 11, 5 };

	for (uint32_t i = 0; i < n; i++) {
		outs[i] = {};
		outs[i].sampler = i % 3 == 2 ? NULL : how;
		outs[i].token = i;
		outs[i].history = history;
		outs[i].prompt_len = 3;
		outs[i].position = i % 2;
		outs[i].nr_alt = i % 4;
	}
}

/* As daemon/model/forward.c does, with portions of @most outputs. */
static int begin(struct ops_ctx *ctx, const struct step *s,
		 struct step_out *outs, uint32_t most)
{
	int r = ops_cuda.embed_norm(ctx, s);

	for (uint32_t l = 0; l < LAYERS && !r; l++)
		if ((r = ops_cuda.qkv_rope_kv(ctx, s, l)) ||
		    (r = ops_cuda.attention(ctx, s, l)) ||
		    (r = ops_cuda.out_norm(ctx, s, l)) ||
		    (r = ops_cuda.gate_up(ctx, s, l)) ||
		    (r = ops_cuda.down_norm(ctx, s, l)))
			break;
	for (uint32_t at = 0; at < s->nr_outs && !r; at += most) {
		uint32_t n = std::min(most, s->nr_outs - at);

		if ((r = ops_cuda.head(ctx, s, at, n)) ||
		    (r = ops_cuda.sample(ctx, outs + at, n)) ||
		    (r = ops_cuda.score(ctx, outs + at, n)))
			break;
	}
	return r ? r : ops_cuda.end_step(ctx, outs, s->nr_outs);
}

/* The oldest step that was begun, whose outputs @outs are. */
static int finish(struct ops_ctx *ctx, struct step_out *outs, uint32_t n,
		  struct answer *ret)
{
	int r = ops_cuda.collect(ctx, outs, n);

	ret->chosen.clear();
	for (uint32_t i = 0; i < n; i++) {
		ret->chosen.push_back(outs[i].token);
		ret->chosen.push_back(as_bits(outs[i].logprob));
		for (uint32_t a = 0; a < outs[i].nr_alt; a++) {
			ret->chosen.push_back(outs[i].alt_token[a]);
			ret->chosen.push_back(as_bits(outs[i].alt_logprob[a]));
		}
	}
	return r;
}

static int run(struct ops_ctx *ctx, const struct step *s, struct answer *ret)
{
	const struct sampler how = sampler_of();
	struct step_out outs[MAX_OUTS];
	uint32_t n = s->nr_outs;
	int r;

	ask(outs, n, &how);
	if ((r = begin(ctx, s, outs, SEQS)) || (r = finish(ctx, outs, n, ret)))
		return r;
	ret->logits.resize((size_t)n * VOCAB);
	return n ? ops_cuda.peek(ctx, OPS_LOGITS, 0, n, ret->logits.data()) : 0;
}

static const struct {
	const char *name;
	enum kv_type kv;
	enum weight_use use;
} kinds[] = {
	{ "bf16", KV_BF16, WEIGHTS_AS_IS },
	{ "W8A8, keys and values of 8 bits", KV_Q8, WEIGHTS_INT8 },
};

/* Both ways through the same steps. */
static void compare(model &m, uint64_t seed, int steps)
{
	struct ops_ctx *plain = m.open(false);
	struct ops_ctx *graph = m.open(true);
	batch b(seed);

	CHECK(plain && graph);
	for (int i = 0; i < steps; i++) {
		struct answer one, other;
		struct block_copy pair = { 1 + b.random(BLOCKS - 1),
					   1 + b.random(BLOCKS - 1) };

		b.make(1 + b.random(i % 2 ? 8 : MAX_ROWS));
		CHECK_EQ(run(plain, &b.step, &one), 0);
		CHECK_EQ(run(graph, &b.step, &other), 0);
		CHECK(same_bits(one.logits, other.logits));
		CHECK(one.chosen == other.chosen);
		for (float f : one.logits)
			CHECK(f == f);
		if (pair.src == pair.dst || i % 5)
			continue;
		CHECK_EQ(ops_cuda.copy_blocks(plain, &pair, 1), 0);
		CHECK_EQ(ops_cuda.copy_blocks(graph, &pair, 1), 0);
	}
	ops_cuda.close(plain);
	ops_cuda.close(graph);
}

TEST(a_graph_has_the_bits_of_kernels_started_one_by_one)
{
	for (const auto &k : kinds) {
		model m(k.kv, k.use);

		ROW(k.name);
#if EMULATED
		fake_cuda_reset();
#endif
		compare(m, 1, 60);
#if EMULATED
		printf("# %s: %ld graphs, started %ld times\n", k.name,
		       fake_cuda.graphs, fake_cuda.graph_launches);
		CHECK(fake_cuda.graphs >= 7);
		CHECK(fake_cuda.graph_launches >= 50);
#endif
	}
}

/* A step under way: what it asks, and with the answers. */
struct under_way {
	struct step_out outs[MAX_OUTS];
	uint32_t n;
	struct answer want;
};

/*
 * The same steps through @one, collected before the next begins, and through
 * @two, collected after it has begun.  Every third token is one that the step
 * before has chosen: @one is told it, @two finds it.
 */
static void overlap(struct ops_ctx *one, struct ops_ctx *two, uint32_t most,
		    uint64_t seed, int steps)
{
	static struct under_way ways[OPS_STEPS];
	const struct sampler how = sampler_of();
	batch b(seed);

	ways[1].n = 0;
	for (int i = 0; i <= steps; i++) {
		struct under_way &w = ways[i % 2], &before = ways[(i + 1) % 2];
		std::vector<uint32_t> told, late;
		struct step_out outs[MAX_OUTS];
		struct answer got;

		b.make(1 + b.random(i % 2 ? 8 : MAX_ROWS));
		told = late = b.token;
		for (size_t r = 0; r < told.size() && before.n; r += 3) {
			uint32_t from = b.random(before.n);

			told[r] = before.outs[from].token;
			late[r] = OPS_LATE + from;
		}
		w.n = b.step.nr_outs;
		ask(w.outs, w.n, &how);
		memcpy(outs, w.outs, sizeof(outs));
		b.step.token = late.data();
		CHECK_EQ(begin(two, &b.step, outs, most), 0);
		b.step.token = told.data();
		CHECK_EQ(begin(one, &b.step, w.outs, SEQS), 0);
		CHECK_EQ(finish(one, w.outs, w.n, &w.want), 0);
		if (!i)
			continue;
		memcpy(outs, before.outs, sizeof(outs));
		CHECK_EQ(finish(two, outs, before.n, &got), 0);
		CHECK(got.chosen == before.want.chosen);
	}
}

TEST(steps_under_way_at_once_have_the_bits_of_one_at_a_time)
{
	for (const auto &k : kinds)
		for (uint32_t most : { SEQS, 5 }) {
			model m(k.kv, k.use);
			struct ops_ctx *one, *two;

			ROW(k.name);
#if EMULATED
			fake_cuda_reset();
#endif
			one = m.open(true);
			two = m.open(most != 5, most);
			CHECK(one && two);
			overlap(one, two, most, most, 30);
			ops_cuda.close(one);
			ops_cuda.close(two);
		}
}

/* One sequence, each row an output with a long list of biases. */
TEST(questions_that_do_not_fit_wait_for_those_before_them)
{
	static struct step_out outs[MAX_OUTS];
	static uint32_t ids[2000];
	static float bias[2000];
	struct answer many, few;
	struct sampler how = sampler_of();
	model m(KV_BF16, WEIGHTS_AS_IS);
	struct ops_ctx *ctx = m.open(true, 2);
	batch b(3);

	CHECK(ctx);
	for (int i = 0; i < 3; i++) {
		ids[i] = 7 * i;
		bias[i] = 1 + i;
	}
	how.bias_ids = ids;
	how.bias = bias;
	b.start.assign(1, 0);
	b.add(0, MAX_ROWS);
	b.out_row.clear();
	for (uint32_t r = 0; r < MAX_ROWS; r++)
		b.out_row.push_back(r);
	b.describe();
	for (how.nr_bias = 3; how.nr_bias <= 1203; how.nr_bias += 1200) {
		ask(outs, MAX_OUTS, &how);
#if EMULATED
		fake_cuda.waits = 0;
#endif
		CHECK_EQ(begin(ctx, &b.step, outs, 2), 0);
#if EMULATED
		CHECK_EQ(fake_cuda.waits > 0, how.nr_bias > 3);
#endif
		CHECK_EQ(finish(ctx, outs, MAX_OUTS,
				how.nr_bias > 3 ? &many : &few),
			 0);
	}
	CHECK(many.chosen == few.chosen);
	ops_cuda.close(ctx);
}

#if EMULATED
TEST(before_they_wait_for_each_other_kernels_touch_weights_alone)
{
	emu::hide_from_all = true;
	for (unsigned schedule = 0; schedule < 3; schedule++)
		for (const auto &k : kinds) {
			model m(k.kv, k.use);

			ROW(k.name);
			fake_cuda_reset();
			use_schedule(schedule);
			compare(m, 2 + schedule, 8);
		}
	use_schedule(0);
	emu::hide_from_all = false;
}
#endif
