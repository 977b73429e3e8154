/* SPDX-License-Identifier: MIT */
/*
 * blocking.c - the whole client in one loop: a prompt in, its text out.
 *
 *	examples/blocking 'Once upon a time' [SOCKET]
 */
#include <stdio.h>
#include <llmclient.h>

int main(int argc, char **argv)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE,
				    .socket = argc > 2 ? argv[2] : NULL };
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .text = argc > 1 ? argv[1] : "Hello",
				    .max_tokens = 64 };
	struct llmc_stream *stream;
	struct llmc_result res;
	struct llmc *session;
	char buf[512];
	ssize_t n;

	if (llmc_open(&session, &opt) || llmc_submit(session, &req, &stream)) {
		fprintf(stderr, "%s\n", llmc_error());
		return 1;
	}
	/* returns when some text is there; while it is, no system call */
	while ((n = llmc_read_text(stream, buf, sizeof(buf), -1)) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
		fflush(stdout);
	}
	if (n < 0 || llmc_result(stream, &res)) {
		fprintf(stderr, "%s\n", llmc_error());
		return 1;
	}
	if (*res.why) /* refused, or the engine failed */
		fprintf(stderr, "%s: %s\n", llmc_end_name(res.end), res.why);
	else
		printf("\n[%s after %u tokens, %u of %u prompt tokens cached]\n",
		       llmc_end_name(res.end), res.completion_tokens,
		       res.cached_tokens, res.prompt_tokens);
	llmc_close(session); /* streams go with it */
	return *res.why != 0;
}
