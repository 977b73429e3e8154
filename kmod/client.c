// SPDX-License-Identifier: GPL-2.0-only
/*
 * client.c - /dev/llm.
 *
 * Calls are checked here and done below: set-up in session.c, submission in
 * submit.c, sleeping in wait.c, write and read in text.c.  Who opened the file is
 * charged, whoever uses it later.
 */
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/uio.h>
#include <uapi/linux/llm.h>

#include "area.h"
#include "client.h"
#include "compat.h"
#include "quota.h"
#include "ring.h"
#include "session.h"
#include "sized.h"
#include "submit.h"
#include "text.h"
#include "trace.h"
#include "wait.h"

/* 0 where @s is set up for rings and alive. */
static int llm_client_ring(struct llm_session *s)
{
	int err = llm_session_usable(s);

	if (!err && s->text)
		err = -EBUSY;		/* the kernel is its client */
	return err;
}

static int llm_client_open(struct inode *inode, struct file *file)
{
	struct llm_session *s;

	/* a session that can only look, or only ask, makes no sense */
	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE))
		return -EACCES;
	s = llm_session_new(file);
	if (IS_ERR(s))
		return PTR_ERR(s);
	file->private_data = s;
	return stream_open(inode, file);
}

static int llm_client_release(struct inode *inode, struct file *file)
{
	struct llm_session *s = file->private_data;

	llm_session_withdraw(s);
	if (llm_session_ready(s))
		llm_ring_closed(s);
	llm_session_put(s);
	return 0;
}

static long llm_client_setup(struct llm_session *s, void __user *arg)
{
	struct llm_setup setup;
	u32 size;
	int err = llm_sized_in(&setup, sizeof(setup), arg);

	if (err)
		return err;
	size = setup.size;
	if (mutex_lock_killable(&s->setup))
		return -EINTR;
	err = llm_session_setup(s, &setup);
	if (!err) {
		/* before others see it: who is not told what he got may try again */
		err = llm_sized_out(arg, &setup, sizeof(setup), size);
		if (err)
			llm_session_unset(s);
		else
			llm_session_publish(s);
	}
	mutex_unlock(&s->setup);
	if (err)
		trace_llm_refuse(s->tenant->key, 0, err);
	else
		llm_ring_opened(s);
	return err;
}

static long llm_client_enter(struct llm_session *s, void __user *arg)
{
	struct llm_enter e;
	int n = 0, err = llm_sized_in(&e, sizeof(e), arg);

	if (err)
		return err;
	if (e.flags & ~LLM_ENTER_WAIT || e.resv)
		return -EINVAL;
	if (e.to_submit) {
		n = llm_submit(s, e.to_submit);
		if (n < 0)
			return n;
	}
	if (!(e.flags & LLM_ENTER_WAIT))
		return n;
	err = llm_wait(s, e.timeout_ns);
	return n ?: err;
}

static long llm_client_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct llm_session *s = file->private_data;
	int err;

	switch (cmd) {
	case LLM_IOC_SETUP:
		return llm_client_setup(s, (void __user *)arg);
	case LLM_IOC_ENTER:
		err = llm_client_ring(s);
		return err ?: llm_client_enter(s, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static ssize_t llm_client_write(struct kiocb *iocb, struct iov_iter *from)
{
	return llm_text_write(iocb->ki_filp->private_data, from,
			      iocb->ki_filp->f_flags & O_NONBLOCK || iocb->ki_flags & IOCB_NOWAIT);
}

static ssize_t llm_client_read(struct kiocb *iocb, struct iov_iter *to)
{
	return llm_text_read(iocb->ki_filp->private_data, to,
			     iocb->ki_filp->f_flags & O_NONBLOCK || iocb->ki_flags & IOCB_NOWAIT);
}

static __poll_t llm_client_poll(struct file *file, struct poll_table_struct *pt)
{
	struct llm_session *s = file->private_data;
	__poll_t mask = 0;

	poll_wait(file, &s->wq, pt);
	smp_mb();	/* on the queue before bell and word are read; pairs with WAKE's */
	if (!llm_session_ready(s))
		return EPOLLOUT | EPOLLWRNORM;	/* a prompt may be written */
	if (READ_ONCE(s->killed))
		return EPOLLERR | EPOLLHUP;
	if (s->text)
		return llm_text_poll(s);
	if (llm_wait_bell(s))
		mask |= EPOLLIN | EPOLLRDNORM;
	if (llm_wait_news(s))
		mask |= EPOLLPRI;
	return mask;
}

static int llm_client_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	struct llm_session *s = cmd->file->private_data;
	const void *payload = llm_cmd_payload(cmd);
	const struct llm_uring_enter *u = payload;
	int n = llm_client_ring(s);

	if (n)
		return n;
	/* the payload may be user-mapped: each word is read once */
	switch (cmd->cmd_op) {
	case LLM_URING_ENTER:
		if (READ_ONCE(u->flags) || READ_ONCE(u->resv))
			return -EINVAL;
		n = llm_submit(s, READ_ONCE(u->to_submit));
		break;
	case LLM_URING_SUBMIT:
		if (!(issue_flags & IO_URING_F_SQE128))
			return -EINVAL;	/* 16 bytes are there, not 64 */
		n = llm_submit_one(s, payload);
		break;
	default:
		return -EOPNOTSUPP;
	}
	if (n == -EAGAIN) {
		/* the tenant's rate; returned, it would mean: try again in a worker */
		llm_cmd_done(cmd, n, issue_flags);
		return -EIOCBQUEUED;
	}
	return llm_cmd_ret(cmd, n, issue_flags);
}

static int llm_client_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct llm_session *s = file->private_data;
	u32 area = llm_area_of(vma, LLM_AREA_NR);
	int err = llm_client_ring(s);

	if (err)
		return err;
	return llm_area_mmap(&s->area[area], vma,
			     area == LLM_AREA_CLIENT || area == LLM_AREA_ARENA ? LLM_AREA_WRITE :
										 LLM_AREA_READ);
}

static const struct file_operations llm_client_fops = {
	.owner		= THIS_MODULE,
	.open		= llm_client_open,
	.release	= llm_client_release,
	.unlocked_ioctl	= llm_client_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.read_iter	= llm_client_read,
	.write_iter	= llm_client_write,
	.poll		= llm_client_poll,
	.mmap		= llm_client_mmap,
	.uring_cmd	= llm_client_uring_cmd,
	.llseek		= noop_llseek,
};

static struct miscdevice llm_client_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "llm",
	.fops	= &llm_client_fops,
	.mode	= 0666,
};

int llm_client_init(void)
{
	return misc_register(&llm_client_dev);
}

void llm_client_exit(void)
{
	misc_deregister(&llm_client_dev);
}
