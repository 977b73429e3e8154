/* SPDX-License-Identifier: MIT */
/*
 * poll.c - several prompts at once, in an event loop of one's own.
 *
 *	poll SOCKET PROMPT...
 * Each round: poll, llmc_ack(), only then look; read, and arm again.
 */
#include <errno.h>
#include <err.h>
#include <llmclient.h>
#include <poll.h>
#include <stdio.h>

#define must(good) ((good) ? (void)0 : errx(1, "%s", llmc_error()))

/* Print what is there, arm for more.  True: the stream has ended. */
static int drain(struct llmc_stream *st)
{
	int n, number = (int)llmc_user_data(st);
	struct llmc_result res;
	char buf[256];

	do {
		while ((n = (int)llmc_read_text(st, buf, 256, 0)) > 0)
			printf("%d: %.*s\n", number, n, buf);
		/* 8 more, or 20 ms after the first; 1: they are there */
	} while (n == -EAGAIN && llmc_arm(st, 8, 20000));
	if (n == -EAGAIN)
		return 0;
	must(!n && !llmc_result(st, &res));
	printf("%d ended: %s %s\n", number, llmc_end_name(res.end), res.why);
	llmc_release(st);
	return 1;
}

int main(int argc, char **argv)
{
	struct llmc_options opt = { LLMC_OPTIONS_SIZE, .socket = argv[1] };
	struct llmc_request req = { LLMC_REQUEST_SIZE };
	struct pollfd p = { .events = POLLIN };
	struct llmc_stream *st;
	int i, left = argc - 2;
	struct llmc *s;

	must(!llmc_open(&s, &opt));
	for (i = 2; i < argc; i++) {
		req.text = argv[i];
		req.user_data = (uint64_t)i - 1;
		must(!llmc_submit(s, &req, &st));
		llmc_arm(st, 8, 20000);
	}
	for (p.fd = llmc_fd(s); left > 0 && poll(&p, 1, -1) >= 0;) {
		must(!llmc_ack(s));
		for (st = NULL; (st = llmc_next(s, st));)
			left -= drain(st);
	}
	llmc_close(s);
	return 0;
}
