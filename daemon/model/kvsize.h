/* SPDX-License-Identifier: MIT */
/*
 * kvsize.h - how much memory the KV pool gets, and what that holds: pure
 * arithmetic over what was asked for and what is there.
 */
#ifndef MODEL_KVSIZE_H
#define MODEL_KVSIZE_H

#include <stdbool.h>
#include <stdint.h>

struct err;

struct kvsize_ask {
	const char *where;	/* borrowed: the model, for messages */
	uint64_t kv_bytes;	/* asked for; 0 = choose */
	uint32_t max_context;	/* asked for; 0 = choose */
	uint32_t model_context; /* what the model was made for */
	uint32_t max_seqs;	/* how many sequences may run at once */
	uint64_t block_bytes;	/* of one block of KV_BLOCK tokens */
	uint64_t available;	/* bytes of memory that are free to take */
	uint64_t most;		/* of these, where nothing was asked for */
};

struct kvsize {
	uint32_t context;   /* most tokens a sequence may hold */
	uint32_t nr_blocks; /* of the pool, block 0 included */
	uint64_t bytes;	    /* of the pool, block 0 included */
};

/*
 * What was asked for is given or refused with the figures (-EINVAL for more
 * context than the model has, -ENOMEM for the rest): the pool must fit into
 * what is available and hold a sequence of max_context.  What was left open
 * is chosen: context = the model's, KV = max_seqs sequences of it, at most
 * what @most says; and if that cannot hold even one sequence, the context
 * shrinks to what it can (kvsize.context < model_context tells).
 */
int kvsize_plan(const struct kvsize_ask *ask, struct kvsize *ret_size,
		struct err *err);

/*
 * Whether @copy bytes of weights in a faster form leave enough of @available:
 * a quarter of it, and the @kv_bytes that were asked for.
 */
bool kvsize_has_room(uint64_t available, uint64_t copy, uint64_t kv_bytes);

/* Bytes this process may still take: the machine's and its cgroup's. */
uint64_t kvsize_available(void);

#endif
