# Makes the test user as assay's own images have it. What was not there before is
# noted in /usr/lib/assay/entered, a word a line, so that it can be taken out
# again. It may run any number of times.
set -eu
made() { echo "$1" >>/usr/lib/assay/entered; }

umask 022
mkdir -p /usr/lib/assay
if ! id tester >/dev/null 2>&1; then
	made account
	useradd --create-home --uid 1000 --user-group --shell /bin/bash tester 2>/dev/null ||
		useradd --create-home --user-group --shell /bin/sh tester 2>/dev/null ||
		adduser -D -s /bin/sh tester
fi
if [ ! -d /etc/sudoers.d ]; then
	made sudoers.d
	mkdir -p /etc/sudoers.d
fi
if [ ! -e /etc/sudoers.d/tester ]; then
	made sudoers
	printf 'tester ALL=(ALL) NOPASSWD: ALL\n' >/etc/sudoers.d/tester
	chmod 0440 /etc/sudoers.d/tester
fi
