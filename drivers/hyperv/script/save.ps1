$vm = Find-Machine $in.id
if ("$($vm.State)" -ne 'Saved') { Hyper-V\Save-VM -VM $vm }
Answer @{ state = "$((Find-Machine $in.id).State)" }
