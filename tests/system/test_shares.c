/* SPDX-License-Identifier: MIT */
/*
 * What an administrator says of two users while llmd runs, told by llmctl: a
 * weight is a share of the tokens while both want more, through the death of
 * an engine; a limit is met at once, by the one it was set for alone.  Over
 * the device the kernel stamps what holds on each submission; over the socket
 * the keeper tells its engine.
 */
#include "tests/test.h"
#include "tests/system/serve.h"
#include "include/llmclient.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/stat.h>

#define ADA	   1000u
#define BOB	   1001u
#define NR_STREAMS 1000u
#define EACH	   800u /* tokens of one of many */
#define RUNNING	   4u	/* at once: both want more than there is */

static struct serve D;

/* ---- two users: each a process that does what it is told ------------- */

struct order {
	enum {
		SUBMIT, /* say nothing of what became of it */
		ASK,	/* and say whether it was taken: 0 or the errno */
		COUNT,	/* tokens that have come */
		ENDED
	} what;
	uint32_t n; /* SUBMIT, ASK: tokens */
};

struct guest {
	pid_t pid;
	int order, answer; /* pipes */
};

struct mine {
	struct llmc *s;
	struct llmc_stream *st[NR_STREAMS];
	uint32_t nr;
	int64_t tokens;
};

/* Until it was looked at: 0, or the errno that it was refused with. */
static int judged(struct llmc_stream *st)
{
	struct llmc_result res;
	const uint32_t *ids;
	int i;

	for (i = 0; i < 20000; i++) {
		if (!llmc_result(st, &res))
			return (int)res.error;
		if (llmc_prompt(st, &ids) > 0)
			return 0;
		serve_msleep(1);
	}
	return ETIMEDOUT;
}

static int submit(struct mine *m, uint32_t n, bool judge)
{
	static const uint32_t ids[] = { 5, 6, 7 };
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
				  .ids = ids,
				  .nr_ids = 3,
				  .max_tokens = n,
				  .set = LLM_SET_SEED,
				  .seed = m->nr,
				  .params_flags = LLM_PARAMS_F_IGNORE_EOS };
	struct llmc_stream *st;
	int ret = m->nr < NR_STREAMS ? llmc_submit(m->s, &q, &st) : -ENOSPC;

	if (ret)
		return -ret;
	ret = judge ? judged(st) : 0;
	if (ret)
		llmc_release(st);
	else
		m->st[m->nr++] = st;
	return ret;
}

/* All tokens that have come so far. */
static int64_t count(struct mine *m)
{
	struct llmc_token tok[256];
	uint32_t i;
	ssize_t n;

	for (i = 0; i < m->nr; i++)
		while ((n = llmc_read(m->st[i], tok, 256)) > 0)
			m->tokens += n;
	return m->tokens;
}

static int64_t ended(struct mine *m)
{
	struct llmc_result res;
	int64_t nr = 0;
	uint32_t i;

	for (i = 0; i < m->nr; i++)
		nr += !llmc_result(m->st[i], &res);
	return nr;
}

static void serve_guest(int in, int out, uint32_t uid)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = NR_STREAMS,
				    .sq_entries = 1024,
				    .arena_size = 4u << 20,
				    .log_size = 64u << 20,
				    .socket = D.sock };
	struct mine m = { 0 };
	struct order o;
	int64_t said;

	if (setgid(uid) || setuid(uid))
		_exit(2);
	if (llmc_open(&m.s, &opt)) {
		printf("# %u: %s\n", uid, llmc_error());
		fflush(stdout);
		_exit(3);
	}
	while (read(in, &o, sizeof(o)) == sizeof(o)) {
		if (o.what <= ASK)
			said = submit(&m, o.n, o.what == ASK);
		else
			said = o.what == COUNT ? count(&m) : ended(&m);
		if (write(out, &said, sizeof(said)) != sizeof(said))
			break;
	}
	_exit(0);
}

static struct guest guest(uint32_t uid)
{
	struct guest g;
	int order[2], answer[2];

	CHECK(!pipe2(order, O_CLOEXEC) && !pipe2(answer, O_CLOEXEC));
	fflush(stdout);
	g.pid = fork();
	if (!g.pid) {
		close(order[1]);
		serve_guest(order[0], answer[1], uid);
	}
	close(order[0]);
	close(answer[1]);
	g.order = order[1];
	g.answer = answer[0];
	return g;
}

static int64_t tell(const struct guest *g, struct order o)
{
	int64_t said = -1;

	CHECK_EQ(write(g->order, &o, sizeof(o)), sizeof(o));
	CHECK_EQ(read(g->answer, &said, sizeof(said)), sizeof(said));
	return said;
}

static int64_t of(const struct guest *g, int what)
{
	return tell(g, (struct order){ .what = what });
}

static int64_t ask(const struct guest *g, uint32_t n)
{
	return tell(g, (struct order){ .what = ASK, .n = n });
}

static void leave(struct guest *g)
{
	int st;

	kill(g->pid, SIGKILL);
	waitpid(g->pid, &st, 0);
	close(g->order);
	close(g->answer);
}

/* ---- the service and its administrator ------------------------------- */

static void begin(void)
{
	static const char *const args[] = { "--backend",
					    "null",
					    "--max-streams",
					    "4",
					    "--max-waiting",
					    "8000",
					    "--max-waiting-user",
					    "4000",
					    "--socket-mode",
					    "0666",
					    NULL };

	if (geteuid())
		SKIP("needs root, to be two users");
	CHECK_EQ(serve_start(&D, "llmd", args), 0);
	CHECK_EQ(chmod(D.dir, 0711), 0);
}

static void ctl(const char *words)
{
	char cmd[256];

	snprintf(cmd, sizeof(cmd), "%s/llmctl %s %s %s >/dev/null",
		 serve_build(), serve_device() ? "" : "--socket",
		 serve_device() ? "" : D.sock, words);
	CHECK_EQ(system(cmd), 0);
}

static void end(struct guest *a, struct guest *b)
{
	leave(a);
	leave(b);
	CHECK_EQ(serve_stop(&D), 0);
}

/* ---- shares ------------------------------------------------------------ */

struct sample {
	int64_t ada, bob;
};

static struct sample sample(const struct guest *a, const struct guest *b)
{
	return (struct sample){ of(a, COUNT), of(b, COUNT) };
}

/* The engine, held still: what both have is of one moment. */
static pid_t hold(void)
{
	pid_t engine;

	while (!(engine = serve_engine(D.pid)))
		serve_msleep(1);
	CHECK_EQ(kill(engine, SIGSTOP), 0);
	return engine;
}

/*
 * Of the next tokens of both, @n or more: a hundred times ada's over bob's.
 * The engine stands still before and after.
 */
static int64_t share(const struct guest *a, const struct guest *b, int64_t n)
{
	struct sample s = sample(a, b), t = s;
	uint32_t i;

	for (i = 0; i < 20000 && t.ada + t.bob < s.ada + s.bob + n; i++) {
		kill(serve_engine(D.pid), SIGCONT);
		serve_msleep(1);
		hold();
		t = sample(a, b);
	}
	printf("# %lld and %lld tokens\n", (long long)(t.ada - s.ada),
	       (long long)(t.bob - s.bob));
	/* both had some waiting all the time */
	CHECK(of(a, ENDED) < NR_STREAMS - 1 - RUNNING);
	CHECK(of(b, ENDED) < NR_STREAMS - 1 - RUNNING);
	CHECK(t.bob > s.bob);
	return 100 * (t.ada - s.ada) / (t.bob - s.bob);
}

/* Within a fifth. */
static bool about(int64_t got, int64_t want)
{
	if (got * 5 >= want * 4 && got * 5 <= want * 6)
		return true;
	printf("# %lld hundredths, not %lld\n", (long long)got,
	       (long long)want);
	return false;
}

TEST(tokens_go_by_weight_while_it_is_changed_and_engines_die)
{
	const struct order one = { .what = SUBMIT, .n = EACH };
	struct guest ada, bob;
	pid_t engine;
	uint32_t i;

	begin();
	ctl("tenant set 1001 weight 300");
	ada = guest(ADA);
	bob = guest(BOB);
	of(&ada, COUNT);
	of(&bob, COUNT); /* both have their sessions */
	hold();
	for (i = 0; i < NR_STREAMS - 1; i++) {
		CHECK_EQ(tell(&ada, one), 0);
		CHECK_EQ(tell(&bob, one), 0);
	}
	share(&ada, &bob, 4000); /* both are under way */
	CHECK(about(share(&ada, &bob, 120000), 33));
	/* the other way round, from the next submission on */
	ctl("tenant set 1000 weight 900");
	CHECK_EQ(tell(&ada, one), 0);
	share(&ada, &bob, 4000);
	CHECK(about(share(&ada, &bob, 120000), 300));
	/* the next engine knows it of those that it finds */
	engine = serve_engine(D.pid);
	kill(engine, SIGKILL);
	while (serve_engine(D.pid) == engine)
		serve_msleep(1);
	hold();
	share(&ada, &bob, 4000);
	CHECK(about(share(&ada, &bob, 120000), 300));
	kill(serve_engine(D.pid), SIGCONT);
	ctl("tenant reset 1000");
	ctl("tenant reset 1001");
	end(&ada, &bob);
}

/* ---- limits ------------------------------------------------------------ */

static bool all_end(const struct guest *g, int64_t nr)
{
	int i;

	for (i = 0; i < 60000 && of(g, ENDED) < nr; i++)
		serve_msleep(1);
	return of(g, ENDED) == nr;
}

TEST(a_limit_is_met_at_once_by_its_tenant_alone)
{
	struct guest ada, bob;
	int64_t ret, took = 2;
	uint32_t i;

	begin();
	ada = guest(ADA);
	bob = guest(BOB);
	/* the rate keeps them in flight: for more than an hour */
	ctl("tenant set 1000 inflight 2 token-rate 1");
	CHECK_EQ(ask(&ada, 5000), 0);
	CHECK_EQ(ask(&ada, 5000), 0);
	CHECK_EQ(ask(&ada, 5000), EDQUOT);
	for (i = 0; i < 6; i++)
		CHECK_EQ(ask(&bob, 5000), 0);
	CHECK(all_end(&bob, 6));
	CHECK_EQ(of(&ada, ENDED), 0);

	/* from the next submission on: no rate of tokens, one of requests */
	ctl("tenant set 1000 inflight 40 token-rate none submit-rate 1");
	for (i = 0; i < 8; i++) {
		ret = ask(&ada, 10);
		CHECK(ret == 0 || ret == EAGAIN);
		took += ret == 0;
		CHECK_EQ(ask(&bob, 10), 0);
	}
	CHECK(took > 2 && took < 10);
	CHECK(all_end(&ada, took));
	CHECK(all_end(&bob, 14));
	ctl("tenant reset 1000");
	end(&ada, &bob);
}
