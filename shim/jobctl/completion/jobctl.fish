# fish completion for jobshim and jobctl. jobctl itself says what may come next. Nothing that stands
# on the command line or in a job is expanded or run.

function __jobctl_complete
    set -l before (commandline -opc)
    set -l raw (commandline -ct)
    set -l typed (string unescape -- "$raw")
    set -l program (string replace -r '.*/' '' -- $before[1])
    set -l lines (command jobctl __complete $program $before[2..] "$typed" </dev/null 2>/dev/null)
    set -q lines[1]; or return
    set -l rest $lines[-1]
    set -e lines[-1]
    switch $rest
        case ':command *'
            set -l first (math 1 + (string replace ':command ' '' -- $rest))
            complete -C (string join ' ' -- (string escape -- $before[$first..]) "$raw")
        case :0 :16
            set -l head (string match -r -- '^--[^=]*=' "$raw")
            set -l files (complete -C "'' "(string replace -r -- '^--[^=]*=' '' "$raw"))
            test $rest = :0; or set files (string match -r -- '^[^\t]*/(?:\t.*)?$' $files)
            printf '%s\n' "$head"$files
        case '*'
            printf '%s\n' $lines
    end
end

complete -c jobctl -f -k -a '(__jobctl_complete)'
complete -c jobshim -f -k -a '(__jobctl_complete)'
