/* SPDX-License-Identifier: MIT */
/* What is refused, with which code and which line; T25 of the trap list. */
#include "tests/unit/rig.h"
#include "daemon/admit.h"
#include "daemon/extent.h"

#include <math.h>

static struct rig R;

static uint32_t bits(float f)
{
	uint32_t u;

	memcpy(&u, &f, 4);
	return u;
}

/* A good entry with room to be spoilt: 8 ids, params, a tail. */
struct request {
	struct llm_sqe q;
	struct llm_params p;
	uint8_t tail[512];
	uint32_t tail_size;
	uint32_t ids[8];
};

static struct request good(void)
{
	struct request r = {
		.q = { .op = LLM_OP_GENERATE,
		       .stream = 1,
		       .gen = 1,
		       .max_tokens = 4,
		       .off = 4096,
		       .len = 32 },
		.p = { .size = sizeof(r.p) },
		.ids = { 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h' },
	};

	return r;
}

static void tail(struct request *r, const void *p, uint32_t size)
{
	memcpy(r->tail + r->tail_size, p, size);
	r->tail_size += size;
}

static void tail_u32(struct request *r, uint32_t v)
{
	tail(r, &v, 4);
}

/* Submit as it stands in the arena; the record. */
static const struct llm_record *ask(struct request *r)
{
	struct rig_session *x = &R.ses[0];
	uint32_t n = sizeof(r->p) + r->tail_size;

	memcpy(x->arena + 4096, r->ids, sizeof(r->ids));
	memcpy(x->arena + 8192, &r->p, sizeof(r->p));
	memcpy(x->arena + 8192 + sizeof(r->p), r->tail, r->tail_size);
	if (!r->q.params_off)
		r->q.params_off = 8192;
	if (!r->q.params_len)
		r->q.params_len = n;
	rig_submit(x, r->q);
	rig_run(&R);
	return rig_record(x, r->q.stream);
}

/* Spoilers: one thing wrong each, and the line it must give. */
#define BAD(name, code, line, ...)                                             \
	static void bad_##name(struct request *r)                              \
	{                                                                      \
		__VA_ARGS__;                                                   \
	}
#define LIST                                                                   \
	X(id_minus_1, EINVAL, "prompt id 3 is -1, allowed 0 to 1023",          \
	  r->ids[3] = ~0u)                                                     \
	X(id_vocab, EINVAL, "prompt id 7 is 1024, allowed 0 to 1023",          \
	  r->ids[7] = TOY_VOCAB)                                               \
	X(id_int_max, EINVAL, "prompt id 0 is 2147483647, allowed 0 to 1023",  \
	  r->ids[0] = INT32_MAX)                                               \
	X(empty, EINVAL, "the prompt is empty", r->q.len = 0)                  \
	X(three_bytes, EINVAL, "prompt of 31 bytes, ids are 4 each",           \
	  r->q.len = 31)                                                       \
	X(off_odd, EINVAL,                                                     \
	  "prompt at 4097 in the arena, allowed multiples of 4",               \
	  r->q.off = 4097)                                                     \
	X(off_outside, EFAULT,                                                 \
	  "prompt at 65536, 32 bytes, is outside the arena of 65536",          \
	  r->q.off = RIG_ARENA)                                                \
	X(len_outside, EFAULT,                                                 \
	  "prompt at 4096, 61444 bytes, is outside the arena of 65536",        \
	  r->q.len = RIG_ARENA - 4096 + 4)                                     \
	X(off_wraps, EFAULT,                                                   \
	  "prompt at 4294967292, 32 bytes, is outside the arena of 65536",     \
	  r->q.off = 0xfffffffc)                                               \
	X(len_wraps, EFAULT,                                                   \
	  "prompt at 4096, 4294967292 bytes, is outside the arena of 65536",   \
	  r->q.len = 0xfffffffc)                                               \
	X(max_0, EINVAL, "max_tokens 0, allowed 1 to 512",                     \
	  r->q.max_tokens = 0)                                                 \
	X(max_2_31, E2BIG,                                                     \
	  "prompt of 8 and max_tokens 2147483648 are 2147483656 tokens, the "  \
	  "context holds 512",                                                 \
	  r->q.max_tokens = 1u << 31)                                          \
	X(max_over, E2BIG,                                                     \
	  "prompt of 8 and max_tokens 505 are 513 tokens, the context holds "  \
	  "512",                                                               \
	  r->q.max_tokens = 505)                                               \
	X(max_and_default, EINVAL, "max_tokens 4 beside F_DEFAULT_MAX",        \
	  r->q.flags = LLM_SQE_F_DEFAULT_MAX)                                  \
	X(prompt_is_context, E2BIG,                                            \
	  "prompt of 512 tokens fills the context of 512", r->q.len = 2048;    \
	  r->q.max_tokens = 1)                                                 \
	X(prompt_over_context, E2BIG,                                          \
	  "prompt of 1000 tokens fills the context of 512", r->q.len = 4000;   \
	  r->q.max_tokens = 1)                                                 \
	X(op_unknown, EINVAL, "op 7, known 0 to 6", r->q.op = LLM_OP_NR)       \
	X(op_embed, EOPNOTSUPP, "op 5 is reserved", r->q.op = LLM_OP_EMBED)    \
	X(op_continue, EOPNOTSUPP, "op 6 is reserved",                         \
	  r->q.op = LLM_OP_CONTINUE)                                           \
	X(flag_unknown, EINVAL, "flags 0x40 have unknown bits, known 0x3f",    \
	  r->q.flags = 0x40)                                                   \
	X(class_unknown, EINVAL, "class 3, allowed 0 to 2",                    \
	  r->q.class_ = LLM_CLASS_NR)                                          \
	X(resv, EINVAL, "resv is 0x1, allowed 0", r->q.resv = 1)               \
	X(model, ENOENT, "model 1, served: 0", r->q.model = 1)                 \
	X(adapter, ENOENT, "adapter 9, served: none", r->q.adapter = 9)        \
	X(chat_ids, EINVAL, "CHAT is for TEXT prompts",                        \
	  r->q.flags = LLM_SQE_F_CHAT)                                         \
	X(chat_none, EOPNOTSUPP,                                               \
	  "the model has no chat template that is known here",                 \
	  r->q.flags = LLM_SQE_F_CHAT | LLM_SQE_F_TEXT)                        \
	X(params_odd, EINVAL,                                                  \
	  "params at 8196 in the arena, allowed multiples of 8",               \
	  r->q.params_off = 8196)                                              \
	X(params_outside, EFAULT,                                              \
	  "params at 65528, 88 bytes, is outside the arena of 65536",          \
	  r->q.params_off = RIG_ARENA - 8)                                     \
	X(params_long, EINVAL,                                                 \
	  "parameters of 1000000 bytes, allowed multiples of 4 up to 13640",   \
	  r->q.params_len = 1000000)                                           \
	X(params_tiny, EINVAL,                                                 \
	  "params.size 88 in 4 bytes, allowed multiples of 8 up to 1024",      \
	  r->q.params_len = 4)                                                 \
	X(params_size_0, EINVAL,                                               \
	  "params.size 0 in 88 bytes, allowed multiples of 8 up to 1024",      \
	  r->p.size = 0)                                                       \
	X(params_size_max, EINVAL,                                             \
	  "params.size 4294967288 in 88 bytes, allowed multiples of 8 up to "  \
	  "1024",                                                              \
	  r->p.size = 0xfffffff8)                                              \
	X(params_newer, E2BIG,                                                 \
	  "params.size 96 has fields unknown here, known 88 bytes",            \
	  r->p.size = 96;                                                      \
	  tail_u32(r, 0); tail_u32(r, 1))                                      \
	X(params_behind, EINVAL,                                               \
	  "8 bytes behind the parameters, allowed 0 to 3", tail_u32(r, 0);     \
	  tail_u32(r, 0))                                                      \
	X(set_unknown, EINVAL, "params.set 0x80 has unknown bits, known 0x3f", \
	  r->p.set = 0x80)                                                     \
	X(pflag_unknown, EINVAL,                                               \
	  "params.flags 0x2 has unknown bits, known 0x1", r->p.flags = 2)      \
	X(presv, EINVAL, "params.resv[4] is 0x9, allowed 0", r->p.resv[4] = 9) \
	X(temp_nan, EINVAL, "temperature nan, allowed 0 to 100",               \
	  r->p.set = LLM_SET_TEMPERATURE;                                      \
	  r->p.temperature_bits = bits(NAN))                                   \
	X(temp_inf, EINVAL, "temperature inf, allowed 0 to 100",               \
	  r->p.set = LLM_SET_TEMPERATURE;                                      \
	  r->p.temperature_bits = bits(INFINITY))                              \
	X(temp_minus, EINVAL, "temperature -1, allowed 0 to 100",              \
	  r->p.set = LLM_SET_TEMPERATURE;                                      \
	  r->p.temperature_bits = bits(-1))                                    \
	X(top_p_0, EINVAL, "top_p 0, allowed over 0 to 1",                     \
	  r->p.set = LLM_SET_TOP_P)                                            \
	X(top_p_2, EINVAL, "top_p 2, allowed over 0 to 1",                     \
	  r->p.set = LLM_SET_TOP_P;                                            \
	  r->p.top_p_bits = bits(2))                                           \
	X(min_p_2, EINVAL, "min_p 2, allowed 0 to 1",                          \
	  r->p.set = LLM_SET_MIN_P;                                            \
	  r->p.min_p_bits = bits(2))                                           \
	X(rep_0, EINVAL, "repetition penalty 0, allowed over 0 to 10",         \
	  r->p.set = LLM_SET_REPETITION)                                       \
	X(freq_nan, EINVAL, "frequency penalty nan, allowed -2 to 2",          \
	  r->p.frequency_bits = bits(NAN))                                     \
	X(pres_3, EINVAL, "presence penalty 3, allowed -2 to 2",               \
	  r->p.presence_bits = bits(3))                                        \
	X(top_k_over, EINVAL, "top_k 1025, allowed 0 to 1024",                 \
	  r->p.set = LLM_SET_TOP_K;                                            \
	  r->p.top_k = TOY_VOCAB + 1)                                          \
	X(alt_21, EINVAL, "21 alternatives, allowed 0 to 20",                  \
	  r->p.nr_alt = 21)                                                    \
	X(min_tokens, EINVAL, "min_tokens 5, allowed 0 to 4",                  \
	  r->p.min_tokens = 5)                                                 \
	X(stop_ids_many, EINVAL, "1000000 stop ids, allowed 0 to 64",          \
	  r->p.nr_stop_ids = 1000000)                                          \
	X(stop_ids_short, EINVAL,                                              \
	  "lists of the parameters need 8 bytes, 4 are there",                 \
	  r->p.nr_stop_ids = 2;                                                \
	  tail_u32(r, 1))                                                      \
	X(stop_id_minus, EINVAL, "stop id 1 is -1, allowed 0 to 1023",         \
	  r->p.nr_stop_ids = 2;                                                \
	  tail_u32(r, 1); tail_u32(r, ~0u))                                    \
	X(bias_many, EINVAL, "1025 biases, allowed 0 to 1024",                 \
	  r->p.nr_bias = 1025)                                                 \
	X(bias_id, EINVAL, "bias 0 is for id 1024, allowed 0 to 1023",         \
	  r->p.nr_bias = 1;                                                    \
	  tail_u32(r, TOY_VOCAB); tail_u32(r, 0))                              \
	X(bias_nan, EINVAL, "bias nan, allowed -100 to 100", r->p.nr_bias = 1; \
	  tail_u32(r, 5); tail_u32(r, bits(NAN)))                              \
	X(stops_many, EINVAL, "1000000 stop strings, allowed 0 to 16",         \
	  r->p.nr_stop = 1000000)                                              \
	X(stop_empty, EINVAL, "stop string 0 has 0 bytes, allowed 1 to 256",   \
	  r->p.nr_stop = 1;                                                    \
	  tail_u32(r, 0))                                                      \
	X(stop_long, EINVAL, "stop string 0 has 257 bytes, allowed 1 to 256",  \
	  r->p.nr_stop = 1;                                                    \
	  tail_u32(r, 257))                                                    \
	X(stop_absent, EINVAL, "stop string 0 has 9 bytes, 4 are there",       \
	  r->p.nr_stop = 1;                                                    \
	  tail_u32(r, 9); tail(r, "abcd", 4))                                  \
	X(stop_not_utf8, EINVAL, "stop string 0 is not UTF-8",                 \
	  r->p.nr_stop = 1;                                                    \
	  tail_u32(r, 2); tail(r, "\xc3(\0\0", 4))                             \
	X(padding, EINVAL, "padding behind the parameters is not 0",           \
	  r->p.nr_stop = 1;                                                    \
	  tail_u32(r, 1); tail(r, "a\0\0x", 4))

#define X(name, code, line, ...) BAD(name, code, line, __VA_ARGS__)
LIST
#undef X

	static const struct {
	const char *name;
	void (*spoil)(struct request *r);
	uint32_t error;
	const char *why;
} table[] = {
#define X(name, code, line, ...) { #name, bad_##name, code, line },
	LIST
#undef X
};

TEST(T25_each_bad_entry_is_refused_in_one_line_and_the_next_is_served)
{
	struct rig_session *x;
	uint32_t i;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	for (i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct request r = good();
		const struct llm_record *rec;

		ROW(table[i].name);
		r.q.gen = 2 * i + 1;
		table[i].spoil(&r);
		rec = ask(&r);
		CHECK_EQ(rig_word(x, 1),
			 LLM_COMMIT(r.q.gen, LLM_ST_END, LLM_END_REFUSED, 0));
		CHECK_EQ(rec->gen, r.q.gen);
		CHECK_EQ(rec->extent_size, 0);
		CHECK_STR((const char *)rec->why, table[i].why);
		CHECK_EQ(rec->error, table[i].error);
		/* gen is consumed, the slot works */
		r = good();
		r.q.gen = 2 * i + 2;
		ask(&r);
		CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 1)), 4);
		CHECK_EQ(rec->error, 0);
		CHECK_EQ(rec->why[0], 0);
	}
	CHECK_EQ(R.board.info.refused, i);
	CHECK_EQ(x->s.engine->sq_dropped, 0);
	rig_deinit(&R);
}

TEST(what_is_at_the_edge_is_served)
{
	struct rig_session *x;
	struct request r;
	uint32_t ids[511];
	uint32_t i;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	r = good();
	r.q.max_tokens = 504; /* prompt + max_tokens == context */
	r.p.set = LLM_SET_TOP_K | LLM_SET_TOP_P | LLM_SET_TEMPERATURE;
	r.p.top_k = TOY_VOCAB;
	r.p.top_p_bits = bits(1);
	r.p.temperature_bits = bits(100);
	r.p.frequency_bits = bits(-2);
	r.p.nr_alt = 20;
	ask(&r);
	CHECK(rig_end(x, 1) != LLM_END_REFUSED);
	for (i = 0; i < 511; i++)
		ids[i] = 'x';
	r = good();
	r.q.gen = 2;
	r.q.max_tokens = 1;
	r.q.off = rig_put(x, ids, sizeof(ids));
	r.q.len = sizeof(ids);
	ask(&r);
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 1)), 1);
	r = good(); /* the last bytes of the arena; a short old struct */
	r.q.gen = 3;
	r.q.off = RIG_ARENA - 32;
	memcpy(x->arena + r.q.off, ids, 32);
	r.p.size = 32;
	r.p.set = LLM_SET_SEED;
	r.p.seed = 5;
	r.q.params_len = 32;
	ask(&r);
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 1)), 4);
	CHECK_EQ(rig_record(x, 1)->seed, 5);
	r = good(); /* a longer struct whose unknown part is zero */
	r.q.gen = 4;
	r.p.size = 104;
	tail_u32(&r, 0), tail_u32(&r, 0), tail_u32(&r, 0), tail_u32(&r, 0);
	ask(&r);
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 1)), 4);
	rig_deinit(&R);
}

TEST(more_than_the_kv_pool_holds_is_refused_not_queued_for_ever)
{
	struct rig_session *x;
	struct request r = good();

	toy_blocks = 9; /* 128 tokens */
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	r.q.max_tokens = 121;
	CHECK_STR((const char *)ask(&r)->why,
		  "prompt of 8 and max_tokens 121 are 129 tokens, the KV pool "
		  "holds 128");
	r = good();
	r.q.gen = 2;
	r.q.max_tokens = 0;
	r.q.flags = LLM_SQE_F_DEFAULT_MAX; /* 256: cut to what fits */
	CHECK_EQ(ask(&r)->max_tokens, 120);
	CHECK(rig_end(x, 1) != LLM_END_REFUSED);
	rig_deinit(&R);
	toy_blocks = 256;
}

TEST(a_model_without_text_says_so)
{
	struct rig_session *x;
	struct request r = good();

	toy_no_text = 1;
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	r.q.flags = LLM_SQE_F_TEXT;
	CHECK_STR((const char *)ask(&r)->why,
		  "the model has no tokenizer: send ids");
	CHECK_EQ(rig_record(x, 1)->error, EOPNOTSUPP);
	r = good();
	r.q.gen = 2;
	r.p.nr_stop = 1;
	tail_u32(&r, 1);
	tail(&r, "a\0\0\0", 4);
	CHECK_STR((const char *)ask(&r)->why,
		  "stop strings need a tokenizer, this model has none");
	r = good();
	r.q.gen = 3;
	CHECK_EQ(ask(&r)->text_size, 0);
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 1)), 4);
	CHECK_EQ(rig_log(x, 1)[3].text_end, 0);
	rig_deinit(&R);
	toy_no_text = 0;
}

TEST(a_full_log_arena_says_what_is_wanted_and_slots_give_theirs_back)
{
	struct rig_session *x;
	struct request r;
	uint32_t i, full = 0;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	x->s.log_size = 64 * 1024;
	for (i = 0; i < 8; i++) {
		r = good();
		r.q.stream = (uint16_t)i;
		r.q.max_tokens = 400;
		if (ask(&r)->error == ENOBUFS)
			full++;
	}
	CHECK_EQ(full, 4); /* 400 tokens take some 15 KB */
	CHECK(!strncmp((const char *)rig_record(x, 7)->why, "log arena: ", 11));
	for (i = 0; i < 30; i++) { /* an ended slot's room serves again */
		r = good();
		r.q.stream = 2;
		r.q.gen = 2 + i;
		r.q.max_tokens = 400;
		CHECK_EQ(ask(&r)->error, 0);
	}
	rig_deinit(&R);
}

TEST(a_seed_that_is_not_named_is_drawn_and_recorded)
{
	struct request r = good();
	uint64_t a, b;

	rig_init(&R);
	rig_session(&R, 0, 1);
	a = ask(&r)->seed;
	r.q.gen = 2;
	b = ask(&r)->seed;
	CHECK(a && b && a != b);
	rig_deinit(&R);
}

TEST(a_record_keeps_what_was_asked)
{
	struct request r = good();
	const struct llm_record *rec;

	rig_init(&R);
	rig_session(&R, 0, 1234);
	r.q.user_data = 0xdeadbeefcafe;
	r.q.class_ = LLM_CLASS_BATCH;
	r.q.flags = LLM_SQE_F_LOGPROBS;
	r.p.set = LLM_SET_SEED;
	r.p.seed = 99;
	r.p.nr_alt = 2;
	rec = ask(&r);
	CHECK_EQ(rec->user_data, 0xdeadbeefcafe);
	CHECK_EQ(rec->class_, LLM_CLASS_BATCH);
	CHECK_EQ(rec->op, LLM_OP_GENERATE);
	CHECK_EQ(rec->flags, LLM_SQE_F_LOGPROBS);
	CHECK_EQ(rec->tenant, 1234);
	CHECK_EQ(rec->uid, 1234);
	CHECK_EQ(rec->seed, 99);
	CHECK_EQ(rec->alt_k, 2);
	CHECK_EQ(rec->arith, 7);
	CHECK_EQ(rec->digest[2], 3);
	CHECK_EQ(rec->adm_epoch, 1);
	CHECK(rec->admitted_ns > 0);
	CHECK(!memcmp(R.ses[0].s.base + rec->prompt_off, r.ids, 32));
	CHECK(!memcmp(R.ses[0].s.base + rec->params_off, &r.p, sizeof(r.p)));
	rig_deinit(&R);
}
