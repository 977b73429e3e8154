/* SPDX-License-Identifier: MIT */
/*
 * demo.c - what `make demo` shows: eight processes, one llmd, one kill.
 *
 *	demo LLMD MODEL
 *
 * Starts LLMD with MODEL on a socket of its own, lets eight client processes
 * ask at once and shows their text side by side; kills the engine once all of
 * them have tokens; prints an account; asks everything again with nobody
 * killed and compares the tokens; stops what it started.
 */
#include "tests/demo/view.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NR	    8
#define MAX_TOKENS  VIEW_TOKENS
#define KILL_TOKENS 6u /* the kill waits until each client has so many */
#define COLUMNS	    72u
/* two earlier turns: the beginning that some prompts share */
#define EARLIER                                                                \
	"<|begin|><|user|>what does grep do?<|assistant|>"                     \
	"grep - print lines that match patterns<|end|>"                        \
	"<|begin|><|user|>what does tar do?<|assistant|>"                      \
	"tar - an archiving utility<|end|>"
#define AFTER(q) EARLIER "<|begin|><|user|>" q "<|assistant|>"

static const struct {
	const char *prompt, *shown;
	uint32_t flags;
} asks[NR] = {
	{ AFTER("man tar"), "...and then: man tar", LLM_SQE_F_SPECIAL },
	{ AFTER("man cp"), "...and then: man cp", LLM_SQE_F_SPECIAL },
	{ AFTER("man ls"), "...and then: man ls", LLM_SQE_F_SPECIAL },
	{ "man ls", "man ls", LLM_SQE_F_CHAT },
	{ "man cp", "man cp", LLM_SQE_F_CHAT },
	{ "man tar", "man tar", LLM_SQE_F_CHAT },
	{ "man grep", "man grep", LLM_SQE_F_CHAT },
	{ "how do I see free memory?", "how do I see free memory?",
	  LLM_SQE_F_CHAT },
};

struct shared {
	struct view view[NR];
	uint32_t go; /* parent: clients after the first may begin */
};

static struct shared *S;
static char dir[64], sock[96], logfile[96];
static pid_t llmd;

static void sleep_us(long us)
{
	struct timespec t = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&t, NULL);
}

static void stop_llmd(void)
{
	int st;

	if (llmd > 0) {
		kill(llmd, SIGTERM);
		waitpid(llmd, &st, 0);
	}
	unlink(sock);
	unlink(logfile);
	rmdir(dir);
}

static void die(const char *fmt, ...)
{
	char line[256] = "";
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	f = fopen(logfile, "re");
	while (f && fgets(line, sizeof(line), f))
		fprintf(stderr, "  %s", line);
	stop_llmd();
	exit(1);
}

static void start_llmd(const char *binary, const char *model)
{
	struct llm_info info;
	int fd, i;

	snprintf(dir, sizeof(dir), "/tmp/llm-demo-XXXXXX");
	if (!mkdtemp(dir))
		die("cannot make a folder in /tmp: %s", strerror(errno));
	snprintf(sock, sizeof(sock), "%s/llmd.sock", dir);
	snprintf(logfile, sizeof(logfile), "%s/log", dir);
	llmd = fork();
	if (llmd == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		fd = open(logfile, O_CREAT | O_WRONLY | O_APPEND, 0600);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		execl(binary, binary, "--model", model, "--socket", sock, NULL);
		_exit(127);
	}
	for (i = 0; i < 3000; i++) {
		if (!llmc_info(sock, &info) && info.daemon == LLM_DAEMON_READY)
			return;
		if (waitpid(llmd, NULL, WNOHANG) == llmd) {
			llmd = 0;
			break;
		}
		sleep_us(10000);
	}
	die("llmd did not begin to serve:");
}

/* ---- a client --------------------------------------------------------- */

static int client(int i)
{
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .text = asks[i].prompt,
				    .flags = asks[i].flags,
				    .max_tokens = MAX_TOKENS };
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE, .socket = sock };
	struct view *v = &S->view[i];
	struct llmc_result res;
	struct llmc_stream *st;
	struct llmc *s;
	uint64_t last, now;
	ssize_t n;

	if (llmc_open(&s, &opt))
		return client_failed(v);
	while (i && !LOAD(&S->go))
		sleep_us(200);
	v->begin_ns = last = now_ns();
	if (llmc_submit(s, &req, &st))
		return client_failed(v);
	while ((n = take_tokens(st, v)) != 0) {
		if (n < 0 && n != -EAGAIN)
			return client_failed(v);
		now = now_ns();
		if (n > 0 && !v->first_ns)
			v->first_ns = now;
		else if (n > 0 && now - last > v->gap_ns)
			v->gap_ns = now - last;
		if (n > 0)
			last = now;
		else if (llmc_wait(st, 1, -1) < 0)
			return client_failed(v);
		else
			v->wakes++;
	}
	v->end_ns = now_ns();
	if (llmc_result(st, &res) || res.error) {
		snprintf(v->why, sizeof(v->why), "%s", res.why);
		STORE(&v->failed, 1u);
	}
	llmc_close(s);
	STORE(&v->done, 1u);
	return 0;
}

/* ---- the show --------------------------------------------------------- */

static bool tty;
static uint32_t shown[NR];
static bool cut[NR]; /* what was shown ends inside a line */

/* Bytes of a line of at most COLUMNS; with the blank it breaks at, if any. */
static uint32_t line_len(const char *p, uint32_t len, uint32_t *ret_blank)
{
	const char *nl = memchr(p, '\n', len);
	uint32_t n = nl ? (uint32_t)(nl - p) : len, word;

	*ret_blank = nl != NULL;
	if (n <= COLUMNS)
		return n;
	for (word = COLUMNS; word && p[word] != ' ';)
		word--;
	*ret_blank = word > 0;
	return word ? word : COLUMNS;
}

/* A log: whole lines, each with its client; at @pause what there is. */
static void print_lines(int i, uint32_t len, bool pause)
{
	const struct view *v = &S->view[i];
	uint32_t n, blank;

	while (shown[i] < len) {
		const char *p = v->text + shown[i];

		n = line_len(p, len - shown[i], &blank);
		if (!blank && n < COLUMNS && !pause && !LOAD(&v->done))
			break;
		if (n || !cut[i]) /* else its end is all that was owed */
			printf("[%d] %.*s\n", i + 1, (int)n, p);
		shown[i] += n + blank;
		cut[i] = !blank;
	}
}

/* A terminal: one line a client, its latest text.  Else: line by line. */
static void draw(bool pause, bool last)
{
	int i, k;

	for (i = 0; i < NR; i++) {
		struct view *v = &S->view[i];
		uint32_t len = LOAD(&v->text_len);
		char line[64];

		if (tty) {
			uint32_t from = len > 56 ? len - 56 : 0;

			for (k = 0; from + (uint32_t)k < len && k < 56; k++)
				line[k] = v->text[from + (uint32_t)k] < ' '
						  ? ' '
						  : v->text[from + (uint32_t)k];
			line[k] = 0;
			printf("\033[2K%d %-27.27s|%s\n", i + 1, asks[i].shown,
			       line);
			continue;
		}
		print_lines(i, len, pause || last);
	}
	if (tty && !last)
		printf("\033[%dA", NR);
	fflush(stdout);
}

/* SIGKILL for the engine, with what the service said of itself before. */
static void kill_engine(uint32_t *ret_used, uint32_t *ret_shared)
{
	struct llm_info info;
	pid_t engine = engine_pid(llmd);

	if (!llmc_info(sock, &info)) {
		*ret_used = info.kv_used;
		*ret_shared = info.kv_shared;
	}
	kill(engine, SIGKILL);
	draw(true, false);
	printf("%s--- kill -9 %d: the engine is dead ---\n",
	       tty ? "\033[2K" : "", engine);
}

/* Run all clients; with @show their text and the kill.  False: one failed. */
static bool run_clients(bool show, uint32_t *ret_used, uint32_t *ret_shared)
{
	uint64_t drawn = 0, now;
	uint32_t with, done;
	bool killed = !show, ok = true;
	pid_t kid[NR];
	int i;

	memset(S, 0, sizeof(*S));
	fflush(stdout);
	for (i = 0; i < NR; i++)
		if (!(kid[i] = fork())) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(client(i));
		}
	do {
		for (i = 0, with = done = 0; i < NR; i++) {
			struct view *v = &S->view[i];

			with += LOAD(&v->tokens) >= KILL_TOKENS;
			done += LOAD(&v->done) || LOAD(&v->failed);
		}
		if (LOAD(&S->view[0].tokens) || LOAD(&S->view[0].failed))
			STORE(&S->go, 1u);
		if (!killed && with == NR && done < NR) {
			kill_engine(ret_used, ret_shared);
			killed = true;
		}
		now = now_ns();
		if (show && now - drawn > 40000000) {
			draw(false, false);
			drawn = now;
		}
		sleep_us(500);
	} while (done < NR);
	for (i = 0; i < NR; i++)
		waitpid(kid[i], NULL, 0);
	if (show)
		draw(true, true);
	for (i = 0; i < NR; i++)
		if (S->view[i].failed) {
			printf("client %d failed: %s\n", i + 1, S->view[i].why);
			ok = false;
		}
	if (!killed)
		printf("all were done before the kill could fall\n");
	return ok && killed;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void account(uint32_t used, uint32_t shared)
{
	uint64_t tokens = 0, wakes = 0, first = UINT64_MAX, last = 0, gap = 0;
	struct llm_info info = { 0 };
	double ttft[NR];
	int i;

	for (i = 0; i < NR; i++) {
		const struct view *v = &S->view[i];

		tokens += v->tokens;
		wakes += v->wakes;
		ttft[i] = (double)(v->first_ns - v->begin_ns) / 1e6;
		first = v->begin_ns < first ? v->begin_ns : first;
		last = v->end_ns > last ? v->end_ns : last;
		gap = v->gap_ns > gap ? v->gap_ns : gap;
	}
	qsort(ttft, NR, sizeof(*ttft), by_size);
	llmc_info(sock, &info);
	printf("\n%llu tokens in %.2f s: %.0f tokens per second, the kill "
	       "included\n",
	       (unsigned long long)tokens, (double)(last - first) / 1e9,
	       (double)tokens * 1e9 / (double)(last - first));
	printf("time to first token: p50 %.1f ms, p99 %.1f ms\n",
	       (ttft[NR / 2 - 1] + ttft[NR / 2]) / 2, ttft[NR - 1]);
	printf("KV blocks: %u used of %u when the kill fell, %u shared; "
	       "sharing saved up to %u\n",
	       used, info.kv_blocks, shared, info.kv_saved);
	printf("wake-ups per token: %.2f\n", (double)wakes / (double)tokens);
	printf("the kill: the next engine delivered after %.1f ms; longest "
	       "pause a stream saw %.1f ms\n",
	       (double)info.pause_ns / 1e6, (double)gap / 1e6);
}

int main(int argc, char **argv)
{
	static uint32_t ids[NR][MAX_TOKENS], len[NR];
	uint32_t used = 0, shared = 0, same = 0;
	int i;

	if (argc != 3) {
		fprintf(stderr, "usage: demo LLMD MODEL\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	tty = isatty(STDOUT_FILENO);
	S = mmap(NULL, sizeof(*S), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (S == MAP_FAILED)
		return 1;
	start_llmd(argv[1], argv[2]);
	printf("llmd serves %s; eight processes ask, and in the middle its "
	       "engine is killed.\n\n",
	       argv[2]);
	if (!run_clients(true, &used, &shared))
		die("the demo failed");
	account(used, shared);
	for (i = 0; i < NR; i++) {
		len[i] = S->view[i].tokens;
		memcpy(ids[i], S->view[i].ids, sizeof(ids[i]));
	}
	if (!run_clients(false, &used, &shared))
		die("the second run failed");
	for (i = 0; i < NR; i++)
		same += len[i] == S->view[i].tokens &&
			!memcmp(ids[i], S->view[i].ids, len[i] * 4ul);
	printf("asked again with nobody killed: %u of %d streams have the "
	       "same tokens\n",
	       same, NR);
	stop_llmd();
	return same != NR;
}
