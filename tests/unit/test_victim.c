/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdint.h>

#include "daemon/core/kv.h"
#include "daemon/core/seq.h"
#include "daemon/core/tenant.h"
#include "daemon/core/victim.h"

/*
 * Sequence 0 asks; 1 and 2 run.  Each holds four blocks; a case changes what
 * it needs and names the victim.
 */
#define ASKS 0u
#define NONE SEQ_NONE

struct one {
	uint32_t cls, tenant, computed, nr_preempts, new_tokens, nr_shared;
	bool held, planned;
};

struct row {
	const char *name;
	enum victim_why why;
	struct one seq[3];
	uint32_t want;
};

static const struct row rows[] = {
	/* to grow: itself is in question too, when it runs */
	{ "grow: of equals the last to come", VICTIM_GROW, { { 0 } }, 2 },
	{ "grow: the lowest class",
	  VICTIM_GROW,
	  { { .cls = 0 }, { .cls = 1 }, { .cls = 0 } },
	  1 },
	{ "grow: never a higher class, rather itself",
	  VICTIM_GROW,
	  { { .cls = 2 }, { .cls = 1 }, { .cls = 0 } },
	  0 },
	{ "grow: the tenant that had the most",
	  VICTIM_GROW,
	  { { 0 }, { .tenant = 1 }, { 0 } },
	  1 },
	{ "grow: its own tenant had the most",
	  VICTIM_GROW,
	  { { .tenant = 1 }, { 0 }, { 0 } },
	  0 },
	{ "grow: the least to compute again",
	  VICTIM_GROW,
	  { { .computed = 64 }, { .computed = 20 }, { .computed = 64 } },
	  1 },
	{ "grow: for each block that comes free",
	  VICTIM_GROW,
	  { { .computed = 64 },
	    { .computed = 50, .nr_shared = 3 },
	    { .computed = 60 } },
	  2 },
	{ "grow: nobody who frees nothing",
	  VICTIM_GROW,
	  { { .computed = 64 },
	    { .computed = 1, .nr_shared = 4 },
	    { .computed = 1, .nr_shared = 4 } },
	  0 },
	{ "grow: a resumed one is spared for 64 tokens",
	  VICTIM_GROW,
	  { { .cls = 0 },
	    { .cls = 2, .nr_preempts = 1, .new_tokens = 63 },
	    { .cls = 1 } },
	  2 },
	{ "grow: and not longer",
	  VICTIM_GROW,
	  { { .cls = 0 },
	    { .cls = 2, .nr_preempts = 1, .new_tokens = 64 },
	    { .cls = 1 } },
	  1 },
	{ "grow: nobody whose rows are planned",
	  VICTIM_GROW,
	  { { .planned = true }, { .planned = true }, { .planned = true } },
	  NONE },
	{ "grow: a held one first, of any class",
	  VICTIM_GROW,
	  { { .cls = 2 }, { .cls = 0, .held = true }, { .cls = 2 } },
	  1 },
	/* to be admitted: it does not run */
	{ "blocks: never an equal", VICTIM_BLOCKS, { { 0 } }, NONE },
	{ "blocks: a lower class",
	  VICTIM_BLOCKS,
	  { { .cls = 0 }, { .cls = 0 }, { .cls = 1 } },
	  2 },
	{ "blocks: even one that was resumed just now",
	  VICTIM_BLOCKS,
	  { { .cls = 0 }, { .cls = 0 }, { .cls = 1, .nr_preempts = 1 } },
	  2 },
	{ "blocks: but its class keeps its floor",
	  VICTIM_BLOCKS,
	  { { .cls = 0 }, { .cls = 1 }, { .cls = 2 } },
	  1 }, /* the idle class has four blocks, its floor is four */
	{ "blocks: an equal that is held",
	  VICTIM_BLOCKS,
	  { { .cls = 1 }, { .cls = 1, .held = true }, { .cls = 1 } },
	  1 },
	{ "slot: never an equal",
	  VICTIM_SLOT,
	  { { .cls = 1 }, { .cls = 1 }, { .cls = 1 } },
	  NONE },
	{ "slot: a lower class that has two",
	  VICTIM_SLOT,
	  { { .cls = 0 }, { .cls = 1 }, { .cls = 1 } },
	  2 },
	{ "slot: not the last one of its class",
	  VICTIM_SLOT,
	  { { .cls = 0 }, { .cls = 1 }, { .cls = 2 } },
	  NONE },
};

static void set_up(const struct row *r, struct seq seqs[3], uint32_t t[3][4],
		   struct kv *kv, uint32_t class_blocks[NR_CLASSES],
		   uint32_t class_running[NR_CLASSES])
{
	uint32_t i, k;

	for (i = 0; i < 3; i++) {
		const struct one *o = &r->seq[i];

		seqs[i] = (struct seq){
			.cls = (uint8_t)o->cls,
			.tenant = o->tenant,
			.computed = o->computed,
			.nr_preempts = o->nr_preempts,
			.resumed_len = 100,
			.known = 100 + o->new_tokens,
			.held = o->held,
			.planned = o->planned,
			.order = i,
			.state = SEQ_DECODE,
			.table = t[i],
			.nr_table = 4,
		};
		for (k = 0; k < 4; k++) {
			CHECK_EQ(kv_alloc(kv, &t[i][k]), 0);
			if (k < o->nr_shared)
				kv_get(kv, t[i][k]);
		}
		class_blocks[o->cls] += 4;
		class_running[o->cls]++;
	}
}

TEST(T22_the_victim_is_the_one_that_the_rules_name)
{
	static const uint32_t floors[NR_CLASSES] = { 0, 3, 4 };
	struct tenants tenants;
	uint32_t i, id;

	CHECK_EQ(tenants_init(&tenants, 2), 0);
	CHECK_EQ(tenant_get(&tenants, 1, &id), 0);
	CHECK_EQ(tenant_get(&tenants, 2, &id), 0);
	for (i = 0; i < NR_CLASSES; i++)
		tenants.all[1].vt[i] = 1000;
	for (i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		uint32_t blocks[NR_CLASSES] = { 0 }, run[NR_CLASSES] = { 0 };
		uint32_t table[3][4], running[4] = { NONE, 2, 1, 0 };
		struct seq seqs[3];
		struct kv kv;
		struct victim_view v = { .seqs = seqs,
					 .running = running,
					 .nr_slots = 4,
					 .kv = &kv,
					 .tenants = &tenants,
					 .class_blocks = blocks,
					 .class_floor = floors,
					 .class_running = run };

		ROW(rows[i].name);
		CHECK_EQ(kv_init(&kv, 20), 0);
		set_up(&rows[i], seqs, table, &kv, blocks, run);
		if (rows[i].why != VICTIM_GROW)
			running[3] = NONE;
		CHECK_EQ(victim_choose(&v, ASKS, rows[i].why), rows[i].want);
		CHECK_EQ(victim_blocks(&v, ASKS, rows[i].why) > 0,
			 rows[i].want != NONE);
		kv_deinit(&kv);
	}
	tenants_deinit(&tenants);
}
