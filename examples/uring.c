/* SPDX-License-Identifier: MIT */
/*
 * uring.c - the session's descriptor in an io_uring: one POLL_ADD, multishot,
 * gives a completion a wake.  It stays armed in the ring; the streams' wishes
 * are armed in shared memory, which is no system call.
 *
 *	LLM_SOCKET=... examples/uring 'a prompt'
 */
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdio.h>
#include <llmclient.h>

static int watch(struct io_uring *ring, int fd)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(ring);

	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	return io_uring_submit(ring);
}

int main(int argc, char **argv)
{
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .text = argc > 1 ? argv[1] : "Hello" };
	struct llmc_stream *stream;
	struct io_uring_cqe *cqe;
	struct io_uring ring;
	struct llmc *session;
	char buf[256];
	ssize_t n;

	if (llmc_open(&session, NULL) || llmc_submit(session, &req, &stream))
		return fprintf(stderr, "%s\n", llmc_error()), 1;
	if (io_uring_queue_init(8, &ring, 0) ||
	    watch(&ring, llmc_fd(session)) < 0)
		return fprintf(stderr, "no io_uring here\n"), 1;
	for (;;) {
		while ((n = llmc_read_text(stream, buf, sizeof(buf), 0)) > 0)
			printf("%.*s", (int)n, buf);
		fflush(stdout);
		if (n != -EAGAIN)
			break; /* 0: the end; else the service is gone */
		if (llmc_arm(stream, 1, 0) || io_uring_wait_cqe(&ring, &cqe))
			continue; /* there already, or a signal: look again */
		if (!(cqe->flags & IORING_CQE_F_MORE))
			watch(&ring, llmc_fd(session));
		io_uring_cqe_seen(&ring, cqe);
		llmc_ack(session);
	}
	if (n < 0)
		fprintf(stderr, "%s\n", llmc_error());
	io_uring_queue_exit(&ring);
	llmc_close(session);
	return n < 0;
}
