"""The scripts of `taut completion`: what each shell runs when somebody presses Tab.

All of them ask the command that was typed (`.venv/bin/taut`, too) for lines `VALUE<Tab>HELP`, and
complete file names where it gives none. Their words are split by the shells in different ways:

- bash ends a word at `=`, so `--sort=by` comes in three pieces; the line is handed on as it is;
- zsh keeps `--sort=` in the word, and takes it off before it looks (`compset`); a file of `fpath`
  is the function itself at its first call, and must complete there too, not only say that it can;
- fish keeps it as well, and wants it back in front of what is given.
"""

from __future__ import annotations

from typing import Final

ASKED: Final = "_TAUT_COMPLETE"  # what a shell sets when it asks, as click names it
ASK: Final = f"env {ASKED}=complete_fish _TYPER_COMPLETE_FISH_ACTION=get-args _TYPER_COMPLETE_ARGS="

BASH: Final = f"""\
_taut_completion() {{
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        [[ -n $line ]] && COMPREPLY+=("${{line%%$'\\t'*}}")
    done < <({ASK}"${{COMP_LINE:0:COMP_POINT}}" "$1" 2>/dev/null)
}}

complete -o bashdefault -o default -F _taut_completion taut
"""

ZSH: Final = f"""\
#compdef taut

_taut_completion() {{
    local line asked="${{(j: :)words[1,CURRENT-1]}} $PREFIX"
    local -a found
    for line in "${{(@f)$({ASK}$asked ${{~words[1]}} 2>/dev/null)}}"; do
        line=${{line//:/\\:}}
        [[ -n $line ]] && found+=("${{line/$'\\t'/:}}")
    done
    compset -P '--*='
    if (( $#found )); then
        _describe -V taut found
    else
        _files
    fi
}}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    _taut_completion "$@"
else
    compdef _taut_completion taut
fi
"""

FISH: Final = f"""\
function __taut_finds
    set -l words (commandline -opc)
    set -l before (string match -r -- '^--[^=]*=' (commandline -ct))
    set -g __taut_found ({ASK}(commandline -cp) $words[1] 2>/dev/null |
        string match -r '.+' | string replace -r '^' -- "$before")
    set -q __taut_found[1]
end

complete --command taut --no-files --condition __taut_finds --arguments '$__taut_found'
"""

SCRIPTS: Final = {"bash": BASH, "zsh": ZSH, "fish": FISH}
