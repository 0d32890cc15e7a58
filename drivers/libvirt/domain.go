package libvirt

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"
	"text/template"

	"assay/guest"
	"assay/vm"
)

// Hardware is everything that a guest sees, and where the host has it. It stays
// the same for a machine's whole life, and for its forks: saved state only loads
// into the same devices.
type hardware struct {
	CPUs    int
	Memory  int64 // MiB
	Size    int64 // of the disk, bytes
	Network vm.NetworkMode
	MAC     string
	Image   vm.Image // paths as QEMU sees them, but for Disk, which is behind its own
}

// Names of a machine's files in its folder.
const (
	diskName    = "disk.qcow2"
	agentName   = "agent.sock"
	consoleName = "console.sock"
)

// namespace is of what assay keeps in a domain's own description.
const namespace = "https://assay.invalid/libvirt"

// A domain is what the template below is filled with.
type domain struct {
	hardware
	Name    string
	UUID    string
	Accel   string
	Dir     string // of its files
	Sockets string // of its sockets
	Label   string // whose process QEMU is, as libvirt's DAC driver says it; empty: libvirt's choice
	Relabel string // yes or no: libvirt makes the files that user's, but for those of the image
	Port    string // of the agent
	Space   string
}

// UEFI reports whether the disk boots itself by UEFI.
func (hw hardware) UEFI() bool { return hw.Image.Kernel == "" && hw.Image.Firmware == "uefi" }

// Append is the kernel's line. It takes "quiet" away: a boot that fails must say why.
func (d domain) Append() string {
	var words []string
	for _, w := range strings.Fields(d.Image.Append) {
		if w != "quiet" {
			words = append(words, w)
		}
	}
	return strings.Join(words, " ")
}

// text writes the domain down.
func (d domain) text() (string, error) {
	d.Port, d.Space = guest.Port, namespace
	var b bytes.Buffer
	err := domainXML.Execute(&b, d)
	return b.String(), err
}

// escape makes a string fit between quotes and tags.
func escape(s any) (string, error) {
	var b bytes.Buffer
	err := xml.EscapeText(&b, []byte(fmt.Sprint(s)))
	return b.String(), err
}

// domainXML describes a machine. Without KVM every feature of the processor is
// translated, so it gets only what x86-64-v2 userlands need, and rdrand. A
// network of mode "none" is a card whose frames go to the host's discard port,
// where nobody listens. Devices have fixed places, so that saved state finds
// them, and none lies behind a bridge, which takes time to boot. A guest that
// restarts itself ends.
var domainXML = template.Must(template.New("domain").Funcs(template.FuncMap{"x": escape}).Parse(`<domain type='{{x .Accel}}'>
  <name>{{x .Name}}</name>
  <uuid>{{x .UUID}}</uuid>
  <genid/>
  <metadata><assay:machine xmlns:assay='{{.Space}}' dir='{{x .Dir}}' sockets='{{x .Sockets}}'/></metadata>
  <memory unit='MiB'>{{.Memory}}</memory>
  <vcpu>{{.CPUs}}</vcpu>
  <os{{if .UEFI}} firmware='efi'{{end}}>
    <type arch='x86_64' machine='q35'>hvm</type>
{{- if .UEFI}}
    <firmware><feature enabled='no' name='secure-boot'/></firmware>
{{- end}}
{{- if .Image.Kernel}}
    <kernel>{{x .Image.Kernel}}</kernel>
{{- if .Image.Initrd}}
    <initrd>{{x .Image.Initrd}}</initrd>
{{- end}}
    <cmdline>{{x .Append}}</cmdline>
{{- else}}
    <boot dev='hd'/>
{{- end}}
  </os>
  <features><acpi/><apic/><vmport state='off'/></features>
{{- if eq .Accel "kvm"}}
  <cpu mode='host-passthrough' migratable='on'/>
{{- else}}
  <cpu mode='custom' match='exact' check='none'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='disable' name='svm'/>
    <feature policy='require' name='ssse3'/>
    <feature policy='require' name='sse4.1'/>
    <feature policy='require' name='sse4.2'/>
    <feature policy='require' name='popcnt'/>
    <feature policy='require' name='rdrand'/>
  </cpu>
{{- end}}
  <clock offset='utc'/>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>destroy</on_reboot>
  <on_crash>destroy</on_crash>
  <devices>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' cache='unsafe' discard='unmap'/>
      <source file='{{x .Dir}}/disk.qcow2'/>
{{- if eq .Relabel "yes"}}
      <backingStore type='file'>
        <format type='{{x .Image.Format}}'/>
        <source file='{{x .Image.Disk}}'><seclabel model='dac' relabel='no'/></source>
      </backingStore>
{{- end}}
      <target dev='vda' bus='virtio'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x03' function='0x0'/>
    </disk>
{{- if .Image.Seed}}
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='{{x .Image.Seed}}'>{{if eq .Relabel "yes"}}<seclabel model='dac' relabel='no'/>{{end}}</source>
      <target dev='vdb' bus='virtio'/>
      <readonly/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x04' function='0x0'/>
    </disk>
{{- end}}
{{- if eq .Network "open"}}
    <interface type='user'>
{{- else}}
    <interface type='udp'>
      <source address='127.0.0.1' port='9'><local address='127.0.0.1' port='0'/></source>
{{- end}}
      <mac address='{{x .MAC}}'/>
      <model type='virtio'/>
      <rom enabled='no'/>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x05' function='0x0'/>
    </interface>
    <controller type='usb' model='none'/>
    <controller type='virtio-serial' index='0'>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x06' function='0x0'/>
    </controller>
    <serial type='unix'><source mode='bind' path='{{x .Sockets}}/console.sock'/><target port='0'/></serial>
    <channel type='unix'>
      <source mode='bind' path='{{x .Sockets}}/agent.sock'/>
      <target type='virtio' name='{{.Port}}'/>
    </channel>
    <video><model type='vga' vram='8192'/></video>
    <rng model='virtio'>
      <backend model='random'>/dev/urandom</backend>
      <address type='pci' domain='0x0000' bus='0x00' slot='0x07' function='0x0'/>
    </rng>
    <memballoon model='none'/>
  </devices>
{{- if .Label}}
  <seclabel type='static' model='dac' relabel='{{.Relabel}}'><label>{{x .Label}}</label></seclabel>
{{- end}}
</domain>
`))

// known is what is read of a domain's description.
type known struct {
	XMLName  xml.Name `xml:"domain"`
	Name     string   `xml:"name"`
	UUID     string   `xml:"uuid"`
	Metadata struct {
		Machine struct {
			Dir     string `xml:"dir,attr"`
			Sockets string `xml:"sockets,attr"`
		} `xml:"machine"`
	} `xml:"metadata"`
	Memory struct {
		Unit  string `xml:"unit,attr"`
		Value int64  `xml:",chardata"`
	} `xml:"memory"`
	CPUs int `xml:"vcpu"`
	OS   struct {
		Loader string `xml:"loader"`
	} `xml:"os"`
	Devices struct {
		Disks []struct {
			Device string `xml:"device,attr"`
			Driver struct {
				Type string `xml:"type,attr"`
			} `xml:"driver"`
			Source struct {
				File string `xml:"file,attr"`
			} `xml:"source"`
			ReadOnly *struct{} `xml:"readonly"`
		} `xml:"disk"`
		Interfaces []struct {
			MAC struct {
				Address string `xml:"address,attr"`
			} `xml:"mac"`
		} `xml:"interface"`
		Channels []struct {
			Target struct {
				Name string `xml:"name,attr"`
			} `xml:"target"`
		} `xml:"channel"`
		Videos []struct{} `xml:"video"`
	} `xml:"devices"`
}

// parse reads what virsh dumpxml prints.
func parse(text []byte) (known, error) {
	var k known
	if err := xml.Unmarshal(text, &k); err != nil {
		return k, fmt.Errorf("dumpxml: got %.200q: %w", text, err)
	}
	return k, nil
}
