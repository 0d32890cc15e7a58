package capture

// volatile are the attributes that Diff does not compare, for each kind: they
// differ without anything having changed.
var volatile = map[string]map[string]bool{
	File: {
		"mtime": true, // touching a file changes nothing that it is; for folders it repeats what their entries tell
		"ctime": true, // moves with every other attribute
		"ino":   true, // a file rewritten with the same content is the same file
	},
	Process:  {"pid": true, "ppid": true}, // a restarted program is the same program
	Listener: {"pid": true},
	Package:  {"files": true}, // its files are records of their own
	Journal:  {"count": true}, // the same message again
}

// hidden are the attributes that a Change does not carry: they serve the capture
// itself, and would swell results.
var hidden = map[string]map[string]bool{
	File:    {"ctime": true, "ino": true, "text": true},
	Package: {"files": true},
}
