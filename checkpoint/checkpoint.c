/* SPDX-License-Identifier: MIT */
#include "checkpoint/checkpoint.h"
#include "base/err.h"
#include "base/gguf.h"
#include "checkpoint/arch_gguf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static int read_dir(struct checkpoint *c, const char *dir, struct err *err)
{
	char *config = NULL, *generation = NULL;
	int ret;

	if (asprintf(&config, "%s/config.json", dir) < 0)
		config = NULL;
	if (asprintf(&generation, "%s/generation_config.json", dir) < 0)
		generation = NULL;
	ret = config && generation
		      ? arch_read(&c->arch, config, err)
		      : err_set(err, -ENOMEM, "%s: no memory", dir);
	if (!ret)
		ret = arch_read_generation(&c->generation, &c->arch, generation,
					   err);
	free(config);
	free(generation);
	return ret;
}

static int open_gguf(struct checkpoint *c, const char *path, struct err *err)
{
	int ret = tensors_open(&c->tensors, path, err);

	if (!ret)
		ret = arch_read_gguf(&c->arch, &c->generation, &c->tensors,
				     err);
	return ret;
}

static int open_path(struct checkpoint *c, const char *path,
		     bool config_will_do, struct err *err)
{
	struct stat st;
	int ret;

	memset(c, 0, sizeof(*c));
	if (stat(path, &st)) {
		ret = -errno;
		return err_set(err, ret, "%s: %s", path, strerror(-ret));
	}
	if (S_ISDIR(st.st_mode)) {
		ret = read_dir(c, path, err);
		if (ret)
			return ret;
		ret = tensors_open(&c->tensors, path, err);
		if (ret != -ENOENT || !config_will_do)
			return ret;
		if (err)
			*err = (struct err){ 0 };
		return 0;
	}
	if (gguf_is(path))
		return open_gguf(c, path, err);
	if (config_will_do)
		return arch_read(&c->arch, path, err);
	return err_set(err, -ENOTDIR,
		       "%s: not a model; a model is a GGUF file or a Hugging "
		       "Face directory (config.json, *.safetensors)",
		       path);
}

int checkpoint_open(struct checkpoint *c, const char *path, struct err *err)
{
	int ret = open_path(c, path, false, err);

	if (ret)
		checkpoint_close(c);
	return ret;
}

int checkpoint_open_config(struct checkpoint *c, const char *path,
			   struct err *err)
{
	int ret = open_path(c, path, true, err);

	if (ret)
		checkpoint_close(c);
	return ret;
}

void checkpoint_close(struct checkpoint *c)
{
	tensors_close(&c->tensors);
	memset(c, 0, sizeof(*c));
}
