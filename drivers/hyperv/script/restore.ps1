$vm = Find-Machine $in.id
$checkpoint = Find-Checkpoint $vm $in.checkpoint
if ("$($vm.State)" -notin 'Off', 'Saved') { Hyper-V\Stop-VM -VM $vm -TurnOff -Force -Confirm:$false }
Hyper-V\Restore-VMSnapshot -VMSnapshot $checkpoint -Confirm:$false
Answer @{ state = "$((Find-Machine $in.id).State)" }
