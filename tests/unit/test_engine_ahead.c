/* SPDX-License-Identifier: MIT */
/*
 * The engine over a backend that answers a step late (backend.h, submit): all
 * that test_engine.c says of the other kind holds.
 */
#define TOY_LATE
#include "tests/unit/test_engine.c"

TEST(one_stream_alone_has_its_rows_submitted_before_their_tokens_are_known)
{
	uint32_t prompt[] = { 'h', 'i' }, n;
	struct rig_session *x;

	rig_init(&R);
	x = rig_session(&R, 0, 1);
	toy_late = 0;
	rig_ids(x, 0, prompt, 2, 40, 9);
	CHECK_EQ(rig_run(&R), 0);
	check_ids(x, 0, prompt, 2, 40, 9);
	n = LLM_COMMIT_TAIL(rig_word(x, 0));
	/* all but the first, and where it ended unforeseen one too many */
	CHECK_EQ(toy_late, n < 40 ? n : n - 1);
	CHECK_EQ(R.board.info.tokens_out, n);
	CHECK_EQ(R.board.nr_rows, 1);
	CHECK_EQ(R.board.step_begin_ns, 0);
	rig_deinit(&R);
}

static uint32_t most_rows;
static bool twice;

/* The board, in each turn: whose rows are under way? */
static int look_at_board(struct rig *r, uint64_t deadline_ns)
{
	const struct board *b = &r->board;
	uint32_t i, k;

	if (b->nr_rows > most_rows && b->step_begin_ns)
		most_rows = b->nr_rows;
	for (i = 0; i < b->nr_rows; i++)
		for (k = 0; k < i; k++)
			twice |= b->row[i].session == b->row[k].session &&
				 b->row[i].stream == b->row[k].stream;
	return deadline_ns == UINT64_MAX;
}

TEST(the_board_names_the_rows_of_all_steps_under_way_once)
{
	struct rig_session *x;
	uint32_t prompt[8], i;

	fill(prompt, 8);
	rig_init(&R);
	R.script = look_at_board;
	R.max_tokens = R.max_seqs = 4; /* so they take turns */
	x = rig_session(&R, 0, 1);
	for (i = 0; i < 10; i++)
		rig_ids(x, (uint16_t)i, prompt, 1 + i % 8, 12, i);
	most_rows = 0;
	CHECK_EQ(rig_run(&R), 0);
	for (i = 0; i < 10; i++)
		check_ids(x, i, prompt, 1 + i % 8, 12, i);
	CHECK(!twice);
	CHECK(most_rows > 2 && most_rows <= 8);
	rig_deinit(&R);
}
