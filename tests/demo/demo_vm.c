/* SPDX-License-Identifier: MIT */
/*
 * demo_vm.c - what `make demo-vm` shows, from inside the virtual machine: four
 * clients of three users and a shell on /dev/llm, and what they notice when
 * the engine, then llmd as a whole, is killed under them.
 *
 *	demo_vm LLMD LLMCTL MODEL
 *
 * Ends with 0 only if every stream ended well, and asked again with nobody
 * killed had the same tokens.  LLMCTL is left out, with a line, where it is not
 * there or the module has no netlink.
 */
#include "tests/demo/view.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NODE	   "/dev/llm"
#define MAX_TOKENS 40u
#define LOG	   "/tmp/llmd.log"

static const struct {
	uid_t uid;
	const char *who, *prompt;
} asks[] = {
	{ 1000, "ada", "man ls" },
	{ 1000, "ada", "man tar" },
	{ 1001, "bob", "man cp" },
	{ 1002, "eve", "how do I see free memory?" },
};
#define NR (sizeof(asks) / sizeof(*asks))

static struct view *views; /* [NR] */
static pid_t llmd;
static const char *binary, *model;
static uint32_t shown[NR];

static void sleep_ms(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

static void stop_llmd(int sig)
{
	if (llmd > 0) {
		kill(llmd, sig);
		waitpid(llmd, NULL, 0);
	}
	llmd = 0;
}

static int die(const char *what)
{
	char line[256];
	FILE *f = fopen(LOG, "re");

	printf("demo: %s\n", what);
	while (f && fgets(line, sizeof(line), f))
		printf("  %s", line);
	stop_llmd(SIGKILL);
	exit(1);
}

static void start_llmd(void)
{
	llmd = fork();
	if (llmd == 0) {
		int fd = open(LOG, O_CREAT | O_WRONLY | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		/* no carrier named: it finds the module's node */
		execl(binary, binary, "--model", model, "--threads", "1", NULL);
		_exit(127);
	}
}

/* Wait until a session can be had, which tells what is served. */
static void await_llmd(void)
{
	struct llm_info info;
	int i;

	for (i = 0; i < 30; i++) {
		if (!llmc_info(NODE, &info)) {
			printf("llmd serves %s, %.1f M parameters, to whoever "
			       "opens " NODE "\n",
			       info.model.name,
			       (double)info.model.parameters / 1e6);
			return;
		}
		if (waitpid(llmd, NULL, WNOHANG) == llmd) {
			llmd = 0;
			break;
		}
	}
	die("llmd did not begin to serve:");
}

/* ---- a client --------------------------------------------------------- */

static void become(uid_t uid)
{
	if (setgroups(0, NULL) || setgid(uid) || setuid(uid))
		_exit(1);
}

static int client(uint32_t i)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE, .socket = NODE };
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .text = asks[i].prompt,
				    .flags = LLM_SQE_F_CHAT,
				    .max_tokens = MAX_TOKENS };
	struct view *v = &views[i];
	struct llmc_result res;
	struct llmc_stream *st;
	struct llmc *s;
	uint64_t last;
	ssize_t n;

	become(asks[i].uid);
	if (llmc_open(&s, &opt))
		return client_failed(v);
	v->begin_ns = now_ns();
	last = 0;
	if (llmc_submit(s, &req, &st))
		return client_failed(v);
	while ((n = take_tokens(st, v)) != 0) {
		if (n < 0 && n != -EAGAIN)
			return client_failed(v);
		if (n > 0) {
			uint64_t now = now_ns();

			if (last && now - last > v->gap_ns)
				v->gap_ns = now - last;
			last = now;
		} else if (llmc_wait(st, 1, -1) < 0) {
			return client_failed(v);
		}
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

/* A shell is a client too: it writes a question and reads the answer. */
static pid_t shell(const char *out)
{
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(out, O_CREAT | O_TRUNC | O_WRONLY, 0644);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, STDOUT_FILENO);
		become(1002);
		execl("/bin/sh", "sh", "-c",
		      "exec 3<>" NODE " && printf 'man grep' >&3 && "
		      "head -c 100 <&3",
		      NULL);
		_exit(127);
	}
	return pid;
}

/* ---- the show --------------------------------------------------------- */

/* Whole lines, or long pieces, as they come: "[1 ada] text". */
static void draw(bool last)
{
	uint32_t i;

	for (i = 0; i < NR; i++) {
		struct view *v = &views[i];
		uint32_t len = LOAD(&v->text_len);

		while (shown[i] < len) {
			const char *p = v->text + shown[i];
			const char *nl = memchr(p, '\n', len - shown[i]);
			uint32_t n = nl ? (uint32_t)(nl - p) : len - shown[i];

			if (!nl && n < 64 && !last && !LOAD(&v->done))
				break;
			if (n > 64) {
				nl = NULL;
				n = 64;
			}
			if (n)
				printf("[%u %s] %.*s\n", i + 1, asks[i].who,
				       (int)n, p);
			shown[i] += n + (nl != NULL);
		}
	}
}

/* Is it there, and does it speak with this module? */
static bool ctl_works(const char *ctl)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "%s engine show >/dev/null 2>&1", ctl);
	if (!access(ctl, X_OK) && !system(cmd))
		return true;
	printf("(no llmctl here that knows this module)\n");
	return false;
}

static void run_ctl(const char *ctl, const char *object)
{
	char cmd[300];

	printf("\n$ llmctl %s list\n", object);
	fflush(stdout);
	snprintf(cmd, sizeof(cmd), "%s %s list", ctl, object);
	if (system(cmd))
		die("llmctl failed");
}

/* The least number of tokens that one who runs has; *ret_done: who ended. */
static uint32_t progress(uint32_t *ret_done)
{
	uint32_t i, least = UINT32_MAX, n;

	*ret_done = 0;
	for (i = 0; i < NR; i++) {
		n = LOAD(&views[i].tokens);
		if (LOAD(&views[i].done) || LOAD(&views[i].failed)) {
			++*ret_done;
			continue;
		}
		least = n < least ? n : least;
	}
	return least;
}

static void kill_engine(const char *ctl)
{
	pid_t e = engine_pid(llmd);

	draw(false);
	if (ctl_works(ctl)) {
		run_ctl(ctl, "session");
		run_ctl(ctl, "tenant");
	}
	printf("\n--- kill -9 %d: the engine is dead; llmd starts the next ---\n",
	       e);
	kill(e, SIGKILL);
}

static void kill_llmd(void)
{
	draw(false);
	printf("--- kill -9 %d: llmd is dead, all of it; the kernel keeps the "
	       "streams ---\n",
	       llmd);
	stop_llmd(SIGKILL);
	sleep_ms(500);
	start_llmd();
	printf("--- half a second later: llmd starts again, pid %d ---\n",
	       llmd);
}

/* All clients; with @show their text and the kills.  False: one failed. */
static bool run_clients(bool show, const char *ctl)
{
	uint32_t done, least, kills = show ? 0 : 2, i;
	bool good = true;
	pid_t kid[NR];

	memset(views, 0, NR * sizeof(*views));
	fflush(stdout);
	for (i = 0; i < NR; i++)
		if (!(kid[i] = fork())) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			_exit(client(i));
		}
	do {
		least = progress(&done);
		if (kills == 0 && done < NR && least >= 4) {
			kill_engine(ctl);
			kills++;
		} else if (kills == 1 && done < NR && least >= 14) {
			kill_llmd();
			kills++;
		}
		if (show)
			draw(false);
		sleep_ms(10);
	} while (done < NR);
	for (i = 0; i < NR; i++)
		waitpid(kid[i], NULL, 0);
	if (show)
		draw(true);
	for (i = 0; i < NR; i++)
		if (views[i].failed) {
			printf("client %u failed: %s\n", i + 1, views[i].why);
			good = false;
		}
	if (kills < 2)
		printf("all were done before the kills could fall\n");
	return good && kills == 2;
}

static void account(void)
{
	uint64_t tokens = 0, first = UINT64_MAX, last = 0, gap = 0;
	uint32_t i;

	for (i = 0; i < NR; i++) {
		const struct view *v = &views[i];

		tokens += v->tokens;
		first = v->begin_ns < first ? v->begin_ns : first;
		last = v->end_ns > last ? v->end_ns : last;
		gap = v->gap_ns > gap ? v->gap_ns : gap;
	}
	printf("\n%llu tokens for four clients in %.1f s, on an emulated "
	       "processor\n",
	       (unsigned long long)tokens, (double)(last - first) / 1e9);
	printf("one engine and one llmd killed: no client saw an error, the "
	       "longest pause was %.1f s\n",
	       (double)gap / 1e9);
}

/* True where a shell got an answer. */
static bool show_shell(pid_t pid, const char *out)
{
	char text[200] = "";
	FILE *f;
	int st;

	waitpid(pid, &st, 0);
	f = fopen(out, "re");
	if (f) {
		text[fread(text, 1, sizeof(text) - 1, f)] = 0;
		fclose(f);
	}
	printf("\neve$ exec 3<>" NODE "; printf 'man grep' >&3; head -c 100 "
	       "<&3\n%s\n",
	       text);
	return !st && strstr(text, "grep");
}

int main(int argc, char **argv)
{
	static uint32_t ids[NR][MAX_TOKENS], len[NR];
	uint32_t same = 0, i;
	pid_t sh;

	if (argc != 4) {
		fprintf(stderr, "usage: demo_vm LLMD LLMCTL MODEL\n");
		return 2;
	}
	binary = argv[1];
	model = argv[3];
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	views = mmap(NULL, NR * sizeof(*views), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (views == MAP_FAILED)
		return 1;
	start_llmd();
	await_llmd();
	printf("four clients of three users ask at once, and a shell\n\n");
	sh = shell("/tmp/shell");
	if (!run_clients(true, argv[2]))
		die("the demo failed");
	if (!show_shell(sh, "/tmp/shell"))
		die("the shell got no answer");
	account();
	for (i = 0; i < NR; i++) {
		len[i] = views[i].tokens;
		memcpy(ids[i], views[i].ids, sizeof(ids[i]));
	}
	if (!run_clients(false, argv[2]))
		die("the second run failed");
	for (i = 0; i < NR; i++)
		same += len[i] == views[i].tokens &&
			!memcmp(ids[i], views[i].ids, len[i] * 4ul);
	printf("asked again with nobody killed: %u of %d streams have the "
	       "same tokens\n",
	       same, (int)NR);
	stop_llmd(SIGTERM);
	return same != NR;
}
