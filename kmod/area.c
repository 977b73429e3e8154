// SPDX-License-Identifier: GPL-2.0-only
/*
 * area.c - see area.h.
 *
 * Late pages.  A client's fault is charged to the memory cgroup that made the
 * session, and may fail there as any fault may.  The daemon's fault is charged
 * to the same cgroup as long as that has room without reclaim; beyond it the
 * page comes uncharged.  So a client whose cgroup is full cannot stall the
 * daemon, and what escapes the cgroup is bounded by the tenant's max_memory.
 *
 * pages[i] goes once from NULL to a page, by cmpxchg (release), and is read by
 * acquire; it goes back only in deinit, when nobody else is left.
 */
#include <linux/gfp.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>

#include "area.h"
#include "compat.h"

int llm_area_init(struct llm_area *area, u32 index, u64 size, u64 there,
		  struct mem_cgroup *memcg)
{
	u32 i, nr_there = there >> PAGE_SHIFT;

	*area = (struct llm_area){
		.nr = size >> PAGE_SHIFT,
		.base = (unsigned long)index << LLM_AREA_PGSHIFT,
		.memcg = memcg,
	};
	area->pages = kvcalloc(area->nr, sizeof(*area->pages), GFP_KERNEL_ACCOUNT);
	if (!area->pages)
		return -ENOMEM;
	for (i = 0; i < nr_there; i++) {
		if (fatal_signal_pending(current)) {
			llm_area_deinit(area);
			return -EINTR;
		}
		area->pages[i] = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!area->pages[i]) {
			llm_area_deinit(area);
			return -ENOMEM;
		}
		cond_resched();
	}
	return 0;
}

void llm_area_deinit(struct llm_area *area)
{
	u32 i;

	for (i = 0; area->pages && i < area->nr; i++) {
		if (area->pages[i])
			put_page(area->pages[i]);
		if (!(i % 1024))
			cond_resched();
	}
	kvfree(area->pages);
	*area = (struct llm_area){ 0 };
}

static struct page *llm_area_alloc_late(struct llm_area *area, bool serve)
{
	gfp_t gfp = serve ? GFP_NOWAIT | __GFP_ACCOUNT | __GFP_NOWARN : GFP_KERNEL_ACCOUNT;
	struct mem_cgroup *old;
	struct page *page;

	old = set_active_memcg(area->memcg);
	page = alloc_page(gfp | __GFP_ZERO);
	set_active_memcg(old);
	if (!page && serve)
		page = alloc_page(GFP_KERNEL | __GFP_ZERO);
	return page;
}

/* Page @i of @area, made where it is not there; the area's reference.  NULL: no memory. */
static struct page *llm_area_page(struct llm_area *area, pgoff_t i, bool serve)
{
	struct page *page, *was;

	/* pairs with the cmpxchg below: the page is zeroed before it is found */
	page = smp_load_acquire(&area->pages[i]);
	if (page)
		return page;
	page = llm_area_alloc_late(area, serve);
	if (!page)
		return NULL;
	was = cmpxchg(&area->pages[i], NULL, page);
	if (!was)
		return page;
	put_page(page);			/* somebody else was first */
	return was;
}

static vm_fault_t llm_area_map_page(struct vm_fault *vmf, bool serve)
{
	struct llm_area *area = vmf->vma->vm_private_data;
	pgoff_t i = vmf->pgoff - area->base;

	if (i >= area->nr)
		return VM_FAULT_SIGBUS;
	vmf->page = llm_area_page(area, i, serve);
	if (!vmf->page)
		return VM_FAULT_OOM;
	get_page(vmf->page);
	return 0;
}

static vm_fault_t llm_area_fault(struct vm_fault *vmf)
{
	return llm_area_map_page(vmf, false);
}

static vm_fault_t llm_area_fault_serve(struct vm_fault *vmf)
{
	return llm_area_map_page(vmf, true);
}

static const struct vm_operations_struct llm_area_vm_ops = {
	.fault = llm_area_fault,
};

static const struct vm_operations_struct llm_area_vm_ops_serve = {
	.fault = llm_area_fault_serve,
};

u32 llm_area_of(const struct vm_area_struct *vma, u32 nr)
{
	return min_t(unsigned long, vma->vm_pgoff >> LLM_AREA_PGSHIFT, nr - 1);
}

int llm_area_mmap(struct llm_area *area, struct vm_area_struct *vma, enum llm_area_right right)
{
	pgoff_t first = vma->vm_pgoff - area->base;	/* huge when before it */
	bool writable = right == LLM_AREA_WRITE || right == LLM_AREA_SERVE;
	bool serve = right == LLM_AREA_SERVE || right == LLM_AREA_LOOK;
	unsigned long nr = vma_pages(vma);

	/* A file opened read-only loses VM_SHARED but keeps VM_MAYSHARE. */
	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	if (vma->vm_flags & VM_EXEC || (!writable && vma->vm_flags & VM_WRITE))
		return -EACCES;
	if (first >= area->nr || nr > area->nr - first)
		return -EINVAL;
	llm_vma_flags(vma, VM_DONTEXPAND | VM_DONTDUMP | VM_DONTCOPY,
		      VM_MAYEXEC | (writable ? 0 : VM_MAYWRITE));
	vma->vm_private_data = area;
	vma->vm_ops = serve ? &llm_area_vm_ops_serve : &llm_area_vm_ops;
	return 0;
}

void *llm_area_at(const struct llm_area *area, u64 off)
{
	/* pairs with the cmpxchg in the fault */
	struct page *page = smp_load_acquire(&area->pages[off >> PAGE_SHIFT]);

	return page ? page_address(page) + offset_in_page(off) : NULL;
}

void *llm_area_make(struct llm_area *area, u64 off)
{
	struct page *page = llm_area_page(area, off >> PAGE_SHIFT, false);

	return page ? page_address(page) + offset_in_page(off) : NULL;
}
