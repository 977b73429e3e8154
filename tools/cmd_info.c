/* SPDX-License-Identifier: MIT */
/* cmd_info.c - llm info, ps, ping: looking at the service. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "include/llmclient.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

enum { FORMAT_TEXT, FORMAT_JSON };
static const char *const formats[] = { "text", "json", NULL };
static const char *const daemon_names[] = { "no engine", "ready", "draining",
					    "failed" };

/* --socket and --format are all that these take.  As args_read(). */
static int read_args(const char *usage, const char *about, int argc,
		     char **argv, const char **ret_socket, uint32_t *ret_format)
{
	const char **operand = calloc((size_t)argc, sizeof(*operand));
	const struct arg table[] = {
		{ "--socket", ARG_STR, ret_socket, "PATH", "of the service" },
		{ "--format", ARG_CHOICE, ret_format, "F", "one of", 0, 0,
		  formats },
		{ 0 },
	};
	const struct args a = { usage, about, table };
	int nr = 0, ret;

	if (!operand)
		return args_fail(EXIT_FAILED, "out of memory");
	ret = args_read(&a, argc, argv, operand, &nr);
	if (!ret && nr)
		ret = args_fail(EXIT_USAGE, "unknown operand %.60s; usage: %s",
				operand[0], usage);
	free(operand);
	return ret;
}

static void print_line(json_t *o)
{
	json_dumpf(o, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(o);
}

static void hex(const uint8_t *b, size_t n, char *out)
{
	size_t i;

	for (i = 0; i < n; i++)
		sprintf(out + 2 * i, "%02x", b[i]);
}

/* Every number of llm_info by the name it has in text and JSON. */
static json_t *info_json(const struct llm_info *i)
{
	char digest[2 * sizeof(i->model.digest) + 1], arith[20];
	json_t *o = json_object(), *m;
	const struct {
		const char *name;
		uint64_t value;
	} rows[] = {
		{ "epoch", i->epoch },
		{ "restarts", i->restarts },
		{ "sessions", i->nr_sessions },
		{ "running", i->running },
		{ "waiting", i->waiting },
		{ "uptime_ms", i->uptime_ns / 1000000 },
		{ "steps", i->steps },
		{ "requests", i->requests },
		{ "refused", i->refused },
		{ "tokens_in", i->tokens_in },
		{ "tokens_cached", i->tokens_cached },
		{ "tokens_out", i->tokens_out },
		{ "preemptions", i->preemptions },
		{ "wakes", i->wakes },
		{ "bells", i->bells },
		{ "pause_us", i->pause_ns / 1000 },
		{ "kv_blocks", i->kv_blocks },
		{ "kv_used", i->kv_used },
		{ "kv_cached", i->kv_cached },
		{ "kv_shared", i->kv_shared },
		{ "kv_saved", i->kv_saved },
	};
	/* at a device the counters are the module's: none but the epoch */
	size_t k, nr = i->uptime_ns ? sizeof(rows) / sizeof(*rows) : 1;

	hex(i->model.digest, sizeof(i->model.digest), digest);
	snprintf(arith, sizeof(arith), "%016llx",
		 (unsigned long long)i->model.arith);
	m = json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b, s:b}", "name",
		      (const char *)i->model.name, "digest", digest, "arith",
		      arith, "parameters", (json_int_t)i->model.parameters,
		      "vocab", (json_int_t)i->model.vocab, "context",
		      (json_int_t)i->model.context, "kv_token_bytes",
		      (json_int_t)i->model.kv_token_bytes, "text",
		      !!(i->model.flags & LLM_MODEL_F_TEXT), "chat",
		      !!(i->model.flags & LLM_MODEL_F_CHAT));
	json_object_set_new(o, "state",
			    json_string(i->daemon < 4 ? daemon_names[i->daemon]
						      : "unknown"));
	json_object_set_new(o, "model", m ? m : json_null());
	for (k = 0; k < nr; k++)
		json_object_set_new(o, rows[k].name,
				    json_integer((json_int_t)rows[k].value));
	return o;
}

static void print_pairs(json_t *o, const char *prefix)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
	{
		if (json_is_object(v)) {
			print_pairs(v, "model ");
			continue;
		}
		printf("%s%-*s ", prefix, *prefix ? 14 : 20, key);
		json_dumpf(v, stdout, JSON_ENCODE_ANY);
		putchar('\n');
	}
}

int cmd_info(int argc, char **argv)
{
	const char *socket = NULL;
	uint32_t format = FORMAT_TEXT;
	struct llm_info info;
	json_t *o;
	int ret = read_args("llm info [OPTIONS]",
			    "What the service serves, and its counters since "
			    "it began.",
			    argc, argv, &socket, &format);

	if (ret)
		return ret < 0 ? EXIT_OK : ret;
	ret = llmc_info(socket, &info);
	if (ret)
		return args_llmc(ret);
	info.model.name[sizeof(info.model.name) - 1] = 0;
	o = info_json(&info);
	if (format == FORMAT_JSON) {
		print_line(o);
		return EXIT_OK;
	}
	print_pairs(o, "");
	json_decref(o);
	return EXIT_OK;
}

int cmd_ps(int argc, char **argv)
{
	const char *socket = NULL;
	uint32_t format = FORMAT_TEXT, nr, i;
	struct llm_session_info *list;
	json_t *all = json_array();
	int ret = read_args("llm ps [OPTIONS]",
			    "Sessions of the service: yours, or (root) all.",
			    argc, argv, &socket, &format);

	if (!ret && (ret = llmc_list(socket, &list, &nr)) < 0)
		ret = args_llmc(ret);
	if (ret) {
		json_decref(all);
		return ret < 0 ? EXIT_OK : ret;
	}
	if (format == FORMAT_TEXT)
		printf("%8s %8s %8s %8s %8s %8s %10s %8s\n", "SESSION", "UID",
		       "PID", "QUEUED", "RUNNING", "ENDED", "TOKENS", "AGE");
	for (i = 0; i < nr; i++) {
		const struct llm_session_info *s = &list[i];

		if (format == FORMAT_TEXT)
			printf("%8llu %8u %8u %8u %8u %8u %10llu %7llus\n",
			       (unsigned long long)s->session, s->uid, s->pid,
			       s->queued, s->running, s->ended,
			       (unsigned long long)s->tokens,
			       (unsigned long long)(s->age_ns / 1000000000));
		else
			json_array_append_new(
				all,
				json_pack(
					"{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I}",
					"session", (json_int_t)s->session,
					"tenant", (json_int_t)s->tenant, "uid",
					(json_int_t)s->uid, "pid",
					(json_int_t)s->pid, "queued",
					(json_int_t)s->queued, "running",
					(json_int_t)s->running, "ended",
					(json_int_t)s->ended, "tokens",
					(json_int_t)s->tokens, "age_ms",
					(json_int_t)(s->age_ns / 1000000)));
	}
	if (format == FORMAT_JSON)
		print_line(all);
	else
		json_decref(all);
	free(list);
	return EXIT_OK;
}

int cmd_ping(int argc, char **argv)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .nr_streams = 1,
				    .arena_size = 4096,
				    .log_size = 65536 };
	uint32_t format = FORMAT_TEXT;
	struct llmc *s;
	uint64_t ns;
	int ret = read_args("llm ping [OPTIONS]",
			    "The way to the engine and back.", argc, argv,
			    &opt.socket, &format);

	if (ret)
		return ret < 0 ? EXIT_OK : ret;
	ret = llmc_open(&s, &opt);
	if (ret)
		return args_llmc(ret);
	ret = llmc_ping(s, 10000, &ns);
	if (ret) {
		llmc_close(s);
		return args_llmc(ret);
	}
	if (format == FORMAT_JSON)
		print_line(json_pack("{s:s, s:f}", "model",
				     (const char *)llmc_model(s)->name, "ms",
				     (double)ns / 1e6));
	else
		printf("%s answers in %.3f ms\n",
		       (const char *)llmc_model(s)->name, (double)ns / 1e6);
	llmc_close(s);
	return EXIT_OK;
}
