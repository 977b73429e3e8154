// SPDX-License-Identifier: GPL-2.0-only
/*
 * daemon.c - /dev/llmd, and the view of a session that GETFD gives.
 *
 * The node's mode says who may open it; somebody from another user namespace
 * never may.  A view is a file of its own: it holds the session, so that the
 * client's death takes nothing away under the daemon's mappings.
 */
#include <linux/anon_inodes.h>
#include <linux/cred.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/user_namespace.h>
#include <uapi/linux/llm.h>

#include "area.h"
#include "compat.h"
#include "daemon.h"
#include "ring.h"
#include "session.h"
#include "sized.h"
#include "take.h"
#include "wait.h"

/* ---- the view of a session */

static int llm_view_release(struct inode *inode, struct file *file)
{
	llm_session_put(file->private_data);
	return 0;
}

static int llm_view_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct llm_session *s = file->private_data;
	u32 area = llm_area_of(vma, LLM_AREA_NR);

	return llm_area_mmap(&s->area[area], vma,
			     area == LLM_AREA_ENGINE ? LLM_AREA_SERVE : LLM_AREA_LOOK);
}

static const struct file_operations llm_view_fops = {
	.owner		= THIS_MODULE,
	.release	= llm_view_release,
	.mmap		= llm_view_mmap,
	.llseek		= noop_llseek,
};

/* A file that holds @s, whose reference it takes over; on failure that is put. */
static struct file *llm_view_file(struct llm_session *s)
{
	struct file *file = anon_inode_getfile("[llm-session]", &llm_view_fops, s, O_RDWR);

	if (IS_ERR(file))
		llm_session_put(s);
	return file;
}

/* Reserve, copy out, install: a descriptor that user space has seen stays. */
static long llm_daemon_getfd(void __user *arg)
{
	struct llmd_getfd g;
	struct llm_session *s;
	struct file *file;
	u32 size;
	int fd, err = llm_sized_in(&g, sizeof(g), arg);

	if (err)
		return err;
	if (g.flags)
		return -EINVAL;
	size = g.size;
	s = llm_session_find(g.session);
	if (!s)
		return -ENOENT;
	g.info = s->lay;
	file = llm_view_file(s);
	if (IS_ERR(file))
		return PTR_ERR(file);
	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		fput(file);
		return fd;
	}
	err = llm_sized_out(arg, &g, sizeof(g), size);
	if (err) {
		put_unused_fd(fd);
		fput(file);
		return err;
	}
	fd_install(fd, file);
	return fd;
}

/* ---- /dev/llmd */

static int llm_daemon_open(struct inode *inode, struct file *file)
{
	struct llm_ring *r;
	int err;

	if ((file->f_mode & (FMODE_READ | FMODE_WRITE)) != (FMODE_READ | FMODE_WRITE))
		return -EACCES;
	if (file->f_cred->user_ns != &init_user_ns)
		return -EPERM;
	err = llm_ring_open(&r);
	if (err)
		return err;
	file->private_data = r;
	return stream_open(inode, file);
}

static int llm_daemon_release(struct inode *inode, struct file *file)
{
	llm_ring_close(file->private_data);
	return 0;
}

static long llm_daemon_attach(struct llm_ring *r, void __user *arg)
{
	struct llmd_attach a;
	int err = llm_sized_in(&a, sizeof(a), arg);

	if (!err)
		err = llm_ring_attach(r, &a);
	return err ?: llm_sized_out(arg, &a, sizeof(a), a.size);
}

static long llm_daemon_take(struct llm_ring *r, void __user *arg)
{
	struct llmd_take t;
	int err = llm_sized_in(&t, sizeof(t), arg);

	if (!err && t.flags)
		err = -EINVAL;
	return err ?: llm_take(r, t.timeout_ns);
}

static long llm_daemon_wake(void __user *arg)
{
	struct llmd_wake w;
	int err = llm_sized_in(&w, sizeof(w), arg);

	return err ?: llm_wait_wake(w.ids, w.nr);
}

static long llm_daemon_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct llm_ring *r = file->private_data;
	void __user *p = (void __user *)arg;

	switch (cmd) {
	case LLMD_IOC_ATTACH:
		return llm_daemon_attach(r, p);
	case LLMD_IOC_TAKE:
		return llm_daemon_take(r, p);
	case LLMD_IOC_WAKE:
		return llm_daemon_wake(p);
	case LLMD_IOC_GETFD:
		return llm_daemon_getfd(p);
	case LLMD_IOC_DETACH:
		llm_ring_detach(r);
		return 0;
	case LLMD_IOC_KICK:
		llm_take_kick();
		return 0;
	default:
		return -ENOTTY;
	}
}

static __poll_t llm_daemon_poll(struct file *file, struct poll_table_struct *pt)
{
	return llm_take_poll(file->private_data, file, pt);
}

static int llm_daemon_uring_cmd(struct io_uring_cmd *cmd, unsigned int issue_flags)
{
	const struct llmd_uring_wake *w;
	int n;

	if (issue_flags & LLM_URING_F_CANCEL) {
		llm_take_uring_cancel(cmd, issue_flags);
		return 0;
	}
	switch (cmd->cmd_op) {
	case LLMD_URING_TAKE:
		n = llm_take_uring(cmd->file->private_data, cmd, issue_flags);
		break;
	case LLMD_URING_WAKE:
		w = llm_cmd_payload(cmd);	/* each word is read once */
		n = READ_ONCE(w->resv) ? -EINVAL :
					 llm_wait_wake(READ_ONCE(w->ids), READ_ONCE(w->nr));
		break;
	default:
		return -EOPNOTSUPP;
	}
	return llm_cmd_ret(cmd, n, issue_flags);
}

static int llm_daemon_mmap(struct file *file, struct vm_area_struct *vma)
{
	u32 area = llm_area_of(vma, LLMD_AREA_CTL + 1);

	return llm_area_mmap(llm_ring_area(file->private_data, area), vma,
			     area == LLMD_AREA_CTL ? LLM_AREA_WRITE : LLM_AREA_READ);
}

static const struct file_operations llm_daemon_fops = {
	.owner		= THIS_MODULE,
	.open		= llm_daemon_open,
	.release	= llm_daemon_release,
	.unlocked_ioctl	= llm_daemon_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.poll		= llm_daemon_poll,
	.mmap		= llm_daemon_mmap,
	.uring_cmd	= llm_daemon_uring_cmd,
	.llseek		= noop_llseek,
};

static struct miscdevice llm_daemon_dev = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "llmd",
	.fops	= &llm_daemon_fops,
	.mode	= 0600,
};

int llm_daemon_init(void)
{
	return misc_register(&llm_daemon_dev);
}

void llm_daemon_exit(void)
{
	misc_deregister(&llm_daemon_dev);
}
