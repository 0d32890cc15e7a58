package cli

// Config is what every driver of a command is given.
type Config struct {
	// Home is assay's state folder. A driver keeps what it makes once and uses
	// again, such as disks in its hypervisor's format, in Home/drivers/NAME.
	Home string
	// Agents returns the program for guests of an architecture, as Go calls it.
	// It is the same for the whole life of the process.
	Agents func(arch string) ([]byte, error)
}
