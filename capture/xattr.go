package capture

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// xattrs reads a path's extended attributes as a record's attributes: nil for none.
func (w *walk) xattrs(p string) map[string]string {
	raw, err := w.src.Xattrs(p)
	if err != nil || len(raw) == 0 {
		return nil
	}
	a := make(map[string]string, len(raw))
	for name, value := range raw {
		switch name {
		case "security.capability":
			a["capabilities"] = capabilities(value)
		case "system.posix_acl_access":
			a["acl"] = acl(value)
		case "system.posix_acl_default":
			a["acl_default"] = acl(value)
		default:
			a["attr."+line(name)] = xattrText(value)
		}
	}
	return a
}

// xattrText shows a value as text where it is text, else in hexadecimal.
func xattrText(v []byte) string {
	s := strings.TrimRight(string(v), "\x00")
	if utf8.ValidString(s) && !strings.ContainsRune(s, 0) {
		return line(s)
	}
	return cut("0x"+hex.EncodeToString(v[:min(len(v), maxWord)]), maxWord)
}

// capabilityNames are the kernel's capabilities in the order of their bits.
var capabilityNames = strings.Fields(`chown dac_override dac_read_search fowner fsetid kill setgid setuid
setpcap linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner sys_module
sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice sys_resource sys_time sys_tty_config
mknod lease audit_write audit_control setfcap mac_override mac_admin syslog wake_alarm block_suspend
audit_read perfmon bpf checkpoint_restore`)

// capabilities decodes security.capability (struct vfs_cap_data) in the form of
// getcap: "cap_net_admin,cap_net_raw=ep".
func capabilities(v []byte) string {
	if len(v) < 12 {
		return "0x" + hex.EncodeToString(v)
	}
	word := func(i int) uint64 {
		if len(v) < 4*i+4 {
			return 0
		}
		return uint64(binary.LittleEndian.Uint32(v[4*i:]))
	}
	flags := "p"
	if word(0)&1 != 0 {
		flags = "ep"
	}
	permitted, inheritable := word(1)|word(3)<<32, word(2)|word(4)<<32
	var parts []string
	if both := permitted & inheritable; both != 0 {
		parts = append(parts, capabilityList(both)+"="+strings.Replace(flags, "p", "ip", 1))
	}
	if only := permitted &^ inheritable; only != 0 {
		parts = append(parts, capabilityList(only)+"="+flags)
	}
	if only := inheritable &^ permitted; only != 0 {
		parts = append(parts, capabilityList(only)+"=i")
	}
	if word(0)>>24 == 3 && word(5) != 0 {
		parts = append(parts, fmt.Sprintf("[rootid=%d]", word(5)))
	}
	return strings.Join(parts, " ")
}

func capabilityList(set uint64) string {
	var names []string
	for bit := range 64 {
		switch {
		case set>>bit&1 == 0:
		case bit < len(capabilityNames):
			names = append(names, "cap_"+capabilityNames[bit])
		default:
			names = append(names, fmt.Sprint(bit))
		}
	}
	return strings.Join(names, ",")
}

// aclTags are the tags of a POSIX ACL's entries.
var aclTags = map[uint16]string{1: "user:", 2: "user:", 4: "group:", 8: "group:", 16: "mask:", 32: "other:"}

// acl decodes a POSIX ACL: "user::rw-,user:1000:r--,group::r--,mask::rw-,other::r--".
func acl(v []byte) string {
	if len(v) < 4 || binary.LittleEndian.Uint32(v) != 2 || len(v)%8 != 4 {
		return cut("0x"+hex.EncodeToString(v), maxWord)
	}
	var parts []string
	for e := range slices.Chunk(v[4:], 8) {
		tag, perm, id := binary.LittleEndian.Uint16(e), binary.LittleEndian.Uint16(e[2:]), binary.LittleEndian.Uint32(e[4:])
		who := ""
		if tag == 2 || tag == 8 {
			who = fmt.Sprint(id)
		}
		name, ok := aclTags[tag]
		if !ok {
			name = fmt.Sprintf("%d:", tag)
		}
		parts = append(parts, name+who+":"+permissions(perm))
	}
	return cut(strings.Join(parts, ","), maxWord)
}

func permissions(p uint16) string {
	b := []byte("---")
	for i, c := range "rwx" {
		if p&(4>>i) != 0 {
			b[i] = byte(c)
		}
	}
	return string(b)
}
