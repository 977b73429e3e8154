#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# in_root.sh: run by test_deb.sh as a service of a fresh system in a container,
# with the packages in /debs.  Installs them, uses what they bring as users of
# that system, upgrades, removes, purges.  TAP; its last line is `done`.
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 HOME=/tmp
cd /tmp || exit
ok() { echo "ok deb: $1"; }
not_ok() { # WHAT WHY
	sed 's/^/# /' <<<"$2" | tail -n 20
	echo "not ok deb: $1"
}
skip() { echo "ok deb: $1 # SKIP $2"; }
does() { # WHAT COMMAND...
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then ok "$what"; else not_ok "$what" "exit $?: $out"; fi
}
is() { # WHAT GOT WANT
	if [[ $2 == "$3" ]]; then ok "$1"; else not_ok "$1" "got:  $2"$'\n'"want: $3"; fi
}
like() { # WHAT GOT REGEX
	if [[ $2 =~ $3 ]]; then ok "$1"; else not_ok "$1" "got:  $2"$'\n'"like: $3"; fi
}
apt() { apt-get -q -o Dpkg::Use-Pty=0 "$@"; }
until_true() { # COMMAND...: within 20 s
	local i
	for ((i = 0; i < 200; i++)); do
		"$@" >/dev/null 2>&1 && return 0
		sleep 0.1
	done
	return 1
}
as_user() { su ada -s /bin/bash -c "$1"; }
# files whose name or folder has the project's name in it
ours() {
	find / \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /debs \
		-o -path /result -o -path /var/log -o -path /var/cache/apt -o -path /var/lib/apt \
		-o -path /var/tmp -o -path /home \) -prune -o -name '*llm*' -print
}
everything() {
	find / \( -path /proc -o -path /sys -o -path /run -o -path /tmp -o -path /debs \
		-o -path /result -o -path /dev -o -path /var/log -o -path /var/cache \
		-o -path /var/lib/apt -o -path /var/lib/dpkg -o -path /var/tmp -o -path /home \
		-o -path /var/lib/systemd -o -path /var/backups \) -prune -o -print | sort
}
names=$(for d in /debs/*.deb; do dpkg-deb -f "$d" Package; done)

[[ $(ours) ]] && not_ok "a fresh root has nothing of ours" "$(ours)"
useradd -m ada
apt update >/tmp/update 2>&1 || { skip "the packages" "apt: $(tail -n 1 /tmp/update)"; echo "done"; exit; }

# ---- installed
# shellcheck disable=SC2086	# names are words
{
does "they install, with what they depend on" apt install -y --no-install-recommends /debs/*.deb
is "dpkg finds what it unpacked" "$(dpkg -V $names 2>&1)" ""
does "the service began by itself" until_true systemctl is-active llmd
is "... and will at each boot" "$(systemctl is-enabled llmd)" enabled
}
pid=$(systemctl show -P MainPID llmd)
engine=$(cat "/proc/$pid/task/$pid/children" 2>/dev/null)
engine=${engine%% *}
for p in "$pid" "$engine"; do
	is "$(cat "/proc/$p/comm") is the user llmd's, without a capability, and filtered" \
		"$(stat -c %U "/proc/$p") $(awk '/^(CapEff|CapBnd|NoNewPrivs|Seccomp):/ { printf "%s ", $2 }' "/proc/$p/status")" \
		"llmd 0000000000000000 0000000000000000 1 2 "
done
is "the socket is for everyone" "$(stat -c '%a %U' /run/llmd/llmd.sock)" "666 llmd"

# ---- used
text=$(as_user 'llm run --chat "man ls"' 2>&1)
like "any user asks and is answered" "$text" '^NAME'
like "llm info" "$(as_user 'llm info' 2>&1)" 'manpages-2m'
like "llmctl shows root who asked" "$(llmctl -j tenant list 2>&1)" "$(id -u ada)"
does "README's program builds with what libllmclient-dev brings" as_user '
	cd && gcc -Wall -Werror -o ask /debs/ask.c $(pkg-config --cflags --libs llmclient)'
is "... and says the same" "$(as_user 'cd && ./ask' 2>&1 | head -c 300)" "$(head -c 300 <<<"$text")"
kill -KILL "$engine"
is "the engine killed, it still answers the same" "$(as_user 'llm run --chat "man ls"' 2>&1)" "$text"
is "the keeper lived through it" "$(systemctl show -P MainPID llmd)" "$pid"
is "no prompt stands in the journal" "$(journalctl -u llmd | grep -c 'man ls')" 0
is "systemd-analyze verify" "$(systemd-analyze verify --man=no llmd.service 2>&1)" ""
does "systemd-analyze security: at most 1.5" \
	systemd-analyze security --no-pager --threshold=15 llmd.service
for page in llm.1 llmclient.3 llm.4 llmd.conf.5 llmd.8 llmctl.8; do
	does "$page" test -s "/usr/share/man/man${page##*.}/$page.gz"
done

# ---- the module, for the kernel whose headers are here
k=$(ls /lib/modules)
like "DKMS has built the module" "$(dkms status llm)" "^llm/.*: installed"
is "... for $k" "$(modinfo -k "$k" -F name llm) $(modinfo -k "$k" -F license llm)" "llm GPL"

# ---- upgraded, with a configuration of the administrator's own
echo "threads = 1" >>/etc/llmd.conf
does "they upgrade" apt install -y --reinstall --no-install-recommends /debs/*.deb
is "the configuration stays" "$(tail -n 1 /etc/llmd.conf)" "threads = 1"
does "the service is up again" until_true systemctl is-active llmd
like "... and answers" "$(as_user 'llm run --chat "man ls"' 2>&1)" '^NAME'

# ---- removed, purged
does "llmd is removed" apt remove -y llmd
is "... and stopped" "$(systemctl is-active llmd; grep -lx 'llmd.*' /proc/[0-9]*/comm; ls /run/llmd 2>&-)" inactive
is "... its configuration stays" "$(tail -n 1 /etc/llmd.conf)" "threads = 1"
# shellcheck disable=SC2086	# names are words
{
does "all are purged" apt purge -y $names
is "nothing of ours is left" "$(ours)" ""
is "no package of ours is known" "$(dpkg-query -W -f '${Package} ${Status}\n' $names 2>/dev/null | grep -v not-installed)" ""
# what else came with the first time is there, so a second one adds nothing
everything >/tmp/before
apt install -y --no-install-recommends /debs/*.deb >/dev/null 2>&1
apt purge -y $names >/dev/null 2>&1
is "installed and purged once more, the system is as it was" "$(everything | diff /tmp/before - | grep '^[<>]')" ""
}
is "the user stays, without a login" "$(getent passwd llmd | cut -d: -f7)" /usr/sbin/nologin
echo "done"
