/* SPDX-License-Identifier: MIT */
/*
 * config.h - what llmd is told: one table of keys for the command line
 * (--key VALUE) and llmd.conf (key = value).  The command line wins.
 */
#ifndef DAEMON_CONFIG_H
#define DAEMON_CONFIG_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct err;

#define CONFIG_DEVICE  "/dev/llmd" /* --device without a path */
#define CONFIG_MAX_GPU 255u	   /* --device N: a GPU */
#define CONFIG_FILE                                                            \
	"/etc/llmd.conf" /* read where it is, and no other is named */

/* in the order of their names in config.c */
enum config_backend { CONFIG_CPU, CONFIG_NULL, CONFIG_CUDA };
enum config_weights {
	CONFIG_WEIGHTS_FAST,
	CONFIG_WEIGHTS_FILE,
	CONFIG_WEIGHTS_INT8,
	CONFIG_WEIGHTS_FP8,
	CONFIG_WEIGHTS_INT4,
};

/* Everything 0 or "" until told: the default of whoever uses it. */
struct config {
	char model[PATH_MAX];
	/* which carrier: the one named last counts, and the other is "" */
	char socket[PATH_MAX];
	char device[PATH_MAX];
	uint32_t socket_mode; /* permission bits; 0 = by where it stands */
	uint32_t backend;     /* enum config_backend */
	uint32_t gpu;	      /* number; of --backend cuda */
	bool gpu_named;	      /* somebody said which */
	uint64_t gpu_memory;  /* bytes that may be used of it */
	uint32_t gpu_share;   /* or thousandths; of both the last counts */
	char cuda_library[PATH_MAX];
	uint32_t threads;
	uint64_t kv_memory; /* bytes */
	uint32_t kv_type;   /* enum backend_kv */
	uint32_t weights;   /* enum config_weights */
	uint32_t max_tokens_per_step;
	uint32_t max_context; /* tokens */
	uint32_t max_streams; /* that run at once */
	uint32_t max_waiting; /* streams */
	uint32_t max_waiting_user;
	uint32_t target_gap; /* ms between two tokens of a stream */
	uint32_t step_limit; /* s until the watchdog ends a step */
	uint32_t max_sessions;
	uint32_t max_sessions_user;
	uint64_t max_memory_user; /* bytes that a user's sessions may grow to */
	uint32_t drain_timeout;	  /* s */
	uint32_t max_crashes;
	/* the command line alone */
	bool help, version;
};

/*
 * Fill @c from @argv and from the file that --config names (else CONFIG_FILE,
 * where there is one).  0, or -EINVAL and one line that names the option, or
 * file and line; another negative errno: the file cannot be read.
 */
int config_read(struct config *c, int argc, char *const *argv, struct err *err);

/* The parts, for tests: one key; the text of a file called @name. */
int config_set(struct config *c, const char *key, const char *value,
	       struct err *err);
int config_text(struct config *c, const char *name, const char *text,
		struct err *err);

/* Print what --help shows. */
void config_help(void);

#endif
