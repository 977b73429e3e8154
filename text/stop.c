/* SPDX-License-Identifier: MIT */
#include "text/stop.h"
#include "text/utf8.h"
#include "base/err.h"

#include <errno.h>

int stop_set_init(struct stop_set *set, const struct stop_string *str,
		  uint32_t nr, void *mem, size_t mem_size, struct err *err)
{
	size_t total = 0;
	uint32_t i;

	if (nr > STOP_NR_MAX)
		return err_set(err, -EINVAL, "%u stop strings, allowed 0 to %d",
			       nr, STOP_NR_MAX);
	for (i = 0; i < nr; i++) {
		if (!str[i].size || str[i].size > STOP_SIZE_MAX)
			return err_set(
				err, -EINVAL,
				"stop string %u has %zu bytes, allowed 1 to %d",
				i, str[i].size, STOP_SIZE_MAX);
		if (utf8_valid(str[i].s, str[i].size) != str[i].size)
			return err_set(err, -EINVAL,
				       "stop string %u is not UTF-8", i);
		total += str[i].size;
	}
	if (mem_size < stop_set_size(total))
		return err_set(err, -ENOSPC,
			       "stop strings need %zu bytes, given %zu",
			       stop_set_size(total), mem_size);

	*set = (struct stop_set){ .nr = nr };
	ac_init(&set->ac, mem, (uint32_t)total + 1);
	for (i = 0; i < nr; i++) {
		set->size[i] = (uint16_t)str[i].size;
		/* the same string twice: the first one is told, no error */
		ac_add(&set->ac, str[i].s, str[i].size, false, i);
	}
	ac_link(&set->ac);
	return 0;
}

void stop_init(struct stop *s, const struct stop_set *set)
{
	*s = (struct stop){ .set = set, .index = STOP_NONE };
}

bool stop_feed(struct stop *s, const void *text, size_t size)
{
	const struct ac *ac = &s->set->ac;
	const uint8_t *t = text;
	uint32_t out;
	size_t i;

	if (s->index != STOP_NONE)
		return true;
	if (!s->set->nr) {
		s->fed += size;
		return false;
	}
	for (i = 0; i < size; i++) {
		s->state = ac_step(ac, s->state, t[i]);
		s->fed++;
		out = ac->node[s->state].out;
		if (out != AC_NONE) {
			s->index = out;
			s->end = s->fed;
			s->begin = s->fed - s->set->size[out];
			return true;
		}
	}
	return false;
}

void stop_resume(struct stop *s, const void *text, size_t size)
{
	const uint8_t *t = text;
	/* a state remembers less than one stop's bytes: the rest is past */
	size_t tail = size < STOP_SIZE_MAX ? size : STOP_SIZE_MAX;
	size_t i;

	s->index = STOP_NONE;
	s->state = 0;
	for (i = size - tail; i < size; i++)
		s->state = ac_step(&s->set->ac, s->state, t[i]);
	s->fed = size;
}
