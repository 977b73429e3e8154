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

static uint32_t hash(const struct prefix *p, const void *data, size_t size)
{
	uint8_t digest[crypto_shorthash_BYTES];
	uint32_t h = 0;

	if (p->collide)
		return 0;
	crypto_shorthash(digest, data, size, p->hash_key);
	memcpy(&h, digest, sizeof(h));
	return h;
}

static uint32_t hash_child(const struct prefix *p, const struct prefix_pos *pos,
			   const uint32_t *ids)
{
	uint32_t buf[2 + KV_BLOCK];

	buf[0] = pos->parent;
	buf[1] = pos->parent_gen;
	memcpy(buf + 2, ids, KV_BLOCK * 4);
	return hash(p, buf, sizeof(buf));
}

static uint32_t hash_domain(const struct prefix *p,
			    const struct prefix_domain_key *key)
{
	uint8_t buf[sizeof(key->tenant) + 1 + sizeof(key->adapter)];

	memcpy(buf, &key->tenant, sizeof(key->tenant));
	buf[sizeof(key->tenant)] = key->public_prefix;
	memcpy(buf + sizeof(key->tenant) + 1, key->adapter,
	       sizeof(key->adapter));
	return hash(p, buf, sizeof(buf));
}

static uint32_t power_of_two(uint32_t least)
{
	uint32_t n = 1;

	while (n < least)
		n *= 2;
	return n;
}

int prefix_init(struct prefix *p, struct kv *kv, const uint8_t hash_key[16],
		uint32_t max_users)
{
	uint32_t i;

	memset(p, 0, sizeof(*p));
	p->kv = kv;
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

uint32_t prefix_domain_get(struct prefix *p,
			   const struct prefix_domain_key *key)
{
	uint32_t h = hash_domain(p, key), d;
	uint32_t *head = &p->domain_heads[h & p->domain_mask];
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
	dom->hash = h;
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
	at = &p->domain_heads[dom->hash & p->domain_mask];
	while (*at != d)
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

static uint32_t step_behind(const struct prefix *p, struct prefix_pos *pos,
			    uint32_t block)
{
	pos->parent = block;
	pos->parent_gen = p->kv->blocks[block].gen;
	return block;
}

/* Probe for (@pos, @ids): the block, or 0 and the empty slot in *ret_slot. */
static uint32_t probe(const struct prefix *p, const struct prefix_pos *pos,
		      const uint32_t *ids, uint32_t tag, uint32_t *ret_slot)
{
	uint32_t slot = tag & p->mask;
	const struct prefix_slot *s;

	for (; (s = &p->slots[slot])->block; slot = (slot + 1) & p->mask)
		if (s->tag == tag && is_entry(p, s->block, pos, ids))
			return s->block;
	*ret_slot = slot;
	return 0;
}

/* The block behind @pos, if it is a block and not a root. */
static struct prefix_entry *parent_of(const struct prefix *p,
				      const struct prefix_pos *pos)
{
	return pos->parent & ROOT ? NULL : &p->entries[pos->parent];
}

/* The child of @pos that holds @ids, or 0. */
static uint32_t child_with(const struct prefix *p, const struct prefix_pos *pos,
			   const uint32_t *ids)
{
	const struct prefix_entry *up = parent_of(p, pos);
	uint32_t slot;

	if (up && up->child && is_entry(p, up->child, pos, ids))
		return up->child;
	if (up && !up->branches)
		return 0;
	return probe(p, pos, ids, hash_child(p, pos, ids), &slot);
}

uint32_t prefix_find(const struct prefix *p, struct prefix_pos *pos,
		     const uint32_t *ids)
{
	uint32_t block;

	if (!prefix_is_current(p, pos))
		return 0;
	block = child_with(p, pos, ids);
	return block ? step_behind(p, pos, block) : 0;
}

/*
 * Empty the slot @hole.  Linear probing without tombstones: later entries of
 * the run move into the hole unless that is before their own first slot
 * (Knuth, TAOCP 6.4, algorithm R).
 */
static void empty_slot(struct prefix *p, uint32_t hole)
{
	uint32_t at = hole;

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
}

/* Take @block out of the index. */
static void forget(struct prefix *p, uint32_t block)
{
	const struct prefix_entry *e = &p->entries[block];

	if (e->parent & ROOT) {
		uint32_t d = e->parent & ~ROOT;

		assert(p->domains[d].nr_entries > 0);
		p->domains[d].nr_entries--;
		domain_drop(p, d);
	}
	if (e->slot != PREFIX_NONE)
		empty_slot(p, e->slot);
	else if (p->entries[e->parent].child == block)
		/* else the parent went first, and is another block by now */
		p->entries[e->parent].child = 0;
	p->nr_entries--;
	kv_unmark_cached(p->kv, block);
}

/* Hang @block, which holds @ids, behind @pos: by name, or into the table. */
static void attach(struct prefix *p, const struct prefix_pos *pos,
		   uint32_t block, const uint32_t *ids)
{
	struct prefix_entry *e = &p->entries[block], *up = parent_of(p, pos);
	uint32_t tag;

	e->parent = pos->parent;
	e->parent_gen = pos->parent_gen;
	e->slot = PREFIX_NONE;
	memcpy(p->tokens[block].id, ids, sizeof(p->tokens->id));
	if (up && !up->child) {
		up->child = block;
		return;
	}
	if (up)
		up->branches = true;
	else
		p->domains[pos->parent & ~ROOT].nr_entries++;
	tag = hash_child(p, pos, ids);
	probe(p, pos, ids, tag, &e->slot);
	p->slots[e->slot] = (struct prefix_slot){ block, tag };
}

uint32_t prefix_insert(struct prefix *p, struct prefix_pos *pos, uint32_t block,
		       const uint32_t *ids)
{
	uint32_t first;

	assert(prefix_is_current(p, pos) && p->kv->blocks[block].ref > 0);
	first = child_with(p, pos, ids);
	if (first)
		return step_behind(p, pos, first);
	if (p->kv->blocks[block].cached) {
		/* known under a parent that is gone: move it, with its own */
		forget(p, block);
	} else {
		p->entries[block].child = 0;
		p->entries[block].branches = false;
	}
	attach(p, pos, block, ids);
	p->nr_entries++;
	kv_mark_cached(p->kv, block);
	return step_behind(p, pos, block);
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
 * Blocks are evicted in no order of memory: who comes upon them unprepared
 * waits for each line.  So a finger goes ahead of the evictions, a block each
 * time that a sequence has filled one, and asks for what they will read.
 */
void prefix_look_ahead(struct prefix *p)
{
	const struct kv *kv = p->kv;
	uint32_t block;

	if (p->ahead - kv->aged_head >= kv->aged_tail - kv->aged_head)
		p->ahead = kv->aged_head;
	block = kv_aged(kv, p->ahead++);
	__builtin_prefetch(&kv->blocks[block], 1);
	__builtin_prefetch(&p->entries[block], 1);
}

/*
 * In a large pool several at once: what an eviction touches was untouched for
 * longest and is in no cache, so it is asked for of all of them first.
 */
int prefix_reclaim(struct prefix *p)
{
	uint32_t most = p->kv->nr_blocks / RECLAIM_PART, nr = 0, at, i;
	uint32_t block[RECLAIM_MAX];
	const struct kv *kv = p->kv;

	most = most > RECLAIM_MAX ? RECLAIM_MAX : most ? most : 1;
	for (at = kv->aged_head; at != kv->aged_tail && nr < most; at++) {
		const struct prefix_entry *e = &p->entries[kv_aged(kv, at)];

		if (!kv_aged(kv, at))
			continue;
		block[nr++] = kv_aged(kv, at);
		if (e->slot != PREFIX_NONE)
			__builtin_prefetch(&p->slots[e->slot], 1);
		else
			__builtin_prefetch(&p->entries[e->parent], 1);
	}
	p->ahead = at;
	for (i = 0; i < nr; i++)
		forget(p, block[i]);
	return nr ? 0 : -ENOSPC;
}

/* What is wrong with the entry of @block, which is cached; NULL: nothing. */
static const char *check_entry(const struct prefix *p, uint32_t block)
{
	const struct prefix_entry *e = &p->entries[block], *down;

	if (e->slot != PREFIX_NONE && p->slots[e->slot].block != block)
		return "a block's slot is another's";
	if (e->slot == PREFIX_NONE &&
	    ((e->parent & ROOT) || (kv_is(p->kv, e->parent, e->parent_gen) &&
				    p->kv->blocks[e->parent].cached &&
				    p->entries[e->parent].child != block)))
		return "a block hangs on a parent that does not know it";
	if (!e->child)
		return NULL;
	down = &p->entries[e->child];
	if (!p->kv->blocks[e->child].cached || down->parent != block ||
	    !kv_is(p->kv, block, down->parent_gen) || down->slot != PREFIX_NONE)
		return "a block's child does not hang on it";
	return NULL;
}

const char *prefix_check(const struct prefix *p)
{
	uint32_t nr_slots = 0, nr_cached = 0, nr_table = 0, nr_first = 0, i, at;
	const char *bad = NULL;

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
	for (i = 1; i < p->kv->nr_blocks && !bad; i++) {
		if (!p->kv->blocks[i].cached)
			continue;
		nr_cached++;
		nr_table += p->entries[i].slot != PREFIX_NONE;
		nr_first += (p->entries[i].parent & ROOT) != 0;
		bad = check_entry(p, i);
	}
	if (bad)
		return bad;
	if (nr_slots != nr_table || nr_cached != p->nr_entries)
		return "index entries are not the cached flags";
	for (i = 0; i < p->nr_domains; i++)
		nr_first -= p->domains[i].nr_entries;
	if (nr_first)
		return "domains do not count their first blocks";
	return NULL;
}
