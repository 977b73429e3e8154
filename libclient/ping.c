/* SPDX-License-Identifier: MIT */
/*
 * ping.c - the way to the engine and back, timed: an ordinary stream that
 * carries no token.  It stands above submit.c and stream.c as a program does.
 */
#include "libclient/internal.h"

#include <errno.h>
#include <time.h>

int llmc_ping(struct llmc *s, int timeout_ms, uint64_t *ret_ns)
{
	struct llmc_request req = { .size = LLMC_REQUEST_SIZE,
				    .op = LLM_OP_PING };
	struct llmc_stream *st;
	struct timespec a, b;
	int ret;

	clock_gettime(CLOCK_MONOTONIC, &a);
	ret = llmc_submit(s, &req, &st);
	if (ret)
		return ret;
	ret = llmc_wait(st, UINT32_MAX, timeout_ms);
	llmc_release(st);
	if (ret < 0)
		return ret;
	if (!ret)
		return llmc_fail(-ETIMEDOUT, "no answer within %d ms",
				 timeout_ms);
	clock_gettime(CLOCK_MONOTONIC, &b);
	if (ret_ns)
		*ret_ns = (uint64_t)((b.tv_sec - a.tv_sec) * 1000000000ll +
				     (b.tv_nsec - a.tv_nsec));
	return 0;
}
