# Names need not be unique to Hyper-V.
if (@(Hyper-V\Get-VM | Where-Object { $_.Name -eq $in.name }).Count -gt 0) { Refuse 'taken' "there is a virtual machine $($in.name)" }
$switch = ''
if ($in.network) {
  $all = @(Hyper-V\Get-VMSwitch)
  $found = @($all | Where-Object { "$($_.Id)" -eq 'c08cb7b8-9b3c-408e-8e30-5e16a3aeb444' }) + @($all | Where-Object { "$($_.SwitchType)" -eq 'External' })
  if ($found.Count -eq 0) { Refuse 'switch' 'there is neither the Default Switch nor an external one' }
  $switch = "$($found[0].Name)"
}
Hyper-V\New-VHD -Path $in.disk -ParentPath $in.base -Differencing | Out-Null
if ($in.size -gt 0) { Hyper-V\Resize-VHD -Path $in.disk -SizeBytes $in.size }
$vm = Hyper-V\New-VM -Name $in.name -MemoryStartupBytes $in.memory -Generation $in.generation -VHDPath $in.disk -Path $in.folder
try {
  $settings = @{ ProcessorCount = $in.cpus; StaticMemory = $true; CheckpointType = 'Standard'; AutomaticStopAction = 'TurnOff'; AutomaticStartAction = 'Nothing' }
  if ((Get-Command Hyper-V\Set-VM).Parameters.ContainsKey('AutomaticCheckpointsEnabled')) { $settings.AutomaticCheckpointsEnabled = $false }
  Hyper-V\Set-VM -VM $vm @settings
  if ($in.generation -eq 2) { Hyper-V\Set-VMFirmware -VM $vm -EnableSecureBoot Off }
  $drives = @(Hyper-V\Get-VMDvdDrive -VM $vm)
  if ($drives.Count -gt 0) { Hyper-V\Set-VMDvdDrive -VMDvdDrive $drives[0] -Path $in.seed } else { Hyper-V\Add-VMDvdDrive -VM $vm -Path $in.seed }
  Hyper-V\Set-VMComPort -VM $vm -Number 1 -Path $in.console
  Hyper-V\Set-VMComPort -VM $vm -Number 2 -Path $in.line
  if ($switch) { Hyper-V\Get-VMNetworkAdapter -VM $vm | Hyper-V\Connect-VMNetworkAdapter -SwitchName $switch }
} catch {
  Hyper-V\Remove-VM -VM $vm -Force -Confirm:$false
  throw
}
Answer @{ id = "$($vm.Id)"; switch = $switch }
