$vm = Find-Machine $in.id
$answer = @{ memory = [long]$vm.MemoryAssigned; cpu = [long]0; pid = 0 }
# The command line of another user's process is not shown to everybody.
$worker = @(Get-CimInstance -ClassName Win32_Process -Filter "Name = 'vmwp.exe'" | Where-Object { "$($_.CommandLine)" -match $in.id })
if ($worker.Count -eq 1) {
  $answer.pid = [int]$worker[0].ProcessId
  $answer.cpu = [long]$worker[0].KernelModeTime + [long]$worker[0].UserModeTime
}
if ($answer.cpu -eq 0) {
  # Percent of the host, over its life: less exact, and there for everybody.
  $answer.cpu = [long]([Math]::Max(1, $vm.CPUUsage) / 100.0 * $vm.Uptime.Ticks) + 1
}
Answer $answer
