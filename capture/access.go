package capture

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"path"
	"strings"
)

// access observes who may become whom: sudoers and the keys that may log in.
type access struct{}

func (access) Name() string    { return "access" }
func (access) Kinds() []string { return []string{Sudo, Key} }

func (access) Collect(ctx context.Context, src Source, out *Sink) error {
	sudoers(src, out, "/etc/sudoers")
	for _, name := range entriesOf(src, out, "access", "/etc/sudoers.d") {
		if !strings.ContainsAny(name, ".~") { // sudo skips these
			sudoers(src, out, path.Join("/etc/sudoers.d", name))
		}
	}
	for _, h := range homes(src, out) {
		for _, name := range []string{"authorized_keys", "authorized_keys2"} {
			authorized(src, out, h, path.Join(h.dir, ".ssh", name))
		}
	}
	return nil
}

// sudoers emits a file's lines: continued lines are one, comments none, and
// "#include" is no comment.
func sudoers(src Source, out *Sink, file string) {
	whole := strings.ReplaceAll(text(src, out, "access", file), "\\\n", " ")
	for l := range strings.Lines(whole) {
		rule := strings.Join(strings.Fields(l), " ")
		if rule == "" || strings.HasPrefix(rule, "#") && !strings.HasPrefix(rule, "#include") {
			continue
		}
		rule = line(rule)
		a := attrs("file", Escape(file), "rule", rule)
		if strings.Contains(rule, "NOPASSWD") {
			a["nopasswd"] = "yes"
		}
		out.Add(Record{Sudo, Escape(file) + ": " + rule, a})
	}
}

// keyTypes begin a key; what stands before one are options.
func isKeyType(word string) bool {
	return strings.HasPrefix(word, "ssh-") || strings.HasPrefix(word, "ecdsa-") || strings.HasPrefix(word, "sk-")
}

func authorized(src Source, out *Sink, h home, file string) {
	for _, l := range lines(text(src, out, "access", file)) {
		options, kind, blob, comment := splitKey(l)
		finger := fingerprint(blob)
		if kind == "" || finger == "" {
			out.Problem("access: %s: a line that is no key: %s", file, cut(l, 80))
			continue
		}
		out.Add(Record{Key, h.user + " " + finger, attrs("user", h.user, "file", Escape(file), "type", line(kind),
			"fingerprint", finger, "comment", line(comment), "options", line(options))})
	}
}

// splitKey takes a line of authorized_keys apart. Options may hold spaces in quotes.
func splitKey(l string) (options, kind, blob, comment string) {
	words := quotedFields(l)
	for i, w := range words {
		if isKeyType(w) && i+1 < len(words) {
			return strings.Join(words[:i], " "), w, words[i+1], strings.Join(words[i+2:], " ")
		}
	}
	return "", "", "", ""
}

// quotedFields splits at spaces outside of double quotes.
func quotedFields(l string) []string {
	quoted := false
	return strings.FieldsFunc(l, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
		}
		return !quoted && (r == ' ' || r == '\t')
	})
}

// fingerprint is what ssh-keygen -l shows: "SHA256:…", or "" for what is no key.
func fingerprint(blob string) string {
	raw, err := base64.StdEncoding.DecodeString(blob)
	if err != nil || len(raw) == 0 {
		return ""
	}
	sum := sha256.Sum256(raw)
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}
