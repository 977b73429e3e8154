/* SPDX-License-Identifier: MIT */
/*
 * The patterns are those of the tokenizer.json files of the models that gave
 * the names; which names share one is llama.cpp's list (src/llama-vocab.cpp).
 * A name that is not here is refused: a guess would read text in a way that
 * the model was not trained on, and nobody would see it.
 */
#include "text/pre.h"

#include <stddef.h>
#include <string.h>

#define RULES_MAX 6
#define NAMES_MAX 4

enum kind {
	END,
	SPLIT,	     /* by a pattern, matches and what is between alone */
	EACH_DIGIT,  /* Digits, one by one */
	DIGITS,	     /* Digits, runs of them */
	PUNCT_RUNS,  /* Punctuation, contiguous */
	BYTES,	     /* ByteLevel, nothing but bytes */
	BYTES_WORDS, /* ByteLevel with GPT-2's own pattern */
};

struct rule {
	enum kind kind;
	const char *pattern;
};

struct pre {
	const char *name[NAMES_MAX];
	struct rule rule[RULES_MAX];
	bool nfc, ignore_merges, bos;
};

#define CONTRACTIONS "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define ENDINGS	     "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define WORDS(numbers)                                                         \
	CONTRACTIONS "|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                 \
		     "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|" ENDINGS
/* words by their case: aB is two, AB and Ab are one */
#define UPPER "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define LOWER "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
#define CASED(tail, numbers)                                                   \
	"[^\\r\\n\\p{L}\\p{N}]?" UPPER "*" LOWER "+" tail                      \
	"|[^\\r\\n\\p{L}\\p{N}]?" UPPER "+" LOWER "*" tail "|" numbers         \
	"| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|" ENDINGS
#define CJK "[\\u4e00-\\u9fa5\\u0800-\\u4e00\\uac00-\\ud7ff]+"

static const struct pre known[] = {
	{ .name = { "gpt-2", "phi-2" }, .rule = { { BYTES_WORDS } } },
	{ .name = { "llama-bpe", "llama3", "llama-v3" },
	  .rule = { { SPLIT, WORDS("\\p{N}{1,3}") }, { BYTES } },
	  .ignore_merges = true,
	  .bos = true },
	{ .name = { "smaug-bpe", "dbrx" },
	  .rule = { { SPLIT, WORDS("\\p{N}{1,3}") }, { BYTES } } },
	{ .name = { "qwen2", "deepseek-r1-qwen" },
	  .rule = { { SPLIT, WORDS("\\p{N}") }, { BYTES } },
	  .nfc = true },
	{ .name = { "qwen35" },
	  .rule = { { SPLIT, CONTRACTIONS
		      "|[^\\r\\n\\p{L}\\p{N}]?[\\p{L}\\p{M}]+|\\p{N}"
		      "| ?[^\\s\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" ENDINGS },
		    { BYTES } },
	  .nfc = true },
	{ .name = { "starcoder", "refact", "smollm" },
	  .rule = { { EACH_DIGIT }, { BYTES_WORDS } } },
	{ .name = { "falcon" },
	  .rule = { { PUNCT_RUNS },
		    { BYTES_WORDS },
		    { DIGITS },
		    { SPLIT, "[0-9][0-9][0-9]" } } },
	{ .name = { "deepseek-coder" },
	  .rule = { { SPLIT, "[\\r\\n]" },
		    { SPLIT, "\\s?\\p{L}+" },
		    { SPLIT, "\\s?\\p{P}+" },
		    { SPLIT, CJK },
		    { EACH_DIGIT },
		    { BYTES } } },
	{ .name = { "deepseek-v3" },
	  .rule = { { SPLIT, "\\p{N}{1,3}" },
		    { SPLIT,
		      "[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+" },
		    { SPLIT,
		      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
		      "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
		      "| ?[\\p{P}\\p{S}]+[\\r\\n]*|" ENDINGS },
		    { BYTES } } },
	{ .name = { "gpt-4o", "llama4" },
	  .rule = { { SPLIT, CASED(CONTRACTIONS "?", "\\p{N}{1,3}") },
		    { BYTES } } },
	{ .name = { "tekken" },
	  .rule = { { SPLIT, CASED("", "\\p{N}") }, { BYTES } },
	  .ignore_merges = true,
	  .bos = true },
};

const struct pre *pre_find(const char *name)
{
	size_t i, k;

	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		for (k = 0; k < NAMES_MAX && known[i].name[k]; k++)
			if (!strcmp(name, known[i].name[k]))
				return &known[i];
	return NULL;
}

static json_t *one(const struct rule *r)
{
	switch (r->kind) {
	case SPLIT:
		return json_pack("{s:s, s:{s:s}, s:s}", "type", "Split",
				 "pattern", "Regex", r->pattern, "behavior",
				 "Isolated");
	case EACH_DIGIT:
	case DIGITS:
		return json_pack("{s:s, s:b}", "type", "Digits",
				 "individual_digits", r->kind == EACH_DIGIT);
	case PUNCT_RUNS:
		return json_pack("{s:s, s:s}", "type", "Punctuation",
				 "behavior", "Contiguous");
	default:
		return json_pack("{s:s, s:b, s:b}", "type", "ByteLevel",
				 "add_prefix_space", 0, "use_regex",
				 r->kind == BYTES_WORDS);
	}
}

json_t *pre_tokenizer(const struct pre *p)
{
	json_t *list = json_array();
	size_t i;

	for (i = 0; i < RULES_MAX && p->rule[i].kind != END; i++)
		if (json_array_append_new(list, one(&p->rule[i]))) {
			json_decref(list);
			return NULL;
		}
	return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers",
			 list);
}

json_t *pre_normalizer(const struct pre *p)
{
	return p->nfc ? json_pack("{s:s}", "type", "NFC") : json_null();
}

bool pre_ignore_merges(const struct pre *p)
{
	return p->ignore_merges;
}

bool pre_adds_bos(const struct pre *p)
{
	return p->bos;
}
