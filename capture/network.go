package capture

import (
	"context"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// network observes the sockets that wait for others, and the routes.
type network struct{ census *census }

func (network) Name() string    { return "network" }
func (network) Kinds() []string { return []string{Listener, Route} }
func (network) Live() bool      { return true }

func (n network) Collect(ctx context.Context, src Source, out *Sink) error {
	var found []socket
	for _, proto := range []string{"tcp", "tcp6", "udp", "udp6"} {
		found = append(found, listeners(src, out, proto)...)
	}
	found = append(found, unixListeners(src, out)...)
	all := n.census.take(src, out)
	holders := socketHolders(ctx, src, all.programs, found)
	for _, s := range found {
		a := attrs("proto", s.proto, "address", s.address, "port", s.port, "user", userName(all.users, s.uid))
		if h, ok := holders[s.inode]; ok {
			a["process"], a["pid"] = h.name, decimal(h.pid)
		}
		out.Add(Record{Listener, s.key, a})
	}
	routes4(src, out)
	routes6(src, out)
	return ctx.Err()
}

// socket is one that waits for others.
type socket struct {
	key, proto, address, port, inode string
	uid                              string // empty: the kernel does not tell
}

// The states of /proc/net/tcp and udp in which a socket waits for anybody.
const (
	tcpListen = "0A"
	udpOpen   = "07"
)

// listeners reads "sl local_address rem_address st … uid timeout inode".
func listeners(src Source, out *Sink, proto string) []socket {
	want := tcpListen
	if strings.HasPrefix(proto, "udp") {
		want = udpOpen
	}
	var found []socket
	for l := range strings.Lines(text(src, out, "network", "/proc/net/"+proto)) {
		f := strings.Fields(l)
		if len(f) < 10 || f[3] != want {
			continue
		}
		addr, ok := procAddress(f[1])
		if !ok {
			continue
		}
		name := strings.TrimSuffix(proto, "6")
		found = append(found, socket{key: name + " " + addr.String(), proto: name, address: addr.Addr().String(), port: decimal(int(addr.Port())), inode: f[9], uid: f[7]})
	}
	return found
}

// procAddress reads "0100007F:1F90": each group of four bytes is a number of the
// machine's own byte order, which is little-endian on every guest that assay has.
func procAddress(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(host)
	n, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(raw) != 4 && len(raw) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		slices.Reverse(raw[i : i+4])
	}
	addr, ok := netip.AddrFromSlice(raw)
	return netip.AddrPortFrom(addr, uint16(n)), ok
}

// unixListeners reads "Num RefCount Protocol Flags Type St Inode Path": a flag
// marks those that accept connections.
func unixListeners(src Source, out *Sink) []socket {
	var found []socket
	seen := map[string]bool{}
	for l := range strings.Lines(text(src, out, "network", "/proc/net/unix")) {
		f := strings.Fields(l)
		if len(f) < 8 || f[3] != "00010000" {
			continue
		}
		_, name, _ := strings.Cut(l, f[6]+" ")
		name = line(name)
		if !seen[name] {
			found = append(found, socket{key: "unix " + name, proto: "unix", address: name, inode: f[6]})
		}
		seen[name] = true
	}
	return found
}

// holder is a process that holds a socket.
type holder struct {
	pid  int
	name string
}

// socketHolders finds, for the sockets in found, the first process that has each
// open: its descriptors are links to "socket:[inode]".
func socketHolders(ctx context.Context, src Source, programs []program, found []socket) map[string]holder {
	wanted := map[string]bool{}
	for _, s := range found {
		wanted[s.inode] = true
	}
	holders := map[string]holder{}
	for _, p := range programs {
		if len(wanted) == 0 || ctx.Err() != nil {
			break
		}
		targets, _ := source{src}.linksIn(fmt.Sprintf("/proc/%d/fd", p.pid)) // gone, or not ours to see: then the socket has no holder
		for _, target := range targets {
			inode, ok := strings.CutPrefix(target, "socket:[")
			inode = strings.TrimSuffix(inode, "]")
			if ok && wanted[inode] {
				holders[inode] = holder{p.pid, commOf(src, p.pid)}
				delete(wanted, inode)
			}
		}
	}
	return holders
}

func commOf(src Source, pid int) string {
	data, _ := source{src}.readOne(fmt.Sprintf("/proc/%d/comm", pid))
	return line(string(data))
}

// routes4 reads "Iface Destination Gateway Flags RefCnt Use Metric Mask …".
func routes4(src Source, out *Sink) {
	for l := range strings.Lines(text(src, out, "network", "/proc/net/route")) {
		f := strings.Fields(l)
		if len(f) < 8 || f[0] == "Iface" {
			continue
		}
		dest, ok1 := procAddress(f[1] + ":0")
		gate, ok2 := procAddress(f[2] + ":0")
		mask, err := hex.DecodeString(f[7])
		if !ok1 || !ok2 || err != nil {
			continue
		}
		bits := 0
		for _, b := range mask {
			for ; b != 0; b &= b - 1 {
				bits++
			}
		}
		emitRoute(out, netip.PrefixFrom(dest.Addr(), bits), gate.Addr(), f[0], f[6])
	}
}

// routes6 reads "dest destlen source sourcelen gateway metric refcnt use flags
// dev"; the local table's routes say what the addresses say.
func routes6(src Source, out *Sink) {
	for l := range strings.Lines(text(src, out, "network", "/proc/net/ipv6_route")) {
		f := strings.Fields(l)
		if len(f) < 10 || f[9] == "lo" {
			continue
		}
		dest, ok1 := address6(f[0])
		gate, ok2 := address6(f[4])
		bits, err1 := strconv.ParseUint(f[1], 16, 8)
		metric, err2 := strconv.ParseUint(f[5], 16, 32)
		flags, err3 := strconv.ParseUint(f[8], 16, 32)
		const local = 0x80000000
		if ok1 && ok2 && err1 == nil && err2 == nil && err3 == nil && flags&local == 0 && !dest.IsMulticast() {
			emitRoute(out, netip.PrefixFrom(dest, int(bits)), gate, f[9], decimal(metric))
		}
	}
}

func address6(s string) (netip.Addr, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil {
		return netip.Addr{}, false
	}
	return netip.AddrFromSlice(raw)
}

func emitRoute(out *Sink, dest netip.Prefix, gate netip.Addr, device, metric string) {
	gateway := ""
	if !gate.IsUnspecified() {
		gateway = gate.String()
	}
	out.Add(Record{Route, dest.String() + " dev " + line(device), attrs("destination", dest.String(), "device", line(device), "gateway", gateway, "metric", line(metric))})
}
