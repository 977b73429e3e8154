/* SPDX-License-Identifier: MIT */
/*
 * bench_ring.c - what delivering a token costs: CPU time of both sides, with
 * the null backend, for 1, 64 and 1,024 streams, flat out; 1,024 of them both
 * as 16 sessions, as of as many programs, and as one.
 *
 *   spin      the reader looks and never sleeps
 *   wake 1    it sleeps until each stream has another token
 *   wake 16   ... until each has 16 more
 *
 * Then: from the engine's death to the next token.  CPU time is the
 * scheduler's count (/proc/PID/schedstat), kernel side included.
 */
#include "tests/system/raw.h"
#include "tests/system/serve.h"

#include <stdbool.h>
#include <sys/epoll.h>

#define MAX_SESSIONS 16u
#define OVER	     UINT32_MAX /* seen: all of it, and its end */

static struct raw sessions[MAX_SESSIONS];
static uint32_t seen[MAX_SESSIONS][RAW_MAX_STREAMS];
static uint64_t checksum;

static uint64_t cpu_ns(pid_t pid)
{
	unsigned long long ns = 0;
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	f = fopen(path, "re");
	if (f && fscanf(f, "%llu", &ns) != 1)
		ns = 0;
	if (f)
		fclose(f);
	return ns;
}

/*
 * Read what is new in a session; where @every, arm each stream for so many
 * more as llmc_arm_all() does: the wishes, one fence, another look.  False:
 * all ended.
 */
static bool read_session(uint32_t k, uint32_t nr, uint32_t every,
			 uint64_t *tokens, bool *sleepy)
{
	struct raw *r = &sessions[k];
	bool live = false;
	uint32_t i, t;

	for (i = 0; i < nr; i++) {
		uint64_t w = raw_peek(r, i);
		const struct llm_tok *log;

		if (seen[k][i] == OVER)
			continue;
		if (LLM_COMMIT_GEN(w) == r->gen[i]) {
			log = raw_log(r, i);
			for (t = seen[k][i]; t < LLM_COMMIT_TAIL(w); t++)
				checksum += log[t].token + log[t].text_end;
			*tokens += t - seen[k][i];
			seen[k][i] = t;
			if (LLM_COMMIT_STATE(w) == LLM_ST_END) {
				seen[k][i] = OVER;
				continue;
			}
		}
		live = true;
		if (every)
			raw_store_wish(r, i, seen[k][i] + every);
	}
	if (!every || !live)
		return live;
	shm_fence(); /* the wishes are out before the words are read again */
	for (i = 0; i < nr && *sleepy; i++)
		if (seen[k][i] != OVER &&
		    raw_done(r, i, raw_peek(r, i), seen[k][i] + every))
			*sleepy = false;
	return live;
}

static void open_sessions(const struct serve *d, uint32_t n, uint32_t per)
{
	uint32_t k;

	for (k = 0; k < n; k++)
		if (raw_open_for(&sessions[k], d->sock, per)) {
			printf("cannot open a session\n");
			exit(1);
		}
}

static void submit_all(uint32_t n, uint32_t per, struct raw_ask *ask,
		       uint64_t seed)
{
	uint32_t i, k;

	for (k = 0; k < n; k++) {
		for (i = 0; i < per; i++) {
			ask->seed = seed + k * 1000 + i;
			raw_submit(&sessions[k], i, ask);
		}
		raw_bell(&sessions[k]);
	}
}

/* Read all that comes; the tokens read.  Who sleeps reads who rang. */
static uint64_t read_all(uint32_t n, uint32_t per, uint32_t every)
{
	bool ready[MAX_SESSIONS], over[MAX_SESSIONS] = { false };
	struct epoll_event ev[MAX_SESSIONS];
	int rung = epoll_create1(EPOLL_CLOEXEC), i, nr;
	uint64_t tokens = 0;
	uint32_t live = n, k;

	for (k = 0; k < n; k++) {
		ev[0] = (struct epoll_event){ EPOLLIN, { .u32 = k } };
		epoll_ctl(rung, EPOLL_CTL_ADD, sessions[k].conn, ev);
		ready[k] = true;
	}
	while (live) {
		bool sleepy = every > 0;

		for (k = 0; k < n; k++) {
			bool asleep = every > 0;

			if (over[k] || !ready[k])
				continue;
			if (!read_session(k, per, every, &tokens, &asleep)) {
				over[k] = true;
				live--;
			}
			ready[k] = !asleep;
			sleepy &= asleep;
		}
		if (!live || !sleepy)
			continue;
		nr = epoll_wait(rung, ev, MAX_SESSIONS, 1000);
		for (i = 0; i < nr; i++) {
			ready[ev[i].data.u32] = true;
			raw_ack(&sessions[ev[i].data.u32]);
		}
	}
	close(rung);
	return tokens;
}

/*
 * @passes runs of @n sessions of @per streams, the first of them unmeasured;
 * prints a row.
 */
static void run(const struct serve *d, uint32_t n, uint32_t per,
		uint32_t max_tokens, uint32_t every, uint32_t passes)
{
	static const char *const name[] = { "spin", "wake 1", "wake 16" };
	struct raw_ask ask = { .prompt_len = 4,
			       .max_tokens = max_tokens,
			       .params_flags = LLM_PARAMS_F_IGNORE_EOS,
			       .prompt = { 7, 8, 9, 10 } };
	pid_t engine = serve_engine(d->pid);
	uint64_t tokens = 0, wall, server, client;
	uint32_t k;
	struct timespec c0, c1;

	memset(seen, 0, sizeof(seen));
	open_sessions(d, n, per);
	/* once unmeasured: the pages of the logs are there, as after a while */
	submit_all(n, per, &ask, 7);
	read_all(n, per, 16);
	server = cpu_ns(engine) + cpu_ns(d->pid);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c0);
	wall = raw_now();
	for (k = 1; k < passes; k++) {
		memset(seen, 0, sizeof(seen));
		submit_all(n, per, &ask, k * 100000);
		tokens += read_all(n, per, every);
	}
	wall = raw_now() - wall;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &c1);
	client = (uint64_t)(c1.tv_sec - c0.tv_sec) * 1000000000ull +
		 (uint64_t)c1.tv_nsec - (uint64_t)c0.tv_nsec;
	server = cpu_ns(engine) + cpu_ns(d->pid) - server;
	printf("%2u x %4u streams  %-8s %8.1f ns a token (server %7.1f, client "
	       "%7.1f)  %8.0f k tokens/s\n",
	       n, per,
	       name[!every	 ? 0
		    : every == 1 ? 1
				 : 2],
	       (double)(server + client) / (double)tokens,
	       (double)server / (double)tokens, (double)client / (double)tokens,
	       (double)tokens * 1e6 / (double)wall);
	for (k = 0; k < n; k++)
		raw_close(&sessions[k]);
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Kill the engine once the first stream has five tokens; ns to the next. */
static uint64_t one_pause(const struct serve *d)
{
	uint64_t t0, w;
	uint32_t tail;

	do {
		w = raw_peek(&sessions[0], 0);
	} while (LLM_COMMIT_GEN(w) != sessions[0].gen[0] ||
		 LLM_COMMIT_TAIL(w) < 5);
	kill(serve_engine(d->pid), SIGKILL);
	t0 = raw_now();
	serve_msleep(1);
	tail = LLM_COMMIT_TAIL(raw_peek(&sessions[0], 0));
	while (LLM_COMMIT_TAIL(raw_peek(&sessions[0], 0)) == tail &&
	       raw_now() - t0 < 10000000000ull)
		;
	return raw_now() - t0;
}

static void pauses(const struct serve *d, uint32_t streams)
{
	uint32_t per = streams < RAW_STREAMS ? streams : RAW_STREAMS;
	uint32_t n = streams / per, i, k, x;
	struct raw_ask ask = { .prompt_len = 100,
			       .max_tokens = 400,
			       .params_flags = LLM_PARAMS_F_IGNORE_EOS };
	uint64_t gap[9];

	for (i = 0; i < ask.prompt_len; i++)
		ask.prompt[i] = 10 + i;
	open_sessions(d, n, per);
	for (x = 0; x < 9; x++) {
		submit_all(n, per, &ask, x * 100000);
		gap[x] = one_pause(d);
		for (k = 0; k < n; k++)
			for (i = 0; i < per; i++)
				while (!raw_done(&sessions[k], i,
						 raw_peek(&sessions[k], i),
						 UINT32_MAX))
					serve_msleep(1);
	}
	qsort(gap, 9, sizeof(*gap), by_size);
	printf("%6u streams  engine's death to the next token: median %.1f ms, "
	       "worst of 9 %.1f ms\n",
	       streams, (double)gap[4] / 1e6, (double)gap[8] / 1e6);
	for (k = 0; k < n; k++)
		raw_close(&sessions[k]);
}

/* With SESSIONS STREAMS EVERY PASSES that row alone (for a profiler). */
int main(int argc, char **argv)
{
	/* KV for all streams at once: else preemption is measured with it */
	static const char *const null_args[] = { "--backend", "null",
						 "--kv-memory", "3G", NULL };
	static const char *const model_args[] = { "--model",
						  "models/manpages-2m",
						  "--threads", "2", NULL };
	static const struct {
		uint32_t sessions, streams, max_tokens;
	} size[] = { { 1, 1, 5000 },
		     { 1, 64, 4000 },
		     { 16, 64, 2000 },
		     { 1, 1024, 2000 } };
	struct serve d;
	uint32_t i, every;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (serve_start(&d, "llmd", null_args))
		return 1;
	printf("CPU time to deliver a token, null backend, flat out\n");
	if (argc == 5) {
		run(&d, (uint32_t)atoi(argv[1]), (uint32_t)atoi(argv[2]), 2000,
		    (uint32_t)atoi(argv[3]), (uint32_t)atoi(argv[4]));
		serve_stop(&d);
		return checksum == 42;
	}
	for (i = 0; i < sizeof(size) / sizeof(size[0]); i++)
		for (every = 0; every <= 16; every = every ? every * 16 : 1u)
			run(&d, size[i].sessions, size[i].streams,
			    size[i].max_tokens, every, 4);
	serve_stop(&d);
	if (serve_start(&d, "llmd", model_args))
		return 1;
	printf("models/manpages-2m, 100 tokens of prompt a stream\n");
	pauses(&d, 1);
	pauses(&d, 64);
	serve_stop(&d);
	return checksum == 42;
}
