# awk -v name=NAME -f mutate.awk MUTATIONS SOURCE: prints the source with the planted bug of that
# name. Fails if the lines to be replaced do not stand exactly once in the source.

function trimmed(line) {
    sub(/[ \t]+$/, "", line)
    return line
}

# Whether the lines to be replaced stand at this line of the source.
function stands_at(line,    i) {
    for (i = 1; i <= olds; i++)
        if (source[line + i - 1] != old[i])
            return 0
    return 1
}

FNR == NR {
    if (/^== /) {
        here = index($0, "== " name ":") == 1
    } else if (here && /^- ?/) {
        old[++olds] = trimmed(substr($0, 3))
    } else if (here && /^\+ ?/) {
        new[++news] = trimmed(substr($0, 3))
    }
    next
}

{ source[++lines] = trimmed($0) }

END {
    for (i = 1; i <= lines; i++)
        if (olds > 0 && stands_at(i)) {
            found++
            at = i
        }
    if (found != 1) {
        print name ": its lines stand " (found + 0) " times in the source" > "/dev/stderr"
        exit 1
    }
    for (i = 1; i < at; i++)
        print source[i]
    for (i = 1; i <= news; i++)
        print new[i]
    for (i = at + olds; i <= lines; i++)
        print source[i]
}
