$vm = Find-Machine $in.id
switch ("$($vm.State)") {
  'Running' { }
  'Paused' { Hyper-V\Resume-VM -VM $vm }
  default { Hyper-V\Start-VM -VM $vm }
}
Answer @{ state = "$((Find-Machine $in.id).State)" }
