/* SPDX-License-Identifier: MIT */
/*
 * Random first bytes, most of them nearly a hello, at a real llmd: in pieces,
 * cut short, with more behind, with descriptors asked for and thrown away.
 * Whatever comes, the answer is nothing or one well-formed reply, and honest
 * clients are served meanwhile and afterwards.  LLM_FUZZ_ROUNDS makes it
 * longer.
 */
#include "tests/test.h"
#include "tests/system/raw.h"
#include "tests/system/serve.h"
#include "include/llmclient.h"

#include <signal.h>
#include <stdbool.h>

static struct serve D;
static uint64_t rng = 1;

static uint32_t rnd(uint32_t n)
{
	rng = rng * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(rng >> 33) % n;
}

static uint32_t odd_value(void)
{
	static const uint32_t v[] = { 0,    1,	   7,	     8,	       15,
				      16,   17,	   63,	     64,       65,
				      159,  160,   161,	     175,      176,
				      177,  1023,  1024,     1025,     4096,
				      4097, 65535, 1u << 24, 1u << 30, 1u << 31,
				      ~0u };

	return rnd(4) ? v[rnd(sizeof(v) / sizeof(v[0]))] : (uint32_t)rng;
}

/* An administrator's hello (we may be one) that makes sense. */
static void random_admin(uint8_t *buf, uint32_t op)
{
	struct llm_hello_admin a = { .size = sizeof(a),
				     .magic = LLM_HELLO_MAGIC,
				     .op = op };

	if (op == LLM_HELLO_KILL) {
		a.session = rnd(100);
	} else {
		a.tenant.size = sizeof(a.tenant);
		a.tenant.tenant = 1000000 + rnd(rnd(2) ? 10 : 1u << 30);
	}
	if (op == LLM_HELLO_SET) {
		a.tenant.set = rnd(2) ? LLM_TENANT_ALL : 1u << rnd(8);
		/* mostly too many values for the bits: refused then */
		a.tenant.weight = rnd(3) ? 1 + rnd(10000) : odd_value();
		if (a.tenant.set == LLM_TENANT_ALL) {
			a.tenant.class_ceiling = rnd(4);
			a.tenant.max_sessions = odd_value();
			a.tenant.max_token_rate = odd_value();
			a.tenant.max_memory = (uint64_t)odd_value() << 20;
		}
	}
	memcpy(buf, &a, sizeof(a));
}

/* Good, then spoilt in a few words; how many bytes of it are to be sent. */
static size_t random_hello(uint8_t *buf, size_t room)
{
	struct llm_hello h = { .size = sizeof(h),
			       .magic = LLM_HELLO_MAGIC,
			       .op = 1 + rnd(LLM_HELLO_NR - 1) };
	uint32_t i, spoil = rnd(4), word;

	h.setup.size = sizeof(h.setup);
	h.setup.nr_streams = 1 + rnd(64);
	h.setup.arena_size = h.setup.log_size = 65536;
	memset(buf, 0, room);
	memcpy(buf, &h, sizeof(h));
	if (h.op >= LLM_HELLO_SET && h.op <= LLM_HELLO_KILL)
		random_admin(buf, h.op);
	for (i = 0; i < spoil; i++) {
		word = odd_value();
		memcpy(buf + 4 * rnd(rnd(2) ? 16 : 60), &word, 4);
	}
	if (rnd(10) == 0)
		for (i = 0; i < room; i++)
			buf[i] = (uint8_t)rnd(256);
	return rnd(3) ? sizeof(h) : 1 + rnd((uint32_t)room);
}

/* True: nothing, or one reply as the contract says. */
static bool reply_is_sound(int fd, bool wait)
{
	struct llm_hello_reply rep;
	struct timeval patience = { 0, wait ? 500000 : 1 };
	ssize_t n;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	n = recv(fd, &rep, sizeof(rep), MSG_WAITALL);
	if (n <= 0)
		return true;
	if (n != (ssize_t)sizeof(rep) || rep.size != sizeof(rep) ||
	    rep.magic != LLM_HELLO_MAGIC || rep.error > 0 ||
	    rep.error < -4095 || rep.why[sizeof(rep.why) - 1])
		return false;
	/* a refusal has its line, a grant has none */
	return (rep.error != 0) == (rep.why[0] != 0);
}

TEST(no_first_bytes_harm_the_keeper)
{
	static const char *const args[] = { "--backend", "null", NULL };
	const char *env = getenv("LLM_FUZZ_ROUNDS");
	uint32_t i, rounds = env ? (uint32_t)atoi(env) : 3000, at, n, held = 0;
	int hold[64] = { 0 };
	uint8_t buf[1400];
	struct raw r;
	size_t len;

	signal(SIGPIPE, SIG_IGN);
	CHECK_EQ(serve_start(&D, "llmd", args), 0);
	for (i = 0; i < rounds; i++) {
		int fd = raw_connect(D.sock);

		CHECK(fd >= 0);
		len = random_hello(buf, sizeof(buf));
		for (at = 0; at < len; at += n) {
			n = rnd(8) ? (uint32_t)len - at : 1 + rnd(40);
			if (n > len - at)
				n = (uint32_t)len - at;
			if (send(fd, buf + at, n, MSG_NOSIGNAL) < 0)
				break; /* refused already */
		}
		if (rnd(20) == 0)
			shutdown(fd, rnd(2) ? SHUT_WR : SHUT_RDWR);
		CHECK(reply_is_sound(
			fd, rnd(8) == 0 && len >= sizeof(struct llm_hello)));
		if (rnd(10)) {
			close(fd);
		} else { /* some are left hanging, half said */
			if (held >= 64)
				close(hold[held % 64]);
			hold[held++ % 64] = fd;
		}
		if (i % 500 == 0) {
			/* a spoilt word may have named us */
			llmc_tenant_reset(D.sock, geteuid(), NULL);
			CHECK_EQ(raw_open(&r, D.sock), 0);
			raw_close(&r);
		}
	}
	for (i = 0; i < 64 && i < held; i++)
		close(hold[i]);
	llmc_tenant_reset(D.sock, geteuid(), NULL);
	CHECK_EQ(raw_open(&r, D.sock), 0);
	raw_close(&r);
	CHECK_EQ(serve_stop(&D), 0);
}
