/* SPDX-License-Identifier: MIT */
/*
 * The engine dies at every marked point between two stores, the next one goes
 * on: all clients see one log, the one of a run that nobody disturbed.
 *
 * The marked sources are compiled in here, with mark() as a longjmp out of
 * the engine: what it has stored stays, what it knew privately is lost, as
 * with SIGKILL.  (Real kills of the real daemon: tests/system/test_torture.c.)
 */
#ifndef LLM_MARKS
#define LLM_MARKS
#endif
#include "daemon/admit.c"
#include "daemon/recover.c"
#include "daemon/stream.c"
#include "daemon/serve.c"
#include "daemon/engine.c"
#include "tests/unit/rig.h"

#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* Engines that are cut leave their private memory behind: that is the point. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

static struct rig R;

/* ---- the cut ---------------------------------------------------------- */

static struct {
	unsigned mark;	/* cut here; 0 = nowhere */
	int count;	/* at this passing of it */
	unsigned again; /* then here, in the next life; 0 = nowhere */
	int again_count;
	bool fired;
	uint64_t lives;
	int bug;
	jmp_buf out;
} cut;

static void (*on_mark)(unsigned n); /* what a client does meanwhile */

void mark(unsigned n)
{
	if (on_mark)
		on_mark(n);
	if (n != cut.mark || --cut.count)
		return;
	cut.fired = true;
	longjmp(cut.out, 1);
}

int bug(unsigned n)
{
	return cut.bug == (int)n;
}

/* ---- what the clients do ---------------------------------------------- */

#define NR_SES	 2
#define NR_SLOTS 10u
#define MAX_LOG	 64

/* All that can be read of one use of a slot. */
struct seen {
	uint64_t word;
	uint32_t error, detail, stop_index, prompt_len, max_tokens;
	struct llm_tok log[MAX_LOG];
	struct llm_alt alt[MAX_LOG * 2];
	char text[1024];
};

static struct {
	struct seen ref[NR_SES][NR_SLOTS][3]; /* by gen */
	struct seen now[NR_SES][NR_SLOTS];
	uint32_t epoch[NR_SES][NR_SLOTS]; /* that admitted it */
	uint64_t last[NR_SES][NR_SLOTS];  /* the last word seen */
	uint64_t told[NR_SES][NR_SLOTS];  /* words the client looked at */
	uint64_t wakes[NR_SES];		  /* acted upon */
	uint32_t idle; /* waits in a row in which nothing could run */
	bool text;     /* the scenario with a tokenizer */
	char bad[200];
} S;

__attribute__((format(printf, 1, 2))) static void bad(const char *fmt, ...)
{
	va_list ap;

	if (S.bad[0])
		return;
	va_start(ap, fmt);
	vsnprintf(S.bad, sizeof(S.bad), fmt, ap);
	va_end(ap);
}

static void read_seen(struct rig_session *x, uint32_t i, struct seen *s)
{
	const struct llm_record *r = rig_record(x, i);
	uint32_t tail, text;

	memset(s, 0, sizeof(*s));
	s->word = rig_word(x, i);
	tail = LLM_COMMIT_TAIL(s->word);
	s->error = r->error;
	s->detail = r->detail;
	s->stop_index = r->stop_index;
	s->prompt_len = r->prompt_len;
	s->max_tokens = r->max_tokens;
	if (!tail)
		return;
	memcpy(s->log, rig_log(x, i), tail * sizeof(*s->log));
	if (r->alt_off)
		memcpy(s->alt, x->s.base + r->alt_off,
		       tail * r->alt_k * sizeof(*s->alt));
	text = s->log[tail - 1].text_end;
	memcpy(s->text, x->s.base + r->text_off, text);
}

/* Every claim of the contract about one slot, seen at one moment. */
static void look(uint32_t k, uint32_t i, bool learn)
{
	struct rig_session *x = &R.ses[k];
	struct seen *s = &S.now[k][i], *ref;
	uint64_t last = S.last[k][i];
	const struct llm_record *r = rig_record(x, i);
	uint32_t gen, tail;

	read_seen(x, i, s);
	gen = LLM_COMMIT_GEN(s->word);
	tail = LLM_COMMIT_TAIL(s->word);
	if (!gen)
		return;
	if (gen > x->gen[i])
		bad("slot %u.%u: gen %u was never sent", k, i, gen);
	if (gen == LLM_COMMIT_GEN(last)) {
		if (tail < LLM_COMMIT_TAIL(last))
			bad("slot %u.%u: tail went back to %u", k, i, tail);
		if (LLM_COMMIT_STATE(s->word) < LLM_COMMIT_STATE(last))
			bad("slot %u.%u: state went back", k, i);
		if (LLM_COMMIT_STATE(last) == LLM_ST_END && s->word != last)
			bad("slot %u.%u: the end changed", k, i);
		/* while a resubmission is being written, gen may be 0 */
		if (gen == x->gen[i] && r->adm_epoch != S.epoch[k][i])
			bad("slot %u.%u: admitted twice", k, i);
	} else {
		if (gen < LLM_COMMIT_GEN(last))
			bad("slot %u.%u: gen went back", k, i);
		S.epoch[k][i] = r->adm_epoch;
	}
	S.last[k][i] = s->word;
	if (gen != x->gen[i])
		return; /* given up: may be overwritten at any time */
	if (r->gen != gen)
		bad("slot %u.%u: record of gen %u, word of %u", k, i, r->gen,
		    gen);
	ref = &S.ref[k][i][gen];
	if (learn) {
		if (LLM_COMMIT_STATE(s->word) == LLM_ST_END)
			*ref = *s;
		return;
	}
	if (tail > LLM_COMMIT_TAIL(ref->word))
		bad("slot %u.%u: %u tokens, undisturbed %u", k, i, tail,
		    LLM_COMMIT_TAIL(ref->word));
	else if (memcmp(s->log, ref->log, tail * sizeof(*s->log)))
		bad("slot %u.%u: log differs in the first %u", k, i, tail);
	else if (tail && memcmp(s->text, ref->text, s->log[tail - 1].text_end))
		bad("slot %u.%u: text differs", k, i);
	else if (memcmp(s->alt, ref->alt, tail * r->alt_k * 8))
		bad("slot %u.%u: alternatives differ", k, i);
	else if (LLM_COMMIT_STATE(s->word) == LLM_ST_END &&
		 memcmp(s, ref, sizeof(*s)))
		bad("slot %u.%u: ends as %llx/%u, undisturbed %llx/%u", k, i,
		    (unsigned long long)s->word, s->detail,
		    (unsigned long long)ref->word, ref->detail);
}

static void submit_stops(struct rig_session *x, uint16_t slot,
			 const uint32_t *ids, uint32_t n)
{
	struct {
		struct llm_params p;
		uint32_t len[2];
		char s[8];
	} b = { { .size = sizeof(b.p),
		  .set = LLM_SET_SEED,
		  .seed = 42,
		  .nr_alt = 2,
		  .nr_stop = 2 },
		{ 5, 2 },
		"ace czz" };

	rig_submit(x, (struct llm_sqe){
			      .op = LLM_OP_GENERATE,
			      .stream = slot,
			      .max_tokens = 60,
			      .off = rig_put(x, ids, 4 * n),
			      .len = 4 * n,
			      .params_off = rig_put(x, &b, sizeof(b) & ~3u),
			      .params_len = sizeof(b) & ~3u,
		      });
}

static void submit_text(struct rig_session *x, uint16_t slot, const char *text,
			uint32_t max)
{
	struct llm_params p = { .size = sizeof(p),
				.set = LLM_SET_SEED,
				.seed = 4 };
	uint32_t n = (uint32_t)strlen(text);

	rig_submit(x, (struct llm_sqe){
			      .op = LLM_OP_GENERATE,
			      .stream = slot,
			      .flags = LLM_SQE_F_TEXT,
			      .max_tokens = max,
			      .off = rig_put(x, text, n),
			      .len = n,
			      .params_off = rig_put(x, &p, sizeof(p)),
			      .params_len = sizeof(p),
		      });
}

static void first_requests(void)
{
	struct rig_session *x = &R.ses[0], *y = &R.ses[1];
	uint32_t ids[40], far[] = { 5, TOY_VOCAB }, i;

	for (i = 0; i < 40; i++)
		ids[i] = 'A' + i % 23;
	rig_ids(x, 0, ids, 20, 30, 1);
	submit_stops(x, 1, ids, 9);
	submit_text(x, 2, "hello, you there", 12);
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_SCORE,
					.stream = 3,
					.off = rig_put(x, ids, 160),
					.len = 160 });
	rig_ids(x, 4, far, 2, 5, 1); /* refused */
	rig_submit(x, (struct llm_sqe){ .op = LLM_OP_PING, .stream = 5 });
	rig_ids(x, 6, ids, 40, 20, 3); /* shares blocks with slot 0 */
	submit_text(x, 7, "too much for the context, once it is known", 509);
	rig_ids(y, 0, ids, 33, 25, 2);
	submit_stops(y, 9, ids, 3);
}

/* The slot's second use, once its first has ended. */
static void next_request(uint32_t k, uint32_t i)
{
	uint32_t ids[] = { 'n', 'e', 'x', 't' };

	if (i != 0 && i != 4 && i != 5)
		return;
	if (R.ses[k].gen[i] == 1 && rig_ended(&R.ses[k], i) &&
	    LLM_COMMIT_GEN(rig_word(&R.ses[k], i)) == 1)
		rig_ids(&R.ses[k], (uint16_t)i, ids, 4, 11, 77);
}

/* Does the client itself know that all of its requests are over? */
static bool all_ended(uint32_t k)
{
	uint32_t i, gen;

	for (i = 0; i < NR_SLOTS; i++) {
		gen = R.ses[k].gen[i];
		if (gen && (LLM_COMMIT_GEN(S.told[k][i]) != gen ||
			    LLM_COMMIT_STATE(S.told[k][i]) != LLM_ST_END))
			return false;
	}
	return true;
}

/*
 * A client that moves only when it is woken: it looks at all its slots, arms
 * a wish on each that is not over, and looks once more before it sleeps.
 */
static void client(uint32_t k, bool learn)
{
	struct rig_session *x = &R.ses[k];
	bool again = true;
	uint32_t i;

	if (R.turn > 1 && x->wakes == S.wakes[k])
		return;
	S.wakes[k] = x->wakes;
	while (again && !S.bad[0]) {
		again = false;
		for (i = 0; i < NR_SLOTS; i++) {
			uint64_t w = rig_word(x, i);

			look(k, i, learn);
			S.told[k][i] = w;
			next_request(k, i);
			if (!x->gen[i] || (LLM_COMMIT_GEN(w) == x->gen[i] &&
					   LLM_COMMIT_STATE(w) == LLM_ST_END))
				continue;
			shm_store(&x->wish[i].arm_want,
				  (uint64_t)++x->arm[i] << 32 |
					  (LLM_COMMIT_TAIL(w) + 1));
			shm_fence();
			if (rig_word(x, i) != w)
				again = true;
		}
	}
}

static bool learning;

static int script(struct rig *r, uint64_t deadline_ns)
{
	uint32_t k;

	if (r->turn == 1)
		first_requests();
	for (k = 0; k < NR_SES; k++)
		client(k, learning);
	if (S.bad[0])
		return 1;
	/* once it sleeps: nothing of theirs is under way any more */
	if (deadline_ns && all_ended(0) && all_ended(1))
		return 1;
	S.idle = deadline_ns == UINT64_MAX ? S.idle + 1 : 0;
	if (S.idle > (S.text ? 10000 : 100)) {
		bad("all asleep, not all ended: a wake was lost");
		return 1;
	}
	return 0;
}

static void look_all(void)
{
	uint32_t k, i;

	for (k = 0; k < NR_SES && !S.bad[0]; k++)
		for (i = 0; i < NR_SLOTS; i++)
			look(k, i, learning);
}

/* One scenario, cut where `cut` says; NULL or what is wrong. */
static const char *scenario(void)
{
	static volatile uint32_t lives;
	uint32_t k;

	lives = 0;
	cut.fired = false;
	S.bad[0] = 0;
	S.idle = 0;
	memset(S.last, 0, sizeof(S.last));
	memset(S.told, 0, sizeof(S.told));
	memset(S.wakes, 0, sizeof(S.wakes));
	rig_init(&R);
	R.script = script;
	R.max_tokens = 32; /* prompts in several steps */
	if (S.text) {
		R.model = "tests/data/models/llama3-gqa-bf16";
		toy_no_text = 1;
	}
	for (k = 0; k < NR_SES; k++)
		rig_session(&R, k, 1 + k);
	if (setjmp(cut.out)) {
		look_all();
		if (cut.again) { /* and once more, on the way up */
			cut.mark = cut.again;
			cut.count = cut.again_count;
			cut.again = 0;
		}
	}
	if (++lives > 20)
		return "it dies again and again";
	if (rig_run(&R) && !S.bad[0])
		bad("the engine failed");
	look_all();
	for (k = 0; k < NR_SES && !S.bad[0]; k++) {
		if (R.ses[k].s.engine->sq_dropped)
			bad("an entry was dropped");
	}
	if (R.board.info.kv_used && !S.bad[0])
		bad("%u blocks are left", R.board.info.kv_used);
	cut.lives += lives;
	/* a worker that was cut off may still read its text: leave it */
	if (!S.text)
		rig_deinit(&R);
	toy_no_text = 0;
	return S.bad[0] ? S.bad : NULL;
}

/* All cuts at mark @m, in a process of their own; the answer to *shared. */
struct answer {
	uint32_t nr_cuts;
	char bad[240];
};
static struct answer *answer;

static void cut_all(unsigned m, unsigned again, int dense, int max)
{
	int c, step = 1;
	const char *what;

	for (c = 1; c <= max; c += step) {
		cut.mark = m;
		cut.count = c;
		cut.again = again;
		cut.again_count = 1 + c % 2;
		what = scenario();
		if (what) {
			snprintf(answer->bad, sizeof(answer->bad),
				 "mark %u, passing %d%s: %s", m, c,
				 again ? ", and again" : "", what);
			_exit(1);
		}
		if (!cut.fired)
			break;
		answer->nr_cuts++;
		step = c < dense ? 1 : 11;
	}
	_exit(0);
}

static void fork_cuts(unsigned m, unsigned again, int dense, int max)
{
	int status;
	pid_t pid;

	memset(answer, 0, sizeof(*answer));
	fflush(stdout);
	pid = fork();
	if (!pid)
		cut_all(m, again, dense, max);
	waitpid(pid, &status, 0);
	if (!answer->bad[0] && status)
		snprintf(answer->bad, sizeof(answer->bad),
			 "mark %u: died with status %x", m, status);
}

static void learn(bool text)
{
	if (!answer)
		answer = mmap(NULL, sizeof(*answer), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	S.text = text;
	cut.mark = 0;
	cut.bug = BUG_NONE;
	learning = true;
	memset(S.ref, 0, sizeof(S.ref));
	CHECK(!scenario());
	learning = false;
	CHECK(!scenario()); /* the same again: the checker agrees with itself */
}

TEST(the_undisturbed_run_ends_in_every_way)
{
	learn(false);
	CHECK_EQ(LLM_COMMIT_END(S.ref[0][0][1].word), LLM_END_LENGTH);
	CHECK_EQ(S.ref[0][1][1].detail, LLM_DETAIL_STOP_STRING);
	CHECK_EQ(LLM_COMMIT_TAIL(S.ref[0][3][1].word), 39);
	CHECK_EQ(LLM_COMMIT_END(S.ref[0][4][1].word), LLM_END_REFUSED);
	CHECK_EQ(S.ref[0][4][1].error, EINVAL);
	CHECK_EQ(LLM_COMMIT_END(S.ref[0][5][1].word), LLM_END_STOP);
	CHECK_EQ(LLM_COMMIT_TAIL(S.ref[0][4][2].word), 11);
	CHECK_EQ(S.ref[0][7][1].error, E2BIG);
}

TEST(T5_cut_at_every_store_and_the_ids_are_those_of_an_undisturbed_run)
{
	uint32_t total = 0;
	unsigned m;

	learn(false);
	for (m = 1; m < MARK_NR; m++) {
		/* these need a tokenizer: below */
		if (m == MARK_TEXT_IDS || m == MARK_TEXT_READY)
			continue;
		fork_cuts(m, 0, 40, 400);
		if (answer->bad[0])
			printf("# %s\n", answer->bad);
		CHECK(!answer->bad[0]);
		if (!answer->nr_cuts)
			printf("# mark %u was never passed\n", m);
		CHECK(answer->nr_cuts);
		total += answer->nr_cuts;
	}
	printf("# %u cuts\n", total);
	CHECK(total > 400);
}

TEST(T5_cut_again_inside_recovery)
{
	static const unsigned first[] = { MARK_ADMITTED, MARK_ACK, MARK_LOG,
					  MARK_COMMIT, MARK_WISH };
	unsigned i, m;

	learn(false);
	for (i = 0; i < sizeof(first) / sizeof(*first); i++)
		for (m = MARK_OPEN; m <= MARK_OPEN_BUILT; m++) {
			fork_cuts(first[i], m, 5, 60);
			if (answer->bad[0])
				printf("# %s\n", answer->bad);
			CHECK(!answer->bad[0]);
			CHECK(answer->nr_cuts);
		}
}

/* A checker that finds nothing is worth what it finds when there is sth. */
TEST(planted_bugs_are_each_caught)
{
	static const struct {
		const char *name;
		int bug;
		unsigned mark; /* where its kill hurts */
	} t[] = {
		{ "publish before write", BUG_PUBLISH_FIRST, MARK_PIECE },
		{ "head before admission", BUG_HEAD_FIRST, MARK_ACK },
		{ "no gen check", BUG_NO_GEN, MARK_ADMITTED },
		{ "no wake on recovery", BUG_NO_WAKE, MARK_COMMIT },
		{ "wish read before commit", BUG_WISH_FIRST, 0 },
		{ "noise by state", BUG_NOISE_BY_STATE, MARK_COMMIT },
		{ "end before the last tokens", BUG_END_FIRST, MARK_END },
	};
	unsigned i;

	learn(false);
	for (i = 0; i < sizeof(t) / sizeof(*t); i++) {
		ROW(t[i].name);
		cut.bug = t[i].bug;
		fork_cuts(t[i].mark, 0, 300, t[i].mark ? 300 : 1);
		CHECK(answer->bad[0]);
	}
	cut.bug = BUG_NONE;
}

/* ---- T27 -------------------------------------------------------------- */

static uint32_t *rewritten, rewrite_at, passings;

static void rewrite(unsigned n)
{
	if (n >= MARK_ADMIT_BEGIN && n <= MARK_ADMITTED &&
	    ++passings == rewrite_at)
		*rewritten = TOY_VOCAB + 5;
}

/* Did a client that rewrites its prompt get an id past the check? */
static bool slips_through(uint32_t at)
{
	uint32_t ids[] = { 1, 2, 3 }, i;
	struct rig_session *x;
	bool slipped = false;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 0, ids, 3, 5, 1);
	rewritten = (uint32_t *)(x->arena + x->sqe[0].off) + 1;
	on_mark = rewrite;
	rewrite_at = at;
	passings = 0;
	rig_run(&R);
	on_mark = NULL;
	for (i = 0; i < rig_record(x, 0)->prompt_len; i++)
		slipped |= ((uint32_t *)(x->s.base +
					 rig_record(x, 0)->prompt_off))[i] >=
			   TOY_VOCAB;
	rig_deinit(&R);
	return slipped;
}

TEST(T27_a_prompt_rewritten_during_admission_is_judged_as_it_was_copied)
{
	uint32_t at, slipped = 0;

	cut.mark = 0;
	cut.bug = BUG_NONE;
	for (at = 1; at < 10; at++)
		CHECK(!slips_through(at));
	cut.bug = BUG_FETCH_TWICE;
	for (at = 1; at < 10; at++)
		slipped += slips_through(at);
	cut.bug = BUG_NONE;
	CHECK(slipped); /* the planted bug is one */
}

#ifdef __SANITIZE_ADDRESS__
/* what a killed engine held is the kernel's to take back; here nobody does */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:rig_run\n";
}
#endif

/* One life, cut at the @count-th passing of @m (0: not at all). */
static int life(unsigned m, int count)
{
	cut.mark = m;
	cut.count = count;
	cut.again = 0;
	if (setjmp(cut.out))
		return -1;
	return rig_run(&R);
}

/* ---- blame, another model --------------------------------------------- */

TEST(a_request_that_kills_three_engines_is_quarantined)
{
	uint32_t ids[] = { 'q' }, i;
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 0, ids, 1, 9, 1);
	rig_ids(x, 1, ids, 1, 9, 1);
	for (i = 0; i < 4; i++) {
		CHECK_EQ(life(MARK_STEP, 1), -1);
		CHECK_EQ(R.board.nr_rows, i < 3 ? 2 : 1);
		/* the keeper: slot 0 is to blame, by a signal of its own */
		R.board.nr_blamed = 1;
		R.board.blamed[0] = (struct board_row){ x->s.id, 0, 1 };
	}
	CHECK_EQ(rig_end(x, 0), LLM_END_ERROR);
	CHECK_EQ(rig_record(x, 0)->deaths, 3);
	CHECK(!strncmp((const char *)rig_record(x, 0)->why,
		       "quarantined: ", 13));
	CHECK_EQ(life(0, 0), 0);
	CHECK_EQ(rig_end(x, 1), LLM_END_LENGTH);
	rig_deinit(&R);
}

TEST(a_commit_clears_the_deaths_of_a_stream)
{
	uint32_t ids[] = { 'q' };
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 0, ids, 1, 9, 1);
	CHECK_EQ(life(MARK_STEP, 1), -1);
	R.board.nr_blamed = 1;
	R.board.blamed[0] = (struct board_row){ x->s.id, 0, 1 };
	CHECK_EQ(life(MARK_STEP, 1), -1);
	CHECK_EQ(rig_record(x, 0)->deaths, 1);
	R.board.nr_blamed = 0;
	CHECK_EQ(life(0, 0), 0);
	CHECK_EQ(rig_record(x, 0)->deaths, 0);
	CHECK_EQ(rig_end(x, 0), LLM_END_LENGTH);
	rig_deinit(&R);
}

TEST(T9_another_arithmetic_goes_on_and_says_so)
{
	uint32_t ids[] = { 'q' };
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	rig_ids(x, 0, ids, 1, 20, 1);
	CHECK_EQ(life(MARK_STEP, 8), -1);
	toy_arith = 8;
	CHECK_EQ(life(0, 0), 0);
	toy_arith = 7;
	CHECK_EQ(LLM_COMMIT_TAIL(rig_word(x, 0)), 20);
	CHECK_EQ(rig_record(x, 0)->arith, 7);
	/* 7 steps have run; where it looks late, 6 of them were seen */
	CHECK_STR((const char *)rig_record(x, 0)->why,
		  toy_late ? "another model or arithmetic goes on from token 6"
			   : "another model or arithmetic goes on from token "
			     "7");
	/* and where what is known does not fit any more: an end, not a crash */
	rig_ids(x, 0, ids, 1, 400, 1);
	CHECK_EQ(life(MARK_STEP, 8), -1);
	toy_arith = 8;
	toy_context = 100;
	CHECK_EQ(life(0, 0), 0);
	toy_arith = 7;
	toy_context = 512;
	CHECK_EQ(rig_end(x, 0), LLM_END_ERROR);
	CHECK_STR((const char *)rig_record(x, 0)->why,
		  "prompt of 1 and max_tokens 400 are 401 tokens, the context "
		  "holds 100");
	rig_deinit(&R);
}

TEST(T5_the_same_where_texts_are_tokenized)
{
	static const unsigned marks[] = {
		MARK_ADMITTED,	 MARK_ADMIT_DONE, MARK_ACK,   MARK_TEXT_IDS,
		MARK_TEXT_READY, MARK_STEP,	  MARK_PIECE, MARK_COMMIT,
	};
	unsigned i;

	learn(true);
	CHECK_EQ(S.ref[0][7][1].error, E2BIG);
	CHECK(S.ref[0][2][1].prompt_len > 3);
	CHECK_EQ(LLM_COMMIT_TAIL(S.ref[0][2][1].word), 12);
	for (i = 0; i < sizeof(marks) / sizeof(*marks); i++) {
		fork_cuts(marks[i], 0, 4, 20);
		if (answer->bad[0])
			printf("# %s\n", answer->bad);
		CHECK(!answer->bad[0]);
		CHECK(answer->nr_cuts);
	}
}
