/* SPDX-License-Identifier: MIT */
#include "daemon/core/prefix.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "base/table.h"
#include "daemon/core/batch.h"
#include "daemon/core/kv.h"

/* A parent that is a domain, not a block. */
#define ROOT (1u << 31)

/* How many blocks a reclaim evicts: a part of the pool, and no more than. */
#define RECLAIM_PART 4096u
#define RECLAIM_MAX  32u

static_assert(sizeof(struct prefix_tokens) == KV_BLOCK * 4,
	      "an entry holds a block's tokens");
static_assert(sizeof(struct prefix_digest) == crypto_shorthash_siphashx24_BYTES,
	      "a digest is one SipHash-128");

static struct prefix_digest hash(const struct prefix *p, const void *data,
				 size_t size)
{
	struct prefix_digest d = { { 0 } };

	if (!p->collide)
		crypto_shorthash_siphashx24(d.byte, data, size, p->hash_key);
	return d;
}

static struct prefix_digest hash_block(const struct prefix *p,
				       const struct prefix_digest *chain,
				       const uint32_t *ids)
{
	uint8_t buf[sizeof(*chain) + KV_BLOCK * 4];

	memcpy(buf, chain, sizeof(*chain));
	memcpy(buf + sizeof(*chain), ids, KV_BLOCK * 4);
	return hash(p, buf, sizeof(buf));
}

static uint32_t tag_of(const struct prefix_digest *d)
{
	uint32_t w;

	memcpy(&w, d->byte, sizeof(w));
	return w;
}

/* Append a field: its type, its length, its bytes. */
static uint8_t *put_field(uint8_t *at, uint8_t type, const void *data,
			  uint32_t size)
{
	*at++ = type;
	memcpy(at, &size, sizeof(size));
	memcpy(at + sizeof(size), data, size);
	return at + sizeof(size) + size;
}

/*
 * Typed and length-framed, so that a tenant "7" is never a public prefix "7"
 * nor the end of an adapter's digest (vLLM's cache_salt once met an adapter's
 * name that way).
 */
static struct prefix_digest hash_root(const struct prefix *p,
				      const struct prefix_domain_key *key)
{
	uint8_t buf[256], *at = buf;

	at = put_field(at, 1, p->model.digest, sizeof(p->model.digest));
	at = put_field(at, 2, &p->model.arith, sizeof(p->model.arith));
	at = put_field(at, 3, &p->model.kv_type, sizeof(p->model.kv_type));
	at = put_field(at, 4, key->adapter, sizeof(key->adapter));
	at = put_field(at, key->public_prefix ? 6 : 5, &key->tenant,
		       sizeof(key->tenant));
	return hash(p, buf, (size_t)(at - buf));
}

static uint32_t power_of_two(uint32_t least)
{
	uint32_t n = 1;

	while (n < least)
		n *= 2;
	return n;
}

int prefix_init(struct prefix *p, struct kv *kv,
		const struct prefix_model *model, const uint8_t hash_key[16],
		uint32_t max_users)
{
	uint32_t i;

	memset(p, 0, sizeof(*p));
	p->kv = kv;
	p->model = *model;
	memcpy(p->hash_key, hash_key, sizeof(p->hash_key));
	/* half empty at worst: short probes, and a probe always ends */
	p->mask = power_of_two(2 * kv->nr_blocks) - 1;
	/* a domain lives by its users and its first blocks: never too few */
	p->nr_domains = max_users + kv->nr_blocks;
	p->domain_mask = power_of_two(p->nr_domains) - 1;
	p->slots = table_alloc((size_t)p->mask + 1, sizeof(*p->slots));
	p->entries = table_alloc(kv->nr_blocks, sizeof(*p->entries));
	p->tokens = table_alloc(kv->nr_blocks, sizeof(*p->tokens));
	p->domains = calloc(p->nr_domains, sizeof(*p->domains));
	p->domain_heads =
		calloc((size_t)p->domain_mask + 1, sizeof(*p->domain_heads));
	if (!p->slots || !p->entries || !p->tokens || !p->domains ||
	    !p->domain_heads) {
		prefix_deinit(p);
		return -ENOMEM;
	}
	for (i = 0; i < kv->nr_blocks; i++)
		p->entries[i].slot = PREFIX_NONE;
	for (i = 0; i < p->nr_domains; i++)
		p->domains[i].next = i + 1; /* free list; the end is nr */
	for (i = 0; i <= p->domain_mask; i++)
		p->domain_heads[i] = PREFIX_NONE;
	return 0;
}

void prefix_deinit(struct prefix *p)
{
	table_free(p->slots);
	table_free(p->entries);
	table_free(p->tokens);
	free(p->domains);
	free(p->domain_heads);
	memset(p, 0, sizeof(*p));
}

static bool same_key(const struct prefix_domain_key *a,
		     const struct prefix_domain_key *b)
{
	return a->tenant == b->tenant && a->public_prefix == b->public_prefix &&
	       !memcmp(a->adapter, b->adapter, sizeof(a->adapter));
}

static uint32_t *domain_head(struct prefix *p, const struct prefix_digest *root)
{
	uint32_t w;

	memcpy(&w, root->byte, sizeof(w));
	return &p->domain_heads[w & p->domain_mask];
}

uint32_t prefix_domain_get(struct prefix *p,
			   const struct prefix_domain_key *key)
{
	struct prefix_digest root = hash_root(p, key);
	uint32_t *head = domain_head(p, &root), d;
	struct prefix_domain *dom;

	for (d = *head; d != PREFIX_NONE; d = p->domains[d].next) {
		if (same_key(&p->domains[d].key, key)) {
			p->domains[d].users++;
			return d;
		}
	}
	d = p->domain_free;
	assert(d < p->nr_domains);
	dom = &p->domains[d];
	p->domain_free = dom->next;
	dom->key = *key;
	dom->root = root;
	dom->users = 1;
	dom->next = *head;
	*head = d;
	return d;
}

/* Nobody uses it and no block hangs under it: its number may be reused. */
static void domain_drop(struct prefix *p, uint32_t d)
{
	struct prefix_domain *dom = &p->domains[d];
	uint32_t *at;

	if (dom->users || dom->nr_entries)
		return;
	for (at = domain_head(p, &dom->root); *at != d;)
		at = &p->domains[*at].next;
	*at = dom->next;
	dom->gen++;
	dom->next = p->domain_free;
	p->domain_free = d;
}

void prefix_domain_put(struct prefix *p, uint32_t domain)
{
	assert(p->domains[domain].users > 0);
	p->domains[domain].users--;
	domain_drop(p, domain);
}

void prefix_root(const struct prefix *p, uint32_t domain,
		 struct prefix_pos *pos)
{
	pos->chain = p->domains[domain].root;
	pos->parent = ROOT | domain;
	pos->parent_gen = p->domains[domain].gen;
}

/* The exact half of a hit. */
static bool is_entry(const struct prefix *p, uint32_t block,
		     const struct prefix_pos *pos, const uint32_t *ids)
{
	const struct prefix_entry *e = &p->entries[block];

	return e->parent == pos->parent && e->parent_gen == pos->parent_gen &&
	       !memcmp(p->tokens[block].id, ids, sizeof(p->tokens->id));
}

static void step_behind(const struct prefix *p, struct prefix_pos *pos,
			uint32_t block, const struct prefix_digest *digest)
{
	pos->chain = *digest;
	pos->parent = block;
	pos->parent_gen = p->kv->blocks[block].gen;
}

/* Probe for (@pos, @ids): the block, or 0 and the empty slot in *ret_slot. */
static uint32_t probe(const struct prefix *p, const struct prefix_pos *pos,
		      const uint32_t *ids, const struct prefix_digest *digest,
		      uint32_t *ret_slot)
{
	uint32_t tag = tag_of(digest), slot = tag & p->mask;
	const struct prefix_slot *s;

	for (; (s = &p->slots[slot])->block; slot = (slot + 1) & p->mask)
		if (s->tag == tag && is_entry(p, s->block, pos, ids))
			return s->block;
	*ret_slot = slot;
	return 0;
}

uint32_t prefix_find(const struct prefix *p, struct prefix_pos *pos,
		     const uint32_t *ids)
{
	struct prefix_digest digest = hash_block(p, &pos->chain, ids);
	uint32_t slot, block;

	if (!prefix_is_current(p, pos))
		return 0;
	block = probe(p, pos, ids, &digest, &slot);
	if (block)
		step_behind(p, pos, block, &digest);
	return block;
}

/*
 * Take @block out of the table.  Linear probing without tombstones: later
 * entries of the run move into the hole unless that is before their own first
 * slot (Knuth, TAOCP 6.4, algorithm R).
 */
static void forget(struct prefix *p, uint32_t block)
{
	struct prefix_entry *e = &p->entries[block];
	uint32_t hole = e->slot, at = hole;

	if (e->parent & ROOT) {
		uint32_t d = e->parent & ~ROOT;

		assert(p->domains[d].nr_entries > 0);
		p->domains[d].nr_entries--;
		domain_drop(p, d);
	}
	for (;;) {
		const struct prefix_slot *s;

		at = (at + 1) & p->mask;
		s = &p->slots[at];
		if (!s->block)
			break;
		if (((at - s->tag) & p->mask) < ((at - hole) & p->mask))
			continue;
		p->slots[hole] = *s;
		p->entries[s->block].slot = hole;
		hole = at;
	}
	p->slots[hole].block = 0;
	e->slot = PREFIX_NONE;
	p->nr_entries--;
}

struct prefix_digest prefix_hash(const struct prefix *p,
				 const struct prefix_pos *pos,
				 const uint32_t *ids)
{
	struct prefix_digest digest = hash_block(p, &pos->chain, ids);

	__builtin_prefetch(&p->slots[tag_of(&digest) & p->mask], 1);
	return digest;
}

uint32_t prefix_insert(struct prefix *p, struct prefix_pos *pos, uint32_t block,
		       const uint32_t *ids, const struct prefix_digest *digest)
{
	struct prefix_entry *e = &p->entries[block];
	uint32_t slot, first;

	assert(prefix_is_current(p, pos) && p->kv->blocks[block].ref > 0);
	first = probe(p, pos, ids, digest, &slot);
	if (first) {
		step_behind(p, pos, first, digest);
		return first;
	}
	if (e->slot != PREFIX_NONE) {
		/* known under a parent that is gone: move it to this one */
		forget(p, block);
		kv_unmark_cached(p->kv, block);
		probe(p, pos, ids, digest, &slot);
	}
	e->parent = pos->parent;
	e->parent_gen = pos->parent_gen;
	e->slot = slot;
	memcpy(p->tokens[block].id, ids, sizeof(p->tokens->id));
	p->slots[slot] = (struct prefix_slot){ block, tag_of(digest) };
	p->nr_entries++;
	if (pos->parent & ROOT)
		p->domains[pos->parent & ~ROOT].nr_entries++;
	kv_mark_cached(p->kv, block);
	step_behind(p, pos, block, digest);
	return block;
}

bool prefix_is_current(const struct prefix *p, const struct prefix_pos *pos)
{
	uint32_t d = pos->parent & ~ROOT;

	if (pos->parent & ROOT)
		return p->domains[d].gen == pos->parent_gen;
	return kv_is(p->kv, pos->parent, pos->parent_gen) &&
	       p->kv->blocks[pos->parent].cached;
}

/*
 * The free list's order is no order of memory: a walk along it waits for each
 * line in turn.  So a finger goes along it a while before, a block each time
 * that a sequence has filled one, and asks for the line that its next move will
 * read.  Where it points is a guess: blocks may have left the list.
 */
void prefix_look_ahead(struct prefix *p)
{
	p->ahead = p->kv->blocks[p->ahead].next;
	__builtin_prefetch(&p->kv->blocks[p->ahead], 1);
	__builtin_prefetch(&p->entries[p->ahead], 1);
}

/*
 * In a large pool several at once: what an eviction touches was untouched for
 * longest and is in no cache, so it is asked for of all of them first.
 */
int prefix_reclaim(struct prefix *p)
{
	uint32_t most = p->kv->nr_blocks / RECLAIM_PART, nr = 0, i;
	uint32_t block[RECLAIM_MAX];

	most = most > RECLAIM_MAX ? RECLAIM_MAX : most ? most : 1;
	for (i = kv_oldest(p->kv); i && nr < most; i = p->kv->blocks[i].next) {
		block[nr++] = i;
		__builtin_prefetch(&p->slots[p->entries[i].slot], 1);
	}
	p->ahead = i;
	for (i = 0; i < nr; i++) {
		forget(p, block[i]);
		kv_unmark_cached(p->kv, block[i]);
	}
	return nr ? 0 : -ENOSPC;
}

const char *prefix_check(const struct prefix *p)
{
	uint32_t nr_slots = 0, nr_flags = 0, nr_first = 0, i, at;

	for (i = 0; i <= p->mask; i++) {
		if (!p->slots[i].block)
			continue;
		nr_slots++;
		if (p->entries[p->slots[i].block].slot != i)
			return "a slot's block does not know its slot";
		at = p->slots[i].tag & p->mask;
		for (; at != i; at = (at + 1) & p->mask)
			if (!p->slots[at].block)
				return "a probe ends before its entry";
	}
	for (i = 1; i < p->kv->nr_blocks; i++) {
		nr_flags += p->kv->blocks[i].cached;
		if (p->kv->blocks[i].cached !=
		    (p->entries[i].slot != PREFIX_NONE))
			return "a block's cached flag is not the index's word";
		nr_first += p->kv->blocks[i].cached &&
			    (p->entries[i].parent & ROOT);
	}
	if (nr_slots != p->nr_entries || nr_flags != p->nr_entries)
		return "index entries are not the cached flags";
	for (i = 0; i < p->nr_domains; i++)
		nr_first -= p->domains[i].nr_entries;
	if (nr_first)
		return "domains do not count their first blocks";
	return NULL;
}
