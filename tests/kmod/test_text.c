// SPDX-License-Identifier: MIT
/* write(2) and read(2): a prompt, its text, its end. */
#include "host.h"
#include "kt.h"
#include "side.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* A daemon that writes text: what it says is the test's. */
struct writer {
	struct daemon d;
	struct view v;
	struct llm_sqe e; /* the last entry */
	uint32_t tail, text_end;
};

static int fresh(int flags)
{
	int fd = open("/dev/llm", O_RDWR | O_CLOEXEC | flags);

	CHECK(fd >= 0);
	return fd;
}

/* Take what a prompt brings: OPEN where it is the first, and the entry. */
static void take_prompt(struct writer *w, uint32_t gen)
{
	const struct llmd_work *k;

	while (!(k = daemon_peek(&w->d)) || k->kind != LLMD_WORK_SQE) {
		if (!k) {
			CHECK(daemon_take(&w->d, 2000000000) > 0);
			continue;
		}
		if (k->kind == LLMD_WORK_OPEN)
			CHECK(view_open(&w->d, k->session, &w->v) == 0);
		daemon_ack(&w->d);
	}
	w->e = k->sqe;
	CHECK_EQ(w->e.op, LLM_OP_GENERATE);
	CHECK_EQ(w->e.flags,
		 LLM_SQE_F_TEXT | LLM_SQE_F_CHAT | LLM_SQE_F_DEFAULT_MAX);
	CHECK_EQ(w->e.gen, gen);
	CHECK_EQ(w->e.stream, 0);
	*view_record(&w->v, 0) = (struct llm_record){
		.gen = gen,
		.log_off = w->v.lay.off_extent + 65536,
		.text_off = w->v.lay.off_extent + 4000,
		.log_len = 64,
		.text_size = 60000,
	};
	w->tail = w->text_end = 0;
	view_commit(&w->v, 0, LLM_COMMIT(gen, LLM_ST_QUEUED, 0, 0));
	daemon_ack(&w->d);
}

/* Commit as the engine does: log and text, the word, fence, wish, bell, WAKE. */
static void say(struct writer *w, const char *text, unsigned state,
		unsigned end)
{
	char *base = (char *)w->v.engine;
	struct llm_record *r = view_record(&w->v, 0);
	struct llm_tok *log = (struct llm_tok *)(base + r->log_off);

	if (text) {
		memcpy(base + r->text_off + w->text_end, text, strlen(text));
		w->text_end += (uint32_t)strlen(text);
		log[w->tail++].text_end = w->text_end;
	}
	view_commit(&w->v, 0, LLM_COMMIT(w->e.gen, state, end, w->tail));
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	__atomic_fetch_add(&w->v.engine->bell, 1, __ATOMIC_SEQ_CST);
	daemon_wake(&w->d, w->v.id);
}

static void serve(struct writer *w)
{
	memset(w, 0, sizeof(*w));
	CHECK(daemon_open(&w->d) == 0 && daemon_attach(&w->d) == 0);
}

static int ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	return poll(&p, 1, 0) == 1 ? p.revents : 0;
}

KTEST(text_turn, "a prompt written is one user turn; what is read is its text")
{
	char buf[64] = { 0 };
	struct writer w;
	int fd;

	serve(&w);
	fd = fresh(O_NONBLOCK);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0); /* nothing was asked */
	CHECK_EQ(ready(fd), POLLOUT);
	CHECK_EQ(write(fd, "", 0), 0);
	CHECK_EQ(write(fd, "man ls", 6), 6);
	take_prompt(&w, 1);
	CHECK_EQ(w.e.len, 6);
	CHECK(memcmp(w.v.arena + w.e.off, "man ls", 6) == 0);
	CHECK_ERR(read(fd, buf, sizeof(buf)), EAGAIN);
	CHECK_ERR(write(fd, "more", 4), EAGAIN);
	CHECK_EQ(ready(fd), 0);
	say(&w, "list ", LLM_ST_RUNNING, 0);
	CHECK_EQ(ready(fd), POLLIN);
	CHECK_EQ(read(fd, buf, 2), 2);
	CHECK_EQ(read(fd, buf + 2, sizeof(buf) - 2), 3);
	CHECK(strcmp(buf, "list ") == 0);
	CHECK_ERR(read(fd, buf, sizeof(buf)), EAGAIN);
	say(&w, "directory", LLM_ST_RUNNING, 0);
	say(&w, " contents", LLM_ST_END, LLM_END_STOP);
	CHECK_EQ(ready(fd), POLLIN | POLLOUT);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 18);
	CHECK(memcmp(buf, "directory contents", 18) == 0);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
	/* the next turn, which gives up what is not read of this one */
	CHECK_EQ(write(fd, "again", 5), 5);
	take_prompt(&w, 2);
	say(&w, "unread", LLM_ST_END, LLM_END_LENGTH);
	CHECK_EQ(write(fd, "third", 5), 5);
	take_prompt(&w, 3);
	CHECK_EQ(w.e.len, 5);
	CHECK_ERR(read(fd, buf, sizeof(buf)), EAGAIN);
	say(&w, "3", LLM_ST_END, LLM_END_LENGTH);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 1);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
}

KTEST(text_sleep, "read and write sleep, and wake for text, an end, a signal")
{
	struct itimerval soon = { .it_value.tv_usec = 30000 };
	atomic_int *nr = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct writer w;
	char buf[64];
	int fd, i, k;
	pid_t pid;

	serve(&w);
	fd = fresh(0);
	CHECK_EQ(write(fd, "go", 2), 2);
	take_prompt(&w, 1);
	pid = fork();
	if (!pid) { /* it inherits the descriptor: the same turn */
		while (read(fd, buf, sizeof(buf)) == 1)
			(*nr)++;
		_exit(*nr != 20);
	}
	for (i = 0; i < 20; i++) {
		usleep(5000); /* it sleeps, mostly */
		say(&w, "x", LLM_ST_RUNNING, 0);
		for (k = 0; *nr <= i && k < 10000; k++)
			usleep(1000);
		CHECK_EQ(*nr, i + 1);
	}
	say(&w, NULL, LLM_ST_END, LLM_END_STOP);
	CHECK_EQ(side_wait(pid), 0);
	/* a write waits for the end of the turn before */
	CHECK_EQ(write(fd, "one", 3), 3);
	take_prompt(&w, 2);
	pid = fork();
	if (!pid)
		_exit(write(fd, "two", 3) != 3);
	usleep(30000);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	say(&w, "1", LLM_ST_RUNNING, 0);
	usleep(10000);
	CHECK_EQ(waitpid(pid, NULL, WNOHANG), 0);
	say(&w, "!", LLM_ST_END, LLM_END_STOP);
	CHECK_EQ(side_wait(pid), 0);
	take_prompt(&w, 3);
	/* a signal ends a sleeping reader, and nothing is lost */
	pid = fork();
	if (!pid) {
		setitimer(ITIMER_REAL, &soon, NULL);
		read(fd, buf, sizeof(buf));
		_exit(1);
	}
	CHECK_EQ(side_wait(pid), 256 + SIGALRM);
	say(&w, "two!", LLM_ST_END, LLM_END_STOP);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 4);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
}

KTEST(text_two_sleepers, "two readers and a poller of one turn all wake")
{
	struct writer w;
	char buf[64];
	pid_t pid[3];
	int fd, i;

	serve(&w);
	fd = fresh(0);
	CHECK_EQ(write(fd, "go", 2), 2);
	take_prompt(&w, 1);
	for (i = 0; i < 3; i++) {
		pid[i] = fork();
		if (pid[i])
			continue;
		if (i == 2) {
			struct pollfd p = { .fd = fd, .events = POLLOUT };

			_exit(poll(&p, 1, 10000) != 1);
		}
		while (read(fd, buf, sizeof(buf)) > 0)
			;
		_exit(0);
	}
	for (i = 0; i < 30; i++) {
		/* as an engine would: a wake only where a wish is met */
		const struct llm_wish *wish =
			(const void *)((const char *)w.v.client +
				       w.v.lay.off_wish);
		uint64_t want;

		usleep(3000);
		if (i < 29)
			say(&w, "x", LLM_ST_RUNNING, 0);
		else
			say(&w, NULL, LLM_ST_END, LLM_END_STOP);
		want = __atomic_load_n(&wish->arm_want, __ATOMIC_RELAXED);
		CHECK(want >> 32 != 0);
	}
	for (i = 0; i < 3; i++)
		CHECK_EQ(side_wait(pid[i]), 0);
}

KTEST(text_ends, "how a turn ended is what the last read says")
{
	static const struct {
		const char *name;
		unsigned end;
		uint32_t error;
		int want;
	} rows[] = {
		{ "stop", LLM_END_STOP, 0, 0 },
		{ "length", LLM_END_LENGTH, 0, 0 },
		{ "cancelled", LLM_END_CANCELLED, 0, ECANCELED },
		{ "refused", LLM_END_REFUSED, EOPNOTSUPP, EOPNOTSUPP },
		{ "an error of the engine", LLM_END_ERROR, ENOSPC, ENOSPC },
		{ "an error that is none", LLM_END_ERROR, 512, EIO },
		{ "an error of 2^32 - 1", LLM_END_ERROR, ~0u, EIO },
		{ "no reason at all", LLM_END_NONE, 0, EIO },
		{ "deadline", LLM_END_DEADLINE, 0, ETIME },
	};
	struct writer w;
	char buf[64];
	size_t i;
	int fd;

	serve(&w);
	fd = fresh(0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CHECK_EQ(write(fd, "q", 1), 1);
		take_prompt(&w, (uint32_t)i + 1);
		say(&w, "abc", LLM_ST_RUNNING, 0);
		view_record(&w.v, 0)->error = rows[i].error;
		say(&w, NULL, LLM_ST_END, rows[i].end);
		CHECK_EQ(read(fd, buf, sizeof(buf)), 3);
		errno = 0;
		if (read(fd, buf, sizeof(buf)) != (rows[i].want ? -1 : 0) ||
		    errno != rows[i].want)
			kt_fail(__FILE__, __LINE__, "%s: %s", rows[i].name,
				strerror(errno));
	}
}

KTEST(text_hostile,
      "a daemon that writes nonsense makes an error, never a read outside")
{
	static const struct {
		const char *name;
		uint64_t log_off, text_off;
		uint32_t text_size, text_end;
	} rows[] = {
		{ "a log outside", 1ull << 40, 4096, 100, 3 },
		{ "a log that ends outside", (8 << 20) + 8192 - 8, 4096, 100,
		  3 },
		{ "a log at an odd place", 4104 + 4, 4096, 100, 3 },
		{ "a log that wraps", ~0ull - 15, 4096, 100, 3 },
		{ "text outside", 8192, 1ull << 40, 100, 3 },
		{ "text that ends outside", 8192, (8 << 20), 1 << 20, 3 },
		{ "text that wraps", 8192, ~0ull - 50, 100, 3 },
		{ "an end behind the text", 8192, 4096, 100, 101 },
		{ "an end of 2^32 - 1", 8192, 4096, 100, ~0u },
	};
	struct writer w;
	char buf[64];
	size_t i;
	int fd;

	serve(&w);
	fd = fresh(0);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct llm_record *r;

		CHECK_EQ(write(fd, "q", 1), 1);
		take_prompt(&w, (uint32_t)i + 1);
		r = view_record(&w.v, 0);
		r->log_off = rows[i].log_off;
		r->text_off = rows[i].text_off;
		r->text_size = rows[i].text_size;
		if (rows[i].log_off == 8192)
			((struct llm_tok *)((char *)w.v.engine + 8192))
				->text_end = rows[i].text_end;
		view_commit(&w.v, 0,
			    LLM_COMMIT(w.e.gen, LLM_ST_END, LLM_END_STOP, 1));
		w.v.engine->bell++;
		daemon_wake(&w.d, w.v.id);
		CHECK_ERR(read(fd, buf, sizeof(buf)), EIO);
	}
	/* pages that nobody touched read as zeroes */
	CHECK_EQ(write(fd, "q", 1), 1);
	take_prompt(&w, (uint32_t)i + 1);
	view_record(&w.v, 0)->text_off = w.v.lay.off_extent + (4 << 20);
	((struct llm_tok *)((char *)w.v.engine + view_record(&w.v, 0)->log_off))
		->text_end = 5;
	view_commit(&w.v, 0, LLM_COMMIT(w.e.gen, LLM_ST_END, LLM_END_STOP, 1));
	CHECK_EQ(read(fd, buf, sizeof(buf)), 5);
	CHECK(memcmp(buf, "\0\0\0\0\0", 5) == 0);
}

KTEST(text_rules, "what a prompt may be, and how the two ways keep apart")
{
	static char big[65537];
	struct llm_setup s = { .size = sizeof(s), .nr_streams = 1 };
	struct llm_enter e = { .size = sizeof(e) };
	struct iovec iov[2] = { { (char *)"a ", 2 }, { (char *)"b", 1 } };
	struct writer w;
	struct client c;
	char buf[8];
	int fd;

	serve(&w);
	fd = fresh(0);
	memset(big, 'x', sizeof(big));
	CHECK_ERR(write(fd, big, sizeof(big)), EMSGSIZE);
	CHECK_ERR(write(fd, (void *)8, 5), EFAULT);
	/* the fault left nothing behind: the turn is not begun */
	CHECK_EQ(ready(fd), POLLOUT);
	CHECK_EQ(writev(fd, iov, 2), 3);
	take_prompt(&w, 1);
	CHECK(memcmp(w.v.arena, "a b", 3) == 0);
	/* the kernel is this session's client */
	CHECK_ERR(ioctl(fd, LLM_IOC_SETUP, &s), EBUSY);
	CHECK_ERR(ioctl(fd, LLM_IOC_ENTER, &e), EBUSY);
	CHECK_ERR(side_map(fd, LLM_AREA_CLIENT, 4096, PROT_READ), EBUSY);
	CHECK_ERR(lseek(fd, 0, SEEK_SET) < 0 ? -1 : 0, ESPIPE);
	say(&w, "y", LLM_ST_END, LLM_END_STOP);
	CHECK_ERR(read(fd, (void *)8, 5), EFAULT);
	CHECK_EQ(read(fd, buf, 8), 1); /* and it is still there */
	CHECK_EQ(write(fd, big, 65536), 65536);
	take_prompt(&w, 2);
	CHECK_EQ(w.e.len, 65536);
	CHECK(memcmp(w.v.arena, big, 65536) == 0);
	/* a session set up for rings has no text of its own */
	CHECK(client_open(&c) == 0);
	CHECK_ERR(write(c.fd, "x", 1), EINVAL);
	CHECK_ERR(read(c.fd, buf, 1), EINVAL);
}

KTEST(text_daemon_dies,
      "a turn outlives its daemon, and one that has none yet waits")
{
	struct writer w;
	char buf[64];
	int fd = fresh(0);

	CHECK_EQ(write(fd, "early", 5), 5); /* nobody serves */
	serve(&w);
	take_prompt(&w, 1);
	CHECK(memcmp(w.v.arena, "early", 5) == 0);
	say(&w, "half ", LLM_ST_RUNNING, 0);
	daemon_close(&w.d);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 5);
	CHECK_EQ(ready(fd), 0);
	/* the next one goes on where the log ends */
	{
		uint32_t tail = w.tail, end = w.text_end;
		struct llm_sqe e = w.e;

		view_close(&w.v);
		serve(&w);
		while (daemon_peek(&w.d) == NULL)
			CHECK(daemon_take(&w.d, 0) > 0);
		CHECK(view_open(&w.d, daemon_peek(&w.d)->session, &w.v) == 0);
		daemon_ack(&w.d);
		w.tail = tail;
		w.text_end = end;
		w.e = e;
	}
	say(&w, "whole", LLM_ST_END, LLM_END_STOP);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 5);
	CHECK(memcmp(buf, "whole", 5) == 0);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
}
