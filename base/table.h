/* SPDX-License-Identifier: MIT */
/*
 * table.h - memory for tables that live as long as the process and are looked
 * into at random: on cache lines of their own, and where they are large on
 * 2 MiB pages if the kernel has them (measured with 1,024 streams: a sixth of
 * the engine's time was walks of page tables).
 *
 * Taken at start, not in a step.
 */
#ifndef BASE_TABLE_H
#define BASE_TABLE_H

#include <stddef.h>

/*
 * @nr elements of @size bytes, all zero, aligned to 64 bytes.  NULL where
 * there is no memory or the product overflows; for nr 0 an empty table.
 */
void *table_alloc(size_t nr, size_t size);
/* Undo table_alloc(); harmless on NULL. */
void table_free(void *table);

#endif
