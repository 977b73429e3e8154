/* SPDX-License-Identifier: MIT */
/* ctl_watch.c - llmctl monitor, llmctl top: what goes on. */
#include "tools/ctl.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

/* ---- monitor ----------------------------------------------------------- */

static void print_event(const struct ctl *c, const struct llm_event_info *e)
{
	time_t s = (time_t)(e->time_ns / 1000000000);
	struct tm tm;
	char when[16], b[40];

	localtime_r(&s, &tm);
	strftime(when, sizeof(when), "%H:%M:%S", &tm);
	printf("%s.%03u ", when, (unsigned)(e->time_ns / 1000000 % 1000));
	if (e->lost)
		printf("(%u events lost) ", e->lost);
	switch (e->kind) {
	case LLM_EV_DAEMON:
		printf("daemon %s, epoch %u\n", ctl_daemon_name(e->daemon),
		       e->epoch);
		break;
	case LLM_EV_TENANT:
		printf("tenant %s: settings changed\n",
		       ctl_who_text(c, e->tenant, b));
		break;
	case LLM_EV_QUOTA:
		printf("tenant %s: limit met", ctl_who_text(c, e->tenant, b));
		if (e->limit)
			printf(", %s", ctl_limit_name(e->limit));
		if (e->count > 1)
			printf(", %u times", e->count);
		putchar('\n');
		break;
	case LLM_EV_OPEN:
	case LLM_EV_CLOSE:
	case LLM_EV_KILL:
		printf("session %llu of tenant %s: %s\n",
		       (unsigned long long)e->session,
		       ctl_who_text(c, e->tenant, b),
		       e->kind == LLM_EV_OPEN	 ? "opened"
		       : e->kind == LLM_EV_CLOSE ? "closed"
						 : "killed");
		break;
	default:
		printf("event %u\n", e->kind);
	}
	fflush(stdout);
}

static bool on_event(void *arg, const struct llm_event_info *e)
{
	const struct ctl *c = arg;

	if (c->json)
		ctl_json_print(ctl_event_json(e));
	else
		print_event(c, e);
	return !ferror(stdout);
}

int ctl_monitor(struct ctl *c, int nr, char **words)
{
	int ret = ctl_end_of_words(nr, words);

	if (ret)
		return ret;
	ret = c->carrier->monitor(c, on_event, c);
	return ret ? ctl_error(c, ret) : EXIT_OK;
}

/* ---- top --------------------------------------------------------------- */

static volatile sig_atomic_t stop;

static void on_signal(int sig)
{
	(void)sig;
	stop = 1;
}

/* What a screen shows, and the one before it, for what goes by a second. */
struct screen {
	uint64_t at_ns;
	struct ctl_service service;
	struct llm_tenant_info *tenant; /* owned: [nr] */
	uint32_t nr;
};

static int look(struct ctl *c, struct screen *s)
{
	struct timespec t;
	int ret = c->carrier->service(c, &s->service);

	if (!ret)
		ret = c->carrier->tenants(c, &s->tenant, &s->nr);
	clock_gettime(CLOCK_MONOTONIC, &t);
	s->at_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
	return ret;
}

static double per_second(uint64_t now, uint64_t before, uint64_t ns)
{
	return now > before && ns ? (double)(now - before) * 1e9 / (double)ns
				  : 0;
}

static const struct llm_tenant_info *was(const struct screen *s, uint64_t key)
{
	uint32_t i;

	for (i = 0; i < s->nr; i++)
		if (s->tenant[i].tenant == key)
			return &s->tenant[i];
	return NULL;
}

/* The busiest first: what is in flight, then what was ever computed. */
static int by_load(const void *a, const void *b)
{
	const struct llm_tenant_info *x = a, *y = b;

	if (x->inflight != y->inflight)
		return x->inflight > y->inflight ? -1 : 1;
	if (x->tokens != y->tokens)
		return x->tokens > y->tokens ? -1 : 1;
	return x->tenant < y->tenant ? -1 : x->tenant > y->tenant;
}

static void draw_head(const struct screen *s, const struct screen *old,
		      uint64_t ns)
{
	const struct llm_info *i = &s->service.info, *o = &old->service.info;

	printf("llm: %s, epoch %u, %u sessions, %u tenants",
	       ctl_daemon_name(i->daemon), i->epoch, i->nr_sessions, s->nr);
	if (!s->service.has_engine) {
		printf("\n%.1f requests/s\n\n",
		       per_second(s->service.submitted, old->service.submitted,
				  ns));
		return;
	}
	printf("; %s\n%u running, %u waiting; %.1f requests/s, %.1f tokens/s; "
	       "KV %u of %u blocks\n\n",
	       (const char *)i->model.name, i->running, i->waiting,
	       per_second(i->requests, o->requests, ns),
	       per_second(i->tokens_out, o->tokens_out, ns), i->kv_used,
	       i->kv_blocks);
}

static void draw(const struct ctl *c, struct screen *s,
		 const struct screen *old)
{
	static const char *const titles[] = { "-TENANT",  "WEIGHT",  "SESSIONS",
					      "INFLIGHT", "MEMORY",  "REQ/S",
					      "TOK/S",	  "REFUSED", "TOKENS",
					      NULL };
	uint64_t ns = old->at_ns ? s->at_ns - old->at_ns : 0;
	struct ctl_table t;
	char b[40];
	uint32_t i;

	qsort(s->tenant, s->nr, sizeof(*s->tenant), by_load);
	draw_head(s, old, ns);
	ctl_table_init(&t, titles);
	for (i = 0; i < s->nr; i++) {
		const struct llm_tenant_info *x = &s->tenant[i];
		const struct llm_tenant_info *o = was(old, x->tenant);

		if (!o)
			o = x;
		ctl_table_add(&t, "%s", ctl_who_text(c, x->tenant, b));
		ctl_table_add(&t, "%u", x->weight);
		ctl_table_add(&t, "%u", x->sessions);
		ctl_table_add(&t, "%u%s", x->inflight, x->throttled ? "!" : "");
		ctl_table_add(&t, "%s", ctl_size_text(x->memory, b));
		ctl_table_add(&t, "%.1f",
			      per_second(x->submitted, o->submitted, ns));
		ctl_table_add(&t, "%.1f", per_second(x->tokens, o->tokens, ns));
		ctl_table_add(&t, "%llu", (unsigned long long)x->refused);
		if (x->tokens == UINT64_MAX) /* the module does not know */
			ctl_table_add(&t, "-");
		else
			ctl_table_add(&t, "%llu",
				      (unsigned long long)x->tokens);
	}
	ctl_table_print(&t);
	fflush(stdout);
}

/* True: the user wants no more. */
static bool pause_for(unsigned seconds, bool keys)
{
	struct pollfd p = { STDIN_FILENO, POLLIN, 0 };
	char key;

	if (poll(&p, keys ? 1 : 0, (int)seconds * 1000) <= 0)
		return stop;
	return read(STDIN_FILENO, &key, 1) != 1 || key == 'q' || key == 3;
}

static int top_loop(struct ctl *c, uint64_t rounds, unsigned delay, bool screen)
{
	struct screen now = { 0 }, old = { 0 };
	uint64_t i;
	int ret = 0;

	for (i = 0; !stop && (!rounds || i < rounds); i++) {
		if (i && pause_for(delay, screen))
			break;
		now = (struct screen){ 0 };
		ret = look(c, &now);
		if (ret)
			break;
		if (screen)
			fputs("\033[H\033[2J", stdout);
		else if (i)
			putchar('\n');
		draw(c, &now, &old);
		free(old.tenant);
		old = now;
	}
	free(old.tenant);
	return ret ? ctl_error(c, ret) : EXIT_OK;
}

int ctl_top(struct ctl *c, int nr, char **words)
{
	struct sigaction sa = { .sa_handler = on_signal };
	struct termios was_so, raw;
	uint64_t rounds = 0, delay = 2;
	bool screen;
	int ret;

	for (; nr; nr -= 2, words += 2) {
		bool is_n = !strcmp(words[0], "-n");

		if (!is_n && strcmp(words[0], "-d"))
			return ctl_end_of_words(nr, words);
		if (nr < 2 ||
		    ctl_number(words[1], 86400, 0, is_n ? &rounds : &delay))
			return ctl_fail(EXIT_USAGE,
					"%s wants a number, 0 to 86400",
					words[0]);
	}
	if (c->json)
		return ctl_fail(EXIT_USAGE, "top is for people; llmctl -j "
					    "tenant list is for programs");
	screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !rounds &&
		 !tcgetattr(STDIN_FILENO, &was_so);
	if (!screen)
		return top_loop(c, rounds ? rounds : 1, (unsigned)delay, false);
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	raw = was_so;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	ret = top_loop(c, rounds, (unsigned)delay, true);
	tcsetattr(STDIN_FILENO, TCSANOW, &was_so);
	return ret;
}
