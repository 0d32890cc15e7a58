if (@(Hyper-V\Get-VM | Where-Object { $_.Name -eq $in.name }).Count -gt 0) { Refuse 'taken' "there is a virtual machine $($in.name)" }
$checkpoint = Find-Checkpoint (Find-Machine $in.id) $in.checkpoint
Hyper-V\Export-VMSnapshot -VMSnapshot $checkpoint -Path $in.export
$files = @(Get-ChildItem -LiteralPath $in.export -Recurse -Filter '*.vmcx' | Where-Object { $_.Directory.Name -eq 'Virtual Machines' })
if ($files.Count -ne 1) { Refuse 'lost' "the export of the checkpoint has $($files.Count) virtual machines" }
$vm = Hyper-V\Import-VM -Path $files[0].FullName -Copy -GenerateNewId -VirtualMachinePath $in.folder -SnapshotFilePath $in.folder -SmartPagingFilePath $in.folder -VhdDestinationPath $in.disks
try {
  Hyper-V\Rename-VM -VM $vm -NewName $in.name
  if ($in.seed) {
    Hyper-V\Set-VMDvdDrive -VMDvdDrive (@(Hyper-V\Get-VMDvdDrive -VM $vm)[0]) -Path $in.seed
    try {
      Hyper-V\Set-VMComPort -VM $vm -Number 1 -Path $in.console
      Hyper-V\Set-VMComPort -VM $vm -Number 2 -Path $in.line
    } catch {
      # A machine with saved memory may not take other ports: it boots then.
      Hyper-V\Remove-VMSavedState -VM $vm
      Hyper-V\Set-VMComPort -VM $vm -Number 1 -Path $in.console
      Hyper-V\Set-VMComPort -VM $vm -Number 2 -Path $in.line
    }
  }
  Remove-Item -LiteralPath $in.export -Recurse -Force
} catch {
  Hyper-V\Remove-VM -VM $vm -Force -Confirm:$false
  throw
}
Answer @{ id = "$($vm.Id)" }
