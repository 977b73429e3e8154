/* SPDX-License-Identifier: MIT */
/* llm - what people type.  A table of commands and a loop. */
#include "tools/args.h"
#include "tools/cmd.h"
#include "include/llmclient.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *about;
} commands[] = {
	{ "run", cmd_run, "generate text (or ids) from a prompt" },
	{ "score", cmd_score, "how likely the model finds a text" },
	{ "tokenize", cmd_tokenize, "text to ids" },
	{ "detokenize", cmd_detokenize, "ids to text" },
	{ "show", cmd_show, "what a model is, by its files" },
	{ "plan", cmd_plan, "what fits in how much memory" },
	{ "quantize", cmd_quantize, "a model into a smaller GGUF file" },
	{ "ps", cmd_ps, "sessions of the service" },
	{ "info", cmd_info, "what is served, and counters" },
	{ "ping", cmd_ping, "is the engine there?" },
};

static int usage(FILE *f)
{
	size_t i;

	fprintf(f, "usage: llm COMMAND [OPTIONS] ...\n\n");
	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(f, "  %-12s %s\n", commands[i].name, commands[i].about);
	fprintf(f, "\nllm COMMAND --help has the options; --socket PATH names "
		   "the service.\n");
	return f == stdout ? EXIT_OK : EXIT_USAGE;
}

int main(int argc, char **argv)
{
	size_t i;

	/* a reader that went away is no reason to shout */
	signal(SIGPIPE, SIG_DFL);
	if (argc < 2)
		return args_fail(EXIT_USAGE,
				 "no command; llm --help lists them");
	if (!strcmp(argv[1], "-h") || !strcmp(argv[1], "--help") ||
	    !strcmp(argv[1], "help"))
		return usage(stdout);
	if (!strcmp(argv[1], "--version")) {
		printf("llm %s\n", llmc_version());
		return EXIT_OK;
	}
	for (i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (!strcmp(argv[1], commands[i].name))
			return commands[i].run(argc - 1, argv + 1);
	return args_fail(EXIT_USAGE,
			 "unknown command %.60s; llm --help lists them",
			 argv[1]);
}
