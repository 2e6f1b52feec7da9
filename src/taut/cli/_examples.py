"""The examples that each command's help ends with, as they are shown."""

from __future__ import annotations

from typing import Final

EXAMPLES: Final = {
    "compress": """\
taut compress model.safetensors                  # bit-exact, into model.taut.safetensors
taut compress model_folder --size 8x -o small    # a Hugging Face folder, in an eighth of its size
taut compress model_folder --calib texts.txt --bits 3    # 3 bits a weight, where they count
taut compress tuned.safetensors --base model.safetensors    # a delta: what tuning changed
# as small as half a percent of the score allows:
taut compress build.py:model --calib build.py:batches --score build.py:score --max-drop 0.5%""",
    "analyze": """\
taut analyze model.safetensors --top 10          # the ten heaviest tensors
taut analyze model_folder --calib texts.txt      # which matrices mind being rounded
# round each matrix alone, and score the model:
taut analyze build.py:model --score build.py:score --measure""",
    "plan": """\
taut plan --presets                                   # what the plans that come with Taut do
taut plan model.safetensors --size 8x -o plan.yaml    # change it; then compress --plan plan.yaml
taut plan model_folder --calib texts.txt --bits 3     # bits where the outputs need them""",
    "frontier": """\
taut frontier model.safetensors                  # eight sizes, judged by their weights
taut frontier model_folder --calib texts.txt --bits 2,3,4 -o points    # keeps the files
# the smallest that loses at most one percent of the score, and a page with the curve:
taut frontier build.py:model --score build.py:score --max-drop 1% --html curve.html""",
    "info": """\
taut info model.taut.safetensors                         # layers that are alike on one line
taut info model.taut.safetensors --sort bytes --top 10   # what takes most of it
taut info model.taut.safetensors --tensor '*.attention.*'    # these tensors, one by one""",
    "diff": """\
taut diff model.safetensors tuned.safetensors            # what changed, a line a tensor
taut diff model.safetensors model.taut.safetensors       # what a lossy file lost
taut diff model.safetensors tuned.safetensors --html diff.html --json > diff.json""",
    "verify": """\
taut verify model.taut.safetensors               # exit code 4 if it is damaged
taut verify *.taut.safetensors -q                # many; says nothing unless one is damaged
taut verify - < model.taut.safetensors           # from standard input""",
    "eval": """\
# the score before and after:
taut eval small.taut.safetensors --original build.py:model --score build.py:score
# how near the outputs stayed:
taut eval model_folder-taut --original model_folder --calib texts.txt
# speed, memory and energy too:
taut eval small.taut.safetensors --score build.py:score --original build.py:model --all""",
    "report": """\
taut report small.taut.safetensors                                 # into small.html
taut report small.taut.safetensors --original model.safetensors    # values before and after
taut report small.taut.safetensors --score eval.json    # with what taut eval --json printed
taut report small.taut.safetensors smaller.taut.safetensors    # two files of one model""",
    "decompress": """\
taut decompress model.taut.safetensors           # into model.safetensors
taut decompress model.taut.safetensors -o again.safetensors
taut decompress model_folder-taut -o again       # a folder, with its config and tokenizer""",
    "export": """\
taut export small.taut.safetensors plain.safetensors --dtype float16
taut export model_folder-taut model.gguf --weights int8
# ONNX in int8, run and compared with the file:
taut export small.taut.safetensors int8.onnx --into build.py:model --weights int8 --calib x.npz""",
    "view": """\
taut view small.taut.safetensors                 # opens the browser
taut view model.safetensors -o view.html         # keeps the page
taut view model.gguf                             # of a GGUF file, what its header says""",
    "push": """\
taut push model_folder-taut hf://org/small --create    # a new repository, with a card
taut push small.taut.safetensors hf://org/small --base-model org/large --score eval.json
taut push model_folder-taut hf://org/small --dry-run    # shows the card, and sends nothing""",
    "doctor": """\
taut doctor                                      # what is installed, and what is missing
taut doctor --json > machine.json                # to send along with a bug report
TMPDIR=/big/disk taut doctor                     # is there room in another temporary folder?""",
    "bench": """\
taut bench model.safetensors                     # every coder, fast and max
taut bench model.safetensors --effort fast -T 1  # one effort, on one core
taut bench model.safetensors --json > speed.json""",
    "demo": """\
taut demo                                        # about a minute
taut demo -o demo                                # keep the files in the folder demo
taut demo --json -q                              # the numbers alone""",
    "completion": """\
eval "$(taut completion bash)"                   # bash; put it into ~/.bashrc to keep it
taut completion zsh > ~/.zfunc/_taut             # zsh, where ~/.zfunc is in fpath
taut completion fish > ~/.config/fish/completions/taut.fish""",
}
