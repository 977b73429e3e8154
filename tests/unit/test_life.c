/* SPDX-License-Identifier: MIT */
/* What an engine's death means: blame, pauses, giving up; the watchdog. */
#include "tests/test.h"
#include "base/err.h"
#include "daemon/board.h"
#include "daemon/life.h"

#include <errno.h>
#include <signal.h>

#define MS 1000000ull

static struct board board;
static struct err err;
static uint64_t at;

/* wait(2) statuses, as Linux encodes them */
static int exited(int code)
{
	return code << 8;
}

/* One life: ready or not, @commits, then death by @status. */
static enum life_verdict live(struct life *l, int ready, uint64_t commits,
			      int status)
{
	life_begin(l, &board);
	l->ready = ready;
	board.commits = commits;
	memset(&err, 0, sizeof(err));
	at = 0;
	return life_end(l, &board, status, false, 1000 * MS, &at, &err);
}

TEST(blame_falls_on_the_step_in_flight_for_faults_only)
{
	static const struct {
		const char *name;
		int status;
		int hung, in_step;
		uint32_t want;
	} row[] = {
		{ "SIGSEGV in a step", SIGSEGV, 0, 1, 2 },
		{ "SIGBUS in a step", SIGBUS, 0, 1, 2 },
		{ "SIGABRT in a step", SIGABRT, 0, 1, 2 },
		{ "SIGFPE in a step", SIGFPE, 0, 1, 2 },
		{ "SIGSEGV, core dumped", SIGSEGV | 0x80, 0, 1, 2 },
		{ "SIGSEGV between steps", SIGSEGV, 0, 0, 0 },
		{ "SIGKILL from outside", SIGKILL, 0, 1, 0 },
		{ "SIGTERM", SIGTERM, 0, 1, 0 },
		{ "the watchdog", SIGKILL, 1, 1, 2 },
		{ "an exit in a step", 1 << 8, 0, 1, 0 },
	};
	unsigned i;

	for (i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		struct life l = { 0 };

		ROW(row[i].name);
		life_begin(&l, &board);
		l.ready = true;
		l.hung = row[i].hung;
		board.nr_rows = 2;
		board.row[1].session = 77;
		board.row[1].gen = 5;
		board.step_begin_ns = row[i].in_step;
		board.nr_blamed = 9; /* of an earlier death */
		memset(board.blamed, 0, sizeof(board.blamed[0]) * 2);
		CHECK_EQ(life_end(&l, &board, row[i].status, false, 1, &at,
				  &err),
			 LIFE_AGAIN);
		CHECK_EQ(board.nr_blamed, row[i].want);
		CHECK_EQ(board.blamed[1].session, row[i].want ? 77 : 0);
		CHECK_EQ(board.step_begin_ns, 0);
	}
}

TEST(a_mad_engine_cannot_make_the_blame_overflow)
{
	struct life l = { 0 };

	life_begin(&l, &board);
	l.ready = true;
	board.step_begin_ns = 1;
	board.nr_rows = ~0u;
	CHECK_EQ(life_end(&l, &board, SIGSEGV, false, 1, &at, &err),
		 LIFE_AGAIN);
	CHECK_EQ(board.nr_blamed, BOARD_MAX_ROWS);
}

TEST(the_first_restart_is_immediate_then_pauses_grow_to_an_end)
{
	struct life l = { .max_crashes = 10 };
	uint64_t last = 0;
	int i;

	CHECK_EQ(live(&l, 1, 5, SIGSEGV), LIFE_AGAIN);
	CHECK_EQ(at, 1000 * MS);
	for (i = 1; i < 10; i++) {
		CHECK_EQ(live(&l, 1, 0, SIGSEGV), LIFE_AGAIN);
		if (i == 1)
			CHECK_EQ(at, 1000 * MS);
		else
			CHECK(at > last);
		CHECK(at <= 6000 * MS);
		last = at;
	}
	CHECK_EQ(live(&l, 1, 0, SIGSEGV), LIFE_OVER);
	CHECK(strstr(err.text, "10 engines"));
	CHECK(strstr(err.text, "signal 11"));
	CHECK(err.code < 0);
}

TEST(a_token_forgives_all_crashes_before_it)
{
	struct life l = { .max_crashes = 3 };
	int i;

	CHECK_EQ(live(&l, 1, 1, SIGABRT), LIFE_AGAIN);
	for (i = 0; i < 20; i++) {
		CHECK_EQ(live(&l, 1, 0, SIGABRT), LIFE_AGAIN);
		CHECK_EQ(live(&l, 0, 0, exited(1)), LIFE_AGAIN);
		CHECK_EQ(live(&l, 1, 1, SIGABRT), LIFE_AGAIN);
		CHECK_EQ(at, 1000 * MS);
	}
}

TEST(kills_from_outside_are_no_crashes)
{
	struct life l = { .max_crashes = 3 };
	int i;

	for (i = 0; i < 50; i++) { /* while it serves: no pause either */
		CHECK_EQ(live(&l, 1, 0, SIGKILL), LIFE_AGAIN);
		CHECK_EQ(at, 1000 * MS);
	}
	for (i = 0; i < 50; i++) /* while it starts: slower and slower */
		CHECK_EQ(live(&l, 0, 0, SIGKILL), LIFE_AGAIN);
	CHECK_EQ(at, 6000 * MS);
}

TEST(a_first_start_that_fails_is_not_repeated_and_says_its_line)
{
	struct life l = { .max_crashes = 10 };

	life_begin(&l, &board);
	snprintf(board.failed, sizeof(board.failed), "config.json: gone");
	CHECK_EQ(life_end(&l, &board, exited(1), false, 1, &at, &err),
		 LIFE_OVER);
	CHECK_STR(err.text, "config.json: gone");
	memset(&l, 0, sizeof(l));
	CHECK_EQ(live(&l, 0, 0, SIGSEGV), LIFE_OVER);
	CHECK(strstr(err.text, "before it served"));
	/* but killed by others, or after one had served: it is */
	memset(&l, 0, sizeof(l));
	CHECK_EQ(live(&l, 0, 0, SIGKILL), LIFE_AGAIN);
	CHECK_EQ(live(&l, 1, 0, SIGSEGV), LIFE_AGAIN);
	CHECK_EQ(live(&l, 0, 0, exited(1)), LIFE_AGAIN);
}

TEST(an_engine_told_to_end_ends_and_one_that_dies_meanwhile_does_not)
{
	struct life l = { 0 };

	life_begin(&l, &board);
	l.ready = true;
	CHECK_EQ(life_end(&l, &board, exited(0), true, 1, &at, &err),
		 LIFE_ENDED);
	CHECK_EQ(life_end(&l, &board, SIGSEGV, true, 1, &at, &err), LIFE_AGAIN);
	CHECK_EQ(life_end(&l, &board, exited(0), false, 1, &at, &err),
		 LIFE_AGAIN);
	CHECK(strstr(err.text, "by itself"));
}

TEST(the_watchdog_bites_only_a_step_past_its_patience)
{
	uint64_t look;

	memset(&board, 0, sizeof(board));
	CHECK(!life_hangs(&board, 1ull << 60, &look));
	CHECK(look >= 1000 * MS); /* nothing known: no hurry */
	board.step_limit_ns = 8000 * MS;
	CHECK(!life_hangs(&board, 1ull << 60, &look)); /* between steps */
	CHECK_EQ(look, 2000 * MS);
	board.step_begin_ns = 100;
	CHECK(!life_hangs(&board, 50, &look)); /* begun since we looked */
	CHECK(!life_hangs(&board, 100 + 8000 * MS, &look));
	CHECK(life_hangs(&board, 101 + 8000 * MS, &look));
	board.step_limit_ns = 1;
	CHECK(life_hangs(&board, 102, &look));
	CHECK(look >= 10 * MS); /* never a busy loop */
}
