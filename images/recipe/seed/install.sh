#!/bin/sh
# Puts the agent into a cloud image. $1 is the seed disk's folder. It runs again
# at every boot, and must not mind.
set -eu
seed=$1

id tester >/dev/null 2>&1 || useradd --create-home --uid 1000 --user-group --shell /bin/bash tester ||
	useradd --create-home --user-group --shell /bin/sh tester
mkdir -p /etc/sudoers.d
printf 'tester ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/tester
chmod 0440 /etc/sudoers.d/tester

# sudo looks its own host up.
grep -qw assay /etc/hosts || echo '127.0.1.1 assay' >>/etc/hosts

mkdir -p /usr/lib/assay
cp "$seed/assay-agent" /usr/lib/assay/assay-agent.new
chmod 0755 /usr/lib/assay/assay-agent.new
mv /usr/lib/assay/assay-agent.new /usr/lib/assay/assay-agent
# Under SELinux a service may only start a program that has the label of one.
if command -v chcon >/dev/null 2>&1; then
	chcon -t bin_t /usr/lib/assay/assay-agent 2>/dev/null || :
fi
cp "$seed/assay-agent.service" /etc/systemd/system/assay-agent.service
chmod 0644 /etc/systemd/system/assay-agent.service
modprobe virtio_console 2>/dev/null || :
# A machine without a network must not wait two minutes for it.
for unit in systemd-networkd-wait-online NetworkManager-wait-online; do
	mkdir -p /run/systemd/system/$unit.service.d
	printf '[Service]\nExecStart=\nExecStart=/bin/true\n' >/run/systemd/system/$unit.service.d/assay.conf
done
systemctl daemon-reload
systemctl enable --quiet assay-agent.service
systemctl start --no-block assay-agent.service
