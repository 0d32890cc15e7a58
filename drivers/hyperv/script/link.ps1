$cards = @(Hyper-V\Get-VMNetworkAdapter -VM (Find-Machine $in.id))
if (-not $in.up) {
  $cards | Hyper-V\Disconnect-VMNetworkAdapter
} elseif ($in.switch) {
  $cards | Hyper-V\Connect-VMNetworkAdapter -SwitchName $in.switch
}
Answer @{ connected = @(Hyper-V\Get-VMNetworkAdapter -VM (Find-Machine $in.id) | Where-Object { $_.Connected }).Count }
