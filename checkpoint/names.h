/* SPDX-License-Identifier: MIT */
/*
 * names.h - one tensor, two names: "model.layers.3.self_attn.q_proj.weight"
 * as Hugging Face writes it is "blk.3.attn_q.weight" in a GGUF file.  The
 * house speaks Hugging Face's names; the other ones are translated at the
 * door and back for messages and files.  Names without a partner stay as
 * they are.
 */
#ifndef CHECKPOINT_NAMES_H
#define CHECKPOINT_NAMES_H

#include <stddef.h>

#define NAMES_MAX 320u /* bytes of a translated name, NUL included */

/* @name (of GGUF) as Hugging Face's into @ret; cut where it does not fit. */
void names_from_gguf(const char *name, char ret[NAMES_MAX]);
/* The way back. */
void names_to_gguf(const char *name, char ret[NAMES_MAX]);

#endif
