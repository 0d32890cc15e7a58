$vm = Find-Machine $in.id
# The kind that a user's machine has may leave the memory out.
$kind = "$($vm.CheckpointType)"
if ($kind -ne 'Standard') { Hyper-V\Set-VM -VM $vm -CheckpointType Standard }
try {
  Hyper-V\Checkpoint-VM -VM $vm -SnapshotName $in.name
} finally {
  if ($kind -ne 'Standard') { Hyper-V\Set-VM -VM $vm -CheckpointType $kind }
}
$made = @(Hyper-V\Get-VMSnapshot -VM $vm | Where-Object { $_.Name -eq $in.name })
if ($made.Count -ne 1) { Refuse 'lost' "there are $($made.Count) checkpoints $($in.name), although Hyper-V complained of nothing" }
Answer @{ id = "$($made[0].Id)" }
