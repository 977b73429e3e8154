/* SPDX-License-Identifier: MIT */
/*
 * prefix.h - the prefix index: which full blocks hold the KV of which tokens.
 *
 * The index is a tree of blocks.  A place in it (struct prefix_pos) is a
 * parent, named by (id, gen); the block behind 16 more tokens is its child that
 * holds these ids.  A block's first child hangs on it by name, so that to
 * follow or to extend a line of tokens takes no hash: it is the only child of
 * nearly every block.  The others, and those of a root, are found under
 * SipHash-2-4(key; parent, 16 ids).  The hash only finds: a hit is a block
 * whose 16 token ids and whose parent are equal.  So a collision is a miss and
 * no answer ever rests on a hash; the hash needs to withstand flooding only,
 * hence the key.
 *
 * The root of a place is a domain: who may share, and the adapter, exactly
 * compared too.  Blocks are shared inside a domain only; a domain is a tenant's,
 * or that of a prefix the host registered.  An index is one model's, in one
 * arithmetic: it is made with the pool when a model is opened.
 *
 * Who inserts vouches that the block is full, its tokens committed and its KV
 * written.  Equal blocks computed twice: the first is indexed, the second
 * stays a private copy whose children hang under the first.
 *
 * It owns its table and the domains; it marks blocks in the pool below it and
 * holds no references.  O(1) a block; no allocation after init.  One thread.
 */
#ifndef CORE_PREFIX_H
#define CORE_PREFIX_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/core/kv.h"

#define PREFIX_NONE UINT32_MAX /* no domain: neither finds nor inserts */

/* Who shares: compared field by field, so no padding rule is needed. */
struct prefix_domain_key {
	uint64_t tenant;     /* or, where public, the number of the prefix */
	bool public_prefix;  /* registered by the host: all tenants hit it */
	uint8_t adapter[32]; /* digest of the adapter; zero = none */
};

/* A place in the index: behind so many full blocks of one sequence. */
struct prefix_pos {
	uint32_t parent, parent_gen; /* the block before; a domain at first */
};

/* A place of the hash table. */
struct prefix_slot {
	uint32_t block; /* 0 = empty */
	uint32_t tag;	/* 32 bits of its digest: names its first slot too */
};

/*
 * What the index knows of a block that it holds, one that is `cached`.
 * Apart from its tokens: to evict one, those need not be touched.
 */
struct prefix_entry {
	uint32_t parent, parent_gen;
	uint32_t slot;	/* its place in the table; PREFIX_NONE: it hangs on */
	uint32_t child; /* the block that hangs on it; 0 = none */
	bool branches;	/* it has, or had, more children: in the table */
};

/* The tokens that a block stands for: one cache line. */
struct prefix_tokens {
	_Alignas(64) uint32_t id[16];
};

struct prefix_domain {
	struct prefix_domain_key key;
	uint32_t hash;	     /* of the key: it names its chain */
	uint32_t users;	     /* sequences that have it */
	uint32_t nr_entries; /* blocks of it that are indexed as first blocks */
	uint32_t gen;	     /* +1 when it is given up */
	uint32_t next;	     /* in its hash chain, or of the unused */
};

struct prefix {
	struct kv *kv; /* borrowed: the pool whose blocks are indexed */
	uint8_t hash_key[16];
	uint32_t nr_entries;	      /* blocks in the index */
	uint32_t mask;		      /* slots - 1; slots is a power of two */
	struct prefix_slot *slots;    /* owned: [mask + 1] */
	struct prefix_entry *entries; /* owned: [kv->nr_blocks] */
	struct prefix_tokens *tokens; /* owned: [kv->nr_blocks] */
	uint32_t nr_domains, domain_free;
	struct prefix_domain *domains; /* owned: [nr_domains] */
	uint32_t *domain_heads;	       /* owned: [domain_mask + 1] */
	uint32_t domain_mask;
	uint32_t ahead; /* place in kv->aged[]: its turn to go comes soon */
	bool collide;	/* test hook: every hash is the same */
};

/*
 * An index over the blocks of @kv.  @hash_key: 16 random bytes, fresh per
 * start.  @max_users: most sequences that hold a domain at one time.
 * 0 or -ENOMEM.
 */
int prefix_init(struct prefix *p, struct kv *kv, const uint8_t hash_key[16],
		uint32_t max_users);
void prefix_deinit(struct prefix *p);

/*
 * The domain of @key, for one more user: its number.  Never fails for up to
 * max_users users.  prefix_domain_put() gives it back.
 */
uint32_t prefix_domain_get(struct prefix *p,
			   const struct prefix_domain_key *key);
void prefix_domain_put(struct prefix *p, uint32_t domain);

/* The place before the first block of @domain. */
void prefix_root(const struct prefix *p, uint32_t domain,
		 struct prefix_pos *pos);
/*
 * The block that holds @ids[16] behind @pos, and @pos moves behind it; or 0,
 * and @pos stays.  Takes no reference.
 */
uint32_t prefix_find(const struct prefix *p, struct prefix_pos *pos,
		     const uint32_t *ids);
/*
 * Index @block, held by the caller, as @ids[16] behind @pos; @pos moves.
 * Where an equal block is there already, that one stays.  Returns the block
 * now in the index.  The caller has made sure by prefix_is_current() that
 * the place still exists.
 */
uint32_t prefix_insert(struct prefix *p, struct prefix_pos *pos, uint32_t block,
		       const uint32_t *ids);
/* Ask the cache for what prefix_insert() of @block will write. */
static inline void prefix_prefetch(const struct prefix *p, uint32_t block)
{
	__builtin_prefetch(&p->tokens[block], 1);
	__builtin_prefetch(&p->entries[block], 1);
	__builtin_prefetch(&p->kv->blocks[block], 1);
}
/* Is the parent of @pos still what it was when @pos was made? */
bool prefix_is_current(const struct prefix *p, const struct prefix_pos *pos);
/*
 * Forget the content of the free block unused for longest (in a pool of many
 * thousands of the few dozen so), so that kv_alloc() can take it.  -ENOSPC
 * where no cached block is free.
 */
int prefix_reclaim(struct prefix *p);
/* A block was filled: ask the cache for what evictions to come will read. */
void prefix_look_ahead(struct prefix *p);

/* As kv_check(): NULL or what is wrong.  O(blocks). */
const char *prefix_check(const struct prefix *p);

#endif
