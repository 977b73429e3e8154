/* SPDX-License-Identifier: MIT */
/*
 * poll.c PROMPT...: many streams in one's own loop: arm, sleep, ack, read.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <llmclient.h>

/* Print what came of @st.  True once it has ended: it is given back. */
static bool show(struct llmc_stream *st)
{
	unsigned long long who = llmc_user_data(st);
	struct llmc_result res;
	char buf[256];
	ssize_t n;

	while ((n = llmc_read_text(st, buf, sizeof(buf), 0)) > 0)
		printf("%llu: %.*s\n", who, (int)n, buf);
	if (n < 0 || llmc_result(st, &res)) /* -EAGAIN: nothing more now */
		return false;
	printf("%llu: [%s] %s\n", who, llmc_end_name(res.end), res.why);
	llmc_release(st);
	return true;
}

int main(int argc, char **argv)
{
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE };
	struct llmc_stream *st;
	struct llmc *session;
	int i, live = 0;

	if (llmc_open(&session, NULL))
		return fprintf(stderr, "%s\n", llmc_error()), 1;
	for (i = 1; i < argc; i++, live++) {
		req.text = argv[i];
		req.user_data = (uint64_t)i;
		if (llmc_submit(session, &req, &st))
			return fprintf(stderr, "%s\n", llmc_error()), 1;
	}
	while (live) {
		struct pollfd p = { .fd = llmc_fd(session), .events = POLLIN };

		/* wake at 16 tokens of one, or 20 ms after its first */
		if (!llmc_arm_all(session, 16, 20000))
			poll(&p, 1, -1);
		if (llmc_ack(session)) /* the service is gone */
			return fprintf(stderr, "%s\n", llmc_error()), 1;
		for (st = NULL; (st = llmc_next(session, st));)
			live -= show(st);
	}
	llmc_close(session);
	return 0;
}
