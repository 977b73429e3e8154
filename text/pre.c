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

/* ---- from rules to the name */

static bool is_str(const json_t *j, const char *key, const char *want)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s && !strcmp(s, want);
}

/* A flag, with the value it has where it is not there. */
static bool is_on(const json_t *j, const char *key, bool absent)
{
	const json_t *v = json_object_get(j, key);

	return v ? json_is_true(v) : absent;
}

static bool same_rule(const struct rule *r, const json_t *j)
{
	switch (r->kind) {
	case SPLIT:
		return is_str(j, "type", "Split") &&
		       is_str(json_object_get(j, "pattern"), "Regex",
			      r->pattern) &&
		       is_str(j, "behavior", "Isolated") &&
		       !is_on(j, "invert", false);
	case EACH_DIGIT:
	case DIGITS:
		return is_str(j, "type", "Digits") &&
		       is_on(j, "individual_digits", false) ==
			       (r->kind == EACH_DIGIT);
	case PUNCT_RUNS:
		return is_str(j, "type", "Punctuation") &&
		       is_str(j, "behavior", "Contiguous");
	default:
		return is_str(j, "type", "ByteLevel") &&
		       !is_on(j, "add_prefix_space", true) &&
		       is_on(j, "use_regex", true) == (r->kind == BYTES_WORDS);
	}
}

/* The list in a Sequence, else the one thing itself; how many. */
static size_t steps(const json_t *j, const char *key, size_t i,
		    const json_t **ret)
{
	const json_t *list = json_object_get(j, key);

	*ret = json_is_array(list) ? json_array_get(list, i) : j;
	return json_is_array(list) ? json_array_size(list)
	       : json_is_object(j) ? 1
				   : 0;
}

static bool same_rules(const struct pre *p, const json_t *j)
{
	const json_t *step;
	size_t nr = 0, i;

	while (nr < RULES_MAX && p->rule[nr].kind != END)
		nr++;
	if (steps(j, "pretokenizers", 0, &step) != nr)
		return false;
	for (i = 0; i < nr; i++) {
		steps(j, "pretokenizers", i, &step);
		if (!same_rule(&p->rule[i], step))
			return false;
	}
	return true;
}

const char *pre_name(const json_t *pre_tokenizer, const json_t *normalizer,
		     bool ignore_merges)
{
	const json_t *step;
	size_t nr = steps(normalizer, "normalizers", 0, &step), i;
	bool nfc = nr == 1 && is_str(step, "type", "NFC");

	if (nr && !nfc)
		return NULL;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].nfc == nfc &&
		    known[i].ignore_merges == ignore_merges &&
		    same_rules(&known[i], pre_tokenizer))
			return known[i].name[0];
	return NULL;
}
