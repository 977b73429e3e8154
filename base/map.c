/* SPDX-License-Identifier: MIT */
#include "base/map.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int map_open(struct map *map, const char *path, struct err *err)
{
	struct stat st;
	void *data = NULL;
	int fd, ret = 0;

	memset(map, 0, sizeof(*map));
	/* O_NONBLOCK: a FIFO in the place of a file must not hold us up */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0) {
		ret = -errno;
		return err_set(err, ret, "%s: %s", path, strerror(-ret));
	}
	if (fstat(fd, &st) < 0) {
		ret = -errno;
		err_set(err, ret, "%s: %s", path, strerror(-ret));
		goto out_close;
	}
	if (!S_ISREG(st.st_mode)) {
		ret = err_set(err, -EINVAL, "%s: not a regular file", path);
		goto out_close;
	}
	if (st.st_size > 0) {
		data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd,
			    0);
		if (data == MAP_FAILED) {
			ret = -errno;
			err_set(err, ret, "%s: %s", path, strerror(-ret));
			goto out_close;
		}
	}
	map->data = data;
	map->size = (size_t)st.st_size;
out_close:
	close(fd);
	return ret;
}

void map_close(struct map *map)
{
	if (map->data)
		munmap((void *)map->data, map->size);
	memset(map, 0, sizeof(*map));
}
