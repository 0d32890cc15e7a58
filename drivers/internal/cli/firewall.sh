# Lets the ssh server's answers to the host through, and nothing else. $1 is on or
# off, $2 the host's address as the ssh server sees it: empty or UNKNOWN if the
# session came by no network. Rules of the protocol kernel are not the network
# service's to clean away.
set -eu
without() {
	while ip "$1" rule del pref "$2" 2>/dev/null; do
		continue
	done
}
for family in -4 -6; do
	without $family 10
	without $family 11
done
[ "$1" = on ] || exit 0
case $2 in
"" | UNKNOWN | 127.* | ::1) ;;
*:*) ip -6 rule add pref 10 to "$2" ipproto tcp sport 22 lookup main protocol kernel ;;
*) ip -4 rule add pref 10 to "$2" ipproto tcp sport 22 lookup main protocol kernel ;;
esac
ip -4 rule add pref 11 prohibit protocol kernel
# A kernel without IPv6 has nothing to forbid.
[ ! -e /proc/net/if_inet6 ] || ip -6 rule add pref 11 prohibit protocol kernel
