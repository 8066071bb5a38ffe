# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_fwctl_global_optspecs
    string join \n policy= color= q/quiet v/verbose h/help V/version
end

function __fish_fwctl_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_fwctl_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_fwctl_using_subcommand
    set -l cmd (__fish_fwctl_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c fwctl -n "__fish_fwctl_needs_command" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_needs_command" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_needs_command" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_needs_command" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fwctl -n "__fish_fwctl_needs_command" -s V -l version -d 'Print version'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "check" -d 'Check a policy file, on any machine'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "exposure" -d 'Show who can reach what on this host, by the rules of every tool'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "explain" -d 'Show one connection through every hook, rule by rule'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "plan" -d 'Show what apply would change, for people and in the rules'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "apply" -d 'Make this host as the policy says; the kernel takes it back unless it is confirmed'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "confirm" -d 'Keep the change that waits to be confirmed'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "rollback" -d 'Take back the change that waits, or go back to an earlier generation'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "history" -d 'List the generations, or show what one of them changed'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "status" -d 'Show what is in force, and what was changed by hand'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "off" -d 'Take fwctl\'s table out; the rules of others stay'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "restore" -d 'Load the confirmed generation, as boot does'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "watch" -d 'Put the confirmed generation back whenever someone flushes the rules'
complete -c fwctl -n "__fish_fwctl_needs_command" -f -a "snapshot" -d 'Print this host\'s state as JSON, to plan elsewhere'
complete -c fwctl -n "__fish_fwctl_using_subcommand check" -l format -d 'What to print' -r -f -a "text\t'For people'
json\t'For programs: "fwctl.check/1"'"
complete -c fwctl -n "__fish_fwctl_using_subcommand check" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand check" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand check" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand check" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand check" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -l snapshot -d 'Use the host that this file of `fwctl snapshot` shows, instead of this one' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -l format -d 'What to print' -r -f -a "text\t'For people'
json\t'For programs: "fwctl.plan/1"'
markdown\t'For a merge request'"
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -l check -d 'Exit with 5 where more is open than the policy lets, or that cannot be ruled out'
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -l ports -d 'Show every port too that would be reachable if something listened'
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand exposure" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -l to -d 'The dialled address [default: this host\'s where the connection comes in]' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -l via -d 'The interface by which it comes [default: the one by which this host would answer]' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -l snapshot -d 'Use the host that this file of `fwctl snapshot` shows, instead of this one' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -l format -d 'What to print' -r -f -a "text\t'For people'
json\t'For programs: "fwctl.check/1"'"
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand explain" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -l snapshot -d 'Use the host that this file of `fwctl snapshot` shows, instead of this one' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -l format -d 'What to print' -r -f -a "text\t'For people'
json\t'For programs: "fwctl.plan/1"'
markdown\t'For a merge request'"
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -l out -d 'Save the plan in this file as well: `fwctl apply FILE` makes it, unless the host has changed since. `--snapshot` makes it for a server from another machine' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -l detailed-exitcode -d 'Exit with 3 where there are changes'
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand plan" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l confirm-within -d 'How long the change waits to be confirmed before the kernel takes it back: 10s to 1h [default: the policy\'s, else 60s]' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l message -d 'Why; `fwctl history` shows it' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l no-confirm -d 'Keep the change at once, without waiting to be confirmed; the guard still stands'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l confirm-on-reconnect -d 'Keep the change as soon as the same user has logged in anew over SSH, from outside. A connection that was open before does not count, nor does a login that fails'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l yes -d 'Ask nothing beforehand'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l override-guard -d 'Apply although the guard refuses; it says what that risks'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -l cut -d 'Once the change is kept, close the connections that are open and that it does not let in; the plan lists them. Your own SSH sessions are never closed'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand apply" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand confirm" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand confirm" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand confirm" -l on-reconnect -d 'Wait, and keep it once the one who made it has logged in anew over SSH, from outside'
complete -c fwctl -n "__fish_fwctl_using_subcommand confirm" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand confirm" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand confirm" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l confirm-within -d 'How long the change waits to be confirmed before the kernel takes it back: 10s to 1h [default: the policy\'s, else 60s]' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l message -d 'Why; `fwctl history` shows it' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l no-confirm -d 'Keep the change at once, without waiting to be confirmed; the guard still stands'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l confirm-on-reconnect -d 'Keep the change as soon as the same user has logged in anew over SSH, from outside. A connection that was open before does not count, nor does a login that fails'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l yes -d 'Ask nothing beforehand'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l override-guard -d 'Go back although the guard refuses; it says what that risks'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -l cut -d 'Close the connections that only the change which is taken back has let in; with a generation, those that it does not let in. Your own SSH sessions are never closed'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand rollback" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand history" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand history" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand history" -l policy-text -d 'Print the policy from which it was made, as it was written'
complete -c fwctl -n "__fish_fwctl_using_subcommand history" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand history" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand history" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -l snapshot -d 'Use the host that this file of `fwctl snapshot` shows, instead of this one' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -l format -d 'What to print' -r -f -a "text\t'For people'
json\t'For programs: "fwctl.status/1"'"
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand status" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l confirm-within -d 'How long the change waits to be confirmed before the kernel takes it back: 10s to 1h [default: the policy\'s, else 60s]' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l message -d 'Why; `fwctl history` shows it' -r
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l no-confirm -d 'Keep the change at once, without waiting to be confirmed; the guard still stands'
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l confirm-on-reconnect -d 'Keep the change as soon as the same user has logged in anew over SSH, from outside. A connection that was open before does not count, nor does a login that fails'
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -l yes -d 'Ask nothing beforehand'
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand off" -s h -l help -d 'Print help'
complete -c fwctl -n "__fish_fwctl_using_subcommand restore" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand restore" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand restore" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand restore" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fwctl -n "__fish_fwctl_using_subcommand watch" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand watch" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand watch" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand watch" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand watch" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c fwctl -n "__fish_fwctl_using_subcommand snapshot" -l policy -d 'The policy file [default: /etc/fwctl/policy.toml]' -r -F
complete -c fwctl -n "__fish_fwctl_using_subcommand snapshot" -l color -d 'When to use colours [default: auto]; NO_COLOR is honoured' -r -f -a "auto\t'Where the stream is a terminal'
always\t'Always'
never\t'Never'"
complete -c fwctl -n "__fish_fwctl_using_subcommand snapshot" -s q -l quiet -d 'Print results, warnings and failures only'
complete -c fwctl -n "__fish_fwctl_using_subcommand snapshot" -s v -l verbose -d 'Print everything: long lists, endpoints that nobody reaches'
complete -c fwctl -n "__fish_fwctl_using_subcommand snapshot" -s h -l help -d 'Print help'
