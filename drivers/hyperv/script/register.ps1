# A port of a guest can be reached from here only if the registry has it.
$key = 'HKLM:\SOFTWARE\Microsoft\Windows NT\CurrentVersion\Virtualization\GuestCommunicationServices\' + $in.service
if (-not (Test-Path -LiteralPath $key)) {
  try {
    New-Item -Path $key | Out-Null
    New-ItemProperty -LiteralPath $key -Name 'ElementName' -Value 'assay agent' | Out-Null
  } catch {
    Answer @{ socket = $false; why = "$($_.Exception.Message)" }
    exit 0
  }
}
Answer @{ socket = $true; why = '' }
