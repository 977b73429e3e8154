/* SPDX-License-Identifier: MIT */
/*
 * The client library against a keeper of the test's own: opening, refusals,
 * layouts that lie, asking for counters, where the service is looked for.
 */
#include "tests/test.h"
#include "tests/unit/fake_service.h"

#include <sys/stat.h>

static int open_at(const char *path, struct llmc **ret)
{
	struct llmc_options o = { .size = LLMC_OPTIONS_SIZE, .socket = path };

	return llmc_open(ret, &o);
}

TEST(no_daemon_is_told_with_its_path)
{
	struct llmc *c = NULL;
	char longer[300];

	CHECK_EQ(open_at("/nowhere/at/all", &c), -ENOENT);
	CHECK(strstr(llmc_error(), "/nowhere/at/all"));
	memset(longer, 'x', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = 0;
	CHECK_EQ(open_at(longer, &c), -ENAMETOOLONG);
	CHECK(!c);
}

TEST(a_refused_session_says_why)
{
	struct fake *f = fake_start();
	struct llmc *c = NULL;

	f->refuse = -EDQUOT;
	CHECK_EQ(open_at(f->path, &c), -EDQUOT);
	CHECK_STR(llmc_error(), "the fake is out of sorts");
	CHECK(!c);
	fake_end(f);
}

TEST(options_are_checked_before_anybody_is_asked)
{
	const struct {
		const char *name;
		struct llmc_options o;
		int want;
	} rows[] = {
		{ "size 0", { .size = 0 }, -EINVAL },
		{ "resv", { .size = LLMC_OPTIONS_SIZE, .resv = 1 }, -EINVAL },
		{ "too many streams",
		  { .size = LLMC_OPTIONS_SIZE, .nr_streams = 1025 },
		  -EINVAL },
		{ "three entries",
		  { .size = LLMC_OPTIONS_SIZE, .sq_entries = 3 },
		  -EINVAL },
		{ "many entries",
		  { .size = LLMC_OPTIONS_SIZE, .sq_entries = 8192 },
		  -EINVAL },
	};
	struct llmc *c = NULL;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		ROW(rows[i].name);
		CHECK_EQ(llmc_open(&c, &rows[i].o), rows[i].want);
		CHECK(*llmc_error());
	}
}

/* A program built against another header of the same library. */
TEST(a_longer_struct_is_taken_where_its_tail_is_zero)
{
	struct fake *f = fake_start();
	struct {
		struct llmc_options o;
		uint64_t later;
	} longer = { .o = { .size = sizeof(longer), .socket = f->path } };
	struct llmc *c = NULL;

	longer.later = 7;
	CHECK_EQ(llmc_open(&c, &longer.o), -E2BIG);
	longer.later = 0;
	CHECK_EQ(llmc_open(&c, &longer.o), 0);
	llmc_close(c);
	/* a shorter one: what it does not reach is a default */
	longer.o.size = offsetof(struct llmc_options, arena_size);
	longer.o.arena_size = ~0ull;
	CHECK_EQ(llmc_open(&c, &longer.o), 0);
	llmc_close(c);
	fake_end(f);
}

TEST(wishes_of_the_options_reach_the_service)
{
	struct fake *f = fake_start();
	struct llmc_options o = { .size = LLMC_OPTIONS_SIZE,
				  .socket = f->path,
				  .nr_streams = 5,
				  .sq_entries = 8,
				  .arena_size = 20000 };
	struct llmc *c = NULL;

	CHECK_EQ(llmc_open(&c, &o), 0);
	CHECK_EQ(c->su.nr_streams, 5);
	CHECK_EQ(c->su.sq_entries, 8);
	CHECK_EQ(c->su.arena_size, 20480);
	llmc_close(c);
	fake_end(f);
}

/* ---- a reply that lies ------------------------------------------------- */

static void bad_magic(struct llm_hello_reply *r)
{
	r->magic ^= 1;
}
static void bad_size(struct llm_hello_reply *r)
{
	r->size = 8;
}
static void bad_error(struct llm_hello_reply *r)
{
	r->error = 5;
}
static void bad_sq(struct llm_hello_reply *r)
{
	r->setup.sq_entries = 12;
}
static void bad_streams(struct llm_hello_reply *r)
{
	r->setup.nr_streams = LLM_MAX_STREAMS + 1;
}
static void bad_off_sq(struct llm_hello_reply *r)
{
	r->setup.off_sq = r->setup.area_size[LLM_AREA_CLIENT] - 64;
}
static void bad_off_wish(struct llm_hello_reply *r)
{
	r->setup.off_wish = ~0ull - 7;
}
static void bad_off_commit(struct llm_hello_reply *r)
{
	r->setup.off_commit += 4;
}
static void bad_stride(struct llm_hello_reply *r)
{
	r->setup.record_stride = 64;
}
static void bad_record(struct llm_hello_reply *r)
{
	r->setup.off_record = r->setup.area_size[LLM_AREA_ENGINE] - 512;
}
static void bad_info(struct llm_hello_reply *r)
{
	r->setup.off_info = r->setup.area_size[LLM_AREA_ENGINE] - 8;
}
static void bad_engine(struct llm_hello_reply *r) /* SIGBUS if believed */
{
	r->setup.area_size[LLM_AREA_ENGINE] += 1 << 20;
}
static void bad_arena(struct llm_hello_reply *r)
{
	r->setup.area_size[LLM_AREA_ARENA] += 4096;
	r->setup.arena_size += 4096;
}
static void bad_host(struct llm_hello_reply *r)
{
	r->setup.area_size[LLM_AREA_HOST] = 8;
}

TEST(a_reply_that_lies_is_refused_not_believed)
{
	const struct {
		const char *name;
		void (*tamper)(struct llm_hello_reply *r);
	} rows[] = {
		{ "magic", bad_magic },
		{ "size", bad_size },
		{ "error", bad_error },
		{ "sq_entries", bad_sq },
		{ "nr_streams", bad_streams },
		{ "off_sq", bad_off_sq },
		{ "off_wish", bad_off_wish },
		{ "off_commit", bad_off_commit },
		{ "record_stride", bad_stride },
		{ "off_record", bad_record },
		{ "off_info", bad_info },
		{ "ENGINE longer than its file", bad_engine },
		{ "ARENA longer than its file", bad_arena },
		{ "HOST too short", bad_host },
	};
	struct llmc *c = NULL;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct fake *f = fake_start();

		ROW(rows[i].name);
		f->tamper = rows[i].tamper;
		CHECK_EQ(open_at(f->path, &c), -EPROTO);
		CHECK(*llmc_error() && !c);
		fake_end(f);
	}
}

TEST(a_longer_reply_is_read_to_its_end)
{
	struct fake *f = fake_start();
	struct llmc *c;
	char b;

	f->reply_extra = 64;
	CHECK_EQ(open_at(f->path, &c), 0);
	/* nothing of it is left to look like a wake */
	CHECK_EQ(recv(llmc_fd(c), &b, 1, MSG_DONTWAIT), -1);
	llmc_close(c);
	fake_end(f);
}

TEST(counters_of_another_length_are_cut_or_filled)
{
	struct fake *f = fake_start();
	struct llm_session_info *list;
	struct llm_info info;
	uint32_t nr;

	f->elem_size = sizeof(info) + 40; /* the fake sends `op` elements: 2 */
	CHECK_EQ(llmc_info(f->path, &info), 0);
	CHECK_EQ(info.restarts, 0x01010101);
	f->elem_size = 12;
	CHECK_EQ(llmc_info(f->path, &info), 0);
	CHECK_EQ(info.epoch, 0x01010101);
	CHECK_EQ(info.restarts, 0);
	f->elem_size = sizeof(*list) + 8;
	CHECK_EQ(llmc_list(f->path, &list, &nr), 0);
	CHECK_EQ(nr, 3);
	CHECK_EQ(list[2].uid, 0x03030303);
	free(list);
	CHECK_EQ(llmc_info("/nowhere", &info), -ENOENT);
	fake_end(f);
}

TEST(the_socket_is_found_as_the_manual_says)
{
	char dir[] = "/tmp/llm-test-XXXXXX", path[64];
	const char *old = getenv("XDG_RUNTIME_DIR");
	char *kept = old ? strdup(old) : NULL;
	FILE *f;

	CHECK(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/llmd.sock", dir);
	unsetenv("LLM_SOCKET");
	setenv("XDG_RUNTIME_DIR", dir, 1);
	CHECK_STR(llmc_default_socket(), "/run/llmd/llmd.sock");
	f = fopen(path, "w");
	CHECK(f);
	fclose(f);
	CHECK_STR(llmc_default_socket(), path);
	setenv("LLM_SOCKET", "/elsewhere/s", 1);
	CHECK_STR(llmc_default_socket(), "/elsewhere/s");
	unsetenv("LLM_SOCKET");
	if (kept)
		setenv("XDG_RUNTIME_DIR", kept, 1);
	else
		unsetenv("XDG_RUNTIME_DIR");
	free(kept);
	unlink(path);
	rmdir(dir);
}

TEST(ends_have_the_names_of_the_contract)
{
	CHECK_STR(llmc_end_name(LLM_END_STOP), "stop");
	CHECK_STR(llmc_end_name(LLM_END_LENGTH), "length");
	CHECK_STR(llmc_end_name(LLM_END_CANCELLED), "cancelled");
	CHECK_STR(llmc_end_name(LLM_END_REFUSED), "refused");
	CHECK_STR(llmc_end_name(LLM_END_ERROR), "error");
	CHECK_STR(llmc_end_name(LLM_END_DEADLINE), "deadline");
	CHECK_STR(llmc_end_name(99), "unknown");
	CHECK_STR(llmc_version(), LLM_VERSION);
}
