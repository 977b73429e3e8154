/* SPDX-License-Identifier: MIT */
/* stop.h: by hand, and against a search that knows no automaton. */
#include "tests/test.h"
#include "text/stop.h"
#include "base/err.h"

#include <errno.h>
#include <stdlib.h>

static uint64_t seed = 88172645463325252u;

static unsigned rnd(unsigned n)
{
	seed ^= seed << 13; /* Marsaglia's xorshift64 */
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed >> 11) % n;
}

struct fixture {
	struct stop_set set;
	struct stop stop;
	void *mem;
};

static int setup(struct fixture *f, const char *const *stops, uint32_t nr)
{
	struct stop_string str[32];
	struct err err = { 0 };
	size_t total = 0;
	uint32_t i;
	int r;

	for (i = 0; i < nr; i++) {
		str[i] = (struct stop_string){ stops[i], strlen(stops[i]) };
		total += str[i].size;
	}
	f->mem = malloc(stop_set_size(total));
	r = stop_set_init(&f->set, str, nr, f->mem, stop_set_size(total), &err);
	if (r)
		free(f->mem);
	else
		stop_init(&f->stop, &f->set);
	return r;
}

/*
 * Deliver @text in tokens cut as @cut says (bit i: a cut after byte i), the
 * way the engine does: what may still become a stop is held back.  The bytes
 * that a client sees go to @out.
 */
static size_t deliver(struct fixture *f, const char *text, uint32_t cut,
		      char *out)
{
	size_t n = strlen(text), from = 0, i, seen = 0;

	stop_init(&f->stop, &f->set);
	for (i = 0; i < n; i++) {
		if (i + 1 < n && !(cut >> i & 1))
			continue;
		if (stop_feed(&f->stop, text + from, i + 1 - from)) {
			CHECK(f->stop.begin >= seen);
			seen = f->stop.begin;
			break;
		}
		from = i + 1;
		/* never give back what was delivered */
		CHECK(from - stop_hold(&f->stop) >= seen);
		seen = from - stop_hold(&f->stop);
	}
	if (f->stop.index == STOP_NONE)
		seen = n;
	memcpy(out, text, seen);
	out[seen] = '\0';
	return seen;
}

static const struct {
	const char *name;
	const char *stops[4];
	uint32_t nr;
	const char *text, *shown;
	uint32_t index;
} rows[] = {
	{ "inside the text", { "END" }, 1, "the END of", "the ", 0 },
	{ "at the very beginning", { "the" }, 1, "the END", "", 0 },
	{ "at the very end", { "END" }, 1, "so END", "so ", 0 },
	{ "begun and not completed",
	  { "END!" },
	  1,
	  "the END",
	  "the END",
	  STOP_NONE },
	{ "overlapping prefix aab in aaab", { "aab" }, 1, "aaab", "a", 0 },
	{ "overlapping prefix abab in abaabab",
	  { "abab" },
	  1,
	  "abaababx",
	  "aba",
	  0 },
	{ "across a two-byte character",
	  { "\xc3\xa9t" },
	  1,
	  "l'\xc3\xa9t\xc3\xa9",
	  "l'",
	  0 },
	{ "across a four-byte character",
	  { "\xf0\x9f\x98\x80!" },
	  1,
	  "ok \xf0\x9f\x98\x80\xf0\x9f\x98\x80!x",
	  "ok \xf0\x9f\x98\x80",
	  0 },
	{ "same first byte, another character",
	  { "\xc3\xa9" },
	  1,
	  "\xc3\xa8\xc3\xaa",
	  "\xc3\xa8\xc3\xaa",
	  STOP_NONE },
	{ "the second of two", { "xyz", "ll" }, 2, "Hello", "He", 1 },
	{ "same beginning: the shorter is complete first",
	  { "stop", "sto" },
	  2,
	  "a stop",
	  "a ",
	  1 },
	{ "same end: the longer begins first", { "b", "ab" }, 2, "xab", "x", 1 },
	{ "one inside another: complete first",
	  { "abcd", "bc" },
	  2,
	  "abcd",
	  "a",
	  1 },
	{ "the same stop twice: the first is told",
	  { "b", "b" },
	  2,
	  "ab",
	  "a",
	  0 },
	{ "none at all", { NULL }, 0, "anything", "anything", STOP_NONE },
};

TEST(T30_a_stop_is_found_however_the_text_is_cut_into_tokens)
{
	struct fixture f;
	char out[64];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint32_t n = (uint32_t)strlen(rows[i].text), cut;

		ROW(rows[i].name);
		CHECK_EQ(setup(&f, rows[i].stops, rows[i].nr), 0);
		/* every way to cut: one token, single bytes, all between */
		for (cut = 0; cut < UINT32_C(1) << (n - 1); cut++) {
			deliver(&f, rows[i].text, cut, out);
			CHECK_STR(out, rows[i].shown);
			CHECK_EQ(f.stop.index, rows[i].index);
		}
		free(f.mem);
	}
}

TEST(T30_a_stop_split_over_two_to_five_tokens)
{
	static const char *const stops[] = { "</answer>" };
	static const char text[] = "<b>42</b></answer> and more";
	struct fixture f;
	char out[64];
	uint32_t parts, a;

	CHECK_EQ(setup(&f, stops, 1), 0);
	/* cuts at 9 + a * k: the stop lies at [9, 18) */
	for (parts = 2; parts <= 5; parts++) {
		for (a = 1; 9 + a * (parts - 1) < 18; a++) {
			uint32_t cut = 1u << 8, k;

			for (k = 1; k < parts; k++)
				cut |= 1u << (8 + a * k);
			deliver(&f, text, cut, out);
			CHECK_STR(out, "<b>42</b>");
		}
	}
	free(f.mem);
}

/* The definition: the first place where some stop is complete. */
static bool naive(const char *const *stops, uint32_t nr, const char *text,
		  size_t *begin, uint32_t *index)
{
	size_t n = strlen(text), end, len, best;
	uint32_t i;

	for (end = 1; end <= n; end++) {
		best = 0;
		for (i = 0; i < nr; i++) {
			len = strlen(stops[i]);
			if (len <= end && len > best &&
			    !memcmp(text + end - len, stops[i], len)) {
				best = len;
				*index = i;
			}
		}
		if (best) {
			*begin = end - best;
			return true;
		}
	}
	return false;
}

/* How many last bytes are a proper beginning of a stop, the most. */
static size_t naive_hold(const char *const *stops, uint32_t nr,
			 const char *text, size_t n)
{
	size_t hold = 0, len;
	uint32_t i;

	for (i = 0; i < nr; i++)
		for (len = 1; len < strlen(stops[i]) && len <= n; len++)
			if (len > hold &&
			    !memcmp(text + n - len, stops[i], len))
				hold = len;
	return hold;
}

TEST(T30_random_stops_and_texts_agree_with_a_plain_search)
{
	char text[40], stop[4][8], out[64];
	const char *stops[4] = { stop[0], stop[1], stop[2], stop[3] };
	struct fixture f;
	int round;

	for (round = 0; round < 20000; round++) {
		uint32_t nr = 1 + rnd(4), index = STOP_NONE, i;
		size_t n = 1 + rnd(24), begin = 0, k;

		for (k = 0; k < n; k++)
			text[k] = (char)('a' + rnd(2 + (round & 1)));
		text[n] = '\0';
		for (i = 0; i < nr; i++) {
			size_t len = 1 + rnd(6);

			for (k = 0; k < len; k++)
				stop[i][k] = (char)('a' + rnd(3));
			stop[i][len] = '\0';
		}
		CHECK_EQ(setup(&f, stops, nr), 0);
		if (!naive(stops, nr, text, &begin, &index))
			begin = n;
		CHECK_EQ(deliver(&f, text, rnd(1u << 24), out), begin);
		/* duplicates: the automaton tells the first of the same */
		if (index != STOP_NONE)
			CHECK_STR(stops[f.stop.index], stops[index]);
		if (index == STOP_NONE)
			CHECK_EQ(stop_hold(&f.stop),
				 naive_hold(stops, nr, text, n));
		free(f.mem);
	}
}

TEST(T30_the_state_is_found_again_from_the_text)
{
	static const char *const stops[] = { "aaab", "\n\nUser:", "abba" };
	static const char text[] = "aabbaabba\n\nUse\n\nUser: aaaab";
	struct fixture f;
	struct stop again;
	size_t n, k;

	CHECK_EQ(setup(&f, stops, 3), 0);
	/* abba is complete at 5: before that, cut anywhere, go on, agree */
	for (n = 0; n < 5; n++) {
		stop_init(&f.stop, &f.set);
		CHECK(!stop_feed(&f.stop, text, n));
		stop_init(&again, &f.set);
		stop_resume(&again, text, n);
		CHECK_EQ(again.state, f.stop.state);
		CHECK_EQ(again.fed, n);
		for (k = n; k < sizeof(text) - 1; k++)
			CHECK_EQ(stop_feed(&again, text + k, 1),
				 stop_feed(&f.stop, text + k, 1));
		CHECK_EQ(again.begin, 1);
		CHECK_EQ(again.end, 5);
		CHECK_EQ(again.index, 2);
	}
	free(f.mem);
}

TEST(a_state_resumed_from_a_long_text_is_the_same)
{
	static char text[4096];
	char stop[STOP_SIZE_MAX + 1];
	const char *stops[] = { stop, "ab" };
	struct fixture f;
	struct stop again;

	memset(text, 'a', sizeof(text));
	memset(stop, 'a', STOP_SIZE_MAX - 1);
	stop[STOP_SIZE_MAX - 1] = 'c'; /* the longest stop, nearly complete */
	stop[STOP_SIZE_MAX] = '\0';
	CHECK_EQ(setup(&f, stops, 2), 0);
	CHECK(!stop_feed(&f.stop, text, sizeof(text)));
	CHECK_EQ(stop_hold(&f.stop), STOP_SIZE_MAX - 1);
	stop_init(&again, &f.set);
	stop_resume(&again, text, sizeof(text));
	CHECK_EQ(again.state, f.stop.state);
	CHECK(stop_feed(&again, "c", 1));
	CHECK_EQ(again.begin, sizeof(text) - (STOP_SIZE_MAX - 1));
	free(f.mem);
}

TEST(stops_that_cannot_be_are_refused)
{
	static const struct {
		const char *name;
		size_t size;
		const char *s;
		uint32_t nr;
	} bad[] = {
		{ "empty", 0, "", 1 },
		{ "half a character", 1, "\xc3", 1 },
		{ "too many", 1, "x", STOP_NR_MAX + 1 },
		{ "too long", STOP_SIZE_MAX + 1, NULL, 1 },
	};
	static char longest[STOP_SIZE_MAX + 1];
	static struct ac_node mem[16 * 1024];
	struct stop_string str[STOP_NR_MAX + 1];
	struct stop_set set;
	struct err err;
	size_t i, k;

	memset(longest, 'x', sizeof(longest));
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		ROW(bad[i].name);
		for (k = 0; k <= STOP_NR_MAX; k++)
			str[k] = (struct stop_string){ bad[i].s ? bad[i].s
								: longest,
						       bad[i].size };
		err = (struct err){ 0 };
		CHECK_EQ(stop_set_init(&set, str, bad[i].nr, mem, sizeof(mem),
				       &err),
			 -EINVAL);
		CHECK(err.text[0]);
	}
	ROW("too little memory");
	str[0] = (struct stop_string){ "abc", 3 };
	CHECK_EQ(stop_set_init(&set, str, 1, mem, stop_set_size(3) - 1, &err),
		 -ENOSPC);
	ROW("as many and as long as allowed");
	for (k = 0; k < STOP_NR_MAX; k++)
		str[k] = (struct stop_string){ longest, STOP_SIZE_MAX };
	CHECK_EQ(stop_set_init(&set, str, STOP_NR_MAX, mem, sizeof(mem), &err),
		 0);
}
