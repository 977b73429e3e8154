/* SPDX-License-Identifier: MIT */
/*
 * slow test: the token that the device chooses and the log probabilities that
 * it gives are, bit for bit, those of kernels/ref from the same logits.
 */
#include "kernels/cuda/cuda.h"
#include "tests/cuemu/check.h"
#include "tests/cuemu/ref.h"

#include <cerrno>

#define ROWS	24
#define HISTORY 48
#define LISTED	6 /* biases, end ids */

static uint32_t below(uint64_t stream, uint64_t i, uint32_t n)
{
	return (uint32_t)((noise(stream, i) + 1) / 2 * (float)n) % n;
}

/* Logits and samplers of ROWS rows; what they point to is of the device too. */
struct fixture {
	uint32_t vocab;
	ref_model m;
	array<float> logits, l, bias, logprob, alt_logprob;
	array<uint32_t> count, token, nr_alt, alt_token;
	array<uint32_t> bias_ids, end_ids, allowed, history;
	array<struct cuda_sampler> sampler;

	explicit fixture(uint32_t n)
		: vocab(n), m({ 8, 1, 1, 8, 8, 8, n, 1, 1e-5f, 1, KV_F32 }),
		  logits((size_t)ROWS * n), l((size_t)ROWS * n),
		  bias(ROWS * LISTED), logprob(ROWS),
		  alt_logprob(ROWS * CUDA_MAX_ALT), count((size_t)ROWS * n),
		  token(ROWS), nr_alt(ROWS), alt_token(ROWS * CUDA_MAX_ALT),
		  bias_ids(ROWS * LISTED), end_ids(ROWS * LISTED),
		  allowed((size_t)ROWS * (n / 32 + 1)), history(ROWS * HISTORY),
		  sampler(ROWS)
	{
		for (uint32_t &c : count.host)
			c = 0;
		count.send();
		for (uint32_t &w : allowed.host)
			w = 0xdfb7efffu;
		/* ids outside the vocabulary too, and ids twice */
		for (size_t i = 0; i < bias_ids.host.size(); i++) {
			bias_ids[i] = below(1, i, n + 2);
			end_ids[i] = below(2, i, n + 2);
			bias[i] = noise(3, i) * (i % 5 ? 3 : 200);
		}
		for (size_t i = 0; i < history.host.size(); i++)
			history[i] = below(4, i, n + 1);
		for (int i = 0; i < ROWS; i++) {
			struct cuda_sampler &s = sampler[i];

			s = {};
			s.row = (uint32_t)i;
			s.temperature = s.top_p = s.repetition = 1;
			s.bias_ids = bias_ids.device + i * LISTED;
			s.bias = bias.device + i * LISTED;
			s.end_ids = end_ids.device + i * LISTED;
			s.history = history.device + i * HISTORY;
		}
		bias.send();
		bias_ids.send();
		end_ids.send();
		allowed.send();
		history.send();
	}

	/* the same as ref has it, with the host's lists */
	struct sampler for_ref(int i)
	{
		const struct cuda_sampler &s = sampler[i];
		struct sampler r = {};

		r.seed = s.seed;
		r.temperature = s.temperature;
		r.top_p = s.top_p;
		r.min_p = s.min_p;
		r.repetition = s.repetition;
		r.frequency = s.frequency;
		r.presence = s.presence;
		r.top_k = s.top_k;
		r.min_tokens = s.min_tokens;
		r.nr_bias = s.nr_bias;
		r.nr_end_ids = s.nr_end_ids;
		r.bias_ids = &bias_ids[i * LISTED];
		r.bias = &bias[i * LISTED];
		r.end_ids = &end_ids[i * LISTED];
		r.allowed = s.allowed ? &allowed[(size_t)i * (vocab / 32 + 1)]
				      : NULL;
		return r;
	}

	bool sample()
	{
		struct cuda_sample_args args = { logits.device, sampler.device,
						 l.device,	count.device,
						 token.device,	ROWS,
						 (int)vocab };
		bool ok;

		logits.send();
		sampler.send();
		ok = ran(cuda_sample(&args, NULL));
		token.fetch();
		count.fetch();
		return ok;
	}

	bool ref_sample(std::vector<struct step_out> &outs)
	{
		std::vector<struct sampler> s;

		for (int i = 0; i < ROWS; i++)
			s.push_back(for_ref(i));
		outs.assign(ROWS, {});
		for (int i = 0; i < ROWS; i++) {
			outs[i].sampler = &s[i];
			outs[i].history = &history[i * HISTORY];
			outs[i].prompt_len = sampler[i].prompt_len;
			outs[i].position = sampler[i].position;
		}
		return (m.ctx || m.open()) &&
		       !ops_ref.poke(m.ctx, OPS_LOGITS, 0, ROWS,
				     logits.host.data()) &&
		       !ops_ref.sample(m.ctx, outs.data(), ROWS);
	}

	/* whether both choose the same, and counts are 0 again */
	bool agrees()
	{
		std::vector<struct step_out> outs;
		bool same = sample() && ref_sample(outs);

		for (int i = 0; same && i < ROWS; i++)
			if (token[i] != outs[i].token) {
				printf("# row %d: %u, ref: %u\n", i, token[i],
				       outs[i].token);
				same = false;
			}
		for (uint32_t c : count.host)
			same = same && !c;
		return same;
	}
};

/* Logits of several kinds: flat, peaked, with ties, with what is no number. */
static void fill_logits(fixture &f, uint64_t luck)
{
	for (int i = 0; i < ROWS; i++) {
		float scale = (i + luck) % 4 == 0 ? 0.1f : 4.f * (i % 3 + 1);

		for (uint32_t id = 0; id < f.vocab; id++) {
			float v = noise(luck * ROWS + i, id) * scale;

			if (i % 5 == 1)
				v = rintf(v); /* ties */
			if (i % 7 == 2 && id % 11 == 3)
				v = id % 2 ? NAN : -INFINITY;
			if (i == 16 && id % 50 == 7)
				v = INFINITY;
			f.logits[(size_t)i * f.vocab + id] = i == 23 ? -INFINITY
								     : v;
		}
	}
}

/* Any mix of what a client may ask for. */
static void fill_samplers(fixture &f, uint64_t luck)
{
	static const float temperature[] = { 0, 0.3f, 1, 1, 2, 9e-6f };
	static const float top_p[] = { 1, 0.9f, 0.5f, 1, 1e-6f, 0.999f };
	static const float min_p[] = { 0, 0, 0.05f, 0.5f, 1 };
	static const uint32_t top_k[] = { 0, 1, 5, 40, 0, 100000 };

	for (int i = 0; i < ROWS; i++) {
		struct cuda_sampler &s = f.sampler[i];
		uint64_t at = luck * ROWS + i;

		s.seed = at * 0x9e3779b97f4a7c15u;
		s.temperature = temperature[below(5, at, 6)];
		s.top_p = top_p[below(6, at, 6)];
		s.min_p = min_p[below(7, at, 5)];
		s.top_k = top_k[below(8, at, 6)];
		s.position = below(9, at, HISTORY / 2);
		s.prompt_len = below(10, at, HISTORY / 2);
		s.min_tokens = below(11, at, 2) * HISTORY / 4;
		s.nr_bias = below(12, at, LISTED + 1);
		s.nr_end_ids = below(13, at, LISTED + 1);
		s.repetition = below(14, at, 2) ? 1 : 1.3f;
		s.frequency = below(15, at, 2) ? 0 : 0.4f;
		s.presence = below(16, at, 2) ? 0 : -0.3f;
		s.allowed = below(17, at, 2)
				    ? NULL
				    : f.allowed.device +
					      (size_t)i * (f.vocab / 32 + 1);
	}
}

TEST(the_device_chooses_what_ref_chooses)
{
	for (uint32_t vocab : { 1u, 2u, 67u, 301u, 1029u }) {
		fixture f(vocab);

		for (uint64_t luck = 0; luck < 20; luck++) {
			fill_logits(f, luck);
			fill_samplers(f, luck);
			CHECK(f.agrees());
		}
	}
}

TEST(a_large_vocabulary_is_no_other_matter)
{
	fixture f(20011);

	for (uint64_t luck = 0; luck < 2; luck++) {
		fill_logits(f, luck);
		fill_samplers(f, luck);
		CHECK(f.agrees());
	}
}

TEST(no_schedule_changes_a_choice)
{
	fixture f(301);

	fill_logits(f, 3);
	fill_samplers(f, 3);
	CHECK(every_schedule(f.token.host, [&] { return f.sample(); }));
}

TEST(draws_are_those_of_ref_for_every_seed)
{
	fixture f(67);

	for (uint64_t round = 0; round < 40; round++) {
		fill_logits(f, 0);
		for (int i = 0; i < ROWS; i++) {
			f.sampler[i].seed = round;
			f.sampler[i].position = (uint32_t)i;
		}
		CHECK(f.agrees());
	}
}

/* Many ids with the very logit at which a cut goes. */
TEST(ties_at_a_cut_are_kept_by_lowest_id)
{
	fixture f(1029);

	for (int i = 0; i < ROWS; i++) {
		struct cuda_sampler &s = f.sampler[i];

		s.seed = (uint64_t)i;
		s.temperature = 100; /* so that each is drawn */
		s.top_k = i % 2 ? 3 + i : 0;
		s.top_p = i % 2 ? 1 : 0.002f * (i + 1);
		for (uint32_t id = 0; id < f.vocab; id++)
			f.logits[(size_t)i * f.vocab + id] =
				id % 3 ? (id % 2 ? -0.f : 0.f) : -1.f;
	}
	for (int round = 0; round < 20; round++) {
		for (int i = 0; i < ROWS; i++)
			f.sampler[i].seed += ROWS;
		CHECK(f.agrees());
	}
}

TEST(what_is_never_admitted_is_survived)
{
	fixture f(67);

	fill_logits(f, 1);
	for (int i = 0; i < ROWS; i++) {
		f.sampler[i].min_p = i % 2 ? NAN : 2;
		f.sampler[i].top_p = i % 3 ? 0.5f : NAN;
		f.sampler[i].top_k = i % 4 ? 0 : 3;
	}
	CHECK(f.agrees());
}

/* What ref says of the same tokens. */
static bool scores_agree(fixture &f)
{
	struct cuda_score_args args = { f.logits.device,
					f.token.device,
					f.nr_alt.device,
					f.logprob.device,
					f.alt_token.device,
					f.alt_logprob.device,
					ROWS,
					(int)f.vocab };
	std::vector<struct step_out> outs(ROWS);

	f.logits.send();
	f.token.send();
	f.nr_alt.send();
	for (int i = 0; i < ROWS; i++) {
		outs[i].token = f.token[i];
		outs[i].nr_alt = f.nr_alt[i];
	}
	if (!(f.m.ctx || f.m.open()) ||
	    ops_ref.poke(f.m.ctx, OPS_LOGITS, 0, ROWS, f.logits.host.data()) ||
	    ops_ref.score(f.m.ctx, outs.data(), ROWS) ||
	    !ran(cuda_score(&args, NULL)))
		return false;
	f.logprob.fetch();
	f.alt_token.fetch();
	f.alt_logprob.fetch();
	for (int i = 0; i < ROWS; i++) {
		size_t nr = outs[i].nr_alt * 4, at = i * CUDA_MAX_ALT;

		if (memcmp(&f.logprob[i], &outs[i].logprob, 4) ||
		    memcmp(&f.alt_token[at], outs[i].alt_token, nr) ||
		    memcmp(&f.alt_logprob[at], outs[i].alt_logprob, nr)) {
			printf("# row %d: %a, ref: %a\n", i, f.logprob[i],
			       outs[i].logprob);
			return false;
		}
	}
	return true;
}

TEST(log_probabilities_are_those_of_ref_to_the_bit)
{
	static_assert(CUDA_MAX_ALT == OPS_MAX_ALT, "of one score");
	for (uint32_t vocab : { 1u, 13u, 301u, 5003u }) {
		fixture f(vocab);

		for (uint64_t luck = 0; luck < 6; luck++) {
			fill_logits(f, luck);
			for (uint32_t i = 0; i < ROWS; i++) {
				f.token[i] = below(20 + luck, i, vocab + 1);
				f.nr_alt[i] = (i + (uint32_t)luck) %
					      (CUDA_MAX_ALT + 1);
			}
			CHECK(scores_agree(f));
		}
	}
}

TEST(no_schedule_changes_a_score)
{
	fixture f(301);

	fill_logits(f, 1);
	for (uint32_t i = 0; i < ROWS; i++) {
		f.token[i] = i;
		f.nr_alt[i] = CUDA_MAX_ALT;
	}
	CHECK(every_schedule(f.alt_logprob.host,
			     [&] { return scores_agree(f); }));
}

TEST(sampling_refuses_what_it_cannot_run)
{
	struct cuda_sample_args sample = {};
	struct cuda_score_args score = {};

	sample.vocab = score.vocab = 1;
	CHECK_EQ(cuda_sample(&sample, NULL), -EINVAL);
	CHECK_EQ(cuda_score(&score, NULL), -EINVAL);
	sample.vocab = score.vocab = 0;
	sample.nr_samplers = score.rows = 1;
	CHECK_EQ(cuda_sample(&sample, NULL), -EINVAL);
	CHECK_EQ(cuda_score(&score, NULL), -EINVAL);
}
