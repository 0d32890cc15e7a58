# Turns "kind <tab> file <tab> line <tab> note" lines, sorted by file, into Markdown.
BEGIN { FS = "\t" }
{
    total++
    kinds[$1]++
    if (!($2 in files)) { order[++count] = $2 }
    files[$2]++
    notes[$2] = notes[$2] sprintf("- line %d, %s: %s\n", $3, $1, $4)
}
END {
    printf "# Open notes in %s\n\n", folder
    if (!total) { print "Nothing is left to do."; exit }
    printf "%d notes in %d files: %d TODO, %d FIXME, %d XXX\n", total, count, kinds["TODO"], kinds["FIXME"], kinds["XXX"]
    for (i = 1; i <= count; i++) {
        printf "\n## %s (%d)\n\n%s", order[i], files[order[i]], notes[order[i]]
    }
}
