/* SPDX-License-Identifier: MIT */
/* cmd.h - the commands of `llm`: each parses its own arguments. */
#ifndef TOOLS_CMD_H
#define TOOLS_CMD_H

/* Exit codes, the same for all. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
	EXIT_DENIED = 3,
	EXIT_NO_DAEMON = 4,
};

/* argv[0] is the command's name; the return value is the exit code. */
int cmd_run(int argc, char **argv);
int cmd_score(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);
int cmd_detokenize(int argc, char **argv);
int cmd_show(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_quantize(int argc, char **argv);
int cmd_ps(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_ping(int argc, char **argv);

#endif
