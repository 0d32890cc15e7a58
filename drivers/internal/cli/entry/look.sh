# Says the processor, and the digest of the agent that is there.
set -eu
umask 022
mkdir -p /usr/lib/assay
rm -f /usr/lib/assay/assay-agent.new # of one that was interrupted
uname -m
if [ -e /usr/lib/assay/assay-agent ]; then
	sha256sum /usr/lib/assay/assay-agent 2>/dev/null | cut -d ' ' -f 1
fi
