-- Gives a machine that is stopped a line, or takes it: a user's other arguments
-- of QEMU stay.
-- id, "add" or "remove", arguments of QEMU ...
on run argv
	set ours to items 3 thru -1 of argv
	tell application "UTM"
		set vm to virtual machine id (item 1 of argv)
		set config to configuration of vm
		set kept to {}
		repeat with known in (qemu additional arguments of config)
			if ours does not contain (argument string of known) then set end of kept to {argument string:(argument string of known)}
		end repeat
		if item 2 of argv is "add" then
			repeat with argument in ours
				set end of kept to {argument string:(contents of argument)}
			end repeat
		end if
		set qemu additional arguments of config to kept
		update configuration of vm with config
	end tell
end run
