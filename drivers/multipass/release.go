package multipass

import (
	"regexp"
	"runtime"
)

// codeNames are those of Ubuntu's releases that Multipass may still have.
var codeNames = map[string]string{
	"xenial": "16.04", "bionic": "18.04", "focal": "20.04", "jammy": "22.04", "noble": "24.04",
	"oracular": "24.10", "plucky": "25.04", "questing": "25.10", "resolute": "26.04",
}

var (
	numbered = regexp.MustCompile(`^\d\d\.\d\d$`)
	core     = regexp.MustCompile(`^core(\d\d)?$`)
)

// release says which system an alias stands for.
func release(alias string) (os, version string, known bool) {
	switch {
	case numbered.MatchString(alias):
		return "ubuntu", alias, true
	case codeNames[alias] != "":
		return "ubuntu", codeNames[alias], true
	case alias == "lts", alias == "devel":
		return "ubuntu", alias, true
	case core.MatchString(alias):
		return "ubuntu-core", alias[len("core"):], true
	case alias == "debian", alias == "fedora":
		return alias, "", true
	}
	return "", "", false
}

// goarch is the architecture of Multipass's guests: the host's.
func goarch() string { return runtime.GOARCH }
