/* SPDX-License-Identifier: MIT */
/*
 * ctl.h - what the files of llmctl share: the ways to reach a service, reading
 * words, writing tables and JSON.
 *
 * A command is a function of its words.  It asks through the carrier, which is
 * the module's netlink family or the keeper's socket, and never knows which.
 */
#ifndef TOOLS_CTL_H
#define TOOLS_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <jansson.h>

#include "include/llmclient.h"
#include "tools/cmd.h" /* exit codes */

struct ctl;

/* What `engine show` and `stat` know; has: which of the two is filled. */
struct ctl_service {
	const char *carrier; /* "socket", "device" */
	struct llm_info info;
	bool has_engine; /* all of info; else daemon, epoch, nr_sessions */
	uint64_t submitted, refused; /* over all tenants that are there */
	uint32_t nr_tenants;
	uint32_t daemon_pid; /* 0: not known */
};

/*
 * One way to administer.  0, or a negative errno after ctl_say(); lists are
 * malloced; tokens that are not known are UINT64_MAX.  monitor() calls @event
 * for each until it returns false.
 */
struct ctl_carrier {
	const char *name;
	int (*open)(struct ctl *c);
	void (*close)(struct ctl *c);
	int (*tenants)(struct ctl *c, struct llm_tenant_info **ret,
		       uint32_t *ret_nr);
	int (*tenant)(struct ctl *c, uint64_t key, struct llm_tenant_info *ret);
	int (*set)(struct ctl *c, const struct llm_tenant_info *what);
	int (*reset)(struct ctl *c, uint64_t key);
	int (*sessions)(struct ctl *c, struct llm_session_info **ret,
			uint32_t *ret_nr);
	int (*kill)(struct ctl *c, uint64_t session);
	int (*service)(struct ctl *c, struct ctl_service *ret);
	int (*monitor)(struct ctl *c,
		       bool (*event)(void *arg, const struct llm_event_info *),
		       void *arg);
};

extern const struct ctl_carrier ctl_sock; /* ctl_sock.c */
extern const struct ctl_carrier ctl_nl;	  /* ctl_nl.c; where libnl is */

struct ctl {
	bool json, numeric;
	const char *socket; /* --socket; NULL: not given */
	const struct ctl_carrier *carrier;
	void *priv;    /* the carrier's */
	char why[256]; /* of the last failure, one line */
};

/* ---- a command: ctl_main.c ------------------------------------------- */

struct ctl_command {
	const char *name;
	/* words[0] is behind the name; returns the exit code */
	int (*run)(struct ctl *c, int nr, char **words);
	const char *args, *about;
};

int ctl_tenant(struct ctl *c, int nr, char **words);
int ctl_session(struct ctl *c, int nr, char **words);
int ctl_engine(struct ctl *c, int nr, char **words);
int ctl_stat(struct ctl *c, int nr, char **words);
int ctl_monitor(struct ctl *c, int nr, char **words);
int ctl_top(struct ctl *c, int nr, char **words);

/* Choose among @table (name NULL ends it) by words[0]; `help` lists it. */
int ctl_choose(struct ctl *c, const char *of, const struct ctl_command *table,
	       int nr, char **words);
/* One line on stderr, `llmctl: ...`; returns @code. */
int ctl_fail(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Keep the words for a failed call; returns @error. */
int ctl_say(struct ctl *c, int error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The exit code for a failed call of the carrier, after its line. */
int ctl_error(const struct ctl *c, int error);
/* Too many words for a command: EXIT_USAGE and a line; else 0. */
int ctl_end_of_words(int nr, char **words);

/* ---- words: ctl_words.c ---------------------------------------------- */

/* A number up to @max; `none` is @none where that is not 0.  0 or -EINVAL. */
int ctl_number(const char *word, uint64_t max, uint64_t none, uint64_t *ret);
/* Bytes, as 64M (powers of 1024). */
int ctl_size(const char *word, uint64_t none, uint64_t *ret);
/* A user's name, or a number. */
int ctl_who(const char *word, uint64_t *ret);
/* index into the classes, or -EINVAL */
int ctl_class(const char *word);
const char *ctl_class_name(uint32_t class_);
const char *ctl_daemon_name(uint32_t state);
/* "64M", "1.5G", "none"; @buf of 24. */
const char *ctl_size_text(uint64_t bytes, char *buf);
/* A user's name where there is one and names are wanted; @buf of 40. */
const char *ctl_who_text(const struct ctl *c, uint64_t tenant, char *buf);
/* "7s", "3m12s", "2h05m", "4d06h"; @buf of 24. */
const char *ctl_age_text(uint64_t ns, char *buf);
/* The word for a single LLM_TENANT_* bit, as `tenant set` takes it. */
const char *ctl_limit_name(uint32_t bit);

/* ---- output: ctl_out.c ----------------------------------------------- */

/* Rows of text under a header, aligned: a `-` before a title means left. */
struct ctl_table {
	uint32_t nr_cols, nr_cells, cap;
	const char *const *titles;
	char **cell; /* owned */
};
void ctl_table_init(struct ctl_table *t, const char *const *titles);
void ctl_table_add(struct ctl_table *t, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void ctl_table_print(struct ctl_table *t); /* and frees it */
/* A JSON value on a line of its own; takes the reference. */
void ctl_json_print(json_t *o);

json_t *ctl_tenant_json(const struct llm_tenant_info *t);
json_t *ctl_session_json(const struct llm_session_info *s);
json_t *ctl_event_json(const struct llm_event_info *e);
void ctl_tenants_table(const struct ctl *c, const struct llm_tenant_info *t,
		       uint32_t nr);
void ctl_sessions_table(const struct ctl *c, const struct llm_session_info *s,
			uint32_t nr);

#endif
