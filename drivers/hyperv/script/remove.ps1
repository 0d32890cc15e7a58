# A fork that was interrupted has its parent's name.
$found = @(Hyper-V\Get-VM | Where-Object { $_.Name -eq $in.name -or "$($_.Id)" -eq $in.id })
foreach ($vm in $found) {
  $state = "$($vm.State)"
  if ($state -eq 'Saved') { Hyper-V\Remove-VMSavedState -VM $vm } elseif ($state -ne 'Off') { Hyper-V\Stop-VM -VM $vm -TurnOff -Force -Confirm:$false }
  Hyper-V\Remove-VM -VM $vm -Force -Confirm:$false
}
# Checkpoints are merged when their machine is gone, and hold its disks meanwhile.
$tries = 0
while ($found.Count -gt 0 -and (Test-Path -LiteralPath $in.folder)) {
  try { Remove-Item -LiteralPath $in.folder -Recurse -Force; break } catch { if (++$tries -ge 60) { throw } }
  Start-Sleep -Milliseconds 500
}
Answer @{ removed = $found.Count }
