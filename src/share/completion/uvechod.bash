# Completion of uvechod(8) for bash. It needs no functions of bash-completion, which only loads it.
# shellcheck shell=bash

_uvechod() {
    local -a options=(
        -p --port=
        -b --bind=
        --socket-mode=
        --prefix=
        --chunk=
        --rfc862
        --backlog=
        --max-connections=
        --max-per-source=
        --max-rate=
        --idle-timeout=
        --send-timeout=
        --drain-timeout=
        --proxy-from=
        --proxy-timeout=
        --keepalive=
        --workers=
        --busy-poll=
        --udp
        --udp-any-source
        --udp-rate=
        --keep
        --metrics=
        --check-handover
        -q --quiet
        -v --verbose
        -h --help
        -V --version
    )
    # The line as it was typed: in COMP_WORDS, --bind=unix:/path would be cut at = and :.
    local line=${COMP_LINE:0:COMP_POINT}
    local word=${line##*[[:space:]]}
    local -a before
    read -ra before <<<"${line%"$word"}"

    local option='' value=$word head=''
    if [[ $word == --*=* ]]; then
        option=${word%%=*} value=${word#*=}
        head=$option=
    elif ((${#before[@]} > 1)); then
        option=${before[-1]}
    fi

    local candidates
    case $option in
    -p | --port) candidates='0 7 25000' ;;
    -b | --bind) candidates='0.0.0.0 127.0.0.1 :: ::1 unix:/ unix:@' ;;
    --socket-mode) candidates='0600 0660 0666' ;;
    --prefix) candidates='GOT:' ;;
    --chunk) candidates='1000 64k' ;;
    --backlog) candidates='128 4096 65535' ;;
    --max-connections) candidates='100 1000 10000 100000' ;;
    --max-per-source) candidates='0 10 100 1000' ;;
    --max-rate) candidates='0 100 1000 10000' ;;
    --idle-timeout) candidates='0 60s 10m 1h' ;;
    --send-timeout) candidates='0 30s 60s 10m' ;;
    --drain-timeout) candidates='0 10s 1m 10m' ;;
    --proxy-from) candidates='unix 127.0.0.0/8 10.0.0.0/8' ;;
    --proxy-timeout) candidates='5s 10s 1m' ;;
    --keepalive) candidates='0 60s 10m 1h' ;;
    --udp) candidates='only' ;;
    --udp-rate) candidates='0 10 100 1000' ;;
    --workers) candidates='0 1 2 4' ;;
    --busy-poll) candidates='0 50 200' ;;
    --metrics) candidates='127.0.0.1:9862 [::1]:9862 unix:/ unix:@' ;;
    *) # the word before is no option that takes a value
        candidates=${options[*]}
        value=$word head=''
        ;;
    esac

    # Line by line, because an array filled with $() would have * and ? expanded.
    local candidate
    COMPREPLY=()
    while read -r candidate; do
        COMPREPLY+=("$head$candidate")
    done < <(
        compgen -W "$candidates" -- "$value"
        case $option in -b | --bind) compgen -A hostname -- "$value" ;; esac
    )
    # After --port= and unix:/ the word is not complete: no blank is added.
    [[ ${COMPREPLY[0]-} != *[=/@] ]] || compopt -o nospace 2>/dev/null

    # bash replaces only the part of the word after the last character that breaks words.
    local kept=${word%"${word##*["$COMP_WORDBREAKS"]}"}
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
}

complete -F _uvechod uvechod
