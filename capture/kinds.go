package capture

// Version is the version of the collectors. It grows whenever the same guest
// would give other records than before; captures of different versions cannot
// be compared.
const Version = 2

// The kinds of record, and the attributes of each. An attribute is absent when it
// has nothing to say. Numbers are decimal, lists are separated by commas, paths
// in keys are escaped by Escape.
const (
	// File is anything that has a path. Key: the path. Attributes: type (file, dir,
	// link, fifo, socket, char, block), mode ("0644", four octal digits or more),
	// uid, gid, owner and group (names; absent when the id has none), size (bytes,
	// files only), sha256 (files), target (links), rdev ("8:1", devices),
	// capabilities ("cap_net_raw=ep"), acl and acl_default ("user:1000:rw-,mask::rw-"),
	// attr.NAME (other extended attributes, text or 0x…), text (content of a small
	// text file), unread (why the content is not hashed), changed (its
	// ctime, then), mtime, ctime (Unix
	// nanoseconds), ino, disputed (what the guest says of a file that its disk tells
	// otherwise, or the other way round), hidden, locked ("immutable", "append-only";
	// only where the host reads the disk).
	//
	// What lies on the disk below a mount point, or is a file that another one is
	// mounted over, has the key "disk:" and the path, and as hidden the mount point.
	//
	// Of what changed since its image was made, a capture by the host holds md5 and,
	// of dpkg's own tables, sums, which no diff compares: they tell what packages
	// brought. What passes for a package's file, or for dpkg's or apt's, and is not, has
	// in a diff the attribute forged, which says why.
	File = "file"
	// Package is an installed package. Key: manager:name, followed by ":arch" for a
	// foreign architecture and "@user" for one in a user's home. Managers: dpkg, rpm,
	// apk, pip, npm, gem, cargo, go. Attributes: manager, name, version, arch,
	// status (dpkg, when it is not "install ok installed"), user, path (the folder
	// or file that it is), files (what it owns, one path a line).
	Package = "package"
	// Process is a running program; kernel threads and the agent are left out. Key:
	// "user: command line". Attributes: pid, ppid, user, exe, cmdline, cgroup,
	// deleted ("yes" when the program's file is gone).
	Process = "process"
	// Unit is a systemd service, timer, socket or path unit. Key: its name.
	// Attributes: type, enabled (enabled, disabled, static, masked, generated,
	// transient, …), active (active, inactive, failed, …), sub (running, exited,
	// waiting, …), path. What the disk and systemd say of a unit is joined.
	Unit = "unit"
	// Cron is one scheduled command. Key: "file: line" for a line of a table, the
	// path for a script in cron.daily and its like. Attributes: file, schedule,
	// user, command.
	Cron = "cron"
	// At is one queued at or batch job. Key: the spool file's path. Attributes:
	// user, command (the job's last lines), sha256.
	At = "at"
	// User is an account. Key: its name. Attributes: uid, gid, gecos, home, shell,
	// password (none, locked, set), password_changed (days since 1970),
	// password_digest (a short digest of the hash: it only tells that it changed).
	User = "user"
	// Group is a group of accounts. Key: its name. Attributes: gid, members.
	Group = "group"
	// Sudo is one line of a sudoers file. Key: "file: line". Attributes: file,
	// rule, nopasswd ("yes").
	Sudo = "sudo"
	// Key is one key that may log in by ssh. Key: "user SHA256:…". Attributes: user,
	// file, type, fingerprint, comment, options.
	Key = "ssh_key"
	// Environment is a variable of /etc/environment ("/etc/environment: NAME",
	// attribute value), or a shell start file (its path; attributes user, sha256,
	// path: the lines that set PATH).
	Environment = "environment"
	// Listener is a socket that waits for others. Key: "tcp 0.0.0.0:80",
	// "udp [::]:53", "unix /run/x". Attributes: proto, address, port, user, process, pid.
	Listener = "listener"
	// Route is one route. Key: "10.0.2.0/24 dev eth0". Attributes: destination,
	// device, gateway, metric.
	Route = "route"
	// Module is a loaded kernel module. Key: its name. Attributes: size, state, taint.
	Module = "module"
	// Sysctl is one kernel setting. Key: its dotted name. Attribute: value.
	Sysctl = "sysctl"
	// Mount is one mounted file system. Key: the mount point. Attributes: source,
	// type, options, root.
	Mount = "mount"
	// Autostart is what runs by itself at boot or at login. Key: the path.
	// Attributes: point (rc.local, init.d, runlevel, inittab, ld.so.preload, pam,
	// modules, udev, xdg, network, login, apt, initramfs, kernel; in homes xdg, user
	// unit, ssh), user, sha256, target, command (of a desktop entry).
	Autostart = "autostart"
	// CA is one certificate that the system trusts. Key: "sha256 of it".
	// Attributes: name, subject, file.
	CA = "ca"
	// Journal is an error in the system's journal since boot. Key: "identifier:
	// message", digits of process ids and addresses levelled out. Attributes:
	// identifier, unit, priority (0 to 3), message, count.
	Journal = "journal"
)

// HiddenPrefix begins the key of a file that a mount hides. No path begins with it.
const HiddenPrefix = "disk:"
