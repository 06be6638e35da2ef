#compdef jobctl jobshim
# zsh completion for jobshim and jobctl. jobctl itself says what may come next. Nothing that stands
# on the command line or in a job is expanded or run.

_jobctl() {
  local program=${words[1]:t} rest line expl
  local -a lines candidates shown
  local -i width
  lines=("${(@f)$(command jobctl __complete "$program" "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" \
    </dev/null 2>/dev/null)}")
  rest=${lines[-1]}
  lines[-1]=()
  case $rest in
    (':command '*)
      shift ${rest#:command } words
      (( CURRENT -= ${rest#:command } ))
      _normal
      return
      ;;
    (:0)
      compset -P 1 '--[^=]#='
      _files
      return
      ;;
    (:16)
      compset -P 1 '--[^=]#='
      _files -/
      return
      ;;
  esac
  candidates=("${(@)lines%%$'\t'*}")
  (( $#candidates )) || return 1
  if [[ "$lines" != *$'\t'* ]]; then
    _wanted -V candidates expl candidate compadd -a candidates
    return
  fi
  # Not by _describe, which puts candidates that mean the same into one line, whatever their order.
  for line in "${(@)lines}"; do
    [[ $line != *$'\t'* ]] || (( ${#line%%$'\t'*} <= width )) || width=${#line%%$'\t'*}
  done
  for line in "${(@)lines}"; do
    [[ $line != *$'\t'* ]] || line="${(r:width:)line%%$'\t'*}  -- ${line#*$'\t'}"
    shown+=("${line[1,COLUMNS-1]}")
  done
  _wanted -V candidates expl candidate compadd -l -d shown -a candidates
}

# In a directory of $fpath, this is the body of the function that completes; else it was sourced.
if [[ $funcstack[1] == _jobctl ]]; then
  _jobctl "$@"
else
  compdef _jobctl jobctl jobshim
fi
