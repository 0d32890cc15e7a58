Answer @{ machines = @(Hyper-V\Get-VM | ForEach-Object { @{ id = "$($_.Id)"; name = "$($_.Name)"; state = "$($_.State)" } }) }
