/* SPDX-License-Identifier: MIT */
/* ctl_tenant.c - llmctl tenant, llmctl session. */
#include "tools/ctl.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tenant ------------------------------------------------------------ */

enum setting_kind { COUNT, RATE, WEIGHT, BYTES, CLASS };

static const struct setting {
	const char *name;
	enum setting_kind kind;
	uint32_t bit;
	size_t off; /* in struct llm_tenant_info */
	const char *allowed;
} settings[] = {
#define AT(f)	offsetof(struct llm_tenant_info, f)
#define A_COUNT "a number, or none"
	{ "weight", WEIGHT, LLM_TENANT_WEIGHT, AT(weight), "1 to 10000" },
	{ "class", CLASS, LLM_TENANT_CLASS, AT(class_ceiling),
	  "interactive, batch, idle" },
	{ "sessions", COUNT, LLM_TENANT_SESSIONS, AT(max_sessions), A_COUNT },
	{ "streams", COUNT, LLM_TENANT_STREAMS, AT(max_streams), A_COUNT },
	{ "inflight", COUNT, LLM_TENANT_INFLIGHT, AT(max_inflight), A_COUNT },
	{ "memory", BYTES, LLM_TENANT_MEMORY, AT(max_memory),
	  "bytes, as 512M, or none" },
	{ "submit-rate", RATE, LLM_TENANT_SUBMIT_RATE, AT(max_submit_rate),
	  "requests a second, or none" },
	{ "token-rate", RATE, LLM_TENANT_TOKEN_RATE, AT(max_token_rate),
	  "tokens a second, or none" },
#undef AT
};
#define NR_SETTINGS (sizeof(settings) / sizeof(*settings))

static int who(int nr, char **words, uint64_t *ret)
{
	if (nr < 1)
		return ctl_fail(EXIT_USAGE, "which tenant? a user's name, or a "
					    "number");
	if (ctl_who(words[0], ret))
		return ctl_fail(EXIT_USAGE,
				"tenant: found \"%.60s\", allowed a user's "
				"name or a number",
				words[0]);
	return 0;
}

static int tenant_print(struct ctl *c, uint64_t key)
{
	struct llm_tenant_info t;
	int ret = c->carrier->tenant(c, key, &t);

	if (ret)
		return ctl_error(c, ret);
	if (c->json)
		ctl_json_print(ctl_tenant_json(&t));
	else
		ctl_tenants_table(c, &t, 1);
	return EXIT_OK;
}

static int tenant_list(struct ctl *c, int nr, char **words)
{
	struct llm_tenant_info *list;
	uint32_t nr_list, i;
	int ret = ctl_end_of_words(nr, words);

	if (ret)
		return ret;
	ret = c->carrier->tenants(c, &list, &nr_list);
	if (ret)
		return ctl_error(c, ret);
	if (c->json) {
		json_t *all = json_array();

		for (i = 0; i < nr_list; i++)
			json_array_append_new(all, ctl_tenant_json(&list[i]));
		ctl_json_print(all);
	} else {
		ctl_tenants_table(c, list, nr_list);
	}
	free(list);
	return EXIT_OK;
}

static int tenant_show(struct ctl *c, int nr, char **words)
{
	uint64_t key;
	int ret = who(nr, words, &key);

	if (!ret)
		ret = ctl_end_of_words(nr - 1, words + 1);
	return ret ? ret : tenant_print(c, key);
}

/* `NAME VALUE` into @t.  0, or EXIT_USAGE after a line. */
static int setting_read(const char *name, const char *value,
			struct llm_tenant_info *t)
{
	const struct setting *s = settings;
	uint64_t n = 0;
	uint8_t *at;
	int bad = 0;

	while (s < settings + NR_SETTINGS && strcmp(s->name, name))
		s++;
	if (s == settings + NR_SETTINGS)
		return ctl_fail(EXIT_USAGE,
				"unknown setting \"%.60s\": llmctl tenant "
				"help lists them",
				name);
	if (!value)
		return ctl_fail(EXIT_USAGE, "%s wants a value: %s", name,
				s->allowed);
	switch (s->kind) {
	case COUNT:
		bad = ctl_number(value, UINT32_MAX - 1, LLM_NO_LIMIT, &n);
		break;
	case RATE:
		if (strcmp(value, "none"))
			bad = ctl_number(value, UINT32_MAX, 0, &n) || !n;
		break;
	case WEIGHT:
		bad = ctl_number(value, 10000, 0, &n) || !n;
		break;
	case BYTES:
		bad = ctl_size(value, UINT64_MAX, &n);
		break;
	case CLASS:
		bad = ctl_class(value) < 0;
		n = bad ? 0 : (uint64_t)ctl_class(value);
		break;
	}
	if (bad)
		return ctl_fail(EXIT_USAGE, "%s: found \"%.60s\", allowed %s",
				name, value, s->allowed);
	at = (uint8_t *)t + s->off;
	t->set |= s->bit;
	if (s->kind == BYTES)
		*(uint64_t *)at = n;
	else
		*(uint32_t *)at = (uint32_t)n;
	return 0;
}

static int tenant_set(struct ctl *c, int nr, char **words)
{
	struct llm_tenant_info t = { .size = sizeof(t) };
	uint64_t key;
	int i, ret = who(nr, words, &key);

	if (ret)
		return ret;
	t.tenant = key;
	if (nr < 2)
		return ctl_fail(EXIT_USAGE, "nothing to set: llmctl tenant "
					    "help lists what there is");
	for (i = 1; i < nr && !ret; i += 2)
		ret = setting_read(words[i], i + 1 < nr ? words[i + 1] : NULL,
				   &t);
	if (ret)
		return ret;
	ret = c->carrier->set(c, &t);
	return ret ? ctl_error(c, ret) : tenant_print(c, key);
}

static int tenant_reset(struct ctl *c, int nr, char **words)
{
	uint64_t key;
	int ret = who(nr, words, &key);

	if (!ret)
		ret = ctl_end_of_words(nr - 1, words + 1);
	if (ret)
		return ret;
	ret = c->carrier->reset(c, key);
	return ret ? ctl_error(c, ret) : EXIT_OK;
}

static int tenant_settings(struct ctl *c, int nr, char **words)
{
	unsigned i;

	(void)c;
	(void)nr;
	(void)words;
	for (i = 0; i < NR_SETTINGS; i++)
		printf("  %-12s %s\n", settings[i].name, settings[i].allowed);
	return EXIT_OK;
}

int ctl_tenant(struct ctl *c, int nr, char **words)
{
	static const struct ctl_command table[] = {
		{ "list", tenant_list, "", "all that you may see" },
		{ "show", tenant_show, "TENANT", "one of them" },
		{ "set", tenant_set, "TENANT SETTING VALUE ...",
		  "change what it may have, from its next request on" },
		{ "reset", tenant_reset, "TENANT",
		  "back to what everybody has" },
		{ "settings", tenant_settings, "",
		  "what there is to set, and to what" },
		{ 0 },
	};

	return ctl_choose(c, "tenant", table, nr, words);
}

/* ---- session ----------------------------------------------------------- */

static int session_list(struct ctl *c, int nr, char **words)
{
	struct llm_session_info *list;
	uint32_t nr_list, i;
	int ret = ctl_end_of_words(nr, words);

	if (ret)
		return ret;
	ret = c->carrier->sessions(c, &list, &nr_list);
	if (ret)
		return ctl_error(c, ret);
	if (c->json) {
		json_t *all = json_array();

		for (i = 0; i < nr_list; i++)
			json_array_append_new(all, ctl_session_json(&list[i]));
		ctl_json_print(all);
	} else {
		ctl_sessions_table(c, list, nr_list);
	}
	free(list);
	return EXIT_OK;
}

static int session_kill(struct ctl *c, int nr, char **words)
{
	uint64_t id;
	int i, ret, worst = EXIT_OK;

	if (nr < 1)
		return ctl_fail(EXIT_USAGE, "which session? llmctl session "
					    "list has their numbers");
	for (i = 0; i < nr; i++)
		if (ctl_number(words[i], UINT64_MAX, 0, &id))
			return ctl_fail(EXIT_USAGE,
					"session: found \"%.60s\", allowed a "
					"number",
					words[i]);
	for (i = 0; i < nr; i++) {
		ctl_number(words[i], UINT64_MAX, 0, &id);
		ret = c->carrier->kill(c, id);
		if (ret)
			worst = ctl_error(c, ret);
	}
	return worst;
}

int ctl_session(struct ctl *c, int nr, char **words)
{
	static const struct ctl_command table[] = {
		{ "list", session_list, "", "all that you may see" },
		{ "kill", session_kill, "SESSION ...",
		  "end it: its client sees the service go" },
		{ 0 },
	};

	return ctl_choose(c, "session", table, nr, words);
}
