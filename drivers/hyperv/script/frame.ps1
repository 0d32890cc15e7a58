$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
try { [Console]::OutputEncoding = New-Object Text.UTF8Encoding $false } catch { } # without a console there is none to set

# Answer says one value, in a form that no code page, banner or warning can spoil.
function Answer($value) {
  $json = ConvertTo-Json -Compress -Depth 5 -InputObject $value
  [Console]::Out.WriteLine('assay-answer ' + [Convert]::ToBase64String([Text.Encoding]::UTF8.GetBytes($json)))
}

# Refuse ends the script for a reason that is a word of ours: Windows' own texts
# are in the user's language.
function Refuse([string]$code, [string]$message) {
  [Console]::Error.WriteLine("assay-error $code | $message")
  exit 3
}

function Find-Machine([string]$id) {
  $found = @(Hyper-V\Get-VM | Where-Object { "$($_.Id)" -eq $id })
  if ($found.Count -ne 1) { Refuse 'missing' "no virtual machine has the id $id" }
  $found[0]
}

function Find-Checkpoint($vm, [string]$id) {
  $found = @(Hyper-V\Get-VMSnapshot -VM $vm | Where-Object { "$($_.Id)" -eq $id })
  if ($found.Count -ne 1) { Refuse 'missing' "no checkpoint of $($vm.Name) has the id $id" }
  $found[0]
}

try {
  $in = ConvertFrom-Json ([Text.Encoding]::UTF8.GetString([Convert]::FromBase64String('INPUT')))
BODY
} catch {
  $code = '{0} 0x{1:X8}' -f $_.FullyQualifiedErrorId, $_.Exception.HResult
  [Console]::Error.WriteLine("assay-error $code | $($_.Exception.Message)")
  exit 1
}
