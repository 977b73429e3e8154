/* SPDX-License-Identifier: MIT */
#include "tools/rows.h"
#include "base/err.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define ROOM	    (1u << 20) /* numbers of a step: 4 MiB as F32 */
#define MAX_THREADS 64u

static uint32_t usable_cpus(void)
{
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return 1;
	return (uint32_t)CPU_COUNT(&set);
}

int rows_init(struct rows *r, uint32_t threads, struct err *err)
{
	memset(r, 0, sizeof(*r));
	r->nr_threads = threads ? threads : usable_cpus();
	if (r->nr_threads > MAX_THREADS)
		r->nr_threads = MAX_THREADS;
	r->plain = malloc(ROOM * sizeof(*r->plain));
	r->back = malloc(ROOM * sizeof(*r->back));
	r->made = malloc(ROOM * sizeof(float));
	r->moved = malloc(ROOM * sizeof(*r->moved));
	r->square = malloc(ROOM * sizeof(*r->square));
	r->worst = malloc(ROOM * sizeof(*r->worst));
	if (r->plain && r->back && r->made && r->moved && r->square && r->worst)
		return 0;
	rows_deinit(r);
	return err_set(err, -ENOMEM, "no memory for a step of rows");
}

void rows_deinit(struct rows *r)
{
	free(r->plain);
	free(r->back);
	free(r->made);
	free(r->moved);
	free(r->square);
	free(r->worst);
	memset(r, 0, sizeof(*r));
}

uint64_t rows_fit(const struct rows *r, const struct rows_how *how)
{
	(void)r;
	return how->cols < ROOM ? ROOM / how->cols : 1;
}

/* The row of the source that row @row of the result is. */
static uint64_t source_row(const struct rows_how *how, uint64_t row)
{
	uint64_t n = how->pair_rows, d;

	if (!n)
		return row;
	d = row % n;
	return row - d + (d % 2) * (n / 2) + d / 2;
}

/* A thread's share of a step. */
struct share {
	struct rows *r;
	const struct rows_how *how;
	uint64_t row;	     /* first of the step */
	uint64_t first, end; /* rows of the step */
	bool bad, started;
	pthread_t thread;
};

/* False where a number is not finite. */
static bool measure(struct rows *r, uint64_t i, uint64_t cols)
{
	const float *a = r->plain + i * cols, *b = r->back + i * cols;
	double moved = 0, square = 0, worst = 0;

	for (uint64_t k = 0; k < cols; k++) {
		double d = (double)b[k] - (double)a[k];

		moved += d * d;
		square += (double)a[k] * (double)a[k];
		if (fabs(d) > worst)
			worst = fabs(d);
	}
	r->moved[i] = moved;
	r->square[i] = square;
	r->worst[i] = worst;
	return isfinite(moved) && isfinite(square);
}

static bool all_finite(const float *x, uint64_t n)
{
	for (uint64_t k = 0; k < n; k++)
		if (!isfinite(x[k]))
			return false;
	return true;
}

static void *convert(void *arg)
{
	struct share *s = arg;
	const struct rows_how *how = s->how;
	const struct weight_format *from = &weight_formats[how->from];
	const struct weight_format *to = &weight_formats[how->to];
	size_t from_bytes = weight_row_bytes(how->from, (uint32_t)how->cols);
	size_t to_bytes = weight_row_bytes(how->to, (uint32_t)how->cols);

	for (uint64_t i = s->first; i < s->end && !s->bad; i++) {
		const uint8_t *src = (const uint8_t *)how->src +
				     source_row(how, s->row + i) * from_bytes;
		float *plain = s->r->plain + i * how->cols;
		uint8_t *made = s->r->made + i * to_bytes;

		if (how->from == how->to) {
			memcpy(made, src, to_bytes);
			s->r->moved[i] = s->r->square[i] = 0;
			s->r->worst[i] = 0;
			continue;
		}
		from->unpack(src, plain, how->cols);
		if (!all_finite(plain, how->cols)) {
			s->bad = true;
			break;
		}
		to->pack(plain, made, how->cols);
		to->unpack(made, s->r->back + i * how->cols, how->cols);
		s->bad = !measure(s->r, i, how->cols);
	}
	return NULL;
}

int rows_convert(struct rows *r, const struct rows_how *how, uint64_t row,
		 uint64_t n, const void **ret_made, struct rows_error *e)
{
	struct share share[MAX_THREADS];
	uint32_t nr = n < r->nr_threads ? (uint32_t)n : r->nr_threads;
	bool bad = false;

	if (how->cols > ROOM)
		return -E2BIG;
	for (uint32_t t = 0; t < nr; t++)
		share[t] = (struct share){ .r = r,
					   .how = how,
					   .row = row,
					   .first = n * t / nr,
					   .end = n * (t + 1) / nr };
	/* the last share is ours; one whose thread did not start, too */
	for (uint32_t t = 0; t + 1 < nr; t++)
		share[t].started = !pthread_create(&share[t].thread, NULL,
						   convert, &share[t]);
	for (uint32_t t = nr; t-- > 0;) {
		if (share[t].started)
			pthread_join(share[t].thread, NULL);
		else
			convert(&share[t]);
		bad = bad || share[t].bad;
	}
	if (bad)
		return -EDOM;
	for (uint64_t i = 0; i < n; i++) {
		e->moved += r->moved[i];
		e->square += r->square[i];
		if (r->worst[i] > e->worst)
			e->worst = r->worst[i];
	}
	*ret_made = r->made;
	return 0;
}

double rows_rms(const struct rows_error *e)
{
	return e->moved > 0 ? sqrt(e->moved / e->square) : 0;
}
