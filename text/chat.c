/* SPDX-License-Identifier: MIT */
/*
 * A template is recognised by the expression that shows one message, looked
 * for in a copy of its text in which spelling does not matter (blanks, kinds
 * of quotes, m.role or m['role'], \n written or meant).  What may differ
 * between templates of one form is read out of the same text: whether BOS
 * comes first, whether the message is trimmed, a default system prompt, what
 * stands after the word "assistant".  What cannot be read is refused.
 */
#include "text/chat.h"
#include "text/encode.h"
#include "text/utf8.h"
#include "text/vec.h"
#include "text/vocab.h"
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How one form writes a message: open role close text end. */
struct form {
	enum chat_kind kind;
	const char *message[3];		/* any of these, in the plain copy */
	const char *open, *close, *end; /* special tokens and newlines */
	const char *answer;    /* where the model goes on; NULL: read it */
	const char *marker[2]; /* tokens that the vocabulary must have */
};

static const struct form forms[] = {
	{
		.kind = CHAT_CHATML,
		.message = { "'<|im_start|>'+message['role']+'\n'+message['content']",
			     "'<|im_start|>'+message['role']+'\n'+content",
			     "'<|im_start|>'+m['role']+'\n'+m['content']" },
		.open = "<|im_start|>",
		.close = "\n",
		.end = "<|im_end|>\n",
		.marker = { "<|im_start|>", "<|im_end|>" },
	},
	{
		.kind = CHAT_LLAMA3,
		.message = { "'<|start_header_id|>'+message['role']+'<|end_header_id|>\n\n'+message['content']" },
		.open = "<|start_header_id|>",
		.close = "<|end_header_id|>\n\n",
		.end = "<|eot_id|>",
		.marker = { "<|start_header_id|>", "<|eot_id|>" },
	},
	{
		.kind = CHAT_GEMMA,
		.message = { "'<start_of_turn>'+role+'\n'+message['content']" },
		.open = "<start_of_turn>",
		.close = "\n",
		.end = "<end_of_turn>\n",
		.answer = "<start_of_turn>model\n",
		.marker = { "<start_of_turn>", "<end_of_turn>" },
	},
	{
		.kind = CHAT_PHI3,
		.message = { "'<|user|>'+'\n'+message['content']+'<|end|>'",
			     "'<|user|>\n'+message['content']+'<|end|>",
			     "'<|'+message['role']+'|>'+'\n'+message['content']+'<|end|>" },
		.open = "<|",
		.close = "|>\n",
		.end = "<|end|>\n",
		.answer = "<|assistant|>\n",
		.marker = { "<|user|>", "<|end|>" },
	},
	{
		.kind = CHAT_TURNS,
		.message = { "<|user|>{{m['content']}}{%",
			     "<|user|>{{message['content']}}{%" },
		.open = "<|",
		.close = "|>",
		.end = "",
		.marker = { "<|user|>", "<|assistant|>" },
	},
};

/* What stands around the user's words. */
struct frame {
	const struct form *form;
	bool bos, trim;
	struct bytes before, after;
};

/* ---- reading the template */

/*
 * A copy (the caller frees) with \n for backslash-n and one kind of quote; if
 * @plain also without blanks and with x['y'] for x.role and x.content.
 */
static char *spelled(const char *s, bool plain)
{
	static const char *const field[] = { "role", "content" };
	char *copy = malloc(2 * strlen(s) + 1), *o = copy;
	size_t i, n;

	if (!copy)
		return NULL;
	while (*s) {
		if (s[0] == '\\' && s[1] == 'n') {
			*o++ = '\n';
			s += 2;
			continue;
		}
		for (i = 0; plain && *s == '.' && i < 2; i++) {
			n = strlen(field[i]);
			if (strncmp(s + 1, field[i], n))
				continue;
			o += sprintf(o, "['%s']", field[i]);
			s += 1 + n;
		}
		if (plain && (*s == ' ' || *s == '\t'))
			s++;
		else if (*s)
			*o++ = *s == '"' ? '\'' : *s, s++;
	}
	*o = '\0';
	return copy;
}

static const struct form *find_form(const char *plain, bool *ret_trim)
{
	size_t i, k;
	const char *at;

	for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		for (k = 0; k < 3 && forms[i].message[k]; k++) {
			at = strstr(plain, forms[i].message[k]);
			if (!at)
				continue;
			at += strlen(forms[i].message[k]);
			*ret_trim = !strncmp(at, "|trim", 5);
			return &forms[i];
		}
	}
	return NULL;
}

static int add(struct bytes *b, const char *s)
{
	return bytes_add(b, s, strlen(s));
}

/* open role close */
static int add_head(struct bytes *b, const struct form *f, const char *role)
{
	return add(b, f->open) || add(b, role) || add(b, f->close) ? -ENOMEM
								   : 0;
}

/*
 * Llama 3.1 and later put two dates first.  Where the template would ask the
 * clock, the date that it keeps for machines without one is taken: the same
 * prompt is to give the same ids tomorrow.
 */
static int add_dates(struct frame *fr, const char *text)
{
	static const char cut[] = "Cutting Knowledge Date: ";
	static const char set[] = "date_string = '";
	const char *a = strstr(text, cut), *b = strstr(text, set), *ea, *eb;
	struct bytes *o = &fr->before;

	ea = a ? strchr(a, '\n') : NULL;
	eb = b ? strchr(b + sizeof(set) - 1, '\'') : NULL;
	if (!ea || !eb || ea - a > 64)
		return -ENOTSUP;
	b += sizeof(set) - 1;
	if (add_head(o, fr->form, "system") ||
	    bytes_add(o, a, (size_t)(ea - a)) || add(o, "\nToday Date: ") ||
	    bytes_add(o, b, (size_t)(eb - b)) || add(o, "\n\n") ||
	    add(o, fr->form->end))
		return -ENOMEM;
	return 0;
}

/*
 * A default system prompt is a literal that begins as a system message and
 * goes on with words.  One that goes on with an expression shows the
 * conversation's own system message, which we have not; any other expression
 * might be a default kept in a variable.
 */
static int add_system(struct frame *fr, const char *text)
{
	const struct form *f = fr->form;
	char head[64], end[16];
	const char *at = text, *to, *bad;
	size_t n;

	snprintf(head, sizeof(head), "%ssystem%s", f->open, f->close);
	snprintf(end, sizeof(end), "%.*s", (int)strcspn(f->end, "\n"), f->end);
	while ((at = strstr(at, head))) {
		at += strlen(head);
		if (*at == '\'') {
			at += 1 + strspn(at + 1, " ");
			if (*at == '+' && strncmp(at + 1, " message", 8) &&
			    strncmp(at + 1, "message", 7))
				return -ENOTSUP;
			continue;
		}
		to = strstr(at, end);
		bad = strpbrk(at, "'{\\");
		if (!to || (bad && bad < to))
			return -ENOTSUP;
		n = (size_t)(to - at);
		if (add_head(&fr->before, f, "system") ||
		    bytes_add(&fr->before, at, n) || add(&fr->before, f->end))
			return -ENOMEM;
		return 0;
	}
	return 0;
}

/* What comes when the model is to answer; may go on (<think>). */
static int add_answer(struct frame *fr, const char *text)
{
	const struct form *f = fr->form;
	const char *at = text, *next;
	char head[64];

	if (f->answer)
		return add(&fr->after, f->answer);
	while ((next = strstr(at, "add_generation_prompt")))
		at = next + 1;
	snprintf(head, sizeof(head), "%sassistant%s", f->open, f->close);
	next = at == text ? NULL : strstr(at, head);
	if (!next)
		return -ENOTSUP;
	at = next + strlen(head);
	if (add(&fr->after, head) ||
	    bytes_add(&fr->after, at, strcspn(at, "'{")))
		return -ENOMEM;
	return 0;
}

static int read_frame(struct frame *fr, const char *plain, const char *text)
{
	int r = 0;

	fr->form = find_form(plain, &fr->trim);
	if (!fr->form)
		return -ENOTSUP;
	fr->bos = strstr(plain, "bos_token") != NULL;
	if (strstr(text, "Cutting Knowledge Date: "))
		r = add_dates(fr, text);
	else if (fr->form->kind != CHAT_TURNS)
		r = add_system(fr, text);
	if (!r)
		r = add_head(&fr->before, fr->form, "user");
	if (!r)
		r = add(&fr->after, fr->form->end);
	return r ? r : add_answer(fr, text);
}

static void frame_free(struct frame *fr)
{
	bytes_free(&fr->before);
	bytes_free(&fr->after);
}

/* On error nothing is left in @fr. */
static int frame_of(struct frame *fr, const struct vocab *v, struct err *err)
{
	char *plain, *text;
	int r = -ENOMEM, i;

	*fr = (struct frame){ 0 };
	if (!v->chat_template)
		return err_set(err, -ENOTSUP,
			       "chat: the model has no chat template");
	plain = spelled(v->chat_template, true);
	text = spelled(v->chat_template, false);
	if (plain && text)
		r = read_frame(fr, plain, text);
	free(plain);
	free(text);
	if (r == -ENOTSUP)
		err_set(err, r,
			"chat: the model's chat template is not one of those known yet (ChatML, Llama 3, Gemma, Phi-3, <|user|>..<|assistant|>)");
	else if (r)
		err_set(err, r, "chat: out of memory");
	for (i = 0; !r && i < 2; i++)
		if (vocab_find_added(v, fr->form->marker[i]) == VOCAB_NONE)
			r = err_set(
				err, -EINVAL,
				"chat: the chat template uses %s, which is no token of the vocabulary",
				fr->form->marker[i]);
	if (r)
		frame_free(fr);
	return r;
}

enum chat_kind chat_kind(const struct vocab *v)
{
	enum chat_kind kind = CHAT_NONE;
	struct frame fr;

	if (!frame_of(&fr, v, NULL)) {
		kind = fr.form->kind;
		frame_free(&fr);
	}
	return kind;
}

/* ---- one turn */

/* Python's str.isspace, which is what Jinja's trim goes by. */
static bool trims(uint32_t cp)
{
	return utf8_is_space(cp) || (cp >= 0x1c && cp <= 0x1f);
}

static void trim(const uint8_t **s, size_t *size)
{
	size_t i = 0, at = 0;

	while (i < *size && trims(utf8_next(*s, &i)))
		at = i;
	*s += at;
	*size -= at;
	while (*size && trims(utf8_prev(*s, *size, &at)))
		*size = at;
}

/* Lay out before, the user's text made valid, and after; where it stands. */
static int render(const struct frame *fr, const uint8_t *s, size_t size,
		  struct bytes *out, size_t *plain, size_t *plain_end)
{
	const uint8_t *from;
	size_t n;

	if (bytes_add(out, fr->before.v, fr->before.nr) ||
	    bytes_room(out, UTF8_BROKEN_SIZE * size))
		return -ENOMEM;
	*plain = out->nr;
	from = out->v + out->nr;
	n = utf8_clean(out->v + out->nr, s, size);
	if (fr->trim)
		trim(&from, &n);
	memmove(out->v + out->nr, from, n);
	out->nr += n;
	*plain_end = out->nr;
	return bytes_add(out, fr->after.v, fr->after.nr);
}

/* BOS once: the template's, or else the tokenizer's own. */
static int push_bos(const struct frame *fr, const struct vocab *v,
		    struct ids *out)
{
	uint32_t i;

	if (fr->bos && v->bos != VOCAB_NONE)
		return ids_push(out, v->bos);
	for (i = 0; i < v->nr_before; i++)
		if (ids_push(out, v->before[i]))
			return -ENOMEM;
	return 0;
}

int chat_encode(struct encode *e, const void *text, size_t size, unsigned flags,
		struct ids *out, struct err *err)
{
	const struct vocab *v = encode_vocab(e);
	size_t plain = 0, plain_end = 0, from = out->nr;
	struct bytes all = { 0 };
	struct frame fr;
	int r;

	if (size > ENCODE_TEXT_MAX)
		return err_set(err, -E2BIG, "text: %zu bytes, allowed %u", size,
			       ENCODE_TEXT_MAX);
	r = frame_of(&fr, v, err);
	if (r)
		return r;
	if (render(&fr, text ? text : "", size, &all, &plain, &plain_end) ||
	    push_bos(&fr, v, out))
		r = err_set(err, -ENOMEM, "chat: out of memory");
	if (flags & ENCODE_SPECIAL)
		plain = plain_end = 0;
	if (!r)
		r = encode_around(e, all.v, all.nr, plain, plain_end,
				  ENCODE_SPECIAL, out, err);
	if (r)
		out->nr = from;
	bytes_free(&all);
	frame_free(&fr);
	return r;
}
