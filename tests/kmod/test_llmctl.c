// SPDX-License-Identifier: MIT
/* llmctl, the program itself, over netlink. */
#include "host.h"
#include "kt.h"
#include "side.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char out[16384], said[1024];

static void slurp(int fd, char *buf, size_t size)
{
	size_t n = 0;
	ssize_t r;

	while (n < size - 1 && (r = read(fd, buf + n, size - 1 - n)) > 0)
		n += (size_t)r;
	buf[n] = 0;
	close(fd);
}

/* Run it with the words of @line, as @uid; its exit status, out and said. */
static int ctl(unsigned uid, const char *line)
{
	char words[256], *av[20] = { "llmctl", NULL }, *w;
	int o[2], e[2], n = 1;
	pid_t pid;

	snprintf(words, sizeof(words), "%s", line);
	for (w = strtok(words, " "); w && n < 19; w = strtok(NULL, " "))
		av[n++] = w;
	CHECK(pipe(o) == 0 && pipe(e) == 0);
	pid = fork();
	if (!pid) {
		if (uid)
			side_as_uid(uid);
		dup2(o[1], 1);
		dup2(e[1], 2);
		close(o[0]);
		close(e[0]);
		execv("/llmctl", av);
		_exit(98);
	}
	close(o[1]);
	close(e[1]);
	slurp(o[0], out, sizeof(out));
	slurp(e[0], said, sizeof(said));
	return side_wait(pid);
}

#define SAYS(uid, line, status, text)                                          \
	do {                                                                   \
		int r_ = ctl(uid, line);                                       \
		if (r_ != (status) || !strstr(*out ? out : said, text))        \
			kt_fail(__FILE__, __LINE__, "%s: %d, \"%s\" \"%s\"",   \
				line, r_, out, said);                          \
	} while (0)

KTEST(ctl_tenants, "llmctl sets limits of the module, and shows them")
{
	struct client c, more;

	CHECK(client_open(&c) == 0);
	SAYS(0, "-j tenant list", 0,
	     "[{\"tenant\":0,\"set\":[],\"weight\":100,"
	     "\"class\":\"interactive\",\"max_sessions\":256,");
	CHECK(strstr(out, "\"sessions\":1,\"streams\":8,\"inflight\":0,"));
	CHECK(strstr(out, "\"refused\":0,\"tokens\":null}]"));
	SAYS(0, "tenant set 0 sessions 1 weight 300 memory 64M token-rate 90",
	     0, "TENANT");
	CHECK(strstr(out, "0*") && strstr(out, "1/1") && strstr(out, "/64M"));
	CHECK_ERR(client_open(&more), EDQUOT);
	SAYS(0, "-j tenant show 0", 0,
	     "\"set\":[\"weight\",\"sessions\",\"memory\",\"token-rate\"]");
	CHECK(strstr(out, "\"refused\":1"));
	SAYS(0, "tenant reset 0", 0, "");
	CHECK(client_open(&more) == 0);
	client_close(&more);
	/* nobody is limited to nothing by a mistake of units */
	SAYS(0, "tenant set 5 sessions none streams none inflight none", 0,
	     "TENANT");
	SAYS(0, "-j tenant show 5", 0,
	     "\"max_sessions\":null,\"max_streams\":null,"
	     "\"max_inflight\":null");
	SAYS(0, "tenant reset 5", 0, "");
	SAYS(0, "tenant show 5", 1, "neither sessions nor limits");
	client_close(&c);
}

KTEST(ctl_refused,
      "llmctl says in the kernel's words why not, and exits 3 where one may not")
{
	SAYS(1000, "tenant set 1000 weight 5", 3, "CAP_SYS_ADMIN");
	SAYS(1000, "tenant reset 1000", 3, "CAP_SYS_ADMIN");
	SAYS(1000, "session kill 5", 3, "CAP_SYS_ADMIN");
	SAYS(1000, "tenant show 0", 3, "not yours");
	SAYS(1000, "-j tenant list", 0, "[]\n");
	SAYS(0, "session kill 4243", 1, "no such session");
	SAYS(0, "tenant reset 4243", 1, "no limits of its own");
	SAYS(0, "tenant set 4294967296 weight 5", 1, "none of your user");
	SAYS(0, "--socket /none tenant list", 4, "no llmd at /none");
	if (kt_kernel() >= 607)
		SAYS(1000, "monitor", 3, "CAP_SYS_ADMIN");
}

KTEST(ctl_sessions, "llmctl lists and kills sessions, and shows the daemon")
{
	struct client c;
	struct daemon d;
	char line[64];

	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(client_open(&c) == 0);
	snprintf(line, sizeof(line), "[{\"session\":%llu,\"tenant\":0,",
		 (unsigned long long)c.lay.session);
	SAYS(0, "-j session list", 0, line);
	SAYS(0, "session list", 0, "SESSION");
	SAYS(0, "-j engine show", 0,
	     "{\"carrier\":\"device\",\"state\":\"ready\",\"epoch\":");
	SAYS(0, "-j stat", 0, "{\"sessions\":1,\"tenants\":1,");
	SAYS(0, "top -n 1", 0, "llm: ready, epoch ");
	snprintf(line, sizeof(line), "session kill %llu",
		 (unsigned long long)c.lay.session);
	SAYS(0, line, 0, "");
	CHECK_EQ(c.host->daemon, LLM_DAEMON_FAILED);
	client_close(&c);
	daemon_close(&d);
	SAYS(0, "engine show", 0, "none");
}

KTEST(ctl_monitor, "llmctl prints what happens, an object a line")
{
	static char seen[16384];
	size_t n = 0;
	ssize_t r;
	int o[2], i;
	pid_t pid;

	CHECK(pipe(o) == 0);
	pid = fork();
	if (!pid) {
		dup2(o[1], 1);
		close(o[0]);
		execl("/llmctl", "llmctl", "-j", "monitor", NULL);
		_exit(98);
	}
	close(o[1]);
	fcntl(o[0], F_SETFL, O_NONBLOCK);
	/* again and again, for nobody knows when it has joined the group */
	for (i = 0; i < 300 && !strstr(seen, "\"kill\""); i++) {
		struct client c;
		char line[64];

		CHECK(client_open(&c) == 0);
		snprintf(line, sizeof(line), "session kill %llu",
			 (unsigned long long)c.lay.session);
		CHECK_EQ(ctl(0, line), 0);
		client_close(&c);
		usleep(20000);
		while ((r = read(o[0], seen + n, sizeof(seen) - 1 - n)) > 0)
			n += (size_t)r;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	CHECK(strstr(seen, "{\"event\":\"kill\",\"time_ms\":"));
	CHECK(strstr(seen, ",\"tenant\":0,\"session\":"));
	CHECK_EQ(seen[n - 1], '\n');
}
