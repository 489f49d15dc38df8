# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_paas_global_optspecs
    string join \n home= host= client= json q/quiet no-color h/help V/version
end

function __fish_paas_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_paas_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_paas_using_subcommand
    set -l cmd (__fish_paas_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c paas -n "__fish_paas_needs_command" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_needs_command" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_needs_command" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_needs_command" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_needs_command" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_needs_command" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_needs_command" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_needs_command" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_needs_command" -f -a "apps" -d 'The apps of a tenant: deployed again, and the tokens by which others deploy them'
complete -c paas -n "__fish_paas_needs_command" -f -a "audit" -d 'Show who changed what, when and from where, and what was refused'
complete -c paas -n "__fish_paas_needs_command" -f -a "builds" -d 'List and cancel the builds of an app, and show their logs'
complete -c paas -n "__fish_paas_needs_command" -f -a "down" -d 'End the running platform; apps keep running'
complete -c paas -n "__fish_paas_needs_command" -f -a "init" -d 'Write a commented paas.yml and add the git remotes to push to'
complete -c paas -n "__fish_paas_needs_command" -f -a "install" -d 'Make this machine a receive host: people push to its own sshd'
complete -c paas -n "__fish_paas_needs_command" -f -a "engine" -d 'Run apps in this machine\'s Docker and answer Marathon\'s REST API; runs until SIGTERM, tasks keep running then'
complete -c paas -n "__fish_paas_needs_command" -f -a "keys" -d 'Register, list and remove the SSH keys that may push'
complete -c paas -n "__fish_paas_needs_command" -f -a "stack" -d 'Make the default builder image'
complete -c paas -n "__fish_paas_needs_command" -f -a "status" -d 'Show what serves: Docker, the root Marathon, sshd, the tenants\' Marathons'
complete -c paas -n "__fish_paas_needs_command" -f -a "tenant" -d 'Create, list, show and delete tenants; their members, tokens and quotas'
complete -c paas -n "__fish_paas_needs_command" -f -a "uninstall" -d 'Take back what `paas install` made; the data stays'
complete -c paas -n "__fish_paas_needs_command" -f -a "up" -d 'Start the one-machine platform: the root engine and an sshd of its own'
complete -c paas -n "__fish_paas_needs_command" -f -a "users" -d 'List, show, rename and remove users'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -f -a "redeploy" -d 'Deploy again what was deployed last'
complete -c paas -n "__fish_paas_using_subcommand apps; and not __fish_seen_subcommand_from redeploy token" -f -a "token" -d 'Create, list and revoke the tokens by which keys that are no members deploy an app'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l no-cache -d 'Build anew, with an empty cache'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l force -d 'Take over from a deployment that holds the app'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from redeploy" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -f -a "create" -d 'Make a token for the app and show it, once: only its hash is kept'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -f -a "list" -d 'List the tokens of the app, or of all apps where none is named'
complete -c paas -n "__fish_paas_using_subcommand apps; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Revoke a token: nobody deploys by it any more, and what it deployed stays'
complete -c paas -n "__fish_paas_using_subcommand audit" -l tenant -d 'Of this tenant alone' -r
complete -c paas -n "__fish_paas_using_subcommand audit" -l user -d 'By this user alone' -r
complete -c paas -n "__fish_paas_using_subcommand audit" -l since -d 'Not older than this, such as `30m`, `12h`' -r
complete -c paas -n "__fish_paas_using_subcommand audit" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand audit" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand audit" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand audit" -s f -l follow -d 'Go on with what happens from now on'
complete -c paas -n "__fish_paas_using_subcommand audit" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand audit" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand audit" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand audit" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -f -a "list" -d 'List the builds, the newest first'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -f -a "show" -d 'Show all that is known of a build'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -f -a "log" -d 'Show what a build said'
complete -c paas -n "__fish_paas_using_subcommand builds; and not __fish_seen_subcommand_from list show log cancel" -f -a "cancel" -d 'End a build that is under way or waits for its turn'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -s f -l follow -d 'Go on until the build has ended'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from log" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l app -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand builds; and __fish_seen_subcommand_from cancel" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand down" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand down" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand down" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand down" -l apps -d 'End the apps too: remove all containers and networks of this platform. They are still asked for, so the next `paas up` starts them again'
complete -c paas -n "__fish_paas_using_subcommand down" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand down" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand down" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand down" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand init" -l app -d 'The app\'s name [default: what paas.yml says, else made of the directory\'s name]' -r
complete -c paas -n "__fish_paas_using_subcommand init" -l tenant -d 'A tenant to push to, by the remote `paas-NAME`; may be given several times' -r
complete -c paas -n "__fish_paas_using_subcommand init" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand init" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand init" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand init" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand init" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand init" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand init" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand init" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand install" -l user -d 'The system user [default: paas]' -r
complete -c paas -n "__fish_paas_using_subcommand install" -l root -d 'For tests: what `/etc` is in. systemd and the running sshd are left alone then' -r -F
complete -c paas -n "__fish_paas_using_subcommand install" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand install" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand install" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand install" -l authorized-keys -d 'Let sshd read a file of keys, for sites that forbid `AuthorizedKeysCommand`'
complete -c paas -n "__fish_paas_using_subcommand install" -l dry-run -d 'Say what would be done, and do nothing'
complete -c paas -n "__fish_paas_using_subcommand install" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand install" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand install" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand install" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand install" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand engine" -l listen -d 'Where to listen' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l state -d 'Where the state and the sandboxes of tasks are kept' -r -f -a "(__fish_complete_directories)"
complete -c paas -n "__fish_paas_using_subcommand engine" -l network -d 'The bridge network of the containers, made if missing [default: Docker\'s own]' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l address -d 'The address at which ports of apps are published' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l ports -d 'The ports that apps may be given' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l cpus -d 'The processors that apps may have in all [default: the machine\'s]' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l mem -d 'The memory that apps may have in all, in MiB [default: the machine\'s]' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l disk -d 'The disk space that apps may ask for in all, in MiB [default: that of the file system of the state]' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l docker -d 'Docker\'s socket' -r -F
complete -c paas -n "__fish_paas_using_subcommand engine" -l max-concurrent-requests -d 'How many requests are answered at the same time; those above get 503 [default: any number]' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l access-control-allow-origin -d 'Let web pages of that origin read answers; `*` is any' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l task-launch-timeout -d 'Give up launches of tasks that take longer, and try again' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l keep-sandboxes -d 'How long the files of a task are kept after it ended' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l label -d 'A label for every container and network that is made' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand engine" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand engine" -l allow-commands -d 'Let apps be processes of this machine, with this engine\'s user'
complete -c paas -n "__fish_paas_using_subcommand engine" -l end-commands-on-exit -d 'End the processes of apps with the engine; its next start runs them again'
complete -c paas -n "__fish_paas_using_subcommand engine" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand engine" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand engine" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand engine" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand engine" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -f -a "add" -d 'Register a public key to a user, who is made with the first one'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -f -a "list" -d 'List the registered keys and whose they are'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -f -a "rename" -d 'Give a key another name'
complete -c paas -n "__fish_paas_using_subcommand keys; and not __fish_seen_subcommand_from add list rename remove" -f -a "remove" -d 'Remove a key: from then on it opens nothing'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -l user -d 'Whose key it is [default: the name in the key\'s comment]' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from add" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from rename" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand keys; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand stack; and not __fish_seen_subcommand_from build" -f -a "build" -d 'Make the builder image, with debootstrap or on top of another image'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l from -d 'Put the stack on this image of the Debian family, rather than on a new Debian' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l tag -d 'Name of the image [default: paas/stack:12, with the suite\'s number]' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l suite -d 'Release of Debian' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l mirror -d 'Debian\'s mirror [default: the one of this host\'s apt]' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l cache -d 'Where root file systems are made and kept' -r -F
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l force -d 'Make the image again, though one of the same recipe is there'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l fresh -d 'Use nothing that was kept: a new Debian, with the newest packages'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -s v -l verbose -d 'Show what debootstrap and apt say'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand stack; and __fish_seen_subcommand_from build" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand status" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand status" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand status" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand status" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand status" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand status" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand status" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "create" -d 'Create a tenant: start a Marathon of its own and wait until it serves'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "list" -d 'List the tenants'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "show" -d 'Show a tenant: its Marathon, its apps, how to push to it'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "delete" -d 'Delete a tenant: its apps, their repositories, builds and releases, and its Marathon'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "members" -d 'List, add and remove members, and change their roles'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "token" -d 'Create, list and revoke the tokens with which people join the tenant'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "quota" -d 'Set and show how much of the platform a tenant may have'
complete -c paas -n "__fish_paas_using_subcommand tenant; and not __fish_seen_subcommand_from create list show delete members token quota join" -f -a "join" -d 'Become a member of a tenant with a token, which is read from the terminal or standard input'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from create" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -s y -l yes -d 'Do not ask for the name'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -l force -d 'Also when apps run, or when the tenant\'s Marathon does not answer'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from delete" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -f -a "list" -d 'List the members and their roles'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -f -a "add" -d 'Make a user a member'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -f -a "remove" -d 'Remove a member, who then may nothing in the tenant'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from members" -f -a "set-role" -d 'Give a member another role'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -l tenant -d '[default: where the git remote of the work tree leads]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -f -a "create" -d 'Make a token and show it, once: only its hash is kept'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -f -a "list" -d 'List the tokens, which are known by their ids'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from token" -f -a "revoke" -d 'Revoke a token: from then on it opens nothing'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -f -a "set" -d 'Change limits; the word `none` lifts one, and what is not named stays'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from quota" -f -a "show" -d 'Show the limits, and how much of them is in use'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -l name -d 'What you are called from now on, if your key is a new one [default: what you are called on your own machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand tenant; and __fish_seen_subcommand_from join" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l root -d 'For tests: what `/etc` is in. systemd and the running sshd are left alone then' -r -F
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l purge -d 'Remove everything else too: the apps, their repositories and releases, users and keys, the system user'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -s y -l yes -d 'With `--purge`, do not ask'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand uninstall" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand up" -l ssh-port -d 'Port of the platform\'s sshd [default: 2222]' -r
complete -c paas -n "__fish_paas_using_subcommand up" -l engine-port -d 'Port of the root engine [default: 8080]' -r
complete -c paas -n "__fish_paas_using_subcommand up" -l user -d 'The system user, when started by root [default: paas]' -r
complete -c paas -n "__fish_paas_using_subcommand up" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand up" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand up" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand up" -l detach -d 'Return once everything serves, and go on in the background'
complete -c paas -n "__fish_paas_using_subcommand up" -l report -d 'Set for the process that `--detach` leaves behind: tell the parent on stdout how the start went'
complete -c paas -n "__fish_paas_using_subcommand up" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand up" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand up" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c paas -n "__fish_paas_using_subcommand up" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -f -a "list" -d 'List the users'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -f -a "show" -d 'Show a user: keys, tenants and roles'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -f -a "rename" -d 'Give a user another name; keys and memberships stay'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -f -a "remove" -d 'Remove a user with all keys and memberships, at once'
complete -c paas -n "__fish_paas_using_subcommand users; and not __fish_seen_subcommand_from list show rename remove set-admin" -f -a "set-admin" -d 'Make a user an admin of this host, who may do anything, or no longer'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from list" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from rename" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from remove" -s V -l version -d 'Print version'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -l home -d 'The platform\'s home [default: /var/lib/paas as root, else ~/.local/share/paas]' -r -F
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -l host -d 'The receive host: `[USER@]HOST[:PORT]` [default: where the git remotes `paas-*` lead, else `host` in ~/.config/paas/config.yml, else this machine]' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -l client -d 'What the `paas` of a laptop tells of itself' -r
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -l json -d 'Answer with one JSON document'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -s q -l quiet -d 'Say nothing but answers, warnings and failures'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -l no-color -d 'Use no colours; `NO_COLOR` does the same'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -s h -l help -d 'Print help'
complete -c paas -n "__fish_paas_using_subcommand users; and __fish_seen_subcommand_from set-admin" -s V -l version -d 'Print version'
