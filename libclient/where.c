/* SPDX-License-Identifier: MIT */
/* where.c - where the service is looked for when nobody says. */
#include "libclient/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEVICE	      "/dev/llm"
#define SYSTEM_SOCKET "/run/llmd/llmd.sock"

bool llmc_is_device(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISCHR(st.st_mode);
}

const char *llmc_where_socket(void)
{
	static __thread char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
	const char *run = getenv("XDG_RUNTIME_DIR");

	if (run && *run) {
		int n = snprintf(path, sizeof(path), "%s/llmd.sock", run);

		if (n < (int)sizeof(path) && !access(path, F_OK))
			return path;
	}
	return SYSTEM_SOCKET;
}

const char *llmc_default_socket(void)
{
	const char *sock = getenv("LLM_SOCKET");
	const char *device = getenv("LLM_DEVICE");

	if (sock && *sock)
		return sock;
	if (device && *device)
		return device;
	if (!device && !access(DEVICE, R_OK | W_OK))
		return DEVICE;
	return llmc_where_socket();
}
