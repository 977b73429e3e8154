/* SPDX-License-Identifier: MIT */
/*
 * What a token costs in calls: 1,024 streams flat out (16 sessions of 64, the
 * null backend), each asking to be woken every 16 tokens.  System calls of
 * keeper, engine and client together: at most a 16th of the tokens and a
 * constant; strace counts them from the outside.  And the engine allocates
 * nothing: a library of three functions, preloaded, counts.
 */
#include "tests/test.h"
#include "tests/system/serve.h"
#include "include/llmclient.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>

#define NR_SESSIONS 16u
#define NR_STREAMS  64u
#define WAKE_EACH   16u

static struct serve llmd;

static int submit(struct llmc *s, uint32_t n, uint64_t seed,
		  struct llmc_stream **st)
{
	static const uint32_t ids[] = { 5, 6, 7 };
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
				  .ids = ids,
				  .nr_ids = 3,
				  .max_tokens = n,
				  .set = LLM_SET_SEED,
				  .seed = seed,
				  .params_flags = LLM_PARAMS_F_IGNORE_EOS };

	return llmc_submit(s, &q, st);
}

/* Read and arm what is new in @s; how many streams ended. */
static uint32_t turn(struct llmc *s, uint64_t *tokens, bool *again)
{
	struct llmc_token tok[128];
	struct llmc_stream *st;
	struct llmc_result res;
	uint32_t ended = 0;
	ssize_t n;

	for (st = NULL; (st = llmc_next(s, st));) {
		while ((n = llmc_read(st, tok, 128)) > 0)
			*tokens += (uint64_t)n;
		if (n == -EAGAIN)
			*again |= llmc_arm(st, WAKE_EACH, 0);
		else if (n || llmc_result(st, &res))
			_exit(3);
		else
			ended++, llmc_release(st);
	}
	return ended;
}

/*
 * All streams of all sessions to @n tokens each, in one thread over one
 * poll().  The tokens read; exits where something is wrong.
 */
static uint64_t flat_out(struct llmc **s, uint32_t n)
{
	struct pollfd p[NR_SESSIONS];
	uint32_t i, k, left = NR_SESSIONS * NR_STREAMS;
	uint64_t tokens = 0;
	bool again = true;

	for (i = 0; i < NR_SESSIONS; i++) {
		p[i] = (struct pollfd){ llmc_fd(s[i]), POLLIN, 0 };
		for (k = 0; k < NR_STREAMS; k++) {
			struct llmc_stream *st;

			if (submit(s[i], n, i * NR_STREAMS + k, &st))
				_exit(4);
			llmc_arm(st, WAKE_EACH, 0);
		}
	}
	while (left) {
		if (poll(p, NR_SESSIONS, again ? 0 : 20000) < 0)
			_exit(5);
		again = false;
		for (i = 0; i < NR_SESSIONS; i++)
			if (p[i].revents && llmc_ack(s[i]))
				_exit(6);
		for (i = 0; i < NR_SESSIONS; i++)
			left -= turn(s[i], &tokens, &again);
	}
	return tokens;
}

static void open_all(struct llmc **s)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = NR_STREAMS,
				    .sq_entries = NR_STREAMS,
				    .log_size = 16u << 20,
				    .socket = llmd.sock };
	uint32_t i;

	for (i = 0; i < NR_SESSIONS; i++)
		if (llmc_open(&s[i], &opt))
			_exit(2);
}

/* The client process: opens, says so, waits for the word, runs, tells. */
static void client(int in, int out, uint32_t n)
{
	struct llmc *s[NR_SESSIONS];
	uint64_t tokens;
	char go;

	open_all(s);
	flat_out(s, 32); /* everything touched once */
	(void)!write(out, "r", 1);
	if (read(in, &go, 1) != 1)
		_exit(7);
	tokens = flat_out(s, n);
	(void)!write(out, &tokens, sizeof(tokens));
	/* closing sessions is not counted: wait to be killed */
	(void)!read(in, &go, 1);
	_exit(0);
}

/* strace -c on three processes; its summary to @path. */
static pid_t trace(const char *path, pid_t a, pid_t b, pid_t c)
{
	char pa[16], pb[16], pc[16];
	pid_t pid;

	snprintf(pa, sizeof(pa), "%d", a);
	snprintf(pb, sizeof(pb), "%d", b);
	snprintf(pc, sizeof(pc), "%d", c);
	pid = fork();
	if (pid == 0) {
		char err[96];

		snprintf(err, sizeof(err), "%s.err", path);
		if (!freopen(err, "w", stderr))
			_exit(1);
		execlp("strace", "strace", "-f", "-c", "-o", path, "-p", pa,
		       "-p", pb, "-p", pc, (char *)NULL);
		_exit(127);
	}
	return pid;
}

/* Is @pid traced in all its threads' lead?  TracerPid of its status. */
static bool traced(pid_t pid)
{
	char path[64], line[128];
	int tracer = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "TracerPid: %d", &tracer) == 1)
			break;
	if (f)
		fclose(f);
	return tracer > 0;
}

/* The total of strace's table: its last line is "100.00 S [U] CALLS .. total" */
static long total_calls(const char *path)
{
	char line[256];
	long calls = -1;
	double a, b, c;
	FILE *f = fopen(path, "re");

	while (f && fgets(line, sizeof(line), f)) {
		printf("# %s", line);
		if (strstr(line, "total") &&
		    sscanf(line, "%lf %lf %lf %ld", &a, &b, &c, &calls) < 4)
			calls = -1;
	}
	if (f)
		fclose(f);
	return calls;
}

TEST(system_calls_are_at_most_a_sixteenth_of_the_tokens)
{
	static const char *const args[] = { "--backend", "null", NULL };
	const uint32_t n = serve_slow() > 1 ? 320 : 1600;
	uint64_t tokens = 0;
	int in[2], out[2], i, st;
	char path[96], ready;
	pid_t engine, kid, tracer;
	bool all;
	long calls;

	if (system("strace -V >/dev/null 2>&1"))
		SKIP("no strace");
	CHECK(!pipe(in) && !pipe(out));
	CHECK(!serve_start(&llmd, "llmd", args));
	snprintf(path, sizeof(path), "%s.calls", llmd.dir);
	kid = fork();
	if (!kid) {
		close(in[1]);
		close(out[0]);
		client(in[0], out[1], n);
	}
	close(in[0]);
	close(out[1]);
	CHECK_EQ(read(out[0], &ready, 1), 1);
	engine = serve_engine(llmd.pid);
	tracer = trace(path, llmd.pid, engine, kid);
	for (i = 0; i < 300; i++) {
		all = traced(llmd.pid) && traced(engine) && traced(kid);
		if (all || waitpid(tracer, &st, WNOHANG) == tracer)
			break;
		serve_msleep(10);
	}
	if (all) {
		serve_msleep(200); /* their other threads */
		(void)!write(in[1], "g", 1);
		CHECK_EQ(read(out[0], &tokens, sizeof(tokens)), sizeof(tokens));
		kill(tracer, SIGINT);
		waitpid(tracer, &st, 0);
	}
	close(in[1]);
	kill(kid, SIGKILL);
	waitpid(kid, &st, 0);
	calls = total_calls(path);
	unlink(path);
	strcat(path, ".err");
	unlink(path);
	CHECK_EQ(serve_stop(&llmd), 0);
	if (!all)
		SKIP("strace may not attach here");
	printf("# %llu tokens, %ld system calls\n", (unsigned long long)tokens,
	       calls);
	CHECK_EQ(tokens, (uint64_t)n * NR_SESSIONS * NR_STREAMS);
	CHECK(calls > 0);
	CHECK(calls <= (long)(tokens / WAKE_EACH) + 500);
}

/* ---- allocations ------------------------------------------------------ */

static unsigned long counted(const char *path)
{
	unsigned long n = ~0ul;
	FILE *f = fopen(path, "re");

	if (f && fread(&n, sizeof(n), 1, f) != 1)
		n = ~0ul;
	if (f)
		fclose(f);
	return n;
}

/*
 * The library and its page.  A machine without a compiler may have been given
 * the first beside the build.
 */
static bool build_counter(const char *dir, char *so, size_t size)
{
	char cmd[512], made[128];

	snprintf(so, size, "%s/count.so", dir);
	snprintf(made, sizeof(made), "%s/tests/system/count.so", serve_build());
	snprintf(cmd, sizeof(cmd),
		 "{ cp %s %s || cc -O1 -fno-builtin -w -shared -fPIC -o %s "
		 "tests/system/preload/count.c; } 2>/dev/null && "
		 "head -c 4096 /dev/zero >%s/count",
		 made, so, so, dir);
	return !system(cmd);
}

static void count_allocations(const char *const *args, uint32_t n)
{
	char dir[] = "/tmp/llm-count-XXXXXX", so[128], page[128], cmd[128];
	struct llmc *s[NR_SESSIONS];
	unsigned long started, before, after;
	uint64_t tokens;
	uint32_t i;
	bool built;

	if (SANITIZED)
		SKIP("a sanitizer has a malloc of its own");
	CHECK(mkdtemp(dir));
	snprintf(cmd, sizeof(cmd), "rm -rf %s", dir);
	built = build_counter(dir, so, sizeof(so));
	snprintf(page, sizeof(page), "%s/count", dir);
	if (built) {
		setenv("LD_PRELOAD", so, 1);
		setenv("LLM_COUNT", page, 1);
		i = serve_start(&llmd, "llmd", args) ? 1 : 0;
		unsetenv("LD_PRELOAD");
		unsetenv("LLM_COUNT");
		built = !i;
	}
	started = counted(page);
	if (built) {
		open_all(s);
		/* an answer to each: the engine has opened them all */
		for (i = 0; i < NR_SESSIONS; i++)
			CHECK_EQ(llmc_ping(s[i], 10000, NULL), 0);
		before = counted(page);
		tokens = flat_out(s, n);
		after = counted(page);
		for (i = 0; i < NR_SESSIONS; i++)
			llmc_close(s[i]);
		serve_stop(&llmd);
	}
	(void)!system(cmd);
	if (!built || !started)
		SKIP("no compiler, or a libc that cannot be counted");
	printf("# %lu allocations at start, %lu for sessions, %lu for %llu tokens\n",
	       started, before - started, after - before,
	       (unsigned long long)tokens);
	CHECK(before > started); /* it counts */
	CHECK_EQ(after - before, 0);
}

TEST(a_thousand_streams_allocate_nothing_null)
{
	static const char *const args[] = { "--backend", "null", NULL };

	count_allocations(args, 200);
}

TEST(a_thousand_streams_allocate_nothing_model)
{
	static const char *const args[] = { "--model",
					    "tests/data/models/llama3-gqa-bf16",
					    "--threads", "2", NULL };

	if (access(args[1], R_OK))
		SKIP("no model");
	count_allocations(args, 40);
}
