/* SPDX-License-Identifier: MIT */
/* ctl_engine.c - llmctl engine, llmctl stat: the service as a whole. */
#include "tools/ctl.h"

#include <stdio.h>

static json_t *number(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *model_json(const struct llm_model *m)
{
	char digest[2 * sizeof(m->digest) + 1];
	json_t *o = json_object();
	size_t i;

	for (i = 0; i < sizeof(m->digest); i++)
		snprintf(digest + 2 * i, 3, "%02x", m->digest[i]);
	json_object_set_new(o, "name", json_string((const char *)m->name));
	json_object_set_new(o, "digest", json_string(digest));
	json_object_set_new(o, "parameters", number(m->parameters));
	json_object_set_new(o, "vocab", number(m->vocab));
	json_object_set_new(o, "context", number(m->context));
	return o;
}

/* Keys in their order; what the carrier does not know is left out. */
static json_t *engine_json(const struct ctl_service *s)
{
	json_t *o = json_object();

	json_object_set_new(o, "carrier", json_string(s->carrier));
	json_object_set_new(o, "state",
			    json_string(ctl_daemon_name(s->info.daemon)));
	json_object_set_new(o, "epoch", number(s->info.epoch));
	if (s->daemon_pid)
		json_object_set_new(o, "pid", number(s->daemon_pid));
	if (!s->has_engine)
		return o;
	json_object_set_new(o, "restarts", number(s->info.restarts));
	json_object_set_new(o, "uptime_ms",
			    number(s->info.uptime_ns / 1000000));
	json_object_set_new(o, "model", model_json(&s->info.model));
	json_object_set_new(o, "kv_blocks", number(s->info.kv_blocks));
	json_object_set_new(o, "kv_used", number(s->info.kv_used));
	json_object_set_new(o, "kv_cached", number(s->info.kv_cached));
	return o;
}

static json_t *stat_json(const struct ctl_service *s)
{
	const struct llm_info *i = &s->info;
	const struct {
		const char *name;
		uint64_t value;
	} engine[] = {
		{ "running", i->running },
		{ "waiting", i->waiting },
		{ "steps", i->steps },
		{ "requests", i->requests },
		{ "tokens_in", i->tokens_in },
		{ "tokens_cached", i->tokens_cached },
		{ "tokens_out", i->tokens_out },
		{ "preemptions", i->preemptions },
		{ "wakes", i->wakes },
		{ "bells", i->bells },
	};
	json_t *o = json_object();
	size_t k;

	json_object_set_new(o, "sessions", number(i->nr_sessions));
	json_object_set_new(o, "tenants", number(s->nr_tenants));
	json_object_set_new(o, "submitted", number(s->submitted));
	json_object_set_new(o, "refused_by_limits", number(s->refused));
	for (k = 0; s->has_engine && k < sizeof(engine) / sizeof(*engine); k++)
		json_object_set_new(o, engine[k].name, number(engine[k].value));
	return o;
}

static void print_pairs(json_t *o, const char *prefix)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
	{
		if (json_is_object(v)) {
			print_pairs(v, "model_");
			continue;
		}
		printf("%s%-*s ", prefix, *prefix ? 14 : 20, key);
		if (json_is_string(v))
			printf("%s\n", json_string_value(v));
		else
			printf("%lld\n", (long long)json_integer_value(v));
	}
}

static int show(struct ctl *c, int nr, char **words,
		json_t *(*describe)(const struct ctl_service *))
{
	struct ctl_service s;
	json_t *o;
	int ret = ctl_end_of_words(nr, words);

	if (ret)
		return ret;
	ret = c->carrier->service(c, &s);
	if (ret)
		return ctl_error(c, ret);
	o = describe(&s);
	if (c->json) {
		ctl_json_print(o);
	} else {
		print_pairs(o, "");
		json_decref(o);
	}
	return EXIT_OK;
}

static int engine_show(struct ctl *c, int nr, char **words)
{
	return show(c, nr, words, engine_json);
}

int ctl_engine(struct ctl *c, int nr, char **words)
{
	static const struct ctl_command table[] = {
		{ "show", engine_show, "", "its state, and what it serves" },
		{ 0 },
	};

	return ctl_choose(c, "engine", table, nr, words);
}

int ctl_stat(struct ctl *c, int nr, char **words)
{
	return show(c, nr, words, stat_json);
}
