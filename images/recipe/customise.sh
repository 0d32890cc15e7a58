#!/bin/sh
# Runs on the host as mmdebstrap's last hook, with the guest's root as $1 and
# the pool's packages after it. What it leaves behind must depend on nothing but
# the packages' versions: no time, no randomness, no trace of the host.
set -eu
root=$1
shift
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

chroot "$root" useradd --create-home --uid 1000 --user-group --shell /bin/bash --comment "assay's test user" tester

# The offline pool: what is not in the image, with its dependencies.
pool=/usr/share/assay/pool
mkdir -p "$root$pool"
APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get --yes --download-only --no-install-recommends \
	-o Dir::Cache::archives="$root$pool/" -o APT::Sandbox::User=root install "$@"
rm -rf "$root$pool/partial" "$root$pool/lock"
for deb in "$root$pool"/*.deb; do
	file=${deb##*/}
	plain=$(printf %s "$file" | sed 's/%../_/g')
	[ "$file" = "$plain" ] || mv "$deb" "$root$pool/$plain"
	chroot "$root" dpkg-deb -f "$pool/$plain"
	printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$plain" \
		"$(stat -c %s "$root$pool/$plain")" "$(sha256sum <"$root$pool/$plain" | cut -d' ' -f1)"
done >"$root$pool/Packages"
printf 'Label: assay\nSuite: assay\nDate: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n %s %s Packages\n' \
	"$(sha256sum <"$root$pool/Packages" | cut -d' ' -f1)" "$(stat -c %s "$root$pool/Packages")" >"$root$pool/Release"

# busybox for the initrd only: assay takes it out again, the guest never has it.
mkdir -p "$root/.assay"
(
	cd "$root/.assay"
	APT_CONFIG=$MMDEBSTRAP_APT_CONFIG apt-get -o APT::Sandbox::User=root download busybox-static
	mv ./*.deb busybox.deb
)
chroot "$root" dpkg-deb --extract /.assay/busybox.deb /.assay/busybox
mv "$(find "$root/.assay/busybox" -type f -path '*bin/busybox')" "$root/.assay/bin"
rm -rf "$root/.assay/busybox" "$root/.assay/busybox.deb"

# Only the pool's list is there: the others would be old when they are read, and
# are many times larger. mmdebstrap's own settings were for the build alone.
rm -rf "$root/var/lib/apt/lists" \
	"$root/etc/apt/preferences.d/assay-build" "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap"
mkdir -p "$root/var/lib/apt/lists/partial"
echo "deb [trusted=yes] file:$pool ./" >"$root/etc/apt/sources.list.d/assay-pool.list"
chroot "$root" apt-get update \
	-o Dir::Etc::SourceList=/etc/apt/sources.list.d/assay-pool.list -o Dir::Etc::SourceParts=- \
	-o APT::Sandbox::User=root

# The day on which a password was last changed is the day of the build.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1:19000:/' "$root/etc/shadow"
rm -f "$root"/etc/shadow- "$root"/etc/passwd- "$root"/etc/group- "$root"/etc/gshadow- \
	"$root"/etc/subuid- "$root"/etc/subgid- "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old \
	"$root"/var/cache/apt/*.bin "$root"/var/cache/ldconfig/aux-cache "$root"/var/lib/systemd/random-seed \
	"$root"/vmlinuz.old "$root"/initrd.img "$root"/initrd.img.old "$root"/boot/initrd.img-*
find "$root/var/log" -type f -delete
