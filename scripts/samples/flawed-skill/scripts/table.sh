# Prints the table of metrics. Sourced by run.sh.

# Reads "name <tab> value <tab> unit" lines; writes a line for each name with the
# number of values, the least, the mean and the most.
table() {
    sort | awk -F '\t' '
        function flush() {
            if (n) printf "%-20s %5d %10.2f %10.2f %10.2f  %s\n", name, n, least, sum / n, most, unit
        }
        BEGIN { printf "%-20s %5s %10s %10s %10s  %s\n", "metric", "runs", "least", "mean", "most", "unit" }
        $1 != name { flush(); name = $1; unit = $3; n = 0; sum = 0; least = $2; most = $2 }
        { n++; sum += $2; if ($2 < least) least = $2; if ($2 > most) most = $2 }
        END { flush() }
    '
}
