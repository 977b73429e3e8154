/* SPDX-License-Identifier: MIT */
/*
 * params.h - the one checked reader of struct llm_params.
 *
 * The bytes are a client's, already copied where it cannot reach them; here
 * every count, id and number in them is checked, and what is absent is filled
 * in from the model's generation_config.  Used twice: at admission, where a
 * fault is refused in one line, and at recovery, on the bytes kept with the
 * record.  Pure: no clock, no allocation, no luck.
 */
#ifndef DAEMON_PARAMS_H
#define DAEMON_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/llm.h>

struct err;
struct model_info;
struct sampling;
struct stop_set;

/* A client built later may send a longer struct, with zeroes we do not know. */
#define PARAMS_HEAD_MAX 1024u
/* The longest llm_params with its tail, bytes; a multiple of 8. */
#define PARAMS_MAX                                                             \
	(PARAMS_HEAD_MAX + 4 * LLM_MAX_STOP_IDS + 8 * LLM_MAX_BIAS +           \
	 4 * LLM_MAX_STOP + LLM_MAX_STOP * LLM_MAX_STOP_BYTES + 8)

/* A view of checked bytes; pointers borrow from them. */
struct params {
	struct llm_params head;
	const uint32_t *stop_ids;    /* [head.nr_stop_ids] */
	const struct llm_bias *bias; /* [head.nr_bias] */
	const uint32_t *stop_len;    /* [head.nr_stop] bytes */
	const uint8_t *stop_bytes;   /* the strings, joined */
	uint32_t stop_total;	     /* bytes of all of them */
};

/*
 * Check @size bytes at @buf (8-aligned; size 0 = all defaults) against the
 * model; @has_text: text is matched, so stop strings mean something.  0, or
 * with @err: -EINVAL, -E2BIG (a longer struct whose tail is not zero),
 * -EOPNOTSUPP (stop strings without text).  @ret is written on success only.
 */
int params_read(struct params *ret, const void *buf, uint32_t size,
		const struct model_info *model, bool has_text, struct err *err);

/*
 * Bytes of memory that params_resolve() wants for these parameters: end ids,
 * bias and the stop automaton.  A multiple of 16, and the same whatever model
 * is served.  In a stream's extent it lies behind the parameters themselves,
 * where params_work() finds it.
 */
size_t params_work_size(const struct params *p);
static inline void *params_work(uint8_t *params, uint32_t size)
{
	return params + ((size + 15) & ~(size_t)15);
}

/*
 * Fill @ret and @ret_stop: each value the request's, else generation_config's,
 * else neutral.  @work (16-aligned, params_work_size() bytes) stays in use as
 * long as the two.  @seed: the resolved one.
 */
void params_resolve(const struct params *p, const struct model_info *model,
		    uint64_t seed, void *work, struct sampling *ret,
		    struct stop_set *ret_stop);

#endif
