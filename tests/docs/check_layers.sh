#!/bin/sh
# check_layers.sh SOURCE: a file of src/ includes its own layer and those below it, nothing else. The
# server knows no service, so that a service can be added without touching it.
set -eu
cd "$1/src"

bad=0

# may_include LAYER ALLOWED...
may_include() {
    layer=$1
    allowed=$(printf '%s|' "$@")
    [ -d "$layer" ] || { echo "There is no layer $layer." && exit 1; }
    if grep -rn '#include "' "$layer" | grep -vE "#include \"(${allowed%|})/[a-z0-9_]+\.h\""; then
        echo "$layer/ may include $* only."
        bad=1
    fi
}

may_include base
may_include os base
may_include task os base
may_include stream task os base
may_include service stream task os base
may_include server stream task os base
exit "$bad"
