/* SPDX-License-Identifier: MIT */
#include "text/oniguruma.h"
#include "text/vec.h"
#include "base/err.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define GROUPS_MAX 128 /* open parentheses */

/*
 * The classes whose members differ, as members of a bracket.  PCRE2's \s has
 * U+180E and its \w has other numbers and no marks.
 */
#define SPACE                                                                  \
	"\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}"       \
	"\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NO_SPACE                                                               \
	"\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}"            \
	"\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"              \
	"\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"            \
	"\\x{3001}-\\x{10ffff}"
#define WORD                                                                   \
	"\\p{L}\\p{M}\\p{Nd}\\p{Nl}\\p{Pc}\\x{24b6}-\\x{24e9}"                 \
	"\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}"
#define HEX "0-9a-fA-F"

struct reader {
	const char *where, *s;
	size_t size, i;
	struct bytes *out;
	struct err *err;
	size_t atom; /* in out: where the last thing to repeat begins */
	size_t group[GROUPS_MAX]; /* in out: where open groups begin */
	size_t nr_groups;
};

static int put(struct reader *r, const char *s)
{
	return bytes_add(r->out, s, strlen(s));
}

static int refuse(struct reader *r, int code, const char *what)
{
	return err_set(r->err, code, "%s: %s at byte %zu of the pattern",
		       r->where, what, r->i);
}

static int peek(const struct reader *r, size_t ahead)
{
	return ahead < r->size - r->i ? (unsigned char)r->s[r->i + ahead] : -1;
}

/* Copy @n bytes of the source. */
static int copy(struct reader *r, size_t n)
{
	int ret = bytes_add(r->out, r->s + r->i, n);

	r->i += n;
	return ret;
}

/*
 * \p{Name}: general categories by their short names are the same; Oniguruma's
 * long names and POSIX names are looked up; the rest are taken for scripts,
 * where a bare name would mean script extensions to PCRE2.
 */
static int property(struct reader *r)
{
	static const char *const known[][2] = {
		{ "letter", "L" },
		{ "mark", "M" },
		{ "number", "N" },
		{ "punctuation", "P" },
		{ "symbol", "S" },
		{ "separator", "Z" },
		{ "other", "C" },
		{ "any", "Any" },
		{ "uppercaseletter", "Lu" },
		{ "lowercaseletter", "Ll" },
		{ "titlecaseletter", "Lt" },
		{ "modifierletter", "Lm" },
		{ "otherletter", "Lo" },
		{ "decimalnumber", "Nd" },
		{ "digit", "Nd" },
		{ "alpha", "Alphabetic" },
		{ "alphabetic", "Alphabetic" },
		{ "upper", "Uppercase" },
		{ "lower", "Lowercase" },
		{ "uppercase", "Uppercase" },
		{ "lowercase", "Lowercase" },
		{ "emoji", "Emoji" },
	};
	char name[48], low[48];
	size_t i, n = 0, k = 0;
	bool no = peek(r, 1) == 'P';
	int c;

	r->i += 3; /* \p{ */
	if (peek(r, 0) == '^') {
		no = !no;
		r->i++;
	}
	while ((c = peek(r, 0)) != '}') {
		if (c < 0 || c >= 0x80 || n == sizeof(name) - 1)
			return refuse(r, -EINVAL, "\\p{ that does not end");
		name[n++] = (char)c;
		if (c != '_' && c != ' ' && c != '-')
			low[k++] = (char)tolower(c);
		r->i++;
	}
	r->i++;
	name[n] = low[k] = '\0';
	if (put(r, no ? "\\P{" : "\\p{"))
		return -ENOMEM;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (!strcmp(low, known[i][0]))
			return put(r, known[i][1]) || put(r, "}") ? -ENOMEM : 0;
	if (!strcmp(low, "space") || !strcmp(low, "whitespace"))
		return put(r, "White_Space}") ? -ENOMEM : 0;
	if (n > 2 && put(r, "sc:"))
		return -ENOMEM;
	return put(r, name) || put(r, "}") ? -ENOMEM : 0;
}

/* A class escape as members inside a bracket, or as a bracket of its own. */
static int class(struct reader *r, bool bracket, bool no, const char *members)
{
	r->i += 2;
	if (bracket)
		return put(r, members);
	return put(r, no ? "[^" : "[") || put(r, members) || put(r, "]")
		       ? -ENOMEM
		       : 0;
}

static int escape(struct reader *r, bool bracket)
{
	int c = peek(r, 1), i;

	switch (c) {
	case -1:
		return refuse(r, -EINVAL, "a backslash and nothing after it");
	case 'p':
	case 'P':
		if (peek(r, 2) != '{')
			return refuse(r, -ENOTSUP, "\\p without {");
		return property(r);
	case 's':
		return class(r, bracket, false, SPACE);
	case 'S':
		if (bracket)
			return class(r, true, false, NO_SPACE);
		return class(r, false, true, SPACE);
	case 'w':
		return class(r, bracket, false, WORD);
	case 'h':
		return class(r, bracket, false, HEX);
	case 'W':
	case 'H':
		if (bracket)
			return refuse(r, -ENOTSUP, "\\W or \\H in a class");
		return class(r, false, true, c == 'W' ? WORD : HEX);
	case 'b':
	case 'B':
		if (bracket) {
			r->i += 2;
			return put(r, "\\x{8}");
		}
		r->i += 2;
		return put(r, c == 'b' ? "(?:(?<=[" WORD "])(?![" WORD
					 "])|(?<![" WORD "])(?=[" WORD "]))"
				       : "(?:(?<=[" WORD "])(?=[" WORD
					 "])|(?<![" WORD "])(?![" WORD "]))");
	case 'v':
		r->i += 2;
		return put(r, "\\x{b}");
	case 'u':
		for (i = 2; i < 6; i++)
			if (peek(r, (size_t)i) < 0 ||
			    !isxdigit(peek(r, (size_t)i)))
				return refuse(r, -EINVAL,
					      "\\u without four hex digits");
		r->i += 2;
		return put(r, "\\x{") || copy(r, 4) || put(r, "}") ? -ENOMEM
								   : 0;
	case 'y':
	case 'Y':
	case 'O':
	case 'N':
	case 'C':
	case 'M':
	case 'c':
	case 'K':
	case 'g':
		return refuse(r, -ENOTSUP, "an escape that is not supported");
	default:
		break;
	}
	if (!isalnum(c) || strchr("dDnrtfaexAzZGRXk0123456789", c))
		return copy(r, 2);
	r->i++; /* an unknown letter stands for itself */
	return copy(r, 1);
}

/* One bracket: [...], no bracket inside but [:posix:]. */
static int bracket(struct reader *r)
{
	bool first = true;
	int c, ret;

	ret = copy(r, peek(r, 1) == '^' ? 2 : 1);
	for (; !ret; first = false) {
		c = peek(r, 0);
		if (c < 0)
			return refuse(r, -EINVAL, "a class that does not end");
		if (c == ']' && !first)
			return copy(r, 1);
		if (c == '\\') {
			ret = escape(r, true);
		} else if (c == '[' && peek(r, 1) == ':') {
			const char *e =
				memmem(r->s + r->i, r->size - r->i, ":]", 2);

			if (!e)
				return refuse(r, -EINVAL, "[: without :]");
			ret = copy(r, (size_t)(e - r->s) + 2 - r->i);
		} else if (c == '[') {
			return refuse(r, -ENOTSUP, "a class inside a class");
		} else if (c == '&' && peek(r, 1) == '&') {
			return refuse(r, -ENOTSUP, "&& in a class");
		} else {
			if (c == ']' && put(r, "\\"))
				return -ENOMEM;
			ret = copy(r, 1);
		}
	}
	return ret;
}

/* ( and what follows it: options change their letters. */
static int group(struct reader *r)
{
	if (r->nr_groups == GROUPS_MAX)
		return refuse(r, -ENOTSUP, "groups nested too deep");
	if (peek(r, 1) == '*')
		return refuse(r, -ENOTSUP, "(*");
	r->group[r->nr_groups++] = r->out->nr;
	if (peek(r, 1) != '?')
		return copy(r, 1);
	if (peek(r, 2) < 0 || !strchr(":=!><-imx", peek(r, 2)))
		return refuse(r, -ENOTSUP, "a kind of group not supported");
	if (!strchr("-imx", peek(r, 2)))
		return copy(r, 3);
	if (copy(r, 2))
		return -ENOMEM;
	while (peek(r, 0) >= 0 && strchr("-imx", peek(r, 0))) {
		if (peek(r, 0) == 'x')
			return refuse(r, -ENOTSUP, "(?x)");
		if (put(r, peek(r, 0) == 'm'   ? "s"
			   : peek(r, 0) == 'i' ? "i"
					       : "-"))
			return -ENOMEM;
		r->i++;
	}
	if (peek(r, 0) == ')')
		r->nr_groups--; /* (?i) to the end of the group around it */
	else if (peek(r, 0) != ':')
		return refuse(r, -ENOTSUP, "an option not supported");
	return copy(r, 1);
}

/*
 * { at r->i: an interval {n}, {n,}, {,m}, {n,m}, or a brace for itself.
 * "+" after it repeats it once more, so the atom is wrapped in a group.
 */
static int interval(struct reader *r)
{
	size_t n = 1, digits = 0, comma = 0, wrap;
	int c;

	for (; (c = peek(r, n)) >= 0 && (isdigit(c) || c == ','); n++) {
		digits += isdigit(c) != 0;
		comma += c == ',';
	}
	if (c != '}' || !digits || comma > 1) {
		r->atom = r->out->nr;
		return put(r, "\\") || copy(r, 1) ? -ENOMEM : 0;
	}
	if (peek(r, 1) == ',') {
		if (put(r, "{0") || (r->i++, copy(r, n)))
			return -ENOMEM;
	} else if (copy(r, n + 1)) {
		return -ENOMEM;
	}
	if (peek(r, 0) == '?' && !comma)
		return refuse(r, -ENOTSUP, "{n}?");
	if (peek(r, 0) != '+')
		return 0;
	wrap = r->atom;
	if (bytes_room(r->out, 3))
		return -ENOMEM;
	memmove(r->out->v + wrap + 3, r->out->v + wrap, r->out->nr - wrap);
	memcpy(r->out->v + wrap, "(?:", 3);
	r->out->nr += 3;
	return put(r, ")");
}

static int one(struct reader *r)
{
	int c = peek(r, 0), ret;
	size_t n = 1;

	switch (c) {
	case '*':
	case '+':
	case '?':
		return copy(r, 1);
	case '{':
		return interval(r);
	case '(':
		return group(r);
	case ')':
		if (!r->nr_groups)
			return refuse(r, -EINVAL, "a ) without (");
		r->atom = r->group[--r->nr_groups];
		return copy(r, 1);
	default:
		break;
	}
	r->atom = r->out->nr;
	if (c == '\\')
		return escape(r, false);
	if (c == '[')
		return bracket(r);
	while (c >= 0xc0 && peek(r, n) >= 0 && (peek(r, n) & 0xc0) == 0x80)
		n++;
	ret = copy(r, n);
	return ret;
}

int oniguruma_translate(struct bytes *out, const char *where, const char *src,
			size_t size, struct err *err)
{
	struct reader r = {
		.where = where, .s = src, .size = size, .out = out, .err = err
	};
	int ret = 0;

	while (!ret && r.i < size)
		ret = one(&r);
	if (ret == -ENOMEM)
		return err_set(err, ret, "%s: out of memory", where);
	if (!ret && r.nr_groups)
		return refuse(&r, -EINVAL, "a ( that is not closed");
	return ret;
}
