-- Gives a machine that is stopped a size and a network.
-- id, MiB of memory, cores, network mode or ""
on run argv
	tell application "UTM"
		set vm to virtual machine id (item 1 of argv)
		set config to configuration of vm
		set memory of config to (item 2 of argv as integer)
		set cpu cores of config to (item 3 of argv as integer)
		set network interfaces of config to {}
		if item 4 of argv is "emulated" then set network interfaces of config to {{mode:emulated}}
		update configuration of vm with config
	end tell
end run
