/* SPDX-License-Identifier: MIT */
/*
 * Many clients at once: 64 processes with 16 streams each finish, and none
 * loses, repeats or changes a token; a client that is killed, whenever,
 * leaves nothing behind: no session, no block of KV, no descriptor.
 *
 * With the null backend every client knows each token by itself (null.h).
 * With a model the processes ask the same and must hear the same.
 */
#include "tests/test.h"
#include "tests/system/serve.h"
#include "daemon/model/null.h"
#include "include/llmclient.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>

#define NR_CLIENTS 64u
#define NR_STREAMS 16u
#define MODEL	   "tests/data/models/llama3-gqa-bf16"

/* What the clients tell; each writes its own. */
struct told {
	char why[160];
	uint64_t tokens, sum;
};

static struct told *told;
static struct serve llmd;

static void fail(struct told *t, const char *what)
{
	snprintf(t->why, sizeof(t->why), "%s", what);
	_exit(1);
}

struct one {
	struct llmc_stream *st;
	uint32_t prompt[40], len, n, at;
	uint64_t seed;
};

static void fill(struct one *o, uint32_t client, uint32_t i, uint32_t vocab)
{
	uint64_t x = null_mix((uint64_t)client << 32 | i);
	uint32_t p;

	o->seed = null_mix(x);
	o->len = 1 + (uint32_t)(x % 40);
	o->n = 50 + (uint32_t)(x >> 32) % 200;
	o->at = 0;
	for (p = 0; p < o->len; p++)
		o->prompt[p] = 3 + (uint32_t)(null_mix(x + p) % (vocab - 3));
}

static int submit(struct llmc *s, struct one *o, uint32_t i)
{
	struct llmc_request q = { .size = LLMC_REQUEST_SIZE,
				  .ids = o->prompt,
				  .nr_ids = o->len,
				  .max_tokens = o->n,
				  .user_data = i,
				  .set = LLM_SET_SEED | LLM_SET_TEMPERATURE,
				  .seed = o->seed,
				  .temperature = 1,
				  .params_flags = LLM_PARAMS_F_IGNORE_EOS };

	return llmc_submit(s, &q, &o->st);
}

/* Everything new of @o; with null, each token against its definition. */
static void take(struct told *t, struct one *o, bool null)
{
	uint64_t key = null_key(o->seed, o->prompt, o->len);
	struct llmc_token tok[64];
	uint8_t piece[NULL_MAX_PIECE];
	ssize_t n, i;

	while ((n = llmc_read(o->st, tok, 64)) > 0)
		for (i = 0; i < n; i++, o->at++) {
			t->tokens++;
			t->sum = null_mix(t->sum ^ tok[i].token ^
					  (uint64_t)o->at << 32);
			if (!null)
				continue;
			if (tok[i].token != null_token(key, o->at))
				fail(t, "a token that is another");
			if (tok[i].text_len !=
				    null_piece(tok[i].token, piece) ||
			    memcmp(tok[i].text, piece, tok[i].text_len))
				fail(t, "a text that is another");
		}
	if (n < 0 && n != -EAGAIN)
		fail(t, llmc_error());
}

/* A client's life; @who: what it asks (all the same, or each its own). */
static void client(struct told *t, uint32_t who, uint32_t vocab, bool null)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = NR_STREAMS,
				    .log_size = 4u << 20,
				    .socket = llmd.sock };
	struct one one[NR_STREAMS];
	struct llmc_result res;
	struct llmc *s;
	uint32_t i;

	if (llmc_open(&s, &opt))
		fail(t, llmc_error());
	for (i = 0; i < NR_STREAMS; i++) {
		fill(&one[i], who, i, vocab);
		if (submit(s, &one[i], i))
			fail(t, llmc_error());
	}
	for (i = 0; i < NR_STREAMS; i++) {
		do {
			if (llmc_wait(one[i].st, 16, 120000) != 1)
				fail(t, "a wait without an end");
			take(t, &one[i], null);
		} while (llmc_result(one[i].st, &res));
		take(t, &one[i], null);
		if (res.end != LLM_END_LENGTH || one[i].at != one[i].n ||
		    res.completion_tokens != one[i].n)
			fail(t, *res.why ? res.why : "another number");
		llmc_release(one[i].st);
	}
	llmc_close(s);
	_exit(0);
}

/* Fork @nr clients, wait for all: how many failed. */
static uint32_t crowd(uint32_t nr, uint32_t vocab, bool null)
{
	pid_t pid[NR_CLIENTS];
	uint32_t i, bad = 0;
	int st;

	memset(told, 0, NR_CLIENTS * sizeof(*told));
	for (i = 0; i < nr; i++) {
		pid[i] = fork();
		if (!pid[i])
			client(&told[i], null ? i : 7, vocab, null);
	}
	for (i = 0; i < nr; i++) {
		waitpid(pid[i], &st, 0);
		if (st) {
			printf("# client %u: status %x, %s\n", i, st,
			       told[i].why);
			bad++;
		}
	}
	return bad;
}

static void set_up(void)
{
	if (!told)
		told = mmap(NULL, NR_CLIENTS * sizeof(*told),
			    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	CHECK((void *)told != MAP_FAILED);
}

static int nr_fds(pid_t pid)
{
	char path[64];
	int n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

/* What a service holds for its clients; all 0 but the descriptors. */
struct held {
	uint32_t sessions, listed, running, waiting, kv;
	int keeper_fds, engine_fds;
};

static struct held held_now(void)
{
	struct llm_session_info *list = NULL;
	struct llm_info info = { 0 };
	struct held h;

	memset(&h, 0xff, sizeof(h));
	/* first: to look at a device is a session more */
	if (llmc_list(llmd.sock, &list, &h.listed))
		return h;
	free(list);
	if (llmc_info(llmd.sock, &info))
		return h;
	h.sessions = info.nr_sessions;
	h.running = info.running;
	h.waiting = info.waiting;
	h.kv = info.kv_used;
	h.keeper_fds = nr_fds(llmd.pid);
	h.engine_fds = nr_fds(serve_engine(llmd.pid));
	return h;
}

/*
 * What an idle one holds: the connection that asked may not be closed yet when
 * descriptors are counted, so the least of ten.
 */
static struct held held_idle(void)
{
	struct held h = held_now(), next;
	int i;

	for (i = 1; i < 10; i++) {
		serve_msleep(10);
		next = held_now();
		if (next.keeper_fds < h.keeper_fds)
			h = next;
	}
	return h;
}

/* Wait until it is as @before: the engine hears of a death in its round. */
static struct held settle(const struct held *before)
{
	struct held h;
	int i;

	for (i = 0; i < 500; i++) {
		h = held_now();
		if (!memcmp(&h, before, sizeof(h)))
			break;
		serve_msleep(10);
	}
	return h;
}

#define CHECK_HELD(before)                                                     \
	do {                                                                   \
		struct held h_ = settle(&(before));                            \
		CHECK_EQ(h_.sessions, 0);                                      \
		CHECK_EQ(h_.listed, 0);                                        \
		CHECK_EQ(h_.running, 0);                                       \
		CHECK_EQ(h_.waiting, 0);                                       \
		CHECK_EQ(h_.kv, 0);                                            \
		CHECK_EQ(h_.keeper_fds, (before).keeper_fds);                  \
		CHECK_EQ(h_.engine_fds, (before).engine_fds);                  \
	} while (0)

TEST(sixty_four_processes_with_sixteen_streams_each_finish)
{
	static const char *const args[] = { "--backend", "null", NULL };
	uint64_t tokens = 0, want = 0;
	uint32_t bad, i, k;
	struct held before;
	struct one o;

	set_up();
	CHECK(!serve_start(&llmd, "llmd", args));
	before = held_idle();
	bad = crowd(NR_CLIENTS, NULL_VOCAB, true);
	for (i = 0; i < NR_CLIENTS; i++) {
		tokens += told[i].tokens;
		for (k = 0; k < NR_STREAMS; k++) {
			fill(&o, i, k, NULL_VOCAB);
			want += o.n;
		}
	}
	CHECK_EQ(bad, 0);
	CHECK_EQ(tokens, want);
	CHECK_HELD(before);
	CHECK_EQ(serve_stop(&llmd), 0);
}

TEST(with_a_model_all_hear_the_same)
{
	static const char *const args[] = { "--model", MODEL, "--threads", "2",
					    NULL };
	struct held before;
	uint32_t bad, i;

	if (access(MODEL "/model.safetensors", R_OK))
		SKIP("no " MODEL);
	set_up();
	CHECK(!serve_start(&llmd, "llmd", args));
	before = held_idle();
	bad = crowd(12, 500, false);
	CHECK_EQ(bad, 0);
	for (i = 1; i < 12; i++)
		CHECK(told[i].sum == told[0].sum && told[i].tokens > 500);
	CHECK_HELD(before);
	CHECK_EQ(serve_stop(&llmd), 0);
}

static void victim_fails(const char *what)
{
	printf("# victim: %s: %s\n", what, llmc_error());
	fflush(stdout);
	_exit(1);
}

/* Submits streams that never end by themselves, over and over. */
static void victim(uint32_t who, uint32_t vocab)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = NR_STREAMS,
				    .socket = llmd.sock };
	struct one one[NR_STREAMS];
	struct llmc *s;
	uint32_t i;

	for (;;) {
		if (llmc_open(&s, &opt))
			victim_fails("open");
		for (i = 0; i < NR_STREAMS; i++) {
			fill(&one[i], who, i, vocab);
			one[i].n = 400;
			if (submit(s, &one[i], i))
				victim_fails("submit");
		}
		for (i = 0; i < NR_STREAMS; i++)
			llmc_wait(one[i].st, 1 + who % 200, 1000);
		llmc_close(s); /* with all of them running */
	}
}

static void kill_clients(const char *const *args, uint32_t vocab, uint32_t nr)
{
	struct held before;
	uint64_t rng = 3;
	uint32_t i;
	pid_t pid;
	int st, bad = 0;

	set_up();
	CHECK(!serve_start(&llmd, "llmd", args));
	before = held_idle();
	for (i = 0; i < nr; i++) {
		pid = fork();
		if (!pid)
			victim(i, vocab);
		rng = null_mix(rng);
		usleep((useconds_t)(rng % 12000));
		kill(pid, SIGKILL);
		waitpid(pid, &st, 0);
		bad += !WIFSIGNALED(st);
	}
	CHECK_EQ(bad, 0);
	CHECK_HELD(before);
	/* and those who live hear what they should */
	bad = (int)crowd(4, vocab, args[0][2] == 'b');
	CHECK_EQ(bad, 0);
	CHECK_HELD(before);
	CHECK_EQ(serve_stop(&llmd), 0);
}

TEST(a_client_killed_at_any_moment_leaves_nothing_null)
{
	static const char *const args[] = { "--backend", "null", NULL };

	kill_clients(args, NULL_VOCAB, 100);
}

TEST(a_client_killed_at_any_moment_leaves_nothing_model)
{
	static const char *const args[] = { "--model", MODEL, "--threads", "2",
					    NULL };

	if (access(MODEL "/model.safetensors", R_OK))
		SKIP("no " MODEL);
	kill_clients(args, 500, 60);
}

/* A few blocks only: who dies must give them back, or nobody goes on. */
TEST(a_client_killed_in_a_full_pool_leaves_nothing)
{
	static const char *const args[] = {
		"--backend",	 "null", "--kv-memory", "2M",
		"--max-context", "1024", NULL
	};

	kill_clients(args, NULL_VOCAB, 60);
}
