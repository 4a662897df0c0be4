#!/bin/sh
# check_faults.sh SOURCE BUILD: each line of tests/FAULTS.md is complete, and the tests that it names
# exist. A suite is a test of ctest whose file has the case, or a folder of tests/ of which a file
# has it or is it; other tests of ctest than unit.* and e2e.* are taken for their folder, too. A
# command runs a test of ctest, or a script that is there.
set -eu
cd "$1"

{
    # What there is: "suite NAME", "case SUITE NAME" and "script PATH".
    ctest --test-dir "$2" -N | sed -n 's/^ *Test *#[0-9]*: /suite /p'
    grep -o '^static void [a-z0-9_]*(' tests/unit/*/test_*.c tests/e2e/test_*.c |
        sed 's|^tests/\([a-z0-9]*\)/.*test_\([a-z0-9_]*\)\.c:static void \([a-z0-9_]*\)(|case \1.\2 \3|'
    for folder in tests/*/; do
        suite=$(basename "$folder")
        echo "suite $suite"
        {
            find "$folder" -type f | sed 's|.*/||'
            find "$folder" \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -name '*.txt' \) \
                -exec grep -hoE '[a-z0-9_.]{4,}' {} +
        } | sort -u | sed "s/^/case $suite /"
    done
    find tests cmake -name '*.sh' | sed 's/^/script /'
    # What the page says.
    sed -n -e '/^| promise |/d' -e '/^|---/d' -e '/^|/p' tests/FAULTS.md
} | awk '
    function complain(text) { print "tests/FAULTS.md: " text; bad = 1 }

    # Whether a file of the folder names the suite: not every build has the tests of all folders.
    function named(folder, suite,    name) {
        name = substr(suite, length(folder) + 2)
        return folder != suite && ((folder, suite) in cases || (folder, name) in cases)
    }

    # tests: "suite: case, case; suite: case"
    function check_tests(tests,    groups, names, n, m, i, j) {
        n = split(tests, groups, /; */)
        for (i = 1; i <= n; i++) {
            suite = groups[i]
            sub(/:.*/, "", suite)
            folder = suite
            if (suite !~ /^(unit|e2e)\./) sub(/\..*/, "", folder)
            if (!(suite in suites) && !named(folder, suite)) complain("there is no suite " suite)
            m = split(substr(groups[i], length(suite) + 2), names, /, */)
            if (m == 0) complain(suite " names no case")
            for (j = 1; j <= m; j++) {
                gsub(/ /, "", names[j])
                if (!((suite, names[j]) in cases) && !((folder, names[j]) in cases))
                    complain(suite " has no case " names[j])
            }
        }
    }

    function check_command(command,    words, found, folder) {
        gsub(/[`\047]/, "", command)
        split(command, words, " ")
        if (words[1] == "sh" && words[2] in scripts) return
        folder = words[3]
        sub(/\..*/, "", folder)
        found = named(folder, words[3])
        for (suite in suites) found = found || suite ~ words[3]
        if (words[1] words[2] != "ctest-R" || words[3] == "" || !found)
            complain("\"" command "\" runs nothing")
    }

    $1 == "suite" { suites[$2] }
    $1 == "case" { cases[$2, $3] }
    $1 == "script" { scripts[$2] }
    /^\|/ {
        rows++
        gsub(/\\\|/, "\001")
        columns = split($0, column, / *\| */)
        for (i = 1; i <= columns; i++) gsub(/\001/, "|", column[i])
        if (columns != 7) complain("a line with " columns - 2 " columns, not 5: " $0)
        for (i = 2; i <= 6; i++) if (column[i] == "") complain("an empty column: " $0)
        check_tests(column[4])
        check_command(column[5])
    }
    END {
        if (!rows) complain("there are no lines")
        exit bad
    }'
