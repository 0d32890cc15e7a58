package incus

// Types of files as the guest's kernel writes them into st_mode, whatever the
// host's system.
const (
	modeType   = 0xF000
	modeFIFO   = 0x1000
	modeChar   = 0x2000
	modeFolder = 0x4000
	modeBlock  = 0x6000
	modeFile   = 0x8000
	modeLink   = 0xA000
	modeSocket = 0xC000
)
