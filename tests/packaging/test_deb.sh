#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# slow test
# The packages of `make deb`: installed into a fresh root of this release, booted
# with its own systemd in a container, used, upgraded, removed, purged.  What is
# checked stands in in_root.sh, which runs in there; nothing of this machine is
# touched.  The fresh root is kept in LLM_CACHE (default: ~/.cache/llm) for a
# week.  LLM_KEEP=1 keeps the container's folder, and says where.
set -u
. "$(dirname "$0")/../system/lib.sh"
cache=${LLM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/llm}

[[ $B != *san-* ]] || skip_all "not what anyone installs"
[[ $(id -u) = 0 ]] || skip_all "needs root, to make a fresh root and boot it"
for c in dh dh_dkms debootstrap systemd-nspawn unshare; do need "$c"; done
read -r os release < <(. /etc/os-release && echo "$ID ${VERSION_CODENAME:-}")
[[ -e /usr/share/debootstrap/scripts/$release ]] ||
	skip_all "debootstrap knows no release named ${release:-(none)}"
case $os in
ubuntu) headers=linux-headers-generic parts=main,universe ;;
*) headers=linux-headers-$(dpkg --print-architecture) parts=main ;;
esac

# in namespaces of their own: mounts and processes go with them
apart() { unshare --mount --pid --fork --kill-child --mount-proc "$@"; }

# a root with systemd, and all that the module's source is built with
fresh_root() {
	local tar=$cache/root-$release.tar
	if [[ -n $(find "$tar" -mtime -7 2>/dev/null) ]]; then
		tar -C "$TMP/root" -xf "$tar"
		return
	fi
	apart debootstrap --variant=minbase --components="$parts" \
		--include="systemd,systemd-sysv,dbus,udev,gcc,libc6-dev,pkg-config,$headers" \
		"$release" "$TMP/root" >"$TMP/debootstrap" 2>&1 || return
	rm -rf "$TMP/root/var/cache/apt/archives/"*.deb "$TMP/root/var/lib/apt/lists/"*
	mkdir -p "$cache" && tar -C "$TMP/root" -cf "$tar.new" . && mv "$tar.new" "$tar"
}

# what runs once the system in the container is up
prepare() {
	local root=$TMP/root
	mkdir "$root/debs" "$root/result"
	cp "$B"/deb/*.deb tests/packaging/in_root.sh "$root/debs/"
	awk '/^```c$/ { on = 1; next } /^```$/ { on = 0 } on' README.md >"$root/debs/ask.c"
	cp /etc/resolv.conf "$root/etc/resolv.conf"
	cp -r /etc/apt/apt.conf.d/*proxy* "$root/etc/apt/apt.conf.d/" 2>/dev/null
	cat >"$root/etc/systemd/system/check-packages.service" <<-'END'
		[Unit]
		After=multi-user.target
		[Service]
		Type=oneshot
		ExecStart=/bin/bash /debs/in_root.sh
		StandardOutput=file:/result/log
		StandardError=inherit
		ExecStopPost=/bin/systemctl --no-block poweroff
		[Install]
		WantedBy=default.target
	END
	mkdir -p "$root/etc/systemd/system/default.target.wants"
	ln -s ../check-packages.service "$root/etc/systemd/system/default.target.wants/"
	ln -sf /lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
}

# Boot it.  Where no systemd runs here, the container's needs the second
# hierarchy of control groups to itself, and a group to live in.
boot() {
	local own=(--register=no)
	[[ -d /run/systemd/system ]] || own+=(--keep-unit)
	# shellcheck disable=SC2016	# the inner shell expands them
	timeout -k 10 600 unshare --mount --pid --fork --kill-child --mount-proc bash -c '
		root=$1 group=$2
		shift 2
		if [[ ! -d /run/systemd/system ]]; then
			mount --make-rprivate /
			umount -R /sys/fs/cgroup 2>/dev/null
			mount -t cgroup2 cgroup2 /sys/fs/cgroup || exit
			mkdir "/sys/fs/cgroup/$group" && echo 0 >"/sys/fs/cgroup/$group/cgroup.procs" || exit
		fi
		SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 SYSTEMD_LOG_LEVEL=warning \
			systemd-nspawn "$@" -D "$root" --boot
	' - "$TMP/root" "llm-test-$$" "${own[@]}" >"$TMP/boot" 2>&1 </dev/null
}

no_groups() { # take away what the container's systemd has made
	apart bash -c '
		mount -t cgroup2 cgroup2 /sys/fs/cgroup &&
			find "/sys/fs/cgroup/$1" -depth -type d -exec rmdir {} +
	' - "llm-test-$$" 2>/dev/null
}

mkdir "$TMP/root"
fresh_root || skip_all "debootstrap: $(tail -n 1 "$TMP/debootstrap")"
if make -s deb B="$B" >"$TMP/make" 2>&1 </dev/null; then
	ok "make deb gives packages: $(find "$B/deb" -name '*.deb' | wc -l)"
else
	not_ok "make deb gives packages" "$(tail -n 20 "$TMP/make")"
	finish
fi
prepare
boot
no_groups
[[ -z ${LLM_KEEP:-} ]] || { cp -a "$TMP" "$TMP-kept" && echo "# kept: $TMP-kept"; }
log=$TMP/root/result/log
[[ -s $log ]] || skip_all "no container boots here: $(tr -d '\r' <"$TMP/boot" | grep . | tail -n 1 | cut -c1-200)"
grep -aE '^(ok|not ok|#)' "$log"
passed=$((passed + $(grep -acE '^ok ' "$log") - $(grep -acE '^ok .* # SKIP' "$log")))
failed=$((failed + $(grep -acE '^not ok ' "$log")))
skipped=$((skipped + $(grep -acE '^ok .* # SKIP' "$log")))
is "... to the end" "$(tail -n 1 "$log")" "done"
finish
