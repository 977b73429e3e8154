/* SPDX-License-Identifier: MIT */
/*
 * blocking.c - one prompt, printed as it comes.
 *
 *	blocking PROMPT [SOCKET]
 *
 * The whole use of the library where a thread has nothing else to do: open,
 * submit, read until 0, close.  llmc_read_text() sleeps where no text is
 * there yet.
 */
#include <llmclient.h>
#include <stdio.h>

int main(int argc, char **argv)
{
	struct llmc_options opt = { .size = LLMC_OPTIONS_SIZE };
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .flags = LLM_SQE_F_CHAT };
	struct llmc_result res;
	struct llmc_stream *st;
	struct llmc *s;
	char buf[256];
	ssize_t n;

	if (argc < 2)
		return 2;
	req.text = argv[1];
	opt.socket = argc > 2 ? argv[2] : NULL; /* NULL: the default */
	if (llmc_open(&s, &opt) || llmc_submit(s, &req, &st)) {
		fprintf(stderr, "blocking: %s\n", llmc_error());
		return 1;
	}
	while ((n = llmc_read_text(st, buf, sizeof(buf), -1)) > 0) {
		fwrite(buf, 1, (size_t)n, stdout);
		fflush(stdout);
	}
	putchar('\n');
	/* what was wrong with a prompt comes as the stream's end */
	if (n || llmc_result(st, &res) || *res.why) {
		fprintf(stderr, "blocking: %s\n", n ? llmc_error() : res.why);
		llmc_close(s);
		return 1;
	}
	fprintf(stderr, "%u tokens, %s\n", res.completion_tokens,
		llmc_end_name(res.end));
	llmc_close(s);
	return 0;
}
