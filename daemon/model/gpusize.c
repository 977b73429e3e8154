/* SPDX-License-Identifier: MIT */
#include "daemon/model/gpusize.h"
#include "base/err.h"

#include <errno.h>

static double gib(uint64_t bytes)
{
	return (double)bytes / (1 << 30);
}

/* @share thousandths of @total, without overflow. */
static uint64_t part(uint64_t total, uint32_t share)
{
	return total / 1000 * share + total % 1000 * share / 1000;
}

int gpusize_plan(const struct gpusize_ask *a, uint64_t *ret_kv, struct err *err)
{
	uint64_t budget = a->bytes, need = a->weights + a->buffers;

	if (!budget)
		budget = part(a->total, a->share ? a->share : GPUSIZE_SHARE);
	if (budget > a->available) {
		if (a->bytes || a->share)
			return err_set(
				err, -ENOMEM,
				"%s: gpu-memory is %.2f GiB, GPU %u (%s) has "
				"%.2f GiB free of %.2f",
				a->where, gib(budget), a->number, a->device,
				gib(a->available), gib(a->total));
		budget = a->available;
	}
	if (need >= budget)
		return err_set(err, -ENOMEM,
			       "%s: weights of %.2f GiB and buffers of %.2f "
			       "GiB leave nothing for KV of the %.2f GiB that "
			       "may be used of GPU %u (%s: %.2f GiB free of "
			       "%.2f)",
			       a->where, gib(a->weights), gib(a->buffers),
			       gib(budget), a->number, a->device,
			       gib(a->available), gib(a->total));
	*ret_kv = budget - need;
	return 0;
}
