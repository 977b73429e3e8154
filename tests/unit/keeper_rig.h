/* SPDX-License-Identifier: MIT */
/*
 * keeper_rig.h - a keeper in a process of its own, with a stub in the engine's
 * place that does on command what engines should not; and the client's side
 * by hand.
 */
#ifndef KEEPER_RIG_H
#define KEEPER_RIG_H

#include "tests/test.h"
#include "base/err.h"
#include "daemon/areas.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/carrier_sock.h"
#include "daemon/handover.h"
#include "daemon/keeper.h"
#include "tests/system/raw.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define MS	      1000000ull
#define STUB_SESSIONS 256

/* Shared by test, keeper and stub. */
static struct shared {
	/* written by: the test */
	uint32_t deaf;	    /* 1: the stub reads nothing, and is not ready */
	uint32_t fail;	    /* 1: it fails to start, with a line */
	uint32_t die;	    /* a signal it sends itself in its next step */
	uint32_t die_early; /* ... before it is ready, in every life */
	uint32_t hang;	    /* 1: its next step never ends */
	uint32_t stubborn;  /* 1: it does not drain */
	uint64_t step_limit_ns;
	/* written by: the stub */
	uint32_t lives, host_writable, memfds, listeners;
	int32_t pid;
	uint32_t nr_blamed; /* as the last life found it */
	struct board_row blamed;
	/* written by: the keeper */
	struct err err;
} * sh;

static char sock[64];
static pid_t keeper;
static struct keeper_options opt;

/* ---- the stub -------------------------------------------------------- */

struct stub_session {
	struct session *s;
	uint32_t max[64]; /* tokens wanted; 0: the slot does not run */
};

/* What of the keeper is left in this process that must not be? */
static void look_around(void)
{
	char line[512], path[300], to[128];
	unsigned long from, end;
	struct dirent *d;
	FILE *f = fopen("/proc/self/maps", "re");
	DIR *dir = opendir("/proc/self/fd");
	ssize_t n;

	while (f && fgets(line, sizeof(line), f)) {
		if (strstr(line, "memfd:llm-session") &&
		    sscanf(line, "%lx-%lx", &from, &end) == 2 &&
		    end - from == 4096 && strstr(line, " rw-s "))
			sh->host_writable++;
	}
	while (dir && (d = readdir(dir))) {
		int on = 0;
		socklen_t len = sizeof(on);

		snprintf(path, sizeof(path), "/proc/self/fd/%s", d->d_name);
		n = readlink(path, to, sizeof(to) - 1);
		if (n <= 0)
			continue;
		to[n] = 0;
		if (strstr(to, "memfd:llm-session"))
			sh->memfds++;
		getsockopt(atoi(d->d_name), SOL_SOCKET, SO_ACCEPTCONN, &on,
			   &len);
		sh->listeners += on != 0;
	}
	fclose(f);
	closedir(dir);
}

static void stub_take(struct carrier *c, struct stub_session *ss)
{
	struct carrier_work w;
	uint32_t i;

	while (c->take(c, &w)) {
		struct stub_session *t = &ss[w.session->index];

		switch (w.kind) {
		case CARRIER_OPEN:
			memset(t, 0, sizeof(*t));
			t->s = w.session;
			for (i = 0; i < w.session->nr_streams; i++)
				if (LLM_COMMIT_STATE(w.session->commit[i]) ==
				    LLM_ST_RUNNING)
					t->max[i] = session_record(w.session, i)
							    ->max_tokens;
			break;
		case CARRIER_CLOSE:
			t->s = NULL;
			break;
		case CARRIER_SQE:
			i = w.sqe.stream;
			t->max[i] = w.sqe.max_tokens;
			session_record(t->s, i)->max_tokens = t->max[i];
			shm_publish(&t->s->commit[i],
				    LLM_COMMIT(w.sqe.gen, LLM_ST_RUNNING, 0,
					       0));
			break;
		default:
			break;
		}
	}
	c->ack(c);
}

/* One token for each stream that runs; how many run on. */
static uint32_t stub_step(struct carrier *c, struct board *b,
			  struct stub_session *ss)
{
	uint32_t i, k, run = 0;
	uint64_t w;

	b->nr_rows = 1;
	b->row[0] = (struct board_row){ .session = ss[0].s ? ss[0].s->id : 0,
					.stream = 3,
					.gen = 9 };
	shm_publish(&b->step_begin_ns, raw_now());
	while (shm_load(&sh->hang))
		usleep(1000);
	if (shm_load(&sh->die)) {
		int sig = (int)sh->die;

		sh->die = 0;
		raise(sig);
	}
	shm_publish(&b->step_begin_ns, 0ull);
	for (k = 0; k < STUB_SESSIONS; k++)
		for (i = 0; ss[k].s && i < ss[k].s->nr_streams; i++) {
			if (!ss[k].max[i])
				continue;
			w = ss[k].s->commit[i] + 1;
			if (LLM_COMMIT_TAIL(w) == ss[k].max[i]) {
				w = LLM_COMMIT(LLM_COMMIT_GEN(w), LLM_ST_END,
					       LLM_END_LENGTH, ss[k].max[i]);
				ss[k].max[i] = 0;
			}
			shm_publish(&ss[k].s->commit[i], w);
			b->commits++;
			run += ss[k].max[i] != 0;
			c->wake(c, ss[k].s);
		}
	c->flush(c);
	return run;
}

static int stub(void *arg, const struct handover *in)
{
	static struct stub_session ss[STUB_SESSIONS];
	struct board *b = in->board;
	struct carrier *c;
	uint32_t run = 1;

	(void)arg;
	sh->lives++;
	sh->pid = getpid();
	sh->nr_blamed = b->nr_blamed;
	sh->blamed = b->blamed[0];
	look_around();
	if (sh->fail) {
		snprintf(b->failed, sizeof(b->failed), "the stub has no model");
		return -EINVAL;
	}
	if (sh->die_early)
		raise((int)sh->die_early);
	while (shm_load(&sh->deaf))
		usleep(1000);
	if (carrier_sock_start(in, &c, NULL))
		return -EIO;
	memcpy(b->info.model.name, "stub", 5);
	b->info.model.vocab = 77;
	b->step_limit_ns = sh->step_limit_ns;
	stub_take(c, ss);
	shm_publish(&b->ready, 1u);
	for (;;) {
		if (shm_load(&b->draining) && !run && !sh->stubborn)
			return 0;
		if (c->wait(c, run ? raw_now() + MS : raw_now() + 20 * MS) ==
			    -ESHUTDOWN &&
		    !sh->stubborn)
			return 0;
		stub_take(c, ss);
		run = stub_step(c, b, ss);
	}
}

/* ---- the test's side ------------------------------------------------- */

static bool ask_info(struct llm_info *info);

static void spawn(void)
{
	opt.socket_path = sock;
	opt.engine = stub;
	fflush(stdout);
	keeper = fork();
	if (keeper == 0) {
		int ret, null = open("/dev/null", O_WRONLY);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(null, 2);
		ret = keeper_run(&opt, &sh->err);
		_exit(ret ? 1 : 0);
	}
}

static void prepare(void)
{
	static int n;

	if (keeper > 0) { /* a test before failed */
		kill(keeper, SIGKILL);
		waitpid(keeper, NULL, 0);
	}
	keeper = 0;
	if (!sh)
		sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	memset(sh, 0, sizeof(*sh));
	sh->step_limit_ns = 1000000 * MS;
	snprintf(sock, sizeof(sock), "/tmp/llm-keeper-%d-%d", getpid(), n++);
	memset(&opt, 0, sizeof(opt));
	opt.limits = (struct roster_limits){ .max_sessions = 64,
					     .max_sessions_uid = 64,
					     .max_bytes_uid = 1ull << 40 };
	opt.max_crashes = 5;
	opt.socket_mode = 0600;
}

/* Wait for @cond, 5 s at most. */
#define UNTIL(cond)                                                            \
	do {                                                                   \
		int tries_ = 0;                                                \
		while (!(cond) && ++tries_ < 5000)                             \
			usleep(1000);                                          \
		CHECK(cond);                                                   \
	} while (0)

static bool is_ready(void)
{
	struct llm_info info;

	return ask_info(&info) && info.daemon == LLM_DAEMON_READY;
}

static void start(void)
{
	spawn();
	UNTIL(is_ready());
}

static int stop_by(int sig)
{
	int st = -1;

	if (sig)
		kill(keeper, sig);
	waitpid(keeper, &st, 0);
	keeper = 0;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/* Say hello with @op; the reply, and @size bytes behind it.  The connection. */
static int hello(uint32_t op, struct llm_hello_reply *rep, void *more,
		 size_t size)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = op };
	int fd = raw_connect(sock);

	memset(rep, 0, sizeof(*rep));
	h.setup.size = sizeof(h.setup);
	if (fd < 0 || send(fd, &h, sizeof(h), MSG_NOSIGNAL) != sizeof(h) ||
	    recv(fd, rep, sizeof(*rep), MSG_WAITALL) != sizeof(*rep)) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	if (!rep->error && more)
		(void)!recv(fd, more, size, MSG_WAITALL);
	return fd;
}

static bool ask_info(struct llm_info *info)
{
	struct llm_hello_reply rep;
	int fd = hello(LLM_HELLO_INFO, &rep, info, sizeof(*info));

	if (fd >= 0)
		close(fd);
	return fd >= 0 && !rep.error && rep.elem_size == sizeof(*info);
}

static uint32_t nr_sessions(void)
{
	struct llm_info info = { 0 };

	ask_info(&info);
	return info.nr_sessions;
}

static const struct llm_host_ctl *host(const struct raw *r)
{
	return (const struct llm_host_ctl *)r->host;
}

/* Ask for @n tokens in @slot; true once all are there. */
static void submit(struct raw *r, uint32_t slot, uint32_t n)
{
	struct raw_ask a = { .prompt_len = 1, .max_tokens = n };

	CHECK(raw_submit(r, slot, &a));
	raw_bell(r);
}

static bool ended(const struct raw *r, uint32_t slot)
{
	uint64_t w = raw_peek(r, slot);

	return LLM_COMMIT_GEN(w) == r->gen[slot] &&
	       LLM_COMMIT_STATE(w) == LLM_ST_END;
}

static int count_fds(pid_t pid)
{
	char path[64];
	DIR *d;
	int n = 0;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	d = opendir(path);
	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n;
}

#endif
