/* SPDX-License-Identifier: MIT */
#include "daemon/model/kvsize.h"
#include "base/err.h"
#include "daemon/core/batch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A slot, block * KV_BLOCK + offset, is 32 bits wide; op sets take 2^27. */
#define MAX_BLOCKS (1u << 27)

static double mib(uint64_t bytes)
{
	return (double)bytes / (1 << 20);
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* Blocks that @tokens take. */
static uint64_t blocks_of(uint64_t tokens)
{
	return (tokens + KV_BLOCK - 1) / KV_BLOCK;
}

int kvsize_plan(const struct kvsize_ask *a, struct kvsize *ret_size,
		struct err *err)
{
	uint64_t bytes = a->kv_bytes, need, blocks;
	uint32_t context = a->max_context ? a->max_context : a->model_context;

	if (context > a->model_context)
		return err_set(err, -EINVAL,
			       "%s: max-context is %u, the model allows 1 to "
			       "%u (max_position_embeddings)",
			       a->where, context, a->model_context);
	if (bytes > a->available)
		return err_set(err, -ENOMEM,
			       "%s: kv-memory is %.1f MiB, %.1f MiB of memory "
			       "are available",
			       a->where, mib(bytes), mib(a->available));
	need = blocks_of(context) * a->block_bytes; /* one sequence */
	if (!bytes)
		bytes = min(need * a->max_seqs, a->most);
	blocks = min(bytes / a->block_bytes, MAX_BLOCKS - 1);
	if (blocks < blocks_of(context)) {
		/* only what nobody asked for may be made smaller */
		if (a->kv_bytes || a->max_context || !blocks)
			return err_set(
				err, -ENOMEM,
				"%s: kv-memory of %.1f MiB holds %" PRIu64
				" tokens, a sequence of max-context %u "
				"needs %.1f MiB",
				a->where, mib(bytes), blocks * KV_BLOCK,
				context, mib(need));
		context = (uint32_t)(blocks * KV_BLOCK);
	}
	ret_size->context = context;
	ret_size->nr_blocks = (uint32_t)blocks + 1;
	ret_size->bytes = (blocks + 1) * a->block_bytes;
	return 0;
}

bool kvsize_has_room(uint64_t available, uint64_t copy, uint64_t kv_bytes)
{
	return copy <= available - available / 4 &&
	       kv_bytes <= available - copy;
}

/* The number in @path after @key ("" = the first); UINT64_MAX if none. */
static uint64_t read_number(const char *path, const char *key)
{
	FILE *f = fopen(path, "re");
	uint64_t n, ret = UINT64_MAX;
	char line[256];

	while (f && ret == UINT64_MAX && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)) &&
		    sscanf(line + strlen(key), "%" SCNu64, &n) == 1)
			ret = n;
	if (f)
		fclose(f);
	return ret;
}

uint64_t kvsize_available(void)
{
	uint64_t kib = read_number("/proc/meminfo", "MemAvailable:");
	uint64_t limit = read_number("/sys/fs/cgroup/memory.max", "");
	uint64_t used = read_number("/sys/fs/cgroup/memory.current", "");
	uint64_t machine = kib < UINT64_MAX / 1024 ? kib * 1024 : UINT64_MAX;

	/* "max" is no number: no limit of ours, or an outer one unseen */
	if (limit == UINT64_MAX || used == UINT64_MAX)
		return machine;
	return min(machine, limit > used ? limit - used : 0);
}
