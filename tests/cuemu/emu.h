/* SPDX-License-Identifier: MIT */
/*
 * emu.h - the machine: fibers, CTAs and their schedule, warp collectives,
 * asynchronous copies, guard pages, reports.  Knows no instruction (twins.h).
 * One launch at a time, by one host thread.
 */
#ifndef CUEMU_EMU_H
#define CUEMU_EMU_H

#include "tests/cuemu/words.h"

#include <csetjmp>
#include <csignal>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <utility>
#include <vector>
#include <sys/mman.h>

#if !defined(__x86_64__)
#error "emu_switch is written for x86-64"
#endif

/* Keep the stack pointer of this fiber in *save, go on with that of another. */
extern "C" void emu_switch(void **save, void *load);
asm(R"(.text
.weak emu_switch
emu_switch:
	push %rbp
	push %rbx
	push %r12
	push %r13
	push %r14
	push %r15
	mov %rsp, (%rdi)
	mov %rsi, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbx
	pop %rbp
	ret
)");

namespace emu
{

constexpr unsigned MAX_THREADS = 1024; /* of a CTA */
constexpr size_t STACK_SIZE = 64 << 10, PAGE_SIZE = 4096;

struct site {
	const char *file;
	int line;
};

/* A run of bytes on its way to shared memory, nobody's in particular. */
struct bulk {
	char *dst;
	const char *src;
	size_t size;
	std::function<void()> landed;
};

enum thread_state { READY, AT_BARRIER, AT_WARP, AT_EVENT, AT_PDL_WAIT, DONE };

struct copy {
	void *dst;
	const void *src; /* NULL: zeros */
	unsigned group;
};

struct thread {
	void *sp;
	unsigned id;
	dim3 index;
	thread_state state;
	site at;	    /* where it waits */
	bool waited;	    /* for the kernel before */
	unsigned nr_groups; /* of copies, committed */
	size_t nr_landed;
	std::vector<copy> copies; /* in the order they were started */
	size_t nr_seen;		  /* of those landed, by the tensor core too */
	std::vector<const void *> stored; /* that is not seen there yet */
	std::function<bool()> event;	  /* what it waits for AT_EVENT */
};

/* Work of a warp that goes on beside it. */
struct task {
	std::function<void()> finish;
	unsigned group;
};

/* A collective that gathers its lanes. */
struct warp {
	uint32_t mask, got;
	site at;
	const void *in[32];
	void *out[32];
	unsigned nr_groups;	    /* of tasks, committed */
	std::deque<task> tasks;	    /* in the order they were started */
	std::shared_ptr<void> unit; /* what a twin keeps with it */
};

/* 0: in order, 1: backward, others: shuffled by it, warps far apart */
inline unsigned schedule = 0;
/* What went wrong in the last launch; empty after a clean one. */
inline char report[512];
/* Since the program began. */
struct counters {
	long mma, copies, conflicts, barriers;
};
inline counters counts;

/* ---- the launch at hand */
inline dim3 grid, block, cta;
inline char *smem, *smem_end;
inline thread *current; /* NULL: the scheduler */
inline std::vector<thread> threads;
inline std::vector<warp> warps;
/* which 16 bytes of shared memory hold what was not made seen since (see()) */
inline std::vector<bool> unseen;
inline std::vector<bulk> bulks; /* in flight */
inline char *stacks;
inline void *scheduler_sp;
inline sigjmp_buf crashed;
inline volatile sig_atomic_t running;
inline void (*kernel)(const void *args);
inline const void *kernel_args;

/*
 * Where there is a runtime with streams (runtime.cu): takes a launch on one,
 * to be run when it is its turn.  0 or a negative errno.
 */
inline int (*later)(void *stream, std::function<bool()> run);

/* ---- programmatic dependent launch (pdl_wait() of ptx.cuh) */

/* Kernels begin before the one before them has ended. */
inline bool overlap = true;
/*
 * Where there is a runtime: what steps write is put out of a kernel's sight, and
 * back.  It costs time, so a launch's first CTA stands for all, unless a test
 * wants each.
 */
inline void (*hide)(bool);
inline bool hide_from_all, hidden;
/* Where there is a runtime: whether a kernel may begin to write there. */
inline bool (*first_write)(void *address);

inline void yield()
{
	emu_switch(&current->sp, scheduler_sp);
}

/* The first mistake is kept; the launch ends.  A fiber does not come back. */
__attribute__((format(printf, 1, 2))) inline void fail(const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (!report[0])
		vsnprintf(report, sizeof report, format, ap);
	va_end(ap);
	if (current)
		yield();
}

inline bool same_site(site a, site b)
{
	return a.line == b.line && !strcmp(a.file, b.file);
}

/* ---- warp operations: the last lane to come does the work for all */

/* work(in, out, mask): in[lane], out[lane] of the lanes in mask */
template <class In, class Out, class Work>
Out collective(uint32_t mask, site at, const In &in, Work work)
{
	unsigned lane = current->id % 32;
	warp &w = warps[current->id / 32];
	Out out;

	memset((void *)&out, 0xff, sizeof out);
	if (!(mask >> lane & 1))
		fail("%s:%d: lane %u is not in the mask %08x of its own call",
		     at.file, at.line, lane, mask);
	if (w.got && (!same_site(w.at, at) || w.mask != mask))
		fail("%s:%d: warp %u diverged: lane %u is here with mask %08x, "
		     "lanes %08x wait at line %d with mask %08x",
		     at.file, at.line, current->id / 32, lane, mask, w.got,
		     w.at.line, w.mask);
	w.mask = mask;
	w.at = at;
	w.in[lane] = &in;
	w.out[lane] = &out;
	w.got |= 1u << lane;
	if (w.got != mask) {
		current->state = AT_WARP;
		current->at = at;
		yield();
		return out;
	}
	work((const In *const *)w.in, (Out *const *)w.out, mask);
	w.got = 0;
	for (unsigned l = 0; l < 32; l++)
		if (mask >> l & 1)
			threads[(current->id & ~31u) + l].state = READY;
	return out;
}

inline void barrier(site at)
{
	current->state = AT_BARRIER;
	current->at = at;
	yield();
}

/* Until @event is so; others make it so. */
inline void wait_for(site at, std::function<bool()> event)
{
	if (event())
		return;
	current->event = event;
	current->state = AT_EVENT;
	current->at = at;
	yield();
}

inline void put_out_of_sight(bool out)
{
	if (hidden != out)
		hide(out);
	hidden = out;
}

inline void pdl_wait(site at)
{
	if (!overlap || current->waited)
		return;
	current->state = AT_PDL_WAIT;
	current->at = at;
	yield();
}

/* Nobody can do more before it: the kernel before has ended. */
inline void pass_pdl_wait()
{
	put_out_of_sight(false);
	for (thread &t : threads)
		if (t.state == AT_PDL_WAIT) {
			t.state = READY;
			t.waited = true;
		}
}

/* ---- asynchronous copies of 16 bytes */

inline size_t chunk_of(const void *dst)
{
	return (size_t)((const char *)dst - smem) / 16;
}

inline void copy_start(void *dst, const void *src)
{
	if (hidden && src) /* it may read at once */
		(void)*(const volatile char *)src;
	memset(dst, 0xff, 16);
	current->copies.push_back({ dst, src, current->nr_groups });
	counts.copies++;
}

inline void copy_land(unsigned left)
{
	thread &t = *current;

	for (; t.nr_landed < t.copies.size(); t.nr_landed++) {
		const copy &c = t.copies[t.nr_landed];

		if (c.group + left >= t.nr_groups)
			break;
		if (c.src)
			memcpy(c.dst, c.src, 16);
		else
			memset(c.dst, 0, 16);
		unseen[chunk_of(c.dst)] = true;
	}
}

/* What this thread's copies have brought is seen by tasks as well. */
inline void see()
{
	thread &t = *current;

	for (; t.nr_seen < t.nr_landed; t.nr_seen++)
		unseen[chunk_of(t.copies[t.nr_seen].dst)] = false;
	for (const void *p : t.stored)
		unseen[chunk_of(p)] = false;
	t.stored.clear();
}

/* ---- copies in bulk: they land when nobody can do anything more without */

inline void bulk_start(const bulk &b)
{
	if (hidden) /* it may read at once */
		(void)*(const volatile char *)b.src;
	memset(b.dst, 0xff, b.size);
	bulks.push_back(b);
	counts.copies += (long)b.size / 16;
}

/* One of them, as emu::schedule says. */
inline void bulk_land(uint64_t &luck)
{
	size_t i = schedule == 1 ? bulks.size() - 1 : 0;

	if (schedule > 1) {
		luck = luck * 6364136223846793005u + 1442695040888963407u;
		i = (luck >> 33) % bulks.size();
	}
	bulk b = bulks[i];

	bulks.erase(bulks.begin() + (long)i);
	memcpy(b.dst, b.src, b.size);
	/* the tensor core sees what comes this way */
	for (size_t at = 0; at < b.size; at += 16)
		unseen[chunk_of(b.dst + at)] = false;
	b.landed();
}

/* ---- tasks */

/* Of the warp at hand, by one of its lanes. */
inline void finish_tasks(unsigned left)
{
	warp &w = warps[current->id / 32];

	while (!w.tasks.empty() && w.tasks.front().group + left < w.nr_groups) {
		w.tasks.front().finish();
		w.tasks.pop_front();
	}
}

/* ---- memory */

/* @size bytes of NaN that end (to 16) where a guard page begins. */
inline char *guarded(size_t size)
{
	size_t len = (size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	char *p = (char *)mmap(NULL, len + PAGE_SIZE, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	mprotect(p + len, PAGE_SIZE, PROT_NONE);
	memset(p, 0xff, len);
	return p + len - (size + 15) / 16 * 16;
}

inline void bad_address(int, siginfo_t *info, void *)
{
	if (!running) {
		signal(SIGSEGV, SIG_DFL);
		return;
	}
	if (!hidden && first_write && first_write(info->si_addr))
		return;
	snprintf(report, sizeof report,
		 "bad address %p (shared memory ends at %p) in CTA (%u,%u,%u) "
		 "thread %u%s",
		 info->si_addr, (void *)smem_end, cta.x, cta.y, cta.z,
		 current ? current->id : 0,
		 hidden ? ", before pdl_wait()" : "");
	siglongjmp(crashed, 1);
}

/* ---- the schedule */

/* 0 .. n-1 as emu::schedule says; @luck goes on from call to call */
inline void order(std::vector<unsigned> &list, size_t n, uint64_t &luck)
{
	list.resize(n);
	for (size_t i = 0; i < n; i++)
		list[i] = (unsigned)(schedule == 1 ? n - 1 - i : i);
	for (size_t i = n; schedule > 1 && i > 1; i--) {
		luck = luck * 6364136223846793005u + 1442695040888963407u;
		std::swap(list[i - 1], list[(luck >> 33) % i]);
	}
}

[[noreturn]] inline void fiber()
{
	kernel(kernel_args);
	if (current->nr_landed < current->copies.size())
		fail("CTA (%u,%u,%u) thread %u ended with copies in flight",
		     cta.x, cta.y, cta.z, current->id);
	if (overlap && !current->waited)
		fail("CTA (%u,%u,%u) thread %u ended without pdl_wait()", cta.x,
		     cta.y, cta.z, current->id);
	if (!warps[current->id / 32].tasks.empty())
		fail("CTA (%u,%u,%u) thread %u ended with products in flight",
		     cta.x, cta.y, cta.z, current->id);
	current->state = DONE;
	for (;;)
		yield();
}

inline void report_deadlock()
{
	char where[400] = "";
	size_t len = 0;

	for (const thread &t : threads) {
		const thread &before = threads[t.id ? t.id - 1 : 0];

		if (t.id && t.state == before.state &&
		    (t.state == DONE || same_site(t.at, before.at)))
			continue;
		if (len >= sizeof where)
			break;
		len += (size_t)snprintf(
			where + len, sizeof where - len,
			t.state == DONE ? " [from thread %u: ended]"
					: " [from thread %u: at line %d]",
			t.id, t.at.line);
	}
	fail("deadlock in CTA (%u,%u,%u):%s", cta.x, cta.y, cta.z, where);
}

/* All stand at a barrier: at the same one they go on. */
inline void pass_barrier()
{
	for (thread &t : threads) {
		if (!same_site(t.at, threads[0].at))
			return fail(
				"%s:%d: __syncthreads diverged: thread 0 is "
				"here, thread %u at line %d",
				threads[0].at.file, threads[0].at.line, t.id,
				t.at.line);
		t.state = READY;
	}
	counts.barriers++;
}

inline void begin_cta(unsigned n)
{
	threads.assign(n, {});
	warps.assign((n + 31) / 32, {});
	for (unsigned i = 0; i < n; i++) {
		thread &t = threads[i];
		void **sp = (void **)(stacks + STACK_SIZE * (i + 1)) - 2;

		*sp = (void *)fiber; /* emu_switch returns into it */
		t.sp = sp - 6;	     /* its registers */
		t.id = i;
		t.index = dim3(i % block.x, i / block.x % block.y,
			       i / block.x / block.y);
	}
}

/*
 * Where the order is shuffled, some warps sleep for a while: others come far
 * ahead of them.  A bit each, anew at the pass @pass.
 */
inline uint32_t who_is_awake(uint32_t before, unsigned pass, uint64_t &luck)
{
	if (schedule < 2 || pass % 64)
		return before;
	luck = luck * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(luck >> 32);
}

inline void run_cta(uint64_t &luck)
{
	unsigned n = block.x * block.y * block.z, done = 0, waiting, early;
	uint32_t awake = ~0u;
	std::vector<unsigned> turns;
	bool moved;

	memset(smem, 0xff, (size_t)(smem_end - smem));
	unseen.assign((size_t)(smem_end - smem) / 16, false);
	bulks.clear();
	begin_cta(n);
	for (unsigned pass = 0; done < n && !report[0]; pass++) {
		moved = false;
		waiting = early = 0;
		awake = who_is_awake(awake, pass, luck);
		order(turns, n, luck);
		for (unsigned i : turns) {
			if (threads[i].state == AT_EVENT && threads[i].event())
				threads[i].state = READY;
			if (threads[i].state == READY &&
			    (awake >> i / 32 % 32 & 1)) {
				current = &threads[i];
				emu_switch(&scheduler_sp, current->sp);
				current = NULL;
				moved = true;
				if (report[0])
					return;
				done += threads[i].state == DONE;
			}
			waiting += threads[i].state == AT_BARRIER;
			early += threads[i].state == AT_PDL_WAIT;
		}
		if (waiting == n)
			pass_barrier();
		else if (!moved && done < n && awake != ~0u)
			awake = ~0u;
		else if (!moved && done < n && !bulks.empty())
			bulk_land(luck);
		else if (!moved && early)
			pass_pdl_wait();
		else if (!moved && done < n)
			report_deadlock();
	}
	if (!report[0] && !bulks.empty())
		fail("CTA (%u,%u,%u) ended with bulk copies in flight", cta.x,
		     cta.y, cta.z);
}

inline void set_up()
{
	static char alternate[64 << 10];
	stack_t ss = {};
	struct sigaction sa = {};

	ss.ss_sp = alternate;
	ss.ss_size = sizeof alternate;
	sa.sa_sigaction = bad_address;
	sa.sa_flags = SA_SIGINFO | SA_ONSTACK;
	sigaltstack(&ss, NULL);
	sigaction(SIGSEGV, &sa, NULL);
	stacks = (char *)mmap(NULL, STACK_SIZE * MAX_THREADS,
			      PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			      0);
}

/* Run call(args) on all threads; false, and emu::report, where it is wrong. */
inline bool run(dim3 grid_dim, dim3 block_dim, size_t smem_size,
		void (*call)(const void *), const void *args)
{
	size_t len = (smem_size + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
	static std::vector<unsigned> turns;
	static uint64_t luck;

	if (!stacks)
		set_up();
	report[0] = 0;
	luck = schedule;
	grid = grid_dim;
	block = block_dim;
	kernel = call;
	kernel_args = args;
	smem = guarded(smem_size);
	smem_end = smem + (smem_size + 15) / 16 * 16;
	order(turns, (size_t)grid.x * grid.y * grid.z, luck);
	running = 1;
	if (!sigsetjmp(crashed, 1))
		for (unsigned i : turns) {
			cta = dim3(i % grid.x, i / grid.x % grid.y,
				   i / grid.x / grid.y);
			if (overlap && hide && (hide_from_all || i == turns[0]))
				put_out_of_sight(true);
			run_cta(luck);
			if (report[0])
				break;
		}
	running = 0;
	current = NULL;
	put_out_of_sight(false);
	munmap(smem_end - len, len + PAGE_SIZE);
	return !report[0];
}

} // namespace emu

#endif
