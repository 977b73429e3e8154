/* SPDX-License-Identifier: MIT */
/* ctl_out.c - tables for people, JSON for programs; the keys are stable. */
#include "tools/ctl.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tables ----------------------------------------------------------- */

void ctl_table_init(struct ctl_table *t, const char *const *titles)
{
	*t = (struct ctl_table){ .titles = titles };
	while (titles[t->nr_cols])
		t->nr_cols++;
}

void ctl_table_add(struct ctl_table *t, const char *fmt, ...)
{
	va_list ap;
	char **more;

	if (t->nr_cells == t->cap) {
		t->cap = t->cap ? 2 * t->cap : 256;
		more = realloc(t->cell, t->cap * sizeof(*t->cell));
		if (!more)
			exit(ctl_fail(EXIT_FAILED, "out of memory"));
		t->cell = more;
	}
	va_start(ap, fmt);
	if (vasprintf(&t->cell[t->nr_cells], fmt, ap) < 0)
		exit(ctl_fail(EXIT_FAILED, "out of memory"));
	va_end(ap);
	t->nr_cells++;
}

static void print_row(const struct ctl_table *t, const int *width,
		      const char *const *row, bool header)
{
	uint32_t i;

	for (i = 0; i < t->nr_cols; i++) {
		bool left = *t->titles[i] == '-';
		const char *cell = row[i];

		if (header && left)
			cell++;
		/* nothing behind the last one */
		if (left && i + 1 == t->nr_cols)
			printf("%s%s", i ? "  " : "", cell);
		else
			printf("%s%*s", i ? "  " : "",
			       left ? -width[i] : width[i], cell);
	}
	putchar('\n');
}

void ctl_table_print(struct ctl_table *t)
{
	int *width = calloc(t->nr_cols, sizeof(*width));
	uint32_t i;
	int len;

	if (!width)
		exit(ctl_fail(EXIT_FAILED, "out of memory"));
	for (i = 0; i < t->nr_cols; i++)
		width[i] = (int)strlen(t->titles[i]) - (*t->titles[i] == '-');
	for (i = 0; i < t->nr_cells; i++) {
		len = (int)strlen(t->cell[i]);
		if (len > width[i % t->nr_cols])
			width[i % t->nr_cols] = len;
	}
	print_row(t, width, t->titles, true);
	for (i = 0; i + t->nr_cols <= t->nr_cells; i += t->nr_cols)
		print_row(t, width, (const char *const *)&t->cell[i], false);
	for (i = 0; i < t->nr_cells; i++)
		free(t->cell[i]);
	free(t->cell);
	free(width);
}

static const char *count_text(uint32_t n, uint32_t none, char *buf)
{
	if (n == none)
		return "none";
	snprintf(buf, 24, "%u", n);
	return buf;
}

/* "3/8": what it has, what it may have. */
static void add_pair(struct ctl_table *t, uint32_t has, uint32_t max)
{
	char b[24];

	if (max == LLM_NO_LIMIT)
		ctl_table_add(t, "%u", has);
	else
		ctl_table_add(t, "%u/%s", has,
			      count_text(max, LLM_NO_LIMIT, b));
}

void ctl_tenants_table(const struct ctl *c, const struct llm_tenant_info *list,
		       uint32_t nr)
{
	static const char *const titles[] = {
		"-TENANT",  "WEIGHT", "-CLASS",	  "SESSIONS", "STREAMS",
		"INFLIGHT", "MEMORY", "SUBMIT/S", "TOKENS/S", "SUBMITTED",
		"REFUSED",  "TOKENS", NULL
	};
	char b[40], b2[24];
	struct ctl_table t;
	uint32_t i;

	ctl_table_init(&t, titles);
	for (i = 0; i < nr; i++) {
		const struct llm_tenant_info *x = &list[i];

		ctl_table_add(&t, "%s%s", ctl_who_text(c, x->tenant, b),
			      x->set ? "*" : "");
		ctl_table_add(&t, "%u", x->weight);
		ctl_table_add(&t, "%s", ctl_class_name(x->class_ceiling));
		add_pair(&t, x->sessions, x->max_sessions);
		add_pair(&t, x->streams, x->max_streams);
		add_pair(&t, x->inflight, x->max_inflight);
		if (x->max_memory == UINT64_MAX)
			ctl_table_add(&t, "%s", ctl_size_text(x->memory, b));
		else
			ctl_table_add(&t, "%s/%s", ctl_size_text(x->memory, b),
				      ctl_size_text(x->max_memory, b2));
		ctl_table_add(&t, "%s", count_text(x->max_submit_rate, 0, b));
		ctl_table_add(&t, "%s%s", count_text(x->max_token_rate, 0, b),
			      x->throttled ? "!" : "");
		ctl_table_add(&t, "%llu", (unsigned long long)x->submitted);
		ctl_table_add(&t, "%llu", (unsigned long long)x->refused);
		if (x->tokens == UINT64_MAX) /* the module does not know */
			ctl_table_add(&t, "-");
		else
			ctl_table_add(&t, "%llu",
				      (unsigned long long)x->tokens);
	}
	ctl_table_print(&t);
}

void ctl_sessions_table(const struct ctl *c,
			const struct llm_session_info *list, uint32_t nr)
{
	static const char *const titles[] = { "SESSION", "-TENANT", "UID",
					      "PID",	 "STREAMS", "QUEUED",
					      "RUNNING", "ENDED",   "TOKENS",
					      "AGE",	 NULL };
	struct ctl_table t;
	char b[40];
	uint32_t i;

	ctl_table_init(&t, titles);
	for (i = 0; i < nr; i++) {
		const struct llm_session_info *s = &list[i];

		ctl_table_add(&t, "%llu", (unsigned long long)s->session);
		ctl_table_add(&t, "%s", ctl_who_text(c, s->tenant, b));
		ctl_table_add(&t, "%u", s->uid);
		ctl_table_add(&t, "%u", s->pid);
		ctl_table_add(&t, "%u", s->streams);
		ctl_table_add(&t, "%u", s->queued);
		ctl_table_add(&t, "%u", s->running);
		ctl_table_add(&t, "%u", s->ended);
		ctl_table_add(&t, "%llu", (unsigned long long)s->tokens);
		ctl_table_add(&t, "%s", ctl_age_text(s->age_ns, b));
	}
	ctl_table_print(&t);
}

/* ---- JSON ------------------------------------------------------------- */

void ctl_json_print(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	putchar('\n');
	fflush(stdout);
	json_decref(o);
}

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

/* no limit is null: a number that means something else would be added up */
static json_t *limit(uint64_t n, uint64_t none)
{
	return n == none ? json_null() : number(n);
}

json_t *ctl_tenant_json(const struct llm_tenant_info *t)
{
	json_t *o = json_object(), *set = json_array();
	uint32_t bit;

	for (bit = 1; bit <= LLM_TENANT_ALL; bit <<= 1)
		if (t->set & bit)
			json_array_append_new(set,
					      json_string(ctl_limit_name(bit)));
	json_object_set_new(o, "tenant", number(t->tenant));
	json_object_set_new(o, "set", set);
	json_object_set_new(o, "weight", number(t->weight));
	json_object_set_new(o, "class",
			    json_string(ctl_class_name(t->class_ceiling)));
	json_object_set_new(o, "max_sessions",
			    limit(t->max_sessions, LLM_NO_LIMIT));
	json_object_set_new(o, "max_streams",
			    limit(t->max_streams, LLM_NO_LIMIT));
	json_object_set_new(o, "max_inflight",
			    limit(t->max_inflight, LLM_NO_LIMIT));
	json_object_set_new(o, "max_memory", limit(t->max_memory, UINT64_MAX));
	json_object_set_new(o, "max_submit_rate", limit(t->max_submit_rate, 0));
	json_object_set_new(o, "max_token_rate", limit(t->max_token_rate, 0));
	json_object_set_new(o, "sessions", number(t->sessions));
	json_object_set_new(o, "streams", number(t->streams));
	json_object_set_new(o, "inflight", number(t->inflight));
	json_object_set_new(o, "memory", number(t->memory));
	json_object_set_new(o, "throttled", json_boolean(t->throttled));
	json_object_set_new(o, "submitted", number(t->submitted));
	json_object_set_new(o, "refused", number(t->refused));
	json_object_set_new(o, "tokens", limit(t->tokens, UINT64_MAX));
	return o;
}

json_t *ctl_session_json(const struct llm_session_info *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "session", number(s->session));
	json_object_set_new(o, "tenant", number(s->tenant));
	json_object_set_new(o, "uid", number(s->uid));
	json_object_set_new(o, "pid", number(s->pid));
	json_object_set_new(o, "streams", number(s->streams));
	json_object_set_new(o, "queued", number(s->queued));
	json_object_set_new(o, "running", number(s->running));
	json_object_set_new(o, "ended", number(s->ended));
	json_object_set_new(o, "tokens", number(s->tokens));
	json_object_set_new(o, "age_ms", number(s->age_ns / 1000000));
	return o;
}

json_t *ctl_event_json(const struct llm_event_info *e)
{
	static const char *const names[] = { "unknown", "daemon", "tenant",
					     "quota",	"open",	  "close",
					     "kill" };
	json_t *o = json_object();
	uint32_t kind = e->kind < sizeof(names) / sizeof(*names) ? e->kind : 0;

	json_object_set_new(o, "event", json_string(names[kind]));
	json_object_set_new(o, "time_ms", number(e->time_ns / 1000000));
	if (kind == LLM_EV_DAEMON) {
		json_object_set_new(o, "state",
				    json_string(ctl_daemon_name(e->daemon)));
		json_object_set_new(o, "epoch", number(e->epoch));
	} else {
		json_object_set_new(o, "tenant", number(e->tenant));
	}
	if (kind >= LLM_EV_OPEN)
		json_object_set_new(o, "session", number(e->session));
	if (kind == LLM_EV_QUOTA) {
		json_object_set_new(
			o, "limit",
			e->limit ? json_string(ctl_limit_name(e->limit))
				 : json_null());
		json_object_set_new(o, "count", number(e->count));
	}
	if (e->lost)
		json_object_set_new(o, "lost", number(e->lost));
	return o;
}
