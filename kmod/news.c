// SPDX-License-Identifier: GPL-2.0-only
/*
 * news.c - see news.h.
 *
 * Events are told in any context but hard irq, also under spinlocks, so messages are
 * made with GFP_ATOMIC; one that finds no memory is lost, and who listens may ask.
 * Before 6.7 everybody may listen (GENL_MCAST_CAP_SYS_ADMIN came then): there an
 * event says that something happened and to whom, and no numbers.
 */
#include <linux/atomic.h>
#include <linux/ktime.h>
#include <linux/notifier.h>
#include <linux/spinlock.h>
#include <net/genetlink.h>
#include <net/net_namespace.h>
#include <uapi/linux/llm.h>
#include <uapi/linux/llm_netlink.h>

#include "event.h"
#include "news.h"

#define LLM_QUOTA_NS	(NSEC_PER_SEC / 4)	/* one QUOTA a tenant in this time */

static const struct genl_family *llm_news_family;

/* odd, so never 0, which would mean "no number" */
static atomic_t llm_news_of_tenants = ATOMIC_INIT(1), llm_news_of_sessions = ATOMIC_INIT(1);

u32 llm_news_tenants(void)
{
	return atomic_read(&llm_news_of_tenants);
}

u32 llm_news_sessions(void)
{
	return atomic_read(&llm_news_of_sessions);
}

/*
 * Who meets a limit may do so a million times a second: one event in a while, with
 * the number of times.  Tenants that share a place drive each other out of it.
 */
static DEFINE_SPINLOCK(llm_quota_lock);
static struct llm_quota_told {
	u64 tenant, told_ns;
	u32 count;
} llm_quota_told[64];		/* llm_quota_lock */

/* How many times to tell of now; 0: not now. */
static u32 llm_quota_count(u64 tenant)
{
	struct llm_quota_told *q = &llm_quota_told[tenant % ARRAY_SIZE(llm_quota_told)];
	u64 now = ktime_get_ns();
	u32 count = 0;

	spin_lock(&llm_quota_lock);
	if (q->tenant != tenant || !q->told_ns)
		*q = (struct llm_quota_told){ .tenant = tenant };
	q->count++;
	if (!q->told_ns || now - q->told_ns >= LLM_QUOTA_NS) {
		count = q->count;
		q->count = 0;
		q->told_ns = now;
	}
	spin_unlock(&llm_quota_lock);
	return count;
}

static const u32 llm_news_kinds[] = {
	[LLM_EVENT_DAEMON]	= LLM_EV_DAEMON,
	[LLM_EVENT_TENANT]	= LLM_EV_TENANT,
	[LLM_EVENT_QUOTA]	= LLM_EV_QUOTA,
	[LLM_EVENT_OPEN]	= LLM_EV_OPEN,
	[LLM_EVENT_CLOSE]	= LLM_EV_CLOSE,
	[LLM_EVENT_KILL]	= LLM_EV_KILL,
};

static int llm_news_put(struct sk_buff *skb, u32 kind, const struct llm_event *e, u32 count)
{
	int err = nla_put_u32(skb, LLM_A_EVENT_KIND, kind) ?:
		  nla_put_u64_64bit(skb, LLM_A_EVENT_TIME_NS, ktime_get_real_ns(), LLM_A_EVENT_PAD);

	if (!err && kind == LLM_EV_DAEMON)
		return nla_put_u32(skb, LLM_A_EVENT_STATE, e->state) ?:
		       nla_put_u32(skb, LLM_A_EVENT_EPOCH, e->epoch);
	if (!err)
		err = nla_put_u64_64bit(skb, LLM_A_EVENT_TENANT, e->tenant, LLM_A_EVENT_PAD);
	if (!err && e->session)
		err = nla_put_u64_64bit(skb, LLM_A_EVENT_SESSION, e->session, LLM_A_EVENT_PAD);
	/* EDQUOT may be one of several limits */
	if (!err && kind == LLM_EV_QUOTA && e->error == -EAGAIN)
		err = nla_put_u32(skb, LLM_A_EVENT_LIMIT, LLM_TENANT_SUBMIT_RATE);
#ifdef GENL_MCAST_CAP_SYS_ADMIN
	if (!err && kind == LLM_EV_QUOTA)
		err = nla_put_u32(skb, LLM_A_EVENT_COUNT, count);
#endif
	return err;
}

static void llm_news_send(u32 kind, const struct llm_event *e, u32 count)
{
	struct sk_buff *skb = genlmsg_new(NLMSG_GOODSIZE, GFP_ATOMIC);
	void *hdr;

	if (!skb)
		return;
	hdr = genlmsg_put(skb, 0, 0, llm_news_family, 0, LLM_CMD_EVENT);
	if (!hdr || llm_news_put(skb, kind, e, count)) {
		nlmsg_free(skb);
		return;
	}
	genlmsg_end(skb, hdr);
	genlmsg_multicast(llm_news_family, skb, 0, 0, GFP_ATOMIC);	/* nobody: no error */
}

static int llm_news_event(struct notifier_block *nb, unsigned long kind, void *data)
{
	const struct llm_event *e = data;
	u32 count = 0;

	if (kind != LLM_EVENT_DAEMON && kind != LLM_EVENT_QUOTA)
		atomic_add(2, &llm_news_of_tenants);
	if (kind == LLM_EVENT_OPEN || kind == LLM_EVENT_CLOSE || kind == LLM_EVENT_KILL)
		atomic_add(2, &llm_news_of_sessions);
	if (kind >= ARRAY_SIZE(llm_news_kinds) ||
	    !genl_has_listeners(llm_news_family, &init_net, 0))
		return NOTIFY_DONE;
	if (kind == LLM_EVENT_QUOTA) {
		count = llm_quota_count(e->tenant);
		if (!count)
			return NOTIFY_DONE;
	}
	llm_news_send(llm_news_kinds[kind], e, count);
	return NOTIFY_DONE;
}

static struct notifier_block llm_news_listener = { .notifier_call = llm_news_event };

int llm_news_begin(const struct genl_family *family)
{
	llm_news_family = family;
	return llm_event_listen(&llm_news_listener);
}

void llm_news_end(void)
{
	llm_event_unlisten(&llm_news_listener);
}
