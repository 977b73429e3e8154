/* SPDX-License-Identifier: MIT */
/*
 * main.c - llmd: options, roles, wiring.  The one place that knows which
 * carriers and backends there are.
 *
 * Exit status: 0 stopped as asked, 1 failed, 2 wrong usage.
 */
#include "base/err.h"
#include "base/log.h"
#include "daemon/board.h"
#include "daemon/carrier.h"
#include "daemon/carrier_dev.h"
#include "daemon/carrier_sock.h"
#include "daemon/config.h"
#include "daemon/engine.h"
#include "daemon/handover.h"
#include "daemon/keeper.h"
#include "daemon/model/backend.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SYSTEM_SOCKET	"/run/llmd/llmd.sock"
#define MAX_SESSIONS	4096u
#define MAX_MEMORY_USER (512ull << 30)
#define MAX_CRASHES	10u
#define CUDA_LIBRARY	"libllm-cuda.so"

/* What an engine needs to begin: inherited by the fork. */
struct role {
	struct backend_options backend;
	struct engine_options engine;
	char **argv; /* the engine writes its name there, for ps */
	int argc;
};

/* ps shows the arguments; they are one block of memory that is ours. */
static void set_title(char **argv, int argc, const char *title)
{
	char *end = argv[argc - 1] + strlen(argv[argc - 1]);

	memset(argv[0], 0, (size_t)(end - argv[0]));
	snprintf(argv[0], (size_t)(end - argv[0]), "%s", title);
}

/* A bar on a terminal, which is gone at the end. */
static void progress(void *arg, uint64_t done, uint64_t total)
{
	static const char full[] = "##############################";
	int width = sizeof(full) - 1;
	double part = total ? (double)done / (double)total : 0;

	(void)arg;
	fprintf(stderr, "\rllmd: loading [%-*.*s] %3.0f %% of %.1f GB%s", width,
		(int)(part * width), full, part * 100, (double)total / 1e9,
		done >= total ? "\r\033[K" : "");
}

/* In the forked child: the engine's life (keeper.h). */
static int run_engine(void *arg, const struct handover *in)
{
	struct role *r = arg;
	struct carrier *carrier;
	struct err err;
	int ret;

	set_title(r->argv, r->argc, "llmd-engine");
	ret = in->device >= 0 ? carrier_dev_start(in, NULL, &carrier, &err)
			      : carrier_sock_start(in, &carrier, &err);
	if (ret) {
		snprintf(in->board->failed, sizeof(in->board->failed), "%s",
			 err.text);
		return ret;
	}
	ret = engine_run(&r->engine, carrier, in->board);
	carrier->close(carrier);
	return ret;
}

/*
 * Where nobody says: what the client library looks at.  True: its directory
 * may be made.
 */
static bool default_socket(char *path, size_t size)
{
	const char *env = getenv("LLM_SOCKET");
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (env && *env)
		snprintf(path, size, "%s", env);
	else if (geteuid() && run && *run)
		snprintf(path, size, "%s/llmd.sock", run);
	else
		snprintf(path, size, SYSTEM_SOCKET);
	return !strcmp(path, SYSTEM_SOCKET);
}

/* The module where it is and is ours to serve, unless $LLM_SOCKET is set. */
static bool default_carrier(struct config *c)
{
	const char *env = getenv("LLM_SOCKET");

	if ((env && *env) || access(CONFIG_DEVICE, R_OK | W_OK))
		return default_socket(c->socket, sizeof(c->socket));
	snprintf(c->device, sizeof(c->device), "%s", CONFIG_DEVICE);
	return false;
}

/* A system path is for every user, any other for its own. */
static uint32_t default_mode(const char *path)
{
	return !strncmp(path, "/run/", 5) && strncmp(path, "/run/user/", 10)
		       ? 0666
		       : 0600;
}

static uint64_t or_default(uint64_t n, uint64_t otherwise)
{
	return n ? n : otherwise;
}

static enum backend_weights weights_of(const struct config *c)
{
	switch (c->weights) {
	case CONFIG_WEIGHTS_INT8:
		return BACKEND_WEIGHTS_INT8;
	case CONFIG_WEIGHTS_FP8:
		return BACKEND_WEIGHTS_FP8;
	case CONFIG_WEIGHTS_INT4:
		return BACKEND_WEIGHTS_INT4;
	default:
		return BACKEND_WEIGHTS_AS_IS;
	}
}

static void role_fill(struct role *r, const struct config *c)
{
	r->backend = (struct backend_options){
		.model = c->backend == CONFIG_NULL ? NULL : c->model,
		.kv_bytes = c->kv_memory,
		.kv = (enum backend_kv)c->kv_type,
		.weights_file = c->weights == CONFIG_WEIGHTS_FILE,
		.weights = weights_of(c),
		.max_context = c->max_context,
		.max_tokens_per_step = c->max_tokens_per_step,
		.max_seqs = c->max_streams,
		.threads = c->threads,
		.device = c->gpu,
		.gpu_memory = c->gpu_memory,
		.gpu_share = c->gpu_share,
		.progress = isatty(STDERR_FILENO) ? progress : NULL,
	};
	/* loaded by the engine: the keeper never sees it */
	if (c->backend == CONFIG_CUDA)
		r->backend.library = *c->cuda_library ? c->cuda_library
						      : CUDA_LIBRARY;
	r->engine = (struct engine_options){
		.backend = &r->backend,
		.open_backend = c->backend == CONFIG_NULL ? null_open
							  : model_open,
		.target_gap_ns = c->target_gap * 1000000ull,
		.step_limit_ns = c->step_limit * 1000000000ull,
		.max_waiting = c->max_waiting,
		.max_waiting_tenant = c->max_waiting_user,
	};
}

static int serve(struct config *c, struct role *r)
{
	struct keeper_options o = { .engine = run_engine, .engine_arg = r };
	struct err err = { 0 };

	if (!*c->socket && !*c->device)
		o.make_dir = default_carrier(c);
	if (*c->device)
		o.device_path = c->device;
	else
		o.socket_path = c->socket;
	o.socket_mode =
		(mode_t)or_default(c->socket_mode, default_mode(c->socket));
	o.limits.max_sessions =
		(uint32_t)or_default(c->max_sessions, MAX_SESSIONS);
	o.limits.max_sessions_uid = (uint32_t)or_default(c->max_sessions_user,
							 o.limits.max_sessions);
	o.limits.max_bytes_uid =
		or_default(c->max_memory_user, MAX_MEMORY_USER);
	o.drain_timeout_ns = c->drain_timeout * 1000000000ull;
	o.max_crashes = (uint32_t)or_default(c->max_crashes, MAX_CRASHES);
	if (keeper_run(&o, &err)) {
		log_error("%s", err.text);
		return 1;
	}
	return 0;
}

/* What one key says of another. */
static int check(const struct config *c)
{
	const char *gpu = NULL;

	if (c->backend != CONFIG_NULL && !*c->model) {
		log_error("no model: --model PATH names its directory or file");
		return -EINVAL;
	}
	if (c->gpu_named)
		gpu = "device N";
	else if (c->gpu_memory || c->gpu_share)
		gpu = "gpu-memory";
	else if (*c->cuda_library)
		gpu = "cuda-library";
	else if (weights_of(c) > BACKEND_WEIGHTS_INT8)
		gpu = "weights fp8 or int4";
	if (gpu && c->backend != CONFIG_CUDA) {
		log_error("%s is for --backend cuda", gpu);
		return -EINVAL;
	}
	return 0;
}

int main(int argc, char **argv)
{
	static struct config c;
	struct role r = { .argv = argv, .argc = argc };
	struct err err;

	log_init("llmd", LOG_LEVEL_INFO);
	signal(SIGPIPE, SIG_IGN); /* whoever read our log may have left */
	if (config_read(&c, argc, argv, &err)) {
		log_error("%s (llmd --help lists all)", err.text);
		return 2;
	}
	if (c.help) {
		config_help();
		return 0;
	}
	if (c.version) {
		printf("llmd %s\n", LLM_VERSION);
		return 0;
	}
	if (check(&c))
		return 2;
	role_fill(&r, &c);
	return serve(&c, &r);
}
