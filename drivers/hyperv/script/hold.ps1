$vm = Find-Machine $in.id
$state = "$($vm.State)"
if ($state -notin 'Running', 'Paused') { Refuse 'state' "the virtual machine is $state, want it Running or Paused" }
if ($in.still -and $state -eq 'Running') { Hyper-V\Suspend-VM -VM $vm }
if (-not $in.still -and $state -eq 'Paused') { Hyper-V\Resume-VM -VM $vm }
Answer @{ state = "$((Find-Machine $in.id).State)" }
