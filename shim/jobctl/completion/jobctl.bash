# bash completion for jobshim and jobctl (bash 4.4 or newer). jobctl itself says what may come next.
# Nothing that stands on the command line or in a job is expanded or run.
# shellcheck shell=bash

# Splits a command line into `words`, without their quotes; `starts` says where they begin. The last
# word is the one at the end, which may be empty, and `open_quote` the quote that is open there.
# COMP_WORDS will not do: it keeps the quotes, and breaks words at = and :.
__jobctl_split() {
    local line=$1 word='' in_word='' char next i
    words=() starts=() open_quote=''
    for ((i = 0; i < ${#line}; i++)); do
        char=${line:i:1}
        if [[ -z $open_quote && $char == [[:blank:]] ]]; then
            [[ -z $in_word ]] || words+=("$word")
            word='' in_word=''
            continue
        fi
        [[ -n $in_word ]] || starts+=("$i")
        in_word=yes
        if [[ $char == "\\" && $open_quote != "'" ]]; then
            next=${line:i+1:1}
            # In double quotes, a backslash before most characters is just that.
            [[ -z $open_quote || $next == [\$\`\"\\] ]] || word+=$char
            word+=$next
            i=$((i + 1))
        elif [[ $char == "$open_quote" ]]; then
            open_quote=''
        elif [[ -z $open_quote && $char == [\'\"] ]]; then
            open_quote=$char
        else
            word+=$char
        fi
    done
    [[ -n $in_word ]] || starts+=("$i")
    words+=("$word")
}

# Completes a command line of its own, which begins at this offset of `line`.
__jobctl_other_command() {
    local offset=$1 replaced=$2 at=0 blanks i
    for ((i = 0; i < COMP_CWORD; i++)); do
        blanks=${line:at}
        blanks=${blanks%%[^[:blank:]]*}
        at=$((at + ${#blanks}))
        ((at < offset)) || break
        at=$((at + ${#COMP_WORDS[i]}))
    done
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$i"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$i"
    elif ((i < COMP_CWORD)); then
        compopt -o default
    else
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -c -- "$replaced")
    fi
}

# Puts the candidates into COMPREPLY, each as it is to be typed. `head` is what stands before the
# part of the word that readline replaces.
__jobctl_offer() {
    local IFS=/ head=$1 open_quote=$2 text i
    COMPREPLY=("${lines[@]%%$'\t'*}")
    COMPREPLY=("${COMPREPLY[@]#"$head"}")
    # One look at all of them: there may be thousands.
    [[ ${COMPREPLY[*]} == *[!a-zA-Z0-9._/=:@%+,-]* ]] || return 0
    for i in "${!COMPREPLY[@]}"; do
        text=${COMPREPLY[i]}
        case $open_quote in
            "'") text=${text//\'/\'\\\'\'} ;;
            '"')
                text=${text//\\/\\\\}
                text=${text//\"/\\\"}
                text=${text//\$/\\\$}
                text=${text//\`/\\\`}
                ;;
            *) printf -v text %q "$text" ;;
        esac
        COMPREPLY[i]=$text
    done
    # Readline does not close a quote behind a word that ends in one, even if it is the word's own.
    [[ -z $open_quote || ${#COMPREPLY[@]} -ne 1 || $text != *"$open_quote" ]] ||
        COMPREPLY[0]+=$open_quote
}

# Adds what the candidates mean, in columns. Only for a list: readline would insert it.
__jobctl_explain() {
    local width=0 screen=${COLUMNS:-80} i
    for i in "${!lines[@]}"; do
        [[ ${lines[i]} != *$'\t'* || ${#COMPREPLY[i]} -le $width ]] || width=${#COMPREPLY[i]}
    done
    for i in "${!lines[@]}"; do
        [[ ${lines[i]} == *$'\t'* ]] || continue
        printf -v "COMPREPLY[i]" '%-*s  (%s)' "$width" "${COMPREPLY[i]}" "${lines[i]#*$'\t'}"
        [[ ${#COMPREPLY[i]} -lt $screen || $((width + 8)) -ge $screen ]] ||
            COMPREPLY[i]="${COMPREPLY[i]:0:screen-3}…)"
    done
}

_jobctl() {
    local IFS=$' \t\n' program=${1##*/} replaced=$2 line=${COMP_LINE:0:COMP_POINT}
    local -a words starts lines
    local open_quote typed head rest offset
    COMPREPLY=()
    __jobctl_split "$line"
    mapfile -t lines < <(command jobctl __complete "$program" "${words[@]:1}" \
        </dev/null 2>/dev/null)
    ((${#lines[@]} > 0)) || return 0
    rest=${lines[-1]}
    unset 'lines[-1]'
    case $rest in
        ':command '*)
            offset=${starts[${rest#:command }]}
            __jobctl_other_command "$offset" "$replaced"
            return
            ;;
        :0) compopt -o default 2>/dev/null ;;
        :16) compopt -o dirnames 2>/dev/null ;;
    esac
    ((${#lines[@]} > 0)) || return 0
    compopt -o nosort 2>/dev/null
    typed=${line:starts[-1]}
    head=''
    [[ $typed != *"$replaced" ]] || head=${typed%"$replaced"}
    __jobctl_split "$head"
    __jobctl_offer "${words[-1]}" "$open_quote"
    # 63, 33 and 64: readline is to list the candidates.
    if ((${#lines[@]} > 1)) && [[ ${COMP_TYPE-} == @(63|33|64) ]]; then __jobctl_explain; fi
}

complete -F _jobctl jobctl jobshim
