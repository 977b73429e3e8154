# shellcheck shell=sh
# SPDX-License-Identifier: GPL-2.0-only
# apt.sh (sourced): a private apt.  Nothing of this machine's own apt is read
# or changed; packages are downloaded and unpacked, never installed.
# DEBIAN_MIRROR, DEBIAN_SECURITY_MIRROR: other mirrors than Debian's own.
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
security=${DEBIAN_SECURITY_MIRROR:-http://deb.debian.org/debian-security}
key=/usr/share/keyrings/debian-archive-keyring.gpg

# apt_root DIR "MIRROR SUITE"...: make DIR the root that apt_private works in
apt_root() {
	dir=$1
	shift
	mkdir -p "$dir/etc/apt/apt.conf.d" "$dir/etc/apt/preferences.d" \
		"$dir/var/lib/apt/lists/partial" \
		"$dir/var/cache/apt/archives/partial" "$dir/var/lib/dpkg"
	: >"$dir/var/lib/dpkg/status"
	: >"$dir/etc/apt/sources.list"
	for line; do
		echo "deb [signed-by=$key] $line main" >>"$dir/etc/apt/sources.list"
	done
	apt_private update >"$dir/log" 2>&1 && ! grep -q '^[EW]: Failed' "$dir/log" || {
		grep '^[EW]:' "$dir/log" | head -n 3 >&2
		return 1
	}
}

apt_with() { # COMMAND ARGUMENT...: apt-get or apt-cache on the private root
	tool=$1
	shift
	"$tool" -q -o Dir="$dir" -o Dir::State="$dir/var/lib/apt" \
		-o Dir::Cache="$dir/var/cache/apt" \
		-o Dir::State::status="$dir/var/lib/dpkg/status" \
		-o Dir::Etc="$dir/etc/apt" -o APT::Sandbox::User=root "$@"
}
apt_private() { apt_with apt-get "$@"; }
