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
		{ "op 4", 8, 4, -EOPNOTSUPP, "hello.op is 4" },
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
