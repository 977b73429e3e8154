/* SPDX-License-Identifier: MIT */
#include "daemon/model/null.h"
#include "base/err.h"
#include "daemon/core/batch.h"
#include "daemon/model/backend.h"
#include "tests/test.h"

#include <errno.h>

static struct err err;

TEST(a_batch_gives_what_the_function_says_whatever_its_order)
{
	static const uint32_t prompt[7] = { 5, 6, 7, 8, 9, 10, 11 };
	static const uint32_t eos = NULL_EOS;
	struct sampling s[3] = { { .seed = 1 }, { .seed = 2 }, { .seed = 1 } };
	struct backend_options opt = { .max_tokens_per_step = 16 };
	struct backend *be;
	struct batch b;

	CHECK_EQ(null_open(&opt, &be, &err), 0);
	CHECK_EQ(be->info.vocab, NULL_VOCAB);
	CHECK_EQ(be->info.eos[0], NULL_EOS);
	CHECK_EQ(batch_init(&b, 16, 16, 4), 0);
	s[2].min_tokens = UINT32_MAX;
	s[2].nr_end_ids = 1;
	s[2].end_ids = &eos;
	for (uint32_t pos = 0; pos < 20000; pos++) {
		b.nr_tokens = b.nr_seqs = b.nr_outs = 4;
		for (uint32_t i = 0; i < 4; i++) {
			struct batch_out *o = &b.out[(i + pos) % 4];

			o->seq = i;
			o->position = pos;
			o->want = i < 3 ? BATCH_SAMPLE : BATCH_SCORE;
			o->sampling = i < 3 ? &s[i] : NULL;
			o->history = prompt;
			o->prompt_len = i + 4;
			o->target = 77;
			o->nr_alt = 2;
		}
		CHECK_EQ(be->run(be, &b), 0);
		for (uint32_t i = 0; i < 4; i++) {
			const struct batch_out *o = &b.out[(i + pos) % 4];
			uint64_t key =
				null_key(i < 3 ? s[i].seed : 0, prompt, i + 4);
			uint32_t want = i < 3 ? null_token(key, pos) : 77;

			if (i == 2 && want == NULL_EOS)
				want = NULL_EOS + 1;
			CHECK_EQ(o->token, want);
			CHECK(o->logprob == null_logprob(want));
			CHECK_EQ(o->alt->token[0], want);
			CHECK(o->alt->logprob[1] < o->alt->logprob[0]);
		}
	}
	batch_deinit(&b);
	be->close(be);
}

TEST(who_comes_to_the_place_of_another_has_a_stream_of_its_own)
{
	struct backend_options opt = { .max_tokens_per_step = 1 };
	struct sampling s = { .seed = 1 };
	uint32_t prompt[4] = { 1, 2, 3, 4 }, pos;
	struct backend *be;
	struct batch b;

	CHECK_EQ(null_open(&opt, &be, &err), 0);
	CHECK_EQ(batch_init(&b, 1, 1, 1), 0);
	b.nr_tokens = b.nr_seqs = b.nr_outs = 1;
	b.out[0].sampling = &s;
	b.out[0].history = prompt;
	b.out[0].prompt_len = 4;
	/* 0 1 2, then the same memory with other contents: 0 1 2 again */
	for (pos = 0; pos < 6; pos++) {
		if (pos == 3) {
			s.seed = 5;
			prompt[2] = 9;
		}
		b.out[0].position = pos % 3;
		CHECK_EQ(be->run(be, &b), 0);
		CHECK_EQ(b.out[0].token,
			 null_token(null_key(s.seed, prompt, 4), pos % 3));
	}
	batch_deinit(&b);
	be->close(be);
}

TEST(tokens_are_in_the_vocabulary_and_end_once_in_4096)
{
	uint32_t ends = 0, text = 0;
	uint8_t piece[16];

	for (uint64_t seed = 0; seed < 256; seed++) {
		uint64_t key = null_key(seed, NULL, 0);

		for (uint32_t pos = 0; pos < 4096; pos++) {
			uint32_t t = null_token(key, pos);

			CHECK(t < NULL_VOCAB);
			CHECK(t != NULL_EOS || pos > 3);
			ends += t == NULL_EOS;
			text += null_piece(t, piece);
		}
	}
	/* 256 expected; 5 standard deviations are 80 */
	CHECK(ends > 176 && ends < 336);
	CHECK(text > 256 * 4096 * 2 && text < 256 * 4096 * 3);
}

TEST(another_seed_prompt_or_length_is_another_stream)
{
	uint32_t p[300] = { 0 }, same = 0;
	uint64_t key = null_key(1, p, 300), other[5];

	other[0] = null_key(2, p, 300);
	other[1] = null_key(1, p, 299);
	p[0] = 1;
	other[2] = null_key(1, p, 300);
	p[0] = 0;
	p[299] = 1;
	other[3] = null_key(1, p, 300);
	p[299] = 0;
	p[100] = 1;
	other[4] = null_key(1, p, 300);
	for (int i = 0; i < 5; i++)
		for (uint32_t pos = 0; pos < 100; pos++)
			same += null_token(key, pos) ==
				null_token(other[i], pos);
	CHECK(same <= 1);
}

TEST(a_piece_is_letters_and_the_end_has_no_text)
{
	struct backend_options opt = { 0 };
	struct backend *be;
	uint8_t buf[16];

	CHECK_EQ(null_open(&opt, &be, &err), 0);
	for (uint32_t t = 0; t < NULL_VOCAB; t++) {
		uint32_t n = be->piece(be, t, buf);

		CHECK(n <= NULL_MAX_PIECE && (n > 0) == (t != NULL_EOS));
		for (uint32_t i = 0; i < n; i++)
			CHECK(buf[i] >= 'a' && buf[i] <= 'z');
	}
	be->close(be);
}

TEST(options_size_the_pool_it_pretends_to_have)
{
	struct backend_options opt = { .kv_bytes = 1 << 20 };
	struct backend *be;

	CHECK_EQ(null_open(&opt, &be, &err), 0);
	CHECK_EQ(be->info.nr_blocks, 65);
	CHECK_EQ(be->info.context, 1024);
	be->close(be);
	opt.max_context = 1025;
	CHECK_EQ(null_open(&opt, &be, &err), -ENOMEM);
	CHECK(strstr(err.text, "holds 1024 tokens"));
	opt.max_context = 1 << 30;
	CHECK_EQ(null_open(&opt, &be, &err), -EINVAL);
	opt = (struct backend_options){ .kv_bytes = 1 };
	CHECK_EQ(null_open(&opt, &be, &err), -ENOMEM);
}
