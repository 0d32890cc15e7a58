package guest_test

import (
	"net"
	"os/exec"
	"runtime"
	"strings"
	"testing"

	"assay/guest"

	"golang.org/x/sys/unix"
)

// testCard makes a card in a network of this test's own, with an address and a
// route, and a function that runs ip there.
func testCard(t *testing.T) (*net.Interface, func(words string) string) {
	runtime.LockOSThread() // never unlocked: the thread ends with the test
	must(t, unix.Unshare(unix.CLONE_NEWNET) == nil, "a network namespace")
	out, err := exec.Command("ip", strings.Fields("link add d0 type veth peer name d1")...).CombinedOutput()
	must(t, err == nil, "ip and veth: "+string(out))
	ip := func(words string) string {
		out, err := exec.Command("ip", strings.Fields(words)...).CombinedOutput()
		if err != nil {
			t.Fatalf("ip %s: %v: %s", words, err, out)
		}
		return string(out)
	}
	ip("link set d1 up")
	ip("addr add 10.0.2.15/24 brd + dev d0")
	ip("link set d0 up")
	ip("route add 10.0.2.2 dev d0 proto dhcp scope link src 10.0.2.15 metric 1024")
	ip("route add default via 10.0.2.2 dev d0 proto dhcp src 10.0.2.15 metric 1024")
	card, err := net.InterfaceByName("d0")
	if err != nil {
		t.Fatal(err)
	}
	return card, ip
}

// TestCardRenewal proves that a card gets another MAC and address, and that the
// routes come along.
func TestCardRenewal(t *testing.T) {
	card, ip := testCard(t)
	if err := guest.SetMAC(card.Name, "52:54:00:aa:bb:cc"); err != nil {
		t.Fatal(err)
	}
	if err := guest.MoveAddress(card, "10.0.2.77"); err != nil {
		t.Fatal(err)
	}
	if got := ip("link show d0"); !strings.Contains(got, "52:54:00:aa:bb:cc") {
		t.Errorf("got %s, want the new MAC", got)
	}
	if got := ip("-4 addr show d0"); !strings.Contains(got, "inet 10.0.2.77/24") || strings.Contains(got, "10.0.2.15") {
		t.Errorf("got %s, want 10.0.2.77/24 alone", got)
	}
	want := []string{
		"default via 10.0.2.2 dev d0 proto dhcp src 10.0.2.77 metric 1024",
		"10.0.2.0/24 dev d0 proto kernel scope link src 10.0.2.77",
		"10.0.2.2 dev d0 proto dhcp scope link src 10.0.2.77 metric 1024",
	}
	if got := ip("-4 route"); strings.Join(strings.Fields(got), " ") != strings.Join(want, " ") {
		t.Errorf("got routes\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestCardRefusals(t *testing.T) {
	card, ip := testCard(t)
	before := ip("addr show d0") + ip("route")
	for _, mac := range []string{"", "52:54", "01:00:5e:00:00:01", "nonsense"} {
		if err := guest.SetMAC(card.Name, mac); err == nil {
			t.Errorf("MAC %q: got no error", mac)
		}
	}
	for _, address := range []string{"10.0.3.77", "fe80::1", "nonsense"} {
		if err := guest.MoveAddress(card, address); err == nil {
			t.Errorf("address %q: got no error", address)
		}
	}
	if err := guest.MoveAddress(card, "10.0.2.15"); err != nil {
		t.Errorf("its own address: %v", err)
	}
	if after := ip("addr show d0") + ip("route"); after != before {
		t.Errorf("got\n%s\nwant nothing changed from\n%s", after, before)
	}
	ip("addr flush dev d0")
	if err := guest.MoveAddress(card, "10.0.2.77"); err != nil || strings.Contains(ip("-4 addr show d0"), "inet") {
		t.Errorf("a card without an address: got %v, want it left alone", err)
	}
}
