/* SPDX-License-Identifier: MIT */
#include "tools/offline.h"
#include "base/err.h"
#include "text/encode.h"
#include "text/vocab.h"
#include "tools/args.h"
#include "tools/cmd.h"

#include <stdlib.h>
#include <string.h>

int offline_open(const char *model, struct vocab **ret)
{
	struct err err = { 0 };

	if (!model)
		model = getenv("LLM_MODEL");
	if (!model)
		return args_fail(
			EXIT_USAGE,
			"--model PATH (or LLM_MODEL): a tokenizer.json, "
			"tokenizer.model, their folder, or a GGUF");
	if (vocab_open(ret, model, &err))
		return args_fail(EXIT_FAILED, "%s", err.text);
	return 0;
}

int offline_encode(const struct vocab *v, const char *text, size_t size,
		   unsigned flags, struct arg_ids *ids)
{
	struct ids out = { 0 };
	struct err err = { 0 };
	struct encode *e;
	uint32_t *p = NULL;
	int ret = EXIT_FAILED;

	if (encode_open(&e, v))
		return args_fail(EXIT_FAILED, "out of memory");
	if (encode(e, text, size, flags, &out, &err))
		args_fail(EXIT_FAILED, "%s", err.text);
	else if (!(p = realloc(ids->id, (ids->nr + out.nr + 1) * sizeof(*p))))
		args_fail(EXIT_FAILED, "out of memory");
	else
		ret = 0;
	if (p) {
		if (out.nr)
			memcpy(p + ids->nr, out.v, out.nr * sizeof(*p));
		ids->id = p;
		ids->nr += out.nr;
	}
	ids_free(&out);
	encode_close(e);
	return ret;
}
