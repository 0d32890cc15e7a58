#!/bin/sh
# The QEMU that Lima starts for assay. $ASSAY_LIMA_QEMU is the real one. With
# $ASSAY_LIMA_RESTRICT on, the guest reaches nothing but what was forwarded to it:
# its ssh. Lima also believes in /dev/kvm wherever there is one; this does not.
kvm() {
	[ -r /dev/kvm ] && [ -w /dev/kvm ] || return 1
	[ "$(uname -m)" != x86_64 ] || grep -Eqw 'vmx|svm' /proc/cpuinfo
}
tcg=
[ "$(uname -s)" != Linux ] || kvm || tcg=yes

before=
for arg in "$@"; do
	shift
	case $before,$arg in
	-netdev,user,*)
		[ "$ASSAY_LIMA_RESTRICT" != on ] || arg=$arg,restrict=on
		;;
	-machine,*accel=kvm* | -accel,kvm*)
		[ -z "$tcg" ] || arg=$(printf %s "$arg" | sed 's/kvm/tcg/')
		;;
	-cpu,host*)
		[ -z "$tcg" ] || arg=max${arg#host}
		;;
	esac
	before=$arg
	set -- "$@" "$arg"
done
exec "$ASSAY_LIMA_QEMU" "$@"
