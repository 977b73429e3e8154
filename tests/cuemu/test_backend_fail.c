/* SPDX-License-Identifier: MIT */
/*
 * The CUDA backend where things go wrong, and what it takes: a device that
 * fails in a step, that is not there, that is too small; memory, copies and
 * allocations of a step.
 */
#include "tests/cuemu/gpu.h"

#include <errno.h>

#define MODEL "tests/data/models/llama3-gqa-bf16"

static const struct sampling greedy = { .top_p = 1, .repetition_penalty = 1 };

/* One step of @n tokens of @s, the last one's successor wanted. */
static int step(struct drive *d, struct seq *s, uint32_t n)
{
	drive_begin(d);
	drive_span(d, s, n, OUT_LAST, &greedy, true);
	return d->be->run(d->be, &d->batch);
}

static void begin(struct seq *s)
{
	uint32_t ids[64];

	for (uint32_t i = 0; i < 64; i++)
		ids[i] = 3 + 7 * i;
	seq_init(s, ids, 64);
}

/* A chunk of a prompt that wants no output. */
static void chunk(struct drive *d, struct seq *s, uint32_t n)
{
	drive_begin(d);
	drive_span(d, s, n, OUT_NONE, NULL, true);
	drive_run(d);
}

TEST(a_step_takes_no_memory_and_sends_itself_in_one_copy)
{
	struct fake_cuda *fake = gpu_runtime();
	struct drive d;
	struct seq s;

	gpu_open(&d, MODEL);
	begin(&s);
	fake->allocations = fake->copies_in = fake->copies_out = 0;
	fake->waits = 0;
	CHECK_EQ(step(&d, &s, 20), 0);
	CHECK_EQ(step(&d, &s, 1), 0);
	CHECK_EQ(step(&d, &s, 1), 0);
	CHECK_EQ(fake->allocations, 0);
	/* of each: the step, and what is asked of its output */
	CHECK_EQ(fake->copies_in, 3 * 2);
	CHECK_EQ(fake->copies_out, 3);
	CHECK_EQ(fake->waits, 3);
	fake->copies_in = fake->copies_out = fake->waits = 0;
	chunk(&d, &s, 5);
	CHECK_EQ(fake->copies_in, 1);
	CHECK_EQ(fake->copies_out, 0);
	CHECK_EQ(fake->waits, 1);
	drive_close(&d);
}

TEST(a_step_is_waited_for_once_and_not_for_the_one_behind_it)
{
	struct fake_cuda *fake = gpu_runtime();
	struct drive d;
	struct seq s;

	gpu_open(&d, MODEL);
	begin(&s);
	fake->allocations = fake->waits = 0;
	for (uint32_t i = 0; i < 8; i++) {
		/* every other one wants an output */
		drive_begin(&d);
		drive_span(&d, &s, 5, i % 2 ? OUT_LAST : OUT_NONE, &greedy,
			   true);
		CHECK_EQ(d.be->submit(d.be, &d.batch), 0);
		if (!i)
			continue;
		CHECK_EQ(fake->waits, i - 1);
		/* the one before it had these */
		d.batch.nr_outs = !(i % 2);
		CHECK_EQ(d.be->collect(d.be, &d.batch), 0);
		CHECK_EQ(fake->waits, i);
	}
	CHECK_EQ(fake->allocations, 0);
	drive_close(&d);
	CHECK_EQ(fake->held, 0);
}

TEST(a_graph_is_recorded_once_for_each_size_of_a_step)
{
	struct fake_cuda *fake = gpu_runtime();
	struct drive d;
	struct seq s;

	gpu_open(&d, MODEL);
	begin(&s);
	CHECK_EQ(step(&d, &s, 5), 0);
	CHECK_EQ(step(&d, &s, 1), 0);
	CHECK_EQ(fake->graphs, 2);
	fake->launches = 0;
	CHECK_EQ(step(&d, &s, 1), 0);
	CHECK_EQ(step(&d, &s, 8), 0); /* as 5 */
	CHECK_EQ(fake->graphs, 2);
	CHECK_EQ(fake->graph_launches, 4);
	/* head, sample, score */
	CHECK_EQ(fake->launches, 2 * 3);
	drive_close(&d);
	CHECK_EQ(fake->held, 0);
}

TEST(without_graphs_a_step_has_the_same_bits)
{
	static const char *const calls[] = { "", "cudaStreamBeginCapture",
					     "launch", "cudaStreamEndCapture",
					     "cudaGraphInstantiate" };
	struct fake_cuda *fake = gpu_runtime();
	float rows[2][512];

	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		struct drive d;
		struct seq s;

		ROW(calls[i]);
		gpu_open(&d, MODEL);
		fake->refuse = calls[i];
		begin(&s);
		CHECK_EQ(step(&d, &s, 20), 0);
		CHECK_EQ(step(&d, &s, 1), 0);
		CHECK_EQ(step(&d, &s, 1), 0);
		CHECK_EQ(fake->graph_launches, i ? 0 : 3);
		drive_logits(&d, d.batch.out, rows[i > 0]);
		CHECK(!memcmp(rows[0], rows[i > 0], d.vocab * sizeof(float)));
		drive_close(&d);
		CHECK_EQ(fake->held, 0);
	}
}

TEST(a_graph_that_cannot_be_started_is_an_error_of_the_device)
{
	struct fake_cuda *fake = gpu_runtime();
	struct drive d;
	struct seq s;

	gpu_open(&d, MODEL);
	begin(&s);
	CHECK_EQ(step(&d, &s, 20), 0);
	fake->refuse = "cudaGraphLaunch";
	CHECK_EQ(step(&d, &s, 20), -EIO);
	fake->refuse = NULL;
	CHECK_EQ(step(&d, &s, 1), -EIO);
	drive_close(&d);
	CHECK_EQ(fake->held, 0);
}

TEST(a_step_may_follow_one_that_nobody_waited_for)
{
	float rows[2][512];
	struct drive d;
	struct seq s;

	gpu_open(&d, MODEL);
	for (uint32_t way = 0; way < 2; way++) {
		begin(&s);
		for (uint32_t i = 0; way && i < 3; i++) {
			drive_begin(&d);
			drive_span(&d, &s, 13, OUT_NONE, NULL, true);
			drive_run(&d);
		}
		CHECK_EQ(step(&d, &s, 64 - s.computed), 0);
		drive_logits(&d, d.batch.out, rows[way]);
	}
	CHECK(!memcmp(rows[0], rows[1], d.vocab * sizeof(float)));
	drive_close(&d);
}

TEST(a_device_that_fails_in_a_step_fails_for_good)
{
	struct fake_cuda *fake = gpu_runtime();
	long pieces[] = { 1, 2, 9, 20, 30 };
	struct drive d;
	struct seq s;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		gpu_open(&d, MODEL);
		begin(&s);
		CHECK_EQ(step(&d, &s, 20), 0);
		fake->fail_at = pieces[i];
		CHECK_EQ(step(&d, &s, 1), -EIO);
		CHECK_EQ(step(&d, &s, 1), -EIO);
		drive_close(&d);
		CHECK_EQ(fake->held, 0);
		CHECK_EQ(fake->taken, 0);
	}
}

TEST(a_device_that_fails_under_two_steps_fails_for_good)
{
	struct fake_cuda *fake = gpu_runtime();
	long pieces[] = { 1, 20, 40, 60 };
	struct drive d;
	struct seq s;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		int ret = 0;

		gpu_open(&d, MODEL);
		begin(&s);
		fake->fail_at = pieces[i];
		for (uint32_t k = 0; k < 3 && !ret; k++) {
			drive_begin(&d);
			drive_span(&d, &s, 5, OUT_LAST, &greedy, true);
			ret = d.be->submit(d.be, &d.batch);
			if (k && !ret)
				ret = d.be->collect(d.be, &d.batch);
		}
		CHECK_EQ(ret, -EIO);
		drive_close(&d);
		CHECK_EQ(fake->held, 0);
		CHECK_EQ(fake->taken, 0);
	}
}

TEST(a_device_that_fails_before_the_first_step_is_told)
{
	/* while it is asked whether its products agree; while it is loaded */
	long pieces[] = { 1, 3, 9, 14, 30, 38 };
	struct backend_options opt = gpu_options(MODEL);
	struct fake_cuda *fake = gpu_runtime();
	struct backend *be;

	for (size_t i = 0; i < sizeof(pieces) / sizeof(*pieces); i++) {
		struct err err = { 0 };

		gpu_reset();
		fake->fail_at = pieces[i];
		CHECK_EQ(model_open(&opt, &be, &err), -EIO);
		CHECK(strstr(err.text, "GPU 0: "));
		CHECK_EQ(fake->held, 0);
	}
}

TEST(everything_is_given_back)
{
	struct fake_cuda *fake = gpu_runtime();
	struct drive d;
	struct seq s;

	gpu_open(&d, MODEL);
	begin(&s);
	CHECK_EQ(step(&d, &s, 20), 0);
	CHECK(fake->held > 0);
	drive_close(&d);
	CHECK_EQ(fake->held, 0);
	CHECK_EQ(fake->taken, 0);
}

/* Open with @opt on a device that has @memory, @others of it in use. */
static int open_on(const struct backend_options *opt, size_t memory,
		   size_t others, struct err *err)
{
	struct fake_cuda *fake = gpu_runtime();
	struct backend *be;
	size_t may = memory - others;
	int ret;

	gpu_reset();
	fake->memory = memory;
	fake->others_use = others;
	*err = (struct err){ 0 };
	ret = model_open(opt, &be, err);
	if (ret)
		return ret;
	printf("# of %zu bytes %zu are taken: %u blocks\n", memory, fake->taken,
	       be->info.nr_blocks);
	CHECK(fake->taken <= memory - others);
	if (opt->gpu_share)
		may = memory / 1000 * opt->gpu_share;
	else if (opt->gpu_memory)
		may = opt->gpu_memory;
	CHECK(fake->taken <= may);
	/* as many blocks as fit, or all that 64 sequences can use */
	CHECK(may - fake->taken < 2 * be->info.kv_token_bytes * KV_BLOCK ||
	      be->info.nr_blocks == 64 * (be->info.context / KV_BLOCK) + 1);
	be->close(be);
	return 0;
}

TEST(kv_takes_what_is_allowed_and_weights_leave)
{
	struct backend_options opt = gpu_options(MODEL);
	struct err err;

	CHECK_EQ(open_on(&opt, 64 << 20, 0, &err), 0);
	opt.gpu_memory = 10 << 20;
	CHECK_EQ(open_on(&opt, 64 << 20, 30 << 20, &err), 0);
	opt.gpu_memory = 0;
	opt.gpu_share = 150;
	CHECK_EQ(open_on(&opt, 64 << 20, 30 << 20, &err), 0);
	opt.gpu_share = 0;
	CHECK_EQ(open_on(&opt, 11 << 20, 2 << 20, &err), 0);
	/* what was asked for is not more than is there */
	opt.kv_bytes = 16 << 20;
	CHECK_EQ(open_on(&opt, 22 << 20, 0, &err), -ENOMEM);
	CHECK(strstr(err.text, "kv-memory is 16.0 MiB, "));
}

TEST(a_model_that_does_not_fit_is_refused_with_the_figures)
{
	struct backend_options opt = gpu_options(MODEL);
	struct err err;

	CHECK_EQ(open_on(&opt, 2 << 20, 0, &err), -ENOMEM);
	CHECK(strstr(err.text, "weights of 0.00 GiB and buffers of 0.0"));
	CHECK(strstr(err.text, "GPU 0 (Emulated GPU: "));
	opt.gpu_memory = 40 << 20;
	CHECK_EQ(open_on(&opt, 64 << 20, 30 << 20, &err), -ENOMEM);
	CHECK(strstr(err.text, "gpu-memory is 0.04 GiB, GPU 0 (Emulated GPU) "
			       "has 0.03 GiB free of 0.06"));
}

TEST(a_device_that_is_not_there_is_told_in_a_line)
{
	static const struct {
		int devices;
		uint32_t number;
		const char *part;
	} rows[] = {
		{ -1, 0, "GPU 0: CUDA driver version is insufficient" },
		{ 0, 0, "GPU 0: no CUDA-capable device is detected" },
		{ 1, 1, "GPU 1: there are 1, counted from 0" },
		{ 2, 7, "GPU 7: there are 2, counted from 0" },
	};
	struct backend_options opt = gpu_options(MODEL);
	struct fake_cuda *fake = gpu_runtime();

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct err err = { 0 };
		struct backend *be;

		ROW(rows[i].part);
		gpu_reset();
		fake->devices = rows[i].devices;
		opt.device = rows[i].number;
		CHECK_EQ(model_open(&opt, &be, &err), -ENODEV);
		CHECK(strstr(err.text, rows[i].part));
		CHECK_EQ(fake->held, 0);
	}
}
