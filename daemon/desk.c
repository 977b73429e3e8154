/* SPDX-License-Identifier: MIT */
#include "daemon/desk.h"
#include "daemon/carrier.h"

#include <errno.h>
#include <stdlib.h>

int desk_open(struct desk **ret, struct session *s)
{
	struct desk *d = calloc(1, sizeof(*d));
	uint32_t i;

	if (!d)
		return -ENOMEM;
	d->session = s;
	d->stream = malloc(s->nr_streams * sizeof(*d->stream));
	if (!d->stream ||
	    extent_init(&d->extents, s->nr_streams, s->off_extent,
			s->log_size) ||
	    wish_init(&d->wishes, s->nr_streams)) {
		desk_close(d);
		return -ENOMEM;
	}
	for (i = 0; i < s->nr_streams; i++)
		d->stream[i] = DESK_NONE;
	*ret = d;
	return 0;
}

void desk_close(struct desk *d)
{
	wish_deinit(&d->wishes);
	extent_deinit(&d->extents);
	free(d->stream);
	free(d);
}
