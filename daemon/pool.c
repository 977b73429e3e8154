/* SPDX-License-Identifier: MIT */
#include "daemon/pool.h"

#include "base/table.h"

#include <errno.h>
#include <stdlib.h>

int pool_init(struct pool *p, uint32_t max)
{
	uint32_t i;

	*p = (struct pool){ .max = max };
	p->all = table_alloc(max, sizeof(*p->all));
	p->glance = calloc(max, sizeof(*p->glance));
	p->order = malloc(max * sizeof(*p->order));
	if (!p->all || !p->glance || !p->order) {
		pool_deinit(p);
		return -ENOMEM;
	}
	for (i = 0; i < max; i++)
		p->order[i] = i;
	return 0;
}

void pool_deinit(struct pool *p)
{
	table_free(p->all);
	free(p->glance);
	free(p->order);
	*p = (struct pool){ 0 };
}

uint32_t pool_get(struct pool *p)
{
	uint32_t i;

	if (p->nr == p->max)
		return POOL_NONE;
	i = p->order[p->nr];
	p->all[i].place = p->nr++;
	p->all[i].seq = POOL_NONE;
	p->all[i].text = 0;
	return i;
}

void pool_put(struct pool *p, uint32_t i)
{
	uint32_t place = p->all[i].place, last = p->order[--p->nr];

	p->order[place] = last;
	p->all[last].place = place;
	p->order[p->nr] = i;
}
