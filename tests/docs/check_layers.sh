#!/bin/sh
# check_layers.sh SOURCE: a file of src/ includes its own layer and the layers below, nothing else.
set -eu
cd "$1/src"

bad=0
allowed=
for layer in base os task stream service server; do
    [ -d "$layer" ] || { echo "There is no layer $layer." && exit 1; }
    allowed=$allowed${allowed:+|}$layer
    grep -rn '#include "' "$layer" | grep -vE "#include \"($allowed)/[a-z0-9_]+\.h\"" && bad=1
done
[ "$bad" -eq 0 ] || echo "These include what stands above their layer."
exit "$bad"
