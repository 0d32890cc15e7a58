$vm = Find-Machine $in.id
$cards = @(Hyper-V\Get-VMNetworkAdapter -VM $vm)
Answer @{
  id = "$($vm.Id)"; name = "$($vm.Name)"; state = "$($vm.State)"
  addresses = @($cards | ForEach-Object { $_.IPAddresses } | ForEach-Object { "$_" })
}
