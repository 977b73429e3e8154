/* SPDX-License-Identifier: MIT */
/*
 * A slow test: checkpoints in FP8, INT8 and 4 bits (tests/model/quantized.h), and
 * plain ones rounded at load, on the CUDA backend: logits near those of float64
 * over the very numbers, and the same bits however a text is cut and whoever
 * shares the step.
 *
 * Activations are BF16: half a unit in the last place is 2^-9 of a number, in
 * some ten roundings a layer; that is up to a hundredth of the logits.
 */
#include "tests/cuemu/gpu.h"
#include "tests/model/quantized.h"

#include <math.h>

#define NR_IDS 40u

static struct qz_file file;
static uint32_t ids[NR_IDS];
static float want[NR_IDS][QZ_VOCAB], got[NR_IDS][QZ_VOCAB];

static void read_ids(const json_t *golden)
{
	const json_t *list = json_object_get(golden, "ids");

	CHECK_EQ(json_array_size(list), NR_IDS);
	for (uint32_t i = 0; i < NR_IDS; i++)
		ids[i] = (uint32_t)json_integer_value(json_array_get(list, i));
}

/* All logits, @chunk tokens a step, behind @before tokens of another's. */
static void run(struct drive *d, uint32_t chunk, uint32_t before,
		float to[NR_IDS][QZ_VOCAB])
{
	struct seq s, other;

	seq_init(&s, ids, NR_IDS);
	seq_init(&other, ids + 3, NR_IDS - 3);
	while (s.computed < NR_IDS) {
		uint32_t at = s.computed, n = NR_IDS - at;
		const struct batch_out *o;

		n = n < chunk ? n : chunk;
		drive_begin(d);
		if (before && other.known - other.computed >= before)
			drive_span(d, &other, before, OUT_NONE, NULL, true);
		o = drive_span(d, &s, n, OUT_SCORE, NULL, true);
		drive_run(d);
		for (uint32_t i = 0; i < n; i++)
			drive_logits(d, o + i, to[at + i]);
	}
}

/* The last logits are off by that much of what they are; golden: @form's. */
static double error_of(const json_t *golden, size_t form)
{
	const json_t *logits =
		json_object_get(qz_golden(golden, form), "logits");
	double error = 0, all = 0;

	CHECK_EQ(json_array_size(logits), QZ_VOCAB);
	for (size_t i = 0; i < QZ_VOCAB; i++) {
		double w = json_number_value(json_array_get(logits, i));
		double e = want[NR_IDS - 1][i] - w;

		error += e * e;
		all += w * w;
	}
	return sqrt(error / all);
}

static void check(struct drive *d, const json_t *golden, size_t form,
		  const char *as, double most)
{
	double e;

	run(d, NR_IDS, 0, want);
	e = error_of(golden, form);
	printf("# %s%s: off by %.4f of the logits\n", qz_forms[form].name, as,
	       e);
	CHECK(e < most);
	run(d, 1, 0, got);
	CHECK(!memcmp(want, got, sizeof(want)));
	run(d, 7, 5, got);
	CHECK(!memcmp(want, got, sizeof(want)));
}

TEST(checkpoints_of_8_and_of_4_bits_are_computed_as_they_are)
{
	json_t *golden = qz_read();

	read_ids(golden);
	for (size_t i = 0; i <= NR_QZ; i++) {
		struct drive d;

		gpu_open(&d, qz_write(i, &file));
		check(&d, golden, i, "", 0.02);
		drive_close(&d);
	}
	json_decref(golden);
}

/*
 * What is lost now is the weights' rounding: of e4m3 2.6 % of a number, of 128
 * codes of 4 bits a step of an eighth of the largest, some 10 %.
 */
TEST(plain_checkpoints_are_rounded_when_they_are_asked_to_be)
{
	static const struct {
		enum backend_weights weights;
		const char *as;
		double most;
	} rows[] = {
		{ BACKEND_WEIGHTS_INT8, " as int8", 0.05 },
		{ BACKEND_WEIGHTS_FP8, " as fp8", 0.1 },
		{ BACKEND_WEIGHTS_INT4, " as int4", 0.4 },
	};
	json_t *golden = qz_read();
	uint64_t arith[3];

	read_ids(golden);
	for (size_t i = 0; i < 3; i++) {
		struct drive d;

		gpu_open_weights(&d, qz_write(QZ_PLAIN, &file),
				 rows[i].weights);
		arith[i] = d.be->info.arith;
		check(&d, golden, QZ_PLAIN, rows[i].as, rows[i].most);
		drive_close(&d);
	}
	CHECK(arith[0] != arith[1] && arith[1] != arith[2]);
	json_decref(golden);
}
