package guest

// OS is the System of a running Linux. The zero value works, without a cgroup
// for each command.
type OS struct {
	Cgroup string // folder of a cgroup v2 that belongs to the agent; empty: none
}
