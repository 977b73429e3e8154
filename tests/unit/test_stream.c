/* SPDX-License-Identifier: MIT */
/*
 * Text, stop strings and ends of a stream, at the level of the engine: what a
 * client can read at any moment.  T30 and T31 of the engine's trap list.
 */
#include "tests/unit/rig.h"

#include <math.h>

static struct rig R;

/* llm_params with stop strings (and stop ids) into the arena. */
static struct llm_sqe with_stops(struct rig_session *x, struct llm_params p,
				 const uint32_t *ids, const char *const *stops)
{
	static uint8_t buf[8192];
	uint32_t n = sizeof(p), i, len;

	p.size = sizeof(p);
	if (p.nr_stop_ids)
		memcpy(buf + n, ids, 4 * p.nr_stop_ids);
	n += 4 * p.nr_stop_ids;
	for (i = 0; stops && stops[i]; i++) {
		len = (uint32_t)strlen(stops[i]);
		memcpy(buf + n, &len, 4);
		n += 4;
	}
	p.nr_stop = i;
	for (i = 0; i < p.nr_stop; i++) {
		memcpy(buf + n, stops[i], strlen(stops[i]));
		n += (uint32_t)strlen(stops[i]);
	}
	memset(buf + n, 0, 4);
	n = (n + 3) & ~3u;
	memcpy(buf, &p, sizeof(p));
	return (struct llm_sqe){
		.op = LLM_OP_GENERATE,
		.max_tokens = 100,
		.params_off = rig_put(x, buf, n),
		.params_len = n,
		.off = rig_put(x, (uint32_t[]){ 'p' }, 4),
		.len = 4,
	};
}

/* What may be read in the end, judged on the whole text at once. */
struct verdict {
	size_t text; /* bytes of it that are delivered */
	size_t end;  /* byte behind the stop; SIZE_MAX: none comes */
	uint32_t index;
};

static struct verdict judge(const char *text, const char *const *stops)
{
	size_t n = strlen(text), begin, len;
	struct verdict v = { n, SIZE_MAX, 0 };
	uint32_t i;

	for (i = 0; stops[i]; i++) {
		len = strlen(stops[i]);
		for (begin = 0; begin + len <= n; begin++) {
			if (memcmp(text + begin, stops[i], len))
				continue;
			if (begin + len < v.end ||
			    (begin + len == v.end && begin < v.text))
				v = (struct verdict){ begin, begin + len, i };
		}
	}
	return v;
}

static const char *expect; /* all that may ever be read */
static const char *trouble;

static int watch(struct rig *r, uint64_t deadline_ns)
{
	const char *got = rig_text(&r->ses[0], 0);

	if (strncmp(got, expect, strlen(got)))
		trouble = "text was readable that is not the answer's";
	return deadline_ns == UINT64_MAX;
}

/* @cuts: bit i = a token ends behind byte i.  Returns the tokens. */
static uint32_t split(const char *text, uint32_t cuts, uint32_t *say)
{
	static char piece[TOY_VOCAB - TOY_SINGLE][20];
	uint32_t n = 0, at = 0, i, len = (uint32_t)strlen(text);

	for (i = 0; i < len; i++) {
		if (i + 1 < len && !(cuts >> i & 1))
			continue;
		memcpy(piece[n], text + at, i + 1 - at);
		piece[n][i + 1 - at] = 0;
		toy_piece[n] = piece[n];
		say[n] = TOY_SINGLE + n;
		n++;
		at = i + 1;
	}
	return n;
}

/* Which token (from 1) brings byte @end - 1? */
static uint32_t token_of(const uint32_t *say, uint32_t n, size_t end)
{
	size_t at = 0;
	uint32_t i;

	for (i = 0; i < n; i++) {
		at += strlen(toy_piece[say[i] - TOY_SINGLE]);
		if (at >= end)
			return i + 1;
	}
	return n;
}

TEST(T30_no_byte_of_a_stop_string_is_ever_readable_however_it_is_split)
{
	static const struct {
		const char *name, *text, *stops[4];
	} t[] = {
		{ "in the middle", "hello stop x", { "stop" } },
		{ "at the start", "stopping", { "stop" } },
		{ "overlapping prefixes", "aaaabaab", { "aab" } },
		{ "a prefix that comes to nothing", "ababac", { "abac" } },
		{ "never", "abcabcab", { "abd" } },
		{ "two, the one complete first", "xabcdy", { "bcd", "abc" } },
		{ "one inside another", "xabcdy", { "abcd", "bc" } },
		{ "half of one at the end", "hello st", { "stop" } },
		{ "characters of two bytes",
		  "a\xc3\xa9t\xc3\xa9z",
		  { "\xc3\xa9z" } },
		{ "the second of two alike",
		  "\xc3\xa9\xc3\xa8\xc3\xa9!",
		  { "\xc3\xa8\xc3\xa9" } },
	};
	uint32_t say[32], i, cuts;

	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		uint32_t len = (uint32_t)strlen(t[i].text);
		struct verdict v = judge(t[i].text, t[i].stops);
		static char want[64]; /* expect points to it */

		ROW(t[i].name);
		memcpy(want, t[i].text, v.text);
		want[v.text] = 0;
		expect = want;
		for (cuts = 0; cuts < 1u << (len - 1); cuts++) {
			uint32_t nr = split(t[i].text, cuts, say), tokens;
			const struct llm_record *r;
			struct rig_session *x;

			toy_say = say;
			toy_say_nr = nr;
			rig_init(&R);
			R.script = watch;
			trouble = NULL;
			x = rig_session(&R, 0, 1);
			rig_submit(x, with_stops(x, (struct llm_params){ 0 },
						 NULL, t[i].stops));
			CHECK_EQ(rig_run(&R), 0);
			CHECK(!trouble);
			CHECK_STR(rig_text(x, 0), want);
			CHECK_EQ(rig_end(x, 0), LLM_END_STOP);
			r = rig_record(x, 0);
			tokens = LLM_COMMIT_TAIL(rig_word(x, 0));
			if (v.end == SIZE_MAX) {
				CHECK_EQ(r->detail, LLM_DETAIL_EOS);
				CHECK_EQ(tokens, nr + 1);
			} else {
				CHECK_EQ(r->detail, LLM_DETAIL_STOP_STRING);
				CHECK_EQ(r->stop_index, v.index);
				CHECK_EQ(tokens, token_of(say, nr, v.end));
			}
			rig_deinit(&R);
			if (cuts > 255)
				cuts += 6; /* enough of the long ones */
		}
	}
	toy_say = NULL;
}

TEST(T31_only_whole_characters_are_readable_and_joined_they_are_all)
{
	static const char text[] = "z\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"
				   "q";
	uint32_t say[32], cuts;

	expect = text;
	for (cuts = 0; cuts < 1u << 10; cuts++) {
		uint32_t nr = split(text, cuts, say), i, end = 0;
		struct rig_session *x;
		const struct llm_tok *t;

		toy_say = say;
		toy_say_nr = nr;
		rig_init(&R);
		R.script = watch;
		trouble = NULL;
		x = rig_session(&R, 0, 1);
		rig_submit(x,
			   with_stops(x, (struct llm_params){ 0 }, NULL, NULL));
		CHECK_EQ(rig_run(&R), 0);
		CHECK(!trouble);
		CHECK_STR(rig_text(x, 0), text);
		t = rig_log(x, 0);
		for (i = 0; i < nr; i++) {
			/* no continuation byte begins a piece */
			CHECK(end == strlen(text) ||
			      ((uint8_t)text[end] & 0xc0) != 0x80);
			CHECK(t[i].text_end >= end);
			end = t[i].text_end;
		}
		rig_deinit(&R);
	}
	toy_say = NULL;
}

TEST(a_character_cut_short_by_the_end_shows_as_broken)
{
	uint32_t say[] = { 'a', 0xe2, 0x82, 'b', 0xc3 };
	struct rig_session *x;
	struct llm_sqe q;

	toy_say = say;
	toy_say_nr = 5;
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	q = with_stops(x, (struct llm_params){ 0 }, NULL, NULL);
	rig_submit(x, q); /* ends by EOS */
	q.stream = 1;
	q.max_tokens = 3; /* ends by length */
	rig_submit(x, q);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_STR(rig_text(x, 0), "a\xef\xbf\xbd"
				  "b\xef\xbf\xbd");
	CHECK_EQ(rig_log(x, 0)[1].text_end, 1);
	CHECK_EQ(rig_log(x, 0)[1].flags & LLM_TOK_F_UTF8, 0);
	CHECK_EQ(rig_log(x, 0)[4].text_end, 5);
	CHECK_EQ(rig_log(x, 0)[5].token, TOY_EOS);
	CHECK_EQ(rig_log(x, 0)[5].text_end, 8);
	CHECK_STR(rig_text(x, 1), "a\xef\xbf\xbd");
	rig_deinit(&R);
	toy_say = NULL;
}

TEST(ends_say_what_they_are)
{
	static const uint32_t say[] = { 'a', 'b', 'c', 'd', TOY_EOS, 'e', 'f' };
	static const uint32_t ids[] = { 'c', 'z' };
	static const char *const stops[] = { "bc", NULL };
	static const struct {
		const char *name;
		struct llm_params p;
		uint32_t max;
		const char *const *stops;
		uint32_t end, detail, tail;
		const char *text;
	} t[] = {
		{ "eos",
		  { 0 },
		  50,
		  NULL,
		  LLM_END_STOP,
		  LLM_DETAIL_EOS,
		  5,
		  "abcd" },
		{ "eos ignored",
		  { .flags = LLM_PARAMS_F_IGNORE_EOS },
		  7,
		  NULL,
		  LLM_END_LENGTH,
		  LLM_DETAIL_MAX_TOKENS,
		  7,
		  "abcdef" },
		{ "max_tokens",
		  { 0 },
		  2,
		  NULL,
		  LLM_END_LENGTH,
		  LLM_DETAIL_MAX_TOKENS,
		  2,
		  "ab" },
		{ "eos as the last allowed",
		  { 0 },
		  5,
		  NULL,
		  LLM_END_STOP,
		  LLM_DETAIL_EOS,
		  5,
		  "abcd" },
		{ "a stop id",
		  { .nr_stop_ids = 2 },
		  50,
		  NULL,
		  LLM_END_STOP,
		  LLM_DETAIL_STOP_ID,
		  3,
		  "abc" },
		{ "a stop string",
		  { 0 },
		  50,
		  stops,
		  LLM_END_STOP,
		  LLM_DETAIL_STOP_STRING,
		  3,
		  "a" },
		{ "its half at the limit",
		  { 0 },
		  2,
		  stops,
		  LLM_END_LENGTH,
		  LLM_DETAIL_MAX_TOKENS,
		  2,
		  "ab" },
		{ "stops count from min_tokens on",
		  { .min_tokens = 2 },
		  4,
		  stops,
		  LLM_END_LENGTH,
		  LLM_DETAIL_MAX_TOKENS,
		  4,
		  "abcd" },
	};
	unsigned i;

	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		struct rig_session *x;
		struct llm_sqe q;

		ROW(t[i].name);
		toy_say = say;
		toy_say_nr = 7;
		rig_init(&R);
		x = rig_session(&R, 0, 1);
		q = with_stops(x, t[i].p, ids, t[i].stops);
		q.max_tokens = t[i].max;
		rig_submit(x, q);
		CHECK_EQ(rig_run(&R), 0);
		CHECK_EQ(rig_end(x, 0), t[i].end);
		CHECK_EQ(rig_record(x, 0)->detail, t[i].detail);
		CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 0)), t[i].tail);
		CHECK_STR(rig_text(x, 0), t[i].text);
		rig_deinit(&R);
	}
	toy_say = NULL;
}

TEST(a_full_context_and_a_full_text_area_end_with_length)
{
	static uint32_t say[600], prompt[500];
	struct rig_session *x;
	struct llm_sqe q;
	uint32_t i, tail;

	for (i = 0; i < 600; i++)
		say[i] = 256;
	for (i = 0; i < 500; i++)
		prompt[i] = 'p';
	toy_piece[0] = "0123456789abcdef";
	toy_say = say;
	toy_say_nr = 600;
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	q = (struct llm_sqe){ .op = LLM_OP_GENERATE,
			      .flags = LLM_SQE_F_DEFAULT_MAX,
			      .off = rig_put(x, prompt, 2000),
			      .len = 2000 };
	rig_submit(x, q);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_end(x, 0), LLM_END_LENGTH);
	CHECK_EQ(rig_record(x, 0)->detail, LLM_DETAIL_CONTEXT);
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 0)), 12);
	rig_deinit(&R);

	/* each byte broken: three of text for one */
	for (i = 0; i < 600; i++)
		say[i] = 256;
	toy_piece[0] = "\xff\xff\xff\xff\xff\xff\xff\xff"
		       "\xff\xff\xff\xff\xff\xff\xff\xff";
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 0, prompt, 1, 100, 1);
	CHECK_EQ(rig_run(&R), 0);
	CHECK_EQ(rig_end(x, 0), LLM_END_LENGTH);
	CHECK_EQ(rig_record(x, 0)->detail, LLM_DETAIL_TEXT_FULL);
	tail = LLM_COMMIT_TAIL(rig_word(x, 0));
	CHECK(tail > 30 && tail < 100);
	CHECK_EQ(rig_log(x, 0)[tail - 1].text_end, 48 * tail);
	rig_deinit(&R);
	toy_say = NULL;
}

TEST(logprobs_and_alternatives_come_when_asked_for)
{
	struct llm_params p = { .size = sizeof(p), .nr_alt = 5 };
	struct rig_session *x;
	const struct llm_alt *a;
	float lp;
	uint32_t i;

	toy_say = (const uint32_t[]){ 'a', 'b', 'c' };
	toy_say_nr = 3;
	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_submit(x, with_stops(x, p, NULL, NULL));
	CHECK_EQ(rig_run(&R), 0);
	for (i = 0; i < 3; i++) {
		const struct llm_tok *t = &rig_log(x, 0)[i];

		memcpy(&lp, &t->logprob_bits, 4);
		CHECK(lp == toy_logprob('a' + i));
		CHECK_EQ(LLM_TOK_NR_ALT(t->flags), 5);
		a = (const struct llm_alt *)(x->s.base +
					     rig_record(x, 0)->alt_off) +
		    5 * i;
		CHECK_EQ(a[4].token, 'a' + i + 4);
		memcpy(&lp, &a[4].logprob_bits, 4);
		CHECK(lp == toy_logprob('a' + i) - 4);
	}
	rig_deinit(&R);
	toy_say = NULL;
}
