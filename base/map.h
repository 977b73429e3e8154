/* SPDX-License-Identifier: MIT */
/*
 * map.h - a whole file, mapped read-only.
 *
 * The bytes are the file's own: hostile, and gone with SIGBUS if somebody
 * truncates the file meanwhile (the engine process dies of it and is
 * restarted; nobody else is harmed).
 */
#ifndef BASE_MAP_H
#define BASE_MAP_H

#include <stddef.h>

struct err;

struct map {
	const void *data; /* owned; NULL where size is 0 */
	size_t size;	  /* bytes */
};

/* Map @path, a regular file.  On error @map is left empty and @err says why. */
int map_open(struct map *map, const char *path, struct err *err);
/* Undo map_open(); harmless on an empty map. */
void map_close(struct map *map);

#endif
