$vm = Find-Machine $in.id
Hyper-V\Get-VMSnapshot -VM $vm | Where-Object { $in.checkpoints -contains "$($_.Id)" } | Hyper-V\Remove-VMSnapshot -Confirm:$false
Answer @{ }
