/* SPDX-License-Identifier: MIT */
#include "daemon/config.h"
#include "base/err.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { PATH, NUMBER, SIZE, PART, MODE, CHOICE, CARRIER };

static const struct key {
	const char *name;
	enum type type;
	size_t off; /* in struct config */
	uint64_t min, max;
	const char *arg, *help;
} keys[] = {
/* clang-format off */
#define AT(f) offsetof(struct config, f)
{ "model", PATH, AT(model), 0, 0, "PATH",
  "the model: a directory (Hugging Face layout) or a GGUF file" },
{ "device", CARRIER, AT(device), 0, CONFIG_MAX_GPU, "[PATH|N]",
  "serve the kernel module's clients [" CONFIG_DEVICE ", where it is and "
  "neither --socket nor $LLM_SOCKET says otherwise]; a number: the GPU of "
  "--backend cuda [0]" },
{ "socket", CARRIER, AT(socket), 0, 0, "PATH",
  "where to listen, without the module [$LLM_SOCKET, "
  "$XDG_RUNTIME_DIR/llmd.sock; root: /run/llmd/llmd.sock]" },
{ "socket-mode", MODE, AT(socket_mode), 1, 0777, "OCTAL",
  "who may connect [0666 under /run, else 0600]" },
{ "backend", CHOICE, AT(backend), 0, 0, "cpu|null|cuda",
  "who computes; null needs no model and serves nonsense [cpu]" },
{ "gpu-memory", PART, AT(gpu_memory), 1 << 16, 1ull << 50, "SIZE",
  "memory of the GPU for weights, keys and values, as 20G, or as a part of "
  "all it has, 0.5 [0.9]" },
{ "cuda-library", PATH, AT(cuda_library), 0, 0, "PATH",
  "what computes there [libllm-cuda.so: beside llmd, or where the loader "
  "looks]" },
{ "threads", NUMBER, AT(threads), 1, 1024, "N",
  "threads that compute [the CPUs there are]" },
{ "kv-memory", SIZE, AT(kv_memory), 1 << 16, 1ull << 50, "SIZE",
  "memory for keys and values, as 512M or 8G [what fits]" },
{ "kv-type", CHOICE, AT(kv_type), 0, 0, "auto|f32|f16|q8",
  "how they are kept; q8: 8 bits, a scale for each token and head; auto: f16 "
  "where weights are packed, else f32; on a GPU bf16 [auto]" },
{ "weights", CHOICE, AT(weights), 0, 0, "fast|file|int8|fp8|int4",
  "packed ones: copied into a faster form while it serves, or computed on in "
  "the file's pages for good; the tokens are the same; plain ones are rounded: "
  "to int8, as their input is, on a GPU also to fp8 or int4 [fast]" },
{ "max-tokens-per-step", NUMBER, AT(max_tokens_per_step), 1, 1 << 16, "N",
  "rows of the largest step [512]" },
{ "max-context", NUMBER, AT(max_context), 1, (1 << 24) - 1, "N",
  "tokens of prompt and answer [the model's]" },
{ "max-streams", NUMBER, AT(max_streams), 1, 2048, "N",
  "streams that run at once" },
{ "max-waiting", NUMBER, AT(max_waiting), 1, 1 << 20, "N",
  "streams that may wait; more are refused as busy" },
{ "max-waiting-user", NUMBER, AT(max_waiting_user), 1, 1 << 20, "N",
  "of these, one user's" },
{ "target-gap", NUMBER, AT(target_gap), 1, 60000, "MS",
  "wished time between two tokens of a stream" },
{ "step-limit", NUMBER, AT(step_limit), 1, 86400, "S",
  "a step that takes longer is killed, and its streams blamed" },
{ "max-sessions", NUMBER, AT(max_sessions), 1, 100000, "N",
  "sessions of all users [4096]" },
{ "max-sessions-user", NUMBER, AT(max_sessions_user), 1, 100000, "N",
  "sessions of one user [all]" },
{ "max-memory-user", SIZE, AT(max_memory_user), 1 << 20, 1ull << 50, "SIZE",
  "what the sessions of one user may grow to [512G]" },
{ "drain-timeout", NUMBER, AT(drain_timeout), 1, 86400, "S",
  "how long SIGTERM waits for streams that run [10]" },
{ "max-crashes", NUMBER, AT(max_crashes), 1, 1000000, "N",
  "engines in a row that die without a token until llmd gives up [10]" },
#undef AT
	/* clang-format on */
};
#define NR_KEYS (sizeof(keys) / sizeof(keys[0]))

static const struct key *key_find(const char *name, size_t len)
{
	unsigned i;

	for (i = 0; i < NR_KEYS; i++)
		if (strlen(keys[i].name) == len &&
		    !memcmp(keys[i].name, name, len))
			return &keys[i];
	return NULL;
}

/* Digits and nothing else (strtoull would take signs and spaces). */
static int digits(const char *s, unsigned base, uint64_t *ret, const char **end)
{
	const char *p;
	uint64_t n = 0;

	for (p = s; *p >= '0' && *p < (char)('0' + base); p++) {
		if (n > (UINT64_MAX - 9) / base)
			return -ERANGE;
		n = n * base + (uint64_t)(*p - '0');
	}
	*ret = n;
	*end = p;
	return p == s ? -EINVAL : 0;
}

static int number(const struct key *k, const char *value, uint64_t *ret)
{
	static const char unit[] = "kKmMgGtT";
	const char *end, *u;
	uint64_t n;
	unsigned shift;

	if (digits(value, k->type == MODE ? 8 : 10, &n, &end))
		return -EINVAL;
	if ((k->type == SIZE || k->type == PART) && *end) {
		u = strchr(unit, *end++);
		if (!u)
			return -EINVAL;
		shift = 10 * (unsigned)((u - unit) / 2 + 1);
		if (n > UINT64_MAX >> shift)
			return -EINVAL;
		n <<= shift;
	}
	if (*end || n < k->min || n > k->max)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* "0.5": up to three digits of a part below 1; as thousandths. */
static int part(const char *value, uint32_t *ret)
{
	uint32_t n = 0, unit = 100;

	if (*value == '0')
		value++;
	if (*value++ != '.' || !*value)
		return -EINVAL;
	for (; *value >= '0' && *value <= '9' && unit; value++, unit /= 10)
		n += (uint32_t)(*value - '0') * unit;
	if (*value || !n)
		return -EINVAL;
	*ret = n;
	return 0;
}

/* What is allowed, in words. */
static void allowed(const struct key *k, char *text, size_t size)
{
	if (k->type == PART)
		snprintf(text, size,
			 "a size as 512M, or a part of it all from 0.001 to "
			 "0.999");
	else if (k->type == SIZE)
		snprintf(text, size, "a size of %llu bytes at least, as 512M",
			 (unsigned long long)k->min);
	else if (k->type == MODE)
		snprintf(text, size, "octal, %llo to %llo",
			 (unsigned long long)k->min,
			 (unsigned long long)k->max);
	else
		snprintf(text, size, "a number from %llu to %llu",
			 (unsigned long long)k->min,
			 (unsigned long long)k->max);
}

/* One of those in k->arg: its place there. */
static int choose(const struct key *k, const char *value, uint32_t *ret,
		  struct err *err)
{
	const char *name = k->arg;
	uint32_t i = 0;

	for (;; name++, i++) {
		size_t len = strcspn(name, "|");

		if (strlen(value) == len && !memcmp(value, name, len)) {
			*ret = i;
			return 0;
		}
		name += len;
		if (!*name)
			break;
	}
	return err_set(err, -EINVAL, "%s: '%.60s' is none of %s", k->name,
		       value, k->arg);
}

/* A number names a GPU, anything else a node: *ret_gpu, or false. */
static bool is_gpu(const struct key *k, const char *value, uint32_t *ret_gpu)
{
	const char *end;
	uint64_t n;

	if (digits(value, 10, &n, &end) || *end || n > k->max)
		return false;
	*ret_gpu = (uint32_t)n;
	return true;
}

static int key_set(struct config *c, const struct key *k, const char *value,
		   struct err *err)
{
	uint8_t *at = (uint8_t *)c + k->off;
	char text[80];
	uint64_t n;

	if (k->type == CARRIER && k->max && is_gpu(k, value, &c->gpu)) {
		c->gpu_named = true;
		return 0;
	}
	if (k->type == PART && !part(value, &c->gpu_share)) {
		c->gpu_memory = 0;
		return 0;
	}
	if (k->type == PATH || k->type == CARRIER) {
		if (!*value || strlen(value) >= PATH_MAX)
			return err_set(err, -EINVAL,
				       "%s: a path of %zu bytes, 1 to %d "
				       "allowed",
				       k->name, strlen(value), PATH_MAX - 1);
		if (k->type == CARRIER)
			*c->socket = *c->device = 0;
		memcpy(at, value, strlen(value) + 1);
		return 0;
	}
	if (k->type == CHOICE)
		return choose(k, value, (uint32_t *)at, err);
	if (number(k, value, &n)) {
		allowed(k, text, sizeof(text));
		return err_set(err, -EINVAL, "%s: '%.60s' is not %s", k->name,
			       value, text);
	}
	if (k->type == PART)
		c->gpu_share = 0;
	if (k->type == SIZE || k->type == PART)
		memcpy(at, &n, sizeof(n));
	else
		*(uint32_t *)at = (uint32_t)n;
	return 0;
}

int config_set(struct config *c, const char *key, const char *value,
	       struct err *err)
{
	const struct key *k = key_find(key, strlen(key));

	if (!k)
		return err_set(err, -EINVAL, "unknown option %.60s", key);
	return key_set(c, k, value, err);
}

/* ---- the file -------------------------------------------------------- */

static char *trim(char *s)
{
	size_t len;

	while (*s == ' ' || *s == '\t')
		s++;
	len = strlen(s);
	while (len && strchr(" \t\r\n", s[len - 1]))
		s[--len] = 0;
	return s;
}

static int line_set(struct config *c, char *line, struct err *err)
{
	char *eq, *key = trim(line);

	if (!*key || *key == '#')
		return 0;
	eq = strchr(key, '=');
	if (!eq)
		return err_set(err, -EINVAL, "'%.60s' is not key = value", key);
	*eq = 0;
	return config_set(c, trim(key), trim(eq + 1), err);
}

int config_text(struct config *c, const char *name, const char *text,
		struct err *err)
{
	struct err why;
	char line[PATH_MAX + 64];
	unsigned nr = 0;
	size_t len;
	int ret;

	for (; *text; text += len + (text[len] == '\n')) {
		nr++;
		len = strcspn(text, "\n");
		if (len >= sizeof(line))
			return err_set(err, -EINVAL, "%s:%u: a line too long",
				       name, nr);
		memcpy(line, text, len);
		line[len] = 0;
		ret = line_set(c, line, &why);
		if (ret)
			return err_set(err, ret, "%s:%u: %s", name, nr,
				       why.text);
	}
	return 0;
}

static int file_read(struct config *c, const char *path, bool must,
		     struct err *err)
{
	char text[65536];
	FILE *f = fopen(path, "re");
	size_t n;
	int ret;

	if (!f && !must && errno == ENOENT)
		return 0;
	if (!f)
		return err_set(err, -errno, "%s: %s", path, strerror(errno));
	n = fread(text, 1, sizeof(text), f);
	ret = ferror(f) ? err_set(err, -EIO, "%s: cannot be read", path) : 0;
	fclose(f);
	if (ret)
		return ret;
	if (n == sizeof(text) || memchr(text, 0, n))
		return err_set(err, -EINVAL,
			       "%s: not a text of less than %zu bytes", path,
			       sizeof(text));
	text[n] = 0;
	return config_text(c, path, text, err);
}

/* ---- the command line ------------------------------------------------ */

/*
 * One option at argv[*i]: its value behind '=' or in the next argument.
 * *ret_file: --config's value.
 */
static int option(struct config *c, int argc, char *const *argv, int *i,
		  const char **ret_file, struct err *err)
{
	const char *arg = argv[*i], *name = arg + 2, *value;
	size_t len = strcspn(name, "=");
	const struct key *k = key_find(name, len);
	bool config = len == 6 && !memcmp(name, "config", 6);

	if (!strcmp(arg, "--help") || !strcmp(arg, "-h")) {
		c->help = true;
		return 0;
	}
	if (!strcmp(arg, "--version")) {
		c->version = true;
		return 0;
	}
	if (strncmp(arg, "--", 2))
		return err_set(err, -EINVAL, "'%.60s' is not an option", arg);
	if (!k && !config)
		return err_set(err, -EINVAL, "unknown option %.60s", arg);
	if (name[len] == '=')
		value = name + len + 1;
	else if (*i + 1 < argc &&
		 (!k || *k->arg != '[' || strncmp(argv[*i + 1], "--", 2)))
		value = argv[++*i];
	else if (k && *k->arg == '[')
		value = CONFIG_DEVICE;
	else
		return err_set(err, -EINVAL, "%s wants a value", arg);
	if (!config)
		return key_set(c, k, value, err);
	*ret_file = value;
	return 0;
}

static int options(struct config *c, int argc, char *const *argv,
		   const char **ret_file, struct err *err)
{
	int i, ret = 0;

	for (i = 1; i < argc && !ret; i++)
		ret = option(c, argc, argv, &i, ret_file, err);
	return ret;
}

int config_read(struct config *c, int argc, char *const *argv, struct err *err)
{
	const char *file = NULL;
	int ret;

	memset(c, 0, sizeof(*c));
	/* once to see that it is well said and which file it names; ... */
	ret = options(c, argc, argv, &file, err);
	if (ret || c->help || c->version)
		return ret;
	ret = file_read(c, file ? file : CONFIG_FILE, file != NULL, err);
	/* ... and once more, over the file */
	return ret ? ret : options(c, argc, argv, &file, err);
}

void config_help(void)
{
	unsigned i;

	printf("usage: llmd --model PATH [--device | --socket PATH] [OPTION...]\n"
	       "Serve a language model to every process of this machine.\n\n");
	for (i = 0; i < NR_KEYS; i++)
		printf("  --%s %s\n        %s\n", keys[i].name, keys[i].arg,
		       keys[i].help);
	printf("  --config PATH\n        a file of `key = value` lines, the "
	       "keys named as above [" CONFIG_FILE "]\n"
	       "  --help, --version\n");
}
