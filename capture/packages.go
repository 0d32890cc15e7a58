package capture

import (
	"context"
	"errors"
	"path"
	"strings"
)

// packages observes what package managers installed, the system's and those of
// languages, for everybody and in each home. It reads their databases on the
// disk; rpm, whose database only rpm can read, is a part of its own.
type packages struct{}

func (packages) Name() string    { return "packages" }
func (packages) Kinds() []string { return []string{Package} }

func (packages) Collect(ctx context.Context, src Source, out *Sink) error {
	people := homes(src, out)
	dpkg(src, out)
	apk(src, out)
	pip(src, out, people)
	npm(src, out, people)
	gem(src, out, people)
	cargo(src, out, people)
	golang(src, out, people)
	return ctx.Err()
}

// pkg makes a package's record. user is empty for what everybody has.
func pkg(manager, name, version, user string, more ...string) Record {
	name = line(name)
	key := manager + ":" + name
	if user != "" {
		key += "@" + user
	}
	return Record{Package, key, attrs(append([]string{"manager", manager, "name", name, "version", line(version), "user", user}, more...)...)}
}

// paragraphs gives fn each block of "Field: value" lines of a control file. Lines
// that continue a value are left out, and so are fields that are not wanted.
func paragraphs(data string, wanted string, fn func(map[string]string)) {
	fields := map[string]string{}
	for l := range strings.Lines(data) {
		l = strings.TrimRight(l, "\n")
		if l == "" && len(fields) > 0 {
			fn(fields)
			fields = map[string]string{}
		}
		if l == "" || l[0] == ' ' || l[0] == '\t' {
			continue
		}
		name, value, ok := strings.Cut(l, ":")
		if ok && strings.Contains(wanted, " "+name+" ") {
			fields[name] = strings.TrimSpace(value)
		}
	}
	if len(fields) > 0 {
		fn(fields)
	}
}

// installed is the status of a package that is as it should be.
const installed = "install ok installed"

func dpkg(src Source, out *Sink) {
	data := text(src, out, "packages", "/var/lib/dpkg/status")
	native := nativeArch(data)
	paragraphs(data, " Package Version Architecture Status ", func(f map[string]string) {
		if f["Package"] == "" {
			return
		}
		r := pkg("dpkg", f["Package"], f["Version"], "", "arch", line(f["Architecture"]))
		if arch := f["Architecture"]; arch != "all" && arch != native && arch != "" {
			r.Key += ":" + line(arch)
		}
		if f["Status"] != installed {
			r.Attrs["status"] = line(f["Status"])
		}
		out.Add(r)
	})
	for _, name := range entriesOf(src, out, "packages", "/var/lib/dpkg/status.d") { // distroless
		paragraphs(text(src, out, "packages", path.Join("/var/lib/dpkg/status.d", name)), " Package Version Architecture ", func(f map[string]string) {
			out.Add(pkg("dpkg", f["Package"], f["Version"], "", "arch", line(f["Architecture"])))
		})
	}
}

// nativeArch is the architecture of dpkg itself.
func nativeArch(status string) (arch string) {
	paragraphs(status, " Package Architecture ", func(f map[string]string) {
		if f["Package"] == "dpkg" {
			arch = f["Architecture"]
		}
	})
	return arch
}

// rpmFormat has rpm print one line a package and one a file of it.
const rpmFormat = `P\t%{NAME}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{ARCH}\n[F\t%{FILENAMES}\n]`

// rpm is the part of packages that asks rpm itself, in the running guest: its
// database has had three formats, and a reader of them would double the agent's
// size.
type rpm struct{}

func (rpm) Name() string    { return "rpm" }
func (rpm) Kinds() []string { return []string{Package} }
func (rpm) PartOf() string  { return "packages" }
func (rpm) Live() bool      { return true }

func (rpm) Collect(ctx context.Context, src Source, out *Sink) error {
	if !exists(src, "/var/lib/rpm") && !exists(src, "/usr/lib/sysimage/rpm") {
		return nil
	}
	data, err := src.Run(ctx, "rpm", "-qa", "--queryformat", rpmFormat)
	if errors.Is(err, errors.ErrUnsupported) && !rpmInUse(src) {
		return nil // Debian's dpkg tools leave an empty folder
	}
	if err != nil {
		out.Problem("packages: rpm: %v", err)
	}
	var r *Record
	var owned strings.Builder
	flush := func() {
		if r != nil {
			setIf(r.Attrs, "files", cut(owned.String(), maxAttr))
			out.Add(*r)
		}
		r = nil
		owned.Reset()
	}
	for l := range strings.Lines(string(data)) {
		f := strings.Split(strings.TrimRight(l, "\n"), "\t")
		switch {
		case len(f) == 4 && f[0] == "P":
			flush()
			p := pkg("rpm", f[1], strings.TrimPrefix(f[2], "0:"), "", "arch", line(f[3]))
			r = &p
		case len(f) == 2 && f[0] == "F":
			owned.WriteString(strings.ToValidUTF8(f[1], "�") + "\n")
		}
	}
	flush()
	return nil
}

// rpmInUse reports whether a database lies there that nobody could read.
func rpmInUse(src Source) bool {
	for _, p := range []string{"/var/lib/rpm/rpmdb.sqlite", "/var/lib/rpm/Packages", "/var/lib/rpm/Packages.db", "/usr/lib/sysimage/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/Packages.db"} {
		if exists(src, p) {
			return true
		}
	}
	return false
}

func exists(src Source, p string) bool {
	_, err := src.Lstat(p)
	return err == nil
}

// apk reads Alpine's database: a letter, a colon and a value a line, blocks parted by
// empty lines; F is a folder, R a file in it.
func apk(src Source, out *Sink) {
	db := "/lib/apk/db/installed"
	if !exists(src, db) {
		db = "/usr/lib/apk/db/installed"
	}
	for block := range strings.SplitSeq(text(src, out, "packages", db), "\n\n") {
		f := map[string]string{}
		folder := ""
		var owned strings.Builder
		for l := range strings.Lines(block) {
			k, v, _ := strings.Cut(strings.TrimRight(l, "\n"), ":")
			switch k {
			case "F":
				folder = v
				owned.WriteString("/" + v + "\n")
			case "R":
				owned.WriteString(path.Join("/", folder, v) + "\n")
			case "P", "V", "A":
				f[k] = v
			}
		}
		if f["P"] != "" {
			out.Add(pkg("apk", f["P"], f["V"], "", "arch", line(f["A"]), "files", cut(owned.String(), maxAttr)))
		}
	}
}
