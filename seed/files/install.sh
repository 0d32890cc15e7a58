#!/bin/sh
# Puts the agent into a cloud image. $1 is the seed disk's folder. It runs again
# at every boot, and must not mind.
set -eu
seed=$1
. "$seed/settings" # hostname, modules, tty

. "$seed/account.sh"

# sudo looks its own host up.
grep -qw "$hostname" /etc/hosts || echo "127.0.1.1 $hostname" >>/etc/hosts

# The account's own ways in, for hypervisors that have no better line than ssh or
# their guest tools.
if [ -e "$seed/authorized_keys" ]; then
	home=$(awk -F: '$1 == "tester" { print $6 }' /etc/passwd)
	mkdir -p "$home/.ssh"
	cp "$seed/authorized_keys" "$home/.ssh/authorized_keys"
	chmod 0700 "$home/.ssh"
	chmod 0600 "$home/.ssh/authorized_keys"
	chown -R tester "$home/.ssh"
	# Where no PAM is asked, an account that is locked cannot log in at all.
	[ -e "$seed/password" ] || usermod -p '*' tester
fi
[ ! -e "$seed/password" ] || chpasswd <"$seed/password"

cp "$seed/assay-agent" /usr/lib/assay/assay-agent.new
chmod 0755 /usr/lib/assay/assay-agent.new
mv /usr/lib/assay/assay-agent.new /usr/lib/assay/assay-agent
# Under SELinux a service may only start a program that has the label of one.
if command -v chcon >/dev/null 2>&1; then
	chcon -t bin_t /usr/lib/assay/assay-agent 2>/dev/null || :
fi
for module in $modules; do
	modprobe "$module" 2>/dev/null || :
done
# A machine without a network must not wait two minutes for it.
for unit in systemd-networkd-wait-online NetworkManager-wait-online; do
	mkdir -p /run/systemd/system/$unit.service.d
	printf '[Service]\nExecStart=\nExecStart=/bin/true\n' >/run/systemd/system/$unit.service.d/assay.conf
done
# cloud-init ties networkd's cards to the MAC address, which each clone changes,
# and knows no patterns for their names. networkd takes the first file that fits.
mkdir -p /run/systemd/network
printf '[Match]\nName=e*\n\n[Network]\nDHCP=ipv4\n' >/run/systemd/network/05-assay.network
# On a line that somebody may log in on, nothing else is understood.
if [ -n "$tty" ]; then
	ln -sf /dev/null "/run/systemd/system/serial-getty@$tty.service"
fi
if [ ! -e "$seed/assay-agent.service" ]; then # somebody else starts the agent
	systemctl daemon-reload
	exit 0
fi
cp "$seed/assay-agent.service" /etc/systemd/system/assay-agent.service
chmod 0644 /etc/systemd/system/assay-agent.service
systemctl daemon-reload
[ -z "$tty" ] || systemctl stop --no-block "serial-getty@$tty.service" 2>/dev/null || :
systemctl enable --quiet assay-agent.service
systemctl start --no-block assay-agent.service
