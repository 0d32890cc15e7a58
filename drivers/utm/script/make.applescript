-- Makes a QEMU machine and prints its id.
-- name, architecture, "true" for the host's own processor, "true" for UEFI,
-- MiB of memory, cores, disk, seed disk, network mode or "", arguments of QEMU ...
on run argv
	set most to count of argv
	set diskFile to POSIX file (item 7 of argv)
	set seedFile to POSIX file (item 8 of argv)
	tell application "UTM"
		set extra to {}
		repeat with i from 10 to most
			set end of extra to {argument string:(item i of argv)}
		end repeat
		set cards to {}
		if item 9 of argv is "emulated" then set cards to {{mode:emulated}}
		set made to make new virtual machine with properties {backend:qemu, configuration:{name:(item 1 of argv), architecture:(item 2 of argv), hypervisor:(item 3 of argv is "true"), uefi:(item 4 of argv is "true"), memory:(item 5 of argv as integer), cpu cores:(item 6 of argv as integer), drives:{{removable:true, source:seedFile}, {source:diskFile}}, network interfaces:cards, displays:{}, qemu additional arguments:extra}}
		return id of made
	end tell
end run
