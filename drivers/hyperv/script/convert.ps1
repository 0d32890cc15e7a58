Hyper-V\Convert-VHD -Path $in.from -DestinationPath $in.to -VHDType Dynamic
if (-not (Test-Path -LiteralPath $in.to)) { Refuse 'lost' "there is no $($in.to), although Hyper-V complained of nothing" }
Answer @{ }
