/* SPDX-License-Identifier: GPL-2.0-only */
/* sized.h - structs that cross a call: their first word is their size. */
#ifndef LLM_SIZED_H
#define LLM_SIZED_H

#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

/*
 * Copy the caller's struct at @from into @to of @ksize bytes.  A shorter one is
 * zero-filled, a longer one is taken if its unknown tail is zero.  0, -EFAULT,
 * -EINVAL (a size that cannot be), -E2BIG (unknown tail).  The size in the copy is
 * the one that was checked.
 */
static inline int llm_sized_in(void *to, size_t ksize, const void __user *from)
{
	u32 size;
	int err;

	if (get_user(size, (const u32 __user *)from))
		return -EFAULT;
	if (size < sizeof(size) || size > PAGE_SIZE)
		return -EINVAL;
	if (size == ksize) {
		if (copy_from_user(to, from, ksize))
			return -EFAULT;
	} else {
		err = copy_struct_from_user(to, ksize, from, size);
		if (err)
			return err;
	}
	*(u32 *)to = size;	/* the caller may have changed it in between */
	return 0;
}

/* Give @size bytes of the answer back, or as many as we know.  -EFAULT. */
static inline int llm_sized_out(void __user *to, const void *from, size_t ksize, u32 size)
{
	return copy_to_user(to, from, min_t(size_t, size, ksize)) ? -EFAULT : 0;
}

#endif
