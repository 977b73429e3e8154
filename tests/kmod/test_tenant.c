// SPDX-License-Identifier: MIT
/*
 * Who is charged: tenants by cgroup and by user namespace.  What a tenant is
 * is said once, at load: each test loads the module anew and puts the usual
 * one back.
 */
#include "host.h"
#include "kt.h"
#include "nl.h"
#include "side.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <linux/llm_netlink.h>

#define GROUPS "/sys/fs/cgroup/"

/* @body in a process of its own, under a module that counts by @policy. */
static void under(const char *policy, void (*body)(void))
{
	char args[32];
	int status;
	pid_t pid;

	snprintf(args, sizeof(args), "tenant=%s", policy);
	CHECK(host_unload());
	CHECK(host_insmod("/llm.ko", args) == 0);
	chmod("/dev/llm", 0666);
	pid = fork();
	if (!pid) {
		body();
		fflush(stdout);
		_exit(0);
	}
	status = side_wait(pid);
	CHECK(host_unload());
	CHECK(host_insmod("/llm.ko", "") == 0);
	CHECK_EQ(status, 0);
}

static void take_policy(void *arg, const struct nlmsghdr *h)
{
	const struct nlattr *a = nl_attr(h, LLM_A_DAEMON_TENANTS_BY);

	if (a)
		snprintf(arg, 16, "%s", (const char *)a + NLA_HDRLEN);
}

static bool counts_by(struct nl *n, const char *policy)
{
	char says[16] = "";

	nl_begin(n, LLM_CMD_DAEMON_GET, NLM_F_ACK);
	CHECK(nl_talk(n, take_policy, says, NULL) == 0);
	return strcmp(says, policy) == 0;
}

/* ---- processes that hold one session each */

struct guest {
	pid_t pid;
	int go;	      /* closed: it leaves */
	uint64_t key; /* of its user namespace and user */
};

/* The number of this process' user namespace. */
static uint64_t my_namespace(void)
{
	struct stat st;

	CHECK(stat("/proc/self/ns/user", &st) == 0);
	return st.st_ino;
}

/*
 * A process of user @uid in the cgroup @group (NULL: ours), @apart: as root of
 * a user namespace of its own.  0 once it has a session, or the errno.
 */
static int guest(struct guest *g, const char *group, unsigned uid, bool apart)
{
	struct {
		uint64_t ns;
		int err;
	} said;
	int say[2], go[2];

	CHECK(pipe2(say, O_CLOEXEC) == 0 && pipe2(go, O_CLOEXEC) == 0);
	g->pid = fork();
	if (!g->pid) {
		char path[64];
		struct client c;

		close(go[1]);
		snprintf(path, sizeof(path), GROUPS "%s/cgroup.procs",
			 group ? group : ".");
		CHECK(host_put(path, "0"));
		if (apart)
			side_as_root_of_a_namespace(uid);
		else
			side_as_uid(uid);
		said.ns = my_namespace();
		said.err = client_open(&c) ? errno : 0;
		CHECK(write(say[1], &said, sizeof(said)) == sizeof(said));
		(void)!read(go[0], path, 1);
		_exit(0);
	}
	close(say[1]);
	close(go[0]);
	g->go = go[1];
	CHECK(read(say[0], &said, sizeof(said)) == sizeof(said));
	close(say[0]);
	g->key = said.ns << 32 | uid;
	return said.err;
}

/* All ends first: who was forked later holds those of the earlier ones too. */
static void leave(struct guest *g, int nr)
{
	int i;

	for (i = 0; i < nr; i++)
		close(g[i].go);
	for (i = 0; i < nr; i++)
		CHECK_EQ(side_wait(g[i].pid), 0);
}

/* ---- what one who is nobody sees and may */

struct own {
	uint64_t key; /* the tenant that is his */
	uint32_t nr;
};

static void only(void *arg, const struct nlmsghdr *h)
{
	struct own *o = arg;

	CHECK(nl_u64(h, LLM_A_TENANT_KEY) == o->key);
	o->nr++;
}

static void only_sessions(void *arg, const struct nlmsghdr *h)
{
	struct own *o = arg;

	CHECK(nl_u64(h, LLM_A_SESSION_TENANT) == o->key);
	o->nr++;
}

/*
 * Of tenants @mine with @sessions and @other he sees the first, and changes
 * none; the other one is refused with @err.
 */
static void sees_only(uint64_t mine, uint32_t sessions, uint64_t other, int err)
{
	struct own o = { .key = mine };
	struct nl n;

	CHECK(nl_open(&n) == 0);
	CHECK(nl_look(&n, mine).key == mine);
	CHECK_EQ(nl_look(&n, mine).sessions, sessions);
	CHECK_ERR(nl_on_tenant(&n, LLM_CMD_TENANT_GET, other, NULL, NULL), err);
	CHECK_ERR(nl_set32(&n, mine, LLM_A_TENANT_WEIGHT, 7), EPERM);
	CHECK_ERR(nl_reset(&n, mine), EPERM);
	nl_begin(&n, LLM_CMD_TENANT_GET, NLM_F_DUMP);
	CHECK(nl_talk(&n, only, &o, NULL) == 0);
	CHECK_EQ(o.nr, 1);
	o.nr = 0;
	nl_begin(&n, LLM_CMD_SESSION_GET, NLM_F_DUMP);
	CHECK(nl_talk(&n, only_sessions, &o, NULL) == 0);
	CHECK_EQ(o.nr, sessions);
	nl_close(&n);
}

/* The tenant that stands beside the next session in the work ring. */
static uint64_t next_open(struct daemon *d)
{
	const struct llmd_work *w;
	uint64_t tenant;

	CHECK(daemon_take(d, ~0ull) > 0);
	w = daemon_peek(d);
	CHECK(w && w->kind == LLMD_WORK_OPEN);
	tenant = w->tenant;
	daemon_ack(d);
	return tenant;
}

/* ---- by cgroup */

static uint64_t group(const char *name)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), GROUPS "%s", name);
	CHECK(mkdir(path, 0755) == 0);
	CHECK(stat(path, &st) == 0);
	return st.st_ino;
}

/* Processes take a moment to be gone from their group. */
static void ungroup(const char *name)
{
	char path[64];
	int i;

	snprintf(path, sizeof(path), GROUPS "%s", name);
	for (i = 0; i < 200 && rmdir(path); i++)
		usleep(20000);
	CHECK(i < 200);
}

static void by_cgroup(void)
{
	uint64_t a = group("a"), b = group("b");
	struct guest g[4];
	struct daemon d;
	char text[32];
	struct nl n;
	pid_t pid;

	CHECK(nl_open(&n) == 0);
	CHECK(counts_by(&n, "cgroup"));
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(nl_set32(&n, a, LLM_A_TENANT_MAX_SESSIONS, 2) == 0);
	CHECK(nl_set32(&n, a, LLM_A_TENANT_WEIGHT, 5) == 0);
	/* several users are one tenant, one user may be several */
	CHECK_EQ(guest(&g[0], "a", 1000, false), 0);
	CHECK(next_open(&d) == a);
	CHECK_EQ(guest(&g[1], "a", 1001, true), 0);
	CHECK(next_open(&d) == a);
	CHECK_EQ(guest(&g[2], "a", 1002, false), EDQUOT);
	CHECK_EQ(guest(&g[3], "b", 1000, false), 0);
	CHECK(next_open(&d) == b);
	CHECK_EQ(nl_look(&n, a).sessions, 2);
	CHECK_EQ(nl_look(&n, a).refused, 1);
	CHECK_EQ(nl_look(&n, b).sessions, 1);
	CHECK_EQ(nl_look(&n, b).set, 0);

	/* who goes elsewhere leaves his session where it was opened */
	snprintf(text, sizeof(text), "%d", g[0].pid);
	CHECK(host_put(GROUPS "b/cgroup.procs", text));
	CHECK_EQ(nl_look(&n, a).sessions, 2);
	CHECK_EQ(nl_look(&n, b).sessions, 1);

	pid = fork();
	if (!pid) {
		CHECK(host_put(GROUPS "a/cgroup.procs", "0"));
		side_as_uid(1003);
		sees_only(a, 2, b, EPERM);
		_exit(0);
	}
	CHECK_EQ(side_wait(pid), 0);
	CHECK_EQ(nl_look(&n, a).weight, 5);
	leave(g, 4);
	daemon_close(&d);
	ungroup("a");
	ungroup("b");
	/* the limits stay where an administrator set them */
	while (nl_look(&n, a).sessions)
		usleep(10000);
	CHECK_EQ(nl_look(&n, a).weight, 5);
	CHECK(nl_reset(&n, a) == 0);
	nl_close(&n);
}

KTEST(tenant_cgroup, "tenants by cgroup: all in it share, elsewhere is another")
{
	under("cgroup", by_cgroup);
}

/* ---- by user namespace */

static void by_namespace(void)
{
	uint64_t host = my_namespace() << 32 | 1000;
	struct guest g[3];
	struct daemon d;
	struct nl n;
	pid_t pid;

	CHECK(nl_open(&n) == 0);
	CHECK(counts_by(&n, "userns"));
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(nl_set32(&n, host, LLM_A_TENANT_MAX_SESSIONS, 1) == 0);
	CHECK_EQ(guest(&g[0], NULL, 1000, false), 0);
	CHECK(g[0].key == host);
	CHECK(next_open(&d) == host);
	/* the same user in a namespace of its own is another tenant */
	CHECK_EQ(guest(&g[1], NULL, 1000, true), 0);
	CHECK(g[1].key != host);
	CHECK(next_open(&d) == g[1].key);
	CHECK_EQ(guest(&g[2], NULL, 1000, false), EDQUOT);
	CHECK_EQ(nl_look(&n, host).sessions, 1);
	CHECK_EQ(nl_look(&n, g[1].key).sessions, 1);
	CHECK_EQ(nl_look(&n, g[1].key).set, 0);

	pid = fork();
	if (!pid) {
		struct client c;
		uint64_t mine;

		side_as_root_of_a_namespace(1000);
		mine = my_namespace() << 32 | 1000;
		CHECK(client_open(&c) == 0);
		sees_only(mine, 1, host, EPERM);
		sees_only(mine, 1, g[1].key, EPERM);
		_exit(0);
	}
	CHECK_EQ(side_wait(pid), 0);
	leave(g, 3);
	CHECK(nl_reset(&n, host) == 0);
	daemon_close(&d);
	nl_close(&n);
}

KTEST(tenant_userns,
      "tenants by user namespace: the same user in another is another")
{
	under("userns", by_namespace);
}

KTEST(tenant_policy, "what a tenant is must be known, and stays as it was said")
{
	struct nl n;
	int err;

	CHECK(nl_open(&n) == 0);
	CHECK(counts_by(&n, "uid"));
	nl_close(&n);
	CHECK(!host_put("/sys/module/llm/parameters/tenant", "cgroup"));
	CHECK(host_unload());
	err = host_insmod("/llm.ko", "tenant=group") ? errno : 0;
	CHECK(host_insmod("/llm.ko", "") == 0 || !err);
	CHECK_EQ(err, EINVAL);
}

/* ---- root of a user namespace, where tenants are users */

KTEST(tenant_ns_root,
      "root of a user namespace may not serve, end sessions, nor see others'")
{
	struct client c, theirs;
	struct stat llmd;
	struct nl n;
	pid_t pid;

	CHECK(stat("/dev/llmd", &llmd) == 0);
	chmod("/dev/llm", 0666);
	chmod("/dev/llmd", 0666);
	CHECK(client_open(&c) == 0);
	pid = fork();
	if (!pid) {
		side_as_root_of_a_namespace(1000);
		CHECK_ERR(open("/dev/llmd", O_RDWR | O_CLOEXEC), EPERM);
		CHECK(client_open(&theirs) == 0);
		CHECK(nl_open(&n) == 0);
		nl_begin(&n, LLM_CMD_SESSION_KILL, NLM_F_ACK);
		nl_put64(&n, LLM_A_SESSION_ID, c.lay.session);
		CHECK_ERR(nl_talk(&n, NULL, NULL, NULL), EPERM);
		/* nor its own */
		nl_begin(&n, LLM_CMD_SESSION_KILL, NLM_F_ACK);
		nl_put64(&n, LLM_A_SESSION_ID, theirs.lay.session);
		CHECK_ERR(nl_talk(&n, NULL, NULL, NULL), EPERM);
		if (kt_kernel() >= 607)
			CHECK_ERR(nl_join(&n), EPERM);
		sees_only(0, 1, 1, EINVAL);
		_exit(0);
	}
	CHECK_EQ(side_wait(pid), 0);
	CHECK(c.host->daemon != LLM_DAEMON_FAILED);
	chmod("/dev/llmd", llmd.st_mode & 07777);
	client_close(&c);
}
