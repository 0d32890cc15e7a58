$vm = Find-Machine $in.id
switch ("$($vm.State)") {
  { $_ -in 'Off', 'Saved' } { }
  default {
    if ($in.soft) { Hyper-V\Stop-VM -VM $vm -Force -Confirm:$false } else { Hyper-V\Stop-VM -VM $vm -TurnOff -Force -Confirm:$false }
  }
}
Answer @{ state = "$((Find-Machine $in.id).State)" }
