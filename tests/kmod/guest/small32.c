/* SPDX-License-Identifier: MIT */
/*
 * small32.c - a 32-bit caller of /dev/llm, without a C library: set-up, a PING,
 * the areas at the offsets that a 64-bit one sees.  Exit status: 0, or the step
 * that failed.
 */
#include <asm/unistd_32.h>
#include <linux/llm.h>

static long call(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("int $0x80"
			 : "=a"(ret)
			 : "a"(nr), "b"(a), "c"(b), "d"(c)
			 : "memory");
	return ret;
}

struct mmap_arg { /* old mmap(2): one pointer, byte offset */
	unsigned long addr, len, prot, flags, fd, off;
};

static void *map_at_0(long fd)
{
	struct mmap_arg a = { 0, 4096, 3, 1, (unsigned long)fd, 0 };
	long p = call(__NR_mmap, (long)&a, 0, 0);

	return (unsigned long)p > -4096ul ? 0 : (void *)p;
}

static int steps(void)
{
	struct llm_setup s = { .size = sizeof(s),
			       .sq_entries = 4,
			       .nr_streams = 2,
			       .arena_size = 4096,
			       .log_size = 4096 };
	struct llm_enter e = { .size = sizeof(e), .to_submit = 1 };
	long fd = call(__NR_open, (long)"/dev/llm", 2, 0);
	struct llm_client_ctl *ctl;
	struct llm_sqe *sq;

	if (fd < 0)
		return 1;
	if (call(__NR_ioctl, fd, (long)LLM_IOC_ENTER, (long)&e) != -6)
		return 2; /* ENXIO: not set up */
	if (call(__NR_ioctl, fd, (long)LLM_IOC_SETUP, (long)&s))
		return 3;
	if (s.sq_entries != 4 || s.record_stride != sizeof(struct llm_record) ||
	    s.off_wish != sizeof(struct llm_client_ctl) || !s.session)
		return 4;
	ctl = map_at_0(fd);
	if (!ctl)
		return 5;
	sq = (void *)((char *)ctl + (unsigned long)s.off_sq);
	sq[0].op = LLM_OP_PING;
	sq[0].gen = 77;
	sq[0].user_data = 0x123456789abcdefull;
	ctl->sq_tail = 1;
	if (call(__NR_ioctl, fd, (long)LLM_IOC_ENTER, (long)&e) != 1)
		return 6;
	e.flags = LLM_ENTER_WAIT;
	e.to_submit = 0;
	e.timeout_ns = 1000000;
	ctl->epoch_seen = 0xffffffff; /* news: returns at once */
	if (call(__NR_ioctl, fd, (long)LLM_IOC_ENTER, (long)&e))
		return 7;
	return 0;
}

void _start(void)
{
	call(__NR_exit, steps(), 0, 0);
	for (;;)
		;
}
