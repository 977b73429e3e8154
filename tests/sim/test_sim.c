/* SPDX-License-Identifier: MIT */
/*
 * One seed drives arrivals, cancels, deadlines, holds and crashes through
 * core/, with machines of random shape; rig.h checks every token, row, block
 * and book after each step.  LLM_SIM_SEED runs that seed alone, LLM_SIM_RUNS
 * so many (700: a
 * million events).
 */
#include "tests/test.h"

#include "tests/sim/rig.h"

#include <signal.h>
#include <unistd.h>

#define NR_STREAMS 60

static struct rig rig;
static char row[64];

/* An assertion of core/ failed: say where to begin. */
static void on_abort(int sig)
{
	ssize_t ignored = write(1, row, strlen(row));

	(void)ignored;
	(void)sig;
}

static uint32_t pick(uint32_t least, uint32_t most)
{
	return least + rig_below(&rig.luck, most - least + 1);
}

/* Some lengths that matter among many that do not. */
static uint32_t pick_len(uint32_t most)
{
	static const uint32_t edges[] = { 1, 2, 15, 16, 17, 32, 33, 48, 64 };
	uint32_t len = pick(0, 2) ? pick(1, most) : edges[pick(0, 8)];

	return len < most ? len : most;
}

static struct sched_options machine(uint64_t *luck)
{
	struct sched_options opt = { .max_tenants = 8, .hash_key = { 9 } };
	uint32_t chunk = rig_below(luck, 5);

	opt.nr_blocks = 8 + rig_below(luck, 120);
	opt.context = 16 * (opt.nr_blocks - 1);
	opt.max_tokens_per_step = chunk == 0   ? 1 + rig_below(luck, 20)
				  : chunk == 1 ? 16
					       : 16 + rig_below(luck, 200);
	opt.max_running = 1 + rig_below(luck, 20);
	opt.max_seqs = opt.max_running + rig_below(luck, 60);
	opt.queue_entries = 1 + rig_below(luck, 40);
	opt.queue_tokens = 100 + rig_below(luck, 20000);
	opt.no_prefix_index = rig_below(luck, 8) == 0;
	if (rig_below(luck, 2))
		opt.target_gap_ns[CLASS_INTERACTIVE] =
			1000000 + rig_below(luck, 3000000);
	return opt;
}

/* A request of any kind; its prompt may begin as another one's did. */
static void arrive(uint32_t most)
{
	uint32_t prompt = pick_len(most * 3 / 4), shared;
	uint32_t out = pick_len(most - prompt);
	struct rig_stream *st = rig_stream(&rig, pick(1, 4), prompt, out);

	if (!st)
		return;
	shared = pick(0, 3) ? pick_len(prompt) : prompt;
	rig_prompt(&rig, st, pick(1, 3), 0);
	rig_prompt(&rig, st, rig_rand(&rig.luck), shared);
	st->cls = (enum sched_class)pick(0, 2);
	st->score = prompt > 1 && pick(0, 9) == 0;
	if (st->score)
		st->max_len = st->prompt_len;
	if (pick(0, 4) == 0)
		st->deadline_ns = rig.now_ns + 1 + pick(0, 400000000);
	if (rig_submit(&rig, st))
		rig_free_stream(st);
}

static struct rig_stream *any_live(void)
{
	struct rig_stream *st = &rig.streams[pick(0, NR_STREAMS - 1)];

	return st->state == RIG_LIVE && st->in_sched ? st : NULL;
}

/* Something happens to somebody. */
static void happen(struct rig *r)
{
	struct rig_stream *st = any_live();

	if (!st)
		return;
	if (pick(0, 3) == 0)
		rig_end(r, st, RIG_CANCELLED);
	else
		sched_hold(&r->s, st->id, pick(0, 1));
}

static void in_flight(struct rig *r)
{
	if (pick(0, 15) == 0)
		happen(r);
}

/* A stop string: the token ends its stream. */
static void on_token(struct rig *r, struct rig_stream *st)
{
	if (pick(0, 63) == 0)
		rig_end(r, st, RIG_DONE);
}

static void clear_ended(void)
{
	uint32_t i;

	for (i = 0; i < NR_STREAMS; i++)
		if (rig.streams[i].state > RIG_LIVE)
			rig_free_stream(&rig.streams[i]);
}

static void live(uint32_t nr_events, uint32_t most)
{
	uint32_t i;

	for (i = 0; i < nr_events && !*rig.bad; i++) {
		uint32_t what = pick(0, 99);

		if (what < 12)
			arrive(most);
		else if (what < 18)
			happen(&rig);
		else if (what == 18 && pick(0, 5) == 0)
			rig_crash(&rig);
		else if (what == 19)
			rig.now_ns += pick(0, 50000000);
		else
			rig_step(&rig);
		clear_ended();
	}
}

/* One life; "" or what went wrong. */
static const char *run_seed(uint64_t seed, bool ahead)
{
	uint64_t luck = seed;
	struct sched_options opt = machine(&luck);
	uint32_t i, nr;

	if (rig_init(&rig, &opt, NR_STREAMS))
		return "rig_init";
	rig.luck = luck;
	rig.ahead = ahead;
	rig.check_all = true;
	rig.in_flight = in_flight;
	rig.on_token = on_token;
	live(1500, opt.context);
	/* all that is left ends, however it was disturbed */
	rig.in_flight = NULL;
	for (i = 0; i < NR_STREAMS; i++)
		if (rig.streams[i].state == RIG_LIVE)
			sched_hold(&rig.s, rig.streams[i].id, false);
	nr = rig_drain(&rig, 200000);
	if (rig_nr(&rig, RIG_LIVE))
		RIG_BAD(&rig, "%u streams never end (%u steps)",
			rig_nr(&rig, RIG_LIVE), nr);
	if (kv_nr_used(&rig.s.run.kv) || rig.s.run.nr_seqs)
		RIG_BAD(&rig, "blocks or sequences leak");
	if (rig.s.nr_ahead || rig.s.run.frozen || rig.s.run.wanted)
		RIG_BAD(&rig, "a step is under way for ever");
	if (rig.s.run.tenants.nr_wanting[0])
		RIG_BAD(&rig, "a tenant wants service that has no sequence");
	return rig.bad;
}

static void run_lives(bool ahead)
{
	const char *one = getenv("LLM_SIM_SEED");
	const char *runs = getenv("LLM_SIM_RUNS");
	uint64_t first = one ? strtoull(one, NULL, 0) : 1;
	const char *quick = getenv("LLM_QUICK");
	uint64_t usual = ahead && quick && *quick == '1' ? 200 : 700, seed;
	uint64_t nr = one ? 1 : runs ? strtoull(runs, NULL, 0) : usual;
	uint64_t rows = 0, preempts = 0, hits = 0, same = 0, late = 0, vain = 0;

	signal(SIGABRT, on_abort);
	for (seed = first; seed < first + nr; seed++) {
		snprintf(row, sizeof(row), "LLM_SIM_SEED=%llu",
			 (unsigned long long)seed);
		ROW(row);
		CHECK_STR(run_seed(seed, ahead), "");
		rows += rig.rows;
		preempts += rig.s.run.nr_preempts;
		hits += rig.s.run.hit_tokens;
		same += rig.nr_same;
		late += rig.nr_late;
		vain += rig.nr_vain;
		rig_deinit(&rig);
	}
	printf("# %llu lives: %llu rows, %llu preemptions, %llu hit tokens\n",
	       (unsigned long long)nr, (unsigned long long)rows,
	       (unsigned long long)preempts, (unsigned long long)hits);
	/* the lives must have been eventful, or nothing was tested */
	CHECK(one || nr < 100 ||
	      (preempts > nr && hits > 100 * nr && same > 100 * nr));
	if (!ahead)
		return;
	printf("# %llu rows of tokens not known, %llu outputs in vain\n",
	       (unsigned long long)late, (unsigned long long)vain);
	CHECK(one || nr < 100 || (late > 100 * nr && vain > nr));
}

TEST(T16_any_life_keeps_tokens_blocks_and_books)
{
	run_lives(false);
}

TEST(and_so_does_one_that_is_planned_a_step_ahead)
{
	run_lives(true);
}
