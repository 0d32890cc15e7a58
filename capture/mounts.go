package capture

import (
	"context"
	"slices"
	"strings"
)

// mounts observes what is mounted where.
type mounts struct{}

func (mounts) Name() string    { return "mounts" }
func (mounts) Kinds() []string { return []string{Mount} }
func (mounts) Live() bool      { return true }

func (mounts) Collect(ctx context.Context, src Source, out *Sink) error {
	for _, m := range readMounts(src, out) {
		out.Add(Record{Mount, Escape(m.point), attrs("source", line(m.source), "type", line(m.fstype),
			"options", line(m.options), "root", line(m.root))})
	}
	return nil
}

// mount is one line of mountinfo.
type mount struct{ point, root, dev, fstype, source, options string }

func readMounts(src Source, out *Sink) []mount {
	var found []mount
	for l := range strings.Lines(text(src, out, "mounts", "/proc/self/mountinfo")) {
		if m, ok := parseMount(l); ok {
			found = append(found, m)
		}
	}
	return found
}

// parseMount reads "36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/root rw".
func parseMount(l string) (mount, bool) {
	left, right, ok := strings.Cut(l, " - ")
	f, g := strings.Fields(left), strings.Fields(right)
	if !ok || len(f) < 6 || len(g) < 2 {
		return mount{}, false
	}
	m := mount{dev: f[2], root: octal(f[3]), point: octal(f[4]), options: f[5], fstype: g[0], source: octal(g[1])}
	if len(g) > 2 {
		m.options += ";" + g[2]
	}
	return m, true
}

// octal undoes the kernel's \040 for characters that would part the fields.
func octal(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) && isOctal(s[i+1:i+4]) {
			b.WriteByte((s[i+1]-'0')<<6 | (s[i+2]-'0')<<3 | (s[i+3] - '0'))
			i += 3
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func isOctal(s string) bool { return strings.Trim(s, "01234567") == "" }

// outermost returns the mount points that lie below no other than the root: what
// is mounted further in, a walk of those meets.
func outermost(mounts []mount) []string {
	var points []string
	for _, m := range mounts {
		inside := slices.ContainsFunc(mounts, func(o mount) bool { return o.point != "/" && strings.HasPrefix(m.point, o.point+"/") })
		if m.point != "/" && !inside && !slices.Contains(points, m.point) {
			points = append(points, m.point)
		}
	}
	return points
}

// unwalked are the file systems whose files are the kernel's, another machine's or
// another file's: nothing that a subject can leave behind lies there alone.
var unwalked = map[string]string{
	"proc": "the kernel's tables", "sysfs": "the kernel's tables", "cgroup": "the kernel's tables", "cgroup2": "the kernel's tables",
	"devpts": "terminals", "debugfs": "the kernel's tables", "tracefs": "the kernel's tables", "securityfs": "the kernel's tables",
	"pstore": "the kernel's tables", "bpf": "the kernel's tables", "configfs": "the kernel's tables", "fusectl": "the kernel's tables",
	"mqueue": "the kernel's tables", "hugetlbfs": "memory", "binfmt_misc": "the kernel's tables", "autofs": "walking it would mount it",
	"rpc_pipefs": "the kernel's tables", "selinuxfs": "the kernel's tables", "efivarfs": "the firmware's variables", "nsfs": "namespaces",
	"squashfs": "read-only; the file behind it is walked", "iso9660": "read-only; the seed disk",
	"nfs": "another machine's", "nfs4": "another machine's", "cifs": "another machine's", "smb3": "another machine's", "9p": "the host's", "virtiofs": "the host's",
}

// skippedMounts returns the mount points that a walk does not enter: those of
// unwalked, FUSE, and a second view of what is walked anyway (a bind mount, the
// merged folder of a container). A source that tells no mounts, a fixture, has /proc and /sys.
func skippedMounts(src Source, out *Sink) map[string]bool {
	skip := map[string]bool{"/proc": true, "/sys": true}
	shown := map[string]bool{}
	for _, m := range readMounts(src, out) {
		_, kernel := unwalked[m.fstype]
		second := m.root != "/" && shown[m.dev] || m.point != "/" && shown[m.dev+" "+m.root]
		skip[m.point] = kernel || second || strings.HasPrefix(m.fstype, "fuse.") || m.fstype == "overlay" && m.point != "/"
		if m.root == "/" {
			shown[m.dev] = true
		}
		shown[m.dev+" "+m.root] = true
	}
	return skip
}
