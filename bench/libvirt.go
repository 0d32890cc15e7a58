//go:build linux

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"text/template"
	"time"

	"assay/guest"
)

// virsh runs one call of virsh.
func (st *Stage) virsh(ctx context.Context, args ...string) (string, error) {
	return st.command(ctx, "virsh", append([]string{"-q", "-c", "qemu:///system"}, args...)...)
}

// startLibvirt starts libvirt's daemons if they do not run, and ends them with
// the run if it started them.
func (st *Stage) startLibvirt(ctx context.Context) error {
	if _, err := st.virsh(ctx, "version"); err == nil {
		return nil
	}
	if os.Geteuid() != 0 {
		return errors.New("libvirt: no daemon answers, and only root can start one")
	}
	without, err := st.withoutKVM()
	if err != nil {
		return err
	}
	for _, name := range []string{"virtlogd", "libvirtd"} {
		pidfile := filepath.Join(st.dir, name+".pid")
		argv := append(without, name, "-d", "-p", pidfile)
		if _, err := st.command(ctx, argv[0], argv[1:]...); err != nil {
			return err
		}
		st.atEnd(func() error { return endDaemon(pidfile) })
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	return poll(ctx, 50*time.Millisecond, func() error { _, err := st.virsh(ctx, "version"); return err })
}

// withoutKVM returns the command before which libvirt sees a /dev/kvm that nobody
// may use. Where only root may use it, libvirt believes before each start that KVM
// has gone since it asked QEMU, and asks it again, for seconds. A machine of its
// own /dev could not take that file along.
func (st *Stage) withoutKVM() ([]string, error) {
	if _, err := os.Stat("/dev/kvm"); err != nil {
		return []string{"env"}, nil
	}
	nothing, config := filepath.Join(st.dir, "nothing"), filepath.Join(st.dir, "qemu.conf")
	if err := errors.Join(os.WriteFile(nothing, nil, 0), writeText(config, "namespaces = []\n")); err != nil {
		return nil, err
	}
	const hide = `mount --bind "$0" /dev/kvm && mount --bind "$1" /etc/libvirt/qemu.conf && shift && exec "$@"`
	return []string{"unshare", "--mount", "sh", "-c", hide, nothing, config}, nil
}

// endDaemon ends the daemon whose process id is in a file, and waits for it.
func endDaemon(pidfile string) error {
	data, err := os.ReadFile(pidfile)
	if err != nil {
		return err
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 {
		return fmt.Errorf("%s: got %q, want a process id", pidfile, data)
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return poll(ctx, 20*time.Millisecond, func() error {
		if syscall.Kill(pid, 0) == nil {
			return fmt.Errorf("process %d: still there", pid)
		}
		return nil
	})
}

// A domain is a machine of libvirt's with the image's disk under its own.
type domain struct {
	st   *Stage
	name string
	dir  string
	xml  string // path
}

// newDomain writes a domain down. Nothing runs yet.
func (st *Stage) newDomain(ctx context.Context) (*domain, error) {
	if err := st.startLibvirt(ctx); err != nil {
		return nil, err
	}
	dir, err := st.folder(strings.TrimSuffix(domainPrefix, "-"))
	if err != nil {
		return nil, err
	}
	d := &domain{st: st, dir: dir, name: domainName(dir), xml: filepath.Join(dir, "domain.xml")}
	var text bytes.Buffer
	err = domainXML.Execute(&text, map[string]any{
		"Name": d.name, "Memory": guestMemory >> 10, "CPUs": guestCPUs, "Disk": d.disk(), "Image": st.image, "Port": guest.Port,
	})
	if err != nil {
		return nil, err
	}
	return d, os.WriteFile(d.xml, text.Bytes(), 0o600)
}

func (d *domain) disk() string { return filepath.Join(d.dir, "disk.qcow2") }

// start makes a fresh disk, defines the domain, starts it, and returns when its
// guest has run a first command.
func (d *domain) start(ctx context.Context) error {
	if _, err := d.st.command(ctx, "qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", d.st.image.Disk, d.disk()); err != nil {
		return err
	}
	if _, err := d.st.virsh(ctx, "define", d.xml); err != nil {
		return err
	}
	if _, err := d.st.virsh(ctx, "start", d.name); err != nil {
		return err
	}
	return d.firstTrue(ctx)
}

// firstTrue asks for /bin/true until the guest's agent has run it.
func (d *domain) firstTrue(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, bootDeadline)
	defer cancel()
	return poll(ctx, 200*time.Millisecond, func() error { return d.runTrue(ctx) })
}

// runTrue runs /bin/true in the guest, each request a call of virsh.
func (d *domain) runTrue(ctx context.Context) error {
	return runTrue(func(name string, args, result any) error {
		request, err := json.Marshal(map[string]any{"execute": name, "arguments": args})
		if err != nil {
			return err
		}
		out, err := d.st.virsh(ctx, "qemu-agent-command", d.name, string(request))
		if err != nil {
			return err
		}
		if done, err := decode(name, []byte(out), result); done || err != nil {
			return err
		}
		return fmt.Errorf("%s: got %q, want an answer", name, out)
	})
}

// close destroys the domain and forgets it. It is idempotent.
func (d *domain) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	names, err := d.st.virsh(ctx, "list", "--all", "--name")
	if err != nil || !strings.Contains(names, d.name) {
		return err
	}
	d.st.virsh(ctx, "destroy", d.name) // it may be off already; undefine says what is wrong
	_, err = d.st.virsh(ctx, "undefine", "--snapshots-metadata", d.name)
	return err
}

// sharedDomain returns a running domain that lasts for the whole run.
func (st *Stage) sharedDomain(ctx context.Context) (*domain, error) {
	if st.domain != nil {
		return st.domain, nil
	}
	d, err := st.newDomain(ctx)
	if err != nil {
		return nil, err
	}
	st.atEnd(d.close)
	if err := d.start(ctx); err != nil {
		return nil, err
	}
	st.domain = d
	return d, nil
}

// domainXML describes the same machine as plain's. The label has QEMU run as
// root, which may read the image wherever it is.
var domainXML = template.Must(template.New("domain").Parse(`<domain type='qemu'>
  <name>{{.Name}}</name>
  <memory unit='KiB'>{{.Memory}}</memory>
  <vcpu>{{.CPUs}}</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{{.Image.Kernel}}</kernel>
    <initrd>{{.Image.Initrd}}</initrd>
    <cmdline>{{.Image.Append}}</cmdline>
  </os>
  <features><acpi/><tcg><tb-cache unit='MiB'>64</tb-cache></tcg></features>
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='disable' name='svm'/>
    <feature policy='require' name='ssse3'/>
    <feature policy='require' name='sse4.1'/>
    <feature policy='require' name='sse4.2'/>
    <feature policy='require' name='popcnt'/>
    <feature policy='require' name='rdrand'/>
  </cpu>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe' discard='unmap'/>
      <source file='{{.Disk}}'/>
      <target dev='vda' bus='virtio'/>
    </disk>
    <interface type='user'><model type='virtio'/></interface>
    <serial type='null'/>
    <channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
    <channel type='null'><target type='virtio' name='{{.Port}}'/></channel>
    <rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
    <memballoon model='none'/>
  </devices>
  <seclabel type='static' model='dac' relabel='no'><label>+0:+0</label></seclabel>
</domain>
`))
