# SPDX-License-Identifier: Apache-2.0

# Bash completion for affix. It asks the program for its commands and options, so that it says what
# the installed one knows.

# The words that start the lines of a help text: commands, or options.
_affix_words() {
	"$@" --help 2>/dev/null | sed -n 's/^  \([a-z-][^ ]*\) .*/\1/p'
}

# What an option's value is called in the help text; nothing for a flag.
_affix_value() {
	# shellcheck disable=SC2086 # a command of two words
	"$1" $2 --help 2>/dev/null | sed -n "s/^  $3 \([^ ][^ ]*\)  *.*/\1/p"
}

# What a command's operands are called: the synopsis without its options.
_affix_operands() {
	# shellcheck disable=SC2086 # a command of two words
	"$1" $2 --help 2>/dev/null | sed -n -e "1s/^usage: affix $2//" \
		-e '1s/\[-[^]]*\]//g' -e '1s/-[^ ]* [^ ]*//g' -e '1s/[][|…]/ /g' -e 1p
}

_affix_installed() {
	local directory
	for directory in "$1"/opt/affix/*/; do
		directory=${directory%/}
		[[ -d $directory ]] && printf '%s\n' "${directory##*/}"
	done
}

# The candidates for something that the help text calls by one of the names given.
_affix_candidates() {
	local program=$1 root=$2 current=$3 name
	shift 3
	for name; do
		case $name in
		ID) compgen -W "$(_affix_installed "$root")" -- "$current" ;;
		COMMAND) compgen -W "$(_affix_words "$program")" -- "$current" ;;
		VERB)
			if ((COMP_CWORD == 2)); then
				compgen -W "$(_affix_words "$program" "${COMP_WORDS[1]}")" -- "$current" | grep -v ^-
			else
				compgen -f -- "$current"
			fi
			;;
		DIR | OUT | OUTDIR) compgen -d -- "$current" ;;
		OS/ARCH=PATH) compgen -W 'linux/amd64= linux/arm64=' -- "$current" ;;
		OS/ARCH) compgen -W 'linux/amd64 linux/arm64' -- "$current" ;;
		FILE | ID=FILE | IMAGE | SOCKET | TAR | BUNDLE | PUB | SEC | PATH | addon.yaml) compgen -f -- "$current" ;;
		[a-z]*) compgen -W "$name" -- "$current" ;; # a word as it is
		esac
	done
}

_affix() {
	local program=${COMP_WORDS[0]} command=${COMP_WORDS[1]}
	local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
	local root='' value='' i
	COMPREPLY=()

	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W "$(_affix_words "$program") --help --version" -- "$current")
		return
	fi
	# Its verbs have options of their own.
	((COMP_CWORD > 2)) && [[ $command == image || $command == vm ]] && command="$command ${COMP_WORDS[2]}"
	# Bash makes a word of its own of '='.
	if [[ $current == = ]]; then
		current=''
	elif [[ $previous == = ]]; then
		previous=${COMP_WORDS[COMP_CWORD - 2]}
	fi
	for ((i = 2; i < COMP_CWORD; i++)); do
		[[ ${COMP_WORDS[i]} == --root ]] && root=${COMP_WORDS[i + 1]}
	done
	compopt -o filenames 2>/dev/null
	if [[ $previous == */*  && ${COMP_WORDS[COMP_CWORD - 1]} == = ]]; then
		value=FILE
	elif [[ $previous == -* ]]; then
		value=$(_affix_value "$program" "$command" "$previous")
	fi
	if [[ $value ]]; then
		[[ $value == OS/ARCH=PATH ]] && compopt -o nospace 2>/dev/null
		mapfile -t COMPREPLY < <(_affix_candidates "$program" "$root" "$current" "$value")
	elif [[ $current == -* ]]; then
		# shellcheck disable=SC2086 # a command of two words
		mapfile -t COMPREPLY < <(compgen -W "$(_affix_words "$program" $command) --help" -- "$current")
	else
		# shellcheck disable=SC2046 # words are wanted
		mapfile -t COMPREPLY < <(_affix_candidates "$program" "$root" "$current" \
			$(_affix_operands "$program" "$command"))
	fi
}

complete -F _affix affix
