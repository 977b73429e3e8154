/* SPDX-License-Identifier: MIT */
/* The first bytes of a connection: what is accepted, what is refused, how. */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/hello.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

static struct llm_hello good(void)
{
	struct llm_hello h;

	memset(&h, 0, sizeof(h));
	h.size = sizeof(h);
	h.magic = LLM_HELLO_MAGIC;
	h.op = LLM_HELLO_SESSION;
	h.setup.size = sizeof(h.setup);
	return h;
}

/* Feed @len bytes the way the keeper reads them; how many it took. */
static uint32_t feed(struct hello_in *in, const void *bytes, uint32_t len,
		     uint32_t piece)
{
	uint32_t at = 0, n;

	memset(in, 0, sizeof(*in));
	while ((n = hello_need(in)) && at < len) {
		if (n > piece)
			n = piece;
		if (n > len - at)
			n = len - at;
		memcpy(in->buf + in->have, (const char *)bytes + at, n);
		in->have += n;
		at += n;
	}
	return at;
}

TEST(a_hello_is_read_in_pieces_and_never_past_its_end)
{
	char bytes[sizeof(struct llm_hello) + 8];
	struct llm_hello h = good(), got;
	struct hello_in in;
	uint32_t piece;

	h.setup.nr_streams = 5;
	memcpy(bytes, &h, sizeof(h));
	memset(bytes + sizeof(h), 'b', 8); /* bells behind it */
	for (piece = 1; piece <= sizeof(bytes); piece++) {
		CHECK_EQ(feed(&in, bytes, sizeof(bytes), piece), sizeof(h));
		CHECK_EQ(hello_need(&in), 0);
		CHECK_EQ(hello_parse(&in, &got, NULL), 0);
		CHECK(!memcmp(&got, &h, sizeof(h)));
	}
}

TEST(half_a_hello_asks_for_the_rest)
{
	struct llm_hello h = good();
	struct hello_in in;

	CHECK_EQ(feed(&in, &h, 100, 100), 100);
	CHECK_EQ(hello_need(&in), sizeof(h) - 100);
	feed(&in, &h, 2, 2);
	CHECK_EQ(hello_need(&in), 2);
}

TEST(a_hello_that_lies_is_refused_in_a_line)
{
	static const struct {
		const char *name;
		size_t off; /* the word that is changed */
		uint32_t word;
		int want;
		const char *says;
	} row[] = {
		{ "size 0", 0, 0, -EBADMSG, "hello.size is 0" },
		{ "size 15", 0, 15, -EBADMSG, "hello.size is 15" },
		{ "size 1025", 0, 1025, -EBADMSG, "hello.size is 1025" },
		{ "size of all", 0, ~0u, -EBADMSG, "hello.size" },
		{ "HTTP", 0, 0x20544547, -EBADMSG, "not an llm client" },
		{ "magic", 4, 0x306d6c6b, -EBADMSG, "hello.magic" },
		{ "op 0", 8, 0, -EOPNOTSUPP, "hello.op is 0" },
		{ "op 9", 8, LLM_HELLO_NR, -EOPNOTSUPP, "hello.op is 9" },
		{ "reserved", 12, 1, -EINVAL, "hello.resv" },
		{ "no set-up", offsetof(struct llm_hello, setup.size), 0,
		  -EINVAL, "setup.size is 0" },
		{ "set-up of 4", offsetof(struct llm_hello, setup.size), 4,
		  -EINVAL, "setup.size is 4" },
		{ "set-up past the hello",
		  offsetof(struct llm_hello, setup.size), 161, -EINVAL,
		  "setup.size is 161" },
		{ "set-up of all", offsetof(struct llm_hello, setup.size), ~0u,
		  -EINVAL, "setup.size" },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct llm_hello h = good(), got;
		char bytes[HELLO_MAX] = { 0 };
		struct err err = { 0 };
		struct hello_in in;

		ROW(row[i].name);
		memcpy(bytes, &h, sizeof(h));
		memcpy(bytes + row[i].off, &row[i].word, 4);
		feed(&in, bytes, sizeof(bytes), 7);
		memset(&got, 0x5a, sizeof(got));
		CHECK_EQ(hello_parse(&in, &got, &err), row[i].want);
		CHECK_EQ(err.code, row[i].want);
		CHECK(strstr(err.text, row[i].says));
		CHECK_EQ(got.magic, 0x5a5a5a5a); /* untouched */
	}
}

TEST(a_longer_hello_counts_where_its_tail_is_zero)
{
	char bytes[HELLO_MAX] = { 0 };
	struct llm_hello h = good(), got;
	struct err err = { 0 };
	struct hello_in in;

	h.size = sizeof(bytes);
	h.setup.size = sizeof(bytes) - HELLO_MIN;
	memcpy(bytes, &h, sizeof(h));
	feed(&in, bytes, sizeof(bytes), 100);
	CHECK_EQ(hello_parse(&in, &got, &err), 0);
	bytes[sizeof(bytes) - 1] = 1;
	feed(&in, bytes, sizeof(bytes), 100);
	CHECK_EQ(hello_parse(&in, &got, &err), -E2BIG);
	CHECK(strstr(err.text, "1024"));
}

TEST(a_shorter_hello_is_filled_with_zeroes)
{
	struct llm_hello h = good(), got;
	struct hello_in in;

	/* an older client's set-up ended before arena_size; junk follows */
	h.setup.size = offsetof(struct llm_setup, arena_size);
	h.setup.nr_streams = 3;
	h.setup.arena_size = ~0ull;
	feed(&in, &h, sizeof(h), 999);
	CHECK_EQ(hello_parse(&in, &got, NULL), 0);
	CHECK_EQ(got.setup.nr_streams, 3);
	CHECK_EQ(got.setup.arena_size, 0);
	/* and one that asks for information needs no set-up at all */
	h = good();
	h.size = HELLO_MIN;
	h.op = LLM_HELLO_INFO;
	CHECK_EQ(feed(&in, &h, sizeof(h), 999), HELLO_MIN);
	CHECK_EQ(hello_parse(&in, &got, NULL), 0);
	CHECK_EQ(got.setup.size, 0);
}

static struct llm_hello_admin admin(uint32_t op)
{
	struct llm_hello_admin a;

	memset(&a, 0, sizeof(a));
	a.size = sizeof(a);
	a.magic = LLM_HELLO_MAGIC;
	a.op = op;
	if (op == LLM_HELLO_KILL) {
		a.session = 7;
		return a;
	}
	a.tenant.size = sizeof(a.tenant);
	a.tenant.tenant = 1000;
	if (op == LLM_HELLO_SET) {
		a.tenant.set = LLM_TENANT_WEIGHT;
		a.tenant.weight = 300;
	}
	return a;
}

TEST(an_administrators_hello_is_read_whole_or_refused_in_a_line)
{
#define T(f) offsetof(struct llm_hello_admin, tenant.f)
	static const struct {
		const char *name;
		uint32_t op;
		size_t off; /* the word that is changed */
		uint32_t word;
		int want; /* of hello_parse() or hello_admin() */
		const char *says;
	} row[] = {
		{ "set", LLM_HELLO_SET, T(weight), 300, 0, "" },
		{ "reset", LLM_HELLO_RESET, T(tenant), 5, 0, "" },
		{ "kill", LLM_HELLO_KILL, 16, 9, 0, "" },
		{ "set nothing", LLM_HELLO_SET, T(set), 0, -EINVAL,
		  "nothing to change" },
		{ "an unknown bit", LLM_HELLO_SET, T(set),
		  LLM_TENANT_WEIGHT | 1u << 8, -EINVAL, "unknown bits" },
		{ "a value without its bit", LLM_HELLO_SET, T(max_streams), 1,
		  -EINVAL, "max_streams has a value" },
		{ "half a value without its bit", LLM_HELLO_SET,
		  T(max_memory) + 4, 1, -EINVAL, "max_memory has a value" },
		{ "a reserved word", LLM_HELLO_SET, T(resv0), 1, -EINVAL,
		  "must be 0" },
		{ "usage", LLM_HELLO_SET, T(inflight), 1, -EINVAL,
		  "must be 0" },
		{ "a counter", LLM_HELLO_RESET, T(tokens), 1, -EINVAL,
		  "must be 0" },
		{ "the last word", LLM_HELLO_SET, T(resv) + 28, 1, -EINVAL,
		  "must be 0" },
		{ "a session to set", LLM_HELLO_SET, 16, 1, -EINVAL,
		  "session is 1" },
		{ "reset with settings", LLM_HELLO_RESET, T(set), 1, -EINVAL,
		  "to reset" },
		{ "kill with a tenant", LLM_HELLO_KILL, T(tenant), 1, -EINVAL,
		  "takes none" },
		{ "tenant of 15", LLM_HELLO_SET, T(size), 15, -EINVAL,
		  "tenant.size is 15" },
		{ "tenant past the hello", LLM_HELLO_SET, T(size), 1001,
		  -EINVAL, "tenant.size is 1001" },
		{ "tenant of all", LLM_HELLO_RESET, T(size), ~0u, -EINVAL,
		  "tenant.size" },
		{ "reserved head", LLM_HELLO_SET, 12, 1, -EINVAL,
		  "hello.resv" },
		{ "a tail", LLM_HELLO_SET, 160, 1, -E2BIG, "behind the 160" },
	};
#undef T
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct llm_hello_admin a = admin(row[i].op), got;
		char bytes[HELLO_MAX] = { 0 };
		struct err err = { 0 };
		struct llm_hello h;
		struct hello_in in;
		int ret;

		ROW(row[i].name);
		memcpy(bytes, &a, sizeof(a));
		memcpy(bytes + row[i].off, &row[i].word, 4);
		if (row[i].off >= sizeof(a))
			*(uint32_t *)bytes = sizeof(a) + 8;
		feed(&in, bytes, sizeof(bytes), 7);
		memset(&got, 0x5a, sizeof(got));
		ret = hello_parse(&in, &h, &err);
		if (!ret) {
			CHECK(hello_is_admin(h.op));
			ret = hello_admin(&in, &got, &err);
		}
		CHECK_EQ(ret, row[i].want);
		CHECK(strstr(err.text, row[i].says));
		CHECK(ret ? got.magic == 0x5a5a5a5a
			  : !memcmp(&got, bytes, sizeof(got)));
	}
}

TEST(a_shorter_or_longer_administrators_hello_is_as_good)
{
	struct llm_hello_admin a = admin(LLM_HELLO_RESET), got;
	char bytes[HELLO_MAX] = { 0 };
	struct llm_hello h;
	struct hello_in in;

	/* an older one that knows of no settings; junk behind its struct */
	a.tenant.size = 16;
	a.tenant.weight = 77;
	feed(&in, &a, sizeof(a), 999);
	CHECK_EQ(hello_parse(&in, &h, NULL), 0);
	CHECK_EQ(hello_admin(&in, &got, NULL), 0);
	CHECK_EQ(got.tenant.tenant, 1000);
	CHECK_EQ(got.tenant.weight, 0);
	/* one cut short */
	a.size = 24 + 16;
	feed(&in, &a, a.size, 999);
	CHECK_EQ(hello_parse(&in, &h, NULL), 0);
	CHECK_EQ(hello_admin(&in, &got, NULL), 0);
	CHECK_EQ(got.tenant.tenant, 1000);
	a.size = 20;
	feed(&in, &a, a.size, 999);
	CHECK_EQ(hello_parse(&in, &h, NULL), 0);
	CHECK_EQ(hello_admin(&in, &got, NULL), -EINVAL);
	/* a later one, its tail zero */
	a = admin(LLM_HELLO_SET);
	a.size = sizeof(bytes);
	a.tenant.size = sizeof(bytes) - 24;
	memcpy(bytes, &a, sizeof(a));
	feed(&in, bytes, sizeof(bytes), 999);
	CHECK_EQ(hello_parse(&in, &h, NULL), 0);
	CHECK_EQ(hello_admin(&in, &got, NULL), 0);
	CHECK_EQ(got.tenant.weight, 300);
}

TEST(a_refusal_carries_code_and_line_and_is_terminated)
{
	struct llm_hello_reply r;
	struct err err;
	int sp[2];

	err_set(&err, -EDQUOT, "%0239d", 7);
	hello_refuse(&r, &err);
	CHECK_EQ(r.error, -EDQUOT);
	CHECK_EQ(r.size, sizeof(r));
	CHECK_EQ(strlen((char *)r.why), sizeof(r.why) - 1);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sp), 0);
	CHECK_EQ(hello_send(sp[0], &r, NULL, 0), 0);
	memset(&r, 0, sizeof(r));
	CHECK_EQ(recv(sp[1], &r, sizeof(r), 0), sizeof(r));
	CHECK_EQ(r.error, -EDQUOT);
	close(sp[1]);
	CHECK_EQ(hello_send(sp[0], &r, NULL, 0), -EPIPE);
	close(sp[0]);
}
