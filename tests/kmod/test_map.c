// SPDX-License-Identifier: MIT
/* One writer a page, and each way around it. */
#include "kt.h"
#include "side.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/userfaultfd.h>

#define RW (PROT_READ | PROT_WRITE)

static const unsigned read_only[] = { LLM_AREA_HOST, LLM_AREA_ENGINE };

KTEST(map_rights, "a client maps what it may, and no more")
{
	struct client c;
	unsigned a;
	int fd;

	CHECK_ERR(open("/dev/llm", O_RDONLY), EACCES);
	CHECK_ERR(open("/dev/llm", O_WRONLY), EACCES);
	fd = open("/dev/llm", O_RDWR);
	CHECK(fd >= 0);
	CHECK_ERR(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0), ENXIO);
	close(fd);
	CHECK(client_open(&c) == 0);
	CHECK(c.host->session == c.lay.session);
	CHECK_EQ(c.host->daemon, LLM_DAEMON_NONE);
	for (a = 0; a < LLM_AREA_NR; a++) {
		CHECK_ERR(side_map(c.fd, a, 4096, PROT_READ | PROT_EXEC),
			  EACCES);
		CHECK_ERR(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, c.fd,
			       (off_t)LLM_MMAP_OFF(a)),
			  EINVAL);
	}
	CHECK_ERR(side_map(c.fd, LLM_AREA_HOST, 4096, RW), EACCES);
	CHECK_ERR(side_map(c.fd, LLM_AREA_ENGINE, 4096, RW), EACCES);
	CHECK_ERR(side_map(c.fd, LLM_AREA_ENGINE, 4096, PROT_WRITE), EACCES);
	CHECK_ERR(mprotect(c.ctl, 4096, PROT_READ | PROT_EXEC), EACCES);
}

KTEST(K14_21, "mprotect(WRITE) is EACCES on every read-only area")
{
	struct client c;
	struct daemon d;
	struct view v;
	void *p;
	size_t i;

	CHECK(client_open(&c) == 0);
	for (i = 0; i < 2; i++) {
		p = side_map(c.fd, read_only[i], 4096, PROT_READ);
		CHECK(p != MAP_FAILED);
		CHECK_ERR(mprotect(p, 4096, RW), EACCES);
		CHECK_ERR(mprotect(p, 4096, PROT_WRITE), EACCES);
		/* a duplicate is no more writable than the first */
		p = mremap(p, 0, 4096, MREMAP_MAYMOVE);
		if (p != MAP_FAILED)
			CHECK_ERR(mprotect(p, 4096, RW), EACCES);
	}
	/* the daemon's side: the mirror image */
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(view_open(&d, c.lay.session, &v) == 0);
	CHECK_ERR(mprotect((void *)v.client, 4096, RW), EACCES);
	CHECK_ERR(mprotect((void *)v.arena, 4096, RW), EACCES);
	CHECK_ERR(mprotect((void *)d.hdr, 4096, RW), EACCES);
	CHECK_ERR(side_map(v.fd, LLM_AREA_HOST, 4096, RW), EACCES);
	CHECK_ERR(side_map(v.fd, LLM_AREA_CLIENT, 4096, RW), EACCES);
	CHECK_ERR(side_map(v.fd, LLM_AREA_ARENA, 4096, RW), EACCES);
	CHECK_ERR(side_map(d.fd, LLMD_AREA_RING, 4096, RW), EACCES);
}

static void userfault_is_refused(void *at)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register reg = { .range = { (uintptr_t)at, 4096 },
				       .mode = UFFDIO_REGISTER_MODE_MISSING };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	CHECK(fd >= 0);
	CHECK(ioctl(fd, UFFDIO_API, &api) == 0);
	CHECK_ERR(ioctl(fd, UFFDIO_REGISTER, &reg), EINVAL);
	close(fd);
}

KTEST(map_back_doors, "no back door writes what is mapped read-only")
{
	struct client c;
	struct iovec l, r;
	char byte = 1;
	pid_t pid;
	void *p;
	int fd;

	CHECK(client_open(&c) == 0);
	fd = open("/proc/self/mem", O_RDWR);
	CHECK(pwrite(fd, &byte, 1, (off_t)(uintptr_t)c.engine) < 0);
	CHECK(pwrite(fd, &byte, 1, (off_t)(uintptr_t)c.host) < 0);
	close(fd);
	l = (struct iovec){ &byte, 1 };
	r = (struct iovec){ (void *)c.engine, 1 };
	CHECK_ERR(process_vm_writev(getpid(), &l, 1, &r, 1, 0), EFAULT);
	fd = open("/proc/self/exe", O_RDONLY);
	CHECK_ERR(read(fd, (void *)c.engine, 16), EFAULT);
	close(fd);
	userfault_is_refused((void *)c.engine);
	CHECK_ERR(mremap((void *)c.host, 4096, 8192, MREMAP_MAYMOVE), EFAULT);
	/* comes back through our mmap with the new offset and the old rights */
	p = side_map(c.fd, LLM_AREA_CLIENT, 4096, RW);
	CHECK_ERR(syscall(SYS_remap_file_pages, p, 4096, 0,
			  (size_t)LLM_MMAP_OFF(3) / 4096, 0),
		  EACCES);
	/* not inherited */
	pid = fork();
	if (!pid) {
		signal(SIGSEGV, SIG_DFL);
		_exit(*(volatile char *)c.ctl);
	}
	CHECK_EQ(side_wait(pid), 256 + SIGSEGV);
	CHECK_EQ(c.engine->bell, 0);
	CHECK_EQ(c.host->session, c.lay.session);
}

KTEST(K14_22, "offsets and lengths near 2^32, 2^44, 2^52 do not wrap")
{
	static const uint64_t near[] = { 1ull << 32, 1ull << 44, 1ull << 52,
					 1ull << 63, 4ull << 32, 5ull << 32 };
	struct client c;
	struct daemon d;
	size_t i, len;
	long page;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0);
	for (i = 0; i < sizeof(near) / sizeof(near[0]); i++)
		for (page = -2; page <= 2; page++)
			for (len = 4096; len <= 1ul << 46; len <<= 7) {
				off_t off = (off_t)(near[i] +
						    (uint64_t)(page * 4096));
				uint64_t in_area = (uint64_t)off & 0xffffffff;
				void *p = mmap(NULL, len, PROT_READ, MAP_SHARED,
					       c.fd, off);
				bool arena = (uint64_t)off >> 32 == 1;

				if (p == MAP_FAILED)
					continue;
				/* only what lies in an area is ever mapped */
				CHECK(arena && in_area + len <= SIDE_ARENA);
				CHECK_EQ(*(volatile char *)p, 0);
				munmap(p, len);
			}
	for (i = 0; i < LLM_AREA_NR; i++) {
		size_t size = c.lay.area_size[i];

		CHECK_ERR(side_map(c.fd, (unsigned)i, size + 4096, PROT_READ),
			  EINVAL);
		CHECK_ERR(mmap(NULL, 4096, PROT_READ, MAP_SHARED, c.fd,
			       (off_t)(LLM_MMAP_OFF(i) + size)),
			  EINVAL);
	}
	CHECK_ERR(side_map(d.fd, 2, 4096, PROT_READ), EINVAL);
	CHECK_ERR(mmap(NULL, 4096, PROT_READ, MAP_SHARED, d.fd, 1ull << 45),
		  EINVAL);
}

KTEST(K14_01, "pages stay private while mapped, whatever descriptor is closed")
{
	struct client c, other;
	struct daemon d;
	struct view v;
	size_t i, n;

	CHECK(client_open(&c) == 0);
	CHECK(daemon_open(&d) == 0 && daemon_attach(&d) == 0);
	CHECK(view_open(&d, c.lay.session, &v) == 0);
	memset(c.arena, 0x5a, SIDE_ARENA);
	memset((char *)v.engine + v.lay.off_extent, 0xa5, SIDE_LOG);
	close(c.fd);
	close(v.fd);
	close(d.fd);
	/* mappings hold their files: the daemon is there, its ring is mapped */
	CHECK_ERR(open("/dev/llmd", O_RDWR), EBUSY);
	/* sessions that would get the pages, had they been given back */
	for (n = 0; n < 20; n++) {
		CHECK(client_open(&other) == 0);
		memset(other.arena, (int)n, SIDE_ARENA);
		client_close(&other);
	}
	for (i = 0; i < SIDE_ARENA; i++)
		CHECK(c.arena[i] == 0x5a && v.arena[i] == 0x5a);
	for (i = 0; i < SIDE_LOG; i++) {
		CHECK(((uint8_t *)v.engine)[v.lay.off_extent + i] == 0xa5);
		CHECK(((uint8_t *)c.engine)[c.lay.off_extent + i] == 0xa5);
	}
}

KTEST(K14_18,
      "pages of every area can be pinned by other drivers, or fail cleanly")
{
	struct client c;
	char path[] = "/tmp/o_directish", buf[4096];
	void *at[LLM_AREA_NR];
	struct iovec iov;
	int fd, p[2];
	size_t i;

	CHECK(client_open(&c) == 0);
	at[0] = c.ctl;
	at[1] = c.arena;
	at[2] = (void *)c.host;
	at[3] = (void *)c.engine;
	for (i = 0; i < LLM_AREA_NR; i++) {
		/* get_user_pages() for reading: vmsplice into a pipe */
		CHECK(pipe(p) == 0);
		iov = (struct iovec){ at[i], 4096 };
		CHECK_EQ(vmsplice(p[1], &iov, 1, 0), 4096);
		CHECK_EQ(read(p[0], buf, sizeof(buf)), 4096);
		CHECK(memcmp(buf, at[i], 4096) == 0);
		close(p[0]);
		close(p[1]);
		/* for writing: as the right says */
		fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
		CHECK_EQ(write(fd, buf, sizeof(buf)), 4096);
		lseek(fd, 0, SEEK_SET);
		if (i < 2)
			CHECK_EQ(read(fd, at[i], 4096), 4096);
		else
			CHECK_ERR(read(fd, at[i], 4096), EFAULT);
		close(fd);
	}
	/* a pin outlives the session: pages come back when the pipe is read */
	CHECK(pipe(p) == 0);
	memset(c.arena, 0x77, 4096);
	iov = (struct iovec){ c.arena, 4096 };
	CHECK_EQ(vmsplice(p[1], &iov, 1, 0), 4096);
	client_close(&c);
	CHECK(client_open(&c) == 0);
	memset(c.arena, 0, SIDE_ARENA);
	CHECK_EQ(read(p[0], buf, sizeof(buf)), 4096);
	for (i = 0; i < 4096; i++)
		CHECK(buf[i] == 0x77);
}
