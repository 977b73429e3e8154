/* SPDX-License-Identifier: MIT */
/*
 * read_spm.h - models of SentencePiece, read into a recipe: from its own file
 * (spm.h), or pieces that came in another way (GGUF).
 *
 * Text becomes ids as by sentencepiece, with two things of Hugging Face's
 * converters: control and user-defined pieces, and the unknown one, are added
 * tokens that are found in the text; and each part between them is a text of
 * its own, with a space put before it.
 */
#ifndef TEXT_READ_SPM_H
#define TEXT_READ_SPM_H

struct recipe;
struct spm;

/* Read r->path.  As read_json(). */
int read_spm(struct recipe *r);

/*
 * Take over what @m says; its pieces' bytes and its charsmap outlive the
 * recipe.  A piece of no bytes is an id without token.  As above.
 */
int read_spm_pieces(struct recipe *r, const struct spm *m);

#endif
