if (@(Get-Module -ListAvailable -Name Hyper-V).Count -eq 0) { Refuse 'module' 'the Hyper-V module for PowerShell is not installed' }
$service = Get-Service -Name vmms -ErrorAction SilentlyContinue
if (-not $service) { Refuse 'module' 'there is no service vmms: Hyper-V is not installed' }
if ("$($service.Status)" -ne 'Running') { Refuse 'service' "the service vmms is $($service.Status)" }
# Without the right to see machines, Get-VM says that there are none.
$me = New-Object Security.Principal.WindowsPrincipal ([Security.Principal.WindowsIdentity]::GetCurrent())
$groups = 'S-1-5-32-544', 'S-1-5-32-578' | ForEach-Object { New-Object Security.Principal.SecurityIdentifier $_ }
if (@($groups | Where-Object { $me.IsInRole($_) }).Count -eq 0) { Refuse 'rights' 'this user is neither an administrator nor a Hyper-V administrator' }
$host_ = Hyper-V\Get-VMHost
Answer @{ version = [Environment]::OSVersion.Version.ToString(3); computer = "$($host_.Name)" }
