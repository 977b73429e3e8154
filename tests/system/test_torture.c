/* SPDX-License-Identifier: MIT */
/*
 * slow test
 *
 * test_torture.c - kill the engine everywhere; whatever a client sees is a
 * prefix of the one true log.
 *
 * The truth is an undisturbed run of the same requests.  Then three client
 * processes with 64 streams each submit, cancel, sleep and come and go, while
 * the engine dies: at each mark between two stores (daemon/mark.h), and at
 * random times.  Every observation of every client is checked.  Last, bugs are
 * planted, and each must be caught.
 *
 *	test_torture		100 kills and more, a minute or two (make check)
 *	test_torture long [N]	N random kills (2,000), each mark more often
 *	test_torture brief	null alone, each mark once (an emulated processor)
 *
 * Marks and bugs need the daemon of `make MARKS=1`.
 */
#include "tests/system/raw.h"
#include "tests/system/serve.h"
#include "daemon/mark.h"

#include <stdbool.h>

#define NR_CLIENTS 3
#define NR_ASKS	   96u
#define MAX_OUT	   200u

/* An ask and what an undisturbed run answered. */
struct truth {
	struct raw_ask ask;
	uint32_t len, end, detail, text_len;
	struct llm_tok tok[MAX_OUT];
	uint8_t text[MAX_OUT * 16];
};

struct report {
	uint64_t streams, tokens, cancelled, waits, sessions;
	uint32_t bad;
	char what[160];
};

struct shared {
	struct mark_page marks;
	uint32_t stop;
	struct report report[NR_CLIENTS];
	struct truth truth[NR_ASKS];
};

static struct shared *S;
static char marks_path[64];
static int passed, failed, skipped;
static const char *const *model_args;

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ull;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
	x = (x ^ x >> 27) * 0x94d049bb133111ebull;
	return x ^ x >> 31;
}
static uint64_t rnd(uint64_t *s)
{
	return *s = mix(*s);
}

static void verdict(bool good, const char *what)
{
	printf("%s %s\n", good ? "ok" : "not ok", what);
	good ? passed++ : failed++;
}

static void bad(struct report *r, const char *what, uint32_t slot, uint64_t a,
		uint64_t b)
{
	if (!__atomic_fetch_add(&r->bad, 1, __ATOMIC_RELAXED))
		snprintf(r->what, sizeof(r->what), "%s (slot %u: %llx, %llx)",
			 what, slot, (unsigned long long)a,
			 (unsigned long long)b);
}

/* ---- the truth -------------------------------------------------------- */

static void make_asks(void)
{
	uint64_t rng = 7;
	uint32_t i, p;

	for (i = 0; i < NR_ASKS; i++) {
		struct raw_ask *a = &S->truth[i].ask;
		float t = i % 4 ? 0.8f : 0.0f;

		a->seed = rnd(&rng);
		a->prompt_len = 1 + (uint32_t)(rnd(&rng) % 95);
		a->max_tokens = 1 + (uint32_t)(rnd(&rng) % MAX_OUT);
		if (rnd(&rng) % 2)
			a->max_tokens = 1 + a->max_tokens % 24;
		a->flags = i % 3 ? LLM_SQE_F_LOGPROBS : 0;
		memcpy(&a->temperature_bits, &t, 4);
		for (p = 0; p < a->prompt_len; p++)
			a->prompt[p] = 6 + (uint32_t)(rnd(&rng) % 4000);
	}
}

/* Ask everything once with nobody killed. */
static bool learn_truth(const char *sock)
{
	struct raw r;
	uint32_t i;

	if (raw_open(&r, sock))
		return false;
	for (i = 0; i < NR_ASKS; i++) {
		struct truth *t = &S->truth[i];
		uint32_t slot = i % RAW_STREAMS;
		uint64_t t0 = raw_now(), w;

		raw_submit(&r, slot, &t->ask);
		raw_bell(&r);
		while (w = raw_peek(&r, slot),
		       !raw_done(&r, slot, w, UINT32_MAX)) {
			if (raw_now() - t0 > 20000000000ull)
				return false;
			if (!raw_arm(&r, slot, UINT32_MAX))
				raw_sleep(&r, 100);
		}
		if (LLM_COMMIT_END(w) != LLM_END_STOP &&
		    LLM_COMMIT_END(w) != LLM_END_LENGTH)
			return false;
		t->len = LLM_COMMIT_TAIL(w);
		t->end = LLM_COMMIT_END(w);
		t->detail = raw_record(&r, slot)->detail;
		memcpy(t->tok, raw_log(&r, slot), t->len * sizeof(*t->tok));
		t->text_len = t->len ? t->tok[t->len - 1].text_end : 0;
		if (t->text_len > sizeof(t->text))
			return false;
		memcpy(t->text, raw_text(&r, slot), t->text_len);
	}
	raw_close(&r);
	return true;
}

/* ---- the checker ------------------------------------------------------ */

/* What the checker knows of one stream. */
struct chk {
	const struct truth *t;
	uint32_t gen, seen, adm_epoch;
	bool live, admitted, cancelled;
	uint64_t last; /* commit word seen last */
};

static bool log_is_true(const struct raw *r, const struct chk *k, uint32_t slot,
			uint32_t tail)
{
	const struct llm_tok *log = raw_log(r, slot);
	uint32_t text = tail ? k->t->tok[tail - 1].text_end : 0;

	return !memcmp(log, k->t->tok, tail * sizeof(*log)) &&
	       !memcmp(raw_text(r, slot), k->t->text, text);
}

/* Look at one stream; every claim of the contract is tested here. */
static void look(struct raw *r, struct chk *k, uint32_t i, struct report *rep)
{
	uint64_t w = raw_peek(r, i);
	uint32_t tail = LLM_COMMIT_TAIL(w), end = LLM_COMMIT_END(w);
	const struct llm_record *rec = raw_record(r, i);

	if (LLM_COMMIT_GEN(w) != k->gen) {
		if (k->admitted)
			bad(rep, "gen changed under a reader", i, w, k->gen);
		else if (raw_result(r, i) > 0)
			bad(rep, "submission lost", i, w, k->gen);
		return;
	}
	if (!k->admitted) {
		k->admitted = true;
		k->adm_epoch = rec->adm_epoch;
		k->last = w;
	}
	if (rec->adm_epoch != k->adm_epoch)
		bad(rep, "admitted twice", i, rec->adm_epoch, k->adm_epoch);
	if (rec->gen != k->gen || rec->user_data != k->t->ask.seed)
		bad(rep, "record of another submission", i, rec->gen, k->gen);
	if (tail < k->seen)
		bad(rep, "tail went back", i, tail, k->seen);
	else if (LLM_COMMIT_STATE(w) < LLM_COMMIT_STATE(k->last))
		bad(rep, "state went back", i, w, k->last);
	else if (LLM_COMMIT_STATE(k->last) == LLM_ST_END && w != k->last)
		bad(rep, "the end changed", i, w, k->last);
	else if (tail > k->t->len)
		bad(rep, "more than the truth", i, tail, k->t->len);
	else if (!log_is_true(r, k, i, tail))
		bad(rep, "a token is not the truth", i, tail, k->seen);
	rep->tokens += tail - k->seen;
	k->seen = tail;
	k->last = w;
	if (LLM_COMMIT_STATE(w) != LLM_ST_END)
		return;
	if (end == LLM_END_CANCELLED ? !k->cancelled
				     : end != k->t->end || tail != k->t->len ||
					       rec->detail != k->t->detail)
		bad(rep, "wrong end", i, w, k->t->len);
	rep->streams++;
	rep->cancelled += end == LLM_END_CANCELLED;
	k->live = false;
}

/*
 * Sleep until a wish is met, with no net: who is told nothing although the
 * word has moved has lost a wake-up.
 */
static void wake_only(struct raw *r, struct chk *k, struct report *rep,
		      uint32_t i, uint32_t want)
{
	int woken, patience_ms = 4000 * (serve_slow() > 1 ? 5 : 1);
	uint64_t w;

	rep->waits++;
	if (raw_arm(r, i, want))
		return;
	while (!shm_load(&S->stop)) {
		woken = raw_sleep(r, patience_ms);
		w = raw_peek(r, i);
		if (woken < 0 || shm_load(&S->stop))
			return;
		if (raw_done(r, i, w, want)) {
			/* a wake that comes just now is not lost */
			if (!woken && !raw_sleep(r, 300))
				bad(rep, "lost wake-up", i, w, want);
			return;
		}
		if (!woken && w == k->last) {
			bad(rep, "stuck", i, w, want);
			return;
		}
		k->last = w;
	}
}

static void submit_some(struct raw *r, struct chk *k, struct report *rep,
			uint64_t *rng)
{
	uint32_t n =
		1 + (uint32_t)(rnd(rng) % (rnd(rng) % 2 ? RAW_STREAMS : 3));
	uint32_t first = (uint32_t)(rnd(rng) % RAW_STREAMS), j;

	memset(k, 0, RAW_STREAMS * sizeof(*k));
	for (j = 0; j < n; j++) {
		uint32_t i = (first + j) % RAW_STREAMS;

		k[i].t = &S->truth[rnd(rng) % NR_ASKS];
		k[i].gen = raw_submit(r, i, &k[i].t->ask);
		k[i].live = true;
		if (!k[i].gen)
			bad(rep, "ring full", i, r->tail, 0);
		if (rnd(rng) % 4 == 0)
			raw_bell(r);
	}
	raw_bell(r);
}

/* One round: submit, look, sleep, cancel, until all have ended. */
static void round_of_streams(struct raw *r, struct report *rep, uint64_t *rng)
{
	static struct chk k[RAW_STREAMS];
	uint64_t give_up =
		raw_now() + 60000000000ull * (serve_slow() > 1 ? 5 : 1);
	uint32_t i, live;

	submit_some(r, k, rep, rng);
	while (!rep->bad && !shm_load(&S->stop)) {
		for (i = live = 0; i < RAW_STREAMS; i++) {
			if (k[i].live)
				look(r, &k[i], i, rep);
			live += k[i].live;
		}
		if (!live || rep->bad)
			return;
		i = (uint32_t)(rnd(rng) % RAW_STREAMS);
		while (!k[i].live)
			i = (i + 1) % RAW_STREAMS;
		if (rnd(rng) % 256 == 0) {
			k[i].cancelled = true;
			raw_cancel(r, i);
		}
		if (k[i].admitted && rnd(rng) % 2)
			wake_only(r, &k[i], rep, i,
				  rnd(rng) % 2
					  ? UINT32_MAX
					  : k[i].seen + 1 +
						    (uint32_t)(rnd(rng) % 12));
		if (raw_now() > give_up)
			bad(rep, k[i].admitted ? "never ended" : "never taken",
			    i, raw_peek(r, i), k[i].gen);
	}
}

static void client(const char *sock, struct report *rep, uint64_t seed)
{
	uint64_t rng = mix(seed);
	struct raw r;
	uint32_t n;

	while (!shm_load(&S->stop) && !rep->bad) {
		int ret = raw_open(&r, sock);

		if (ret) {
			if (!shm_load(&S->stop))
				bad(rep, "cannot open", 0, (uint64_t)-ret, 0);
			return;
		}
		rep->sessions++;
		for (n = 4 + (uint32_t)(rnd(&rng) % 8);
		     n && !rep->bad && !shm_load(&S->stop); n--)
			round_of_streams(&r, rep, &rng);
		raw_close(&r);
	}
}

/* ---- runs ------------------------------------------------------------- */

static struct serve D;
static pid_t clients[NR_CLIENTS];

static uint32_t any_bad(void)
{
	uint32_t i, n = 0;

	for (i = 0; i < NR_CLIENTS; i++)
		n += shm_load(&S->report[i].bad);
	return n;
}

static bool start(uint32_t planted)
{
	int i;

	memset(&S->marks, 0, sizeof(S->marks));
	memset(S->report, 0, sizeof(S->report));
	S->stop = 0;
	S->marks.bug = planted;
	setenv("LLM_MARKS", marks_path, 1);
	if (serve_start(&D, "marks/llmd", model_args))
		return false;
	fflush(stdout);
	for (i = 0; i < NR_CLIENTS; i++) {
		clients[i] = fork();
		if (clients[i] == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			client(D.sock, &S->report[i],
			       raw_now() ^ (uint64_t)i << 50);
			_exit(0);
		}
	}
	return true;
}

static void stop(void)
{
	int i;

	shm_store(&S->stop, 1u);
	for (i = 0; i < NR_CLIENTS; i++)
		waitpid(clients[i], NULL, 0);
	serve_stop(&D);
}

static void account(const char *tag, uint64_t random_kills)
{
	uint64_t st = 0, tk = 0, ca = 0, wa = 0, se = 0, mk = 0;
	int i;

	for (i = 0; i < NR_CLIENTS; i++) {
		const struct report *r = &S->report[i];

		st += r->streams, tk += r->tokens, ca += r->cancelled;
		wa += r->waits, se += r->sessions;
		if (r->bad)
			printf("# client %d: %s\n", i, r->what);
	}
	for (i = 0; i < MARK_NR; i++)
		mk += S->marks.kills[i];
	printf("# %s: %llu kills at marks, %llu at random; %llu sessions, %llu "
	       "streams (%llu cancelled), %llu tokens, %llu waits, %u violations\n",
	       tag, (unsigned long long)mk, (unsigned long long)random_kills,
	       (unsigned long long)se, (unsigned long long)st,
	       (unsigned long long)ca, (unsigned long long)tk,
	       (unsigned long long)wa, any_bad());
}

/* Die at mark @m, at its @count-th passing; false: it was not passed. */
static bool kill_at(uint32_t m, int count, int patience_ms)
{
	int t;

	shm_store(&S->marks.fired, 0u);
	shm_store(&S->marks.count, count);
	shm_store(&S->marks.mark, m);
	for (t = 0; t < patience_ms && !shm_load(&S->marks.fired) && !any_bad();
	     t++)
		serve_msleep(1);
	shm_store(&S->marks.mark, 0u);
	return shm_load(&S->marks.fired);
}

static const int counts[] = { 1, 2, 3, 5, 17, 64, 201 };

/* Marks of recovery are passed only when something else kills first. */
static bool in_recovery(uint32_t m)
{
	return m >= MARK_OPEN;
}

static void run_marks(const char *tag, uint32_t reps)
{
	uint32_t m, i, missed = 0;
	char line[160];

	if (!start(BUG_NONE)) {
		verdict(false, "the daemon starts");
		return;
	}
	for (m = 1; m < MARK_NR && !any_bad(); m++) {
		uint32_t hit = 0;

		/* no TEXT prompts here; the CLI tests cut those */
		if (m == MARK_TEXT_IDS || m == MARK_TEXT_READY)
			continue;
		for (i = 0; i < reps && !any_bad(); i++) {
			int c = in_recovery(m) ? 1 + (int)i % 3 : counts[i % 7];

			if (in_recovery(m))
				kill_at(MARK_STEP, 2, 1000);
			hit += kill_at(m, c, 1500);
			/* where a life begins slowly, let streams get on */
			serve_msleep(15 * (int)(serve_slow() - 1));
		}
		if (!hit && !any_bad()) {
			printf("# mark %u was never passed\n", m);
			missed++;
		}
	}
	serve_msleep(300);
	stop();
	account(tag, 0);
	snprintf(line, sizeof(line),
		 "an engine killed between any two stores loses nothing (%s)",
		 tag);
	verdict(!any_bad() && !missed, line);
}

/* Tokens that clients have seen in this run. */
static uint64_t delivered(void)
{
	uint64_t n = 0;
	int i;

	for (i = 0; i < NR_CLIENTS; i++)
		n += shm_load(&S->report[i].tokens);
	return n;
}

/*
 * Engines that are killed again and again before they serve are started ever
 * later.  So every other life brings a token first, and only then chance has
 * it; the ones between may be killed at birth.
 */
static void let_live(void)
{
	uint64_t before = delivered(), until = raw_now() + 20000000000ull;

	while (delivered() == before && !any_bad() && raw_now() < until)
		serve_msleep(1);
}

static void run_random(const char *tag, uint64_t kills, uint32_t gap_us)
{
	uint64_t n = 0, rng = raw_now(), give_up;
	char line[160];

	if (!start(BUG_NONE)) {
		verdict(false, "the daemon starts");
		return;
	}
	give_up = raw_now() + kills * 3000000000ull;
	while (n < kills && !any_bad() && raw_now() < give_up) {
		uint64_t ns = rnd(&rng) % (2000ull * gap_us);
		struct timespec t = { (time_t)(ns / 1000000000u),
				      (long)(ns % 1000000000u) };
		pid_t e;

		if (n % 2)
			let_live();
		nanosleep(&t, NULL);
		e = serve_engine(D.pid);
		if (e && !kill(e, SIGKILL))
			n++;
	}
	serve_msleep(500);
	stop();
	account(tag, n);
	snprintf(line, sizeof(line),
		 "an engine killed at random times loses nothing (%s)", tag);
	verdict(!any_bad() && n >= kills * 9 / 10, line);
}

/* A new engine looks at every wish, so a kill heals a lost wake-up. */
static void run_quiet(const char *tag, int seconds)
{
	char line[160];

	if (!start(BUG_NONE)) {
		verdict(false, "the daemon starts");
		return;
	}
	serve_msleep(seconds * 1000);
	stop();
	account(tag, 0);
	snprintf(line, sizeof(line),
		 "no wake-up is lost while nobody is killed (%s)", tag);
	verdict(!any_bad(), line);
}

static void run_planted(void)
{
	static const char *const name[BUG_NR] = {
		"",
		"publish before write",
		"head before admission",
		"no gen check",
		"no wake on recovery",
		"wish read before commit",
		"noise by state",
		"end before the last tokens",
		"",
	};
	uint32_t b;

	/* BUG_FETCH_TWICE is the attack test's */
	for (b = BUG_PUBLISH_FIRST; b < BUG_FETCH_TWICE; b++) {
		uint64_t t0 = raw_now();
		uint32_t m = 1;
		char line[160];

		if (!start(b)) {
			verdict(false, "the daemon starts");
			continue;
		}
		while (!any_bad() && raw_now() - t0 < 60000000000ull) {
			if (b == BUG_WISH_FIRST)
				serve_msleep(50);
			else
				kill_at(m, counts[(raw_now() >> 10) % 5], 60);
			m = m % (MARK_NR - 1) + 1;
		}
		snprintf(line, sizeof(line), "planted bug %u is caught: %s", b,
			 name[b]);
		stop();
		account(name[b], 0);
		verdict(any_bad() != 0, line);
	}
}

int main(int argc, char **argv)
{
	bool is_long = argc > 1 && !strcmp(argv[1], "long");
	bool is_brief = argc > 1 && !strcmp(argv[1], "brief");
	uint64_t kills = is_long ? 2000 : is_brief ? 12 : 40;
	static const char *const null_args[] = { "--backend", "null", NULL };
	const char *model = getenv("LLM_TORTURE_MODEL");
	const char *args[] = { "--model",
			       model ? model : "models/manpages-2m",
			       "--threads",
			       "1",
			       "--max-context",
			       "512",
			       NULL };
	char path[256];
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (is_long && argc > 2)
		kills = strtoull(argv[2], NULL, 10);
	snprintf(path, sizeof(path), "%s/marks/llmd", serve_build());
	if (access(path, X_OK)) {
		printf("ok torture # SKIP no daemon with marks (make marks)\n"
		       "0 passed, 0 failed, 1 skipped\n");
		return 0;
	}
	fd = memfd_create("torture", MFD_CLOEXEC);
	if (fd < 0 || ftruncate(fd, sizeof(*S)))
		return 1;
	S = mmap(NULL, sizeof(*S), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	snprintf(marks_path, sizeof(marks_path), "/proc/%d/fd/%d", getpid(),
		 fd);
	make_asks();

	model_args = null_args;
	if (serve_start(&D, "marks/llmd", model_args) || !learn_truth(D.sock)) {
		verdict(false, "an undisturbed run (null)");
		goto out;
	}
	serve_stop(&D);
	run_marks("null", is_long ? 21 : is_brief ? 1 : 3);
	/* an engine that is killed before it is ready is paused for longer */
	run_random("null", kills, serve_slow() > 1 ? 1500000 : 20000);
	run_quiet("null", is_long ? 20 : 4);
	if (is_brief)
		goto out;
	run_planted();

	model_args = args;
	if (serve_start(&D, "marks/llmd", model_args) || !learn_truth(D.sock)) {
		verdict(false, "an undisturbed run (model)");
		goto out;
	}
	serve_stop(&D);
	run_marks("model", is_long ? 7 : 1);
	run_random("model", kills, 100000);
	run_quiet("model", is_long ? 20 : 4);
out:
	printf("%d passed, %d failed, %d skipped\n", passed, failed, skipped);
	return failed != 0;
}
