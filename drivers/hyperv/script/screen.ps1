$machine = Get-CimInstance -Namespace 'root\virtualization\v2' -ClassName Msvm_ComputerSystem -Filter "Name = '$($in.id)'"
if (-not $machine) { Refuse 'missing' "no virtual machine has the id $($in.id)" }
$settings = Get-CimAssociatedInstance -InputObject $machine -ResultClassName Msvm_VirtualSystemSettingData -Association Msvm_SettingsDefineState
$service = Get-CimInstance -Namespace 'root\virtualization\v2' -ClassName Msvm_VirtualSystemManagementService
$shot = Invoke-CimMethod -InputObject $service -MethodName GetVirtualSystemThumbnailImage -Arguments @{ TargetSystem = $settings; WidthPixels = [uint16]$in.width; HeightPixels = [uint16]$in.height }
if ($shot.ReturnValue -ne 0) { Refuse 'state' "there is no picture of the screen: code $($shot.ReturnValue)" }
Answer @{ pixels = [Convert]::ToBase64String([byte[]]$shot.ImageData) }
