package guest

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// renewCard gives the first network card another MAC, and another IPv4 address
// in the place of the one that it has, if any. Empty means as it is. A guest
// without a card has nothing to renew.
func renewCard(mac, address string) error {
	card, err := firstCard()
	if card == nil || err != nil {
		return err
	}
	if mac != "" {
		if err := setMAC(card.Name, mac); err != nil {
			return fmt.Errorf("%s: %w", card.Name, err)
		}
	}
	if address != "" {
		if err := moveAddress(card, address); err != nil {
			return fmt.Errorf("%s: %w", card.Name, err)
		}
	}
	return nil
}

// firstCard returns the network interface of lowest index that a device stands
// behind; nil if there is none.
func firstCard() (*net.Interface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b net.Interface) int { return cmp.Compare(a.Index, b.Index) })
	for _, i := range all {
		if _, err := os.Stat("/sys/class/net/" + i.Name + "/device"); err == nil {
			return &i, nil
		}
	}
	return nil, nil
}

// setMAC sets the address of a card that may be up: virtio's can be.
func setMAC(card, mac string) error {
	hw, err := net.ParseMAC(mac)
	if err != nil || len(hw) != 6 {
		return fmt.Errorf("got MAC %q, want six bytes such as 52:54:00:12:34:56", printable(mac, maxWord))
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var req struct {
		name   [unix.IFNAMSIZ]byte
		family uint16
		mac    [22]byte
	}
	copy(req.name[:unix.IFNAMSIZ-1], card)
	req.family = unix.ARPHRD_ETHER
	copy(req.mac[:], hw)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCSIFHWADDR, uintptr(unsafe.Pointer(&req))); errno != 0 {
		return fmt.Errorf("MAC %s: %w", hw, errno)
	}
	return nil
}

// moveAddress puts address in the place of the card's first IPv4 address, with
// the routes that go through the card. The new address must be in the old one's
// network; a card that has none gets none.
func moveAddress(card *net.Interface, address string) error {
	want, err := netip.ParseAddr(address)
	if err != nil || !want.Is4() {
		return fmt.Errorf("got address %q, want one of IPv4 such as 10.0.2.77", printable(address, maxWord))
	}
	old, err := firstIPv4(card)
	if err != nil || !old.IsValid() || old.Addr() == want {
		return err
	}
	if !old.Masked().Contains(want) {
		return fmt.Errorf("got address %s, want one in %s, where the card is", want, old.Masked())
	}
	routes, err := routesOf(card.Index)
	if err != nil {
		return err
	}
	if err := ask(unix.RTM_DELADDR, 0, addressMessage(card.Index, old)); err != nil {
		return fmt.Errorf("address %s: %w", old, err)
	}
	if err := ask(unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL, addressMessage(card.Index, netip.PrefixFrom(want, old.Bits()))); err != nil {
		return fmt.Errorf("address %s: %w", want, err)
	}
	for _, r := range routes {
		r = bytes.ReplaceAll(r, attribute(unix.RTA_PREFSRC, old.Addr().AsSlice()), attribute(unix.RTA_PREFSRC, want.AsSlice()))
		if err := ask(unix.RTM_NEWROUTE, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, r); err != nil {
			return fmt.Errorf("route: %w", err)
		}
	}
	return nil
}

// firstIPv4 returns the card's first address with its network; none is invalid.
func firstIPv4(card *net.Interface) (netip.Prefix, error) {
	all, err := card.Addrs()
	if err != nil {
		return netip.Prefix{}, err
	}
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLinkLocalUnicast() {
			return p, nil
		}
	}
	return netip.Prefix{}, nil
}

// routesOf returns the IPv4 routes out of a card as messages that make them
// again, those to its neighbours first. The kernel's own come with the address.
func routesOf(index int) ([][]byte, error) {
	rib, err := syscall.NetlinkRIB(unix.RTM_GETROUTE, unix.AF_INET)
	if err != nil {
		return nil, err
	}
	messages, err := syscall.ParseNetlinkMessage(rib)
	if err != nil {
		return nil, err
	}
	var near, far [][]byte
	for _, m := range messages {
		route, gateway, err := routeOf(&m, index)
		switch {
		case err != nil:
			return nil, err
		case gateway:
			far = append(far, route)
		case route != nil:
			near = append(near, route)
		}
	}
	return append(near, far...), nil
}

// routeOf returns the body of a message that makes m's route again, and whether
// it leads to a gateway; nil if m is no route out of the card, or the kernel's own.
func routeOf(m *syscall.NetlinkMessage, index int) (route []byte, gateway bool, err error) {
	if m.Header.Type != unix.RTM_NEWROUTE || len(m.Data) < unix.SizeofRtMsg || m.Data[5] == unix.RTPROT_KERNEL {
		return nil, false, nil
	}
	attrs, err := syscall.ParseNetlinkRouteAttr(m)
	if err != nil {
		return nil, false, err
	}
	out := 0
	route = append(route, m.Data[:unix.SizeofRtMsg]...)
	flags := route[8:12] // some say how the card is just now, and are refused
	binary.NativeEndian.PutUint32(flags, binary.NativeEndian.Uint32(flags)&unix.RTNH_F_ONLINK)
	for _, a := range attrs {
		switch a.Attr.Type {
		case unix.RTA_OIF:
			out = int(binary.NativeEndian.Uint32(a.Value))
		case unix.RTA_GATEWAY:
			gateway = true
		case unix.RTA_CACHEINFO:
			continue
		}
		route = append(route, attribute(int(a.Attr.Type), a.Value)...)
	}
	if out != index {
		return nil, false, nil
	}
	return route, gateway, nil
}

// addressMessage is the body of a request about one address of a card.
func addressMessage(index int, p netip.Prefix) []byte {
	b := []byte{unix.AF_INET, byte(p.Bits()), 0, unix.RT_SCOPE_UNIVERSE}
	b = binary.NativeEndian.AppendUint32(b, uint32(index))
	b = append(b, attribute(unix.IFA_LOCAL, p.Addr().AsSlice())...)
	return append(b, attribute(unix.IFA_ADDRESS, p.Addr().AsSlice())...)
}

// attribute is one attribute of a netlink message, padded.
func attribute(kind int, value []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(unix.SizeofRtAttr+len(value)))
	b = append(binary.NativeEndian.AppendUint16(b, uint16(kind)), value...)
	return append(b, make([]byte, -len(b)&3)...)
}

// ask sends the kernel one request about the network and waits for its answer.
func ask(kind, flags int, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	b := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	b = binary.NativeEndian.AppendUint16(b, uint16(kind))
	b = binary.NativeEndian.AppendUint16(b, uint16(flags|unix.NLM_F_REQUEST|unix.NLM_F_ACK))
	b = append(append(b, make([]byte, 8)...), body...) // sequence and port: the kernel fills in ours
	if err := unix.Sendto(fd, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	answer := make([]byte, 4<<10)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return err
	}
	messages, err := syscall.ParseNetlinkMessage(answer[:n])
	if err != nil || len(messages) == 0 || messages[0].Header.Type != unix.NLMSG_ERROR || len(messages[0].Data) < 4 {
		return fmt.Errorf("netlink: got %d bytes, want an answer", n)
	}
	if code := int32(binary.NativeEndian.Uint32(messages[0].Data)); code != 0 {
		return syscall.Errno(-code)
	}
	return nil
}
