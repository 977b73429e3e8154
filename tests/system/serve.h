/* SPDX-License-Identifier: MIT */
/*
 * serve.h - start an llmd for a test, find its engine, stop it.  One a struct;
 * the socket lies in a fresh folder under /tmp.  LLM_CARRIER=device in the
 * environment: it serves the kernel module instead, whose node stands for the
 * socket everywhere.
 */
#ifndef SERVE_H
#define SERVE_H

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct serve {
	pid_t pid;
	char dir[64], sock[80], log[80];
};

static inline const char *serve_build(void)
{
	const char *b = getenv("LLM_BUILD");

	return b ? b : "build";
}

static inline bool serve_device(void)
{
	const char *c = getenv("LLM_CARRIER");

	return c && !strcmp(c, "device");
}

/* LLM_SLOW: how many times slower than a processor this one may be. */
static inline unsigned serve_slow(void)
{
	const char *n = getenv("LLM_SLOW");

	return n && atoi(n) > 0 ? (unsigned)atoi(n) : 1;
}

/* The child of @pid whose comm is llmd-engine; 0: none now. */
static inline pid_t serve_engine(pid_t pid)
{
	char path[64], comm[32] = "";
	FILE *f;
	int kid, found = 0;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	while (!found && fscanf(f, "%d", &kid) == 1) {
		FILE *c;

		snprintf(path, sizeof(path), "/proc/%d/comm", kid);
		c = fopen(path, "re");
		if (!c)
			continue;
		if (fscanf(c, "%31s", comm) == 1 &&
		    !strcmp(comm, "llmd-engine"))
			found = kid;
		fclose(c);
	}
	fclose(f);
	return found;
}

static inline void serve_msleep(int ms)
{
	struct timespec t = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&t, NULL);
}

/* Stop it: SIGTERM, then patience, then SIGKILL.  Its exit status. */
static inline int serve_stop(struct serve *s)
{
	int st = -1, i;
	char cmd[128];

	if (s->pid > 0) {
		kill(s->pid, SIGTERM);
		for (i = 0; i < 3000 && waitpid(s->pid, &st, WNOHANG) == 0; i++)
			serve_msleep(10);
		if (i == 3000) {
			kill(s->pid, SIGKILL);
			waitpid(s->pid, &st, 0);
		}
	}
	s->pid = 0;
	if (!serve_device())
		unlink(s->sock);
	unlink(s->log);
	snprintf(cmd, sizeof(cmd), "%s", s->dir);
	rmdir(cmd);
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

/*
 * Run @binary (under the build folder) with @args (NULL-terminated; the carrier
 * is added) and wait until the log says "ready".  0, or -1 when it ended or
 * 30 s passed: the end of its log goes to stdout.
 */
static inline int serve_start(struct serve *s, const char *binary,
			      const char *const *args)
{
	const char *av[40];
	char path[256], line[256];
	int n = 0, i, st;
	FILE *f;

	memset(s, 0, sizeof(*s));
	snprintf(s->dir, sizeof(s->dir), "/tmp/llm-test-XXXXXX");
	if (!mkdtemp(s->dir))
		return -1;
	if (serve_device())
		snprintf(s->sock, sizeof(s->sock), "/dev/llm");
	else
		snprintf(s->sock, sizeof(s->sock), "%s/s", s->dir);
	snprintf(s->log, sizeof(s->log), "%s/log", s->dir);
	snprintf(path, sizeof(path), "%s/%s", serve_build(), binary);
	av[n++] = path;
	for (i = 0; args[i] && n < 36; i++)
		av[n++] = args[i];
	av[n++] = serve_device() ? "--device" : "--socket";
	av[n++] = serve_device() ? "/dev/llmd" : s->sock;
	av[n] = NULL;
	s->pid = fork();
	if (s->pid == 0) {
		int fd = open(s->log, O_CREAT | O_WRONLY | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		dup2(fd, 1);
		dup2(fd, 2);
		execv(path, (char *const *)av);
		_exit(127);
	}
	for (i = 0; i < 3000; i++) {
		f = fopen(s->log, "re");
		while (f && fgets(line, sizeof(line), f))
			if (strstr(line, "ready")) {
				fclose(f);
				return 0;
			}
		if (f)
			fclose(f);
		if (waitpid(s->pid, &st, WNOHANG) == s->pid)
			break;
		serve_msleep(10);
	}
	f = fopen(s->log, "re");
	while (f && fgets(line, sizeof(line), f))
		printf("# llmd: %s", line);
	if (f)
		fclose(f);
	if (i == 3000)
		kill(s->pid, SIGKILL);
	s->pid = 0;
	return -1;
}

#endif
