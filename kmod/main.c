// SPDX-License-Identifier: GPL-2.0-only
/* main.c - the module begins, and ends in reverse. */
#include <linux/module.h>

#include "client.h"
#include "daemon.h"
#include "netlink.h"
#include "quota.h"
#include "session.h"

static int __init llm_init(void)
{
	int err;

	err = llm_session_init();
	if (err)
		return err;
	err = llm_daemon_init();
	if (err)
		goto out_session;
	err = llm_netlink_init();
	if (err)
		goto out_daemon;
	err = llm_client_init();	/* last: from here on there are users */
	if (err)
		goto out_netlink;
	return 0;
out_netlink:
	llm_netlink_exit();
out_daemon:
	llm_daemon_exit();
out_session:
	llm_session_exit();
	return err;
}

/* Open files and mappings hold the module: no session has a client or a view here. */
static void __exit llm_exit(void)
{
	llm_client_exit();
	llm_netlink_exit();
	llm_daemon_exit();
	llm_session_exit();	/* waits for the last ones to be freed */
	llm_quota_exit();
}

module_init(llm_init);
module_exit(llm_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Tokens as an operating-system service");
