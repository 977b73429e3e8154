/* SPDX-License-Identifier: MIT */
/*
 * args.h - a command's arguments, strictly read: a table of options, numbers
 * without trailing junk, one clear line for what is wrong.
 */
#ifndef TOOLS_ARGS_H
#define TOOLS_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_kind {
	ARG_FLAG,  /* bool */
	ARG_STR,   /* const char * */
	ARG_U32,   /* uint32_t in [min, max] */
	ARG_U64,   /* uint64_t, any */
	ARG_SIZE,  /* uint64_t bytes, 1 or more; K M G T: times 1024, .. */
	ARG_FLOAT, /* float in [min, max] */
	ARG_LIST,  /* struct arg_list: may be given again */
	ARG_IDS, /* struct arg_ids: "1 2 3", also with commas; - reads stdin */
	ARG_CHOICE, /* uint32_t: index into `choices` */
};

struct arg_list {
	const char **item; /* owned */
	uint32_t nr;
};

struct arg_ids {
	uint32_t *id; /* owned */
	size_t nr;
};

struct arg {
	const char *name; /* "--temperature"; or "-n" */
	enum arg_kind kind;
	void *to; /* where the value goes; untouched when absent */
	const char *meta, *help;    /* for --help: "T", "one line" */
	double min, max;	    /* ARG_U32, ARG_FLOAT */
	const char *const *choices; /* ARG_CHOICE: NULL-terminated */
	bool *given;		    /* set when it stood there; may be NULL */
};

struct args {
	const char *usage;     /* "llm run [OPTIONS] PROMPT|-" */
	const char *about;     /* one or more lines for --help */
	const struct arg *arg; /* name NULL ends it */
};

/*
 * Read @argv[1..]: options may stand anywhere before "--"; "-" alone is an
 * operand.  The operands are moved to the front of @operand ([argc]),
 * *ret_nr of them.  0; EXIT_USAGE after one line on stderr; -1 after --help
 * was printed (exit 0).
 */
int args_read(const struct args *a, int argc, char **argv, const char **operand,
	      int *ret_nr);

/* Parse ids out of @text into @ids (appended).  0, or EXIT_USAGE + a line. */
int args_ids(const char *what, const char *text, struct arg_ids *ids);

/* All of standard input; NUL-terminated, the caller's; NULL: out of memory. */
char *args_stdin(size_t *ret_size);
/* "-" is standard input, else the file at @path; NULL after a line. */
char *args_file(const char *path, size_t *ret_size);

/* One line on stderr, `llm: ...`; returns @code. */
int args_fail(int code, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* The exit code for a failed llmc_ call, after its line. */
int args_llmc(int error);

#endif
