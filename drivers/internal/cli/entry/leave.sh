# Takes out what was put in, by the notes of account.sh and enter.sh.
set -u
own=/usr/lib/assay
[ -d $own ] || exit 0
made() { grep -qx "$1" $own/entered 2>/dev/null; }

if made account && uid=$(id -u tester 2>/dev/null); then
	for p in /proc/[0-9]*; do
		[ "$(stat -c %u "$p" 2>/dev/null)" != "$uid" ] || kill -KILL "${p#/proc/}" 2>/dev/null
	done
	userdel --force --remove tester >/dev/null 2>&1 || deluser --remove-home tester >/dev/null 2>&1
	if id tester >/dev/null 2>&1; then
		echo "the user tester cannot be removed" >&2
		exit 1
	fi
fi
! made sudoers || rm -f /etc/sudoers.d/tester
! made sudoers.d || rmdir /etc/sudoers.d 2>/dev/null
if made agent; then
	rm -f $own/assay-agent
	[ ! -e $own/assay-agent.was ] || mv $own/assay-agent.was $own/assay-agent
fi
rm -f $own/entered $own/assay-agent.new
rmdir $own 2>/dev/null
exit 0
