/* SPDX-License-Identifier: MIT */
/* llmctl - administer the service.  A table of objects and a loop. */
#include "tools/ctl.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct ctl_command objects[] = {
	{ "tenant", ctl_tenant, "list | show | set | reset",
	  "who is charged, and what each may have" },
	{ "session", ctl_session, "list | kill", "clients that are there" },
	{ "engine", ctl_engine, "show", "who computes" },
	{ "stat", ctl_stat, "", "counters of the whole" },
	{ "monitor", ctl_monitor, "", "what happens, as it happens" },
	{ "top", ctl_top, "[-n ROUNDS] [-d SECONDS]",
	  "the busiest tenants, again and again; q ends it" },
};
#define NR_OBJECTS (sizeof(objects) / sizeof(*objects))

static int usage(void)
{
	char left[64];
	size_t i;

	printf("usage: llmctl [OPTIONS] OBJECT COMMAND ...\n\n");
	for (i = 0; i < NR_OBJECTS; i++) {
		snprintf(left, sizeof(left), "%s %s", objects[i].name,
			 objects[i].args);
		printf("  %-34s %s\n", left, objects[i].about);
	}
	printf("\n"
	       "  -j, --json        JSON instead of tables\n"
	       "  -n, --numeric     numbers of users, not their names\n"
	       "  --socket PATH     the service there, not the module\n"
	       "  --version\n\n"
	       "llmctl OBJECT help has the commands.  "
#ifdef HAVE_LIBNL
	       "The module is asked where /dev/llm is,\n"
	       "else the service's socket.\n");
#else
	       "Built without libnl: speaks to\nthe service's socket only.\n");
#endif
	return EXIT_OK;
}

/* The module where it is and nothing else was named; else the socket. */
static int choose_carrier(struct ctl *c)
{
	const char *env = getenv("LLM_SOCKET");

	c->carrier = &ctl_sock;
#ifdef HAVE_LIBNL
	if (!c->socket && !(env && *env) && !access("/dev/llm", F_OK)) {
		c->carrier = &ctl_nl;
		if (!c->carrier->open(c))
			return 0;
		c->carrier = &ctl_sock; /* a module without its family */
	}
#else
	if (!c->socket && !(env && *env) && !access("/dev/llm", F_OK))
		fprintf(stderr, "llmctl: built without libnl: asks the socket, "
				"not the module of /dev/llm\n");
#endif
	return c->carrier->open(c);
}

/* Options before the object; how many words they took, or -EXIT_*. */
static int options(struct ctl *c, int argc, char **argv)
{
	int i;

	for (i = 1; i < argc && *argv[i] == '-'; i++) {
		if (!strcmp(argv[i], "-j") || !strcmp(argv[i], "--json")) {
			c->json = true;
		} else if (!strcmp(argv[i], "-n") ||
			   !strcmp(argv[i], "--numeric")) {
			c->numeric = true;
		} else if (!strncmp(argv[i], "--socket=", 9)) {
			c->socket = argv[i] + 9;
		} else if (!strcmp(argv[i], "--socket") && i + 1 < argc) {
			c->socket = argv[++i];
		} else if (!strcmp(argv[i], "--socket")) {
			return -ctl_fail(EXIT_USAGE, "--socket wants a path");
		} else if (strcmp(argv[i], "-h") && strcmp(argv[i], "--help") &&
			   strcmp(argv[i], "--version")) {
			return -ctl_fail(EXIT_USAGE,
					 "unknown option %.60s; llmctl --help "
					 "lists them",
					 argv[i]);
		} else {
			break;
		}
	}
	return i;
}

int main(int argc, char **argv)
{
	struct ctl c = { 0 };
	int i, ret;
	size_t k;

	signal(SIGPIPE, SIG_DFL);
	i = options(&c, argc, argv);
	if (i < 0)
		return -i;
	if (i == argc)
		return ctl_fail(EXIT_USAGE,
				"no object; llmctl --help lists them");
	if (!strcmp(argv[i], "--version")) {
		printf("llmctl %s\n", llmc_version());
		return EXIT_OK;
	}
	if (!strcmp(argv[i], "-h") || !strcmp(argv[i], "--help") ||
	    !strcmp(argv[i], "help"))
		return usage();
	for (k = 0; k < NR_OBJECTS && strcmp(objects[k].name, argv[i]); k++)
		;
	if (k == NR_OBJECTS)
		return ctl_fail(EXIT_USAGE,
				"unknown object \"%.60s\"; llmctl --help lists "
				"them",
				argv[i]);
	if (choose_carrier(&c))
		return ctl_fail(EXIT_FAILED, "%s", c.why);
	ret = objects[k].run(&c, argc - i - 1, argv + i + 1);
	c.carrier->close(&c);
	if (fflush(stdout) || ferror(stdout))
		ret = ctl_fail(EXIT_FAILED, "cannot write the answer");
	return ret;
}
