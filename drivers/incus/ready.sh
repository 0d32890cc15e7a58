# Waits in a guest until its boot is over, however it ended, and says whether the
# agent is there. A guest without a network must not wait minutes for one.
booted() {
	case $(readlink /proc/1/exe) in
	*/systemd) ;;
	*) return 0 ;;
	esac
	case $(systemctl is-system-running 2>/dev/null) in
	running | degraded | maintenance) return 0 ;;
	esac
	return 1
}
n=0
until booted; do
	n=$((n + 1))
	if [ $((n % 20)) = 0 ] && ! grep -q '^ *e' /proc/net/dev; then
		systemctl stop --no-block systemd-networkd-wait-online NetworkManager-wait-online 2>/dev/null
	fi
	sleep 0.1
done
[ ! -x /usr/lib/assay/assay-agent ] || echo agent
