# SPDX-License-Identifier: Apache-2.0

# Bash completion for affix-netprobe. It asks the program for its commands and options, so that it
# says what the installed one knows.

_affix_netprobe_words() {
	"$1" --help 2>/dev/null | sed -n "s/^  \($2[^ ,]*\).*/\1/p"
}

_affix_netprobe() {
	local program=${COMP_WORDS[0]} current=${COMP_WORDS[COMP_CWORD]}
	local previous=${COMP_WORDS[COMP_CWORD - 1]}
	COMPREPLY=()
	case $previous in
	--socket | --config)
		compopt -o filenames 2>/dev/null
		mapfile -t COMPREPLY < <(compgen -f -- "$current")
		;;
	--log-format) mapfile -t COMPREPLY < <(compgen -W 'text json' -- "$current") ;;
	--metrics) mapfile -t COMPREPLY < <(compgen -W '127.0.0.1:9417' -- "$current") ;;
	--sort)
		mapfile -t COMPREPLY < <(compgen -W 'rate bytes retransmits process remote start' -- "$current")
		;;
	--filter | --interval | --count) ;;
	*)
		if [[ $current == -* ]]; then
			mapfile -t COMPREPLY < <(compgen -W "$(_affix_netprobe_words "$program" --) --version" -- "$current")
		else
			mapfile -t COMPREPLY < <(compgen -W "$(_affix_netprobe_words "$program" '[a-z]')" -- "$current")
		fi
		;;
	esac
}

complete -F _affix_netprobe affix-netprobe
