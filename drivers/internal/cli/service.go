package cli

import (
	"fmt"
	"os"
)

// StartService is how a service of this host is started.
func StartService(name string) string { return startService("/", name) }

func startService(root, name string) string {
	there := func(path string) bool { _, err := os.Stat(root + path); return err == nil }
	switch {
	case there("run/systemd/system"):
		return "systemctl start " + name
	case there("etc/init.d/" + name):
		return "service " + name + " start"
	}
	return fmt.Sprintf("start its service %s: this host has no systemd that could", name)
}
