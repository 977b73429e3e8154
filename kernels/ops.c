/* SPDX-License-Identifier: MIT */
#include "kernels/ops.h"

#include <string.h>

/* fastest first */
static const struct ops *const sets[] = { &ops_avx512, &ops_avx2, &ops_ref };

const struct ops *ops_find(const char *name)
{
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++)
		if ((!name || !strcmp(name, sets[i]->name)) &&
		    sets[i]->usable())
			return sets[i];
	return NULL;
}
