/* SPDX-License-Identifier: MIT */
/*
 * vm-exit STATUS: end the virtual machine with it.  qemu's isa-debug-exit
 * makes code * 2 + 1 of what is written to its port, so 1 is 0 and nothing
 * else is: not a panic, a reboot, a hang that was ended.
 */
#include <stdlib.h>
#include <sys/io.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int code = argc > 1 ? atoi(argv[1]) : 1;

	tcdrain(STDOUT_FILENO); /* what was said is heard */
	if (!ioperm(0xf4, 1, 1))
		outb((unsigned char)(code ? 1 : 0), 0xf4);
	return reboot(RB_POWER_OFF);
}
