/* SPDX-License-Identifier: MIT */
/* The keeper, with a stub in the engine's place (keeper_rig.h). */
#include "tests/test.h"
#include "tests/unit/keeper_rig.h"

/* ---- one service a path ---------------------------------------------- */

TEST(a_session_is_opened_served_and_given_back)
{
	struct raw r;
	int fds, eng_fds;

	prepare();
	start();
	usleep(20000); /* those who asked whether it is ready have left */
	fds = count_fds(keeper);
	eng_fds = count_fds(sh->pid);
	CHECK_EQ(raw_open(&r, sock), 0);
	CHECK_EQ(host(&r)->session, r.su.session);
	CHECK(r.su.session != 0);
	CHECK_EQ(host(&r)->daemon, LLM_DAEMON_READY);
	CHECK_EQ(host(&r)->epoch, 1);
	/* one descriptor a session on each side: the connection */
	UNTIL(count_fds(keeper) == fds + 1);
	CHECK_EQ(count_fds(sh->pid), eng_fds + 1);
	submit(&r, 0, 5);
	UNTIL(ended(&r, 0));
	CHECK_EQ(nr_sessions(), 1);
	raw_close(&r);
	UNTIL(nr_sessions() == 0);
	UNTIL(count_fds(keeper) == fds);
	CHECK_EQ(count_fds(sh->pid), eng_fds);
	CHECK_EQ(stop_by(SIGTERM), 0);
	CHECK(access(sock, F_OK) < 0);
}

/* Whether an engine lives or not: the reply finds ENGINE filled. */
TEST(a_client_finds_the_model_told_with_the_first_reply)
{
	const struct llm_model *m;
	struct raw r;
	int i;

	prepare();
	start();
	for (i = 0; i < 20; i++) {
		if (i == 10) { /* from here on engines die as they begin */
			sh->die_early = SIGKILL;
			kill(sh->pid, SIGKILL);
		}
		CHECK_EQ(raw_open(&r, sock), 0);
		m = (const struct llm_model *)(r.engine + r.su.off_info);
		CHECK_EQ(m->vocab, 77);
		CHECK_STR((const char *)m->name, "stub");
		raw_close(&r);
	}
	sh->die_early = 0;
	UNTIL(is_ready());
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(a_second_daemon_on_the_socket_is_told_so)
{
	struct err err = { 0 };
	struct stat st;

	prepare();
	start();
	CHECK_EQ(stat(sock, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0600);
	CHECK_EQ(keeper_run(&opt, &err), -EADDRINUSE);
	CHECK(strstr(err.text, "another daemon (pid "));
	CHECK(strstr(err.text, sock));
	CHECK(is_ready()); /* the first one is as before */
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(a_dead_daemons_socket_is_replaced_and_a_file_is_not)
{
	mode_t old;
	struct stat st;
	int fd;

	prepare();
	start();
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
	CHECK_EQ(access(sock, F_OK), 0);
	old = umask(0777);
	opt.socket_mode = 0666;
	spawn();
	opt.socket_mode = 0600;
	umask(old);
	UNTIL(is_ready());
	CHECK_EQ(stat(sock, &st), 0);
	CHECK_EQ(st.st_mode & 07777, 0666); /* whatever the umask */
	CHECK_EQ(stop_by(SIGTERM), 0);
	fd = open(sock, O_CREAT | O_RDWR, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(keeper_run(&opt, &sh->err), -ENOTSOCK);
	CHECK_EQ(access(sock, F_OK), 0);
	unlink(sock);
}

TEST(an_engine_dies_with_its_keeper)
{
	siginfo_t gone = { 0 };
	pid_t engine;

	prepare();
	/* the orphan becomes ours: not every pid 1 in a container reaps */
	CHECK_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), 0);
	start();
	engine = sh->pid;
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
	keeper = 0;
	UNTIL(!waitid(P_PID, engine, &gone, WEXITED | WNOHANG | WNOWAIT) &&
	      gone.si_pid == engine);
	waitpid(engine, NULL, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0);
	unlink(sock);
}

/* ---- what an engine has ---------------------------------------------- */

TEST(an_engine_has_no_writable_host_no_memfd_and_does_not_listen)
{
	struct raw r[3];
	int i;

	prepare();
	start();
	for (i = 0; i < 3; i++)
		CHECK_EQ(raw_open(&r[i], sock), 0);
	kill(sh->pid, SIGKILL); /* the next one inherits three sessions */
	UNTIL(sh->lives == 2 && is_ready());
	CHECK_EQ(sh->host_writable, 0);
	CHECK_EQ(sh->memfds, 0);
	CHECK_EQ(sh->listeners, 0);
	for (i = 0; i < 3; i++)
		raw_close(&r[i]);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(streams_go_on_in_the_next_engine_and_the_epoch_tells)
{
	struct llm_info info;
	struct raw r;

	prepare();
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	submit(&r, 1, 200);
	UNTIL(LLM_COMMIT_TAIL(raw_peek(&r, 1)) > 5);
	kill(sh->pid, SIGKILL);
	UNTIL(ended(&r, 1));
	CHECK_EQ(LLM_COMMIT_TAIL(raw_peek(&r, 1)), 200);
	/* +1 for the loss, +1 for the start */
	CHECK_EQ(host(&r)->epoch, 3);
	CHECK_EQ(host(&r)->daemon, LLM_DAEMON_READY);
	CHECK(ask_info(&info));
	CHECK_EQ(info.restarts, 1);
	CHECK_EQ(info.epoch, 3);
	CHECK_EQ(sh->nr_blamed, 0); /* SIGKILL blames nobody */
	submit(&r, 1, 3);
	UNTIL(ended(&r, 1));
	raw_close(&r);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(a_fault_in_a_step_is_blamed_on_its_rows)
{
	struct raw r;

	prepare();
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	submit(&r, 0, 50);
	UNTIL(ended(&r, 0));
	sh->die = SIGABRT; /* the sanitizers take SIGSEGV for theirs */
	UNTIL(sh->lives == 2 && is_ready());
	CHECK_EQ(sh->nr_blamed, 1);
	CHECK_EQ(sh->blamed.session, r.su.session);
	CHECK_EQ(sh->blamed.stream, 3);
	CHECK_EQ(sh->blamed.gen, 9);
	raw_close(&r);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(a_step_that_hangs_is_ended_by_the_watchdog_and_blamed)
{
	struct raw r;

	prepare();
	sh->step_limit_ns = 100 * MS;
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	sh->hang = 1;
	UNTIL(host(&r)->epoch > 1);
	sh->hang = 0;
	UNTIL(is_ready());
	CHECK_EQ(sh->nr_blamed, 1);
	submit(&r, 0, 3);
	UNTIL(ended(&r, 0));
	raw_close(&r);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

/* ---- while the engine does not answer -------------------------------- */

/* A hello of a session whose reply is not awaited. */
static int half_open(void)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_SESSION };
	int fd = raw_connect(sock);

	h.setup.size = sizeof(h.setup);
	CHECK(fd >= 0);
	CHECK_EQ(send(fd, &h, sizeof(h), 0), sizeof(h));
	return fd;
}

TEST(a_deaf_engine_holds_up_nobody_but_who_waits_for_it)
{
	struct llm_hello_reply rep;
	struct pollfd p = { .events = POLLIN };
	struct llm_info info;
	int fd[5], i;

	prepare();
	sh->deaf = 1;
	spawn();
	UNTIL(ask_info(&info));
	CHECK_EQ(info.daemon, LLM_DAEMON_NONE);
	for (i = 0; i < 5; i++)
		fd[i] = half_open();
	UNTIL(nr_sessions() == 5);
	close(fd[0]); /* one gives up: it is held until the engine is heard */
	p.fd = fd[1];
	CHECK_EQ(poll(&p, 1, 50), 0); /* no reply yet, ... */
	CHECK(ask_info(&info));	      /* ... but the keeper answers */
	sh->deaf = 0;
	for (i = 1; i < 5; i++) {
		CHECK_EQ(recv(fd[i], &rep, sizeof(rep), MSG_WAITALL),
			 sizeof(rep));
		CHECK_EQ(rep.error, 0);
	}
	UNTIL(nr_sessions() == 4);
	for (i = 1; i < 5; i++)
		close(fd[i]);
	UNTIL(nr_sessions() == 0);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(when_it_dies_deaf_those_who_waited_are_served_by_the_next)
{
	struct llm_hello_reply rep;
	int fd, gone;

	prepare();
	start();
	kill(sh->pid, SIGSTOP);
	fd = half_open();
	gone = half_open();
	UNTIL(nr_sessions() == 2);
	close(gone);
	kill(sh->pid, SIGKILL);
	CHECK_EQ(recv(fd, &rep, sizeof(rep), MSG_WAITALL), sizeof(rep));
	CHECK_EQ(rep.error, 0);
	UNTIL(sh->lives == 2 && nr_sessions() == 1);
	close(fd);
	UNTIL(nr_sessions() == 0);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(many_sessions_may_wait_for_a_deaf_engine_at_once)
{
	struct llm_hello_reply rep;
	int fd[200], i;

	prepare();
	opt.limits.max_sessions = opt.limits.max_sessions_uid = 200;
	sh->deaf = 1;
	spawn();
	UNTIL(raw_connect(sock) >= 0);
	for (i = 0; i < 200; i++)
		fd[i] = half_open();
	UNTIL(nr_sessions() == 200);
	for (i = 0; i < 200; i += 2)
		close(fd[i]);
	sh->deaf = 0;
	for (i = 1; i < 200; i += 2) {
		CHECK_EQ(recv(fd[i], &rep, sizeof(rep), MSG_WAITALL),
			 sizeof(rep));
		CHECK_EQ(rep.error, 0);
	}
	UNTIL(nr_sessions() == 100);
	CHECK_EQ(stop_by(SIGTERM), 0);
	for (i = 1; i < 200; i += 2)
		close(fd[i]);
}

/* ---- ends ------------------------------------------------------------ */

TEST(a_model_that_fails_at_start_is_one_line_and_no_second_try)
{
	prepare();
	sh->fail = 1;
	spawn();
	CHECK_EQ(stop_by(0), 1);
	CHECK_STR(sh->err.text, "the stub has no model");
	CHECK_EQ(sh->lives, 1);
	CHECK(access(sock, F_OK) < 0);
}

TEST(a_crash_loop_ends_and_everyone_sees_it)
{
	struct raw r;
	char b;

	prepare();
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	sh->die_early = SIGABRT;
	kill(sh->pid, SIGABRT);
	CHECK_EQ(stop_by(0), 1);
	CHECK(strstr(sh->err.text, "5 engines in a row"));
	CHECK_EQ(sh->lives, 5);
	CHECK_EQ(host(&r)->daemon, LLM_DAEMON_FAILED);
	CHECK_EQ(recv(r.conn, &b, 1, 0), 0);
	raw_close(&r);
}

TEST(sigterm_lets_streams_end_and_admits_nobody)
{
	struct llm_hello_reply rep;
	struct raw r;
	int fd;

	prepare();
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	submit(&r, 0, 300);
	UNTIL(LLM_COMMIT_TAIL(raw_peek(&r, 0)) > 0);
	kill(keeper, SIGTERM);
	UNTIL(host(&r)->daemon == LLM_DAEMON_DRAINING);
	fd = hello(LLM_HELLO_SESSION, &rep, NULL, 0);
	CHECK_EQ(rep.error, -ESHUTDOWN);
	close(fd);
	CHECK_EQ(stop_by(0), 0);
	CHECK_EQ(LLM_COMMIT_TAIL(raw_peek(&r, 0)), 300);
	CHECK(ended(&r, 0));
	raw_close(&r);
}

TEST(draining_has_a_limit_and_a_second_signal_has_none)
{
	struct raw r;
	uint64_t t0;

	prepare();
	opt.drain_timeout_ns = 50 * MS;
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	submit(&r, 0, 1u << 20);
	/* begun: else it may be refused, and there is nothing to wait for */
	UNTIL(LLM_COMMIT_TAIL(raw_peek(&r, 0)) > 0);
	t0 = raw_now();
	CHECK_EQ(stop_by(SIGTERM), 0);
	CHECK(raw_now() - t0 >= 50 * MS);
	CHECK(raw_now() - t0 < 1500 * MS); /* it was asked, not killed */
	raw_close(&r);

	prepare();
	sh->stubborn = 1;
	start();
	kill(keeper, SIGINT);
	UNTIL(ask_info(&(struct llm_info){ 0 }));
	t0 = raw_now();
	CHECK_EQ(stop_by(SIGTERM), 0);
	CHECK(raw_now() - t0 < 1500 * MS);
}

TEST(an_engine_that_dies_while_it_drains_is_started_again)
{
	struct raw r;

	prepare();
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	submit(&r, 0, 400);
	UNTIL(LLM_COMMIT_TAIL(raw_peek(&r, 0)) > 0);
	kill(keeper, SIGTERM);
	UNTIL(host(&r)->daemon == LLM_DAEMON_DRAINING);
	kill(sh->pid, SIGKILL);
	CHECK_EQ(stop_by(0), 0);
	CHECK_EQ(sh->lives, 2);
	CHECK_EQ(LLM_COMMIT_TAIL(raw_peek(&r, 0)), 400);
	raw_close(&r);
}

/* ---- bounds ---------------------------------------------------------- */

TEST(a_uid_has_a_quota_of_sessions_and_of_memory)
{
	struct llm_hello_reply rep;
	int fd[6], i;

	prepare();
	opt.limits.max_sessions_uid = 3;
	start();
	for (i = 0; i < 3; i++) {
		fd[i] = hello(LLM_HELLO_SESSION, &rep, NULL, 0);
		CHECK_EQ(rep.error, 0);
	}
	fd[3] = hello(LLM_HELLO_SESSION, &rep, NULL, 0);
	CHECK_EQ(rep.error, -EDQUOT);
	CHECK(strstr((char *)rep.why, "at most 3"));
	close(fd[3]);
	close(fd[0]); /* given back at once it can be had again */
	UNTIL(nr_sessions() == 2);
	fd[0] = hello(LLM_HELLO_SESSION, &rep, NULL, 0);
	CHECK_EQ(rep.error, 0);
	for (i = 0; i < 3; i++)
		close(fd[i]);
	CHECK_EQ(stop_by(SIGTERM), 0);

	prepare(); /* a default session is 68 MiB and some pages */
	opt.limits.max_bytes_uid = 140ull << 20;
	start();
	for (i = 0; i < 2; i++) {
		fd[i] = hello(LLM_HELLO_SESSION, &rep, NULL, 0);
		CHECK_EQ(rep.error, 0);
	}
	fd[2] = hello(LLM_HELLO_SESSION, &rep, NULL, 0);
	CHECK_EQ(rep.error, -EDQUOT);
	CHECK(strstr((char *)rep.why, "bytes in 2 sessions"));
	for (i = 0; i < 3; i++)
		close(fd[i]);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(who_says_no_hello_is_refused_in_time_and_slow_ones_are_not)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = LLM_HELLO_SESSION };
	struct llm_hello_reply rep;
	const size_t part = sizeof(h) / 8;
	int silent, slow, half;
	size_t i;

	prepare();
	opt.hello_timeout_ns = 1000 * MS;
	start();
	h.setup.size = sizeof(h.setup);
	silent = raw_connect(sock);
	half = raw_connect(sock);
	slow = raw_connect(sock);
	CHECK_EQ(send(half, &h, 20, MSG_NOSIGNAL), 20);
	for (i = 0; i < sizeof(h); i += part) {
		CHECK_EQ(send(slow, (char *)&h + i, part, MSG_NOSIGNAL), part);
		usleep(500);
	}
	CHECK_EQ(recv(slow, &rep, sizeof(rep), MSG_WAITALL), sizeof(rep));
	CHECK_EQ(rep.error, 0);
	CHECK_EQ(recv(silent, &rep, sizeof(rep), MSG_WAITALL), sizeof(rep));
	CHECK_EQ(rep.error, -ETIMEDOUT);
	CHECK_EQ(recv(half, &rep, sizeof(rep), MSG_WAITALL), sizeof(rep));
	CHECK_EQ(rep.error, -ETIMEDOUT);
	CHECK_EQ(recv(half, &rep, 1, 0), 0); /* and closed */
	close(silent);
	close(half);
	close(slow);
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(a_bad_hello_is_refused_in_a_line_and_hurts_nobody)
{
	struct llm_hello_reply rep;
	int fd;

	prepare();
	start();
	fd = raw_connect(sock);
	CHECK_EQ(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	CHECK_EQ(recv(fd, &rep, sizeof(rep), MSG_WAITALL), sizeof(rep));
	CHECK_EQ(rep.error, -EBADMSG);
	CHECK(strstr((char *)rep.why, "not an llm client"));
	close(fd);
	fd = hello(77, &rep, NULL, 0);
	CHECK_EQ(rep.error, -EOPNOTSUPP);
	close(fd);
	CHECK(is_ready());
	CHECK_EQ(stop_by(SIGTERM), 0);
}

TEST(the_list_shows_ones_sessions_and_what_they_do)
{
	struct llm_session_info si[4];
	struct llm_hello_reply rep;
	struct raw r[2];
	int i, fd;

	prepare();
	start();
	for (i = 0; i < 2; i++)
		CHECK_EQ(raw_open(&r[i], sock), 0);
	submit(&r[1], 0, 7);
	submit(&r[1], 1, 1u << 20);
	UNTIL(ended(&r[1], 0));
	memset(si, 0, sizeof(si));
	fd = hello(LLM_HELLO_LIST, &rep, si, 2 * sizeof(si[0]));
	CHECK_EQ(rep.error, 0);
	CHECK_EQ(rep.nr, 2);
	CHECK_EQ(rep.elem_size, sizeof(si[0]));
	CHECK_EQ(recv(fd, &rep, 1, 0), 0); /* then closed */
	close(fd);
	for (i = 0; i < 2; i++) {
		CHECK_EQ(si[i].session, r[i].su.session);
		CHECK_EQ(si[i].uid, getuid());
		CHECK_EQ(si[i].pid, getpid());
		CHECK_EQ(si[i].streams, RAW_STREAMS);
	}
	CHECK_EQ(si[0].queued + si[0].running + si[0].ended, 0);
	CHECK_EQ(si[1].running, 1);
	CHECK_EQ(si[1].ended, 1);
	CHECK(si[1].tokens >= 7);
	for (i = 0; i < 2; i++)
		raw_close(&r[i]);
	CHECK_EQ(stop_by(SIGKILL), 128 + SIGKILL);
	unlink(sock);
}

TEST(asleep_with_sessions_open_the_keeper_uses_no_cpu)
{
	char path[64], buf[512];
	unsigned long ut, st, a = 0, b = 0;
	struct raw r;
	int i;

	prepare();
	start();
	CHECK_EQ(raw_open(&r, sock), 0);
	snprintf(path, sizeof(path), "/proc/%d/schedstat", keeper);
	for (i = 0; i < 2; i++) {
		FILE *f = fopen(path, "re");

		CHECK(f && fgets(buf, sizeof(buf), f));
		CHECK_EQ(sscanf(buf, "%lu %lu", &ut, &st), 2);
		fclose(f);
		*(i ? &b : &a) = ut; /* ns on a CPU */
		if (!i)
			sleep(1);
	}
	CHECK(b - a < 1000000); /* 10 ms in 10 s */
	raw_close(&r);
	CHECK_EQ(stop_by(SIGTERM), 0);
}
