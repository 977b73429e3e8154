/* SPDX-License-Identifier: MIT */
/*
 * uring.c - a stream in an io_uring loop: one POLL_ADD, many completions.
 *
 *	uring SOCKET PROMPT
 *
 * Each wake of the service is a completion; one without IORING_CQE_F_MORE was
 * the last, and the poll is asked for again.
 */
#include <err.h>
#include <errno.h>
#include <liburing.h>
#include <llmclient.h>
#include <poll.h>
#include <stdio.h>

static void watch(struct io_uring *ring, int fd)
{
	io_uring_prep_poll_multishot(io_uring_get_sqe(ring), fd, POLLIN);
	io_uring_submit(ring);
}

int main(int argc, char **argv)
{
	struct llmc_options opt = { LLMC_OPTIONS_SIZE };
	struct llmc_request req = { LLMC_REQUEST_SIZE };
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	struct llmc_stream *st;
	struct llmc *s;
	char buf[256];
	ssize_t n;
	int ret = io_uring_queue_init(8, &ring, 0);

	if (argc != 3 || ret)
		errx(2, "usage: uring SOCKET PROMPT (io_uring: %d)", ret);
	opt.socket = argv[1];
	req.text = argv[2];
	if (llmc_open(&s, &opt) || llmc_submit(s, &req, &st))
		errx(1, "%s", llmc_error());
	watch(&ring, llmc_fd(s));
	do { /* read, arm, and sleep only where arming found nothing */
		while ((n = llmc_read_text(st, buf, sizeof(buf), 0)) > 0)
			fwrite(buf, 1, (size_t)n, stdout);
		if (n != -EAGAIN || llmc_arm(st, 8, 20000))
			continue;
		if (io_uring_wait_cqe(&ring, &cqe))
			break;
		if (!(cqe->flags & IORING_CQE_F_MORE))
			watch(&ring, llmc_fd(s));
		io_uring_cqe_seen(&ring, cqe);
		llmc_ack(s); /* -EPIPE shows in the next read */
	} while (n == -EAGAIN);
	putchar('\n');
	io_uring_queue_exit(&ring);
	llmc_close(s);
	return n != 0;
}
