/* SPDX-License-Identifier: MIT */
#include "kernels/library.h"

#include "base/err.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Where @name would be beside this program; false: that cannot be said. */
static int beside_program(char path[PATH_MAX], const char *name)
{
	ssize_t n = readlink("/proc/self/exe", path, PATH_MAX - 1);
	char *slash;
	size_t room;

	if (n <= 0)
		return 0;
	path[n] = 0;
	slash = strrchr(path, '/');
	if (!slash)
		return 0;
	room = PATH_MAX - (size_t)(slash + 1 - path);
	return (size_t)snprintf(slash + 1, room, "%s", name) < room;
}

static void *open_library(const char *path)
{
	char near[PATH_MAX];

	if (!strchr(path, '/') && beside_program(near, path) &&
	    !access(near, F_OK))
		path = near;
	return dlopen(path, RTLD_NOW | RTLD_LOCAL);
}

int ops_load(const char *path, const struct ops **ret_ops, struct err *err)
{
	static const uint32_t sizes[] = OPS_LIBRARY_SIZES;
	const struct ops_library *l;
	void *handle = open_library(path);

	if (!handle)
		return err_set(err, -ENOENT, "%s: %s", path, dlerror());
	l = dlsym(handle, OPS_LIBRARY_SYMBOL);
	if (!l)
		return err_set(err, -EINVAL, "%s: has no %s", path,
			       OPS_LIBRARY_SYMBOL);
	if (l->size != sizeof(*l) || memcmp(l->sizes, sizes, sizeof(sizes)) ||
	    strcmp(l->version, LLM_VERSION) != 0)
		return err_set(err, -EINVAL,
			       "%s: of another version than this llmd (%s): "
			       "build both from one tree",
			       path, LLM_VERSION);
	*ret_ops = l->ops;
	return 0;
}
